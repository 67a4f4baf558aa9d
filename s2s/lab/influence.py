"""Influence of past inputs on the hidden state: the derivative of the last state with respect to each input.

    influence of the input k steps back = ‖∂h_T / ∂x_{T-k}‖        (Frobenius norm of the Jacobian)

relative to that of the most recent input, k = 0. It is measured on sentences, with x the embeddings of their words, in
networks with initial weights and after training as language models. A network whose state is the sum of all inputs
has 1 at every distance.
"""

from __future__ import annotations

import copy
import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from s2s.data.tokenizer import BOS
from s2s.errors import S2SError
from s2s.lab.experiment import Description, Findings, Numbers, TextOverrides
from s2s.lab.fit import seeded
from s2s.lab.language import LanguageModel, LanguageSettings, Text, perplexity, read_text, train_language_model
from s2s.lab.plots import cell_style, legend, line, log_scale, panels
from s2s.lab.runner import JobRunner
from s2s.lab.statistics import MIN_SEEDS, above, all_of, mean_over_seeds, means_over_seeds
from s2s.nn.recurrent import RecurrentLayer
from s2s.schema import PositiveInt, build

SMALLEST = 1e-30  # smaller derivatives count as this


@dataclass(frozen=True)
class Settings:
    text: TextOverrides  # the models read its target side
    cells: list[str]
    distance: PositiveInt  # steps back
    lines: PositiveInt  # held-out lines of more than `distance` tokens, over which the influence is averaged
    model: LanguageSettings
    seeds: list[int]


def check(settings: Settings) -> list[str]:
    return ["distance must be at least 4: it is cut into quarters"] if settings.distance < 4 else []


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """For each cell and seed the influence by distance before and after training, and the perplexity."""
    data = runner.compose(settings.text)["data"]
    sizes = {"distance": settings.distance, "lines": settings.lines}
    cells = runner.run_seeds(
        settings.cells,
        settings.seeds,
        lambda cell, seed: partial(before_and_after, data, cell, seed, settings.model, **sizes),
    )
    return {"distance": settings.distance, "cells": cells}


def before_and_after(
    data: Mapping[str, Any], cell: str, seed: int, settings: LanguageSettings, distance: int, lines: int
) -> dict[str, Any]:
    """The influence in one network before and after training, and its perplexity."""
    text = build(read_text, {"data": data})
    tokens = prefixes(text, distance, lines)
    with seeded(seed):
        untrained = LanguageModel(cell, text.vocabulary, settings.embedding, settings.hidden)
    trained = train_language_model(text, cell, settings, seed)  # from the same initial weights
    return {
        "before": relative_influence(untrained, tokens),
        "after": relative_influence(trained, tokens),
        "perplexity": perplexity(trained, text.held_out, settings.batch_tokens),
    }


def prefixes(text: Text, distance: int, lines: int) -> Tensor:
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
    return by_distance(influence(layer, x))


def by_distance(norms: Tensor) -> list[float]:
    """(B, T) ‖∂h_T/∂x_t‖ -> geometric mean over B, by distance, without the first position, relative to distance 0."""
    logs = norms.clamp_min(SMALLEST).log().mean(dim=0)[1:].flip(0)
    return (logs - logs[0]).exp().tolist()


def influence(layer: RecurrentLayer, x: Tensor) -> Tensor:
    """(B, T, I) -> (B, T): ‖∂h_T/∂x_t‖ at each time step t."""
    return jacobian_norms(lambda x: layer(x, None)[1][0], layer.cell.output_size, x)


def jacobian_norms(last: Callable[[Tensor], Tensor], size: int, x: Tensor) -> Tensor:
    """(B, T, I) -> (B, T): ‖∂h_T/∂x_t‖ of `last`, which maps (B, T, I) to h_T (B, size)."""
    norms = []
    for sequence in x:
        # One copy of the sequence per component of the state: a single backward pass gives the gradients of all.
        copies = sequence.detach().expand(size, -1, -1).clone().requires_grad_()
        (jacobian,) = torch.autograd.grad(last(copies).diagonal().sum(), copies)  # [i, t] is ∂h_i/∂x_t
        norms.append(jacobian.square().sum(dim=(0, 2)).sqrt())
    return torch.stack(norms)


def reach(shares: list[float], least: float = 0.1) -> int | None:
    """The distance from which on all shares are below `least`; None if the last is not."""
    last = max(k for k, share in enumerate(shares) if share >= least)
    return None if last == len(shares) - 1 else last + 1


def geometric_means(by_seed: Sequence[Sequence[float]]) -> list[float]:
    """The geometric mean over seeds, by distance; 0 where one of them is."""
    return [statistics.geometric_mean(shares) if all(shares) else 0.0 for shares in zip(*by_seed, strict=True)]


def _mean(runs: list[dict[str, Any]], when: str) -> list[float]:
    return geometric_means([run[when] for run in runs])


