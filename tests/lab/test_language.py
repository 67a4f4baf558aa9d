"""The language model against probabilities written out, and on text of known entropy."""

import itertools
import math
import random
from pathlib import Path

import pytest
import torch

from s2s.data.tokenizer import BOS, EOS
from s2s.lab.fit import Recipe
from s2s.lab.language import LanguageModel, LanguageSettings, Text, batches, perplexity, read_text, train_language_model
from s2s.lab.runner import JobRunner
from s2s.nn.cells import CELLS
from s2s.schema import build

FLIP, END = 0.1, 0.1  # probabilities in the Markov chain below: the next symbol differs; the line ends
SETTINGS = LanguageSettings(embedding=8, hidden=16, batch_tokens=400, fit=Recipe(updates=150, lr=0.01))


def _markov_chain(lines: int, seed: int) -> list[list[int]]:
    """Lines of symbols 4 and 5: the first at random, then mostly repetitions."""
    rng = random.Random(seed)
    chain = [[rng.choice([4, 5])] for _ in range(lines)]
    for line in chain:
        while rng.random() >= END:
            line.append(9 - line[-1] if rng.random() < FLIP else line[-1])
    return chain


def _true_perplexity(lines: list[list[int]]) -> float:
    nats = 0.0
    for line in lines:
        nats -= math.log(0.5) + math.log(END)
        nats -= sum(math.log((1 - END) * (FLIP if a != b else 1 - FLIP)) for a, b in itertools.pairwise(line))
    return math.exp(nats / sum(len(line) + 1 for line in lines))


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_learns_a_markov_chain_up_to_its_entropy(cell: str) -> None:
    """On lines of many lengths, so that padding which counted would show."""
    held_out = _markov_chain(200, 2)
    model = train_language_model(Text(_markov_chain(600, 1), held_out, 6), cell, SETTINGS, seed=1)
    reached, least = perplexity(model, held_out, 400), _true_perplexity(held_out)
    assert 0.99 * least < reached < 1.05 * least


@pytest.mark.parametrize("cell", list(CELLS))
def test_perplexity_is_that_of_the_probabilities(cell: str) -> None:
    """Line by line through the step loop, without padding, and without the fused output layer and loss."""
    torch.manual_seed(1)
    model = LanguageModel(cell, 9, 5, 6)
    lines = [[4, 5, 6], [7], [8, 4, 8, 5, 5]]
    nll, tokens = 0.0, 0
    with torch.no_grad():
        for line in lines:
            states = model.layer.trace(model.embedding(torch.tensor([[BOS, *line]])), None)["state0"]
            log_p = model.output(states[0]).log_softmax(dim=1)
            nll -= sum(log_p[t, token].item() for t, token in enumerate([*line, EOS]))
            tokens += len(line) + 1
    assert perplexity(model, lines, 12) == pytest.approx(math.exp(nll / tokens), rel=1e-5)


def test_a_seed_fixes_everything() -> None:
    text = Text(_markov_chain(50, 1), _markov_chain(20, 2), 6)
    settings = LanguageSettings(embedding=4, hidden=5, batch_tokens=200, fit=Recipe(updates=5, lr=0.01))
    scores = [perplexity(train_language_model(text, "gru", settings, seed), text.held_out, 200) for seed in (1, 1, 2)]
    assert scores[0] == scores[1] != scores[2]


def test_batches_hold_every_line_once_an_epoch() -> None:
    lines = [[4] * n for n in (3, 1, 2, 5, 1, 4)]
    stream = batches(lines, 12, seed=1)
    for _ in range(2):
        seen: list[int] = []
        while len(seen) < len(lines):
            batch = next(stream)
            assert batch.target.numel() <= 12
            seen += batch.index
        assert sorted(seen) == list(range(len(lines)))


def test_text_is_the_target_side_of_any_corpus(runner: JobRunner, tmp_path: Path) -> None:
    for split, lines in {"train": ["ein Hund", "eine Katze rennt", "ein Hund rennt"], "validation": ["ein"]}.items():
        (tmp_path / f"{split}.en").write_text("".join("not this side\n" for _ in lines))
        (tmp_path / f"{split}.de").write_text("".join(f"{line}\n" for line in lines))
    overrides = ["data=files", "data.source=en", "data.target=de", "data.tokenizer.type=word"]
    overrides += ["data.tokenizer.byte_fallback=false", "data.tokenizer.joint=false"]
    overrides += [f"data.train={tmp_path}/train", f"data.validation={tmp_path}/validation"]
    text = build(read_text, {"data": runner.compose(overrides)["data"]})
    assert [len(line) for line in text.train] == [2, 3, 3]
    assert list(text.train[0]) == list(text.train[2][:2])
    assert list(text.held_out[0]) == list(text.train[0][:1])
    assert text.vocabulary == 4 + len({"ein", "eine", "Hund", "Katze", "rennt"})
