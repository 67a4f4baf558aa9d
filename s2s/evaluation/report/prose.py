"""Sentences and number formats of the report page; the sentences claim only what the numbers support.

The headline compares two systems, if possible with the same cell, with attention and with a fixed-length context
vector. It is about the longest sentences within the training limit (beyond it, extrapolation is measured too) and the
shortest. It uses only bins with enough sentences; with fewer than two of them it is about the whole test set. Whether
there is a difference is decided from the numbers as printed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from s2s.evaluation.by_length import Evaluation, LengthBin
from s2s.evaluation.paired import Difference
from s2s.evaluation.report.palette import FAMILY_NAMES

MIN_SENTENCES = 20  # BLEU of fewer sentences depends more on them than on the system
MIN_BLEU = 5.0  # below it a system has hardly learned to translate

Contrast = Literal["attention", "attention and cell", "architecture"]


@dataclass(frozen=True)
class SystemScores:
    """Scores of a system; its family decides colour and dash in pictures (`palette`)."""

    name: str
    family: str
    evaluation: Evaluation
    seeds: Sequence[Evaluation] = ()  # of several trainings; `evaluation` is their mean


@dataclass(frozen=True)
class Pair:
    """Two systems to compare, `a` minus `b`.

    Attributes:
        contrast: the difference between them. With "attention", `a` has recurrent attention and `b` a fixed-length
            context vector, on the same cell; with "attention and cell", on different cells.
    """

    a: str
    b: str
    contrast: Contrast


@dataclass(frozen=True)
class Comparison:
    """A pair with its differences in BLEU."""

    pair: Pair
    corpus: Difference  # on the whole test set
    by_length: list[Difference]  # of the source

    def difference_in(self, row: LengthBin) -> Difference:
        """Returns the difference in the same bin."""
        return next(other for other in self.by_length if (other.min, other.max) == (row.min, row.max))


def pairs_to_compare(systems: Sequence[SystemScores]) -> list[Pair]:
    """Returns `lstm_attention` with `lstm` etc.; the headline uses the first pair, that of the best fixed system.

    Without two systems that differ in attention only, there is one pair: the best fixed system with the best recurrent
    one with attention, or else with any other; or else the best with the second best.
    """
    fixed, attention = (rank_by_bleu(systems, family) for family in ("fixed", "attention"))
    others = [system for system in rank_by_bleu(systems) if system.family not in ("fixed", "attention")]
    pairs = [
        Pair(other.name, one.name, "attention")
        for one in fixed
        for other in attention
        if other.name.startswith(f"{one.name}_")
    ]
    if pairs:
        return pairs
    if fixed and attention:
        return [Pair(attention[0].name, fixed[0].name, "attention and cell")]
    if fixed and others:
        return [Pair(others[0].name, fixed[0].name, "architecture")]
    best = rank_by_bleu(systems)
    return [Pair(best[0].name, best[1].name, "architecture")] if len(best) > 1 else []


def rank_by_bleu(systems: Sequence[SystemScores], family: str | None = None) -> list[SystemScores]:
    """Returns all systems or those of a family, the best on the whole test set first."""
    members = [system for system in systems if family in (None, system.family)]
    return sorted(members, key=lambda system: -(system.evaluation.bleu or 0.0))


def informative_bins(evaluation: Evaluation) -> list[LengthBin]:
    """Returns the bins within the training limit with enough, but not all, of the sentences; the shortest first."""
    limit = evaluation.training_limit
    return [
        row
        for row in evaluation.by_length
        if row.low is not None
        and MIN_SENTENCES <= row.sentences < evaluation.sentences
        and (limit is None or (row.max is not None and row.max <= limit))
    ]


def headline(
    systems: Sequence[SystemScores], comparisons: Sequence[Comparison], confidence: float, seeds: int = 1
) -> list[str]:
    """Returns a few sentences on the effect of sentence length on these systems.

    Args:
        comparisons: of `pairs_to_compare`.
        seeds: number of trainings that each score is the mean of.
    """
    sentences = _compared(systems, comparisons[0], confidence, seeds) if comparisons else [_overall(systems[0])]
    bins = informative_bins(systems[0].evaluation)
    if len(bins) > 1:
        sentences += _changes(systems, bins[0], bins[-1])
    elif comparisons:  # fill up with other systems on the whole test set
        pair = comparisons[0].pair
        others = [system for system in rank_by_bleu(systems) if system.name not in (pair.a, pair.b)]
        sentences += [_overall(system) for system in others[: 3 - len(sentences)]]
    best = rank_by_bleu(systems)[0].evaluation.bleu
    if best is not None and best < MIN_BLEU:
        models, them = ("model has", "its architecture") if len(systems) == 1 else ("models have", "the architectures")
        sentences.append(f"The {models} learned little, so this says little about {them}.")
    return sentences


def _compared(systems: Sequence[SystemScores], comparison: Comparison, confidence: float, seeds: int) -> list[str]:
    """The difference on long and on short sentences; with fewer than two bins, on the whole test set and in the bin."""
    evaluation = systems[0].evaluation
    parts = [
        (f"sentences of {bin_size(row, evaluation.length_unit)}", comparison.difference_in(row))
        for row in informative_bins(evaluation)
    ]
    parts = [parts[-1], parts[0]] if len(parts) > 1 else [("the whole test set", comparison.corpus), *parts]
    return [
        _gap(comparison.pair, difference, systems, confidence, f"On {part}", seeds if not number else 1)
        for number, (part, difference) in enumerate(parts)
    ]


def _gap(
    pair: Pair, scores: Difference, systems: Sequence[SystemScores], confidence: float, opening: str, seeds: int
) -> str:
    families = {system.name: system.family for system in systems}
    b = _described(pair.b, families[pair.b])
    a = pair.a if families[pair.a] == families[pair.b] else _described(pair.a, families[pair.a])
    a += " (another cell, too)" if pair.contrast == "attention and cell" else ""
    means = f" (means of {seeds} trainings)" if seeds > 1 else ""
    text = f"{opening}, {b} reaches {scores.b:.1f} BLEU and {a} {scores.a:.1f}{means}"
    if scores.difference is None or scores.low is None or scores.high is None:
        return f"{text}."
    if scores.difference == scores.low == scores.high == 0:
        return f"{text}: the same."
    gap, low, high = (rounded(value) for value in (scores.difference, scores.low, scores.high))
    kind = f"{100 * confidence:g} % paired interval"
    if gap == 0:
        return f"{text}: no difference ({kind} {signed(low)} to {signed(high)})."
    if low <= 0 <= high:
        why = f"that the choice of test sentences can explain ({kind} {signed(low)} to {signed(high)})"
        return f"{text}: a difference of {signed(gap)} {why}."
    near, far = sorted((abs(low), abs(high)))
    return f"{text}: {pair.a} is {abs(gap):.1f} {'ahead' if gap > 0 else 'behind'} ({kind} {near:.1f} to {far:.1f})."


def _described(name: str, family: str) -> str:
    """`gru with a fixed-length context vector`, `transformer with self-attention`; `gru_attention` as it is."""
    words = FAMILY_NAMES[family]
    return f"{name} with a {words}" if family == "fixed" else name if words in name else f"{name} with {words}"


def _changes(systems: Sequence[SystemScores], short: LengthBin, long: LengthBin) -> list[str]:
    unit, parts = systems[0].evaluation.length_unit, []
    for family, words in FAMILY_NAMES.items():
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
    return [f"From {bin_size(short, unit)} to {bin_size(long, unit)}, BLEU changes {join_list(parts)}."]


def _overall(system: SystemScores) -> str:
    one = system.evaluation
    if one.bleu is None:
        return f"{system.name} has no test sentence to be scored on."
    has_interval = one.bleu_low is not None and one.bleu_high is not None
    interval = f" (interval {one.bleu_low:.1f} to {one.bleu_high:.1f})" if has_interval else ""
    number = f"{one.sentences:,} sentence{'' if one.sentences == 1 else 's'}"
    return f"{system.name} reaches {one.bleu:.1f} BLEU{interval} on {number}."


def seed_variation(seeds: Sequence[int], scores: Mapping[str, Sequence[float | None]]) -> str:
    """Returns a sentence on the variation between seeds; empty for one seed.

    Args:
        scores: by system, BLEU of its trainings; None without sentences.
    """
    spreads = {
        name: max(bleu) - min(bleu) for name, each in scores.items() if (bleu := [b for b in each if b is not None])
    }
    if len(seeds) < 2 or not spreads:
        return ""
    least, most = min(spreads, key=lambda name: spreads[name]), max(spreads, key=lambda name: spreads[name])
    span = f"{spreads[least]:.1f}"
    span += "" if least == most else f" ({least}) to {spreads[most]:.1f} ({most})"
    return (
        f"Each model was trained with the seeds {join_list([str(seed) for seed in seeds])}, and its scores are means "
        f"over them. Between the best and the worst of the seeds, BLEU of the whole test set differs by {span}."
    )


def threads_note(threads: Sequence[int | None]) -> str:
    """Returns a sentence on the CPU threads of the trainings; empty where one is unknown."""
    numbers = [number for number in threads if number is not None]
    if not numbers or len(numbers) < len(threads):
        return ""
    least, most = min(numbers), max(numbers)
    if least == most:
        return f"Each training computed with {least} CPU thread{'' if least == 1 else 's'}."
    return f"Trainings computed with {least} to {most} CPU threads, so their times and speeds cannot be compared."


def code_note(names: Sequence[str]) -> str:
    """Returns a sentence on the systems that another state of the code trained; empty where there is none."""
    if not names:
        return ""
    return (
        f"Trained by another state of the code than the one that wrote this page: {join_list(names)}; "
        "delete their folders to train them again."
    )


def precision_note(configs: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns a sentence on the training precision of the systems; empty where one is unknown."""
    dtypes = {name: config.get("training", {}).get("precision") for name, config in configs.items()}
    if None in dtypes.values():
        return ""
    if len(set(dtypes.values())) == 1:
        return f"Training precision: {next(iter(dtypes.values()))}."
    each = ", ".join(f"{name} in {dtype}" for name, dtype in dtypes.items())
    return f"Training precision differs, so times and speeds cannot be compared: {each}."


