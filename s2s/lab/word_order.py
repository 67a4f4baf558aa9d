"""Who eats whom: word order in the encodings of encoders.

Sentences have three words, subject, verb and object. Each is paired with the one in which subject and object are
swapped: the same words, another meaning. An encoder turns a sentence into one vector, its summary:

- **bag of words**: the mean of the embeddings, Σ x_t / T, which does not depend on the order.
- **transformer without positions**: a Transformer's encoder without position vectors. It is permutation-equivariant, so
  the mean of its outputs does not depend on the order either.
- **transformer**: the same encoder with position vectors.
- every recurrent cell: h_t = f(x_t, h_{t-1}) with h_T as the summary, which treats first and last word differently.

Each encoder is also trained with a linear layer on top to name the subject. Without word order, both sentences of a
pair get the same answer, so the accuracy is at most one half.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.evaluation.report.canvas import INK, SOFT
from s2s.lab.experiment import Description, Findings, Numbers
from s2s.lab.fit import Recipe, fit, seeded
from s2s.lab.plots import CELLS, DOTTED, cell_style, note, panels, series_style
from s2s.lab.runner import JobRunner
from s2s.lab.statistics import MIN_SEEDS, above, all_of, mean_over_seeds
from s2s.models.blocks import BlockEncoder
from s2s.models.interface import Encoder, Memory
from s2s.models.recurrent import RecurrentEncoder
from s2s.schema import PositiveInt

BAG, NO_POSITIONS, TRANSFORMER = "bag of words", "transformer without positions", "transformer"
ORDERLESS = [BAG, NO_POSITIONS]
HEADS = 4  # of the Transformer's encoder
ROUNDING = 1e-12  # encodings are in float64; sums in another order differ in their last bits


@dataclass(frozen=True)
class Settings:
    cells: list[str]
    nouns: PositiveInt
    verbs: PositiveInt
    hidden: PositiveInt  # of the summaries, and of embeddings
    fit: Recipe
    seeds: list[int]


def check(settings: Settings) -> list[str]:
    return [
        *(["nouns must be at least 4: a quarter of their couples is the test"] if settings.nouns < 4 else []),
        *([f"hidden must be a multiple of {HEADS}, the Transformer's heads"] if settings.hidden % HEADS else []),
    ]


class SubjectClassifier(nn.Module):
    """Embeddings, one of the encoders above (a cell's name stands for a recurrent one), and a linear output layer."""

    def __init__(self, name: str, words: int, nouns: int, hidden: int) -> None:
        super().__init__()
        self.name, size = name, hidden
        self.embedding = nn.Embedding(words, hidden)
        if name in (NO_POSITIONS, TRANSFORMER):
            self.encoder: Encoder = BlockEncoder(
                hidden,
                mixer={"type": "self_attention"},
                layers=1,
                heads=HEADS,
                feedforward=2 * hidden,
                dropout=0.0,
                norm="pre",
                positions="none" if name == NO_POSITIONS else "sinusoidal",
            )
        elif name != BAG:
            self.encoder = RecurrentEncoder(
                hidden, cell=name, hidden_size=hidden, layers=1, bidirectional=False, dropout=0.0
            )
        if name != BAG:
            size = self.encoder.summary_size
        self.output = nn.Linear(size, nouns)
        self.double()

    def memory(self, embedded: Tensor) -> Memory:
        """(B, T, E) -> the encoder's memory."""
        return self.encoder(embedded, torch.ones(embedded.shape[:2], dtype=torch.bool))  # type: ignore[no-any-return]

    def encode(self, sentences: Tensor) -> Tensor:
        """(B, T) -> (B, D)."""
        embedded = self.embedding(sentences)
        return embedded.mean(dim=1) if self.name == BAG else self.memory(embedded).summary

    def forward(self, sentences: Tensor) -> Tensor:
        """(B, T) -> (B, nouns)."""
        return self.output(self.encode(sentences))  # type: ignore[no-any-return]


def all_pairs(nouns: int, verbs: int) -> Tensor:
    """(2, P, 3): every two different nouns with every verb, and swapped; words are numbered, nouns first."""
    both = torch.combinations(torch.arange(nouns))  # (n, 2)
    subject, object_ = both.repeat_interleave(verbs, dim=0).unbind(1)
    verb = nouns + torch.arange(verbs).repeat(len(both))
    return torch.stack([torch.stack([subject, verb, object_], dim=1), torch.stack([object_, verb, subject], dim=1)])


def split(pairs: Tensor, verbs: int, seed: int) -> tuple[Tensor, Tensor]:
    """Training and test pairs: three quarters of the couples of nouns, each with all its verbs, and the others."""
    couples = pairs.size(1) // verbs
    order = torch.randperm(couples, generator=torch.Generator().manual_seed(seed))
    held_out = torch.zeros(couples, dtype=torch.bool)
    held_out[order[: couples // 4]] = True
    rows = held_out.repeat_interleave(verbs)
    return pairs[:, ~rows], pairs[:, rows]


def distances(encode: Callable[[Tensor], Tensor], pairs: Tensor) -> Tensor:
    """(P,) distance between the two encodings of a pair, relative to their mean norm."""
    with torch.no_grad():
        one, other = map(encode, pairs)
    return (one - other).norm(dim=1) / ((one.norm(dim=1) + other.norm(dim=1)) / 2)  # type: ignore[no-any-return]


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """By encoder a list over seeds of the results of `encoded`."""
    names = [*ORDERLESS, TRANSFORMER, *settings.cells]
    encoders = runner.run_seeds(names, settings.seeds, lambda name, seed: partial(encoded, name, seed, settings))
    return {"cells": settings.cells, "encoders": encoders}


def encoded(name: str, seed: int, settings: Settings) -> dict[str, float]:
    """Measurements of one encoder.

    Returns:
        nearest, farthest: smallest and largest distance of a pair's encodings with initial weights; right: accuracy on
        the subjects of held-out pairs after training.
    """
    with seeded(seed):
        model = SubjectClassifier(name, settings.nouns + settings.verbs, settings.nouns, settings.hidden)
    pairs = all_pairs(settings.nouns, settings.verbs)
    apart = distances(model.encode, pairs)
    training, test = (subset.flatten(0, 1) for subset in split(pairs, settings.verbs, seed))
    fit(model, lambda: F.cross_entropy(model(training), training[:, 0]), settings.fit)
    with torch.no_grad():
        right = (model(test).argmax(dim=1) == test[:, 0]).double().mean().item()
    return {"nearest": apart.min().item(), "farthest": apart.max().item(), "right": right}


def analyse(numbers: Numbers) -> Findings:
    encoders, cells = numbers["encoders"], numbers["cells"]
    nearest = {name: min(run["nearest"] for run in runs) for name, runs in encoders.items()}
    farthest = {name: max(run["farthest"] for run in runs) for name, runs in encoders.items()}
    accuracy = {name: mean_over_seeds([100 * run["right"] for run in runs]) for name, runs in encoders.items()}
    rows = [
        [name, *("0" if d[name] < ROUNDING else f"{d[name]:.2f}" for d in (nearest, farthest)), right.percent(1)]
        for name, right in accuracy.items()
    ]
    ordered = [name for name in encoders if name not in ORDERLESS]
    equal = all(farthest[name] < ROUNDING for name in ORDERLESS)
    different = [name for name in ordered if nearest[name] > 1e-3]
    sentences = []
    if equal:
        sentences.append(
            "For a bag of words “I eat an apple” and “the apple eats me” have the same vector, and so they have for a "
            "Transformer's encoder without positions, which permutes its outputs along with the words."
        )
    if different:
        sentences.append(f"Every pair of sentences gets two different vectors from: {', '.join(different)}.")
    sentences.append(
        "In the question who eats, the encoders without word order reach at most "
        f"{max(accuracy[name].mean for name in ORDERLESS):.0f} % accuracy (more than half is impossible, as both "
        "sentences of a pair get the same answer); the others reach "
        + ", ".join(f"{accuracy[name].mean:.0f} % ({name})" for name in ordered)
        + "."
    )
    columns = ["encoder", "nearest pair", "farthest pair", "names the subject"]
    if min(map(len, encoders.values())) < MIN_SEEDS:
        return Findings(sentences, columns, rows)
    exact = equal and set(cells) <= set(different)
    named = [accuracy[name] for name in cells]
    conclusion = all_of(["supported" if exact else "not supported", *(above(mean, 50) for mean in named)])
    reason = (
        f"without word order, encodings of a pair are {'equal' if equal else 'not equal'} (up to rounding, less than "
        f"{ROUNDING:g}); for every recurrent cell and seed, their distance is at least "
        f"{100 * min(nearest[name] for name in cells):.2g} % of their norm, and the accuracy in who eats is at least "
        f"{min(named).percent()}, where 50 % is the maximum without word order"
    )
    return Findings(sentences, columns, rows, conclusion, reason)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, (apart, right) = panels(
        narrow,
        ("Distance of two orders", "distance, relative to the encodings' norm", ""),
        ("Who eats? Accuracy", "accuracy, % (dotted: limit without word order)", ""),
        height=3.6,
    )
    runs = numbers["encoders"]
    middle = {name: statistics.fmean((run["nearest"] + run["farthest"]) / 2 for run in runs[name]) for name in runs}
    _bars(apart, middle, lambda value: "the same" if value < ROUNDING else f"{value:.2f}")
    shares = {name: 100 * statistics.fmean(run["right"] for run in runs[name]) for name in runs}
    _bars(right, shares, lambda share: f"{share:.0f} %")
    right.axvline(50, color=SOFT, linewidth=1.0, linestyle=DOTTED, zorder=4)
    right.set_xlim(0, 118)
    return figure


def _bars(axes: Axes, values: Mapping[str, float], label: Callable[[float], str]) -> None:
    styles = {name: series_style(number) for number, name in enumerate(ORDERLESS, 6)}
    styles |= {name: cell_style(name) for name in CELLS}
    names = [name.replace(" without", "\nwithout") for name in values]
    axes.barh(names, list(values.values()), color=[styles[name].light for name in values], height=0.62, zorder=3)
    for position, value in enumerate(values.values()):
        note(axes, label(value), (value, position), (4, 0), va="center", fontsize=9, color=INK)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.18)


DESCRIPTION = Description(
    title="Does the order of words matter?",
    claim="Order is very important to language: [I eat an apple] and [the apple eats me] mean something entirely "
    "different. To capture it, the RNN was found, a network that pays great attention to sequence.",
    chapter="chapter 0 (1): what is an RNN?",
    setup="Sentences of subject, verb and object, each paired with the one in which subject and object are swapped. "
    "The distance of their two encodings is measured with random weights. After training, the question is who eats "
    "whom, in sentences whose two nouns never occurred together. A network captures order if the two encodings "
    "always differ and its accuracy is above one half.",
)
