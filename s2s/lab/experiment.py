"""What an experiment is: a claim, settings, a measurement, and what follows from its numbers.

An experiment's module has four short parts, in this order: the settings as a frozen dataclass (the keys of its file in
`conf/lab/`), `measure` with the functions it needs, `find` and `draw`. `measure` returns plain values that JSON can
hold, and everything in it that takes time is a job of the bench; `find` and `draw` see nothing but its values.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from matplotlib.figure import Figure

from s2s.lab.bench import Bench

Size = Literal["quick", "full"]
Verdict = Literal["supported", "not supported", "not decided"]
Numbers = dict[str, Any]  # what JSON can hold
Typed = Annotated[list[str], "typed for train.py"]  # a setting: what one would type after `scripts/train.py`
TypedText = Annotated[list[str], "typed for train.py, of which the text is read"]  # where nothing is translated
MAY_BE_EMPTY = "may be empty"  # annotates a list among the settings; others may not


def all_fit(settings: Any) -> list[str]:
    """The check of settings of which none depends on another."""
    return []


def rising(key: str, values: Sequence[float]) -> list[str]:
    """The error of a list among the settings that does not rise."""
    return [f"{key}={list(values)} must rise"] if any(b <= a for a, b in itertools.pairwise(values)) else []


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
        check: errors in settings of the right types: each begins with a key and says what is wrong.
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
    check: Callable[[Any], list[str]] = all_fit
