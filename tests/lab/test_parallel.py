"""Dependency chains against counting by hand, and the conclusion on made-up numbers. Nothing here asserts on time."""

import dataclasses
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from s2s.benchmark.shapes import BlockShape, FixedShape, RecurrentShape, TransformerShape, model_section
from s2s.lab import parallel
from s2s.lab.parallel import ChainCounter, chain
from s2s.lab.runner import JobRunner
from s2s.models import build_model, count_parameters

SMALL = {"embedding": 6, "encoder": 5, "decoder": 7, "dropout": 0.1}
LSTM = FixedShape("fixed", "lstm", **SMALL)
ATTENTION = RecurrentShape("recurrent", attention=4, query="previous", input_feeding=False, **SMALL)
TRANSFORMER = TransformerShape("transformer", 8, 2, 2, 10, 0.1)
SSRU, CONVOLUTION = (BlockShape("blocks", mixer, 8, 2, 2, 10, 0.1) for mixer in ("recurrent", "convolution"))


def test_a_chain_is_counted() -> None:
    a, b = torch.eye(3), torch.eye(3)
    with ChainCounter() as counter:
        wide = torch.stack([a @ b for _ in range(5)]).sum(0)  # in parallel
        assert counter.longest == 1
        row = torch.zeros(2, 3, 3)
        row[0] = wide @ b  # continues through an in-place write
        deep = (row[0] + a).mul_(2) @ b
        assert counter.longest == 3
        assert (deep @ (a @ b)).shape == (3, 3)
        assert counter.longest == 4


def test_recurrence_makes_a_chain_and_self_attention_does_not(runner: JobRunner) -> None:
    models = {"lstm": LSTM, "lstm_attention": ATTENTION, "transformer": TRANSFORMER, "ssru": SSRU, "conv": CONVOLUTION}
    numbers = parallel.measure(parallel.Settings(models, [3, 6, 12], 24, 12, "fp32", 1, 3), runner)
    chains = numbers["chains"]
    assert chains["lstm"][2] - chains["lstm"][1] == 6 * 2, "a step of the encoder and one of the decoder for each token"
    # A step of the decoder: query, energies, context and the cell's own multiplication, in sequence.
    assert chains["lstm_attention"][2] - chains["lstm_attention"][1] == 6 * (1 + 4)
    assert [len(set(chains[name])) for name in ("transformer", "ssru", "conv")] == [1, 1, 1]
    assert numbers["recurrent"] == ["lstm", "lstm_attention"]
    assert numbers["self_attention"] == ["transformer"]
    assert all(len(rounds) == 3 and min(map(min, rounds)) > 0 for rounds in numbers["seconds"].values())
    assert parallel.analyse(numbers).conclusion is not None


def test_the_timed_models_have_about_as_many_weights(root: Path) -> None:
    quick = OmegaConf.load(root / "conf" / "lab" / "parallel.yaml").quick
    shapes = [model_section(OmegaConf.to_container(shape)) for shape in quick.models.values()]
    weights = [count_parameters(build_model(shape, quick.vocabulary, quick.vocabulary))[1] for shape in shapes]
    assert len(weights) == 5
    assert max(weights) < 1.06 * min(weights)


def test_the_chain_of_self_attention_is_the_same_at_any_length() -> None:
    """Also where the loss is computed in several blocks."""
    assert len({chain(TRANSFORMER, length) for length in (4, 200, 300)}) == 1


def test_layers_make_the_chain_of_self_attention() -> None:
    one, two, three = (chain(dataclasses.replace(TRANSFORMER, layers=layers), 5) for layers in (1, 2, 3))
    encoder = 3 + 1 + 2  # query and key projections, scores, weighted sum; output; feed-forward
    decoder = encoder + 4  # and cross-attention: query, scores, weighted sum, output
    assert three - two == two - one == encoder + decoder


@pytest.mark.parametrize(
    ("recurrent", "attending", "longest", "conclusion"),
    [
        ([0.4, 0.41, 0.42], [0.1, 0.1, 0.11], 30, "supported"),
        ([0.1, 0.1, 0.11], [0.4, 0.41, 0.42], 30, "not supported"),
        ([0.4, 0.41, 0.42], [0.1, 0.1, 0.11], 31, "not supported"),
        ([0.4, 0.1, 0.2], [0.2, 0.2, 0.2], 30, "inconclusive"),
        ([0.4], [0.1], 30, None),
    ],
)
def test_findings(recurrent: list[float], attending: list[float], longest: int, conclusion: str | None) -> None:
    numbers = {
        "lengths": [8, 64],
        "tokens": 512,
        "recurrent": ["lstm"],
        "self_attention": ["transformer"],
        "chains": {"lstm": [20, 132], "transformer": [30, longest]},
        "seconds": {"lstm": [[0.1, s] for s in recurrent], "transformer": [[0.1, s] for s in attending]},
        "machine": {"processor": "abacus", "threads": 2},
    }
    findings = parallel.analyse(numbers)
    assert findings.conclusion == conclusion
    assert "lstm 2" in findings.sentences[0]
    if conclusion is not None:
        assert f"parallel: {'supported' if longest == 30 else 'not supported'}" in findings.reason
