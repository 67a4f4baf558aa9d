"""The networks against beam search of s2s, against limits counted by hand, and on translations of other lengths."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from s2s.data.batching import Batch, collate
from s2s.data.tokenizer import EOS
from s2s.decoding.search import search
from s2s.lab import readouts
from s2s.lab.fit import Recipe
from s2s.lab.readout_networks import ENCODER_DECODER, NETWORKS, Generator, Sizes, Tagger, build_network
from s2s.lab.readouts import LENGTHS, length_class, possible
from s2s.lab.runner import JobRunner
from s2s.lab.toy_language import FIRST, WORD_LENGTHS, Pair, as_batch, lexicon, sample_examples
from tests.lab.small import measured
from tests.models.contract import decoding

SIZES = Sizes("lstm", 24, 12, 2, 4, 32, 200, Recipe(1, 0.01))


def _examples(count: int) -> tuple[list[Pair], Batch]:
    examples = sample_examples(lexicon(1), count, 2, 4, torch.Generator().manual_seed(2))
    return examples, as_batch(examples)


def test_the_toy_language() -> None:
    words = lexicon(3)
    assert [len(word) for word in words] == WORD_LENGTHS
    assert len({tuple(word) for word in words if word}) == sum(length > 0 for length in WORD_LENGTHS)
    examples, _ = _examples(100)
    words = lexicon(1)
    for source, target in examples:
        assert 2 <= len(source) <= 4
        assert target == [symbol for number in source[::-1] for symbol in words[number - FIRST]]
    assert {length_class(*pair) for pair in examples} == set(LENGTHS)
    assert [length_class([1, 2], [1] * m) for m in (1, 2, 3)] == LENGTHS


def test_upper_bounds() -> None:
    examples = [([4, 5], [7]), ([4, 6], [8, 8, 8]), ([4, 6], [8, 8, 8]), ([5, 5], [9, 9])]
    assert possible("N to N", examples) == [True, False, False, True]
    assert possible("N to 1", examples) == [True, False, False, False]
    assert possible("1 to N", examples) == [False, True, True, True]
    assert possible(ENCODER_DECODER, examples) == [True] * 4


@pytest.mark.parametrize("first_only", [True, False])
def test_right_agrees_with_greedy_search(first_only: bool) -> None:
    """After a short training, so that some are right and some are not."""
    torch.manual_seed(1)
    model = Generator(SIZES, first_only)
    examples, batch = _examples(150)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        model.loss(batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    sources = [source[:1] if first_only else source for source, _ in examples]
    ids = collate(sources, sources, np.arange(150)).source
    mask = ids != 0
    if first_only:
        ids, mask = ids[:, :1], mask[:, :1]
    hypotheses = search(model.model, ids, mask, decoding(strategy="greedy", beam=1), [20] * 150)
    expected = [row[0].tokens == target for row, (_, target) in zip(hypotheses, examples, strict=True)]
    assert model.right(batch) == expected
    assert 0 < sum(expected) < 150


def test_a_tagger_is_right_up_to_the_first_end() -> None:
    model = Tagger(SIZES, last=False, bidirectional=False)
    batch = collate([[4, 5, 6]] * 4, [[7], [7, 8], [7, 8, 9], [7, 8, 9, 9]], np.arange(4))
    for output, right in (([7, EOS, 9], [True, False, False, False]), ([7, 8, 9], [False, False, True, False])):
        logits = torch.nn.functional.one_hot(torch.tensor(output), 12).double().expand(4, -1, -1)
        model.logits = lambda _, logits=logits: (logits, torch.ones(4, 3, dtype=torch.bool))  # type: ignore[method-assign, misc]
        assert model.right(batch) == right


def test_only_both_ways_an_early_output_depends_on_a_late_input() -> None:
    one, other = (collate([[4, 5, last]], [[7]], np.arange(1)) for last in (6, 7))
    for name, depends in (("N to N", False), ("N to N, both ways", True)):
        torch.manual_seed(1)
        model = build_network(name, SIZES)
        assert isinstance(model, Tagger)
        logits = [model.logits(batch)[0][0, 0] for batch in (one, other)]
        assert logits[0].equal(logits[1]) != depends


def test_n_to_1_has_read_everything_and_1_to_n_one_symbol() -> None:
    torch.manual_seed(1)
    last = build_network("N to 1", SIZES)
    assert isinstance(last, Tagger)
    sources = [list(row) for row in product((4, 5), repeat=3)]
    logits, mask = last.logits(collate(sources, sources, np.arange(8)))
    assert mask.shape == (8, 1)
    assert len({tuple(row) for row in logits[:, 0].tolist()}) == 8
    first = build_network("1 to N", SIZES)
    assert isinstance(first, Generator)
    batch = collate(sources, [[7, 8]] * 8, np.arange(8))
    losses = {first.loss(batch.map_tensors(lambda rows, n=n: rows[n : n + 1])).item() for n in range(8)}  # type: ignore[misc]
    assert len({round(loss, 5) for loss in losses}) == 2


def _longer(runner: JobRunner, updates: int, examples: int, score: str) -> dict[str, float]:
    """A score of each network on outputs longer than their sources."""
    sizes: dict[str, Any] = {"cell": "gru", "hidden": 32, "embedding": 16, "shortest": 2, "longest": 3, "batch": 64}
    sizes |= {"examples": examples, "fit": {"updates": updates, "lr": 0.01, "schedule": "cosine"}}
    numbers = measured(readouts, runner, sizes=sizes, seeds=[1])
    for name, length in product(NETWORKS, LENGTHS):
        (run,) = numbers["readouts"][name]
        assert run[length]["right"] <= run[length]["at_most"]
    assert readouts.analyse(numbers).conclusion is None, "one seed"
    return {name: numbers["readouts"][name][0]["M > N"][score] for name in NETWORKS}


def test_upper_bounds_of_longer_outputs(runner: JobRunner) -> None:
    most = _longer(runner, 3, 20, "at_most")
    assert most["N to 1"] == most["N to N"] == most["N to N, both ways"] == 0
    assert most[ENCODER_DECODER] == 1


@pytest.mark.slow  # five networks learn
def test_only_the_encoder_decoder_learns_longer_outputs(runner: JobRunner) -> None:
    right = _longer(runner, 300, 200, "right")
    assert right["N to 1"] == right["N to N"] == right["N to N, both ways"] == 0
    assert right[ENCODER_DECODER] > right["1 to N"] + 0.4


@pytest.mark.parametrize(
    ("encoder_decoder", "others", "both_ways", "conclusion"),
    [
        (0.97, 0.3, 0.4, "supported"),
        (0.97, 0.6, 0.4, "not supported"),
        (0.97, 0.3, 0.6, "not supported"),
        (0.7, 0.3, 0.4, "not supported"),  # better than the others, but not solved
    ],
)
def test_conclusions(encoder_decoder: float, others: float, both_ways: float, conclusion: str) -> None:
    shares = dict.fromkeys(NETWORKS, others) | {ENCODER_DECODER: encoder_decoder, "N to N, both ways": both_ways}
    runs = {
        name: [{length: {"examples": 9, "right": share, "at_most": 1.0} for length in LENGTHS}] * 3
        for name, share in shares.items()
    }
    assert readouts.analyse({"readouts": runs}).conclusion == conclusion
