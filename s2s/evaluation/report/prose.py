"""Sentences and number formats of the report page: only what the numbers support.

The headline compares two systems, if possible one with attention and its like on a fixed-size encoding, on the longest
sentences that are still within the training limit (beyond it, extrapolation is measured too) and on the shortest. A
length bin carries a sentence only if it has enough sentences; where too few have, the headline is about the whole test
set. What is called a difference is decided from the numbers as they are printed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from s2s.evaluation.by_length import Evaluation, LengthBin
from s2s.evaluation.paired import Difference, Paired
from s2s.evaluation.report.palette import FAMILY_WORDS

ENOUGH = 20  # sentences: the BLEU of fewer says more about these than about a system
LEARNED = 5.0  # BLEU: below it a system has hardly begun to translate

Apart = Literal["attention", "attention and cell", "architecture"]


@dataclass(frozen=True)
class Scored:
    """What the prose needs of a system."""

    name: str
    family: str
    evaluation: Evaluation


@dataclass(frozen=True)
class Pair:
    """Two systems to compare, `a` minus `b`.

    Attributes:
        apart: what tells them apart: `a` has recurrent attention and `b` a fixed-size encoding, with the same cell or
            with another; or anything else.
    """

    a: str
    b: str
    apart: Apart


@dataclass(frozen=True)
class Comparison:
    """A pair with its differences."""

    pair: Pair
    paired: Paired


def pairs_to_compare(systems: Sequence[Scored]) -> list[Pair]:
    """`lstm_attention` with `lstm`, and so on; the headline is about the first, that of the best fixed-size system.

    Where no two systems differ in attention alone there is one pair: the best fixed-size system with the best one with
    attention, or else with self-attention; or else the best with the second best.
    """
    fixed, attention, transformers = (ranked(systems, family) for family in FAMILY_WORDS)
    found = [
        Pair(other.name, one.name, "attention")
        for one in fixed
        for other in attention
        if other.name.startswith(f"{one.name}_")
    ]
    if found:
        return found
    if fixed and attention:
        return [Pair(attention[0].name, fixed[0].name, "attention and cell")]
    if fixed and transformers:
        return [Pair(transformers[0].name, fixed[0].name, "architecture")]
    best = ranked(systems)
    return [Pair(best[0].name, best[1].name, "architecture")] if len(best) > 1 else []


def ranked(systems: Sequence[Scored], family: str | None = None) -> list[Scored]:
    """All, or those of a family, the best on the whole test set first."""
    chosen = [one for one in systems if family in (None, one.family)]
    return sorted(chosen, key=lambda one: -(one.evaluation.bleu or 0.0))


def telling(evaluation: Evaluation) -> list[LengthBin]:
    """The bins within the training limit that have enough sentences, and not all of them; the shortest first."""
    limit = evaluation.training_limit
    return [
        row
        for row in evaluation.by_length
        if row.low is not None
        and ENOUGH <= row.sentences < evaluation.sentences
        and (limit is None or (row.max is not None and row.max <= limit))
    ]


def headline(
    systems: Sequence[Scored], comparisons: Sequence[Comparison], confidence: float, seeds: int = 1
) -> list[str]:
    """A few sentences that answer: what does length do to these systems?

    Args:
        comparisons: of `pairs_to_compare`.
        seeds: how many trainings each score is the mean of.
    """
    found = _compared(systems, comparisons[0], confidence, seeds) if comparisons else [_overall(systems[0])]
    bins = telling(systems[0].evaluation)
    if len(bins) > 1:
        found += _changes(systems, bins[0], bins[-1])
    elif comparisons:  # what else there is to say about the whole test set
        pair = comparisons[0].pair
        others = [one for one in ranked(systems) if one.name not in (pair.a, pair.b)]
        found += [_overall(one) for one in others[: 3 - len(found)]]
    return found + _little_learned(systems)


def _compared(systems: Sequence[Scored], comparison: Comparison, confidence: float, seeds: int) -> list[str]:
    """The difference on long and on short sentences; with fewer than two bins, on the whole test set and in the bin."""
    first, paired = systems[0].evaluation, comparison.paired
    bins = telling(first)
    places = [(f"sentences of {place(row, first.length_unit)}", difference_in(paired, row)) for row in bins]
    places = [places[-1], places[0]] if len(bins) > 1 else [("the whole test set", paired.corpus), *places]
    return [
        _gap(comparison.pair, found, systems, confidence, f"On {where}", seeds if not number else 1)
        for number, (where, found) in enumerate(places)
    ]


def _gap(pair: Pair, found: Difference, systems: Sequence[Scored], confidence: float, opening: str, seeds: int) -> str:
    families = {system.name: system.family for system in systems}
    b = _described(pair.b, families[pair.b])
    a = pair.a if families[pair.a] == families[pair.b] else _described(pair.a, families[pair.a])
    a += " (another cell, too)" if pair.apart == "attention and cell" else ""
    means = f" (means of {seeds} trainings)" if seeds > 1 else ""
    text = f"{opening}, {b} reaches {found.b:.1f} BLEU and {a} {found.a:.1f}{means}"
    if found.difference is None or found.low is None or found.high is None:
        return f"{text}."
    if found.difference == found.low == found.high == 0:
        return f"{text}: the same."
    gap, low, high = (rounded(value) for value in (found.difference, found.low, found.high))
    interval = f"{100 * confidence:g} % paired interval {signed(low)} to {signed(high)}"
    if gap == 0:
        return f"{text}: no difference ({interval})."
    if low <= 0 <= high:
        return f"{text}: a difference of {signed(gap)} that the choice of test sentences can explain ({interval})."
    near, far = sorted((abs(low), abs(high)))
    plain = f"{100 * confidence:g} % paired interval {near:.1f} to {far:.1f}"
    return f"{text}: {pair.a} is {abs(gap):.1f} {'ahead' if gap > 0 else 'behind'} ({plain})."


def _described(name: str, family: str) -> str:
    """`gru on a fixed-size encoding`, `transformer with self-attention`; `gru_attention` says it already."""
    words = FAMILY_WORDS[family]
    return f"{name} on a {words}" if family == "fixed" else name if words in name else f"{name} with {words}"


def _changes(systems: Sequence[Scored], short: LengthBin, long: LengthBin) -> list[str]:
    unit, parts = systems[0].evaluation.length_unit, []
    for family, words in FAMILY_WORDS.items():
        changes = []
        for system in (s for s in systems if s.family == family):
            by_min = {row.min: row.bleu for row in system.evaluation.by_length}
            first, last = by_min.get(short.min), by_min.get(long.min)
            if first is not None and last is not None:
                changes.append(last - first)
        if changes:
            low, high = signed(min(changes)), signed(max(changes))
            parts.append(f"by {low}{'' if low == high else f' to {high}'} with {'a ' * (family == 'fixed')}{words}")
    if not parts:
        return []
    return [f"From {place(short, unit)} to {place(long, unit)}, BLEU changes {listed(parts)}."]


def _little_learned(systems: Sequence[Scored]) -> list[str]:
    best = ranked(systems)[0].evaluation.bleu
    if best is None or best >= LEARNED:
        return []
    if len(systems) == 1:
        return ["The model has learned little, so this says little about its architecture."]
    return ["The models have learned little, so this says little about the architectures."]


def _overall(system: Scored) -> str:
    one = system.evaluation
    if one.bleu is None:
        return f"{system.name} has no test sentence to be scored on."
    known = one.bleu_low is not None and one.bleu_high is not None
    interval = f" (interval {one.bleu_low:.1f} to {one.bleu_high:.1f})" if known else ""
    number = f"{one.sentences:,} sentence{'' if one.sentences == 1 else 's'}"
    return f"{system.name} reaches {one.bleu:.1f} BLEU{interval} on {number}."


def between_seeds(seeds: Sequence[int], spreads: Mapping[str, float]) -> str:
    """What changes from one training to the next, a sentence; empty for one seed.

    Args:
        spreads: by system, the most minus the least BLEU of its trainings.
    """
    if len(seeds) < 2 or not spreads:
        return ""
    least, most = min(spreads, key=lambda name: spreads[name]), max(spreads, key=lambda name: spreads[name])
    span = (
        f"{spreads[least]:.1f}" if least == most else f"{spreads[least]:.1f} ({least}) to {spreads[most]:.1f} ({most})"
    )
    return (
        f"Each model was trained with the seeds {listed([str(seed) for seed in seeds])}, and its scores are means over "
        f"them. Between the best and the worst of the seeds, BLEU of the whole test set differs by {span}."
    )


def threads(of: Sequence[int | None]) -> str:
    """What the times of trainings hang on, a sentence; empty where one does not say how many CPU threads it had."""
    known = [number for number in of if number is not None]
    if not known or len(known) < len(of):
        return ""
    least, most = min(known), max(known)
    if least == most:
        return f"Each training computed with {least} CPU thread{'' if least == 1 else 's'}."
    return f"Trainings computed with {least} to {most} CPU threads, so their times and speeds cannot be compared."


def precision(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """In which dtype the systems were trained, a sentence; empty where one does not say."""
    dtypes = {name: config.get("training", {}).get("precision") for name, config in configs.items()}
    if None in dtypes.values():
        return ""
    if len(set(dtypes.values())) == 1:
        return f"Training multiplied matrices in {next(iter(dtypes.values()))}."
    each = ", ".join(f"{name} in {dtype}" for name, dtype in dtypes.items())
    return f"Training multiplied matrices in different dtypes, so times and speeds cannot be compared: {each}."


def rows_to_show(comparison: Comparison, evaluation: Evaluation) -> list[tuple[str, Difference]]:
    """The ends of what the headline is about, or the shortest bin; the longest of all, and the whole set."""
    found: list[tuple[str, Difference]] = []
    usable = [row for row in evaluation.by_length if row.low is not None]
    if len(usable) > 1:
        bins = telling(evaluation) or usable
        for row in dict.fromkeys([bins[0], bins[-1], usable[-1]]):
            found.append((span_words(row, evaluation.length_unit), difference_in(comparison.paired, row)))
    return [*found, ("whole test set", comparison.paired.corpus)]


def difference_in(paired: Paired, row: LengthBin) -> Difference:
    """The difference in the same bin."""
    return next(found for found in paired.by_length if found.min == row.min and found.max == row.max)


def span_words(row: LengthBin | Difference, unit: str) -> str:
    """`up to 10 words`, `11–20 words`, `more than 60 words`."""
    if row.max is None:
        return f"more than {row.min - 1} {unit}" if row.min else f"any number of {unit}"
    return f"{row.min}–{row.max} {unit}" if row.min else f"up to {row.max} {unit}"


def place(row: LengthBin, unit: str) -> str:
    """`11–20 words (n = 50)`, with spaces that no line ends at in the number."""
    return f"{span_words(row, unit)} (n\u00a0=\u00a0{row.sentences:,})"


def rounded(value: float) -> float:
    """As it is printed, with one digit; never −0.0."""
    return round(value, 1) + 0.0


def signed(value: float) -> str:
    """`+1.2`, `−0.3`, `0.0`: with a real minus sign."""
    return f"{rounded(value):+.1f}".replace("-", "−") if rounded(value) else "0.0"


def duration(seconds: float | None) -> str:
    """`0.8 s`, `48 s`, `4 min 12 s`, `1 h 03 min`."""
    if seconds is None:
        return "n/a"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def quantity(value: float | None) -> str:
    """`812`, `12,300`, `1.23 M`."""
    if value is None:
        return "n/a"
    if value < 1e6:
        return f"{value:,.0f}"
    return f"{value / 1e6:.2f} M" if value < 1e8 else f"{value / 1e6:,.0f} M"


def millions(value: float) -> str:
    """`0.83 M`, `12.3 M`; a small number in full."""
    if value < 1e5:
        return f"{value:,.0f}"
    return f"{value / 1e6:.2f} M" if value < 1e7 else f"{value / 1e6:,.1f} M"


def mebibytes(value: float | None) -> str:
    """`412 MiB`, `3.1 GiB`."""
    if value is None:
        return "n/a"
    return f"{value:,.0f} MiB" if value < 2048 else f"{value / 1024:,.1f} GiB"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
