"""The readouts against the product's search, against limits counted by hand, and on translations of other lengths."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from s2s.data.batching import Batch, collate
from s2s.data.tokenizer import EOS
from s2s.decoding.search import search
from s2s.lab.bench import Bench
from s2s.lab.fit import Recipe
from s2s.lab.readout_networks import ENCODER_DECODER, READOUTS, OnePass, Sizes, Unrolled, readout
from s2s.lab.readouts import EXPERIMENT, LENGTHS, at_most, length_class
from s2s.lab.toy_language import FIRST, STANDS_FOR, Examples, draw_examples, lexicon
from s2s.schema import build
from tests.models.contract import decoding

SIZES = Sizes("lstm", 24, 12, 2, 4, 32, 200, Recipe(1, 0.01))


def _examples(count: int) -> tuple[Examples, Batch]:
    examples = draw_examples(lexicon(1), count, 2, 4, torch.Generator().manual_seed(2))
    return examples, collate(*examples, np.arange(count))


def test_the_toy_language() -> None:
    words = lexicon(3)
    assert [len(word) for word in words] == STANDS_FOR
    assert len({tuple(word) for word in words if word}) == sum(length > 0 for length in STANDS_FOR)
    examples, _ = _examples(100)
    words = lexicon(1)
    for source, target in zip(*examples, strict=True):
        assert 2 <= len(source) <= 4
        assert target == [written for symbol in source[::-1] for written in words[symbol - FIRST]]
    assert {length_class(*pair) for pair in zip(*examples, strict=True)} == set(LENGTHS)
    assert [length_class([1, 2], [1] * m) for m in (1, 2, 3)] == LENGTHS


def test_what_each_structure_allows() -> None:
    examples = Examples([[4, 5], [4, 6], [4, 6], [5, 5]], [[7], [8, 8, 8], [8, 8, 8], [9, 9]])
    assert at_most("N to N", examples) == [True, False, False, True]
    assert at_most("N to 1", examples) == [True, False, False, False]
    assert at_most("1 to N", examples) == [False, True, True, True]
    assert at_most(ENCODER_DECODER, examples) == [True] * 4


@pytest.mark.parametrize("first", [True, False])
def test_right_is_what_greedy_search_writes(first: bool) -> None:
    """After a short training, so that some are right and some are not."""
    torch.manual_seed(1)
    model = Unrolled(SIZES, first)
    examples, batch = _examples(150)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        model.loss(batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    shown = [source[:1] if first else source for source in examples.source]
    ids = collate(shown, shown, np.arange(150)).source
    mask = ids != 0
    if first:
        ids, mask = ids[:, :1], mask[:, :1]
    found = search(model.model, ids, mask, decoding(strategy="greedy", beam=1), [20] * 150)
    wanted = [row[0].tokens == target for row, target in zip(found, examples.target, strict=True)]
    assert model.right(batch) == wanted
    assert 0 < sum(wanted) < 150


def test_one_pass_is_right_up_to_the_first_end() -> None:
    model = OnePass(SIZES, last=False, both_ways=False)
    batch = collate([[4, 5, 6]] * 4, [[7], [7, 8], [7, 8, 9], [7, 8, 9, 9]], np.arange(4))
    written = {"short": [7, EOS, 9], "long": [7, 8, 9]}
    for name, right in (("short", [True, False, False, False]), ("long", [False, False, True, False])):
        logits = torch.nn.functional.one_hot(torch.tensor(written[name]), 12).double().expand(4, -1, -1)
        model.logits = lambda _, logits=logits: (logits, torch.ones(4, 3, dtype=torch.bool))  # type: ignore[method-assign, misc]
        assert model.right(batch) == right


def test_only_both_ways_an_early_output_knows_a_late_input() -> None:
    one, other = (collate([[4, 5, last]], [[7]], np.arange(1)) for last in (6, 7))
    for name, knows in (("N to N", False), ("N to N, both ways", True)):
        torch.manual_seed(1)
        model = readout(name, SIZES)
        assert isinstance(model, OnePass)
        logits = [model.logits(batch)[0][0, 0] for batch in (one, other)]
        assert logits[0].equal(logits[1]) != knows


def test_n_to_1_has_read_everything_and_1_to_n_one_symbol() -> None:
    torch.manual_seed(1)
    last = readout("N to 1", SIZES)
    assert isinstance(last, OnePass)
    sources = [list(row) for row in product((4, 5), repeat=3)]
    logits, mask = last.logits(collate(sources, sources, np.arange(8)))
    assert mask.shape == (8, 1)
    assert len({tuple(row) for row in logits[:, 0].tolist()}) == 8
    first = readout("1 to N", SIZES)
    assert isinstance(first, Unrolled)
    batch = collate(sources, [[7, 8]] * 8, np.arange(8))
    losses = {first.loss(batch.map_tensors(lambda rows, n=n: rows[n : n + 1])).item() for n in range(8)}  # type: ignore[misc]
    assert len({round(loss, 5) for loss in losses}) == 2


def _measured(folder: Path, updates: int, examples: int) -> dict[str, Any]:
    sizes: dict[str, Any] = {"cell": "gru", "hidden": 32, "embedding": 16, "shortest": 2, "longest": 3, "batch": 64}
    sizes |= {"examples": examples, "fit": {"updates": updates, "lr": 0.01, "schedule": "cosine"}}
    settings = build(EXPERIMENT.settings, {"sizes": sizes, "seeds": [1]})
    found = EXPERIMENT.measure(settings, Bench(folder, lambda _: {}, lambda *_: {}))
    numbers: dict[str, Any] = json.loads(json.dumps(found))["readouts"]
    for name in READOUTS:
        for one in LENGTHS:
            assert numbers[name][0][one]["right"] <= numbers[name][0][one]["at_most"]
    return numbers


def test_what_a_readout_can_get_right_at_most(tmp_path: Path) -> None:
    numbers = _measured(tmp_path, 3, 20)
    most = {name: numbers[name][0]["M > N"]["at_most"] for name in READOUTS}
    assert most["N to 1"] == most["N to N"] == most["N to N, both ways"] == 0
    assert most[ENCODER_DECODER] == 1
    assert EXPERIMENT.find({"readouts": numbers}).verdict is None, "one seed"


@pytest.mark.slow  # five networks learn
def test_lengths_that_only_the_encoder_decoder_can_write(tmp_path: Path) -> None:
    numbers = _measured(tmp_path, 300, 200)
    longer = {name: numbers[name][0]["M > N"]["right"] for name in READOUTS}
    assert longer["N to 1"] == longer["N to N"] == longer["N to N, both ways"] == 0
    assert longer[ENCODER_DECODER] > longer["1 to N"] + 0.4


def _right(encoder_decoder: float, others: float, both_ways: float = 0.4) -> dict[str, Any]:
    shares = dict.fromkeys(READOUTS, others) | {ENCODER_DECODER: encoder_decoder, "N to N, both ways": both_ways}
    return {
        "readouts": {
            name: [{one: {"examples": 9, "right": share, "at_most": 1.0} for one in LENGTHS}] * 3
            for name, share in shares.items()
        }
    }


def test_verdicts() -> None:
    assert EXPERIMENT.find(_right(0.97, 0.3)).verdict == "supported"
    assert EXPERIMENT.find(_right(0.97, 0.6)).verdict == "not supported"
    assert EXPERIMENT.find(_right(0.97, 0.3, both_ways=0.6)).verdict == "not supported"
    assert EXPERIMENT.find(_right(0.7, 0.3)).verdict == "not supported", "better is not solved"
