"""The text of the experiment and its control, a start from a pre-trained encoder, the conclusion on made-up numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from s2s.config import parse
from s2s.data.corpus import load_corpus
from s2s.data.tokenizer import Tokenizer
from s2s.lab import bert
from s2s.lab.bert import NONE, SHUFFLED, TEXT, analyse, write_text
from s2s.lab.runner import JobRunner
from s2s.runs import load
from tests.lab.small import SMALL, assert_draws, measured, text

DATA = ["data=grammar", *(one for one in SMALL if one.startswith("data.") and "train_pairs" not in one)]
TRAINING = ["training=quick", "optim=quick", "model=transformer", "model.encoder.layers=1", "model.decoder.layers=1"]
TRAINING += [one for one in SMALL if not one.startswith(("data.", "experiment"))]


def test_the_text_is_the_source_of_all_pairs_but_the_first(runner: JobRunner, tmp_path: Path) -> None:
    values = runner.compose([*DATA, "data.train_pairs=50"])
    facts = write_text(values, 20, str(tmp_path))
    assert (facts["language"], facts["lines"], facts["pairs"]) == ("en", 30, 50)
    run = runner.compose([*DATA, "data.train_pairs=20"])
    corpus = load_corpus(parse(values).data)
    lines = {split: (tmp_path / f"text.{split}").read_text().splitlines() for split in ("train", "validation")}
    assert lines["train"] == list(corpus.train.source)[20:]
    assert not {*lines["train"]} & {*load_corpus(parse(run).data).train.source}
    assert lines["validation"] == list(corpus.validation.source)
    shuffled = (tmp_path / "shuffled.train").read_text().splitlines()
    assert [sorted(line.split()) for line in shuffled] == [sorted(line.split()) for line in lines["train"]]
    assert sum(a != b for a, b in zip(shuffled, lines["train"], strict=True)) > 25
    tokenizer = Tokenizer.load(tmp_path / "tokenizer")
    assert not tokenizer.joint


@pytest.mark.slow  # trains eight networks
def test_from_text_to_a_picture(runner: JobRunner) -> None:
    more = ["training.max_steps=4", "training.validate_every=4"]
    numbers = measured(bert, runner, data=DATA, pairs=[20, 60], training=TRAINING, pretraining=more, seeds=[1])
    assert numbers["pairs"] == [20, 60]
    assert numbers["lines"] == 40
    assert {name: [len(row) for row in rows] for name, rows in numbers["bleu"].items()} == {
        NONE: [2], TEXT: [2], SHUFFLED: [2]
    }  # fmt: skip
    runs = {path.parent: OmegaConf.load(path) for path in runner.folder.glob("runs/*/config.yaml")}
    objectives = [config.objective.type for config in runs.values()]
    assert sorted(objectives) == ["masked_lm"] * 2 + ["translation"] * 6
    starts = [config.init_from for config in runs.values() if config.objective.type == "translation"]
    assert sum(start is None for start in starts) == 2
    for run, config in runs.items():
        steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert max(steps) == (4 if config.objective.type == "masked_lm" else 2)
        if config.objective.type == "translation" and config.init_from is not None:
            new, old = load(run, "cpu"), load(config.init_from, "cpu")
            assert new.tokenizer.vocabularies[0] == old.tokenizer.vocabularies[0]
            weights = old.model.state_dict()
            for name, tensor in new.model.state_dict().items():
                if name.startswith(("encoder.", "source_embedding.")):
                    assert (tensor - weights[name]).abs().max() < 1e-2, "two updates from there"
    findings = analyse(numbers)
    assert findings.conclusion is None, "one seed"
    assert len(findings.rows) == 2
    assert_draws(bert, numbers, 2)


def made_up(gains: tuple[float, float], shuffled: float, seeds: int) -> dict[str, Any]:
    """Numbers of two sizes: BLEU 20 and 40 without pre-training, and these gains with it."""
    start = [20.0, 40.0]
    curves = {NONE: start, TEXT: [20 + gains[0], 40 + gains[1]], SHUFFLED: [20 + shuffled, 40.0]}
    return {
        "pairs": [1000, 10000],
        "lines": 9000,
        "bleu": {name: [[one + seed / 10 for one in row] for seed in range(seeds)] for name, row in curves.items()},
        "accuracy": {TEXT: [0.5] * seeds, SHUFFLED: [0.3] * seeds},
    }


@pytest.mark.parametrize(
    ("gains", "shuffled", "seeds", "conclusion"),
    [
        ((5.0, 1.0), 2.0, 3, "supported"),
        ((-1.0, -2.0), -2.0, 3, "not supported"),  # it brings nothing
        ((5.0, 6.0), 2.0, 3, "not supported"),  # more with many pairs
        ((5.0, 1.0), 6.0, 3, "not supported"),  # words alone bring more
        ((5.0, 1.0), 2.0, 1, None),
    ],
)
def test_findings(gains: tuple[float, float], shuffled: float, seeds: int, conclusion: str | None) -> None:
    findings = analyse(made_up(gains, shuffled, seeds))
    assert findings.conclusion == conclusion
    assert f"pre-training on 9,000 lines of text changes BLEU by {gains[0]:.1f}" in text(findings)
    assert "find 50 % of the masked tokens" in text(findings)