def decays(shares: list[float]) -> list[float]:
    """Powers of ten that the influence loses from each quarter of the distance to the next: three numbers."""
    ends = [1 + round((len(shares) - 1) * n / 4) for n in range(5)]
    means = [statistics.geometric_mean(shares[a:b]) for a, b in itertools.pairwise(ends)]
    return [math.log10(near / far) for near, far in itertools.pairwise(means)]


def analyse(numbers: Numbers) -> Findings:
    far, cells = numbers["distance"], numbers["cells"]
    middle = max(1, far // 3)
    rows, after = [], {cell: _mean(runs, "after") for cell, runs in cells.items()}
    reached = {cell: reach(shares) for cell, shares in after.items()}
    for cell, runs in cells.items():
        shares = [f"{100 * shares[k]:.2g} %" for shares in (_mean(runs, "before"), after[cell]) for k in (middle, far)]
        perplexities = mean_over_seeds([run["perplexity"] for run in runs])
        rows.append([cell, *shares, f"> {far}" if reached[cell] is None else str(reached[cell]), perplexities.text()])
    falling = [cell for cell in cells if statistics.fmean(sum(decays(run["after"])) for run in cells[cell]) > 0]
    rest = [cell for cell in cells if cell not in falling]
    every = "every cell" if not rest else ", ".join(falling) if falling else "no cell"
    sentences = [
        f"After training as a language model, the influence of an input decreases with its distance in {every}"
        + (f", but not in {', '.join(rest)}." if rest and falling else "."),
    ]
    # The farthest input has more influence, by more than a half, than a nearer one.
    rising = [cell for cell in falling if after[cell][-1] > 1.5 * min(after[cell])]
    if rising:
        sentences.append(
            f"The first words of a sentence are an exception in {', '.join(rising)}: there the influence rises again."
        )
    short = {cell: steps for cell, steps in reached.items() if steps is not None}
    if short:
        by_cell = ", ".join(f"{cell} {short[cell]}" for cell in sorted(short, key=lambda cell: short[cell]))
        longer = [cell for cell in cells if cell not in short]
        sentences.append(
            f"Less than a tenth is left after this many steps: {by_cell}"
            + (f"; more than {far} in {', '.join(longer)}." if longer else ".")
        )
    start = 1 / (1 + math.exp(-3))
    sentences.append(
        f"Before training the influence shows the initialisation: forget gates start at σ(3) = {start:.2f} "
        f"({100 * start**far:.0f} % of a cell state is left after {far} steps), and the plain RNN's matrix W is "
        "orthogonal, which preserves norms; its loss comes from the tanh alone."
    )
    columns = ["cell", f"before: {middle} steps back", f"{far} steps back"]
    columns += [f"after: {middle} steps back", f"{far} steps back", "below 10 % after", "perplexity"]
    # The claim is on the plain RNN: less from quarter to quarter, and in the last less than a tenth.
    rnn = [decays(run["after"]) for run in cells.get("rnn", [])]
    if len(rnn) < MIN_SEEDS:
        return Findings(sentences, columns, rows)
    steps, total = means_over_seeds(rnn), mean_over_seeds([sum(run) for run in rnn])
    reason = (
        "in the trained plain RNN the influence loses these powers of ten from each quarter of the distance to the "
        f"next: {', '.join(step.text(2) for step in steps)}; {total.text(2)} in total, where more than 1 counts as "
        "forgetting"
    )
    return Findings(sentences, columns, rows, all_of([*map(above, steps), above(total, 1)]), reason)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    labels = "steps back in time", "influence (most recent input = 1)"
    figure, both = panels(narrow, ("Before training", *labels), ("After training", *labels))
    steps = list(range(numbers["distance"] + 1))
    lowest = 1.0
    for axes, when in zip(both, ("before", "after"), strict=True):
        for cell, runs in numbers["cells"].items():
            mean = _mean(runs, when)
            lowest = min(lowest, *mean)
            line(axes, steps, mean, cell_style(cell), cell)
        log_scale(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in both:
        axes.set_ylim(max(lowest, 1e-12) / 1.6, 2.5)
    return legend(figure)


DESCRIPTION = Description(
    title="Does it count less what came early?",
    claim="The earlier an input, the smaller its share in the hidden state: when a sentence is long, an RNN forgets "
    "what was said at the beginning.",
    chapter="chapters 0 (1), 1.4 and 4: what is an RNN; RNN, summary; CNN, RNN, LSTM, GRU",
    setup="Each cell reads sentences. The influence of an input is the norm of the derivative of the last hidden "
    "state with respect to it, relative to the most recent input: geometric mean over held-out sentences, with "
    "initial weights and after training as a language model on the same text. An RNN forgets if the influence falls "
    "from each quarter of the distance to the next, and less than a tenth of the first quarter's is left in the last.",
)
