"""The lab's page: one HTML file with the claim, method, picture, numbers and conclusion of each experiment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from s2s.dtype_choice import Dtype
from s2s.durations import duration
from s2s.evaluation.report.canvas import svg
from s2s.evaluation.report.palette import styles
from s2s.files import atomic_write
from s2s.lab.plots import FAMILIES
from s2s.lab.results import ExperimentResult
from s2s.version import __version__


def write_page(path: Path, results: Sequence[ExperimentResult], command: str, precision: Dtype) -> None:
    """Writes the page of these results, with the user's command line and the dtype that `auto` stands for.

    Raises:
        S2SError: the file cannot be written.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["duration"] = duration
    html = environment.from_string(_text("s2s.lab", "page.html.jinja")).render(
        css=_text("s2s.evaluation.report", "page.css") + _text("s2s.lab", "page.css"),
        styles=styles(FAMILIES),
        entries=[(result, result.experiment.description, result.findings, _pictures(result)) for result in results],
        settings={result.experiment.name: json.dumps(result.settings, indent=2) for result in results},
        command=command,
        precision=precision,
        version=__version__,
    )
    with atomic_write(path) as file:
        file.write(html)


def _pictures(result: ExperimentResult) -> list[tuple[str, str]]:
    """SVG for wide screens and for phones; CSS shows one of them."""
    draw = partial(result.experiment.draw, result.numbers)
    return [
        (width, svg(partial(draw, width == "narrow"), FAMILIES, f"{result.experiment.name}-{width}"))
        for width in ("wide", "narrow")
    ]


def _text(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")