def pair_table_rows(comparison: Comparison, evaluation: Evaluation) -> list[tuple[str, Difference]]:
    """Returns the two bins of the headline (or the shortest bin), the longest bin, and the whole set."""
    rows: list[tuple[str, Difference]] = []
    bins = [row for row in evaluation.by_length if row.low is not None]
    if len(bins) > 1:
        ends = informative_bins(evaluation) or bins
        for row in dict.fromkeys([ends[0], ends[-1], bins[-1]]):
            rows.append((length_range(row, evaluation.length_unit), comparison.difference_in(row)))
    return [*rows, ("whole test set", comparison.corpus)]


def length_range(row: LengthBin, unit: str) -> str:
    """Returns `up to 10 words`, `11–20 words`, `more than 60 words`."""
    if row.max is None:
        return f"more than {row.min - 1} {unit}" if row.min else f"any number of {unit}"
    return f"{row.min}–{row.max} {unit}" if row.min else f"up to {row.max} {unit}"


def bin_size(row: LengthBin, unit: str) -> str:
    """Returns `11–20 words (n = 50)`, with non-breaking spaces around the equals sign."""
    return f"{length_range(row, unit)} (n\u00a0=\u00a0{row.sentences:,})"


def rounded(value: float) -> float:
    """Returns the value as printed, with one digit; never −0.0."""
    return round(value, 1) + 0.0


def signed(value: float) -> str:
    """Returns `+1.2`, `−0.3`, `0.0`, with a real minus sign."""
    return f"{rounded(value):+.1f}".replace("-", "−") if rounded(value) else "0.0"


def quantity(value: float | None) -> str:
    """Returns `812`, `12,300`, `1.23 M`."""
    if value is None:
        return "n/a"
    if value < 1e6:
        return f"{value:,.0f}"
    return f"{value / 1e6:.2f} M" if value < 1e8 else f"{value / 1e6:,.0f} M"


def millions(value: float) -> str:
    """Returns `0.83 M`, `12.3 M`; small numbers in full."""
    if value < 1e5:
        return f"{value:,.0f}"
    return f"{value / 1e6:.2f} M" if value < 1e7 else f"{value / 1e6:,.1f} M"


def mebibytes(value: float | None) -> str:
    """Returns `412 MiB`, `3.1 GiB`."""
    if value is None:
        return "n/a"
    return f"{value:,.0f} MiB" if value < 2048 else f"{value / 1024:,.1f} GiB"


def join_list(parts: Sequence[str]) -> str:
    """Returns `a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
