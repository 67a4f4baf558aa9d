"""Are the gates of a trained LSTM open or shut, or in between?

A gate is σ(a) with a preactivation a that depends on the input and the last output. It is near 0 or 1 where |a| is
large: beyond |a| = 2.2 it lies in the outer tenths, below 0.1 or above 0.9. The distribution of a also depends on the
initialisation: the forget gates of a new network are at σ(3) = 0.95 with b_f = 3, at 0.5 with b_f = 0.

(Karpathy et al. 2015 observe in language models that trained gates are open or shut for much of the time.)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from s2s.data.batching import Batch, evaluation_batches
from s2s.evaluation.report.canvas import SHADE, SOFT
from s2s.lab.experiment import Description, Findings, Numbers, Overrides
from s2s.lab.fit import seeded
from s2s.lab.plots import cell_style, legend, panels, series_style
from s2s.lab.runner import JobRunner
from s2s.lab.statistics import MIN_SEEDS, Mean, above, all_of, mean_over_seeds
from s2s.lab.translation import validation_pairs
from s2s.models import build_model
from s2s.models.interface import Seq2Seq
from s2s.runs import load
from s2s.schema import PositiveInt

GATES = ("forget", "input", "output")
BINS = 50  # from 0 to 1
OUTER = BINS // 10
VAST = 80  # %: a vast majority
NETWORKS = {  # overrides
    "LSTM, b_f = 3": ["model=lstm"],
    "LSTM, b_f = 0": ["model=lstm", "model.cell_options={forget_bias:0.0,output_bias:0.0}"],
}
STATES = ("untrained", "trained")

Counts = dict[str, dict[str, list[float]]]  # histogram of the values, by layer and gate


@dataclass(frozen=True)
class Settings:
    train: Overrides  # of the models
    sentences: PositiveInt  # of the validation split
    seeds: list[int]


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """Histograms of gate values by network and state: a list over seeds."""
    facts = runner.train(NETWORKS, settings.train, settings.seeds)
    counts = runner.run_seeds(
        NETWORKS,
        settings.seeds,
        lambda name, seed: partial(gate_counts, facts[name][settings.seeds.index(seed)]["run"], settings.sentences),
        label="gates of ",
    )
    return {name: {state: [run[state] for run in runs] for state in STATES} for name, runs in counts.items()}


def gate_counts(path: str, sentences: int) -> dict[str, Counts]:
    """Histograms of a run's gate values on its validation split, trained and with its initial weights."""
    run = load(path, "cpu")
    pairs = validation_pairs(run, sentences)
    batches = list(evaluation_batches(pairs, run.tokenizer, run.config.training.batch_tokens))
    with seeded(run.config.seed):  # as in training
        untrained = build_model(run.config.model, run.tokenizer.source_size, run.tokenizer.target_size).eval()
    return {"untrained": count(untrained, batches), "trained": count(run.model, batches)}


@torch.no_grad()
def count(model: Seq2Seq, batches: Sequence[Batch]) -> Counts:
    """Numbers of gate values in each of `BINS` bins from 0 to 1, without padding."""
    counts: dict[str, dict[str, torch.Tensor]] = {}
    for batch in batches:
        for layer, gates in model.gates(batch).items():
            layer_counts = counts.setdefault(layer, {gate: torch.zeros(BINS) for gate in GATES})
            for gate in GATES:
                layer_counts[gate] += torch.histc(gates[gate].float(), BINS, 0, 1)
    return {layer: {gate: row.tolist() for gate, row in gates.items()} for layer, gates in counts.items()}


def pooled(runs: Sequence[Counts], gates: Iterable[str], layers: Iterable[str]) -> NDArray[np.float64]:
    """(runs, BINS) shares of the values of these gates and layers."""
    counts = np.array([[run[layer][gate] for layer, gate in itertools.product(layers, gates)] for run in runs])
    return counts.sum(axis=1) / counts.sum(axis=(1, 2))[:, None]  # type: ignore[no-any-return]


