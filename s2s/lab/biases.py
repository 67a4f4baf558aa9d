"""Does a bias of 1 make an LSTM as good as a GRU, and which gate's?

At b = 0 a new gate is at σ(0) = 0.5, so an LSTM's memory is halved at each step until training opens the forget gate;
at b_f = 1 it begins at σ(1) = 0.73. Jozefowicz et al. 2015 found that a bias of 1 in the *forget* gate closes the gap
between LSTM and GRU. The note has the *output* gate. Both are tested, with the same definition of "close".
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2s.evaluation.report.palette import Style
from s2s.lab.bench import Bench
from s2s.lab.experiment import MAY_BE_EMPTY, Experiment, Findings, Numbers, Typed, Verdict
from s2s.lab.look import axis_labels, looks, panels, points
from s2s.lab.statistics import SEEDS_FOR_A_VERDICT, Mean, above, all_of, below, differences, mean_over_seeds
from s2s.lab.translation import equal_parameters, of_widths, scores, train
from s2s.nn.cells import cell_class


@dataclass(frozen=True)
class Settings:
    train: Typed  # of the models
    lstm: Annotated[list[tuple[float, float]], MAY_BE_EMPTY]  # b_f and b_o of further LSTMs
    gru: Annotated[list[float], MAY_BE_EMPTY]  # b_z of further GRUs
    seeds: list[int]


class Start(NamedTuple):
    """The first biases of a cell's gates, by the names of its options."""

    cell: str
    biases: tuple[tuple[str, float], ...]

    @classmethod
    def lstm(cls, forget: float, output: float) -> Start:
        return cls("lstm", (("forget_bias", float(forget)), ("output_bias", float(output))))

    @classmethod
    def gru(cls, update: float) -> Start:
        return cls("gru", (("update_bias", float(update)),))

    @property
    def name(self) -> str:
        letters = ", ".join(f"b_{option[0] if option[0] != 'u' else 'z'} = {value:g}" for option, value in self.biases)
        return f"{self.cell.upper()}, {letters}"

    @property
    def standard(self) -> bool:
        """Whether these are the cell's own defaults."""
        own = inspect.signature(cell_class(self.cell)).parameters
        return all(own[option].default == value for option, value in self.biases)

    def typed(self) -> list[str]:
        """What one types for it; nothing for the defaults, so that other experiments' runs are shared."""
        options = ",".join(f"{option}:{value}" for option, value in self.biases)
        return [f"model={self.cell}", *([] if self.standard else [f"model.cell_options={{{options}}}"])]


PLAIN, NOTE, PAPER = Start.lstm(0, 0), Start.lstm(0, 1), Start.lstm(1, 0)
PLAIN_GRU = Start.gru(0)
CLOSE = 1.0  # BLEU: an LSTM that is less than this behind a GRU is close to it


def measure(settings: Settings, bench: Bench) -> Numbers:
    """BLEU and validation loss of each start, for each seed."""
    like = [*settings.train, "model=lstm"]
    wide = of_widths(*equal_parameters(bench, [*settings.train, "model=gru"], like))
    lstms = dict.fromkeys([PLAIN, NOTE, PAPER, *(Start.lstm(*given) for given in settings.lstm)])
    grus = dict.fromkeys([PLAIN_GRU, *(Start.gru(given) for given in settings.gru)])
    systems = {start.name: start.typed() for start in lstms} | {start.name: start.typed() + wide for start in grus}
    facts = train(bench, systems, settings.train, settings.seeds)
    return {
        "standard": [start.name for start in (*lstms, *grus) if start.standard],
        **scores(bench, facts),
    }


class Closing(NamedTuple):
    """What a start does to the gap between the LSTM and the GRU, in BLEU."""

    gap: Mean  # of the plain LSTM to the GRU
    gain: Mean  # of the start over the plain LSTM
    rest: Mean  # from the start to the GRU

    @classmethod
    def of(cls, numbers: Numbers, start: Start) -> Closing:
        plain, gru, this = (numbers["bleu"][one.name] for one in (PLAIN, PLAIN_GRU, start))
        return cls(differences(gru, plain), differences(this, plain), differences(gru, this))

    @property
    def verdict(self) -> Verdict:
        """Whether there was a gap, it shrinks, and less than `CLOSE` is left."""
        return all_of([above(self.gap), above(self.gain), below(self.rest, CLOSE)])

    def text(self) -> str:
        return f"gap {self.gap.text()}, gain {self.gain.text()}, left {self.rest.text()}"


