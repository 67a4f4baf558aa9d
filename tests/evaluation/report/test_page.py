from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from statistics import median_high
from typing import Any

import numpy as np
import pytest

from s2s.errors import S2SError
from s2s.evaluation.by_length import Estimate
from s2s.evaluation.report import page as page_module
from s2s.evaluation.report.attention import AttentionMap
from s2s.evaluation.report.files import tables
from s2s.evaluation.report.page import write_page
from s2s.evaluation.report.prose import signed
from s2s.evaluation.report.results import Results, System, gather
from s2s.evaluation.scaling import Scaling
from s2s.evaluation.test_set import TestSet

VOID = {"meta", "br", "link", "img", "hr", "input"}
EVIL = "<script>alert('a')</script> & \"b\""


class Page(HTMLParser):
    """HTML parser that checks the nesting and collects text, element names, scripts and external addresses."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.links: dict[str, str] = {}
        self.scripts: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        values = {name: str(value) for name, value in attributes}
        if tag == "a" and values.get("download"):
            self.links[values["download"]] = values["href"]
        if tag == "script":
            self.scripts.append("")
        self.ids += [values["id"]] if "id" in values else []
        addresses = [values.get(name, "#") for name in ("src", "href", "xlink:href", "srcset", "data", "action")]
        self.fetched += [address for address in addresses if not address.startswith(("#", "data:"))]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        elif not self.open or self.open[-1] != "style":
            self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    @property
    def data(self) -> dict[str, Any]:
        return dict(json.loads(self.scripts[0]))


def show(path: Path, results: Results, **more: Any) -> Page:
    write_page(path / "a.html", "t", results, **more)
    return Page((path / "a.html").read_text(encoding="utf-8"))


def changed(system: System, **fields: Any) -> System:
    """Returns a system with other values of some fields of its only training."""
    return replace(system, trainings=[replace(system.trainings[0], **fields)])


@pytest.fixture(scope="module")
def results(make_system, test_set: TestSet) -> Results:
    hypotheses = [EVIL, "", *test_set.references[2:]]
    systems = [
        make_system("lstm", "fixed", 0.05),
        make_system("gru", "fixed", 0.06),
        make_system("lstm_attention", "attention", 0.004),
        make_system("transformer", "self-attention", 0.0, hypotheses=hypotheses),
    ]
    return gather(systems, test_set, trials=20)


@pytest.fixture(scope="module")
def maps() -> list[AttentionMap]:
    weights = {"attention": np.array([[0.9, 0.1, 0], [0, 0.25, 0.75]])}
    return [AttentionMap("lstm_attention", 3, ["▁a", "▁<b>", "</s>"], ["▁x", "</s>"], weights)]


@pytest.fixture(scope="module")
def html(results: Results, maps: list[AttentionMap], scaling: Scaling, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "index.html"
    more: dict[str, Any] = {"command": "python compare.py < x", "scaling": scaling}
    write_page(path, "Length & memory", results, attentions=maps, **more)
    assert path.stat().st_size < 5_000_000
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_it_is_well_formed_html(page: Page) -> None:
    assert page.open == []
    assert page.names.count("html") == page.names.count("h1") == 1
    assert page.names.count("svg") >= 16  # six views and two curves, each for two widths
    assert len(page.ids) == len(set(page.ids)), "ids of pictures collide"


def test_it_needs_no_network(html: str, page: Page) -> None:
    assert page.fetched == []
    assert not re.search(r"https?://|url\((?!#)|@import", html)
    assert not {"link", "iframe", "object", "img"} & set(page.names)


def test_only_the_pages_own_script_may_run(html: str, page: Page) -> None:
    assert len(page.scripts) == 2
    assert html.count("<script") == 2  # the data that is not run, and the script
    digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{digest}'; style-src" in html
    assert "eval(" not in page.scripts[1]
    assert "innerHTML" not in page.scripts[1]


def test_text_of_systems_and_pieces_is_escaped(html: str, page: Page) -> None:
    assert "<script>alert" not in html
    assert any(EVIL in ["".join(pieces) for pieces in row[-1]] for row in page.data["sentences"])
    assert page.data["attention"][0]["source"] == ["a", "<b>", "(end)"]
    assert "Length & memory" in page.text
    assert "python compare.py < x" in page.text


def interval(score: Estimate, digits: int) -> str:
    return f"{score.value:.{digits}f} {score.low:.{digits}f}–{score.high:.{digits}f}"


def test_tables_hold_the_numbers(page: Page, results: Results) -> None:
    text = page.words
    for one in results.evaluations.values():
        assert interval(one.estimate("bleu"), 1) in text
        assert interval(one.estimate("chrf"), 1) in text
        for row in one.by_reference_length:
            if row.length_ratio_low is not None:
                assert interval(row.estimate("length_ratio"), 3) in text
    numbers = ["1.20 M", "0.80 M", "4 min 12 s", "12,346", "3.00 M", "512 MiB", "n/a"]
    for word in (*numbers, *results.first.signatures.values(), *results.pairwise.tests.values()):
        assert word in text
    assert '"seed": 1' in page.text
    assert "sacrebleu's own test" not in text
    assert "decoding is the time for the whole test set with greedy search." in text


def test_every_system_is_compared_with_every_baseline(html: str, results: Results) -> None:
    shown = {
        baseline: cells
        for baseline in results.evaluations
        if (cells := re.findall(rf'<span data-baseline="{baseline}"( hidden)?>(.*?)</span>\n', html, re.DOTALL))
    }
    assert list(shown) == list(results.evaluations)
    assert results.baseline == "lstm"  # the better one of those with a fixed-length context vector
    for baseline, cells in shown.items():
        assert len(cells) == 2 * 4
        assert all(bool(hidden) == (baseline != "lstm") for hidden, _ in cells)
        texts = [" ".join(Page(cell).text.split()) for _, cell in cells]
        assert texts.count("baseline") == 2
        for system in results.evaluations:
            if system != baseline:
                for one in results.pairwise.differences[system, baseline].values():
                    low, p_value = f"{signed(one.low)} to", f"p = {one.p_value:.4f}"
                    assert any(low in text and text.endswith(p_value) for text in texts)


def test_downloads_are_the_files_themselves(page: Page, results: Results) -> None:
    assert set(page.links) == {*(f"{name}.csv" for name in tables(results)), "report.json"}
    contents = {name: base64.b64decode(uri.split("base64,")[1]).decode() for name, uri in page.links.items()}
    rows = list(csv.DictReader(io.StringIO(contents["length.csv"])))
    row = next(r for r in rows if r["system"] == "gru" and r["length_of"] == "source" and r["metric"] == "bleu")
    assert float(row["value"]) == results.evaluations["gru"].by_length[0].bleu
    assert json.loads(contents["report.json"])["length"][0]["value"] == results.first.by_length[0].bleu


def test_colours_are_variables_with_a_dark_set(html: str) -> None:
    for number in range(5):  # four systems, and a model of the cost
        assert f"var(--system-{number})" in html
        assert len(re.findall(rf"--system-{number}: #", html)) == 2
    pictures = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    assert not re.search(r"(?:fill|stroke): ?#(?!0{3,6}\b)", pictures)
    assert re.search(r"<text[^>]*fill: var\(--system-1-text\)[^>]*>gru<", pictures)
    assert len(re.findall(r"--system-1-text: #", html)) == 2


def test_cost_by_length(page: Page) -> None:
    growth = "a training update on 1 sentence takes rnn 4.0, lstm_attention 4.0 and transformer 16.0 times"
    for text in (growth, "a <processor>, 2 threads", "8.00 ms 400 MiB", "32.0 ms T2.00 · 400 MiB"):
        assert text in page.words


def test_cost_and_scores_of_a_model_share_its_colour(html: str) -> None:
    swatches = re.findall(r'<svg class="swatch".*?stroke="var\((.*?)\)".*?<span class="name">(.*?)</span>', html)
    by_name = {name: color for color, name in swatches}
    assert len(set(swatches)) == len(by_name) == 5  # one colour for each name
    assert by_name["transformer"] == "--system-3"  # a system of the page …
    assert by_name["rnn"] == "--system-4"  # … and a model of the measurement alone
    (picture,) = re.findall(r'<div class="picture wide"[^>]*label="Time and memory.*?</div>', html, flags=re.DOTALL)
    assert set(re.findall(r"var\((--system-\d)\)", picture)) == {"--system-2", "--system-3", "--system-4"}


def test_without_its_script_it_shows_the_middle_sentence_of_each_bin(html: str, results: Results) -> None:
    shown, lengths = [int(n) for n in re.findall(r"<h3>(\d+) words?", html)], results.test.lengths()
    bins = [(0, 5), (6, 10), (13, 18)]
    assert shown == [median_high([n for n in lengths if low <= n <= high]) for low, high in bins]


def test_a_size_limit_leaves_out_sentences_of_all_lengths(
    results: Results, maps: list[AttentionMap], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "_SENTENCES", 8_000)
    monkeypatch.setattr(page_module, "_ATTENTION", 10)
    page = show(tmp_path, gather(results.systems[:1], results.test, trials=5), attentions=maps)
    count = len(page.data["sentences"])
    assert 10 < count < 60
    assert f"{count} of the 90 test sentences, about as many of each length" in page.words
    shares = [sum(low <= row[1] <= high for row in page.data["sentences"]) for low, high in ((1, 5), (6, 10), (13, 18))]
    assert max(shares) - min(shares) <= 1
    assert page.data["attention"] == []
    assert "Attention weights" not in page.words


def test_a_page_without_measurements(make_system, test_set: TestSet, tmp_path: Path) -> None:
    rnn, gru = (make_system(name, "fixed", 0.05, limit=None) for name in ("rnn", "gru"))
    rnn = changed(rnn, train_seconds=None, tokens_per_s=None, tokens_seen=None, memory=None, curve=[])
    gru = changed(gru, evaluation=replace(gru.trainings[0].evaluation, decoding={"strategy": "beam"}), curve=[])
    page = show(tmp_path, gather([rnn, gru], test_set, trials=5))
    for title in ("Learning curves", "Attention minus", "Cost by sentence length", "Attention weights"):
        assert title not in page.text
    assert "Decoding of rnn: strategy=greedy" in page.words
    assert "Decoding of gru: strategy=beam" in page.words
    assert "decoding is the time for the whole test set with greedy search and beam." in page.words


def test_shaded_is_explained_where_something_is_shaded(make_system, test_set: TestSet, tmp_path: Path) -> None:
    one = make_system("rnn", "fixed", 0.05)
    one = changed(one, evaluation=replace(one.trainings[0].evaluation, reference_limit=None))
    show(tmp_path, gather([one], test_set, trials=5))
    views = (tmp_path / "a.html").read_text(encoding="utf-8").split('<div data-view="')[1:7]
    assert ["Shaded: longer than all training sentences" in view for view in views] == [True] * 3 + [False] * 3


def test_scrolling_regions_are_reachable_with_the_keyboard(html: str) -> None:
    scrolling = re.findall(r'<div class="scroll"[^>]*>', html)
    assert len(scrolling) == 11
    for one in scrolling:
        assert re.fullmatch(r'<div class="scroll" tabindex="0" role="region" aria-label="[^"]+">', one)


def test_several_seeds_are_named(make_system, test_set: TestSet, tmp_path: Path) -> None:
    names = [("lstm", "fixed", 0.05), ("lstm_attention", "attention", 0.004)]
    results = gather([make_system(*one, seeds=(1, 4, 7)) for one in names], test_set, trials=20)
    text = show(tmp_path, results).words
    for part in (
        "means of 3 trainings each",
        "(means of 3 trainings)",
        "Each model was trained with the seeds 1, 4 and 7",
        "of the means of 3 trainings (sacrebleu's own test takes one of each system), not corrected",
        "Training time and tokens/s exclude validation and saving;",
        *("514 MiB", "4 min 13 s", "1, 4, 7"),
    ):
        assert part in text
    for system in results.systems:
        scores = [one.evaluation.bleu for one in system.trainings]
        one = results.evaluations[system.name]
        assert one.bleu == pytest.approx(np.mean(scores))
        assert f"{interval(one.estimate('bleu'), 1)} seeds {min(scores):.1f}–{max(scores):.1f}" in text


@pytest.mark.slow
def test_the_table_of_attention_names_differing_cells(make_system, test_set: TestSet, tmp_path: Path) -> None:
    fixed, transformer = make_system("gru", "fixed", 0.05), make_system("transformer", "self-attention", 0.002)
    mine = make_system("mine", "attention", 0.004)
    text = show(tmp_path, gather([fixed, mine, transformer], test_set, trials=5)).words
    assert "mine−gru (another cell, too)" in text
    text = show(tmp_path, gather([fixed, make_system("gru_attention", "attention", 0.004)], test_set, trials=5)).words
    assert "gru_attention−gru up to 5 words" in text
    page = show(tmp_path, gather([fixed, transformer], test_set, trials=5))
    assert "transformer with self-attention" in page.words  # in the headline …
    assert "Attention minus" not in page.words  # … and not in a table of attention
    assert page.data["pair"] == ["transformer", "gru"]


def test_systems_that_cannot_be_compared_are_an_error(results: Results, make_system, test_set: TestSet) -> None:
    lstm = results.systems[0]
    for systems, test, message in (
        (results.systems, replace(test_set, references=test_set.sources), "lstm was evaluated on another test set"),
        ([lstm, lstm], test_set, "lstm repeated"),
        ([changed(lstm, hypotheses=["a"])], test_set, "1 hypotheses for 90"),
        ([lstm, make_system("rnn", "fixed", 0.1, seeds=(1, 2))], test_set, "same seeds"),
        ([], test_set, "at least one"),
    ):
        with pytest.raises(S2SError, match=message):
            gather(systems, test)
