"""The bottleneck of a fixed-size encoding: a vector of n numbers holds only so much of a sentence.

An encoder–decoder without attention hands the decoder one vector, however long the sentence (Cho et al. 2014). The
longer the sentence, the more the vector has to hold, until it no longer does, and quality falls. If room in the vector
is the cause, then the length at which quality falls must rise with the size of the state. With attention the decoder
reads all states of the encoder, and room is no limit.

The *break* is the length at which BLEU has fallen to half of the best that any network of the same seed has on the
shortest sentences, on a straight line between the middles of neighbouring bins of length. One level for all: a network
that learns little would break late if it were measured by its own best.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2s.evaluation.report.canvas import PAPER, SOFT
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers, Typed, rising
from s2s.lab.lengths import by_length, middles, scored_bins, words
from s2s.lab.look import axis_labels, legend, line, looks, panels
from s2s.lab.statistics import SEEDS_FOR_A_VERDICT, Mean, above, all_of, mean_over_seeds
from s2s.schema import PositiveInt

WITHOUT, WITH = "without attention", "with attention"
SYSTEMS = {WITHOUT: "lstm", WITH: "lstm_attention"}
LOOKS = {WITHOUT: looks()["rnn"], WITH: looks()["lstm"]}
MARKERS = "os^Dv"  # by size
RISES = 0.5  # a rank correlation above says that the break moves with the size


@dataclass(frozen=True)
class Settings:
    sizes: list[PositiveInt]  # of the state: each direction of the encoder, and the decoder
    bins: list[PositiveInt]  # of the test by source words
    training: Typed  # of all systems
    seeds: list[int]


def measure(settings: Settings, bench: Bench) -> Numbers:
    """BLEU by source length for each system and size, one list for each seed."""
    common = [*settings.training, f"evaluation.bins={settings.bins}"]
    facts = bench.trained(
        {
            f"{model} {size}, seed {seed}": [
                *common,
                *(
                    f"model={model}",
                    f"model.encoder.hidden_size={size}",
                    f"model.decoder.hidden_size={size}",
                    f"seed={seed}",
                ),
            ]
            for seed in settings.seeds
            for size in reversed(settings.sizes)  # the longest jobs first
            for model in SYSTEMS.values()
        }
    )
    bleu = {
        system: {
            str(size): [by_length(facts[f"{model} {size}, seed {seed}"]) for seed in settings.seeds]
            for size in settings.sizes
        }
        for system, model in SYSTEMS.items()
    }
    return {"bins": scored_bins(next(iter(facts.values()))), "bleu": bleu}


def break_length(lengths: Sequence[float], scores: Sequence[float], level: float) -> float | None:
    """The length at which scores have fallen to a level: the first where none is above it, None where they never do."""
    if scores[0] <= level:
        return lengths[0]
    for (x0, y0), (x1, y1) in itertools.pairwise(zip(lengths, scores, strict=True)):
        if y1 <= level:
            return x0 + (x1 - x0) * (y0 - level) / (y0 - y1)
    return None


def lost(numbers: Numbers, system: str, size: str) -> list[float]:
    """BLEU of the shortest sentences less that of the longest, by seed."""
    return [scores[0] - scores[-1] for scores in numbers["bleu"][system][size]]


def levels(numbers: Numbers) -> list[float]:
    """Half of the best BLEU of the shortest sentences, by seed."""
    runs = [seeds for sizes in numbers["bleu"].values() for seeds in sizes.values()]
    return [max(scores[0] for scores in same_seed) / 2 for same_seed in zip(*runs, strict=True)]


def rank_correlation(values: Sequence[float]) -> float:
    """Spearman's, of values with their order: 1 where each is more than the one before. Equal ones share their rank."""
    ranks = [sum((other < one) + (other == one) / 2 for other in values) for one in values]
    places = range(len(values))
    mean_rank, mean_place = sum(ranks) / len(ranks), sum(places) / len(places)
    products = sum((r - mean_rank) * (p - mean_place) for r, p in zip(ranks, places, strict=True))
    scale = sum((r - mean_rank) ** 2 for r in ranks) * sum((p - mean_place) ** 2 for p in places)
    return products / scale**0.5 if scale else 0.0


