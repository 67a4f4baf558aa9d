"""The lab's page: one HTML file with every claim in the note's words, what was done, the picture and the numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from s2s.durations import duration
from s2s.evaluation.report.canvas import svg
from s2s.evaluation.report.palette import styles
from s2s.files import atomic_write
from s2s.lab.look import FAMILIES
from s2s.lab.notebook import Entry
from s2s.precision import Dtype
from s2s.version import __version__


def write_page(path: Path, entries: Sequence[Entry], command: str, precision: Dtype) -> None:
    """Writes the page.

    Args:
        entries: in the order of the page.
        command: what the user typed.
        precision: what `auto` was.

    Raises:
        S2SError: the file cannot be written.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["duration"] = duration
    html = environment.from_string(_text("s2s.lab", "page.html.jinja")).render(
        css=_text("s2s.evaluation.report", "page.css") + _text("s2s.lab", "page.css"),
        looks=styles(FAMILIES),
        entries=[(entry, entry.findings, _pictures(entry)) for entry in entries],
        settings={entry.experiment.name: json.dumps(entry.settings, indent=2) for entry in entries},
        command=command,
        precision=precision,
        version=__version__,
    )
    with atomic_write(path) as file:
        file.write(html)


def _pictures(entry: Entry) -> list[tuple[str, str]]:
    """One drawing for wide screens and one for phones; CSS shows either."""
    return [
        (
            width,
            svg(
                lambda narrow=width == "narrow": entry.experiment.draw(entry.numbers, narrow),  # type: ignore[misc]
                FAMILIES,
                f"{entry.experiment.name}-{width}",
            ),
        )
        for width in ("wide", "narrow")
    ]


def _text(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")
