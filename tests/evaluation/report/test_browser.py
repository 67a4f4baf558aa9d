"""The page in a real browser, on a desktop and on a phone."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2s.evaluation.by_length import evaluate_translations
from s2s.evaluation.report.attention import AttentionMap
from s2s.evaluation.report.files import as_csv, length_rows, sentence_rows
from s2s.evaluation.report.page import write_page
from s2s.evaluation.report.results import Results, System, Training, gather
from s2s.evaluation.test_set import TestSet
from tests.evaluation.report.browser import Browser

EVIL = '<img src=x onerror=alert(1)> \\u003c/script> & "b"'
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def results(make_system, test_set: TestSet) -> Results:
    systems = [
        make_system("lstm", "fixed", 0.05),
        make_system("gru", "fixed", 0.06),
        make_system("gru_attention", "attention", 0.004),
        make_system("transformer", "self-attention", 0.002, hypotheses=[EVIL, "", *test_set.references[2:]]),
    ]
    return gather(systems, test_set, trials=20)


@pytest.fixture(scope="module")
def page(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = np.random.default_rng(0)
    maps = []
    source, target = ([*(f"▁{side}{number}" for number in range(n)), "</s>"] for side, n in (("s", 5), ("t", 3)))
    peaked = np.full((4, 6), 0.02)
    peaked[np.arange(4), [2, 0, 1, 5]] = 0.9
    for sentence in (4, 9):
        two = {f"layer1.head{n}": draw.dirichlet(np.ones(6), 4) for n in (1, 2)}
        maps.append(AttentionMap("gru_attention", sentence, source, target, {"attention": peaked}))
        maps.append(AttentionMap("transformer", sentence, source, target, two))
    path = tmp_path_factory.mktemp("browser") / "index.html"
    write_page(path, "A page", results, attentions=maps)
    return path


@pytest.fixture(params=SIZES)
def browser(chromium: Browser, page: Path, request: pytest.FixtureRequest) -> Iterator[Browser]:
    """The page, freshly opened; it must request nothing but itself and report no problem."""
    chromium.open(page, *SIZES[request.param])
    yield chromium
    assert chromium.problems == []
    assert [one for one in chromium.requests if not one.startswith("data:")] == [page.as_uri()]


def of_each(browser: Browser, selector: str, expression: str) -> list[Any]:
    """Returns the value of an expression for each `element`."""
    return list(browser.run(f"[...document.querySelectorAll({json.dumps(selector)})].map(element => {expression})"))


def visible(browser: Browser, selector: str) -> list[str]:
    """Returns the texts of the visible elements."""
    texts = of_each(browser, selector, "element.checkVisibility() ? element.textContent : null")
    return [" ".join(text.split()) for text in texts if text is not None]


def test_it_starts_with_the_headline(browser: Browser) -> None:
    assert visible(browser, "h1") == ["A page"]
    assert len(visible(browser, ".answer p")) == 3
    (picture,) = visible(browser, "#lengths .picture")
    assert "BLEU" in picture
    assert "words in the source" in picture
    assert browser.run("document.querySelector('#lengths .picture svg').getBoundingClientRect().top < 900")
    # Only tables, which scroll, are wider than the window.
    assert browser.run("document.documentElement.scrollWidth") <= browser.width


def test_the_picture_is_switched(browser: Browser, results: Results) -> None:
    browser.run("document.querySelector('details.numbers').open = true")
    assert visible(browser, ".bins tr.whole td:nth-child(3)")[0].count(".") == 3  # a score and its interval
    browser.click("input[value=chrf] + span")
    (picture,) = visible(browser, "#lengths .picture")
    assert "chrF++" in picture
    assert visible(browser, "#lengths figcaption")[0].startswith("chrF++ by source length")
    browser.click("input[value=reference] + span")
    browser.click("input[value=length_ratio] + span")
    (picture,) = visible(browser, "#lengths .picture")
    assert "length ratio" in picture
    assert "words in the reference" in picture
    (whole,) = visible(browser, ".bins tr.whole td:nth-child(3)")
    assert whole.startswith(f"{results.first.length_ratio:.3f} ")


def test_a_baseline_is_chosen(browser: Browser, results: Results) -> None:
    before = visible(browser, "#systems tbody [data-baseline]")
    assert results.baseline == "lstm"  # the best with a fixed-length context vector
    assert [place for place, text in enumerate(before) if text == "baseline"] == [0, 1]
    assert len(before) == 8
    browser.choose("#baseline", "transformer")
    after = visible(browser, "#systems tbody [data-baseline]")
    assert [place for place, text in enumerate(after) if text == "baseline"] == [6, 7]
    difference = results.pairwise.differences["lstm", "transformer"]["bleu"]
    assert after[0].startswith(f"−{-difference.difference:.1f} −")  # type: ignore[operator]
    assert after[0].endswith(f"p = {difference.p_value:.4f}")
    assert visible(browser, "[data-name-of-baseline]") == ["transformer"] * 2


def numbers(browser: Browser) -> list[int]:
    return [int(text.split("test sentence ")[1].split(" ")[0]) for text in visible(browser, "#list h3")]


def test_translations_are_searched_and_sorted(browser: Browser, results: Results) -> None:
    lengths = results.test.lengths()
    every_ninth = sorted(lengths)[::9]  # 10 of 90
    assert [lengths[n - 1] for n in numbers(browser)] == every_ninth
    browser.click("#more")
    assert [lengths[n - 1] for n in numbers(browser)] == every_ninth + sorted(lengths)[1::9]
    for order, expected in (
        ("shortest first", sorted(lengths)[:10]),
        ("longest first", sorted(lengths)[:-11:-1]),
        ("a few of every length", every_ninth),
    ):
        browser.choose("#order", order)
        assert [lengths[n - 1] for n in numbers(browser)] == expected
    assert visible(browser, "#save-sentences") == ["save these sentences as CSV"]

    browser.type("#search", "ONERROR=alert")
    assert numbers(browser) == [1]
    assert visible(browser, "#matches") == ["1 of 90 sentences"]
    assert EVIL in visible(browser, "#list dd")
    browser.press("Enter")
    assert browser.run("document.querySelector('#search').value") == "ONERROR=alert", "the page is still the same"
    browser.type("#search", "no such text")
    assert numbers(browser) == []
    browser.type("#search", " ")
    assert len(numbers(browser)) == 10

    script = """(context => [
        (context.font = getComputedStyle(element).font, context.measureText(element.placeholder).width),
        element.clientWidth - 2 * parseFloat(getComputedStyle(element).paddingLeft)
    ])(document.createElement("canvas").getContext("2d"))"""
    ((needed, available),) = of_each(browser, "#search", script)
    assert needed < available

    assert visible(browser, "#ahead") == []
    browser.choose("#order", "difference in chrF++")
    first, second = of_each(browser, "#which label", "element.getBoundingClientRect().toJSON()")
    assert second["left"] - first["right"] > 10 or second["top"] - first["bottom"] > 5
    browser.choose("#ahead", "gru")
    browser.choose("#behind", "lstm")
    rows = {row["sentence"]: row for row in sentence_rows(results)}
    gaps = {number: row["gru chrF++"] - row["lstm chrF++"] for number, row in rows.items()}
    assert [gaps[n] for n in numbers(browser)] == pytest.approx(sorted(gaps.values(), reverse=True)[:10])
    first = visible(browser, "#list h3")[0]
    assert first.endswith(f"· +{max(gaps.values()):.1f} chrF++")
    best = rows[numbers(browser)[0]]
    scores = [float(text) for text in visible(browser, "#list article:first-child .score")]
    assert scores == pytest.approx([best[f"{one.name} chrF++"] for one in results.systems], abs=0.051)


def test_differences_to_the_reference_are_marked(browser: Browser, results: Results) -> None:
    browser.choose("#order", "shortest first")
    browser.type("#search", "onerror=alert")
    marked = "".join(of_each(browser, "#list dd:last-child mark", "element.textContent"))
    assert marked.replace(" ", "") == EVIL.replace(" ", "")
    assert visible(browser, "#list dd.reference mark") == []


def highlights(browser: Browser, side: str) -> list[float]:
    return of_each(browser, f"#{side}-words .word", "Number(element.style.getPropertyValue('--w'))")


def test_attention_follows_the_pointer(browser: Browser) -> None:
    assert visible(browser, "#target-words .word") == ["t0", "t1", "t2", "(end)"]
    assert highlights(browser, "source") == [0.02, 0.02, 0.9, 0.02, 0.02, 0.02]  # of the first word by default
    browser.point("#target-words .word:nth-child(2)")
    assert highlights(browser, "source") == [0.9, 0.02, 0.02, 0.02, 0.02, 0.02]
    assert visible(browser, "#weights") == ["t1 ← s0 90 %"]
    assert visible(browser, "#weights bdi") == ["t1", "s0"]
    shown = browser.run("getComputedStyle(document.querySelector('#source-words .word')).backgroundColor")
    assert float(shown.strip("rgba()").split(",")[3]) == pytest.approx(0.9 * 0.55, abs=0.01)
    browser.point(None)
    touch = browser.tap if browser.width < 600 else browser.click
    touch("#source-words .word:nth-child(2)")
    browser.until(lambda: visible(browser, "#weights")[0].startswith("s1"))
    browser.point(None)
    assert highlights(browser, "target") == [0.02, 0.02, 0.9, 0.02]
    assert visible(browser, "#weights") == ["s1 → t2 90 %"]
    browser.run("document.querySelector('#target-words .word').focus()")
    browser.press("Tab")
    assert visible(browser, "#weights") == ["t1 ← s0 90 %"]

    chosen = of_each(browser, "#sentence option", "element.text")
    assert [text.split(": ")[0].split(" · ")[1] for text in chosen] == ["test sentence 10", "test sentence 5"]
    browser.choose("#attention-system", "transformer")
    assert of_each(browser, "#head option", "element.text") == ["mean of 2 heads", "layer 1, head 1", "layer 1, head 2"]
    mean = highlights(browser, "source")
    browser.choose("#head", "layer 1, head 2")
    second = highlights(browser, "source")
    assert second != mean
    assert sum(second) == pytest.approx(1, abs=0.03)
    browser.run("document.querySelector('#sentence').selectedIndex = 1")
    browser.run("document.querySelector('#sentence').dispatchEvent(new Event('change'))")
    assert browser.run("document.querySelector('#head').value") == "layer 1, head 2"  # the choice is kept
    assert highlights(browser, "source") != second
    browser.click("#all-weights summary")
    browser.until(lambda: len(visible(browser, "#heat tbody td")) == 24)


def test_learning_curves_are_switched(browser: Browser) -> None:
    assert "seconds of training" in visible(browser, "#curves .picture")[0]
    browser.click("input[value=updates] + span")
    (picture,) = visible(browser, "#curves .picture")
    assert "updates" in picture
    assert "seconds of training" not in picture


def saved(browser: Browser, selector: str) -> dict[str, Any]:
    """Returns name, kind and text of the file that a button or link saves."""
    browser.run(
        """URL.createObjectURL = blob => { window.made = blob; return "#"; };
           HTMLAnchorElement.prototype.click = function () { window.saved = this.download; }; window.saved = null;"""
    )
    browser.run(f"document.querySelector({json.dumps(selector)}).click()")
    browser.until(lambda: bool(browser.run("window.saved")))
    return dict(browser.run("made.text().then(text => ({ name: saved, kind: made.type, size: made.size, text }))"))


def test_pictures_and_data_are_saved(browser: Browser, results: Results) -> None:
    picture = saved(browser, "[data-save=svg]")
    assert (picture["name"], picture["kind"]) == ("length.svg", "image/svg+xml")
    assert "var(--" not in picture["text"]
    assert "words in the source" in picture["text"]
    picture = saved(browser, "[data-save=png]")
    assert (picture["name"], picture["kind"]) == ("length.png", "image/png")
    assert picture["size"] > 10_000
    browser.choose("#order", "shortest first")
    table = saved(browser, "#save-sentences")
    assert table["name"] == "sentences.csv"
    order = [row[0] for row in sorted(enumerate(results.test.lengths()), key=lambda row: (row[1], row[0]))]
    rows = sentence_rows(results)
    # JavaScript writes whole numbers without a decimal point
    expected = [
        {key: int(x) if isinstance(x, float) and x.is_integer() else x for key, x in rows[place].items()}
        for place in order
    ]
    assert table["text"] == as_csv(expected)
    link = browser.run("document.querySelector('a[download^=length]').href")
    assert base64.b64decode(link.split("base64,")[1]).decode() == as_csv(length_rows(results))


def system_of(name: str, test: TestSet, hypotheses: list[str]) -> System:
    evaluation = evaluate_translations(test, hypotheses, training_limit=None, decoding={})
    return System(name, "fixed", ("recurrence", "recurrence"), 9, 9, {}, [Training(1, evaluation, hypotheses)])


def test_text_from_right_to_left_is_aligned_right(chromium: Browser, make_system, test_set, tmp_path: Path) -> None:
    arabic = replace(test_set, target_language="ar", references=["ذهب الرجل إلى البيت."] * len(test_set.sources))
    outputs = ["ذهب الكلب إلى البيت."] * len(test_set.sources)
    system = system_of("lstm", arabic, outputs)
    pieces = ["▁ذهب", "▁الكلب", "</s>"]
    weights = np.array([[0.3, 0.7], [0.7, 0.3], [0.5, 0.5]])
    maps = [AttentionMap("lstm", 3, ["▁a", "</s>"], pieces, {"attention": weights})]
    path = tmp_path / "index.html"
    write_page(path, "A page", gather([system], arabic, trials=5), attentions=maps)
    chromium.open(path)

    def directions(selector: str) -> set[str]:
        return set(of_each(chromium, selector, "getComputedStyle(element).direction"))

    assert directions("#list dd:not(:first-of-type)") == directions("#target-words") == {"rtl"}
    assert directions("#list dd:first-of-type") == directions("#source-words") == {"ltr"}
    chromium.point("#source-words .word")  # a line from left to right, whatever its words
    assert visible(chromium, "#weights") == ["a → الكلب 70 %, (end) 50 %, ذهب 30 %"]
    left = of_each(chromium, "#weights bdi", "element.getBoundingClientRect().left")
    assert left == sorted(left)
    assert chromium.run("document.querySelector('#sentence option').text").endswith(": \u2068a\u2069")


def test_empty_text_is_named_and_no_difference_has_no_sign(
    chromium: Browser, test_set: TestSet, tmp_path: Path
) -> None:
    long = " ".join(test_set.references * 4)
    odd = replace(test_set, sources=["", "a " * 7, "b " * 14], references=["", long, ""])
    systems = [system_of("gru", odd, ["", long, "x"]), system_of("lstm", odd, ["", f"{long}n", " "])]
    path = tmp_path / "index.html"
    write_page(path, "A page", gather(systems, odd, trials=5))
    samples = path.read_text(encoding="utf-8").split('<div id="list">')[1].split("</div>")[0]  # without the script
    assert samples.count("(empty)") == 6
    chromium.open(path)
    assert len(visible(chromium, "#list article:first-child dd")) == 4
    assert set(visible(chromium, "#list article:first-child dd")) == {"(empty)"}
    texts = visible(chromium, "#list article:last-child dd")
    assert [text == "(empty)" for text in texts] == [False, True, False, True]
    chromium.choose("#order", "difference in chrF++")
    chromium.choose("#ahead", "lstm")
    chromium.choose("#behind", "gru")
    assert {text.split(" · ")[-1] for text in visible(chromium, "#list h3")} == {"0.0 chrF++"}


def test_long_names_do_not_widen_the_page(chromium: Browser, make_system, test_set: TestSet, tmp_path: Path) -> None:
    name = "lstm_with_a_name_that_is_longer_than_a_phone_is_wide_and_has_no_space"
    systems = [make_system(name, "fixed", 0.05), make_system(f"{name}_attention", "attention", 0.004)]
    maps = [AttentionMap(f"{name}_attention", 3, ["▁a", "</s>"], ["</s>"], {"attention": np.full((1, 2), 0.5)})]
    path = tmp_path / "index.html"
    write_page(path, "A page", gather(systems, test_set, trials=5), attentions=maps)
    for width, height in SIZES.values():
        chromium.open(path, width, height)
        chromium.choose("#order", "difference in chrF++")
        assert chromium.run("document.documentElement.scrollWidth") <= width
        boxes = of_each(chromium, "#list dd", "element.getBoundingClientRect().width")
        assert min(boxes) > width / 2  # room for the translations beside the names
        names = of_each(chromium, "#systems tbody th", "element.getBoundingClientRect().width")
        assert max(names) < 0.6 * width  # room for the numbers beside the column that stays
        assert max(names) > 0.3 * width


def test_dark_is_dark_and_paper_is_light(chromium: Browser, page: Path) -> None:
    chromium.open(page, dark=True)
    dark = chromium.run("getComputedStyle(document.body).backgroundColor")
    assert dark == "rgb(22, 23, 26)"
    for on_a_colour in (".note mark", ".word.end"):
        assert of_each(chromium, on_a_colour, "getComputedStyle(element).color")[0] == "rgb(236, 236, 239)"
    (color,) = of_each(chromium, "html", "getComputedStyle(element).getPropertyValue('--system-0').trim()")
    assert color == "#ff7a5c"
    chromium.open(page)
    assert chromium.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    chromium.ask("Emulation.setEmulatedMedia", media="print")
    assert visible(chromium, ".controls") == []
    assert visible(chromium, "#map") == ["test sentence 10, gru_attention, attention"]
    beyond = of_each(chromium, "tr.beyond > th", "getComputedStyle(element).borderLeftWidth")
    assert set(beyond) == {"3px"}  # many printers omit shading
    assert set(of_each(chromium, ".scroll + .note", "getComputedStyle(element).breakBefore")) == {"avoid"}
    assert set(of_each(chromium, "h3, h2 + .note", "getComputedStyle(element).breakAfter")) == {"avoid"}
    chromium.run("dispatchEvent(new Event('beforeprint'))")  # opens the table
    chromium.ask("Emulation.setDeviceMetricsOverride", width=740, height=1050, deviceScaleFactor=1, mobile=False)
    assert len(visible(chromium, ".bins")) == 1
    assert chromium.run("document.documentElement.scrollWidth") <= 740  # a sheet of A4
    chromium.ask("Emulation.setEmulatedMedia", media="")
    assert visible(chromium, "#map") == []
