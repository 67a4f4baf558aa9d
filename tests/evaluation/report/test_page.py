from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from s2s.errors import S2SError
from s2s.evaluation.report.page import AttentionMap, TestSet, write_page
from s2s.evaluation.scaling import Scaling

VOID = {"meta", "br", "link", "img", "hr", "input"}
EVIL = "<script>alert('a')</script> & \"b\""


class Page(HTMLParser):
    """Checks that elements nest; collects text, element names and what would be fetched."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(str(value))
            if name in ("src", "href", "xlink:href", "srcset", "data", "action") and not str(value).startswith("#"):
                self.fetched.append(str(value))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def systems(make_system, test_set: TestSet):
    hypotheses = [EVIL, "", *test_set.references[2:]]
    return [
        make_system("lstm", "fixed", 0.05),
        make_system("gru", "fixed", 0.06),
        make_system("lstm_attention", "attention", 0.004),
        make_system("transformer", "self-attention", 0.0, hypotheses=hypotheses),
    ]


@pytest.fixture(scope="module")
def html(systems, test_set: TestSet, scaling: Scaling, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "index.html"
    maps = [
        AttentionMap("lstm_attention", "Bahdanau", ["▁a", "<b>", "</s>"], ["x", "狗"], [[0.9, 0.1, 0], [0, 0.25, 0.75]])
    ]
    more = {"command": "python compare.py < x", "scaling": scaling}
    write_page(path, "Length & memory", systems, test_set, samples=[0, 1, 5], attentions=maps, **more)
    assert path.stat().st_size < 5_000_000
    return path.read_text(encoding="utf-8")


def test_it_is_whole_html(html: str) -> None:
    page = Page(html)
    assert page.open == []
    assert page.names.count("html") == page.names.count("h1") == 1
    assert page.names.count("svg") >= 4
    assert len(page.ids) == len(set(page.ids)), "ids of pictures collide"


def test_it_needs_no_network(html: str) -> None:
    page = Page(html)
    assert page.fetched == []
    assert not re.search(r"https?://|url\((?!#)|@import", html)
    assert not {"script", "link", "iframe", "object"} & set(page.names)


def test_text_of_systems_and_pieces_is_escaped(html: str) -> None:
    assert "<script" not in html
    assert "&lt;script&gt;alert(" in html
    text = Page(html).text
    assert "Length & memory" in text
    assert "<b>" in text
    assert "python compare.py < x" in text
    assert "(empty)" in text


def test_tables_hold_the_numbers(html: str, systems) -> None:
    text = " ".join(Page(html).text.split())
    for system in systems:
        one = system.evaluation
        assert f"{one.bleu:.1f} {one.bleu_low:.1f}–{one.bleu_high:.1f}" in text
        assert f"{one.chrf:.1f} {one.chrf_low:.1f}–{one.chrf_high:.1f}" in text
    for word in (
        "1.20 M 0.80 M *",
        "4 min 12 s",
        "12,346",
        "3.00 M",
        "n/a",
        *systems[0].evaluation.signatures.values(),
    ):
        assert word in text
    assert '"seed": 1' in Page(html).text


def test_colours_are_variables_with_a_dark_set(html: str) -> None:
    for number in range(4):
        assert f"var(--system-{number})" in html
        assert len(re.findall(rf"--system-{number}: #", html)) == 2
    pictures = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    assert not re.search(r"(?:fill|stroke): ?#(?!0{3,6}\b)", pictures)


def test_cost_by_length(html: str) -> None:
    text = " ".join(Page(html).text.split())
    assert "a training update on 1 sentence takes rnn 4.0, lstm_attention 4.0 and transformer 16.0 times" in text
    assert "a <processor>, 2 threads" in text
    assert "8.00 ms 400 MiB" in text
    assert "32.0 ms T2.00 · 400 MiB" in text
    # The models of the measurement are others than the page's four systems, so their colours are named apart.
    for number in range(3):
        assert f"var(--model-{number})" in html
        assert len(re.findall(rf"--model-{number}: #", html)) == 2


def test_attention_cells(html: str) -> None:
    assert re.findall(r"--w:([\d.]+)", html) == [".90", ".10", ".25", ".75"]


def test_the_default_samples_go_from_short_to_long(systems, test_set: TestSet, tmp_path: Path) -> None:
    write_page(tmp_path / "a.html", "t", systems[:1], test_set)
    lengths = [int(n) for n in re.findall(r"<h3>(\d+) words", (tmp_path / "a.html").read_text(encoding="utf-8"))]
    assert len(lengths) == 3
    assert lengths[0] <= 5 < lengths[1] <= 10 < lengths[2]


def test_a_page_of_unmeasured_things(make_system, test_set: TestSet, tmp_path: Path) -> None:
    bare = replace(
        make_system("rnn", "fixed", 0.05, limit=None), train_seconds=None, tokens_per_s=None, tokens_seen=None, curve=[]
    )
    write_page(tmp_path / "a.html", "t", [bare], test_set)
    text = Page((tmp_path / "a.html").read_text(encoding="utf-8")).text
    assert "Learning curves" not in text
    assert "Attention minus" not in text
    assert "How cost grows" not in text


def test_different_decoding_is_told_apart(systems, test_set: TestSet, tmp_path: Path) -> None:
    other = replace(systems[1], evaluation=replace(systems[1].evaluation, decoding={"strategy": "beam"}))
    write_page(tmp_path / "a.html", "t", [systems[0], other], test_set)
    text = Page((tmp_path / "a.html").read_text(encoding="utf-8")).text
    assert "Decoding of lstm: strategy=greedy" in text
    assert "Decoding of gru: strategy=beam" in text


def test_what_does_not_belong_together_is_refused(systems, test_set: TestSet, tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    with pytest.raises(S2SError, match="lstm was evaluated on another test set"):
        write_page(path, "t", systems, replace(test_set, references=test_set.sources))
    with pytest.raises(S2SError, match="lstm repeated"):
        write_page(path, "t", [systems[0], systems[0]], test_set)
    with pytest.raises(S2SError, match="1 hypotheses for 90"):
        write_page(path, "t", [replace(systems[0], hypotheses=["a"])], test_set)
    with pytest.raises(S2SError, match="at least one"):
        write_page(path, "t", [], test_set)
    assert not path.exists()
