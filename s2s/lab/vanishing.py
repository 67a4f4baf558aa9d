"""Vanishing and exploding gradients: a product of many matrices shrinks or grows exponentially.

In the plain RNN h_t = tanh(W h_{t-1} + U x_t + b) the derivative of the last state with respect to an earlier one is

    ∂h_T/∂h_{T-k} = Π diag(1 - h_t²) W        (k factors, t = T … T-k+1)

Without the factors of the tanh it is W^k, which in the long run shrinks or grows like ρ^k; the spectral radius ρ is
the largest absolute eigenvalue of W. As 1 - h² is at most 1, the tanh reduces it: above ρ = 1 gradients can explode as
long as the states stay out of saturation (Pascanu et al. 2013). Nothing keeps the factor of a step at 1, and any other
factor tends to 0 or ∞ over many steps.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from s2s.evaluation.report.canvas import SOFT
from s2s.lab.experiment import Conclusion, Description, Findings, Numbers, rising
from s2s.lab.fit import seeded
from s2s.lab.plots import legend, line, log_scale, mean_line, note, panels, reference_line, series_style
from s2s.lab.runner import JobRunner
from s2s.lab.statistics import MIN_SEEDS, above, all_of, differences, mean_over_seeds
from s2s.nn.cells import RNN
from s2s.nn.recurrent import RecurrentLayer
from s2s.schema import PositiveFloat, PositiveInt


@dataclass(frozen=True)
class Settings:
    hidden: PositiveInt
    distance: PositiveInt  # steps
    before: PositiveInt  # inputs before these steps: the first states are small, where the tanh has no effect
    sequences: PositiveInt  # over which a norm is averaged
    radii: list[PositiveFloat]  # spectral radius of W
    inputs: list[PositiveFloat]  # standard deviation of U x; large inputs saturate the tanh
    seeds: list[int]


def check(settings: Settings) -> list[str]:
    return [
        *rising("radii", settings.radii),
        *(["distance must be at least 2: a step's factor is that of its second half"] if settings.distance < 2 else []),
    ]


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """For each size of the inputs and each radius the gradient's norm by distance: a list over seeds."""
    jobs = {f"seed {seed}": partial(random_networks, settings, seed) for seed in settings.seeds}
    results = runner.run(jobs).values()
    return {
        "distance": settings.distance,
        "norms": {
            f"{inputs:g}": {
                f"{radius:g}": [norms[f"{inputs:g}"][f"{radius:g}"] for norms in results] for radius in settings.radii
            }
            for inputs in settings.inputs
        },
    }


def random_networks(settings: Settings, seed: int) -> dict[str, dict[str, list[float]]]:
    """The gradient's norm by distance, with one W scaled to each radius."""
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


def gradient_norms(weight: Tensor, inputs: Tensor, direction: Tensor) -> list[float]:
    """‖∂(v·h_T)/∂h_{T-k}‖ for k = 0 … T - 1: the geometric mean over sequences.

    Args:
        weight: W (H, H), float64.
        inputs: U x_t of each step (B, T, H); b is 0, and so is the initial state.
        direction: v (B, H), of norm 1.
    """
    size = len(weight)
    cell = RNN(size, size).double()
    with torch.no_grad():
        cell.weight_hh.copy_(weight)
        cell.weight_ih.copy_(torch.eye(size))
    x = inputs.detach().requires_grad_()
    last = RecurrentLayer(cell).trace(x, None)["state0"][:, -1]
    (gradient,) = torch.autograd.grad((last * direction).sum(), x)
    # U is the identity, so the gradient at x_t is that of the tanh's argument at step t; one more factor W gives that
    # of h_{t-1}.
    earlier = (gradient[:, 1:] @ weight).flip(1)
    norms = torch.cat([direction.unsqueeze(1), earlier], dim=1).norm(dim=2)
    return norms.clamp_min(1e-300).log().mean(dim=0).exp().tolist()  # type: ignore[no-any-return]


def step_factor(norms: list[float]) -> float:
    """The factor of one step over the second half of the distance; in the first half directions still align."""
    half = len(norms) // 2
    return math.exp(math.log(norms[-1] / norms[half]) / (len(norms) - 1 - half))


def log_growth(norms: list[float]) -> float:
    """Powers of ten by which the norm has grown at the farthest step, negative where it has shrunk."""
    return math.log10(norms[-1] / norms[0])


def _each_run(numbers: Numbers, function: Callable[[list[float]], float]) -> dict[str, dict[float, list[float]]]:
    """By size of the inputs and radius: a list over seeds."""
    return {
        inputs: {float(radius): list(map(function, runs)) for radius, runs in by_radius.items()}
        for inputs, by_radius in numbers["norms"].items()
    }


