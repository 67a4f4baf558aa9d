"""Gradients through time: a product of many matrices shrinks or grows like a power.

Of the plain network h_t = tanh(W h_{t-1} + U x_t + b) the derivative of the last state with respect to an earlier one
is

    ∂h_T/∂h_{T-k} = Π diag(1 - h_t²) W        (k factors, t = T … T-k+1)

Without the tanh's share that is W^k, which in the long run shrinks or grows like ρ^k, where the spectral radius ρ is
the largest absolute eigenvalue of W. As 1 - h² is at most 1, the tanh takes away from that: above ρ = 1 gradients can
explode, as far as the states stay out of its flat ends (Pascanu et al. 2013). Nothing holds the factor of a step at 1,
and any other one, over many steps, is as good as 0 or ∞.

A network that begins with a state of 0 is not yet what it will be: its first states are small, where the tanh takes
nothing away. So it reads for a while before the steps that are measured.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from s2s.evaluation.report.canvas import SOFT
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers, Verdict, rising
from s2s.lab.fit import seeded
from s2s.lab.look import axis_labels, legend, line, log_scale, numbered, panels
from s2s.lab.statistics import SEEDS_FOR_A_VERDICT, above, all_of, differences, mean_over_seeds
from s2s.nn.cells import RNN
from s2s.nn.recurrent import RecurrentLayer
from s2s.schema import PositiveFloat, PositiveInt, build


@dataclass(frozen=True)
class Settings:
    hidden: PositiveInt
    distance: PositiveInt  # steps
    before: PositiveInt  # steps that the network reads before these
    sequences: PositiveInt  # over which a norm is averaged
    radii: list[PositiveFloat]  # spectral radius of W
    inputs: list[PositiveFloat]  # standard deviation of U x; large ones drive the tanh into its flat ends
    seeds: list[int]


def measure(settings: Settings, bench: Bench) -> Numbers:
    """For each size of the inputs and each radius the gradient's norm by distance, one list for each seed."""
    given = asdict(settings)
    done = bench.each({f"seed {seed}": partial(random_networks, given, seed) for seed in settings.seeds})
    return {
        "distance": settings.distance,
        "norms": {
            f"{inputs:g}": {
                f"{radius:g}": [done[f"seed {seed}"][f"{inputs:g}"][f"{radius:g}"] for seed in settings.seeds]
                for radius in settings.radii
            }
            for inputs in settings.inputs
        },
    }


def random_networks(given: Mapping[str, Any], seed: int) -> dict[str, dict[str, list[float]]]:
    """For each size of the inputs and each radius the gradient's norm by distance, with the same W but for its scale.

    Args:
        given: `Settings` as plain values.
    """
    settings = build(Settings, given)
    size, steps = settings.hidden, settings.before + settings.distance + 1
    with seeded(seed):
        weight = torch.randn(size, size, dtype=torch.float64)
        noise = torch.randn(settings.sequences, steps, size, dtype=torch.float64)
        direction = F.normalize(torch.randn(settings.sequences, size, dtype=torch.float64), dim=1)
    scaled = {radius: with_radius(weight, radius) for radius in settings.radii}
    return {
        f"{inputs:g}": {
            f"{radius:g}": gradient_norms(w, inputs * noise, direction)[: settings.distance + 1]
            for radius, w in scaled.items()
        }
        for inputs in settings.inputs
    }


def with_radius(weight: Tensor, radius: float) -> Tensor:
    """The matrix (H, H) scaled to this spectral radius."""
    return weight * (radius / torch.linalg.eigvals(weight.double()).abs().max()).to(weight.dtype)  # type: ignore[no-any-return]


