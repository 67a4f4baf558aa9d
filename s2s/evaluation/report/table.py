"""Evaluations as plain-text tables for the terminal; `n/a` where a number is undefined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from s2s.evaluation.by_length import SIDES, Evaluation, LengthBin
from s2s.evaluation.precision_comparison import PrecisionComparison


def number(value: float | None, digits: int = 1) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"


def interval(low: float | None, high: float | None, digits: int = 1) -> str:
    """Returns ` [low, high]`, or an empty text without an interval."""
    return "" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]"


def evaluation_table(evaluation: Evaluation) -> str:
    """Returns the scores of one system by source length, by reference length and as a whole."""
    metrics = ["sentences", "BLEU", "chrF++", "length ratio"]
    whole = ["whole set", f"{evaluation.sentences:,}", *_scores(evaluation)]
    tables, notes = [], [f"[low, high]: {evaluation.intervals}"]
    for side in SIDES:
        axis = evaluation.bins_by(side)
        rows = [[row.label, f"{row.sentences:,}", *_scores(row)] for row in axis.bins]
        tables.append(align([[f"{side} {axis.unit}", *metrics], *rows, whole]))
        if axis.limit is not None:
            notes.append(f"longest {side} in training: {axis.limit} {axis.unit}")
    notes += [f"{name}: {signature}" for name, signature in evaluation.signatures.items()]
    return "\n".join([tables[0], "", tables[1], *notes])


def _scores(row: Evaluation | LengthBin) -> list[str]:
    """BLEU and chrF++ with their intervals, and the length ratio."""
    bleu, chrf = row.estimate("bleu"), row.estimate("chrf")
    scores = [number(score.value) + interval(score.low, score.high) for score in (bleu, chrf)]
    return [*scores, number(row.length_ratio, 2)]


def systems_table(systems: Mapping[str, Evaluation]) -> str:
    """Returns the scores of several systems: BLEU as a whole and by source length, then chrF++."""
    labels = list(dict.fromkeys(row.label for one in systems.values() for row in one.by_length))
    unit = next((one.length_unit for one in systems.values()), "words")
    rows = [["system", "BLEU", *(f"{label} {unit}" for label in labels), "chrF++"]]
    for name, one in systems.items():
        by_label = {row.label: row.bleu for row in one.by_length}
        rows.append(
            [
                name,
                number(one.bleu) + interval(one.bleu_low, one.bleu_high),
                *(number(by_label.get(label)) for label in labels),
                number(one.chrf),
            ]
        )
    return align(rows)


def precisions_table(comparison: PrecisionComparison) -> str:
    """Returns a line for each precision, with the difference to the first precision in all others."""
    first = comparison.scores[0].precision
    rows = [["precision", "BLEU", f"− {first}", "changed lines", "sentences/s"]]
    for score in comparison.scores:
        gap = "n/a" if score.difference is None else f"{score.difference:+.2f}{interval(score.low, score.high, 2)}"
        share = "n/a" if score.changed is None else f"{100 * score.changed:.1f} %"
        against = ["", ""] if score.precision == first else [gap, share]
        rows.append([score.precision, number(score.bleu, 2), *against, f"{score.sentences_per_s:.1f}"])
    return "\n".join([align(rows), f"[low, high]: {comparison.intervals}", f"bleu: {comparison.signature}"])


def align(rows: Sequence[Sequence[str]]) -> str:
    """Returns aligned columns, the first to the left, the others to the right, with a rule below the first row."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