def analyse(numbers: Numbers) -> Findings:
    far, factors = numbers["distance"], _each_run(numbers, step_factor)
    rows = []
    for inputs, by_radius in factors.items():
        for radius, values in by_radius.items():
            last = statistics.geometric_mean(norms[-1] for norms in numbers["norms"][inputs][f"{radius:g}"])
            rows.append([f"{radius:g}", inputs, f"{last:.2g}", mean_over_seeds(values).text(3)])
    least, most = (end(factors, key=float) for end in (min, max))
    small = ", ".join(
        f"{statistics.fmean(values):.2f} at radius {radius:g}" for radius, values in factors[least].items()
    )
    sentences = [
        f"Each step multiplies the gradient by nearly the same factor, so over {far} steps it decays or grows "
        f"exponentially. With small inputs the factor is {small}. Without a tanh it would be the radius itself."
    ]
    changes = {
        inputs: {radius: statistics.fmean(values) for radius, values in by_radius.items()}
        for inputs, by_radius in _each_run(numbers, log_growth).items()
    }
    damped = [f"{radius:g}" for radius in changes[least] if changes[least][radius] > 1 > changes[most][radius]]
    if damped:
        sentences.append(
            f"Inputs of size {most} saturate the tanh, where 1 - h² offsets the growth by W: at radius "
            f"{' and '.join(damped)} the gradient does not explode then. A radius above 1 alone makes no explosion."
        )
    neither = [
        f"radius {radius:g} (inputs of size {inputs})"
        for inputs, by_radius in changes.items()
        for radius, mean in by_radius.items()
        if abs(mean) < 1
    ]
    if neither:
        sentences.append(f"The change over these {far} steps is less than tenfold at {', '.join(neither)}.")
    columns = ["spectral radius", "size of inputs", f"norm {far} steps back", "factor of a step"]
    return Findings(sentences, columns, rows, *_conclusion(numbers))


def _conclusion(numbers: Numbers) -> tuple[Conclusion | None, str]:
    """Vanishing below radius 1, explosion at the largest one (inputs small), and the more, the larger the radius."""
    all_changes = _each_run(numbers, log_growth)
    if min(len(values) for by_radius in all_changes.values() for values in by_radius.values()) < MIN_SEEDS:
        return None, ""
    changes = all_changes[min(all_changes, key=float)]
    losses = [
        mean_over_seeds([-value for value in values])
        for by_radius in all_changes.values()
        for radius, values in by_radius.items()
        if radius < 1
    ]
    largest = max(changes)
    gain = mean_over_seeds(changes[largest]) if largest > 1 else None
    steps = [differences(more, less) for less, more in itertools.pairwise(changes.values())]
    parts = [*(above(mean, 1) for mean in (*losses, gain)), *map(above, steps)] if losses and gain else []
    return all_of(parts), (
        f"powers of ten over {numbers['distance']} steps, where more than one is required: below radius 1 the norm "
        f"loses at least {min(losses).text(1) if losses else 'n/a'}; at radius {largest:g}, with small inputs, it "
        f"gains {gain.text(1) if gain else 'n/a'}; from one radius to the next it is larger by at least "
        f"{min(steps).text(1) if steps else 'n/a'}"
    )


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, (by_distance, by_radius) = panels(
        narrow,
        ("By distance (small inputs)", "steps back in time", "norm of the gradient"),
        ("The factor of one step", "spectral radius ρ of W", "factor of one step"),
    )
    steps, norms = list(range(numbers["distance"] + 1)), numbers["norms"]
    least = min(norms, key=float)
    for number, (radius, runs) in enumerate(norms[least].items()):
        mean = [statistics.geometric_mean(values) for values in zip(*runs, strict=True)]
        style, label = series_style(number), f"ρ = {radius}"
        line(by_distance, steps, mean, style, label)
        note(by_distance, label, (steps[-1], mean[-1]), (4, -3), color=style.text)
    log_scale(by_distance)
    by_distance.set_xlim(0, steps[-1] * (1.32 if narrow else 1.2))
    factors = _each_run(numbers, step_factor)
    radii = sorted(factors[least])
    reference_line(by_radius, 1)
    by_radius.plot(radii, radii, color=SOFT, linewidth=1.0, label="ρ itself (no tanh)", zorder=2)
    for number, (inputs, values) in enumerate(factors.items(), 5):
        means = [mean_over_seeds(values[radius]) for radius in radii]
        mean_line(by_radius, radii, means, series_style(number), f"inputs of size {inputs}")
    return legend(figure, panel=1)


DESCRIPTION = Description(
    title="Do gradients vanish or explode?",
    claim="The hidden state is multiplied by the matrix W again and again, so one is bound to meet the problem of "
    "vanishing and of exploding gradients.",
    chapter="chapters 1.4 and 2: RNN, summary; LSTM",
    setup="Plain RNNs with random recurrent matrices of given spectral radius ρ read random inputs. The norm of the "
    "gradient of a component of the last state is measured by the number of steps back: geometric mean over "
    "sequences. The networks read other inputs before these steps, so that the initial state of 0 has no effect. A "
    "gradient has vanished if less than a tenth of its norm is left, and exploded if it is more than ten times as "
    "large.",
)
