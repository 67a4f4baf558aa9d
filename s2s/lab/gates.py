"""Are the gates of a trained LSTM open or shut, or in between?

A gate is σ(a) for a sum a that depends on the input and the last output. It is near 0 or 1 where |a| is large: beyond
|a| = 2.2 it lies in the outer tenths, below 0.1 or above 0.9. How the sums are spread follows from training, and from
where training began: with b_f = 3 a new network's forget gates are at σ(3) = 0.95 whatever they read, with b_f = 0 at
0.5. So the gates of the untrained network stand beside those of the trained one, and a network that began at b_f = 0
beside both.

(That trained gates are open or shut for much of the time is seen by Karpathy et al. 2015 in language models.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure

from s2s.data.batching import Batch, evaluation_batches
from s2s.evaluation.report.canvas import SHADE, SOFT
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers, Typed, Verdict
from s2s.lab.look import axis_labels, legend, looks, numbered, panels
from s2s.lab.statistics import SEEDS_FOR_A_VERDICT, Mean, above, all_of, mean_over_seeds
from s2s.lab.translation import known_pairs, train
from s2s.models import build_model
from s2s.models.interface import Seq2Seq
from s2s.runs import load
from s2s.schema import PositiveInt

GATES = ("forget", "input", "output")
BINS = 50  # from 0 to 1
OUTER = BINS // 10
VAST = 80  # % that is a vast majority
# What is typed for each network beside `model=lstm`.
NETWORKS = {"LSTM, b_f = 3": [], "LSTM, b_f = 0": ["model.cell_options={forget_bias:0.0,output_bias:0.0}"]}
STATES = ("untrained", "trained")

Counts = dict[str, dict[str, list[float]]]  # of the values in each bin, by layer and gate


@dataclass(frozen=True)
class Settings:
    train: Typed  # of the models
    sentences: PositiveInt  # of the validation split, that are looked at
    seeds: list[int]


def measure(settings: Settings, bench: Bench) -> Numbers:
    """Counts of gate values by network and state, for each seed."""
    systems = {name: ["model=lstm", *typed] for name, typed in NETWORKS.items()}
    facts = train(bench, systems, settings.train, settings.seeds)
    jobs = {
        (name, seed): partial(gate_counts, one["run"], settings.sentences)
        for name, each in facts.items()
        for seed, one in zip(settings.seeds, each, strict=True)
    }
    found = bench.each({f"gates of {name}, seed {seed}": job for (name, seed), job in jobs.items()})
    return {
        name: {state: [found[f"gates of {name}, seed {seed}"][state] for seed in settings.seeds] for state in STATES}
        for name in systems
    }


def gate_counts(path: str, sentences: int) -> dict[str, Counts]:
    """Counts of the gate values of a run on its validation split, trained and as it was before its first update."""
    run = load(path, "cpu")
    batches = list(evaluation_batches(known_pairs(run, sentences), run.tokenizer, run.config.training.batch_tokens))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.config.seed)  # as training does it
        untrained = build_model(run.config.model, run.tokenizer.source_size, run.tokenizer.target_size).eval()
    return {"untrained": count(untrained, batches), "trained": count(run.model, batches)}


@torch.no_grad()
def count(model: Seq2Seq, batches: Sequence[Batch]) -> Counts:
    """How many gate values lie in each of `BINS` bins from 0 to 1, padding left out."""
    counts: dict[str, dict[str, torch.Tensor]] = {}
    for batch in batches:
        for layer, gates in model.gates(batch).items():
            of_layer = counts.setdefault(layer, {gate: torch.zeros(BINS) for gate in GATES})
            for gate in GATES:
                of_layer[gate] += torch.histc(gates[gate].float(), BINS, 0, 1)
    return {layer: {gate: row.tolist() for gate, row in gates.items()} for layer, gates in counts.items()}


def pooled(counts: Counts, gates: Sequence[str], layers: Sequence[str]) -> list[float]:
    """Shares of the values of these gates and layers in each bin."""
    rows = [counts[layer][gate] for layer in layers for gate in gates]
    total = sum(map(sum, rows))
    return [sum(column) / total for column in zip(*rows, strict=True)]


def tails(shares: Sequence[float]) -> tuple[float, float]:
    """The shares below 0.1 and above 0.9."""
    return sum(shares[:OUTER]), sum(shares[-OUTER:])


def _outer(each: Sequence[Counts], gates: Sequence[str], layers: Sequence[str]) -> Mean:
    """The share in both outer tenths, in percent, over seeds."""
    return mean_over_seeds([100 * sum(tails(pooled(counts, gates, layers))) for counts in each])


def find(numbers: Numbers) -> Findings:
    ours, zero = (numbers[name] for name in NETWORKS)
    layers = list(ours["trained"][0])
    rows = []
    for gate in (*GATES, "all"):
        gates = GATES if gate == "all" else (gate,)
        for layer in (*layers, "all"):
            of_layers = layers if layer == "all" else [layer]
            sides = zip(*(tails(pooled(counts, gates, of_layers)) for counts in ours["trained"]), strict=True)
            rows.append(
                [
                    f"{gate}, {layer}",
                    *(f"{100 * sum(side) / len(side):.0f} %" for side in sides),
                    *(
                        _outer(each, gates, of_layers).percent()
                        for each in (ours["trained"], ours["untrained"], zero["trained"])
                    ),
                ]
            )
    after = {gate: _outer(ours["trained"], [gate], layers) for gate in GATES}
    before = {gate: _outer(ours["untrained"], [gate], layers) for gate in GATES}
    from_zero = {gate: _outer(zero["trained"], [gate], layers) for gate in GATES}
    overall, at_zero = _outer(ours["trained"], GATES, layers), _outer(zero["untrained"], GATES, layers)
    by_layer = sorted((_outer(ours["trained"], GATES, [layer]).mean, layer) for layer in layers)
    sentences = [
        f"{overall.mean:.0f} % of all gate values of the trained networks are below 0.1 or above 0.9: "
        + ", ".join(f"{gate} {after[gate].mean:.0f} %" for gate in GATES)
        + ".",
        f"Before the first update it was {before['forget'].mean:.0f} % of the forget gates already, which start at "
        f"σ(3) = 0.95, and {before['input'].mean:.0f} % and {before['output'].mean:.0f} % of the others.",
        f"Networks whose forget gates start at σ(0) = 0.5 begin with {at_zero.mean:.0f} % of all values there, and end "
        + "with "
        + ", ".join(f"{from_zero[gate].mean:.0f} % ({gate})" for gate in GATES)
        + ".",
        "By layer, of all three gates, it is "
        + ", ".join(f"{share:.0f} % ({layer})" for share, layer in by_layer)
        + ".",
    ]
    columns = ["gate, layer", "below 0.1", "above 0.9", "both", "both, untrained", "both, trained from b_f = 0"]
    return Findings(sentences, columns, rows, *_judged(overall, after, len(ours["trained"])))


def _judged(overall: Mean, gates: Mapping[str, Mean], seeds: int) -> tuple[Verdict | None, str]:
    if seeds < SEEDS_FOR_A_VERDICT:
        return None, ""
    shares = {"all gates": overall, **gates}
    verdict = all_of([above(share, VAST) for share in shares.values()])
    return verdict, f"in the outer tenths, where a vast majority is more than {VAST} %: " + ", ".join(
        f"{name} {share.percent(1)}" for name, share in shares.items()
    )


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, found = panels([f"{gate.capitalize()} gate" for gate in GATES], narrow, height=2.7 if narrow else 3.4)
    ours, zero = (numbers[name] for name in NETWORKS)
    lines: list[tuple[str, list[Counts], dict[str, Any]]] = [
        ("untrained (b_f = 3)", ours["untrained"], {"color": SOFT, "linestyle": (0, (2, 1.4)), "linewidth": 1.4}),
        ("trained", ours["trained"], {"color": looks()["lstm"].light, "linewidth": 2.0}),
        ("trained from b_f = 0", zero["trained"], {"color": numbered(2).light, "linewidth": 1.4}),
    ]
    edges = [n / BINS for n in range(BINS + 1)]
    for axes, gate in zip(found, GATES, strict=True):
        for low, high in ((0, 0.1), (0.9, 1)):
            axes.axvspan(low, high, color=SHADE, linewidth=0, zorder=0)
        for name, each, style in lines:
            of_seeds = [pooled(counts, [gate], list(counts)) for counts in each]
            shares = [100 * sum(column) / len(of_seeds) for column in zip(*of_seeds, strict=True)]
            axes.stairs(shares, edges, baseline=None, label=name, zorder=3, **style)
        axes.set_yscale("log")
        axes.set_ylim(0.05, 100)
        axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
        axes.minorticks_off()
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.1, 0.5, 0.9, 1], ["0", "0.1", "0.5", "0.9", "1"])
        first = axes is found[0]
        axis_labels(axes, "value of the gate", "% of values, in bins of 0.02" if first or narrow else "")
    legend(figure, found[0])
    return figure


EXPERIMENT = Experiment(
    name="gates",
    title="Are gates open or shut?",
    claim="When you look at a trained LSTM, you find that the vast majority of the gate's values are very close to 0 "
    "or 1; the others are very few.",
    chapter="chapter 2.1.1: LSTM, the forget gate",
    setup="LSTMs that translate through an encoding of fixed size read validation sentences (no longer than those of "
    "training) with the reference as the decoder's input; every value of every gate at every real token counts once. "
    f"“Very close to 0 or 1” is below 0.1 or above 0.9, “the vast majority” is more than {VAST} %: of all values, and "
    "of each gate's. "
    "The note says it of the forget gate; here all three are looked at. Forget gates start at σ(3) = 0.95 unless it "
    "says b_f = 0; other biases start at 0.",
    settings=Settings,
    measure=measure,
    find=find,
    draw=draw,
)
