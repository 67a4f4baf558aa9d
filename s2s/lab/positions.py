"""Beyond the training length: what a model does with sentences longer than any it has learnt from.

Attention looks at every word of the source however many there are, so nothing in it breaks when there are more. But it
sees a set of words: where each stands is said by positions, and of long sentences it meets positions (sinusoidal), or
distances between them (rotary), that it has never learnt to use. A recurrent network beside it has no positions: it
counts by its state. Which of them goes on working is a question for measurement.

The systems are trained on sentences up to a number of words and tested far beyond it. Sinusoidal: Vaswani et al. 2017;
rotary: Su et al. 2021; that Transformers extrapolate badly: Press et al. 2022 (arXiv:2108.12409).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2s.errors import S2SError
from s2s.evaluation.report.canvas import SHADE, SOFT
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers, Typed, rising
from s2s.lab.lengths import by_length, middles, scored_bins, words
from s2s.lab.look import axis_labels, legend, line, looks, numbered, panels
from s2s.lab.statistics import SEEDS_FOR_A_VERDICT, Mean, above, differences, mean_over_seeds
from s2s.schema import PositiveInt

SINUSOIDAL, ROTARY, RECURRENT = "Transformer, sinusoidal", "Transformer, rotary", "LSTM with attention"
SYSTEMS = {
    SINUSOIDAL: ["model=transformer"],
    ROTARY: ["model=transformer", "model.encoder.positions=rotary", "model.decoder.positions=rotary"],
    RECURRENT: ["model=lstm_attention"],
}
KEPT = 0.9  # of its BLEU a system keeps at least, if there is no limit


@dataclass(frozen=True)
class Settings:
    limit: PositiveInt  # words; longer pairs are left out of the training data
    bins: list[PositiveInt]  # of the test by source words; `limit` and twice as many are ends of bins
    training: Typed  # of all systems
    seeds: list[int]


def measure(settings: Settings, bench: Bench) -> Numbers:
    """BLEU and output length by source length, one list for each seed."""
    common = [*settings.training, f"data.max_length={settings.limit}", f"evaluation.bins={settings.bins}"]
    facts = bench.trained(
        {
            f"{system}, seed {seed}": [*common, *typed, f"seed={seed}"]
            for seed in settings.seeds
            for system, typed in SYSTEMS.items()
        }
    )

    def each(what: str) -> dict[str, list[list[float]]]:
        return {
            system: [by_length(facts[f"{system}, seed {seed}"], what) for seed in settings.seeds] for system in SYSTEMS
        }

    bins = scored_bins(next(iter(facts.values())))
    limit = settings.limit
    for least, most in ((1, limit), (limit + 1, 2 * limit)):
        if not any(least <= low and high <= most for low, high, _ in bins):
            raise S2SError(f"config: lab.positions: no test sentence has {least} to {most} words: set another limit")
    return {"limit": limit, "bins": bins, "bleu": each("bleu"), "ratio": each("length_ratio")}


def _within_and_beyond(numbers: Numbers) -> tuple[int, int]:
    """The last bin of lengths that were trained on, and the last one up to twice that long."""
    ends = [high for _, high, _ in numbers["bins"]]
    return tuple(  # type: ignore[return-value]
        max(n for n, end in enumerate(ends) if end <= most) for most in (numbers["limit"], 2 * numbers["limit"])
    )


def kept(numbers: Numbers, system: str) -> list[float]:
    """The share of its BLEU that a system keeps beyond the limit, by seed."""
    within, beyond = _within_and_beyond(numbers)
    return [bleu[beyond] / bleu[within] if bleu[within] else 0.0 for bleu in numbers["bleu"][system]]


def _points(mean: Mean) -> str:
    """Percentage points of a share, or of a difference of two."""
    return Mean(*(None if part is None else 100 * part for part in mean)).text(0)  # type: ignore[arg-type]


def _percent(mean: Mean) -> str:
    return f"{_points(mean)} %"


def find(numbers: Numbers) -> Findings:
    within, beyond = _within_and_beyond(numbers)
    inside, outside = (words(numbers["bins"][n]) for n in (within, beyond))
    shares = {system: mean_over_seeds(kept(numbers, system)) for system in SYSTEMS}
    rows = [
        [
            system,
            *(mean_over_seeds([bleu[n] for bleu in numbers["bleu"][system]]).text() for n in (within, beyond)),
            _percent(shares[system]),
            mean_over_seeds([ratio[beyond] for ratio in numbers["ratio"][system]]).text(2),
        ]
        for system in SYSTEMS
    ]
    order = sorted(SYSTEMS, key=lambda system: -shares[system].mean)
    told = ", ".join(f"{system} keeps {100 * shares[system].mean:.0f} %" for system in order)
    limited = [system for system in SYSTEMS if shares[system].mean < KEPT]
    gain = differences(kept(numbers, ROTARY), kept(numbers, SINUSOIDAL))
    than = "more" if gain.mean > 0 else "less"
    sentences = [
        f"Trained on sentences up to {numbers['limit']} words, of the BLEU at {inside} there is left at {outside}: "
        f"{told}.",
        f"All three have attention, and {_count(len(limited))} of them lose more than {100 * (1 - KEPT):.0f} % there.",
        f"Relative positions (rotary) keep {abs(100 * gain.mean):.0f} points {than} of it than sinusoidal ones.",
    ]
    short = [system for system in SYSTEMS if _mean(numbers, "ratio", system, beyond) < 0.9]
    if short:
        sentences.append(f"Too short an output is part of the loss of: {'; '.join(short)} (right panel).")
    columns = ["system", f"BLEU at {inside}", f"BLEU at {outside}", "kept", f"output / reference at {outside}"]
    seeds = len(numbers["bleu"][SINUSOIDAL])
    if seeds < SEEDS_FOR_A_VERDICT:
        return Findings(sentences, columns, rows)
    beside = (SINUSOIDAL, ROTARY)
    reason = (
        f"kept at up to twice the training length by {RECURRENT}, of which the note speaks: "
        f"{_percent(shares[RECURRENT])}, where {100 * KEPT:.0f} % or more would be no limit. Beside it: "
        + "; ".join(f"{system} {_percent(shares[system])}" for system in beside)
        + f"; rotary minus sinusoidal {_points(gain)} points"
    )
    return Findings(sentences, columns, rows, above(shares[RECURRENT], KEPT), reason)


def _count(number: int) -> str:
    return ("none", "one", "two", "all")[number]


def _mean(numbers: Numbers, what: str, system: str, n: int) -> float:
    return mean_over_seeds([run[n] for run in numbers[what][system]]).mean


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, (left, right) = panels(["Quality", "Output length"], narrow)
    styles = {SINUSOIDAL: looks()["transformer"], ROTARY: numbered(2), RECURRENT: looks()["lstm"]}
    x = middles(numbers["bins"])
    for axes, what in ((left, "bleu"), (right, "ratio")):
        for system, look in styles.items():
            means = [mean_over_seeds(values) for values in zip(*numbers[what][system], strict=True)]
            low, high = [mean.low for mean in means], [mean.high for mean in means]
            line(axes, x, [mean.mean for mean in means], look, system, low, high)
        _draw_limit(axes, numbers["limit"], numbers["bins"][-1][1])
    left.set_ylim(0, 104)
    right.set_ylim(0, 1.08 * max(1.0, right.get_ylim()[1]))
    axis_labels(left, "words in the source", "BLEU")
    axis_labels(right, "words in the source", "output / reference")
    legend(figure, left)
    return figure


def _draw_limit(axes: Axes, limit: int, longest: int) -> None:
    axes.set_xlim(0, longest)
    axes.axvspan(limit + 0.5, longest, color=SHADE, linewidth=0, zorder=0)
    axes.axvline(limit + 0.5, color=SOFT, linewidth=1.1, zorder=1)
    told: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "fontsize": 8.5}
    axes.annotate("longer than in training", (limit + 0.5, 1), xytext=(5, 2), color=SOFT, va="bottom", **told)


EXPERIMENT = Experiment(
    name="positions",
    title="What happens beyond the training length?",
    claim="With attention, for each word that it writes the model takes from the original sentence what matters most "
    "for that word, and so it got rid of the limit on the length of the input.",
    chapter="chapter 0 (3): seq2seq, attention, Transformer",
    setup="Three models with attention are trained on sentences up to a number of words only and translate longer "
    "ones: Transformers that know where a word stands by sinusoidal positions (added to the embeddings) or by rotary "
    "ones (self-attention sees distances), and an LSTM with attention, which has no positions. There is no limit if a "
    "system keeps nine tenths of its BLEU at up to twice the training length. The note says it of attention between "
    "recurrent encoder and decoder, and so the verdict is on the LSTM.",
    settings=Settings,
    measure=measure,
    find=find,
    draw=draw,
    check=lambda settings: [
        *rising("bins", settings.bins),
        *(
            f"bins={settings.bins} must have an end at {end}, {what} limit"
            for end, what in ((settings.limit, "the"), (2 * settings.limit, "twice the"))
            if end not in settings.bins
        ),
    ],
)