def gradient_norms(weight: Tensor, driven: Tensor, direction: Tensor) -> list[float]:
    """‖∂(v·h_T)/∂h_{T-k}‖ for k = 0 … T - 1: the geometric mean over sequences.

    Args:
        weight: W (H, H), float64.
        driven: U x_t of each step (B, T, H); b is 0, and so is the first state.
        direction: v (B, H), of norm 1.
    """
    size = len(weight)
    cell = RNN(size, size).double()
    with torch.no_grad():
        cell.weight_hh.copy_(weight)
        cell.weight_ih.copy_(torch.eye(size))
    x = driven.detach().requires_grad_()
    last = RecurrentLayer(cell).trace(x, None)["state0"][:, -1]
    (through,) = torch.autograd.grad((last * direction).sum(), x)
    # U is the identity: at x_t stands the derivative by what enters the tanh at step t, and one more factor W leads
    # to h_{t-1}.
    earlier = (through[:, 1:] @ weight).flip(1)
    norms = torch.cat([direction.unsqueeze(1), earlier], dim=1).norm(dim=2)
    return norms.clamp_min(1e-300).log().mean(dim=0).exp().tolist()  # type: ignore[no-any-return]


def factor(norms: list[float]) -> float:
    """The factor of one step, over the second half of the distance: in the first, directions still sort themselves."""
    half = len(norms) // 2
    return math.exp(math.log(norms[-1] / norms[half]) / (len(norms) - 1 - half))


def _factors(numbers: Numbers) -> dict[str, dict[float, list[float]]]:
    return {
        inputs: {float(radius): [factor(norms) for norms in runs] for radius, runs in by_radius.items()}
        for inputs, by_radius in numbers["norms"].items()
    }


def change(norms: list[float]) -> float:
    """Powers of ten by which the norm has grown at the farthest step, negative where it has shrunk."""
    return math.log10(norms[-1] / norms[0])


def find(numbers: Numbers) -> Findings:
    far, factors = numbers["distance"], _factors(numbers)
    rows = []
    for inputs, by_radius in factors.items():
        for radius, found in by_radius.items():
            last = statistics.geometric_mean(norms[-1] for norms in numbers["norms"][inputs][f"{radius:g}"])
            rows.append([f"{radius:g}", inputs, f"{last:.2g}", mean_over_seeds(found).text(3)])
    least, most = (end(factors, key=float) for end in (min, max))
    quiet = {radius: statistics.fmean(found) for radius, found in factors[least].items()}
    sentences = [
        f"Step by step the gradient is multiplied by nearly the same factor, so over {far} steps it falls or rises "
        "like a power. With small inputs that factor is "
        + ", ".join(f"{value:.2f} at radius {radius:g}" for radius, value in quiet.items())
        + ". Without a tanh it would be the radius itself."
    ]
    changes = {
        inputs: {radius: statistics.fmean(map(change, runs)) for radius, runs in by_radius.items()}
        for inputs, by_radius in numbers["norms"].items()
    }
    calmed = [radius for radius in changes[least] if changes[least][radius] > 1 > changes[most][radius]]
    if calmed:
        sentences.append(
            f"Inputs of size {most} drive the tanh into its flat ends, where 1 - h² takes away what W adds: at radius "
            + " and ".join(calmed)
            + " the gradient does not explode then. A radius above 1 alone makes no explosion."
        )
    neither = [
        f"radius {radius} (inputs of size {inputs})"
        for inputs, by_radius in changes.items()
        for radius, mean in by_radius.items()
        if abs(mean) < 1
    ]
    if neither:
        sentences.append(
            f"Less than tenfold either way, over these {far} steps, is the change at {', '.join(neither)}."
        )
    verdict, reason = _judge(numbers)
    columns = ["spectral radius", "size of inputs", f"norm {far} steps back", "factor of a step"]
    return Findings(sentences, columns, rows, verdict, reason)


