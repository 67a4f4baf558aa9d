"""What an experiment is: a claim, settings, a measurement, and what follows from its numbers.

An experiment's module has four short parts, in this order: the settings as a frozen dataclass (the keys of its file in
`conf/lab/`), `measure` with the functions it needs, `find` and `draw`. `measure` returns plain values that JSON can
hold; `find` and `draw` see nothing else, so that the page can be written again without measuring again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.figure import Figure

from s2s.lab.bench import Bench

Size = Literal["quick", "full"]
Verdict = Literal["supported", "not supported", "not decided"]
Numbers = dict[str, Any]  # what JSON can hold


@dataclass(frozen=True)
class Findings:
    """What the numbers of an experiment say.

    Attributes:
        sentences: what was found, the answer first.
        columns: headings of the table.
        rows: its rows, as text.
        verdict: on the claim; None where only the mechanism is shown, because a verdict would need several seeds.
        reason: what the verdict rests on, with its interval.
    """

    sentences: Sequence[str]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    verdict: Verdict | None = None
    reason: str = ""


@dataclass(frozen=True)
class Experiment:
    """One claim of the note.

    Attributes:
        name: of its file in `conf/lab/` and of its folder in the output.
        title: a heading.
        claim: the note's sentence, translated.
        chapter: where the note says it.
        setup: what is done, a short paragraph.
        settings: a frozen dataclass; each size in `conf/lab/<name>.yaml` is checked against it.
        measure: does the work.
        find: the conclusion from the numbers of `measure`.
        draw: the picture of the same numbers; True asks for one that fits a phone (4.3 inches wide).
    """

    name: str
    title: str
    claim: str
    chapter: str
    setup: str
    settings: type[Any]
    measure: Callable[[Any, Bench], Numbers]
    find: Callable[[Numbers], Findings]
    draw: Callable[[Numbers, bool], Figure]
