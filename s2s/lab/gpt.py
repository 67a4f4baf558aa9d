"""One stack or two: decoder-only models against encoder–decoders, with self-attention and with LSTMs.

A decoder-only model (GPT; Radford et al. 2018) reads the source as a prefix of the target. So the path from source to
target is that of its own mixer. Self-attention sees each source token at any distance. An LSTM has but its state when
it begins to write (Press & Smith 2018 let theirs write and read at the same time), the fixed-length context vector of
the first encoder–decoders, while an encoder–decoder of the same LSTM blocks attends to the source.

All have equal parameters, for which the feed-forward networks make up, and equal updates on the same data.
"""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from s2s.lab.experiment import Description, Findings, Numbers, Overrides, rising
from s2s.lab.plots import cell_style, legend, mean_line, panels, series_style
from s2s.lab.runner import JobRunner
from s2s.lab.statistics import MIN_SEEDS, above, differences, mean_over_seeds, means_over_seeds
from s2s.lab.translation import (
    bin_centers,
    bin_label,
    inner_parameters,
    length_bins,
    matched_feedforward,
    scores_by_length,
)
from s2s.schema import PositiveInt

TWO, ONE = "Transformer", "self-attention, one stack"
TWO_LSTM, ONE_LSTM = "LSTMs, two stacks", "LSTMs, one stack"
ENOUGH = 0.9  # share of the Transformer's BLEU at which one stack is enough


@dataclass(frozen=True)
class Settings:
    bins: list[PositiveInt]  # of the test by source words
    layers: PositiveInt  # of encoder and of decoder; a decoder-only model has twice as many
    training: Overrides  # of all systems
    seeds: list[int]


def check(settings: Settings) -> list[str]:
    return rising("bins", settings.bins, compared=True)


def systems(settings: Settings, runner: JobRunner) -> dict[str, list[str]]:
    """Overrides of each system; all have the parameters of the Transformer."""
    both = [f"model.{side}.layers={settings.layers}" for side in ("encoder", "decoder")]
    one = [f"model.decoder.layers={2 * settings.layers}"]
    found = {
        TWO: ["model=transformer", *both, *(f"model.{side}.positions=rotary" for side in ("encoder", "decoder"))],
        ONE: ["model=gpt", *one],
        TWO_LSTM: ["model=recurrent_blocks", "model.cell=lstm", "model.encoder.mixer.hidden_size=null", *both],
        ONE_LSTM: ["model=gpt_lstm", *one],
    }
    return matched_feedforward(runner, settings.training, found, TWO)


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """BLEU by source length and in all, and parameters: for each system a list over seeds."""
    common = [*settings.training, f"evaluation.bins={settings.bins}"]
    specifications = systems(settings, runner)
    results = runner.train(specifications, common, settings.seeds)
    return {
        "bins": length_bins(results[TWO][0]),
        "by_length": {name: [scores_by_length(run) for run in runs] for name, runs in results.items()},
        "bleu": {name: [run["evaluation"]["bleu"] for run in runs] for name, runs in results.items()},
        "parameters": {
            name: inner_parameters(runner.compose([*common, *overrides])["model"])
            for name, overrides in specifications.items()
        },
    }


def analyse(numbers: Numbers) -> Findings:
    bleu, bins = numbers["bleu"], numbers["bins"]
    means = {name: mean_over_seeds(values) for name, values in bleu.items()}
    ends = {
        name: [mean_over_seeds([run[n] for run in runs]) for n in (0, -1)]
        for name, runs in numbers["by_length"].items()
    }
    rows = [
        [name, f"{numbers['parameters'][name] / 1e6:.2f}", means[name].text(), *(end.text() for end in ends[name])]
        for name in bleu
    ]
    share = mean_over_seeds([one / two if two else 0.0 for one, two in zip(bleu[ONE], bleu[TWO], strict=True)])
    costs = {
        kind: [differences([run[n] for run in numbers["by_length"][two]], [run[n] for run in numbers["by_length"][one]])
               for n in (0, -1)]
        for kind, two, one in (("self-attention", TWO, ONE), ("LSTMs", TWO_LSTM, ONE_LSTM))
    }  # fmt: skip
    sentences = [
        f"With self-attention, one stack has {100 * share.mean:.0f} % of the BLEU of encoder and decoder with as many "
        f"parameters and updates ({means[ONE].text()} and {means[TWO].text()}).",
        *(
            f"Reading the source first, as part of the target, costs the model of {kind} {short.mean:.1f} BLEU at "
            f"{bin_label(bins[0])} and {long.mean:.1f} at {bin_label(bins[-1])}."
            for kind, (short, long) in costs.items()
        ),
    ]
    columns = ["system", "parameters, millions", "BLEU", bin_label(bins[0]), bin_label(bins[-1])]
    if len(bleu[TWO]) < MIN_SEEDS:
        return Findings(sentences, columns, rows)
    reason = (
        f"BLEU of one stack of self-attention as a share of the Transformer's: {share.scaled(100).text()} %, where "
        f"{100 * ENOUGH:.0f} % or more is enough; with LSTMs, two stacks are ahead by "
        f"{differences(bleu[TWO_LSTM], bleu[ONE_LSTM]).text()} BLEU"
    )
    return Findings(sentences, columns, rows, above(share, ENOUGH), reason)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, (axes,) = panels(narrow, ("Quality by length", "words in the source", "BLEU"))
    styles = {
        TWO: cell_style("transformer"),
        ONE: series_style(4),
        TWO_LSTM: cell_style("lstm"),
        ONE_LSTM: series_style(0),
    }
    for name, style in styles.items():
        mean_line(axes, bin_centers(numbers["bins"]), means_over_seeds(numbers["by_length"][name]), style, name)
    axes.set_ylim(0, 104)
    return legend(figure)


DESCRIPTION = Description(
    title="Is one stack enough?",
    claim="What is GPT? (The note has this heading alone. The claim tested here: one stack that predicts the next "
    "token translates as well as an encoder and a decoder, if it can look back at the source.)",
    chapter="chapter 0 (5): what is GPT?",
    setup="A Transformer with rotary positions, a decoder-only stack of the same blocks that reads the source as a "
    "prefix of the target, and both with LSTMs in place of self-attention: equal parameters, updates and data. The "
    "claim holds if the decoder-only model with self-attention has nine tenths of the Transformer's BLEU or more. That "
    "with LSTMs cannot look back: what it knows of the source is its state.",
)
