"""GRU against LSTM: how large, how fast, how good, in translation and as a language model.

An LSTM has four blocks of weights (three gates and the candidate), a GRU three: at equal width the GRU has three
quarters of the parameters and of the products of a step. Whether it is better is asked twice, at equal width and at
equal parameters, where the GRU is wider; the second is the fair question, and the verdict's.

(Chung et al. 2014 found no winner; Jozefowicz et al. 2015 found the GRU better on all tasks but language modelling.)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure

from s2s.config import PositiveInt, build
from s2s.data.batching import TrainingData
from s2s.data.corpus import load_corpus
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers, Typed, Verdict
from s2s.lab.language import LanguageSettings, perplexity, read_text, train_language_model
from s2s.lab.look import axis_labels, looks, numbered, panels, points
from s2s.lab.statistics import SEEDS_FOR_A_VERDICT, Mean, above, all_of, differences, mean_over_seeds
from s2s.lab.translation import bleu, equal_parameters, of_widths, train, widths
from s2s.models import shapes_only
from s2s.nn.cells import cell_class
from s2s.runs import load
from s2s.training.step import Updater

LSTM, SAME, EQUAL = NETWORKS = ("LSTM", "GRU, equal width", "GRU, equal parameters")
WIDTHS = 8  # hidden sizes of language models are multiples of it
AS_GOOD = 1.0  # BLEU: a GRU that is less than this behind an LSTM is as good


@dataclass(frozen=True)
class Settings:
    train: Typed  # of the translation models
    language: LanguageSettings  # `hidden` is the LSTM's
    timed_batches: PositiveInt  # of training, in each round of the timing
    rounds: PositiveInt
    seeds: list[int]


def measure(settings: Settings, bench: Bench) -> Numbers:
    """Size, scores for each seed, and times for each round, by network."""
    lstm, gru = [*settings.train, "model=lstm"], [*settings.train, "model=gru"]
    systems = {
        LSTM: ["model=lstm"],
        SAME: ["model=gru", *of_widths(*widths(bench, lstm))],
        EQUAL: ["model=gru", *of_widths(*equal_parameters(bench, gru, lstm))],
    }
    facts = train(bench, systems, settings.train, settings.seeds)
    models = language_models(settings.language)
    data = bench.configuration(lstm)["data"]
    found = bench.each(
        {
            f"language model, {name}, seed {seed}": partial(language_score, data, cell, asdict(given), seed)
            for name, (cell, given) in models.items()
            for seed in settings.seeds
        }
    )
    paths = {name: each[0]["run"] for name, each in facts.items()}
    timed = bench.each({"times": partial(update_times, paths, settings.timed_batches, settings.rounds)})
    return {
        "parameters": {name: each[0]["inner_parameters"] for name, each in facts.items()},
        "bleu": {name: [bleu(one) for one in each] for name, each in facts.items()},
        "seconds": timed["times"],
        "layer": {
            name: layer_parameters(cell, given.embedding, given.hidden) for name, (cell, given) in models.items()
        },
        "perplexity": {
            name: [found[f"language model, {name}, seed {seed}"] for seed in settings.seeds] for name in models
        },
    }


def language_models(settings: LanguageSettings) -> dict[str, tuple[str, LanguageSettings]]:
    """Cell and settings of each network's language model."""
    wanted = layer_parameters("lstm", settings.embedding, settings.hidden)

    def distance(hidden: int) -> int:
        return abs(layer_parameters("gru", settings.embedding, hidden) - wanted)

    wider = min(range(WIDTHS, 2 * settings.hidden + WIDTHS, WIDTHS), key=distance)
    return {LSTM: ("lstm", settings), SAME: ("gru", settings), EQUAL: ("gru", replace(settings, hidden=wider))}


def layer_parameters(cell: str, inputs: int, hidden: int) -> int:
    """Parameters of a recurrent layer."""
    with shapes_only():
        return sum(parameter.numel() for parameter in cell_class(cell)(inputs, hidden).parameters())


