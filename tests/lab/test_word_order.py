"""Word order in encodings: lost exactly, or kept."""

import json

import pytest
import torch

from s2s.lab import word_order
from s2s.lab.runner import JobRunner
from s2s.lab.word_order import (
    NO_POSITIONS,
    ORDERLESS,
    ROUNDING,
    TRANSFORMER,
    SubjectClassifier,
    all_pairs,
    distances,
    split,
)
from s2s.nn.cells import CELLS
from tests.lab.small import measured


def test_pairs_have_the_same_words_in_another_order() -> None:
    one, other = all_pairs(5, 3)
    assert len(one) == 10 * 3
    assert one.sort(dim=1).values.equal(other.sort(dim=1).values)
    assert one[:, 0].equal(other[:, 2])
    assert one[:, 0].ne(other[:, 0]).all()
    everything = {tuple(row) for row in torch.cat([one, other]).tolist()}
    assert everything == {(a, v, b) for a in range(5) for b in range(5) if a != b for v in (5, 6, 7)}


def test_held_out_couples_are_not_trained_on() -> None:
    halves = split(all_pairs(8, 2), 2, 1)
    trained, held_out = ({frozenset(row) for row in pairs.flatten(0, 1)[:, [0, 2]].tolist()} for pairs in halves)
    assert not trained & held_out
    assert (len(trained), len(held_out)) == (21, 7)


@pytest.mark.parametrize("name", [*ORDERLESS, TRANSFORMER, *CELLS])
def test_two_orders_give_one_encoding_or_two(name: str) -> None:
    torch.manual_seed(1)
    model = SubjectClassifier(name, 9, 6, 16)
    apart = distances(model.encode, all_pairs(6, 3))
    assert apart.max() < ROUNDING if name in ORDERLESS else apart.min() > 0.01


def test_without_positions_the_encoder_is_permutation_equivariant() -> None:
    torch.manual_seed(1)
    x, order = torch.randn(2, 5, 16, dtype=torch.float64), torch.tensor([3, 0, 4, 1, 2])
    for name, equivariant in ((NO_POSITIONS, True), (TRANSFORMER, False)):
        model = SubjectClassifier(name, 9, 6, 16)
        values = [model.memory(embedded).values for embedded in (x, x[:, order])]
        assert torch.allclose(values[0][:, order], values[1], rtol=0, atol=1e-12) == equivariant


def test_who_eats_whom(runner: JobRunner) -> None:
    fit = {"updates": 200, "lr": 0.02}
    numbers = measured(word_order, runner, cells=["rnn", "gru"], nouns=8, verbs=2, hidden=16, seeds=[1], fit=fit)
    right = {name: runs[0]["right"] for name, runs in numbers["encoders"].items()}
    assert all(right[name] <= 0.5 for name in ORDERLESS)
    assert all(right[name] > 0.9 for name in ("rnn", "gru"))
    assert word_order.analyse(numbers).conclusion is None, "one seed"
    numbers["encoders"] = {name: 3 * runs for name, runs in numbers["encoders"].items()}
    assert word_order.analyse(numbers).conclusion == "supported"
    unlearnt = json.loads(json.dumps(numbers))
    for n, accuracy in enumerate((0.4, 0.41, 0.42)):
        unlearnt["encoders"]["rnn"][n]["right"] = accuracy
    assert word_order.analyse(unlearnt).conclusion == "not supported"
    numbers["encoders"]["rnn"] = numbers["encoders"][ORDERLESS[0]]
    assert word_order.analyse(numbers).conclusion == "not supported"
