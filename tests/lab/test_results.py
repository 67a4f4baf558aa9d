"""An experiment runs once, and the page shows its findings."""

import dataclasses
import itertools
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from s2s.files import read_json
from s2s.lab.experiment import Description, Experiment, Findings, Numbers
from s2s.lab.page import write_page
from s2s.lab.plots import legend, mean_line, panels, series_style
from s2s.lab.results import ExperimentResult, run_experiment
from s2s.lab.runner import JobRunner
from s2s.lab.statistics import Mean

CALLS: list[int] = []


@dataclass(frozen=True)
class Settings:
    height: int


def climb(height: int) -> int:
    CALLS.append(height)
    return height


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    return {"heights": [0, runner.run({"climb": partial(climb, settings.height)})["climb"]]}


def analyse(numbers: Numbers) -> Findings:
    rows = [["last", str(numbers["heights"][-1])]]
    return Findings(["Up & <up>."], ["where", "height"], rows, "supported", "it is higher")


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, (axes,) = panels(narrow, ("heights", "x", "y"))
    low, high = numbers["heights"]
    mean_line(axes, [0, 1], [Mean(low), Mean(high, 1.0, 3.0)], series_style(0), "a line")
    return legend(figure)


DESCRIPTION = Description("It climbs", "“Up” is <higher>.", "1", "Look.")
EXPERIMENT = Experiment("climb", DESCRIPTION, Settings, measure, analyse, draw)


def run(runner: JobRunner, height: int = 2, experiment: Experiment = EXPERIMENT) -> ExperimentResult:
    return run_experiment(experiment, "quick", {"height": height}, runner, runner.folder / "climb")


def test_it_runs_once(runner: JobRunner) -> None:
    CALLS.clear()
    first = run(runner)
    assert run(runner).numbers == first.numbers
    assert CALLS == [2]
    # Findings and picture of cached numbers are those of today's code.
    reworded = dataclasses.replace(EXPERIMENT, analyse=lambda numbers: Findings(["Higher."], [], []))
    picture, file = (runner.folder / "climb" / name for name in ("picture.png", "result.json"))
    picture.unlink()
    assert run(runner, experiment=reworded).seconds == first.seconds
    assert CALLS == [2]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in picture.with_suffix(".svg").read_text()
    assert read_json(file)["findings"]["sentences"] == ["Higher."]
    assert run(runner, 5).numbers == {"heights": [0, 5]}
    assert CALLS == [2, 5]
    stored = read_json(file)
    assert stored["settings"] == {"height": 5}
    assert stored["numbers"] == {"heights": [0, 5]}
    assert stored["findings"]["verdict"] == "supported"  # the key of earlier versions


def test_each_experiment_has_the_seconds_of_its_own_jobs(runner: JobRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.perf_counter", itertools.count().__next__)  # so a job takes a second
    assert [run(runner, height).seconds for height in (2, 5)] == [1, 1]


def test_the_page(runner: JobRunner, tmp_path: Path) -> None:
    result = run(runner)
    without = dataclasses.replace(
        EXPERIMENT, name="fall", analyse=lambda numbers: analyse(numbers)._replace(conclusion=None)
    )
    write_page(
        tmp_path / "index.html", [result, dataclasses.replace(result, experiment=without)], "python <lab>", "bf16"
    )
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "“Up” is &lt;higher&gt;." in page
    assert "Up &amp; &lt;up&gt;." in page
    assert "python &lt;lab&gt;" in page
    assert page.count("<svg") == 4  # wide and narrow of each
    assert page.count('class="conclusion supported"') == 2  # in the list and at the experiment
    assert page.count('class="conclusion none"') == 2
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
