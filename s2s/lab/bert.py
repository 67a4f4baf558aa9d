"""Pre-training of an encoder on text alone, and what it brings to translation by the number of sentence pairs.

A masked language model (BERT; Devlin et al. 2019) learns from text of the source language. A translation model starts
from its encoder and source embedding, and then learns from pairs, of which there may be few. The control starts from an
encoder that was pre-trained on the same words in random order within each line: it has seen which words there are, and
no order.

The text is the source side of all pairs but the first ones, which are the smallest training set. All systems have the
same tokenisers: that of the source is trained on the text, that of the target on the smallest training set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from s2s.config import parse
from s2s.data.corpus import load_corpus
from s2s.data.languages import is_written_without_spaces
from s2s.data.tokenizer import train_tokenizer
from s2s.files import atomic_write
from s2s.lab.experiment import Description, Findings, Numbers, Overrides, TextOverrides, rising
from s2s.lab.plots import cell_style, legend, log_ticks, mean_line, panels, reference_line, series_style
from s2s.lab.runner import JobRunner, digest
from s2s.lab.statistics import MIN_SEEDS, Mean, above, all_of, differences, mean_over_seeds
from s2s.schema import PositiveInt

NONE, TEXT, SHUFFLED = "no pre-training", "pre-trained on text", "pre-trained on shuffled words"
FILES = {TEXT: "text", SHUFFLED: "shuffled"}


@dataclass(frozen=True)
class Settings:
    data: TextOverrides  # all pairs
    pairs: list[PositiveInt]  # numbers of training pairs; the last may be more than there are
    training: Overrides  # of all systems, the model among it
    pretraining: Overrides  # beside those of `training`
    seeds: list[int]


def check(settings: Settings) -> list[str]:
    return rising("pairs", settings.pairs, compared=True)


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """Test BLEU by system, seed and number of pairs, and the accuracy of the pre-trained models on masked tokens."""
    whole = runner.compose([*settings.data, *settings.training, *_size(runner, settings, settings.pairs[-1])])
    folder = str(runner.folder / "texts" / digest([whole["data"], settings.pairs[0]]))  # that of this text alone
    text = runner.run({"text": partial(write_text, whole, settings.pairs[0], folder)})["text"]
    tokenizer = f"{folder}/tokenizer"
    base = [
        *settings.training,
        *settings.pretraining,
        *("objective=masked_lm", "data=text", f"data.language={text['language']}"),
        *(f"data.tokenizer.{key}={whole['data']['tokenizer'][key]}" for key in ("type", "vocab_size", "byte_fallback")),
        f"data.tokenizer.path={tokenizer}/source.model",
    ]
    texts = {
        system: [f"data.{split}={folder}/{file}.{split}" for split in ("train", "validation")]
        for system, file in FILES.items()
    }
    pretrained = runner.train(texts, [*base, *texts[TEXT]], settings.seeds)
    common = [*settings.data, *settings.training, "data.tokenizer.joint=false", f"data.tokenizer.path={tokenizer}"]
    bleu: dict[str, list[list[float]]] = {system: [] for system in (NONE, TEXT, SHUFFLED)}
    for number, seed in enumerate(settings.seeds):
        starts = {NONE: [], **{system: [f"init_from={runs[number]['run']}"] for system, runs in pretrained.items()}}
        systems = {
            f"{system}, {pairs:,} pairs": [*start, *_size(runner, settings, pairs)]
            for system, start in starts.items()
            for pairs in settings.pairs
        }
        results = runner.train(systems, common, [seed])
        for system in starts:
            runs = [results[f"{system}, {pairs:,} pairs"][0] for pairs in settings.pairs]
            bleu[system].append([run["evaluation"]["bleu"] for run in runs])
    accuracy = {system: [run["validation"]["valid_accuracy"] for run in runs] for system, runs in pretrained.items()}
    pairs = [min(n, text["pairs"]) for n in settings.pairs]
    return {"pairs": pairs, "lines": text["lines"], "bleu": bleu, "accuracy": accuracy}


def _size(runner: JobRunner, settings: Settings, pairs: int) -> list[str]:
    """The override for this number of training pairs."""
    built_in = runner.compose(settings.data)["data"]["type"] == "grammar"
    return [f"data.{'train_pairs' if built_in else 'max_train_pairs'}={pairs}"]


def write_text(values: dict[str, Any], first: int, folder: str) -> dict[str, Any]:
    """Writes the text of all pairs but the first ones, the same with shuffled words, and the tokenisers."""
    data = parse(values).data
    corpus = load_corpus(data, ["train", "validation"])
    source, random = corpus.train.source[first:], np.random.default_rng(1)
    sides = {"train": source, "validation": list(corpus.validation.source)}
    space = "" if is_written_without_spaces(data.source_language) else " "
    for split, lines in sides.items():
        shuffled = [space.join(random.permutation(line.split() if space else list(line))) for line in lines]
        for file, texts in (("text", lines), ("shuffled", shuffled)):
            with atomic_write(Path(folder) / f"{file}.{split}") as out:
                out.writelines(f"{' '.join(text.splitlines())}\n" for text in texts)
    config = replace(data.tokenizer, joint=False, path=None)
    train_tokenizer(config, source, corpus.train.target[:first]).save(Path(folder) / "tokenizer")
    return {"language": data.source_language, "lines": len(source), "pairs": len(corpus.train)}


def gains(numbers: Numbers, system: str, other: str = NONE) -> list[Mean]:
    """BLEU of a system minus that of another, by number of pairs."""
    columns = [list(zip(*numbers["bleu"][name], strict=True)) for name in (system, other)]
    return [differences(mine, theirs) for mine, theirs in zip(*columns, strict=True)]


def analyse(numbers: Numbers) -> Findings:
    pairs, bleu, text, shuffled = numbers["pairs"], numbers["bleu"], gains(numbers, TEXT), gains(numbers, SHUFFLED)
    rows = [
        [
            f"{count:,}",
            *(mean_over_seeds([seed[n] for seed in bleu[system]]).text() for system in bleu),
            *(gain[n].text() for gain in (text, shuffled)),
        ]
        for n, count in enumerate(pairs)
    ]
    accuracy = {system: 100 * mean_over_seeds(values).mean for system, values in numbers["accuracy"].items()}
    sentences = [
        f"With {pairs[0]:,} pairs, pre-training on {numbers['lines']:,} lines of text changes BLEU by "
        f"{text[0].text()}; on the same lines with shuffled words by {shuffled[0].text()}.",
        f"With {pairs[-1]:,} pairs it changes BLEU by {text[-1].text()}, and {shuffled[-1].text()}.",
        f"The pre-trained encoders find {accuracy[TEXT]:.0f} % of the masked tokens of unseen text, and "
        f"{accuracy[SHUFFLED]:.0f} % where its words are shuffled.",
    ]
    columns = ["pairs", *bleu, "gain (text)", "gain (shuffled)"]
    if len(bleu[NONE]) < MIN_SEEDS:
        return Findings(sentences, columns, rows)
    by_seed = [[a - b for a, b in zip(t, n, strict=True)] for t, n in zip(bleu[TEXT], bleu[NONE], strict=True)]
    falls = mean_over_seeds([seed[0] - seed[-1] for seed in by_seed])
    order = gains(numbers, TEXT, SHUFFLED)[0]
    reason = (
        f"BLEU gained with {pairs[0]:,} pairs {text[0].text()}, with {pairs[-1]:,} less by {falls.text()}; beyond the "
        f"gain of the control {order.text()}"
    )
    return Findings(sentences, columns, rows, all_of([above(text[0]), above(falls), above(order)]), reason)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    x = "sentence pairs"
    figure, (quality, gain) = panels(narrow, ("Quality", x, "BLEU"), ("Gain of pre-training", x, "BLEU"))
    styles = {NONE: series_style(0), TEXT: cell_style("transformer"), SHUFFLED: series_style(2)}
    for system, style in styles.items():
        means = [mean_over_seeds(values) for values in _columns(numbers["bleu"][system])]
        mean_line(quality, numbers["pairs"], means, style, system)
        if system != NONE:
            mean_line(gain, numbers["pairs"], gains(numbers, system), style, system)
    reference_line(gain, 0.0)
    quality.set_ylim(bottom=0)
    for axes in (quality, gain):
        log_ticks(axes, numbers["pairs"])
    return legend(figure)


def _columns(seeds: Sequence[Sequence[float]]) -> list[list[float]]:
    return [list(column) for column in zip(*seeds, strict=True)]


DESCRIPTION = Description(
    title="When does pre-training help?",
    claim="What is BERT? (The note has this heading alone. The claim tested here: an encoder that has learnt from text "
    "translates better, the more so the fewer sentence pairs there are, and because of the order of the words.)",
    chapter="chapter 0 (4): what is BERT?",
    setup="A Transformer's encoder learns to fill in masked words of the source language. Then the whole model learns "
    "to translate from few or many pairs, with equal updates; beside one that starts from nothing, and one whose "
    "encoder has filled in masked words of shuffled lines. The claim holds if pre-training brings something with the "
    "fewest pairs, more than with the most, and more than shuffled words do.",
)
