"""Length extrapolation: translation of sentences longer than any in training.

Attention covers every source word, whatever their number, so nothing in it breaks on longer sentences. But it has no
order of its own: positions tell it where a word stands, and long sentences have absolute positions (sinusoidal) or
distances (rotary) that never occurred in training. A recurrent network has no positions, only its state. Which of them
extrapolates is an empirical question.

A recurrent layer before the first block gives a Transformer an order without positions.

Sinusoidal: Vaswani et al. 2017; rotary: Su et al. 2021; recurrent: Neishi & Yoshinaga 2019; Transformers extrapolate
badly: Press et al. 2022 (arXiv:2108.12409).
"""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from s2s.errors import S2SError
from s2s.evaluation.report.canvas import SHADE, SOFT
from s2s.lab.experiment import Description, Findings, Numbers, Overrides, rising
from s2s.lab.plots import cell_style, legend, mean_line, note, panels, series_style
from s2s.lab.runner import JobRunner
from s2s.lab.statistics import MIN_SEEDS, above, differences, mean_over_seeds, means_over_seeds
from s2s.lab.translation import bin_centers, bin_label, length_bins, scores_by_length
from s2s.schema import PositiveInt

SINUSOIDAL, ROTARY, READ = "Transformer, sinusoidal", "Transformer, rotary", "Transformer, recurrent positions"
RECURRENT = "LSTM with attention"
SYSTEMS = {
    SINUSOIDAL: ["model=transformer"],
    ROTARY: ["model=transformer", "model.encoder.positions=rotary", "model.decoder.positions=rotary"],
    READ: ["model=transformer", "model.encoder.positions=recurrent", "model.decoder.positions=recurrent"],
    RECURRENT: ["model=lstm_attention"],
}
KEPT = 0.9  # share of its BLEU that a system keeps at least, if there is no limit


@dataclass(frozen=True)
class Settings:
    limit: PositiveInt  # words; longer pairs are not in the training data
    bins: list[PositiveInt]  # of the test by source words; `limit` and twice as many are ends of bins
    training: Overrides  # of all systems
    seeds: list[int]


def check(settings: Settings) -> list[str]:
    return [
        *rising("bins", settings.bins),
        *(
            f"bins={settings.bins} must have an end at {end}, {name} limit"
            for end, name in ((settings.limit, "the"), (2 * settings.limit, "twice the"))
            if end not in settings.bins
        ),
    ]


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """BLEU and output length by source length: for each system a list over seeds."""
    limit = settings.limit
    common = [*settings.training, f"data.max_length={limit}", f"evaluation.bins={settings.bins}"]
    facts = runner.train(SYSTEMS, common, settings.seeds)
    bleu, ratio = (
        {system: [scores_by_length(run, score) for run in runs] for system, runs in facts.items()}
        for score in ("bleu", "length_ratio")
    )
    bins = length_bins(facts[SINUSOIDAL][0])
    for least, most in ((1, limit), (limit + 1, 2 * limit)):
        if not any(least <= low and high <= most for low, high, _ in bins):
            raise S2SError(f"config: lab.positions: no test sentence has {least} to {most} words: set another limit")
    return {"limit": limit, "bins": bins, "bleu": bleu, "ratio": ratio}


def _within_and_beyond(numbers: Numbers) -> tuple[int, int]:
    """The last bin within the training lengths, and the last one up to twice that long."""
    ends, limit = [high for _, high, _ in numbers["bins"]], numbers["limit"]
    within, beyond = (max(n for n, end in enumerate(ends) if end <= most) for most in (limit, 2 * limit))
    return within, beyond


def kept(numbers: Numbers, system: str) -> list[float]:
    """The share of its BLEU that a system keeps beyond the limit, by seed."""
    within, beyond = _within_and_beyond(numbers)
    return [bleu[beyond] / bleu[within] if bleu[within] else 0.0 for bleu in numbers["bleu"][system]]


