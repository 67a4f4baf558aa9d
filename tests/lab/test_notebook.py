"""An experiment is carried out once, and the page says what it found."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from s2s.files import read_json
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers
from s2s.lab.look import axis_labels, legend, line, numbered, panels
from s2s.lab.notebook import carry_out
from s2s.lab.page import write_page

CARRIED_OUT: list[int] = []


@dataclass(frozen=True)
class Settings:
    height: int


def climbed(height: int) -> int:
    CARRIED_OUT.append(height)
    return height


def measure(settings: Settings, bench: Bench) -> Numbers:
    return {"heights": [0, bench.each({"climb": partial(climbed, settings.height)})["climb"]]}


def find(numbers: Numbers) -> Findings:
    rows = [["last", str(numbers["heights"][-1])]]
    return Findings(["Up & <up>."], ["where", "height"], rows, "supported", "it is higher")


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, (axes,) = panels(["heights"], narrow)
    line(axes, [0, 1], numbers["heights"], numbered(0), "a line", [None, 1.0], [None, 3.0])
    axis_labels(axes, "x", "y")
    legend(figure, axes)
    return figure


EXPERIMENT = Experiment("climb", "It climbs", "“Up” is <higher>.", "1", "Look.", Settings, measure, find, draw)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, lambda typed: {}, lambda values, path: {})


def test_it_is_carried_out_once(bench: Bench, tmp_path: Path) -> None:
    CARRIED_OUT.clear()
    first = carry_out(EXPERIMENT, "quick", {"height": 2}, bench, tmp_path / "climb")
    again = carry_out(EXPERIMENT, "quick", {"height": 2}, bench, tmp_path / "climb")
    assert again.numbers == first.numbers
    assert CARRIED_OUT == [2]
    # What is said and drawn of the same numbers is that of today's code.
    reworded = dataclasses.replace(EXPERIMENT, find=lambda numbers: Findings(["Higher."], [], []))
    picture = tmp_path / "climb" / "picture.png"
    picture.unlink()
    assert carry_out(reworded, "quick", {"height": 2}, bench, tmp_path / "climb").seconds == first.seconds
    assert CARRIED_OUT == [2]
    assert picture.exists()
    assert read_json(tmp_path / "climb" / "result.json")["findings"]["sentences"] == ["Higher."]
    other = carry_out(EXPERIMENT, "quick", {"height": 5}, bench, tmp_path / "climb")
    assert other.numbers == {"heights": [0, 5]}
    assert CARRIED_OUT == [2, 5]
    kept = read_json(tmp_path / "climb" / "result.json")
    assert kept["settings"] == {"height": 5}
    assert kept["numbers"] == {"heights": [0, 5]}
    assert kept["findings"]["verdict"] == "supported"


def test_each_experiment_has_the_seconds_of_its_own_jobs(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.perf_counter", itertools.count().__next__)  # so a job takes a second
    entries = [carry_out(EXPERIMENT, "quick", {"height": height}, bench, tmp_path / "climb") for height in (2, 5)]
    assert [entry.seconds for entry in entries] == [1, 1]


def test_the_pictures_are_files(bench: Bench, tmp_path: Path) -> None:
    carry_out(EXPERIMENT, "quick", {"height": 2}, bench, tmp_path / "climb")
    assert (tmp_path / "climb" / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "climb" / "picture.svg").read_text()


def test_the_page(bench: Bench, tmp_path: Path) -> None:
    entry = carry_out(EXPERIMENT, "quick", {"height": 2}, bench, tmp_path / "climb")
    undecided = dataclasses.replace(find({"heights": [1]}), verdict=None)
    other = dataclasses.replace(EXPERIMENT, name="fall", title="It falls", find=lambda numbers: undecided)
    write_page(tmp_path / "index.html", [entry, dataclasses.replace(entry, experiment=other)], "python <lab>", "bf16")
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "“Up” is &lt;higher&gt;." in page
    assert "Up &amp; &lt;up&gt;." in page
    assert "python &lt;lab&gt;" in page
    assert page.count("<svg") == 4  # wide and narrow of each
    assert page.count('class="verdict supported"') == 2  # in the list and at the experiment
    assert page.count('class="verdict none"') == 2
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
