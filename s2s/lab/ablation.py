"""Ablation of the LSTM's gates: the loss in quality without one of them.

A gate is removed by fixing it at 1 (the ablations of Jozefowicz et al. 2015 and Greff et al. 2017):

    no forget gate   c_t = c_{t-1} + i_t ⊙ c̃_t     keeps everything
    no input gate    c_t = f_t ⊙ c_{t-1} + c̃_t     takes in everything
    no output gate   h_t = tanh(c_t)               exposes everything

The more is lost without a gate, the more important it is.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from matplotlib.figure import Figure

from s2s.evaluation.report.canvas import SOFT
from s2s.lab.experiment import Description, Findings, Numbers, Overrides
from s2s.lab.plots import panels, points, series_style
from s2s.lab.runner import JobRunner
from s2s.lab.statistics import MIN_SEEDS, above, all_of, differences, mean_over_seeds
from s2s.lab.translation import scores

GATES = ("forget", "input", "output")  # in the claim's order
FULL = "all gates"


@dataclass(frozen=True)
class Settings:
    train: Overrides  # of the models
    seeds: list[int]


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """BLEU and validation loss of each network: a list over seeds."""
    systems = {FULL: ["model=lstm"], **{without(gate): [f"model=lstm_no_{gate}"] for gate in GATES}}
    return scores(runner, runner.train(systems, settings.train, settings.seeds))


def without(gate: str) -> str:
    """The name of the network without a gate."""
    return f"no {gate} gate"


def _lost_and_gained(numbers: Numbers) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """By gate, for each seed: BLEU lost and validation loss gained without it."""
    bleu, loss = numbers["bleu"], numbers["loss"]
    return (
        {gate: [full - this for full, this in zip(bleu[FULL], bleu[without(gate)], strict=True)] for gate in GATES},
        {gate: [this - full for full, this in zip(loss[FULL], loss[without(gate)], strict=True)] for gate in GATES},
    )


def analyse(numbers: Numbers) -> Findings:
    lost, gained = _lost_and_gained(numbers)
    rows = []
    for name, gate in {FULL: None, **{without(gate): gate for gate in GATES}}.items():
        cells = [mean_over_seeds(numbers["bleu"][name]).text(), mean_over_seeds(numbers["loss"][name]).text(3)]
        changes = [mean_over_seeds(lost[gate]).text(), mean_over_seeds(gained[gate]).text(3)] if gate else ["", ""]
        rows.append([name, *cells, *changes])
    means = {gate: mean_over_seeds(lost[gate]).mean for gate in GATES}
    order = sorted(GATES, key=lambda gate: -means[gate])
    by_loss = sorted(GATES, key=lambda gate: -mean_over_seeds(gained[gate]).mean)
    sentences = [
        "By the BLEU lost without it, the order is " + " > ".join(f"{g} ({means[g]:.1f})" for g in order) + ".",
        f"By the validation loss gained it is {' > '.join(by_loss)}" + (", the same." if by_loss == order else "."),
    ]
    harmless = [gate for gate in GATES if means[gate] <= 0]
    if harmless:
        sentences.append(f"On average nothing is lost without the {' and the '.join(harmless)} gate.")
    columns = ["network", "BLEU", "validation loss", "BLEU lost", "loss gained"]
    if len(lost[GATES[0]]) < MIN_SEEDS:
        return Findings(sentences, columns, rows)
    steps = {f"{a} - {b}": differences(lost[a], lost[b]) for a, b in itertools.combinations(GATES, 2)}
    reason = "difference in BLEU lost: " + ", ".join(f"{name} {mean.text()}" for name, mean in steps.items())
    return Findings(sentences, columns, rows, all_of([above(mean) for mean in steps.values()]), reason)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, both = panels(
        narrow,
        ("BLEU lost without the gate", "", "BLEU, full network minus this one"),
        ("Loss gained without the gate", "", "nats a token, this one minus full"),
    )
    styles = [series_style(number) for number in range(len(GATES))]
    for axes, changes in zip(both, _lost_and_gained(numbers), strict=True):
        means = [mean_over_seeds(changes[gate]).mean for gate in GATES]
        axes.bar(range(len(GATES)), means, width=0.5, color=[style.light for style in styles], alpha=0.25, zorder=1)
        points(axes, [f"{gate}\ngate" for gate in GATES], [changes[gate] for gate in GATES], styles)
        axes.axhline(0, color=SOFT, linewidth=0.9, zorder=1)
    return figure


DESCRIPTION = Description(
    title="Which gate matters most?",
    claim="In an LSTM the gates rank by importance: forget gate > input gate > output gate.",
    chapter="chapter 4: CNN, RNN, LSTM, GRU",
    setup="LSTM translation models with a fixed-length context vector: one gate is fixed at 1 and its parameters are "
    "removed in encoder and decoder, against the full cell. Everything else is the same, and runs of the same seed "
    "are compared. The importance of a gate is the BLEU lost on the test set without it; the table adds the "
    "cross-entropy gained on the validation split. The conclusion needs all three: forget > input, input > output, "
    "forget > output.",
)
