"""Bottleneck of a fixed-length context vector: a vector of n numbers has limited capacity for a sentence.

An encoder–decoder without attention passes one vector to the decoder, whatever the length of the sentence (Cho et al.
2014). Longer sentences need more capacity, until the vector's is exceeded and quality falls. If the capacity is the
cause, the length at which quality falls must rise with the size of the state. With attention the decoder has access to
all encoder states, and capacity is no limit.

The *break* is the length at which BLEU has fallen to half of the best that any network of the same seed has on the
shortest sentences, by linear interpolation between the centers of length bins. The level is the same for all networks:
by its own best, a network that learns little would break late.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from s2s.evaluation.report.canvas import PAPER, SOFT
from s2s.lab.experiment import Description, Findings, Numbers, Overrides, rising
from s2s.lab.plots import cell_style, legend, log_ticks, mean_line, note, panels
from s2s.lab.runner import JobRunner
from s2s.lab.statistics import MIN_SEEDS, Mean, above, all_of, differences, mean_over_seeds, means_over_seeds
from s2s.lab.translation import bin_centers, bin_label, length_bins, scores_by_length, size_overrides
from s2s.schema import PositiveInt

WITHOUT, WITH = "without attention", "with attention"
SYSTEMS = {WITHOUT: "lstm", WITH: "lstm_attention"}
STYLES = {WITHOUT: cell_style("rnn"), WITH: cell_style("lstm")}
MARKERS = "os^Dv"  # by size
RISES = 0.5  # a rank correlation above means that the break moves with the size


@dataclass(frozen=True)
class Settings:
    sizes: list[PositiveInt]  # of the state: each direction of the encoder, and the decoder
    bins: list[PositiveInt]  # of the test by source words
    training: Overrides  # of all systems
    seeds: list[int]


def check(settings: Settings) -> list[str]:
    return [*rising("bins", settings.bins), *rising("sizes", settings.sizes, compared=True)]


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """BLEU by source length: for each system and size a list over seeds."""
    systems = {
        f"{model} {size}": [f"model={model}", *size_overrides(size, size)]
        for size in reversed(settings.sizes)  # the longest jobs first
        for model in SYSTEMS.values()
    }
    facts = runner.train(systems, [*settings.training, f"evaluation.bins={settings.bins}"], settings.seeds)
    bleu = {
        system: {str(size): [scores_by_length(run) for run in facts[f"{model} {size}"]] for size in settings.sizes}
        for system, model in SYSTEMS.items()
    }
    return {"bins": length_bins(next(iter(facts.values()))[0]), "bleu": bleu}


def break_length(lengths: Sequence[float], scores: Sequence[float], level: float) -> float | None:
    """The length at which scores have fallen to a level: the first where none is above it, None where they never do."""
    if scores[0] <= level:
        return lengths[0]
    for (x0, y0), (x1, y1) in itertools.pairwise(zip(lengths, scores, strict=True)):
        if y1 <= level:
            return x0 + (x1 - x0) * (y0 - level) / (y0 - y1)
    return None


def lost(numbers: Numbers, system: str) -> dict[str, list[float]]:
    """BLEU of the shortest sentences less that of the longest: by size, a list over seeds."""
    return {size: [run[0] - run[-1] for run in runs] for size, runs in numbers["bleu"][system].items()}


def levels(numbers: Numbers) -> list[float]:
    """Half of the best BLEU of the shortest sentences, by seed."""
    runs = [seeds for sizes in numbers["bleu"].values() for seeds in sizes.values()]
    return [max(scores[0] for scores in same_seed) / 2 for same_seed in zip(*runs, strict=True)]


def rank_correlation(values: Sequence[float]) -> float:
    """Spearman's correlation of values with their order: 1 where they rise. Equal values share their rank."""
    ranks = [sum((other < one) + (other == one) / 2 for other in values) for one in values]
    return statistics.correlation(ranks, range(len(ranks))) if len(set(ranks)) > 1 else 0.0


class Breaks:
    """Breaks of one system by size, a list over seeds; the longest length replaces a break that is never reached."""

    def __init__(self, numbers: Numbers, system: str) -> None:
        lengths, by_seed = bin_centers(numbers["bins"]), levels(numbers)
        breaks = {
            size: [break_length(lengths, scores, level) for scores, level in zip(seeds, by_seed, strict=True)]
            for size, seeds in numbers["bleu"][system].items()
        }
        self.at_once = {size: lengths[0] in seeds for size, seeds in breaks.items()}
        self.never = {size: None in seeds for size, seeds in breaks.items()}
        self.values = {size: [lengths[-1] if one is None else one for one in seeds] for size, seeds in breaks.items()}

    def mean(self, size: str) -> Mean:
        return mean_over_seeds(self.values[size])

    def text(self, size: str) -> str:
        bound = "at least " if self.never[size] else "at most " if self.at_once[size] else ""
        return bound + self.mean(size).text()

    def by_seed(self) -> list[tuple[float, ...]]:
        """For each seed the breaks of all sizes, the smallest size first."""
        return list(zip(*self.values.values(), strict=True))


