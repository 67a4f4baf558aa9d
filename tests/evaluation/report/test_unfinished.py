"""Incomplete pages: they name the missing systems and reload themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from s2s.evaluation.report import page
from s2s.evaluation.report.page import write_page
from s2s.evaluation.report.results import gather
from s2s.evaluation.test_set import TestSet
from tests.evaluation.report.browser import Browser


@pytest.fixture(scope="module")
def pages(make_system, test_set: TestSet, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """An incomplete page of one of three systems that reloads itself at once, and a complete page of two systems."""
    texts, path = [], tmp_path_factory.mktemp("pages") / "index.html"
    systems = [make_system(name, "fixed", 0.02) for name in ("lstm", "gru")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "RELOAD", 0.2)
        for number, missing in ((1, ["gru", "<lstm>_attention"]), (2, [])):
            write_page(path, "A page", gather(systems[:number], test_set, trials=20), missing=missing)
            texts.append(path.read_text(encoding="utf-8"))
    return texts


def test_missing_systems_are_named(pages: list[str]) -> None:
    first, last = pages
    assert "1 of 3 systems so far. Still to come: gru and &lt;lstm&gt;_attention." in first
    assert re.search(r'<noscript><meta http-equiv="refresh" content="[\d.]+"></noscript>', first)
    assert "Still to come" not in last
    assert "refresh" not in last
    assert '<p class="missing"' not in last


def test_a_stopped_comparison_does_not_reload(make_system, test_set: TestSet, tmp_path: Path) -> None:
    results = gather([make_system("lstm", "fixed", 0.02)], test_set, trials=20)
    write_page(tmp_path / "index.html", "A page", results, missing=["gru"], stopped=True)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "Still to come: gru. The comparison was stopped" in text
    assert not re.search(r'http-equiv="refresh"|<p[^>]* data-reload', text)


def test_a_browser_shows_the_next_system_after_a_reload(pages: list[str], tmp_path: Path, chromium: Browser) -> None:
    path = tmp_path / "index.html"
    path.write_text(pages[0], encoding="utf-8")
    chromium.open(path)
    assert chromium.run("document.querySelectorAll('#systems tbody tr').length") == 2  # scores and cost
    path.write_text(pages[1], encoding="utf-8")
    chromium.until(lambda: chromium.run("document.querySelectorAll('#systems tbody tr').length") == 4)
    assert chromium.run("document.querySelector('[data-reload]')") is None
    assert chromium.problems == []