def _judge(numbers: Numbers) -> tuple[Verdict | None, str]:
    """Vanishing below radius 1, explosion at the largest one (inputs small), and the more, the larger the radius."""
    norms, inputs = numbers["norms"], min(numbers["norms"], key=float)
    if min(len(runs) for by_radius in norms.values() for runs in by_radius.values()) < SEEDS_FOR_A_VERDICT:
        return None, ""
    changes = {
        size: {float(radius): [change(run) for run in runs] for radius, runs in by_radius.items()}
        for size, by_radius in norms.items()
    }
    lost = [
        mean_over_seeds([-one for one in found])
        for by_radius in changes.values()
        for radius, found in by_radius.items()
        if radius < 1
    ]
    largest = max(changes[inputs])
    gained = mean_over_seeds(changes[inputs][largest]) if largest > 1 else None
    steps = [differences(more, less) for less, more in itertools.pairwise(changes[inputs].values())]
    parts = [above(one, 1) for one in lost]
    parts += [above(gained, 1)] if gained else []
    verdict = all_of([*parts, *map(above, steps)]) if lost and gained else "not decided"
    return verdict, (
        f"powers of ten over {numbers['distance']} steps, of which more than one is asked: below radius 1 the norm "
        f"loses at least {min(lost).text(1) if lost else 'n/a'}; at radius {largest:g}, with small inputs, it gains "
        f"{gained.text(1) if gained else 'n/a'}; from one radius to the next it is larger by at least "
        f"{min(steps).text(1) if steps else 'n/a'}"
    )


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, (by_distance, by_radius) = panels(["By distance (small inputs)", "The factor of one step"], narrow)
    steps, norms = list(range(numbers["distance"] + 1)), numbers["norms"]
    least = min(norms, key=float)
    for place, (radius, runs) in enumerate(norms[least].items()):
        mean = [statistics.geometric_mean(values) for values in zip(*runs, strict=True)]
        line(by_distance, steps, mean, numbered(place), f"ρ = {radius}")
        end = (steps[-1], mean[-1])
        by_distance.annotate(
            f"ρ = {radius}", end, (4, -3), textcoords="offset points", fontsize=8.5, color=numbered(place).text
        )
    log_scale(by_distance)
    by_distance.set_xlim(0, steps[-1] * (1.32 if narrow else 1.2))
    axis_labels(by_distance, "steps back in time", "norm of the gradient")
    factors = _factors(numbers)
    radii = sorted(factors[least])
    by_radius.axhline(1, color=SOFT, linewidth=1.0, linestyle=(0, (1, 2)), zorder=1)
    by_radius.plot(radii, radii, color=SOFT, linewidth=1.0, label="ρ itself (no tanh)", zorder=2)
    for place, (inputs, found) in enumerate(factors.items()):
        means = [mean_over_seeds(found[radius]) for radius in radii]
        low, high = [one.low for one in means], [one.high for one in means]
        line(by_radius, radii, [one.mean for one in means], numbered(5 + place), f"inputs of size {inputs}", low, high)
    axis_labels(by_radius, "spectral radius ρ of W", "factor of one step")
    legend(figure, by_radius)
    return figure


EXPERIMENT = Experiment(
    name="vanishing",
    title="Do gradients vanish or explode?",
    claim="The hidden state is multiplied by the matrix W again and again, so one is bound to meet the problem of "
    "vanishing and of exploding gradients.",
    chapter="chapters 1.4 and 2: RNN, summary; LSTM",
    setup="Plain RNNs with random recurrent matrices of given spectral radius ρ read random inputs; the norm of the "
    "gradient of a component of the last state, by how many steps it was carried back: geometric mean over sequences. "
    "The networks have read for a while before these steps, so that the start from a state of 0 plays no part. A "
    "gradient has vanished if less than a tenth of its norm is left, and exploded if it is more than ten times as "
    "large.",
    settings=Settings,
    measure=measure,
    find=find,
    draw=draw,
    check=lambda settings: [
        *rising("radii", settings.radii),
        *(["distance must be at least 2: a step's factor is that of its second half"] if settings.distance < 2 else []),
    ],
)
