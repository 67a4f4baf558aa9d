"""Which part of the Transformer matters: the same block with every mixer in the encoder and in the decoder.

A Transformer's block lets the positions of a sequence exchange information by self-attention. Here a simpler simple
recurrent unit (both directions in an encoder; Kim et al. 2019) or a convolution (Gehring et al. 2017) takes its place
in the encoder, in the decoder, or in both. All else is equal: attention over the source, residual connections and
normalisation, positions, data, updates, and the number of parameters, which the feed-forward networks make up for.
Domhan 2018 found that a decoder without self-attention loses nothing, and an encoder without it does.

Decoding is timed greedily and with one thread, the systems alternating, on the same sentences. Outputs may differ in
length, as users see them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from s2s.benchmark.machine import facts, medians
from s2s.data.corpus import load_corpus
from s2s.devices import cpu_threads
from s2s.lab.experiment import Description, Findings, Numbers, Overrides, rising
from s2s.lab.plots import cell_style, legend, mean_line, panels, series_style
from s2s.lab.runner import CPU, JobRunner
from s2s.lab.statistics import MIN_SEEDS, above, all_of, differences, mean_over_seeds, means_over_seeds
from s2s.lab.translation import bin_centers, inner_parameters, length_bins, scores_by_length
from s2s.runs import load
from s2s.schema import PositiveInt

ATTENTION = "self-attention"
MIXERS = {ATTENTION: "self_attention", "recurrence": "recurrent", "convolution": "convolution"}
SIDES = ("encoder", "decoder")


@dataclass(frozen=True)
class Settings:
    bins: list[PositiveInt]  # of the test by source words
    training: Overrides  # of all systems, the Transformer among them
    sentences: PositiveInt  # of the test, for the time of decoding
    rounds: PositiveInt  # of decoding, whose median counts
    seeds: list[int]


def check(settings: Settings) -> list[str]:
    return rising("bins", settings.bins, compared=True)


def name_of(encoder: str, decoder: str) -> str:
    return f"{encoder} → {decoder}"


def systems(runner: JobRunner, training: Sequence[str]) -> dict[str, list[str]]:
    """Overrides of each system; the feed-forward networks make up for parameters that a mixer has more or less."""
    reference = runner.compose(training)["model"]
    width, found = reference["embedding_size"], {}
    for encoder in MIXERS:
        for decoder in MIXERS:
            overrides = [
                f"model/{side}/mixer={MIXERS[one]}" for side, one in zip(SIDES, (encoder, decoder), strict=True)
            ]
            for side, one in zip(SIDES, (encoder, decoder), strict=True):
                alone = runner.compose([*training, f"model/{side}/mixer={MIXERS[one]}"])["model"]
                excess = (inner_parameters(alone) - inner_parameters(reference)) / reference[side]["layers"]
                inner = reference[side]["feedforward"] - round(excess / (2 * width + 1))
                overrides.append(f"model.{side}.feedforward={max(0, inner)}")
            found[name_of(encoder, decoder)] = overrides
    return found


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """BLEU by source length and in all, parameters, and the time of decoding: for each system a list over seeds."""
    common = [*settings.training, f"evaluation.bins={settings.bins}"]
    specifications = systems(runner, settings.training)
    results = runner.train(specifications, common, settings.seeds)
    paths = {name: [str(run["run"]) for run in runs] for name, runs in results.items()}
    job = partial(decoding_times, paths, settings.sentences, settings.rounds)
    return {
        "bins": length_bins(results[name_of(ATTENTION, ATTENTION)][0]),
        "by_length": {name: [scores_by_length(run) for run in runs] for name, runs in results.items()},
        "bleu": {name: [run["evaluation"]["bleu"] for run in runs] for name, runs in results.items()},
        "parameters": {
            name: inner_parameters(runner.compose([*common, *overrides])["model"])
            for name, overrides in specifications.items()
        },
        **runner.run({"decoding": job})["decoding"],
    }


def decoding_times(paths: dict[str, list[str]], sentences: int, rounds: int) -> dict[str, Any]:
    """Seconds of a greedy translation of the first test sentences by each run."""
    first = load(next(iter(paths.values()))[0], "cpu")
    source = next(iter(load_corpus(first.config.data, ["test"]).tests.values())).source[:sentences]
    translators = {
        f"{name} {number}": load(Path(path), "cpu").translator(strategy="greedy", n_best=1, batch_tokens=4096)
        for name, of in paths.items()
        for number, path in enumerate(of)
    }
    with cpu_threads(1):
        seconds = medians(
            {name: partial(one.translate, list(source)) for name, one in translators.items()}, rounds, CPU, lambda: None
        )
    return {
        "seconds": {name: [seconds[f"{name} {number}"] for number in range(len(of))] for name, of in paths.items()},
        "machine": facts(CPU)["processor"],
    }


def analyse(numbers: Numbers) -> Findings:
    bleu, seconds, reference = numbers["bleu"], numbers["seconds"], name_of(ATTENTION, ATTENTION)
    speed = {
        name: mean_over_seeds([b / a for a, b in zip(of, seconds[reference], strict=True)])
        for name, of in seconds.items()
    }
    rows = [
        [
            name,
            f"{numbers['parameters'][name] / 1e6:.2f}",
            mean_over_seeds(bleu[name]).text(),
            *(mean_over_seeds([run[n] for run in numbers["by_length"][name]]).text() for n in (0, -1)),
            speed[name].text(2),
        ]
        for name in bleu
    ]
    # Self-attention minus the best other mixer on one side, with self-attention on the other.
    others = [one for one in MIXERS if one != ATTENTION]
    replaced = {
        "encoder": max((name_of(one, ATTENTION) for one in others), key=lambda name: mean_over_seeds(bleu[name]).mean),
        "decoder": max((name_of(ATTENTION, one) for one in others), key=lambda name: mean_over_seeds(bleu[name]).mean),
    }
    losses = {side: differences(bleu[reference], bleu[name]) for side, name in replaced.items()}
    best = max(bleu, key=lambda name: mean_over_seeds(bleu[name]).mean)
    fastest = max(speed, key=lambda name: speed[name].mean)
    sentences = [
        f"With self-attention in both sides (the Transformer), BLEU is {mean_over_seeds(bleu[reference]).text()}; "
        + "; ".join(
            f"with the best other mixer in the {side} alone ({name}) it is {mean_over_seeds(bleu[name]).text()}"
            for side, name in replaced.items()
        )
        + ".",
        f"The best of the nine is {best}, with {mean_over_seeds(bleu[best]).text()}.",
        f"The fastest in greedy decoding is {fastest}, {speed[fastest].mean:.2f} times as fast as the Transformer (one "
        f"thread of {numbers['machine']}).",
    ]
    bins = numbers["bins"]
    columns = [
        "encoder → decoder",
        "parameters, millions",
        "BLEU",
        f"up to {bins[0][1]} words",
        f"{bins[-1][0]}–{bins[-1][1]}",
    ]
    columns.append("speed of decoding")
    if len(bleu[reference]) < MIN_SEEDS:
        return Findings(sentences, columns, rows)
    reason = "BLEU of the Transformer minus that with the best other mixer: " + ", ".join(
        f"in the {side} {loss.text()} ({replaced[side]})" for side, loss in losses.items()
    )
    return Findings(sentences, columns, rows, all_of([above(loss) for loss in losses.values()]), reason)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    x = "words in the source"
    titles = [(f"Decoder: {decoder}", x, "BLEU") for decoder in MIXERS]
    figure, axes = panels(narrow, *titles)
    styles = dict(zip(MIXERS, (cell_style("transformer"), cell_style("lstm"), series_style(0)), strict=True))
    for place, decoder in zip(axes, MIXERS, strict=True):
        for encoder, style in styles.items():
            means = means_over_seeds(numbers["by_length"][name_of(encoder, decoder)])
            mean_line(place, bin_centers(numbers["bins"]), means, style, f"encoder: {encoder}")
        place.set_ylim(0, 104)
    return legend(figure)


DESCRIPTION = Description(
    title="Which side needs self-attention?",
    claim="With this the model has left the original RNN, and has become a structure with encoder and decoder that is "
    "based on self-attention entirely: the Transformer.",
    chapter="chapter 0 (3): seq2seq, attention, Transformer",
    setup="The Transformer's block with self-attention, a recurrent unit (SSRU) or a convolution, in the encoder and "
    "in the decoder: nine systems, equal in all else, parameters included. The claim, read as a need, holds if BLEU "
    "falls when the best other mixer replaces self-attention in the encoder, and when it does in the decoder. Speed "
    "is relative to the Transformer's.",
)
