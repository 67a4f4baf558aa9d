"""Chains of products against counting by hand, and the verdict on made-up numbers. Nothing here asserts on time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from s2s.benchmark.against import FixedShape, RecurrentShape, TransformerShape
from s2s.benchmark.peers.ours import section
from s2s.lab import parallel
from s2s.lab.parallel import Chain, Settings, chain
from s2s.models import build_model, count_parameters
from tests.lab.copying import tiny_bench

SMALL = {"embedding": 6, "encoder": 5, "decoder": 7, "dropout": 0.1}
LSTM = FixedShape("fixed", "lstm", **SMALL)
ATTENTION = RecurrentShape("recurrent", attention=4, query="previous", input_feeding=False, **SMALL)
TRANSFORMER = TransformerShape("transformer", 8, 2, 2, 10, 0.1)


def test_a_chain_is_counted() -> None:
    a, b = torch.eye(3), torch.eye(3)
    with Chain() as found:
        wide = torch.stack([a @ b for _ in range(5)]).sum(0)  # side by side: one after none
        assert found.longest == 1
        row = torch.zeros(2, 3, 3)
        row[0] = wide @ b  # goes on through memory that is written
        deep = (row[0] + a).mul_(2) @ b
        assert found.longest == 3
        assert (deep @ (a @ b)).shape == (3, 3)
        assert found.longest == 4


def test_recurrence_makes_a_chain_and_self_attention_does_not(tmp_path: Path) -> None:
    settings = Settings(
        {"lstm": LSTM, "lstm_attention": ATTENTION, "transformer": TRANSFORMER}, [3, 6, 12], 24, 12, "fp32", 1, 3
    )
    with tiny_bench(tmp_path) as bench:
        numbers = parallel.measure(settings, bench)
    chains = numbers["chains"]
    assert chains["lstm"][2] - chains["lstm"][1] == 6 * 2, "a step of the encoder and one of the decoder for each token"
    # A step of the decoder is query, energies, context and the cell's own product, one after the other.
    assert chains["lstm_attention"][2] - chains["lstm_attention"][1] == 6 * (1 + 4)
    # Each layer: values, mixing, output, two of the feed-forward; scores of query and key before the mixing.
    assert len(set(chains["transformer"])) == 1
    assert numbers["recurrent"] == ["lstm", "lstm_attention"]
    assert all(len(rounds) == 3 and min(map(min, rounds)) > 0 for rounds in numbers["seconds"].values())
    assert parallel.find(numbers).verdict is not None


def test_the_models_that_are_timed_have_about_as_many_weights(root: Path) -> None:
    told = OmegaConf.load(root / "conf" / "lab" / "parallel.yaml").quick
    shapes = [section(OmegaConf.to_container(shape)) for shape in told.models.values()]
    weights = [count_parameters(build_model(shape, told.vocabulary, told.vocabulary))[1] for shape in shapes]
    assert len(weights) == 3
    assert max(weights) < 1.06 * min(weights)


def test_the_chain_of_self_attention_is_the_same_at_any_length() -> None:
    """Also where the loss is computed in several blocks."""
    assert len({chain(vars(TRANSFORMER), length) for length in (4, 200, 300)}) == 1


def test_layers_make_the_chain_of_self_attention() -> None:
    def of(layers: int) -> int:
        return chain({**vars(TRANSFORMER), "layers": layers}, 5)

    encoder = 3 + 1 + 2  # queries or keys, scores, mixing; output; feed-forward
    decoder = encoder + 4  # and over the source: queries, scores, mixing, output
    assert of(3) - of(2) == of(2) - of(1) == encoder + decoder


def made_up(recurrent: list[float], attending: list[float], chains: list[int], rounds: int = 3) -> dict[str, Any]:
    return {
        "lengths": [8, 64],
        "tokens": 512,
        "recurrent": ["lstm"],
        "chains": {"lstm": [20, 132], "transformer": chains},
        "seconds": {
            "lstm": [[0.1, s] for s in recurrent[:rounds]],
            "transformer": [[0.1, s] for s in attending[:rounds]],
        },
        "machine": {"processor": "abacus", "threads": 2},
    }


@pytest.mark.parametrize(
    ("recurrent", "attending", "chains", "verdict"),
    [
        ([0.4, 0.41, 0.42], [0.1, 0.1, 0.11], [30, 30], "supported"),
        ([0.1, 0.1, 0.11], [0.4, 0.41, 0.42], [30, 30], "not supported"),
        ([0.4, 0.41, 0.42], [0.1, 0.1, 0.11], [30, 31], "not supported"),
        ([0.4, 0.1, 0.2], [0.2, 0.2, 0.2], [30, 30], "not decided"),
    ],
)
def test_what_follows_from_the_numbers(
    recurrent: list[float], attending: list[float], chains: list[int], verdict: str
) -> None:
    found = parallel.find(made_up(recurrent, attending, chains))
    assert found.verdict == verdict
    assert "lstm 2" in found.sentences[0]
    assert f"parallel: {'supported' if chains == [30, 30] else 'not supported'}" in found.reason
    assert parallel.find(made_up(recurrent, attending, chains, rounds=1)).verdict is None