def analyse(numbers: Numbers) -> Findings:
    bins, bleu = numbers["bins"], numbers["bleu"]
    without, attending = (Breaks(numbers, system) for system in (WITHOUT, WITH))
    sizes = list(bleu[WITHOUT])
    small, large = sizes[0], sizes[-1]
    rows = [
        [
            f"{size} {system}",
            *(mean_over_seeds([scores[n] for scores in bleu[system][size]]).share().text() for n in (0, -1)),
            breaks.text(size),
        ]
        for system, breaks in ((WITHOUT, without), (WITH, attending))
        for size in sizes
    ]
    moved = without.mean(large).mean / without.mean(small).mean
    times = int(large) / int(small)
    # Where a break is a bound, so is the factor; where two bounds act in opposite directions nothing follows.
    more = without.never[large] or without.at_once[small]
    less = without.never[small] or without.at_once[large]
    bound = ", within the measured lengths" if less else " or more" if more else ""
    correlations = [rank_correlation(seed) for seed in without.by_seed()]
    later = [
        sum(b - a for a, b in zip(one, other, strict=True)) / len(sizes)
        for one, other in zip(without.by_seed(), attending.by_seed(), strict=True)
    ]
    by_size = ", ".join(f"{without.text(size)} words with {size} units" for size in sizes)
    unbroken = [size for size in sizes if attending.never[size]]
    never = "any size." if unbroken == sizes else f"{' and '.join(unbroken)} units." if unbroken else ""
    sentences = [
        f"Without attention BLEU falls to half of the overall best on the shortest sentences at {by_size}.",
        f"{times:.0f} times the units move the break by a factor of {moved:.1f}{bound}"
        + (": the vector's capacity is not in proportion to its size." if moved < times / 2 and not bound else "."),
        "With attention BLEU does not fall to half within the measured lengths at "
        + (never or "no size: it breaks too.")
        + f" Over all sizes its break is {mean_over_seeds(later).mean:.0f} words later"
        + (" at least." if unbroken and not any(without.never.values()) else "."),
        "All networks had the same number of updates, in which a larger one also learns more; attention at the same "
        "size shows how much of the effect that is.",
    ]
    columns = ["units", f"BLEU at {bin_label(bins[0])}", f"at {bin_label(bins[-1])}", "break, words"]
    if len(correlations) < MIN_SEEDS:
        return Findings(sentences, columns, rows)
    rises, difference = mean_over_seeds(correlations), mean_over_seeds(later)
    falls = {size: mean_over_seeds(values) for size, values in lost(numbers, WITHOUT).items()}
    least = min(falls, key=lambda size: falls[size].mean)
    by_seed = (map(statistics.fmean, zip(*lost(numbers, system).values(), strict=True)) for system in (WITHOUT, WITH))
    spared = differences(*map(list, by_seed))
    conclusion = all_of([*map(above, falls.values()), above(spared), above(rises, RISES), above(difference)])
    reason = (
        f"without attention BLEU falls from {bin_label(bins[0])} to {bin_label(bins[-1])} by at least "
        f"{falls[least].text()} ({least} units), over all sizes by {spared.text()} more than with attention; rank "
        f"correlation of size and break without attention {rises.text(2)} (threshold {RISES:g}); break with attention "
        f"minus without {difference.text()} words"
    )
    return Findings(sentences, columns, rows, conclusion, reason)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    labels = ("words in the source", "BLEU")
    figure, (left, middle, right) = panels(
        narrow,
        ("Without attention", *labels),
        ("With attention", *labels),
        ("Length at half of the best", "units of the state", "words in the source"),
    )
    lengths, longest = bin_centers(numbers["bins"]), numbers["bins"][-1][1]
    level = mean_over_seeds(levels(numbers)).mean
    for axes, system in ((left, WITHOUT), (middle, WITH)):
        runs = numbers["bleu"][system]
        for number, (size, seeds) in enumerate(runs.items()):
            width = 1.0 + 1.6 * number / max(1, len(runs) - 1)  # the larger, the thicker
            options = {"linewidth": width, "marker": MARKERS[number % len(MARKERS)]}
            mean_line(axes, lengths, means_over_seeds(seeds), STYLES[system], f"{size} units", **options)
        axes.set_ylim(0, 104)
        axes.set_xlim(0, longest)
        axes.axhline(level, color=SOFT, linewidth=1.1, zorder=1)
    note(left, "half of the best", (longest, level), (0, 3), ha="right")
    for system, style in STYLES.items():
        breaks = Breaks(numbers, system)
        means = {int(size): breaks.mean(size) for size in breaks.values}
        mean_line(right, list(means), list(means.values()), style, system)
        for size, mean in means.items():
            if breaks.never[str(size)] or breaks.at_once[str(size)]:  # a bound: an open marker
                right.plot(size, mean.mean, style.marker, color=style.light, markerfacecolor=PAPER, zorder=4)
        height, side = {WITHOUT: (0.04, "bottom"), WITH: (0.98, "top")}[system]  # corners without data
        right.text(0.98, height, system, color=style.light, fontsize=9, transform=right.transAxes, ha="right", va=side)
        log_ticks(right, list(means))
    right.set_ylim(0, 1.15 * lengths[-1])
    right.margins(x=0.1)
    legend(figure)
    for handle in figure.legends[0].get_lines():  # in a neutral colour: it names the sizes of both panels
        handle.set(color=SOFT, linestyle="-")
    return figure


DESCRIPTION = Description(
    title="Is one vector a bottleneck?",
    claim="The meaning unit can store only so much: if a sentence is too long, the precision of translation falls.",
    chapter="chapter 0 (3): seq2seq, attention, Transformer",
    setup="LSTM encoders and decoders of increasing size, with one fixed-length context vector or with attention, "
    "trained alike and evaluated by source length. The break is the length at which BLEU has fallen to half of the "
    "overall best on the shortest sentences. If the vector's capacity is the cause, BLEU falls more without "
    "attention, and the break moves with the size and is later with attention.",
)
