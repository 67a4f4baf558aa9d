"""Does an initial bias of 1 make an LSTM as good as a GRU, and of which gate?

At b = 0 a new gate is at σ(0) = 0.5, so an LSTM's cell state is halved at each step until training opens the forget
gate; at b_f = 1 it starts at σ(1) = 0.73. Jozefowicz et al. 2015 found that a bias of 1 of the *forget* gate closes the
gap between LSTM and GRU. The note names the *output* gate. Both are tested, with the same definition of "close".
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from matplotlib.figure import Figure

from s2s.lab.experiment import MAY_BE_EMPTY, Conclusion, Description, Findings, Numbers, Overrides
from s2s.lab.plots import cell_style, panels, points, reference_line
from s2s.lab.runner import JobRunner
from s2s.lab.statistics import MIN_SEEDS, Mean, above, all_of, below, differences, mean_over_seeds
from s2s.lab.translation import equal_parameters, scores, size_overrides
from s2s.nn.cells import CELLS


@dataclass(frozen=True)
class Settings:
    train: Overrides  # of the models
    lstm: Annotated[list[tuple[float, float]], MAY_BE_EMPTY]  # b_f and b_o of further LSTMs
    gru: Annotated[list[float], MAY_BE_EMPTY]  # b_z of further GRUs
    seeds: list[int]


class Initialisation(NamedTuple):
    """Initial biases of a cell's gates, by the names of its options."""

    cell: str
    biases: tuple[tuple[str, float], ...]

    @classmethod
    def lstm(cls, forget: float, output: float) -> Initialisation:
        return cls("lstm", (("forget_bias", float(forget)), ("output_bias", float(output))))

    @classmethod
    def gru(cls, update: float) -> Initialisation:
        return cls("gru", (("update_bias", float(update)),))

    @property
    def name(self) -> str:
        letters = ", ".join(f"b_{option[0] if option[0] != 'u' else 'z'} = {value:g}" for option, value in self.biases)
        return f"{self.cell.upper()}, {letters}"

    @property
    def default(self) -> bool:
        """Whether these are the cell's own defaults."""
        parameters = inspect.signature(CELLS.find(self.cell)).parameters
        return all(parameters[option].default == value for option, value in self.biases)

    def overrides(self) -> list[str]:
        """Overrides of train.py; the defaults need no option, so their runs are shared with other experiments."""
        options = ",".join(f"{option}:{value}" for option, value in self.biases)
        return [f"model={self.cell}", *([] if self.default else [f"model.cell_options={{{options}}}"])]


PLAIN, NOTE, PAPER = Initialisation.lstm(0, 0), Initialisation.lstm(0, 1), Initialisation.lstm(1, 0)
PLAIN_GRU = Initialisation.gru(0)
CLOSE = 1.0  # BLEU: an LSTM that is less behind a GRU is close to it


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """BLEU and validation loss of each initialisation: a list over seeds."""
    lstm, gru = ([*settings.train, f"model={cell}"] for cell in ("lstm", "gru"))
    wide = size_overrides(*equal_parameters(runner, gru, lstm))
    lstms = dict.fromkeys([PLAIN, NOTE, PAPER, *(Initialisation.lstm(*biases) for biases in settings.lstm)])
    grus = dict.fromkeys([PLAIN_GRU, *(Initialisation.gru(bias) for bias in settings.gru)])
    systems = {one.name: one.overrides() for one in lstms} | {one.name: one.overrides() + wide for one in grus}
    facts = runner.train(systems, settings.train, settings.seeds)
    return {"standard": [one.name for one in (*lstms, *grus) if one.default], **scores(runner, facts)}


