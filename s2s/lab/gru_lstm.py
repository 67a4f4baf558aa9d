"""GRU against LSTM: parameters, speed and quality, in translation and as a language model.

An LSTM has four weight blocks (three gates and the candidate), a GRU three: at equal width the GRU has three quarters
of the parameters and of the matrix multiplications of a step. At equal parameters the GRU is wider.

(Chung et al. 2014 found no winner; Jozefowicz et al. 2015 found the GRU better on all tasks but language modelling.)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from s2s.benchmark.machine import in_turns
from s2s.data.batching import TrainingData
from s2s.data.corpus import load_corpus
from s2s.devices import cpu_threads
from s2s.lab.experiment import Conclusion, Description, Findings, Numbers, Overrides
from s2s.lab.language import LanguageSettings, perplexity, read_text, train_language_model
from s2s.lab.plots import cell_style, panels, points, series_style
from s2s.lab.runner import JobRunner
from s2s.lab.statistics import MIN_SEEDS, above, all_of, differences, mean_over_seeds
from s2s.lab.translation import bleu, equal_parameters, hidden_sizes, size_overrides
from s2s.models import shapes_only
from s2s.nn.cells import CELLS
from s2s.runs import load
from s2s.schema import PositiveInt, build
from s2s.training.step import Updater

LSTM, SAME, EQUAL = NETWORKS = ("LSTM", "GRU, equal width", "GRU, equal parameters")
WIDTH_STEP = 8  # hidden sizes of language models are multiples of it
AS_GOOD = 1.0  # BLEU: a GRU that is less behind an LSTM is as good


@dataclass(frozen=True)
class Settings:
    train: Overrides  # of the translation models
    language: LanguageSettings  # `hidden` is the LSTM's
    timed_batches: PositiveInt  # training batches in each round of the timing
    rounds: PositiveInt
    seeds: list[int]


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """Parameters, scores for each seed, and times for each round, by network."""
    lstm, gru = [*settings.train, "model=lstm"], [*settings.train, "model=gru"]
    systems = {
        LSTM: ["model=lstm"],
        SAME: ["model=gru", *size_overrides(*hidden_sizes(runner, lstm))],
        EQUAL: ["model=gru", *size_overrides(*equal_parameters(runner, gru, lstm))],
    }
    facts = runner.train(systems, settings.train, settings.seeds)
    models = language_models(settings.language)
    data = runner.compose(lstm)["data"]
    perplexities = runner.run_seeds(
        models,
        settings.seeds,
        lambda name, seed: partial(language_score, data, *models[name], seed),
        label="language model, ",
    )
    paths = {name: runs[0]["run"] for name, runs in facts.items()}
    times = runner.run({"times": partial(update_times, paths, settings.timed_batches, settings.rounds)})["times"]
    return {
        "parameters": {name: runs[0]["inner_parameters"] for name, runs in facts.items()},
        "bleu": {name: [bleu(run) for run in runs] for name, runs in facts.items()},
        "seconds": times,
        "layer": {name: layer_parameters(cell, one.embedding, one.hidden) for name, (cell, one) in models.items()},
        "perplexity": perplexities,
    }


def language_models(settings: LanguageSettings) -> dict[str, tuple[str, LanguageSettings]]:
    """Cell and settings of each network's language model."""
    target = layer_parameters("lstm", settings.embedding, settings.hidden)
    widths = range(WIDTH_STEP, 2 * settings.hidden + WIDTH_STEP, WIDTH_STEP)
    wider = min(widths, key=lambda hidden: abs(layer_parameters("gru", settings.embedding, hidden) - target))
    return {LSTM: ("lstm", settings), SAME: ("gru", settings), EQUAL: ("gru", replace(settings, hidden=wider))}


def layer_parameters(cell: str, inputs: int, hidden: int) -> int:
    """Parameters of a recurrent layer."""
    with shapes_only():
        return sum(parameter.numel() for parameter in CELLS.find(cell)(inputs, hidden).parameters())


def language_score(data: Mapping[str, Any], cell: str, settings: LanguageSettings, seed: int) -> float:
    """Perplexity of a language model on the validation lines, target side, within the lengths of training."""
    text = build(read_text, {"data": data})
    model = train_language_model(text, cell, settings, seed)
    longest = max(map(len, text.train))
    return perplexity(model, [line for line in text.held_out if len(line) <= longest], settings.batch_tokens)


