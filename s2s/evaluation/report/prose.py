"""Sentences and number formats of the report page: only what the numbers support.

The headline compares the strongest system on a fixed-size encoding with its partner with attention, on the longest
sentences that are still within the training limit (beyond it, extrapolation is measured too) and on the shortest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from s2s.evaluation.by_length import Evaluation, LengthBin
from s2s.evaluation.paired import Difference, Paired
from s2s.evaluation.report.palette import FAMILY_WORDS


@dataclass(frozen=True)
class Scored:
    """What the prose needs of a system."""

    name: str
    family: str
    evaluation: Evaluation


@dataclass(frozen=True)
class Comparison:
    """Two systems, `a` minus `b`."""

    a: str
    b: str
    paired: Paired


def family_pairs(systems: Sequence[Scored]) -> list[tuple[str, str]]:
    """(attention, fixed) names to compare: `lstm_attention` with `lstm`, and so on.

    The best fixed-size system comes first, and where it has no partner, with the best one with attention.
    """
    attention = ranked(systems, "attention")
    pairs = []
    for place, one in enumerate(ranked(systems, "fixed")):
        partners = [other for other in attention if other.name.startswith(f"{one.name}_")]
        partners = partners or ([] if place else attention[:1])
        pairs += [(other.name, one.name) for other in partners]
    return pairs


def ranked(systems: Sequence[Scored], family: str) -> list[Scored]:
    """Those of a family, the best on the whole test set first."""
    return sorted((one for one in systems if one.family == family), key=lambda one: -(one.evaluation.bleu or 0.0))


def ends(evaluation: Evaluation) -> tuple[LengthBin, LengthBin] | None:
    """The shortest bin and the longest within the training limit, of those with intervals; None with fewer than two."""
    usable = [row for row in evaluation.by_length if row.low is not None]
    limit = evaluation.training_limit
    inside = usable if limit is None else [row for row in usable if row.max is not None and row.max <= limit]
    return (inside[0], inside[-1]) if len(inside) > 1 else None


def headline(
    systems: Sequence[Scored], comparisons: Sequence[Comparison], confidence: float, seeds: int = 1
) -> list[str]:
    """Up to three sentences that answer: what does length do to these systems?

    Args:
        seeds: how many trainings each score is the mean of.
    """
    span = ends(systems[0].evaluation)
    pair = comparisons[0] if comparisons else None
    if span is None:
        if pair is None:
            return [_overall(system) for system in systems[:3]]
        return [_gap(pair, pair.paired.corpus, systems, confidence, "On the whole test set", seeds)]
    short, long = span
    unit = systems[0].evaluation.length_unit
    if pair is None:
        return [_overall(system) for system in systems[:2]] + _changes(systems, short, long, unit)
    at_short, at_long = difference_in(pair.paired, short), difference_in(pair.paired, long)
    return [
        _gap(pair, at_long, systems, confidence, f"On sentences of {span_words(long, unit)}", seeds),
        _gap(pair, at_short, systems, confidence, f"On those of {span_words(short, unit)}", 1),
        *_changes(systems, short, long, unit),
    ]


def _gap(
    comparison: Comparison, found: Difference, systems: Sequence[Scored], confidence: float, opening: str, seeds: int
) -> str:
    family = {system.name: system.family for system in systems}[comparison.b]
    text = (
        f"{opening}, {comparison.b} on a {FAMILY_WORDS[family]} reaches {found.b:.1f} BLEU and "
        f"{comparison.a} {found.a:.1f}{f' (means of {seeds} trainings)' if seeds > 1 else ''}: "
    )
    gap, low, high = found.difference, found.low, found.high
    if gap is None or low is None or high is None:
        return text.rstrip(": ") + "."
    interval = f"{100 * confidence:g} % paired interval {signed(low)} to {signed(high)}"
    if low <= 0 <= high:
        return f"{text}a difference of {signed(gap)} that the choice of test sentences can explain ({interval})."
    plain = f"{100 * confidence:g} % paired interval {min(abs(low), abs(high)):.1f} to {max(abs(low), abs(high)):.1f}"
    return f"{text}{abs(gap):.1f} {'ahead' if gap > 0 else 'behind'} ({plain})."


def _changes(systems: Sequence[Scored], short: LengthBin, long: LengthBin, unit: str) -> list[str]:
    parts = []
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
    return [f"From {span_words(short, unit)} to {span_words(long, unit)}, BLEU changes {listed(parts)}."]


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


def rows_to_show(comparison: Comparison, evaluation: Evaluation) -> list[tuple[str, Difference]]:
    """The shortest bin, the longest within the training limit, the longest of all, and the whole set."""
    found: list[tuple[str, Difference]] = []
    usable = [row for row in evaluation.by_length if row.low is not None]
    if len(usable) > 1:
        for row in dict.fromkeys([*(ends(evaluation) or usable[:1]), usable[-1]]):
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


def signed(value: float) -> str:
    """`+1.2`, `−0.3`, `0.0`: with a real minus sign."""
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


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
