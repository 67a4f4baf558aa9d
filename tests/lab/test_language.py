"""The language model against probabilities written out, and on text whose entropy is known."""

import itertools
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir

from s2s.commands.console import plain
from s2s.data.tokenizer import BOS, EOS
from s2s.lab.fit import Recipe
from s2s.lab.language import LanguageModel, LanguageSettings, Text, batches, perplexity, read_text, train_language_model
from s2s.nn.cells import CELLS

FLIP, END = 0.1, 0.1  # of the chain below: how often the next symbol is not the same, and how often a line ends


def _chain(lines: int, seed: int) -> list[list[int]]:
    """Lines of symbols 4 and 5: the first at random, each other one like the one before it, but for a few."""
    draw = random.Random(seed)
    chain = [[draw.choice([4, 5])] for _ in range(lines)]
    for line in chain:
        while draw.random() >= END:
            line.append(9 - line[-1] if draw.random() < FLIP else line[-1])
    return chain


def _least(lines: list[list[int]]) -> float:
    """The perplexity of the probabilities that made the lines."""
    nats = 0.0
    for line in lines:
        nats -= math.log(0.5) + math.log(END)
        nats -= sum(math.log((1 - END) * (FLIP if a != b else 1 - FLIP)) for a, b in itertools.pairwise(line))
    return math.exp(nats / sum(len(line) + 1 for line in lines))


SETTINGS = LanguageSettings(embedding=8, hidden=16, batch_tokens=400, fit=Recipe(updates=150, lr=0.01))


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_learns_a_chain_up_to_its_entropy(cell: str) -> None:
    """On lines of many lengths, so that padding which counted would be seen."""
    held_out = _chain(200, 2)
    model = train_language_model(Text(_chain(600, 1), held_out, 6), cell, SETTINGS, seed=1)
    reached, least = perplexity(model, held_out, 400), _least(held_out)
    assert 0.99 * least < reached < 1.05 * least


@pytest.mark.parametrize("cell", list(CELLS))
def test_perplexity_is_that_of_the_probabilities(cell: str) -> None:
    """Line by line through the step loop, without padding, the output layer or the loss of the product."""
    torch.manual_seed(1)
    model = LanguageModel(cell, 9, 5, 6)
    lines = [[4, 5, 6], [7], [8, 4, 8, 5, 5]]
    nll, tokens = 0.0, 0
    with torch.no_grad():
        for line in lines:
            traced = model.layer.trace(model.embedding(torch.tensor([[BOS, *line]])), None)["state0"]
            log_p = model.output(traced[0]).log_softmax(dim=1)
            nll -= sum(log_p[t, token].item() for t, token in enumerate([*line, EOS]))
            tokens += len(line) + 1
    assert perplexity(model, lines, 12) == pytest.approx(math.exp(nll / tokens), rel=1e-5)


def test_a_seed_decides_everything() -> None:
    text = Text(_chain(50, 1), _chain(20, 2), 6)
    settings = LanguageSettings(embedding=4, hidden=5, batch_tokens=200, fit=Recipe(updates=5, lr=0.01))
    found = [perplexity(train_language_model(text, "gru", settings, seed), text.held_out, 200) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]


def test_batches_hold_every_line_once_an_epoch() -> None:
    lines = [[4] * n for n in (3, 1, 2, 5, 1, 4)]
    made = batches(lines, 12, seed=1)
    for _ in range(2):
        seen: list[int] = []
        while len(seen) < len(lines):
            batch = next(made)
            assert batch.target.numel() <= 12
            seen += batch.index
        assert sorted(seen) == list(range(len(lines)))


def test_text_is_the_target_side_of_any_corpus(root: Path, tmp_path: Path) -> None:
    for split, lines in {"train": ["ein Hund", "eine Katze rennt", "ein Hund rennt"], "validation": ["ein"]}.items():
        (tmp_path / f"{split}.en").write_text("".join("not this side\n" for _ in lines))
        (tmp_path / f"{split}.de").write_text("".join(f"{line}\n" for line in lines))
    settings = ["data=files", "data.source=en", "data.target=de", "data.tokenizer.type=word"]
    settings += ["data.tokenizer.byte_fallback=false", "data.tokenizer.joint=false"]
    settings += [f"data.train={tmp_path}/train", f"data.validation={tmp_path}/validation"]
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        values: dict[str, Any] = plain(compose("train", settings))
    text = read_text(values["data"])
    assert [len(line) for line in text.train] == [2, 3, 3]
    assert list(text.train[0]) == list(text.train[2][:2])
    assert list(text.held_out[0]) == list(text.train[0][:1])
    assert text.vocabulary == 4 + len({"ein", "eine", "Hund", "Katze", "rennt"})
