"""Reach of a convolution: the influence of an input on the last output, in stacks of convolutions of several depths.

A convolution of width k sees k inputs, so a stack of n of them sees n (k - 1) + 1 (Gehring et al. 2017, section 3.1).
Beyond, the derivative of the last output with respect to an input is exactly 0, before and after training, because
there is no path from one to the other. A recurrent network has a path from every input, however long, which fades
(`influence`). Self-attention has a path of length one from every input.

The networks are language models of equal width, stacks of causal blocks without feed-forward networks, which differ in
their mixer (`s2s.nn.mixers`) and their depth alone. The influence is measured as in `s2s.lab.influence`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from s2s.evaluation.report.canvas import SOFT
from s2s.lab.experiment import Description, Findings, Numbers, TextOverrides, rising
from s2s.lab.fit import Recipe, seeded
from s2s.lab.influence import by_distance, geometric_means, jacobian_norms, prefixes
from s2s.lab.language import BlockLanguageModel, LanguageSettings, fit_language_model, perplexity, read_text
from s2s.lab.plots import DOTTED, cell_style, legend, line, log_scale, panels, series_style
from s2s.lab.runner import JobRunner
from s2s.lab.statistics import MIN_SEEDS, above, all_of, mean_over_seeds
from s2s.schema import PositiveInt, build

RECURRENT, ATTENTION = "LSTM", "self-attention"
HEADS = 4
LEAST = 1e-3  # share of the nearest input's influence that counts as a path that is used


@dataclass(frozen=True)
class Settings:
    text: TextOverrides  # the models read its target side
    kernel: PositiveInt  # width of the convolutions
    layers: list[PositiveInt]  # depths of the stacks of convolutions; the last one is that of the other networks
    distance: PositiveInt  # steps back
    lines: PositiveInt  # held-out lines of more than `distance` tokens, over which the influence is averaged
    size: PositiveInt  # width of the networks
    batch_tokens: PositiveInt
    fit: Recipe
    seeds: list[int]


def check(settings: Settings) -> list[str]:
    reach = settings.layers[-1] * (settings.kernel - 1)
    return [
        *rising("layers", settings.layers, compared=True),
        *([f"kernel={settings.kernel} sees nothing but one input: set 2 or more"] if settings.kernel < 2 else []),
        *([f"distance={settings.distance} must be more than the reach {reach}"] if settings.distance <= reach else []),
        *([f"size={settings.size} is not a multiple of {HEADS}, the heads"] if settings.size % HEADS else []),
    ]


def networks(settings: Settings) -> dict[str, dict[str, Any]]:
    """Arguments of `BlockLanguageModel` by name."""
    deepest = settings.layers[-1]
    mixers = {
        name_of(layers): ({"type": "convolution", "kernel": settings.kernel}, layers) for layers in settings.layers
    }
    mixers |= {
        RECURRENT: ({"type": "recurrent", "cell": "lstm"}, deepest),
        ATTENTION: ({"type": "self_attention"}, deepest),
    }
    return {
        name: {"mixer": mixer, "layers": layers, "positions": "none" if name == RECURRENT else "sinusoidal"}
        for name, (mixer, layers) in mixers.items()
    }


def name_of(layers: int) -> str:
    return f"convolution, {layers} layer{'' if layers == 1 else 's'}"


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """For each network and seed the influence by distance before and after training, and the perplexity."""
    data = runner.compose(settings.text)["data"]
    specifications = networks(settings)
    results = runner.run_seeds(
        list(specifications),
        settings.seeds,
        lambda name, seed: partial(before_and_after, data, specifications[name], seed, settings),
    )
    reaches = {name_of(layers): layers * (settings.kernel - 1) for layers in settings.layers}
    return {"distance": settings.distance, "reaches": reaches, "networks": results}


def before_and_after(
    data: Mapping[str, Any], specification: Mapping[str, Any], seed: int, settings: Settings
) -> dict[str, Any]:
    """The influence in one network before and after training, and its perplexity."""
    text = build(read_text, {"data": data})
    tokens = prefixes(text, settings.distance, settings.lines)
    with seeded(seed):
        untrained = BlockLanguageModel(vocabulary=text.vocabulary, size=settings.size, heads=HEADS, **specification)
    training = LanguageSettings(settings.size, settings.size, settings.batch_tokens, settings.fit)
    trained = fit_language_model(copy.deepcopy(untrained), text, training, seed)
    return {
        "before": relative_influence(untrained, tokens),
        "after": relative_influence(trained, tokens),
        "perplexity": perplexity(trained, text.held_out, settings.batch_tokens),
    }


def relative_influence(model: BlockLanguageModel, tokens: Tensor) -> list[float]:
    """By distance, relative to distance 0; exactly 0 where there is no path in any line (B, T)."""
    model = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        x = model.embedding(tokens)
    norms = jacobian_norms(lambda x: model.states(x, None)[:, -1], x.size(2), x)
    absent = norms.eq(0).all(dim=0)[1:].flip(0).tolist()
    return [0.0 if zero else share for zero, share in zip(absent, by_distance(norms), strict=True)]


def last_path(shares: list[float]) -> int:
    """The farthest distance with an influence that is not exactly 0."""
    return max(distance for distance, share in enumerate(shares) if share)


def analyse(numbers: Numbers) -> Findings:
    far, runs, reaches = numbers["distance"], numbers["networks"], numbers["reaches"]
    last = {name: [last_path(run[when]) for run in of for when in ("before", "after")] for name, of in runs.items()}
    end = {name: mean_over_seeds([run["after"][far] for run in of]) for name, of in runs.items()}
    rows = [
        [
            name,
            str(reaches.get(name, "all")),
            " or ".join(sorted({str(one) for one in last[name]}, key=int)),
            f"{100 * geometric_means([run['after'] for run in of])[far]:.2g} %" if end[name].mean else "0",
            mean_over_seeds([run["perplexity"] for run in of]).text(),
        ]
        for name, of in runs.items()
    ]
    exact = {name: set(last[name]) == {reach} for name, reach in reaches.items()}
    shares = {name: geometric_means([run["after"] for run in runs[name]]) for name in (RECURRENT, ATTENTION)}
    ends = ", ".join(f"{name} after {reach} steps" for name, reach in reaches.items())
    others = [name for name in exact if not exact[name]]
    sentences = [
        (
            f"The influence of an input on the last output of a stack of convolutions ends where kernel and depth say, "
            f"and is exactly 0 beyond, trained or not: {ends}."
            if all(exact.values())
            else f"The influence ends elsewhere than kernel and depth say, in {', '.join(others)}."
        ),
        f"In the trained LSTM, an input {far} steps back has {100 * shares[RECURRENT][far]:.2g} % of the influence of "
        f"the most recent one, and in trained self-attention {100 * shares[ATTENTION][far]:.2g} %.",
    ]
    columns = ["network", "reach", "last input with influence", f"influence after training, {far} steps back"]
    columns.append("perplexity")
    if min(map(len, runs.values())) < MIN_SEEDS:
        return Findings(sentences, columns, rows)
    everywhere = all(last_path(run[when]) == far for run in runs[RECURRENT] for when in ("before", "after"))
    used = above(end[ATTENTION], LEAST)
    conclusion = all_of(["supported" if all(exact.values()) and everywhere else "not supported", used])
    reason = (
        "in a stack of convolutions the influence is exactly 0 beyond its reach, for every depth and seed, before and "
        f"after training: {'yes' if all(exact.values()) else 'no'}. An LSTM's last state depends on every input: "
        f"{'yes' if everywhere else 'no'}, {end[RECURRENT].scaled(100).text(2)} % of the nearest input's influence "
        f"{far} steps back. Self-attention: {end[ATTENTION].scaled(100).text(2)} %, where more than {100 * LEAST:g} % "
        "counts as a path that is used"
    )
    return Findings(sentences, columns, rows, conclusion, reason)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    labels = "steps back in time", "influence (most recent input = 1)"
    figure, both = panels(narrow, ("Before training", *labels), ("After training", *labels))
    styles = {name: series_style(number) for name, number in zip(numbers["reaches"], (0, 3, 7), strict=False)}
    styles |= {RECURRENT: cell_style("lstm"), ATTENTION: cell_style("transformer")}
    lowest = 1.0
    for axes, when in zip(both, ("before", "after"), strict=True):
        for name, runs in numbers["networks"].items():
            until = max(last_path(run[when]) for run in runs)
            mean = geometric_means([run[when][: until + 1] for run in runs])
            lowest = min(lowest, *mean)
            line(axes, list(range(until + 1)), mean, styles[name], name)
            if name in numbers["reaches"]:  # from there on it is exactly 0, which has no logarithm
                axes.axvline(until + 0.5, color=SOFT, linewidth=1.0, linestyle=DOTTED)
        log_scale(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(-0.5, numbers["distance"] + 0.5)
    for axes in both:
        axes.set_ylim(max(lowest, 1e-12) / 1.6, 2.5)
    return legend(figure)


DESCRIPTION = Description(
    title="How far does a convolution see?",
    claim="CNN: the input is static and does not change over time; the method is convolution. RNN: the input is "
    "continuous in time; the hidden state of the previous moment is passed on again and again.",
    chapter="chapter 4: CNN, RNN, LSTM, GRU",
    setup="Language models of equal width read sentences: stacks of convolutions of several depths, of LSTMs, and of "
    "self-attention. The influence of an input is the norm of the derivative of the last output with respect to it, "
    "as in “Does it count less what came early?”. Dotted: the end of a convolution's reach, (kernel - 1) × layers "
    "steps back. The claim holds if a convolution sees a fixed window, exactly, and a recurrent network every input.",
)