def analyse(numbers: Numbers) -> Findings:
    within, beyond = _within_and_beyond(numbers)
    inside, outside = (bin_label(numbers["bins"][n]) for n in (within, beyond))
    shares = {system: mean_over_seeds(kept(numbers, system)) for system in SYSTEMS}
    percent = {system: f"{share.scaled(100).text(0)} %" for system, share in shares.items()}
    ratios = {system: mean_over_seeds([ratio[beyond] for ratio in numbers["ratio"][system]]) for system in SYSTEMS}
    rows = [
        [
            system,
            *(mean_over_seeds([bleu[n] for bleu in numbers["bleu"][system]]).text() for n in (within, beyond)),
            percent[system],
            ratios[system].text(2),
        ]
        for system in SYSTEMS
    ]
    order = sorted(SYSTEMS, key=lambda system: -shares[system].mean)
    limited = ("none", "one", "two", "three", "all")[sum(share.mean < KEPT for share in shares.values())]
    gains = {name: differences(kept(numbers, name), kept(numbers, SINUSOIDAL)) for name in (ROTARY, READ)}
    sentences = [
        f"Trained on sentences up to {numbers['limit']} words, the systems keep this share of their BLEU at {inside} "
        f"at {outside}: {', '.join(f'{system} {100 * shares[system].mean:.0f} %' for system in order)}.",
        f"All four have attention, and {limited} of them lose more than {100 * (1 - KEPT):.0f} % there.",
        "Compared with sinusoidal positions, "
        + " and ".join(
            f"{kind} keep {abs(100 * gain.mean):.0f} points {'more' if gain.mean > 0 else 'less'} of it"
            for kind, gain in zip(("relative ones (rotary)", "recurrent ones"), gains.values(), strict=True)
        )
        + ".",
    ]
    short = [system for system in SYSTEMS if ratios[system].mean < 0.9]
    if short:
        sentences.append(f"Outputs that are too short are part of the loss of: {'; '.join(short)} (right panel).")
    columns = ["system", f"BLEU at {inside}", f"BLEU at {outside}", "kept", f"output / reference at {outside}"]
    if len(numbers["bleu"][SINUSOIDAL]) < MIN_SEEDS:
        return Findings(sentences, columns, rows)
    reason = (
        f"share of BLEU kept at up to twice the training length by {RECURRENT}, the note's model: "
        f"{percent[RECURRENT]}, where {100 * KEPT:.0f} % or more would be no limit. For comparison: "
        + "; ".join(f"{system} {percent[system]}" for system in (SINUSOIDAL, ROTARY, READ))
        + f"; rotary minus sinusoidal {gains[ROTARY].scaled(100).text(0)} points"
    )
    return Findings(sentences, columns, rows, above(shares[RECURRENT], KEPT), reason)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    x = "words in the source"
    figure, both = panels(narrow, ("Quality", x, "BLEU"), ("Output length", x, "output / reference"))
    styles = {SINUSOIDAL: cell_style("transformer"), ROTARY: series_style(2)}
    styles |= {READ: series_style(0), RECURRENT: cell_style("lstm")}
    limit, longest = numbers["limit"] + 0.5, numbers["bins"][-1][1]
    for axes, score in zip(both, ("bleu", "ratio"), strict=True):
        for system, style in styles.items():
            means = means_over_seeds(numbers[score][system])
            mean_line(axes, bin_centers(numbers["bins"]), means, style, system)
        axes.set_xlim(0, longest)
        axes.axvspan(limit, longest, color=SHADE, linewidth=0, zorder=0)
        axes.axvline(limit, color=SOFT, linewidth=1.1, zorder=1)
        note(axes, "longer than in training", (limit, 1), (5, 2), xycoords=("data", "axes fraction"), va="bottom")
    both[0].set_ylim(0, 104)
    both[1].set_ylim(0, 1.08 * max(1.0, both[1].get_ylim()[1]))
    return legend(figure)


DESCRIPTION = Description(
    title="What happens beyond the training length?",
    claim="With attention, for each word that it writes the model takes from the original sentence what matters most "
    "for that word, and so it got rid of the limit on the length of the input.",
    chapter="chapter 0 (3): seq2seq, attention, Transformer",
    setup="Four models with attention are trained on sentences up to a number of words only and translate longer "
    "ones: Transformers with sinusoidal positions (added to the embeddings), rotary ones (self-attention "
    "depends on distances) or a GRU before the first block in place of positions, and an LSTM with attention, "
    "without positions. There is no limit if a system keeps nine tenths of its BLEU at up to twice the "
    "training length. The note speaks of attention between recurrent encoder and decoder, so the conclusion "
    "is on the LSTM.",
)