def tails(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, runs) the shares below 0.1 and above 0.9."""
    return np.stack([shares[:, :OUTER].sum(axis=1), shares[:, -OUTER:].sum(axis=1)])


def _outer(runs: Sequence[Counts], gates: Sequence[str], layers: Sequence[str]) -> Mean:
    """The share in both outer tenths, in percent, over seeds."""
    return mean_over_seeds((100 * tails(pooled(runs, gates, layers)).sum(axis=0)).tolist())


def analyse(numbers: Numbers) -> Findings:
    default, zero = (numbers[name] for name in NETWORKS)
    layers = list(default["trained"][0])
    rows = []
    for gate, gates in [*((gate, [gate]) for gate in GATES), ("all", list(GATES))]:
        for layer, some_layers in [*((layer, [layer]) for layer in layers), ("all", layers)]:
            sides = tails(pooled(default["trained"], gates, some_layers)).mean(axis=1)
            both = (
                _outer(runs, gates, some_layers).percent()
                for runs in (default["trained"], default["untrained"], zero["trained"])
            )
            rows.append([f"{gate}, {layer}", *(f"{100 * side:.0f} %" for side in sides), *both])
    after, before, from_zero = (
        {gate: _outer(runs, [gate], layers) for gate in GATES}
        for runs in (default["trained"], default["untrained"], zero["trained"])
    )
    overall, at_zero = _outer(default["trained"], GATES, layers), _outer(zero["untrained"], GATES, layers)
    by_layer = sorted((_outer(default["trained"], GATES, [layer]).mean, layer) for layer in layers)
    sentences = [
        f"{overall.mean:.0f} % of all gate values of the trained networks are below 0.1 or above 0.9: "
        + ", ".join(f"{gate} {after[gate].mean:.0f} %" for gate in GATES)
        + ".",
        f"Before the first update it was {before['forget'].mean:.0f} % of the forget gates already, which start at "
        f"σ(3) = 0.95, and {before['input'].mean:.0f} % and {before['output'].mean:.0f} % of the others.",
        f"Networks with forget gates that start at σ(0) = 0.5 begin with {at_zero.mean:.0f} % of all values there, and "
        "end with " + ", ".join(f"{from_zero[gate].mean:.0f} % ({gate})" for gate in GATES) + ".",
        "By layer, over all three gates: " + ", ".join(f"{share:.0f} % ({layer})" for share, layer in by_layer) + ".",
    ]
    columns = ["gate, layer", "below 0.1", "above 0.9", "both", "both, untrained", "both, trained from b_f = 0"]
    if len(default["trained"]) < MIN_SEEDS:
        return Findings(sentences, columns, rows)
    shares = {"all gates": overall, **after}
    reason = f"in the outer tenths, where a vast majority is more than {VAST} %: "
    reason += ", ".join(f"{name} {share.percent(1)}" for name, share in shares.items())
    return Findings(sentences, columns, rows, all_of([above(share, VAST) for share in shares.values()]), reason)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    y = "% of values, in bins of 0.02"
    labels = [
        (f"{gate.capitalize()} gate", "value of the gate", y if narrow or gate == GATES[0] else "") for gate in GATES
    ]
    figure, all_axes = panels(narrow, *labels, height=2.7 if narrow else 3.4)
    default, zero = (numbers[name] for name in NETWORKS)
    lines: list[tuple[str, list[Counts], dict[str, Any]]] = [
        ("untrained (b_f = 3)", default["untrained"], {"color": SOFT, "linestyle": (0, (2, 1.4)), "linewidth": 1.4}),
        ("trained", default["trained"], {"color": cell_style("lstm").light, "linewidth": 2.0}),
        ("trained from b_f = 0", zero["trained"], {"color": series_style(2).light, "linewidth": 1.4}),
    ]
    edges = [n / BINS for n in range(BINS + 1)]
    for axes, gate in zip(all_axes, GATES, strict=True):
        for low, high in ((0, 0.1), (0.9, 1)):
            axes.axvspan(low, high, color=SHADE, linewidth=0, zorder=0)
        for name, runs, style in lines:
            shares = 100 * pooled(runs, [gate], runs[0]).mean(axis=0)
            axes.stairs(shares, edges, baseline=None, label=name, zorder=3, **style)
        axes.set_yscale("log")
        axes.set_ylim(0.05, 100)
        axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        axes.minorticks_off()
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.1, 0.5, 0.9, 1], ["0", "0.1", "0.5", "0.9", "1"])
    return legend(figure)


DESCRIPTION = Description(
    title="Are gates open or shut?",
    claim="When you look at a trained LSTM, you find that the vast majority of the gate's values are very close to 0 "
    "or 1; the others are very few.",
    chapter="chapter 2.1.1: LSTM, the forget gate",
    setup="LSTM translation models with a fixed-length context vector read validation sentences (no longer than "
    "those of training) with the reference as the decoder's input; every value of every gate at every real token "
    f"counts once. “Very close to 0 or 1” is below 0.1 or above 0.9, “the vast majority” is more than {VAST} %: of "
    "all values, and of each gate's. The note says it of the forget gate; the experiment measures all three. Forget "
    "gates start at σ(3) = 0.95 unless stated as b_f = 0; other biases start at 0.",
)
