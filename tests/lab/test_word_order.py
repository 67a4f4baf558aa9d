"""What encoders know of the order of words: exactly nothing, or enough."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from s2s.lab.bench import Bench
from s2s.lab.word_order import (
    BLIND,
    EXPERIMENT,
    ORDERLESS,
    ROUNDING,
    Namer,
    Summary,
    all_pairs,
    distances,
    encoder,
    split,
)
from s2s.nn.cells import CELLS
from s2s.schema import build

SEEING = ["transformer", *CELLS]


def test_pairs_have_the_same_words_in_another_order() -> None:
    one, other = all_pairs(5, 3)
    assert len(one) == 10 * 3
    assert one.sort(dim=1).values.equal(other.sort(dim=1).values)
    assert one[:, 0].equal(other[:, 2])
    assert one[:, 0].ne(other[:, 0]).all()
    everything = {tuple(row) for row in torch.cat([one, other]).tolist()}
    assert everything == {(a, v, b) for a in range(5) for b in range(5) if a != b for v in (5, 6, 7)}


def test_held_out_couples_are_not_trained_on() -> None:
    training, test = split(all_pairs(8, 2), 2, seed=1)
    seen, unseen = ({frozenset(row) for row in part.all()[:, [0, 2]].tolist()} for part in (training, test))
    assert not seen & unseen
    assert (len(seen), len(unseen)) == (21, 7)


@pytest.mark.parametrize("name", [*BLIND, *SEEING])
def test_two_orders_give_one_encoding_or_two(name: str) -> None:
    torch.manual_seed(1)
    model = Namer(name, 9, 6, 16)
    apart = distances(model.encode, all_pairs(6, 3))
    assert apart.max() < ROUNDING if name in BLIND else apart.min() > 0.01


def test_without_positions_outputs_move_with_the_words() -> None:
    torch.manual_seed(1)
    x, order = torch.randn(2, 5, 16, dtype=torch.float64), torch.tensor([3, 0, 4, 1, 2])
    mask = torch.ones(2, 5, dtype=torch.bool)
    for name, moves in ((ORDERLESS, True), ("transformer", False)):
        wrapped = encoder(name, 16).double()
        assert isinstance(wrapped, Summary)
        values = [wrapped.memory(part, mask).values for part in (x, x[:, order])]
        assert torch.allclose(values[0][:, order], values[1], rtol=0, atol=1e-12) == moves


def test_who_eats_whom(tmp_path: Path) -> None:
    values: dict[str, Any] = {"cells": ["rnn", "gru"], "nouns": 8, "verbs": 2, "hidden": 16, "seeds": [1]}
    values["fit"] = {"updates": 200, "lr": 0.02}
    bench = Bench(tmp_path, lambda _: {}, lambda *_: {})
    numbers = json.loads(json.dumps(EXPERIMENT.measure(build(EXPERIMENT.settings, values), bench)))
    right = {name: runs[0]["right"] for name, runs in numbers["encoders"].items()}
    assert all(right[name] <= 0.5 for name in BLIND)
    assert all(right[name] > 0.9 for name in ("rnn", "gru"))
    assert EXPERIMENT.find(numbers).verdict is None, "one seed"
    for name, runs in numbers["encoders"].items():
        numbers["encoders"][name] = 3 * runs
    found = EXPERIMENT.find(numbers)
    assert found.verdict == "supported"
    unlearnt = json.loads(json.dumps(numbers))
    for n, right in enumerate((0.4, 0.41, 0.42)):
        unlearnt["encoders"]["rnn"][n]["right"] = right
    assert EXPERIMENT.find(unlearnt).verdict == "not supported"
    blind = json.loads(json.dumps(numbers))
    blind["encoders"]["rnn"] = blind["encoders"][BLIND[0]]
    assert EXPERIMENT.find(blind).verdict == "not supported"