class Breaks:
    """The breaks of one system: {size: one for each seed}; where there is none, the longest length stands for it."""

    def __init__(self, numbers: Numbers, system: str) -> None:
        lengths, given = middles(numbers["bins"]), levels(numbers)
        found = {
            size: [break_length(lengths, scores, level) for scores, level in zip(seeds, given, strict=True)]
            for size, seeds in numbers["bleu"][system].items()
        }
        self.at_once = {size: lengths[0] in seeds for size, seeds in found.items()}
        self.never = {size: None in seeds for size, seeds in found.items()}
        self.values = {size: [lengths[-1] if one is None else one for one in seeds] for size, seeds in found.items()}

    def mean(self, size: str) -> Mean:
        return mean_over_seeds(self.values[size])

    def text(self, size: str) -> str:
        bound = "at least " if self.never[size] else "at most " if self.at_once[size] else ""
        return bound + self.mean(size).text()

    def by_seed(self) -> list[tuple[float, ...]]:
        """For each seed the breaks of all sizes, the smallest size first."""
        return list(zip(*self.values.values(), strict=True))


def find(numbers: Numbers) -> Findings:
    bins, bleu = numbers["bins"], numbers["bleu"]
    breaks = {system: Breaks(numbers, system) for system in SYSTEMS}
    sizes = list(bleu[WITHOUT])
    small, large = sizes[0], sizes[-1]

    def at(system: str, size: str, n: int) -> str:
        return mean_over_seeds([scores[n] for scores in bleu[system][size]]).share().text()

    rows = [
        [
            f"{size} {system}",
            at(system, size, 0),
            at(system, size, -1),
            breaks[system].text(size),
        ]
        for system in SYSTEMS
        for size in sizes
    ]
    moved = breaks[WITHOUT].mean(large).mean / breaks[WITHOUT].mean(small).mean
    times = int(large) / int(small)
    # Where a break is a bound, so is what follows from it, and where two bounds pull apart nothing follows.
    more = breaks[WITHOUT].never[large] or breaks[WITHOUT].at_once[small]
    less = breaks[WITHOUT].never[small] or breaks[WITHOUT].at_once[large]
    bound = ", as far as lengths were measured" if less else " or more" if more else ""
    correlations = [rank_correlation(seed) for seed in breaks[WITHOUT].by_seed()]
    later = [
        sum(b - a for a, b in zip(without, attending, strict=True)) / len(sizes)
        for without, attending in zip(breaks[WITHOUT].by_seed(), breaks[WITH].by_seed(), strict=True)
    ]
    told = ", ".join(f"{breaks[WITHOUT].text(size)} words with {size} units" for size in sizes)
    whole = [size for size in sizes if breaks[WITH].never[size]]
    sentences = [
        f"Without attention BLEU is down to half of the best there is on the shortest sentences: {told}.",
        f"{times:.0f} times the units move the break by a factor of {moved:.1f}{bound}"
        + (": room in the vector is not in proportion to its size." if moved < times / 2 and not bound else "."),
        "With attention BLEU does not fall to half within the measured lengths at "
        + ("any size." if whole == sizes else f"{' and '.join(whole)} units." if whole else "no size: it breaks too.")
        + f" Over all sizes its break is {mean_over_seeds(later).mean:.0f} words later"
        + (" at least." if whole and not any(breaks[WITHOUT].never.values()) else "."),
        "All had the same number of updates, in which a larger network also learns more; what attention has at the "
        "same size shows how much that is.",
    ]
    columns = ["units", f"BLEU at {words(bins[0])}", f"at {words(bins[-1])}", "break, words"]
    if len(correlations) < SEEDS_FOR_A_VERDICT:
        return Findings(sentences, columns, rows)
    rises, difference = mean_over_seeds(correlations), mean_over_seeds(later)
    falls = {size: mean_over_seeds(lost(numbers, WITHOUT, size)) for size in sizes}
    least = min(falls, key=lambda size: falls[size].mean)
    by_more = [
        statistics.fmean(without) - statistics.fmean(attending)
        for without, attending in zip(
            *(zip(*(lost(numbers, system, size) for size in sizes), strict=True) for system in SYSTEMS), strict=True
        )
    ]
    spared = mean_over_seeds(by_more)
    verdict = all_of([*map(above, falls.values()), above(spared), above(rises, RISES), above(difference)])
    reason = (
        f"without attention BLEU falls from {words(bins[0])} to {words(bins[-1])} by at least {falls[least].text()} "
        f"({least} units), over all sizes by {spared.text()} more than with attention; rank correlation of size and "
        f"break without attention {rises.text(2)}, of which more than {RISES:g} is asked; "
        f"break with attention minus without {difference.text()} words"
    )
    return Findings(sentences, columns, rows, verdict, reason)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, (left, middle, right) = panels(
        ["Without attention", "With attention", "Length at half of the best"], narrow
    )
    lengths = middles(numbers["bins"])
    for axes, system in ((left, WITHOUT), (middle, WITH)):
        runs = numbers["bleu"][system]
        for place, (size, seeds) in enumerate(runs.items()):
            means = [mean_over_seeds(values) for values in zip(*seeds, strict=True)]
            low, high = [mean.low for mean in means], [mean.high for mean in means]
            width = 1.0 + 1.6 * place / max(1, len(runs) - 1)  # the larger, the thicker
            more = {"linewidth": width, "marker": MARKERS[place % len(MARKERS)]}
            line(axes, lengths, [mean.mean for mean in means], LOOKS[system], f"{size} units", low, high, **more)
        axes.set_ylim(0, 104)
        axes.set_xlim(0, numbers["bins"][-1][1])
        axis_labels(axes, "words in the source", "BLEU")
    level = mean_over_seeds(levels(numbers)).mean
    for axes in (left, middle):
        axes.axhline(level, color=SOFT, linewidth=1.1, zorder=1)
    half: dict[str, Any] = {"xytext": (0, 3), "textcoords": "offset points", "ha": "right", "fontsize": 8.5}
    left.annotate("half of the best", (numbers["bins"][-1][1], level), color=SOFT, **half)
    _draw_breaks(right, numbers, lengths)
    legend(figure, left)
    for handle in figure.legends[0].get_lines():  # for sizes in both panels: of neither's colour
        handle.set(color=SOFT, linestyle="-")
    return figure


