"""GRU and LSTM: sizes by the formulas, and each part of the claim."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from s2s.lab import gru_lstm
from s2s.lab.fit import Recipe
from s2s.lab.gru_lstm import EQUAL, LSTM, NETWORKS, SAME, analyse, language_models, layer_parameters
from s2s.lab.language import LanguageSettings
from s2s.lab.runner import JobRunner
from s2s.lab.translation import bleu, equal_parameters, inner_parameters, size_overrides
from tests.lab.small import SMALL, assert_draws, measured, text


def parameters(blocks: int, states: int, embedding: int, encoder: int, decoder: int) -> int:
    """Of a model with a fixed-length context vector: both encoder directions, decoder, initial states, pre-output."""
    summary = 2 * states * encoder
    return (
        2 * blocks * encoder * (embedding + encoder + 1)
        + blocks * decoder * (embedding + summary + decoder + 1)
        + states * decoder * (summary + 1)
        + embedding * (decoder + summary + embedding + 1)
    )


def test_equal_parameters_by_the_formula(runner: JobRunner) -> None:
    encoder, decoder = equal_parameters(runner, ["model=gru"], ["model=lstm"])
    gru = runner.compose(["model=gru", *size_overrides(encoder, decoder)])["model"]
    lstm = runner.compose(["model=lstm"])["model"]
    assert inner_parameters(lstm) == parameters(4, 2, 128, 192, 256)
    assert inner_parameters(gru) == parameters(3, 1, 128, encoder, decoder)
    assert parameters(3, 1, 128, encoder, decoder) == pytest.approx(parameters(4, 2, 128, 192, 256), rel=0.02)
    assert encoder / decoder == pytest.approx(192 / 256, rel=0.1)
    assert (encoder % 16, decoder % 16) == (0, 0)


def test_sizes_of_language_models() -> None:
    assert layer_parameters("lstm", 8, 32) == 4 * 32 * (8 + 32 + 1)
    assert layer_parameters("gru", 8, 32) == 3 * 32 * (8 + 32 + 1)
    big = LanguageSettings(embedding=128, hidden=256, batch_tokens=300, fit=Recipe(updates=3, lr=1e-3))
    models = language_models(big)
    assert models[SAME][1].hidden == 256
    wider = models[EQUAL][1].hidden
    assert 3 * wider * (128 + wider + 1) == pytest.approx(4 * 256 * (128 + 256 + 1), rel=0.02)


@pytest.mark.slow  # trains three networks and three language models
def test_at_tiny_size(runner: JobRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(perf_counter=itertools.count().__next__)  # each model's two batches take a second
    monkeypatch.setattr(gru_lstm, "time", clock)
    language = {"embedding": 8, "hidden": 32, "batch_tokens": 500, "fit": {"updates": 3, "lr": 1e-3}}
    numbers = measured(gru_lstm, runner, train=SMALL, language=language, timed_batches=2, rounds=2, seeds=[1])
    sizes = numbers["parameters"]
    assert sizes[SAME] == parameters(3, 1, 16, 192, 256)
    assert sizes[LSTM] == parameters(4, 2, 16, 192, 256)
    assert sizes[EQUAL] == pytest.approx(sizes[LSTM], rel=0.02)
    tokens = {round(1 / seconds, 6) for times in numbers["seconds"].values() for seconds in times}
    assert len(tokens) == 1, "all models process the same batches"
    assert tokens.pop() > 2 * 15, "times are those of a target token, not of a batch"
    assert all(1 < one[0] < 600 for one in numbers["perplexity"].values())
    assert len({one[0] for one in numbers["perplexity"].values()}) == 3
    findings = analyse(numbers)
    assert findings.conclusion is None
    assert [row[0] for row in findings.rows] == list(NETWORKS)
    assert_draws(gru_lstm, numbers, 3)


def numbers_with(**changed: Any) -> dict[str, Any]:
    """Numbers that support the claim, some of them changed."""
    supporting = {
        "parameters": {LSTM: 400, SAME: 300, EQUAL: 400},
        "seconds": {LSTM: [4e-5, 4.1e-5, 4.2e-5], SAME: [3e-5, 3.1e-5, 3.2e-5], EQUAL: [4e-5] * 3},
        "bleu": {LSTM: [20.0, 21.0, 22.0], SAME: [20.0, 21.0, 22.0], EQUAL: [21.0, 22.1, 23.0]},
        "layer": {LSTM: 400, SAME: 300, EQUAL: 400},
        "perplexity": {LSTM: [9.0, 9.1, 9.2], SAME: [9.0, 9.1, 9.2], EQUAL: [9.5, 9.6, 9.7]},
    }
    return supporting | {key: supporting[key] | value for key, value in changed.items()}


@pytest.mark.parametrize(
    ("changed", "conclusion", "part"),
    [
        ({}, "supported", "better in translation: supported"),
        ({"parameters": {SAME: 500}}, "not supported", "fewer parameters: not supported"),
        ({"seconds": {SAME: [5e-5, 5.1e-5, 5.2e-5]}}, "not supported", "cheaper: not supported"),
        ({"bleu": {EQUAL: [19.0, 20.1, 21.0]}}, "not supported", "better in translation: not supported"),
        ({"bleu": {EQUAL: [19.0, 22.1, 22.0]}}, "inconclusive", "better in translation: inconclusive"),
        ({"perplexity": {EQUAL: [8.5, 8.6, 8.6]}}, "not supported", "not in language modelling: not supported"),
    ],
)
def test_each_part_of_the_claim_counts(changed: dict[str, Any], conclusion: str, part: str) -> None:
    findings = analyse(numbers_with(**changed))
    assert findings.conclusion == conclusion
    assert part in findings.reason


def test_sentences() -> None:
    findings = text(analyse(numbers_with()))
    assert "takes 75 % of its time" not in findings  # 3.1 / 4.1
    assert "takes 76 % of its time" in findings
    assert "1.0 BLEU better at equal parameters" in findings


def test_the_milder_claim_is_tested_too() -> None:
    assert analyse(numbers_with()).reason.endswith("behind): supported")
    assert analyse(numbers_with(bleu={EQUAL: [18.0, 19.1, 20.0]})).reason.endswith("behind): not supported")


def evaluation(limit: int, bins: list[tuple[int, int | None, int, float]]) -> dict[str, Any]:
    names = ("min", "max", "sentences", "bleu")
    rows = [dict(zip(names, one, strict=True)) for one in bins]
    return {"evaluation": {"bleu": 10.0, "training_limit": limit, "by_length": rows}}


def test_sentences_longer_than_those_of_training_do_not_count() -> None:
    assert bleu(evaluation(12, [(0, 12, 5, 30.0), (13, None, 9, 4.0)])) == 30.0
    assert bleu(evaluation(40, [(0, 12, 5, 30.0), (13, None, 9, 4.0)])) == 10.0
    assert bleu(evaluation(12, [(0, 12, 5, 30.0), (13, None, 0, 4.0)])) == 10.0
