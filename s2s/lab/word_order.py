"""Who eats whom: what an encoder knows of the order of words.

Sentences are three words, subject, verb and object. Each is paired with the one in which subject and object change
places: the same words, another meaning. An encoder turns a sentence into one vector, its summary:

- **bag of words**: the mean of the words' embeddings, Σ x_t / T. A sum does not know its order: both get the same
  vector.
- **transformer without positions**: a Transformer's encoder without its position vectors. Each output depends on the
  set of all words, so when words change places their outputs change places with them, and the mean over them stays
  the same.
- **transformer**: the same encoder with position vectors added to the words.
- every recurrent cell: h_t = f(x_t, h_{t-1}) with h_T as the summary, which treats first and last differently.

Then each encoder is trained with a linear layer on top to name the subject of sentences whose two nouns it has never
seen together. One that is blind to order gives both sentences of a pair the same answer, so it is right in half of them
at most.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.evaluation.report.canvas import INK, SOFT
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers
from s2s.lab.fit import Recipe, fit, seeded
from s2s.lab.look import axis_labels, looks, numbered, panels
from s2s.lab.statistics import SEEDS_FOR_A_VERDICT, above, all_of, mean_over_seeds
from s2s.models.interface import Encoder, Memory
from s2s.models.recurrent import RecurrentEncoder
from s2s.models.transformer import TransformerEncoder
from s2s.nn.positions import sinusoidal_positions
from s2s.schema import PositiveInt, build

ORDERLESS = "transformer without positions"
BLIND = ["bag of words", ORDERLESS]
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


class Pairs(NamedTuple):
    """Sentences (P, 3) of subject, verb, object, and the same with subject and object exchanged."""

    one: Tensor
    other: Tensor

    def all(self) -> Tensor:
        return torch.cat([self.one, self.other])


class Bag(nn.Module):
    """The mean of the embeddings."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """(B, T, E), (B, T) -> (B, E)."""
        weights = mask.unsqueeze(2).to(embedded.dtype)
        return (embedded * weights).sum(dim=1) / weights.sum(dim=1)


class Summary(nn.Module):
    """The summary of one of the product's encoders.

    Args:
        positions: False takes away beforehand the position vectors that a Transformer will add.
    """

    def __init__(self, encoder: Encoder, positions: bool = True) -> None:
        super().__init__()
        self.encoder, self.positions = encoder, positions
        self.size = encoder.summary_size

    def memory(self, embedded: Tensor, mask: Tensor) -> Memory:
        """(B, T, E), (B, T) -> all that the encoder leaves."""
        if not self.positions:
            embedded = embedded - sinusoidal_positions(0, embedded.size(1), embedded)
        return self.encoder(embedded, mask)  # type: ignore[no-any-return]

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """(B, T, E), (B, T) -> (B, D)."""
        return self.memory(embedded, mask).summary


class Namer(nn.Module):
    """Embeddings, an encoder, and a linear layer that names a noun."""

    def __init__(self, name: str, words: int, nouns: int, hidden: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, hidden)
        self.encoder = encoder(name, hidden)
        self.answer = nn.Linear(self.encoder.size, nouns)
        self.double()

    def encode(self, sentences: Tensor) -> Tensor:
        """(B, T) -> (B, D)."""
        return self.encoder(self.embedding(sentences), torch.ones_like(sentences, dtype=torch.bool))  # type: ignore[no-any-return]

    def forward(self, sentences: Tensor) -> Tensor:
        """(B, T) -> (B, nouns)."""
        return self.answer(self.encode(sentences))  # type: ignore[no-any-return]


def encoder(name: str, hidden: int) -> Bag | Summary:
    """One of the encoders above; the name of a cell is a recurrent one."""
    if name == BLIND[0]:
        return Bag(hidden)
    if name in (ORDERLESS, "transformer"):
        made = TransformerEncoder(hidden, layers=1, heads=HEADS, feedforward=2 * hidden, dropout=0.0, norm="pre")
        return Summary(made, positions=name == "transformer")
    return Summary(RecurrentEncoder(hidden, cell=name, hidden_size=hidden, layers=1, bidirectional=False, dropout=0.0))


def all_pairs(nouns: int, verbs: int) -> Pairs:
    """Every two different nouns with every verb; words are numbered, nouns first."""
    both = torch.combinations(torch.arange(nouns))  # (n, 2)
    subject, object_ = both.repeat_interleave(verbs, dim=0).unbind(1)
    verb = nouns + torch.arange(verbs).repeat(len(both))
    return Pairs(torch.stack([subject, verb, object_], dim=1), torch.stack([object_, verb, subject], dim=1))


def split(pairs: Pairs, verbs: int, seed: int) -> tuple[Pairs, Pairs]:
    """Three quarters of the couples of nouns to train on, and the others; a couple is in one with all its verbs."""
    couples = len(pairs.one) // verbs
    order = torch.randperm(couples, generator=torch.Generator().manual_seed(seed))
    held_out = torch.zeros(couples, dtype=torch.bool)
    held_out[order[: couples // 4]] = True
    rows = held_out.repeat_interleave(verbs)
    return Pairs(pairs.one[~rows], pairs.other[~rows]), Pairs(pairs.one[rows], pairs.other[rows])


def distances(encode: Callable[[Tensor], Tensor], pairs: Pairs) -> Tensor:
    """(P,) how far the two encodings of a pair are apart, relative to their mean length."""
    with torch.no_grad():
        one, other = encode(pairs.one), encode(pairs.other)
    return (one - other).norm(dim=1) / ((one.norm(dim=1) + other.norm(dim=1)) / 2)  # type: ignore[no-any-return]


def measure(settings: Settings, bench: Bench) -> Numbers:
    """By encoder a list over seeds of what `encoded` returns."""
    names, given = [*BLIND, "transformer", *settings.cells], asdict(settings)
    jobs = {f"{name}, seed {seed}": partial(encoded, name, seed, given) for name in names for seed in settings.seeds}
    done = bench.each(jobs)
    return {
        "cells": settings.cells,
        "encoders": {name: [done[f"{name}, seed {seed}"] for seed in settings.seeds] for name in names},
    }


def encoded(name: str, seed: int, given: Mapping[str, Any]) -> dict[str, float]:
    """One encoder.

    Args:
        given: `Settings` as plain values.

    Returns:
        nearest, farthest: the distance of the two encodings of a pair, over all pairs, with the first weights;
        right: share of the sentences of held-out pairs whose subject it names after training.
    """
    settings = build(Settings, given)
    with seeded(seed):
        model = Namer(name, settings.nouns + settings.verbs, settings.nouns, settings.hidden)
    pairs = all_pairs(settings.nouns, settings.verbs)
    apart = distances(model.encode, pairs)
    training, test = (part.all() for part in split(pairs, settings.verbs, seed))
    fit(model, lambda: F.cross_entropy(model(training), training[:, 0]), settings.fit)
    with torch.no_grad():
        right = (model(test).argmax(dim=1) == test[:, 0]).double().mean().item()
    return {"nearest": apart.min().item(), "farthest": apart.max().item(), "right": right}


def find(numbers: Numbers) -> Findings:
    rows, right = [], {}
    for name, runs in numbers["encoders"].items():
        nearest, farthest = min(run["nearest"] for run in runs), max(run["farthest"] for run in runs)
        scores = mean_over_seeds([100 * run["right"] for run in runs])
        right[name] = scores.mean
        rows.append([name, _distance(nearest), _distance(farthest), scores.percent(1)])
    seeing = [name for name in numbers["encoders"] if name not in BLIND]
    same = {name: _all(numbers, name, "farthest", lambda value: value < ROUNDING) for name in BLIND}
    different = {name: _all(numbers, name, "nearest", lambda value: value > 1e-3) for name in seeing}
    sentences = []
    if all(same.values()):
        sentences.append(
            "For a bag of words “I eat an apple” and “the apple eats me” are one and the same vector, and so they are "
            "for a Transformer's encoder without positions: it moves its outputs along with the words."
        )
    told = [name for name, differs in different.items() if differs]
    if told:
        sentences.append(f"Every pair of sentences gets two different vectors from: {', '.join(told)}.")
    best_blind = max(right[name] for name in BLIND)
    sentences.append(
        f"Asked who eats, the blind ones are right in at most {best_blind:.0f} % of the sentences (more than half is "
        "impossible, as both sentences of a pair get the same answer); the others in "
        + ", ".join(f"{right[name]:.0f} % ({name})" for name in seeing)
        + "."
    )
    runs = [run for name in numbers["cells"] for run in numbers["encoders"][name]]
    apart = min(run["nearest"] for run in runs)
    columns = ["encoder", "nearest pair", "farthest pair", "names the subject"]
    if min(map(len, numbers["encoders"].values())) < SEEDS_FOR_A_VERDICT:
        return Findings(sentences, columns, rows)
    exact = all(same.values()) and all(different[name] for name in numbers["cells"])
    named = [mean_over_seeds([100 * run["right"] for run in numbers["encoders"][name]]) for name in numbers["cells"]]
    verdict = all_of(["supported" if exact else "not supported", *(above(one, 50) for one in named)])
    reason = (
        f"without order, encodings of a pair are {'equal' if all(same.values()) else 'not equal'} (but for rounding, "
        f"less than {ROUNDING:g}); in every recurrent cell, with every seed, they are at least {100 * apart:.2g} % of "
        f"their length apart, and who eats is named in at least {min(named).percent()}, where 50 % is the most without "
        "order"
    )
    return Findings(sentences, columns, rows, verdict, reason)


def _all(numbers: Numbers, name: str, key: str, holds: Callable[[float], bool]) -> bool:
    return all(holds(run[key]) for run in numbers["encoders"][name])


def _distance(value: float) -> str:
    return "0" if value < ROUNDING else f"{value:.2f}"


def draw(numbers: Numbers, narrow: bool) -> Figure:
    names = list(numbers["encoders"])
    figure, (apart, right) = panels(["Two orders: how far apart?", "Who eats? Right answers"], narrow, height=3.6)
    runs = numbers["encoders"]
    middle = [statistics.fmean((run["nearest"] + run["farthest"]) / 2 for run in runs[name]) for name in names]
    _bars(apart, names, middle, ["the same" if value < ROUNDING else f"{value:.2f}" for value in middle])
    axis_labels(apart, "distance, relative to the encodings' length", "")
    shares = [100 * statistics.fmean(run["right"] for run in runs[name]) for name in names]
    _bars(right, names, shares, [f"{share:.0f} %" for share in shares])
    right.axvline(50, color=SOFT, linewidth=1.0, linestyle=(0, (1, 2)), zorder=4)
    right.set_xlim(0, 118)
    axis_labels(right, "right, % (dotted: limit without order)", "")
    return figure


def _bars(axes: Axes, names: list[str], values: list[float], labels: list[str]) -> None:
    known = looks() | dict(zip(BLIND, (numbered(6), numbered(7)), strict=True))
    shown = [name.replace(" without", "\nwithout") for name in names]
    axes.barh(shown, values, color=[known[name].light for name in names], height=0.62, zorder=3)
    for place, (value, label) in enumerate(zip(values, labels, strict=True)):
        axes.annotate(label, (value, place), (4, 0), textcoords="offset points", va="center", fontsize=9, color=INK)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.margins(x=0.18)


EXPERIMENT = Experiment(
    name="word_order",
    title="Does the order of words matter?",
    claim="Order is very important to language: [I eat an apple] and [the apple eats me] mean something entirely "
    "different. To capture it, the RNN was found, a network that pays great attention to sequence.",
    chapter="chapter 0 (1): what is an RNN?",
    setup="Sentences of subject, verb and object, each with its partner in which subject and object change places. How "
    "far apart are their two encodings with random weights? And after training: who eats whom, in sentences whose two "
    "nouns were never seen together? A network sees order if the two always differ and it is right in more than half.",
    settings=Settings,
    measure=measure,
    find=find,
    draw=draw,
    check=lambda settings: [
        *(["nouns must be at least 4: a quarter of their couples is the test"] if settings.nouns < 4 else []),
        *([f"hidden must be a multiple of {HEADS}, the Transformer's heads"] if settings.hidden % HEADS else []),
    ],
)