def find(numbers: Numbers) -> Findings:
    bleus, losses = numbers["bleu"], numbers["loss"]
    rows = []
    for name in bleus:
        own = " (default)" if name in numbers["standard"] else ""
        behind = "" if name == PLAIN_GRU.name else differences(bleus[PLAIN_GRU.name], bleus[name]).text()
        compared = name != PLAIN.name and name.startswith("LSTM")
        gain = differences(bleus[name], bleus[PLAIN.name]).text() if compared else ""
        both = [mean_over_seeds(bleus[name]).text(), mean_over_seeds(losses[name]).text(3)]
        rows.append([name + own, *both, gain, behind])
    note, paper = Closing.of(numbers, NOTE), Closing.of(numbers, PAPER)
    sentences = [
        _gap(note.gap),
        f"b_o = 1, as the note has it, {_change(note)}; b_f = 1, as Jozefowicz et al. 2015 have it, {_change(paper)}.",
    ]
    best = max((name for name in bleus if name.startswith("LSTM")), key=lambda name: mean_over_seeds(bleus[name]).mean)
    sentences.append(f"The best of the LSTMs is that with {best.removeprefix('LSTM, ')}.")
    columns = ["start", "BLEU", "validation loss", "gain over plain LSTM", "behind plain GRU"]
    if len(bleus[PLAIN.name]) < SEEDS_FOR_A_VERDICT:
        return Findings(sentences, columns, rows)
    reason = (
        f"BLEU with b_o = 1: {note.text()}. The same test of b_f = 1: {paper.verdict}, {paper.text()}. "
        f"Close is less than {CLOSE:g}"
    )
    return Findings(sentences, columns, rows, note.verdict, reason)


def _gap(gap: Mean) -> str:
    side = "behind" if gap.mean > 0 else "ahead of"
    return f"With all biases at 0 the LSTM is {abs(gap.mean):.1f} BLEU {side} the GRU."


def _change(closing: Closing) -> str:
    """`adds 1.2 BLEU and ends 0.3 behind the GRU`."""
    gain, rest = closing.gain.mean, closing.rest.mean
    verb = "adds" if gain >= 0 else "costs"
    return f"{verb} {abs(gain):.1f} BLEU and ends {abs(rest):.1f} {'behind' if rest > 0 else 'ahead of'} the GRU"


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, (left, right) = panels(["BLEU by first biases", "Validation loss by first biases"], narrow)
    names = list(numbers["bleu"])
    styles = [looks()["gru"] if name.startswith("GRU") else looks()["lstm"] for name in names]
    _starts(left, names, [numbers["bleu"][name] for name in names], styles)
    _starts(right, names, [numbers["loss"][name] for name in names], styles)
    axis_labels(left, "", "BLEU on the test set")
    axis_labels(right, "", "nats a token")
    return figure


def _starts(axes: Axes, names: Sequence[str], seeds: Sequence[Sequence[float]], styles: Sequence[Style]) -> None:
    points(axes, [name.replace(", ", "\n").replace(" = ", " ") for name in names], seeds, styles)
    axes.tick_params(axis="x", labelsize=7.5)
    reference = mean_over_seeds(seeds[names.index(PLAIN_GRU.name)]).mean
    axes.axhline(reference, color=looks()["gru"].light, linewidth=1.2, linestyle=(0, (1, 2)), zorder=1)


EXPERIMENT = Experiment(
    name="biases",
    title="Does a bias of 1 bring the LSTM close to the GRU?",
    claim="With the mean of the output gate's bias b_o initialised to 1, an LSTM performs about as well as a GRU.",
    chapter="chapters 2.1.4 and 4: LSTM, the output gate; CNN, RNN, LSTM, GRU",
    setup="LSTMs and GRUs of as many parameters translate through an encoding of fixed size; their gates' first "
    "biases differ, in encoder and decoder. “Plain” is all biases at 0. A start brings the LSTM close if the plain "
    "LSTM is behind the plain GRU, the start is better than the plain LSTM, and then less than 1 BLEU is left to the "
    "plain GRU; each needs its interval over seeds. The note says b_o, the output gate; its likely source, Jozefowicz "
    "et al. 2015, says b_f, the forget gate: both are tested. This project's own starts are b_f = 3 and, for the "
    "GRU's update gate, which renews where the forget gate keeps, b_z = -3.",
    settings=Settings,
    measure=measure,
    find=find,
    draw=draw,
)