class Gap(NamedTuple):
    """Effect of an initialisation on the gap between LSTM and GRU, in BLEU."""

    gap: Mean  # of the plain LSTM to the GRU
    gain: Mean  # over the plain LSTM
    rest: Mean  # to the GRU

    @classmethod
    def of(cls, numbers: Numbers, initialisation: Initialisation) -> Gap:
        plain, gru, this = (numbers["bleu"][one.name] for one in (PLAIN, PLAIN_GRU, initialisation))
        return cls(differences(gru, plain), differences(this, plain), differences(gru, this))

    @property
    def conclusion(self) -> Conclusion:
        """Whether there was a gap, it shrinks, and less than `CLOSE` is left."""
        return all_of([above(self.gap), above(self.gain), below(self.rest, CLOSE)])

    def text(self) -> str:
        return f"gap {self.gap.text()}, gain {self.gain.text()}, left {self.rest.text()}"

    def change(self) -> str:
        """`adds 1.2 BLEU and ends 0.3 behind the GRU`."""
        gain, rest = self.gain.mean, self.rest.mean
        verb = "adds" if gain >= 0 else "costs"
        return f"{verb} {abs(gain):.1f} BLEU and ends {abs(rest):.1f} {'behind' if rest > 0 else 'ahead of'} the GRU"


def analyse(numbers: Numbers) -> Findings:
    bleu, losses = numbers["bleu"], numbers["loss"]
    rows = []
    for name in bleu:
        default = " (default)" if name in numbers["standard"] else ""
        behind = "" if name == PLAIN_GRU.name else differences(bleu[PLAIN_GRU.name], bleu[name]).text()
        compared = name != PLAIN.name and name.startswith("LSTM")
        gain = differences(bleu[name], bleu[PLAIN.name]).text() if compared else ""
        both = [mean_over_seeds(bleu[name]).text(), mean_over_seeds(losses[name]).text(3)]
        rows.append([name + default, *both, gain, behind])
    note, paper = Gap.of(numbers, NOTE), Gap.of(numbers, PAPER)
    gap = note.gap.mean
    best = max((name for name in bleu if name.startswith("LSTM")), key=lambda name: mean_over_seeds(bleu[name]).mean)
    sentences = [
        f"With all biases at 0 the LSTM is {abs(gap):.1f} BLEU {'behind' if gap > 0 else 'ahead of'} the GRU.",
        f"b_o = 1 (the note) {note.change()}; b_f = 1 (Jozefowicz et al. 2015) {paper.change()}.",
        f"The best LSTM has {best.removeprefix('LSTM, ')}.",
    ]
    columns = ["initial biases", "BLEU", "validation loss", "gain over plain LSTM", "behind plain GRU"]
    if len(bleu[PLAIN.name]) < MIN_SEEDS:
        return Findings(sentences, columns, rows)
    reason = (
        f"BLEU with b_o = 1: {note.text()}. The same test of b_f = 1: {paper.conclusion}, {paper.text()}. "
        f"Close is less than {CLOSE:g}"
    )
    return Findings(sentences, columns, rows, note.conclusion, reason)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, both = panels(
        narrow,
        ("BLEU by initial biases", "", "BLEU on the test set"),
        ("Validation loss by initial biases", "", "nats a token"),
    )
    gru, lstm = cell_style("gru"), cell_style("lstm")
    for axes, values in zip(both, (numbers["bleu"], numbers["loss"]), strict=True):
        labels = [name.replace(", ", "\n").replace(" = ", " ") for name in values]
        points(axes, labels, list(values.values()), [gru if name.startswith("GRU") else lstm for name in values])
        axes.tick_params(axis="x", labelsize=7.5)
        reference_line(axes, mean_over_seeds(values[PLAIN_GRU.name]).mean, gru.light, 1.2)
    return figure


DESCRIPTION = Description(
    title="Does a bias of 1 bring the LSTM close to the GRU?",
    claim="With the mean of the output gate's bias b_o initialised to 1, an LSTM performs about as well as a GRU.",
    chapter="chapters 2.1.4 and 4: LSTM, the output gate; CNN, RNN, LSTM, GRU",
    setup="LSTM and GRU translation models with equal parameters and a fixed-length context vector; the initial "
    "biases of their gates differ, in encoder and decoder. “Plain” is all biases at 0. An initialisation brings the "
    "LSTM close if the plain LSTM is behind the plain GRU, the initialisation is better than the plain LSTM, and "
    "less than 1 BLEU is left to the plain GRU; each needs its interval over seeds. The note says b_o, the output "
    "gate; its likely source, Jozefowicz et al. 2015, says b_f, the forget gate: both are tested. The defaults of "
    "s2s are b_f = 3 and, for the GRU's update gate, which renews where the forget gate keeps, b_z = -3.",
)
