"""How much a network loses without one of the LSTM's gates.

A gate is taken away by fixing it at 1 (the ablations of Jozefowicz et al. 2015 and Greff et al. 2017):

    no forget gate   c_t = c_{t-1} + i_t ⊙ c̃_t     keeps all
    no input gate    c_t = f_t ⊙ c_{t-1} + c̃_t     takes all in
    no output gate   h_t = tanh(c_t)               shows all

A gate is the more important, the more is lost without it.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2s.evaluation.report.canvas import SOFT
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers, Typed, Verdict
from s2s.lab.look import axis_labels, numbered, panels, points
from s2s.lab.statistics import SEEDS_FOR_A_VERDICT, Mean, above, all_of, differences, mean_over_seeds
from s2s.lab.translation import scores, train

GATES = ("forget", "input", "output")  # in the claim's order
FULL = "all gates"


@dataclass(frozen=True)
class Settings:
    train: Typed  # of the models
    seeds: list[int]


def measure(settings: Settings, bench: Bench) -> Numbers:
    """BLEU and validation loss of each network, for each seed."""
    systems = {FULL: ["model=lstm"], **{without(gate): [f"model=lstm_no_{gate}"] for gate in GATES}}
    facts = train(bench, systems, settings.train, settings.seeds)
    return scores(bench, facts)


def without(gate: str) -> str:
    """The name of the network that lacks a gate."""
    return f"no {gate} gate"


def lost(numbers: Numbers, gate: str) -> list[float]:
    """BLEU of the full network minus that without the gate, for each seed."""
    bleus = numbers["bleu"]
    return [full - this for full, this in zip(bleus[FULL], bleus[without(gate)], strict=True)]


def gained(numbers: Numbers, gate: str) -> list[float]:
    """Validation loss without the gate minus that of the full network, for each seed."""
    losses = numbers["loss"]
    return [this - full for full, this in zip(losses[FULL], losses[without(gate)], strict=True)]


def find(numbers: Numbers) -> Findings:
    seeds = len(numbers["bleu"][FULL])
    rows = [[FULL, *(mean_over_seeds(numbers[key][FULL]).text(d) for key, d in (("bleu", 1), ("loss", 3))), "", ""]]
    for gate in GATES:
        cells = [
            mean_over_seeds(numbers["bleu"][without(gate)]).text(1),
            mean_over_seeds(numbers["loss"][without(gate)]).text(3),
            mean_over_seeds(lost(numbers, gate)).text(1),
            mean_over_seeds(gained(numbers, gate)).text(3),
        ]
        rows.append([without(gate), *cells])
    means = {gate: mean_over_seeds(lost(numbers, gate)).mean for gate in GATES}
    order = sorted(GATES, key=lambda gate: -means[gate])
    by_loss = sorted(GATES, key=lambda gate: -mean_over_seeds(gained(numbers, gate)).mean)
    sentences = [
        "By the BLEU lost without it, the order is " + " > ".join(f"{g} ({means[g]:.1f})" for g in order) + ".",
        f"By the validation loss gained it is {' > '.join(by_loss)}" + (", the same." if by_loss == order else "."),
    ]
    harmless = [gate for gate in GATES if means[gate] <= 0]
    if harmless:
        sentences.append(f"On the mean nothing is lost without the {' and the '.join(harmless)} gate.")
    columns = ["network", "BLEU", "validation loss", "BLEU lost", "loss gained"]
    if seeds < SEEDS_FOR_A_VERDICT:
        return Findings(sentences, columns, rows)
    return Findings(sentences, columns, rows, *_judged(numbers))


def _judged(numbers: Numbers) -> tuple[Verdict, str]:
    steps: dict[str, Mean] = {
        f"{first} - {second}": differences(lost(numbers, first), lost(numbers, second))
        for first, second in itertools.combinations(GATES, 2)
    }
    reason = "difference in BLEU lost: " + ", ".join(f"{name} {mean.text()}" for name, mean in steps.items())
    return all_of([above(mean) for mean in steps.values()]), reason


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, (left, right) = panels(["BLEU lost without the gate", "Loss gained without the gate"], narrow)
    _losses(left, [lost(numbers, gate) for gate in GATES], "BLEU, full network minus this one")
    _losses(right, [gained(numbers, gate) for gate in GATES], "nats a token, this one minus full")
    return figure


def _losses(axes: Axes, seeds: list[list[float]], label: str) -> None:
    means = [mean_over_seeds(values).mean for values in seeds]
    styles = [numbered(place) for place in range(len(GATES))]
    axes.bar(range(len(GATES)), means, width=0.5, color=[style.light for style in styles], alpha=0.25, zorder=1)
    points(axes, [f"{gate}\ngate" for gate in GATES], seeds, styles)
    axes.axhline(0, color=SOFT, linewidth=0.9, zorder=1)
    axis_labels(axes, "", label)


EXPERIMENT = Experiment(
    name="ablation",
    title="Which gate matters most?",
    claim="In an LSTM the gates rank by importance: forget gate > input gate > output gate.",
    chapter="chapter 4: CNN, RNN, LSTM, GRU",
    setup="LSTMs that translate through an encoding of fixed size, one gate fixed at 1 and its parameters taken away "
    "in encoder and decoder, against the full cell; all else is the same, and runs of the same seed are compared. The "
    "importance of a gate is the BLEU lost on the test set without it; the cross-entropy gained on the validation "
    "split stands beside it. The verdict needs all three: forget > input, input > output, forget > output.",
    settings=Settings,
    measure=measure,
    find=find,
    draw=draw,
)