def language_score(data: Mapping[str, Any], cell: str, given: Mapping[str, Any], seed: int) -> float:
    """Perplexity of a language model on validation lines, target side, that are no longer than those of training."""
    text, settings = read_text(data), build(LanguageSettings, given)
    model = train_language_model(text, cell, settings, seed)
    longest = max(map(len, text.train))
    return perplexity(model, [line for line in text.held_out if len(line) <= longest], settings.batch_tokens)


def update_times(paths: Mapping[str, str], batches: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of a training update for each target token of it, for each round.

    In a round all models do the same batches, one model after the other, on one thread; so what slows the machine down
    for a while slows all of them. A first round is not counted.

    Args:
        paths: of a run of each model, on the same data.
    """
    runs = {name: load(path, "cpu") for name, path in paths.items()}
    config, tokenizer = (one := next(iter(runs.values()))).config, one.tokenizer
    training = config.training
    split = load_corpus(config.data, ["train"]).train
    data = TrainingData(split, tokenizer, training.batch_tokens, config.seed, training.batch_sentences)
    positions = [n * data.num_batches(0) // batches for n in range(batches)]
    updaters = {
        name: Updater(run.model.train(), run.directory, training, config.optim, config.seed, run.model.device)
        for name, run in runs.items()
    }

    def seconds(updater: Updater) -> float:
        began = time.perf_counter()
        tokens = sum(
            updater.update(1, 0, range(at, at + 1), {at: data.batch(0, at)}, stop=False)[0] for at in positions
        )
        taken = time.perf_counter() - began
        updater.flush_metrics({})
        return taken / tokens

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        turns = [{name: seconds(updater) for name, updater in updaters.items()} for _ in range(rounds + 1)][1:]
    finally:
        torch.set_num_threads(threads)
    return {name: [turn[name] for turn in turns] for name in updaters}


def _parts(numbers: Numbers) -> dict[str, tuple[Verdict, str]]:
    """The parts of the claim of chapter 4, the strongest: verdict and what it rests on."""
    sizes, seconds = numbers["parameters"], numbers["seconds"]
    share = sizes[SAME] / sizes[LSTM]
    saved = mean_over_seeds([100 * (1 - g / full) for g, full in zip(seconds[SAME], seconds[LSTM], strict=True)])
    better = differences(numbers["bleu"][EQUAL], numbers["bleu"][LSTM])
    worse = differences(numbers["perplexity"][EQUAL], numbers["perplexity"][LSTM])
    return {
        "fewer parameters": ("supported" if share < 1 else "not supported", f"{100 * share:.0f} % of the LSTM's"),
        "cheaper": (above(saved), f"{saved.text()} % less time"),
        "better in translation": (above(better), f"{better.text()} BLEU"),
        "not in language modelling": (above(worse), f"{worse.text(2)} perplexity"),
    }


def find(numbers: Numbers) -> Findings:
    rows = [
        [
            name,
            f"{numbers['parameters'][name] / 1e6:.2f} M",
            f"{_microseconds(numbers, name).text()} µs",
            mean_over_seeds(numbers["bleu"][name]).text(),
            f"{numbers['layer'][name] / 1e3:.0f} k",
            mean_over_seeds(numbers["perplexity"][name]).text(2),
        ]
        for name in NETWORKS
    ]
    columns = ["network", "parameters", "time of a target token", "BLEU", "language model's layer", "perplexity"]
    sizes = numbers["parameters"]
    times = {name: _microseconds(numbers, name).mean for name in NETWORKS}
    scores = {name: mean_over_seeds(numbers["bleu"][name]).mean for name in NETWORKS}
    puzzled = {name: mean_over_seeds(numbers["perplexity"][name]).mean for name in NETWORKS}
    sentences = [
        f"At equal width the GRU has {100 * sizes[SAME] / sizes[LSTM]:.0f} % of the LSTM's parameters and takes "
        f"{100 * times[SAME] / times[LSTM]:.0f} % of its time; at equal parameters "
        f"{100 * times[EQUAL] / times[LSTM]:.0f} %.",
        f"In translation the GRU is {_against(scores[SAME] - scores[LSTM], 1, 'BLEU')} at equal width, "
        f"{_against(scores[EQUAL] - scores[LSTM], 1, 'BLEU')} at equal parameters.",
        f"As a language model it is {_against(puzzled[LSTM] - puzzled[SAME], 2, 'of perplexity')} at equal width, "
        f"{_against(puzzled[LSTM] - puzzled[EQUAL], 2, 'of perplexity')} at equal parameters.",
    ]
    if len(numbers["bleu"][LSTM]) < SEEDS_FOR_A_VERDICT:
        return Findings(sentences, columns, rows)
    parts = _parts(numbers)
    mild = above(differences(numbers["bleu"][EQUAL], numbers["bleu"][LSTM]), -AS_GOOD)
    reason = "; ".join(f"{name}: {verdict}, {rest}" for name, (verdict, rest) in parts.items())
    reason += f". What chapters 0 and 3.2 say, as good in translation (less than {AS_GOOD:g} BLEU behind): {mild}"
    return Findings(sentences, columns, rows, all_of([verdict for verdict, _ in parts.values()]), reason)


def _against(ahead: float, digits: int, unit: str) -> str:
    """`1.2 BLEU better`."""
    size = f"{abs(ahead):.{digits}f}"
    if float(size) == 0:
        return "as good as the LSTM"
    return f"{size} {unit} {'better' if ahead > 0 else 'worse'}"


def _microseconds(numbers: Numbers, name: str) -> Mean:
    return mean_over_seeds([1e6 * seconds for seconds in numbers["seconds"][name]])


def draw(numbers: Numbers, narrow: bool) -> Figure:
    titles = ["Translation", "Language model", "Time of training"]
    figure, (left, middle, right) = panels(titles, narrow, height=2.9 if narrow else 3.4)
    chosen = [looks()["lstm"], looks()["gru"], numbered(4)]
    labels = [name.replace(", ", ",\n").replace(" ", "\n") for name in NETWORKS]
    points(left, labels, [numbers["bleu"][name] for name in NETWORKS], chosen)
    points(middle, labels, [numbers["perplexity"][name] for name in NETWORKS], chosen)
    points(right, labels, [[1e6 * s for s in numbers["seconds"][name]] for name in NETWORKS], chosen)
    right.set_ylim(bottom=0)
    axis_labels(left, "", "BLEU (more is better)")
    axis_labels(middle, "", "perplexity (less is better)")
    axis_labels(right, "", "µs for each target token")
    for axes in (left, middle, right):
        axes.tick_params(axis="x", labelsize=8.5)
    return figure


EXPERIMENT = Experiment(
    name="gru_lstm",
    title="GRU or LSTM?",
    claim="A GRU has fewer parameters than an LSTM and is cheaper to compute. It does as well as an LSTM (chapters 0 "
    "and 3.2); it does better everywhere but in language modelling (chapter 4).",
    chapter="chapters 0, 3.2 and 4: what is an LSTM; GRU, summary; CNN, RNN, LSTM, GRU",
    setup="LSTM and GRU with this project's defaults: models that translate through an encoding of fixed size, and "
    "language models of one layer on the target side of the same text. Once the GRU is as wide as the LSTM, once "
    "wider, so that it has as many parameters within 2 % (without embeddings and output layer). An LSTM hands over h "
    "and c, so at equal width its encoding has twice as many numbers. Times are those of training updates of the "
    "translation models on one CPU thread; they take turns on the same batches, and the interval is over rounds. "
    "“Fewer” and “cheaper” are judged at equal width, “better” at equal "
    "parameters. The verdict is on chapter 4, which says more than the other two.",
    settings=Settings,
    measure=measure,
    find=find,
    draw=draw,
)
