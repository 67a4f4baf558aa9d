"""How much of an input is left in the hidden state: the derivative of the last state with respect to each input.

    influence of the input k steps back = ‖∂h_T / ∂x_{T-k}‖        (Frobenius norm: over all pairs of components)

relative to that of the most recent input, k = 0. It is measured on sentences, with x the embeddings of their words, in
networks with their first weights and after training as language models. A network whose state were the sum of all
inputs would have 1 at every distance.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from s2s.data.tokenizer import BOS
from s2s.errors import S2SError
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers, TypedText, Verdict
from s2s.lab.fit import seeded
from s2s.lab.language import (
    LanguageModel,
    LanguageSettings,
    Text,
    perplexity,
    read_text,
    train_language_model,
)
from s2s.lab.look import axis_labels, legend, line, log_scale, looks, panels
from s2s.lab.statistics import SEEDS_FOR_A_VERDICT, above, all_of, mean_over_seeds
from s2s.nn.recurrent import RecurrentLayer
from s2s.schema import PositiveInt, build

WHEN = {"before": "before training", "after": "after training"}
LEAST = 1e-30  # a derivative below is taken as this


@dataclass(frozen=True)
class Settings:
    text: TypedText  # whose target side is read
    cells: list[str]
    distance: PositiveInt  # steps back
    lines: PositiveInt  # held-out lines over which the influence is averaged, those of more than `distance` tokens
    model: LanguageSettings
    seeds: list[int]


def measure(settings: Settings, bench: Bench) -> Numbers:
    """For each cell and seed the influence by distance before and after training, and the perplexity reached."""
    data = bench.configuration(settings.text)["data"]
    model = dataclasses.asdict(settings.model)
    sizes = {"distance": settings.distance, "lines": settings.lines}
    jobs = {
        f"{cell}, seed {seed}": partial(before_and_after, data, cell, seed, model, **sizes)
        for cell in settings.cells
        for seed in settings.seeds
    }
    done = bench.each(jobs)
    return {
        "distance": settings.distance,
        "cells": {cell: [done[f"{cell}, seed {seed}"] for seed in settings.seeds] for cell in settings.cells},
    }


def before_and_after(
    data: Mapping[str, Any], cell: str, seed: int, model: Mapping[str, Any], distance: int, lines: int
) -> dict[str, Any]:
    """One network, read before and after its training."""
    text, settings = read_text(data), build(LanguageSettings, model)
    tokens = beginnings(text, distance, lines)
    with seeded(seed):
        fresh = LanguageModel(cell, text.vocabulary, settings.embedding, settings.hidden)
    trained = train_language_model(text, cell, settings, seed)  # from the same first weights
    return {
        "before": relative_influence(fresh, tokens),
        "after": relative_influence(trained, tokens),
        "perplexity": perplexity(trained, text.held_out, settings.batch_tokens),
    }


def beginnings(text: Text, distance: int, lines: int) -> Tensor:
    """(lines, 2 + distance) `<s>` and the first tokens of held-out lines that are long enough."""
    long = [line for line in text.held_out if len(line) > distance][:lines]
    if not long:
        raise S2SError(f"no held-out line has {distance + 1} tokens: set a smaller distance, or take another text")
    return torch.tensor([[BOS, *map(int, line[: distance + 1])] for line in long])


def relative_influence(model: LanguageModel, tokens: Tensor) -> list[float]:
    """By distance 0 … T - 2, relative to distance 0: the geometric mean over lines (B, T) without their `<s>`."""
    layer = copy.deepcopy(model.layer).double()
    with torch.no_grad():
        x = model.embedding(tokens).double()
    logs = influence(layer, x).clamp_min(LEAST).log().mean(dim=0)[1:].flip(0)
    return (logs - logs[0]).exp().tolist()


def influence(layer: RecurrentLayer, x: Tensor) -> Tensor:
    """(B, T, I) -> (B, T): ‖∂h_T/∂x_t‖ at each place t."""
    return torch.stack([_influence_in(layer, sequence) for sequence in x])


def _influence_in(layer: RecurrentLayer, sequence: Tensor) -> Tensor:
    # As many copies of the sequence as the state has components: one backward pass gives all their gradients.
    size = layer.cell.output_size
    copies = sequence.detach().expand(size, -1, -1).clone().requires_grad_()
    _, final = layer(copies, None)
    (jacobian,) = torch.autograd.grad(final[0].diagonal().sum(), copies)  # [i, t] is ∂h_i/∂x_t
    return jacobian.square().sum(dim=(0, 2)).sqrt()


def reach(shares: list[float], least: float = 0.1) -> int | None:
    """The distance from which on all shares are below `least`; None if the last is not."""
    above_it = [k for k, share in enumerate(shares) if share >= least]
    return None if above_it[-1] == len(shares) - 1 else above_it[-1] + 1


def _mean(runs: list[dict[str, Any]], when: str) -> list[float]:
    """The geometric mean over seeds, by distance."""
    return [statistics.geometric_mean(shares) for shares in zip(*(run[when] for run in runs), strict=True)]


def falls(shares: list[float]) -> list[float]:
    """How many powers of ten the influence loses from each quarter of the distance to the next: three numbers."""
    ends = [1 + round((len(shares) - 1) * n / 4) for n in range(5)]
    means = [statistics.geometric_mean(shares[a:b]) for a, b in itertools.pairwise(ends)]
    return [math.log10(near / far) for near, far in itertools.pairwise(means)]


def _rises(shares: list[float]) -> bool:
    """Is the farthest input of more influence, by more than a half, than one that is nearer?"""
    return shares[-1] > 1.5 * min(shares)


def find(numbers: Numbers) -> Findings:
    far, cells = numbers["distance"], numbers["cells"]
    middle = max(1, far // 3)
    rows, lost, reached = [], {}, {}
    for cell, runs in cells.items():
        before, after = _mean(runs, "before"), _mean(runs, "after")
        lost[cell] = [sum(falls(run["after"])) for run in runs]
        reached[cell] = reach(after)
        shares = [f"{100 * shares[k]:.2g} %" for shares in (before, after) for k in (middle, far)]
        scores = mean_over_seeds([run["perplexity"] for run in runs])
        rows.append([cell, *shares, f"> {far}" if reached[cell] is None else str(reached[cell]), scores.text()])
    fell = [cell for cell, found in lost.items() if statistics.fmean(found) > 0]
    rest = [cell for cell in cells if cell not in fell]
    every = "every cell" if not rest else ", ".join(fell) if fell else "no cell"
    sentences = [
        f"After training as a language model, the influence of an input falls with its distance in {every}"
        + (f", but not in {', '.join(rest)}." if rest and fell else "."),
    ]
    turned = [cell for cell in fell if _rises(_mean(cells[cell], "after"))]
    if turned:
        sentences.append(
            f"The first words of a sentence are an exception in {', '.join(turned)}: there the influence rises again."
        )
    known = {cell: distance for cell, distance in reached.items() if distance is not None}
    if known:
        told = ", ".join(f"{cell} {distance}" for cell, distance in sorted(known.items(), key=lambda item: item[1]))
        longer = [cell for cell in cells if cell not in known]
        sentences.append(
            f"The steps after which less than a tenth is left: {told}"
            + (f"; more than {far} in {', '.join(longer)}." if longer else ".")
        )
    kept = 1 / (1 + math.exp(-3))
    sentences.append(
        f"Before training one sees how the cells begin, not what they learned: gates that keep the past begin at "
        f"σ(3) = {kept:.2f} (of a memory {100 * kept**far:.0f} % is left after {far} steps), and the plain network's "
        f"matrix W is orthogonal, which by itself carries everything on; what is lost there is the tanh's work."
    )
    verdict, reason = _judge(cells)
    columns = ["cell", f"before: {middle} steps back", f"{far} steps back"]
    columns += [f"after: {middle} steps back", f"{far} steps back", "below 10 % after", "perplexity"]
    return Findings(sentences, columns, rows, verdict, reason)


def _judge(cells: Mapping[str, list[dict[str, Any]]]) -> tuple[Verdict | None, str]:
    """Of the plain network, as the note says it: less from quarter to quarter, and in the last less than a tenth."""
    found = [falls(run["after"]) for run in cells.get("rnn", [])]
    if len(found) < SEEDS_FOR_A_VERDICT:
        return None, ""
    steps = [mean_over_seeds(values) for values in zip(*found, strict=True)]
    whole = mean_over_seeds([sum(one) for one in found])
    return all_of([*map(above, steps), above(whole, 1)]), (
        "in the trained plain RNN the influence loses so many powers of ten from each quarter of the distance to the "
        f"next: {', '.join(one.text(2) for one in steps)}; in all {whole.text(2)}, where more than 1 is to forget"
    )


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, both = panels([title.capitalize() for title in WHEN.values()], narrow)
    steps = list(range(numbers["distance"] + 1))
    lowest = 1.0
    for axes, when in zip(both, WHEN, strict=True):
        for cell, runs in numbers["cells"].items():
            mean = _mean(runs, when)
            lowest = min(lowest, *mean)
            line(axes, steps, mean, looks()[cell], cell)
        log_scale(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis_labels(axes, "steps back in time", "influence (most recent input = 1)")
    for axes in both:
        axes.set_ylim(max(lowest, 1e-12) / 1.6, 2.5)
    legend(figure, both[0])
    return figure


EXPERIMENT = Experiment(
    name="influence",
    title="Does it count less what came early?",
    claim="The earlier an input, the smaller its share in the hidden state: when a sentence is long, an RNN forgets "
    "what was said at the beginning.",
    chapter="chapters 0 (1), 1.4 and 4: what is an RNN; RNN, summary; CNN, RNN, LSTM, GRU",
    setup="Each cell reads sentences; the norm of the derivative of its last hidden state with respect to each "
    "input, relative to the most recent one: geometric mean over held-out sentences, with first weights and "
    "after training as a language model on the same text. An RNN forgets if the influence falls from each quarter of "
    "the distance to the next, and less than a tenth of the first quarter's is left in the last.",
    settings=Settings,
    measure=measure,
    find=find,
    draw=draw,
    check=lambda settings: ["distance must be at least 4: it is cut into quarters"] if settings.distance < 4 else [],
)
