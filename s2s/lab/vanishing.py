"""Gradients through time: a product of many matrices shrinks or grows like a power.

Of the plain network h_t = tanh(W h_{t-1} + U x_t + b) the derivative of the last state with respect to an earlier one
is ∂h_T/∂h_{T-k} = Π diag(1 - h_t²) W. Where the largest absolute eigenvalue of W, its spectral radius ρ, is below 1,
that shrinks at least like ρ^k in the long run; above 1 it can grow, as far as the tanh is not saturated (Pascanu et al.
2013). Gates change the product: along the memory of an LSTM it is that of the forget gates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure

from s2s.config import PositiveFloat, PositiveInt
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers
from s2s.lab.look import axis_labels, legend, line, numbered, panels
from s2s.nn.cells import RNN
from s2s.nn.recurrent import RecurrentLayer


@dataclass(frozen=True)
class Settings:
    hidden: PositiveInt
    distance: PositiveInt  # steps
    sequences: PositiveInt  # over which a norm is averaged
    radii: list[PositiveFloat]  # spectral radius of W
    input_scale: PositiveFloat  # standard deviation of the inputs' share; a large one saturates the tanh
    seeds: list[int]


def measure(settings: Settings, bench: Bench) -> Numbers:
    """Gradient norms by distance for each radius, one list for each seed."""
    return {
        "distance": settings.distance,
        "norms": {
            f"{radius:g}": [gradient_norms(radius, seed, settings) for seed in settings.seeds]
            for radius in settings.radii
        },
    }


def gradient_norms(radius: float, seed: int, settings: Settings) -> list[float]:
    """‖∂(v·h_T)/∂h_{T-k}‖ for k = 0 … distance and a random v of norm 1, averaged (geometric mean) over sequences."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        size, time = settings.hidden, settings.distance + 1
        cell = RNN(size, size)
        layer = RecurrentLayer(cell).double()
        weight = torch.randn(size, size, dtype=torch.float64)
        weight *= radius / torch.linalg.eigvals(weight).abs().max()
        with torch.no_grad():
            cell.weight_hh.copy_(weight)
            cell.weight_ih.copy_(settings.input_scale * torch.eye(size))
        x = torch.randn(settings.sequences, time, size, dtype=torch.float64, requires_grad=True)
        last = layer.trace(x, None)["state0"][:, -1]
        direction = torch.nn.functional.normalize(torch.randn_like(last), dim=1)
        (gradient,) = torch.autograd.grad((last * direction).sum(), x)
    # ∂/∂x_t = ∂/∂(pre-activation) · U with U = scale · 1: the same norm up to the factor.
    norms = gradient.norm(dim=2) / settings.input_scale
    return norms.clamp_min(1e-300).log().mean(dim=0).exp().flip(0).tolist()  # type: ignore[no-any-return]


def _shrinkage(norms: list[float]) -> float:
    """The factor of one step, over the second half of the distance (the first is transient)."""
    half = len(norms) // 2
    return math.exp(math.log(norms[-1] / norms[half]) / (len(norms) - 1 - half))


def find(numbers: Numbers) -> Findings:
    far = numbers["distance"]
    rows, factors = [], {}
    for radius, runs in numbers["norms"].items():
        factors[float(radius)] = [_shrinkage(norms) for norms in runs]
        first, last = runs[0][0], runs[0][-1]
        rows.append([radius, f"{first:.2g}", f"{last:.2g}", f"{sum(factors[float(radius)]) / len(runs):.3f}"])
    below = [factor for radius, found in factors.items() if radius < 1 for factor in found]
    above = [factor for radius, found in factors.items() if radius > 1 for factor in found]
    sentences = [
        f"Over {far} steps the gradient is multiplied by one factor at each step: it falls or rises like a power.",
        "Above 1 the tanh holds the explosion back: where the state saturates, 1 - h² takes away what W adds.",
    ]
    supported = bool(below) and bool(above) and max(below) < 1 < max(above)
    reason = (
        f"factor of a step at most {max(below, default=0):.3f} below radius 1, up to {max(above, default=0):.3f} above"
    )
    columns = ["spectral radius", "norm at distance 0", f"at distance {far}", "factor of a step"]
    return Findings(sentences, columns, rows, "supported" if supported else "not supported", reason)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, (axes,) = panels([""], narrow)
    steps = list(range(numbers["distance"] + 1))
    for place, (radius, runs) in enumerate(numbers["norms"].items()):
        line(axes, steps, runs[0], numbered(place), f"ρ = {radius}")
    axes.set_yscale("log")
    axis_labels(axes, "steps back in time", "norm of the gradient")
    legend(figure, axes)
    return figure


EXPERIMENT = Experiment(
    name="vanishing",
    title="Gradients vanish or explode",
    claim="The hidden state is multiplied by the matrix W again and again, so gradients must vanish or explode.",
    chapter="chapters 1.4 and 2: RNN, summary; LSTM",
    setup="A plain RNN with a random recurrent matrix of a given spectral radius reads random inputs; the norm of the "
    "gradient of its last state, by how many steps it was carried back. Geometric mean over sequences.",
    settings=Settings,
    measure=measure,
    find=find,
    draw=draw,
)