def _draw_breaks(axes: Axes, numbers: Numbers, lengths: list[float]) -> None:
    """Break by size; an open marker where it lies beyond the measured lengths."""
    for system, look in LOOKS.items():
        found = Breaks(numbers, system)
        sizes = [int(size) for size in found.values]
        means = [found.mean(size) for size in found.values]
        low, high = [mean.low for mean in means], [mean.high for mean in means]
        line(axes, sizes, [mean.mean for mean in means], look, system, low, high)
        for size, mean in zip(sizes, means, strict=True):
            if found.never[str(size)] or found.at_once[str(size)]:
                axes.plot(size, mean.mean, look.marker, color=look.light, markerfacecolor=PAPER, zorder=4)
        height = {WITHOUT: 0.04, WITH: 0.98}[system]  # corners that stay free: sentences are longer than both
        place: dict[str, Any] = {"transform": axes.transAxes, "ha": "right", "va": "bottom" if height < 0.5 else "top"}
        axes.text(0.98, height, system, color=look.light, fontsize=9, **place)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(0, 1.15 * lengths[-1])
    axes.margins(x=0.1)
    axis_labels(axes, "units of the state", "words in the source")


EXPERIMENT = Experiment(
    name="bottleneck",
    title="Is one vector a bottleneck?",
    claim="The meaning unit can store only so much: if a sentence is too long, the precision of translation falls.",
    chapter="chapter 0 (3): seq2seq, attention, Transformer",
    setup="LSTM encoders and decoders with more and more units, once handing over one vector of fixed size, once with "
    "attention, trained alike and evaluated by source length. The break is the length at which BLEU has fallen to half "
    "of the best there is on the shortest sentences. If the vector's room is the cause, BLEU falls more without "
    "attention, and the break moves with the size and is later with attention.",
    settings=Settings,
    measure=measure,
    find=find,
    draw=draw,
    check=lambda settings: [
        *rising("bins", settings.bins),
        *rising("sizes", settings.sizes),
        *(["sizes must be two or more: they are compared"] if len(settings.sizes) < 2 else []),
    ],
)