def update_times(paths: Mapping[str, str], batches: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of a training update per target token, for each round, of runs on the same data.

    In a round all models process the same batches, one model after the other, on one thread, so that run-to-run
    variation of the machine affects all of them. A warmup round does not count.
    """
    runs = {name: load(path, "cpu") for name, path in paths.items()}
    config, tokenizer = (first := next(iter(runs.values()))).config, first.tokenizer
    training = config.training
    split = load_corpus(config.data, ["train"]).train
    data = TrainingData(split, tokenizer, training.batch_tokens, config.seed, training.batch_sentences)
    positions = [n * data.num_batches(0) // batches for n in range(batches)]
    updaters = {
        name: Updater(run.model.train(), run.directory, training, config.optim, config.seed, run.model.device)
        for name, run in runs.items()
    }

    def seconds_per_token(updater: Updater) -> float:
        began = time.perf_counter()
        tokens = sum(
            updater.update(1, 0, range(at, at + 1), {at: data.batch(0, at)}, stop=False)[0] for at in positions
        )
        taken = time.perf_counter() - began
        updater.flush_metrics({})
        return taken / tokens

    passes = {name: partial(seconds_per_token, updater) for name, updater in updaters.items()}
    with cpu_threads(1):
        times = in_turns(passes, rounds + 1, lambda: None)
    return {name: in_rounds[1:] for name, in_rounds in times.items()}


def analyse(numbers: Numbers) -> Findings:
    parameters, seconds = numbers["parameters"], numbers["seconds"]
    micros = {name: mean_over_seeds([1e6 * value for value in seconds[name]]) for name in NETWORKS}
    rows = [
        [
            name,
            f"{parameters[name] / 1e6:.2f} M",
            f"{micros[name].text()} µs",
            mean_over_seeds(numbers["bleu"][name]).text(),
            f"{numbers['layer'][name] / 1e3:.0f} k",
            mean_over_seeds(numbers["perplexity"][name]).text(2),
        ]
        for name in NETWORKS
    ]
    columns = ["network", "parameters", "time per target token", "BLEU", "language model's layer", "perplexity"]
    share = parameters[SAME] / parameters[LSTM]
    sentences = [
        f"At equal width the GRU has {100 * share:.0f} % of the LSTM's parameters and takes "
        f"{100 * micros[SAME].mean / micros[LSTM].mean:.0f} % of its time; at equal parameters "
        f"{100 * micros[EQUAL].mean / micros[LSTM].mean:.0f} %.",
        f"In translation the GRU is {_lead(numbers, SAME, 'bleu')} at equal width, {_lead(numbers, EQUAL, 'bleu')} at "
        "equal parameters.",
        f"As a language model it is {_lead(numbers, SAME, 'perplexity')} at equal width, "
        f"{_lead(numbers, EQUAL, 'perplexity')} at equal parameters.",
    ]
    if len(numbers["bleu"][LSTM]) < MIN_SEEDS:
        return Findings(sentences, columns, rows)
    # The parts of the claim of chapter 4, the strongest.
    saved = mean_over_seeds([100 * (1 - gru / lstm) for gru, lstm in zip(seconds[SAME], seconds[LSTM], strict=True)])
    better, worse = (differences(numbers[key][EQUAL], numbers[key][LSTM]) for key in ("bleu", "perplexity"))
    parts: dict[str, tuple[Conclusion, str]] = {
        "fewer parameters": ("supported" if share < 1 else "not supported", f"{100 * share:.0f} % of the LSTM's"),
        "cheaper": (above(saved), f"{saved.text()} % less time"),
        "better in translation": (above(better), f"{better.text()} BLEU"),
        "not in language modelling": (above(worse), f"{worse.text(2)} perplexity"),
    }
    reason = "; ".join(f"{name}: {conclusion}, {value}" for name, (conclusion, value) in parts.items())
    reason += f". The claim of chapters 0 and 3.2, as good in translation (less than {AS_GOOD:g} BLEU behind): "
    reason += above(better, -AS_GOOD)
    return Findings(sentences, columns, rows, all_of([conclusion for conclusion, _ in parts.values()]), reason)


def _lead(numbers: Numbers, gru: str, score: str) -> str:
    """`1.2 BLEU better`."""
    sign, digits, unit = (1, 1, "BLEU") if score == "bleu" else (-1, 2, "of perplexity")
    gru_score, lstm_score = (mean_over_seeds(numbers[score][name]).mean for name in (gru, LSTM))
    lead = sign * (gru_score - lstm_score)
    size = f"{abs(lead):.{digits}f}"
    if float(size) == 0:
        return "as good as the LSTM"
    return f"{size} {unit} {'better' if lead > 0 else 'worse'}"


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, all_axes = panels(
        narrow,
        ("Translation", "", "BLEU (more is better)"),
        ("Language model", "", "perplexity (less is better)"),
        ("Training time", "", "µs per target token"),
        height=2.9 if narrow else 3.4,
    )
    styles = [cell_style("lstm"), cell_style("gru"), series_style(4)]
    labels = [name.replace(", ", ",\n").replace(" ", "\n") for name in NETWORKS]
    for axes, key, scale in zip(all_axes, ("bleu", "perplexity", "seconds"), (1, 1, 1e6), strict=True):
        points(axes, labels, [[scale * value for value in numbers[key][name]] for name in NETWORKS], styles)
        axes.tick_params(axis="x", labelsize=8.5)
    all_axes[2].set_ylim(bottom=0)
    return figure


DESCRIPTION = Description(
    title="GRU or LSTM?",
    claim="A GRU has fewer parameters than an LSTM and is cheaper to compute. It does as well as an LSTM (chapters 0 "
    "and 3.2); it does better everywhere but in language modelling (chapter 4).",
    chapter="chapters 0, 3.2 and 4: what is an LSTM; GRU, summary; CNN, RNN, LSTM, GRU",
    setup="LSTM and GRU with the defaults of s2s: translation models with a fixed-length context vector, and "
    "language models of one layer on the target side of the same text. The GRU has the LSTM's width, or is wider "
    "with as many parameters within 2 % (without embeddings and output layer). The context vector of an LSTM has h "
    "and c, so at equal width it has twice as many numbers. Times are those of training updates of the translation "
    "models on one CPU thread; the models alternate on the same batches, and the interval is over rounds. “Fewer” "
    "and “cheaper” are evaluated at equal width, “better” at equal parameters. The conclusion is on chapter 4, the "
    "strongest claim.",
)
