"""Batches: masks, shifting, budget, every pair once, the same batch from any process."""

from __future__ import annotations

import functools
import hashlib
import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s.config import TokenizerConfig
from s2s.data.batching import (
    Batch,
    BatchSampler,
    TrainingData,
    collate,
    evaluation_batches,
    pad_with_eos,
    token_batches,
)
from s2s.data.corpus import Split
from s2s.data.tokenizer import BOS, EOS, PAD, Tokenizer, train_tokenizer
from s2s.errors import S2SError

ids = st.lists(st.integers(4, 99), max_size=6)
lengths = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=80)

WORDS = ["red", "green", "blue", "dog", "cat", "bird", "house", "garden", "runs", "sleeps", "sings", "quickly", "never"]


def corpus(pairs: int, seed: int = 0) -> Split:
    random = np.random.default_rng(seed)

    def line() -> str:
        return " ".join(random.choice(WORDS, size=random.integers(1, 15)))

    return Split("train", [line() for _ in range(pairs)], [line() for _ in range(pairs)])


def tokenizer_config(sampling: float = 0.0) -> TokenizerConfig:
    return TokenizerConfig("bpe", 120, True, False, sampling, "identity", None)


def equal(one: Batch, other: Batch) -> bool:
    names = ("source", "source_mask", "target_input", "target", "target_mask")
    return one.index == other.index and all(torch.equal(getattr(one, n), getattr(other, n)) for n in names)


@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=5))
def test_collate_against_a_plain_loop(pairs: list[tuple[list[int], list[int]]]) -> None:
    batch = collate([p[0] for p in pairs], [p[1] for p in pairs], range(7, 7 + len(pairs)))
    assert batch.index == list(range(7, 7 + len(pairs)))
    assert batch.size == len(pairs)
    assert batch.tokens == sum(len(target) + 1 for _, target in pairs)
    for i, (source, target) in enumerate(pairs):
        assert batch.source[i][batch.source_mask[i]].tolist() == [*source, EOS]
        assert batch.target[i][batch.target_mask[i]].tolist() == [*target, EOS]
        assert batch.target_input[i][batch.target_mask[i]].tolist() == [BOS, *target]
        assert batch.source_lengths[i] == len(source) + 1
        assert batch.target_lengths[i] == len(target) + 1
    for values, mask in ((batch.source, batch.source_mask), (batch.target, batch.target_mask)):
        assert values.dtype == torch.int64
        assert (values[~mask] == PAD).all()
        assert (mask.long().diff(dim=1) <= 0).all()  # a prefix: never False, then True
        assert mask.any(0).all()  # no column of padding only
    assert (batch.target_input[~batch.target_mask] == PAD).all()


def test_pad_with_eos_takes_arrays_and_empty_lines() -> None:
    rows, mask = pad_with_eos([np.array([5, 6], dtype=np.uint16), []])
    assert rows.tolist() == [[5, 6, EOS], [EOS, PAD, PAD]]
    assert mask.tolist() == [[True, True, True], [True, False, False]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9), st.integers(1, 9))
def test_a_batch_of_fixed_shape_holds_the_same_sentences(pairs: list[tuple[int, int]], multiple: int) -> None:
    batch = collate(*([[4 + i % 3 for i in range(pair[side])] for pair in pairs] for side in (0, 1)), range(len(pairs)))
    fixed = batch.pad_to_multiple(multiple)
    assert fixed.shape == tuple(-(-size // multiple) * multiple for size in batch.shape)
    assert (fixed.tokens, fixed.index) == (batch.tokens, batch.index)
    assert fixed.target_positions is None
    for name, tensor in batch.tensors.items():
        if name != "target_positions":
            now = fixed.tensors[name]
            assert torch.equal(now[: batch.size, : tensor.size(1)], tensor)
            assert not now[: batch.size, tensor.size(1) :].any()
    # A padding sentence has a source, and none of its tokens counts.
    assert (fixed.source_mask[batch.size :].sum(1) == 1).all()
    assert (fixed.source[batch.size :, 0] == EOS).all()
    assert not fixed.target_mask[batch.size :].any()
    assert batch.pad_to_multiple(1).tensors.keys() == fixed.tensors.keys()


def test_positions_of_target_tokens() -> None:
    batch = collate([[5], [6, 7]], [[8, 9], []], [0, 1])
    assert batch.target_positions is not None
    assert batch.target.flatten()[batch.target_positions].tolist() == [8, 9, EOS, EOS]


def test_moving_a_batch_keeps_its_lengths() -> None:
    batch = collate([[5], [6, 7]], [[8, 9], []], [0, 1])
    moved = batch.to("meta")
    assert moved.source.device.type == "meta"
    assert moved.target_input.device.type == "meta"
    assert moved.target_lengths == [3, 1]
    assert batch.source.device.type == "cpu"


@given(lengths, st.integers(30, 200), st.integers(0, 2**32), st.integers(0, 50), st.none() | st.integers(1, 9))
def test_every_pair_is_in_one_batch_and_the_budget_holds(
    pairs: list[tuple[int, int]], budget: int, seed: int, epoch: int, most: int | None
) -> None:
    source, target = np.array(pairs, dtype=np.int32).T
    sampler = BatchSampler(source, target, budget, seed, most)
    batches = sampler.epoch(epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(pairs)))
    for batch in batches:
        assert len(batch) * max(source[batch].max(), target[batch].max()) <= budget
        assert len(batch) <= (most or len(pairs))
    assert len(batches) == len(sampler)
    again = BatchSampler(source, target, budget, seed, most).epoch(epoch)
    assert [b.tolist() for b in again] == [b.tolist() for b in batches]
    cells = sum(len(b) * int(source[b].max() + target[b].max()) for b in batches)
    assert sampler.padding_waste(epoch) == pytest.approx(1 - (source.sum() + target.sum()) / cells)


def test_order_changes_with_epoch_and_seed() -> None:
    random = np.random.default_rng(0)
    source, target = random.integers(3, 30, 2000), random.integers(3, 30, 2000)
    sampler = BatchSampler(source, target, 300, 1)
    flat = [np.concatenate(sampler.epoch(e)).tolist() for e in (0, 1)]
    assert flat[0] != flat[1]
    assert np.concatenate(BatchSampler(source, target, 300, 2).epoch(0)).tolist() != flat[0]
    members = [{frozenset(b.tolist()) for b in sampler.epoch(e)} for e in (0, 1)]
    assert len(members[0] & members[1]) < len(sampler) / 2  # not the same batches in another order
    long_first = [int(source[b].max()) for b in sampler.epoch(0)]
    assert long_first != sorted(long_first, reverse=True)


def test_little_of_a_batch_is_padding() -> None:
    random = np.random.default_rng(0)
    source = np.clip(random.lognormal(2.5, 0.4, 20_000), 2, 60).astype(int)
    target = np.clip(source * random.normal(1.1, 0.15, 20_000), 2, 60).astype(int)
    sampler = BatchSampler(source, target, 4096, 0)
    assert sampler.padding_waste(0) < 0.08
    fewest = -(-int(np.maximum(source, target).sum()) // 4096)
    assert len(sampler) < 1.1 * fewest


def test_a_pair_beyond_the_budget_is_an_error() -> None:
    with pytest.raises(S2SError, match=r"2 sentence pairs are longer than training.batch_tokens=20 .*has 50 subwords"):
        BatchSampler(np.array([5, 30, 6]), np.array([5, 2, 50]), 20, 0)


@pytest.mark.parametrize("sampling", [0.0, 0.2])
def test_random_access_equals_reading_in_order(sampling: float) -> None:
    split = corpus(200)
    tokenizer = train_tokenizer(tokenizer_config(sampling), split.source, split.target)
    data = TrainingData(split, tokenizer, 150, seed=3)
    in_order = {(e, i): data.batch(e, i) for e in (0, 1) for i in range(data.num_batches(e))}
    fresh = TrainingData(split, tokenizer, 150, seed=3)
    for key in [(1, 4), (0, 2), (1, 0), (0, fresh.num_batches(0) - 1), (1, 4)]:
        assert equal(fresh.batch(*key), in_order[key])
    for epoch in (0, 1):
        batches = [batch for (e, _), batch in in_order.items() if e == epoch]
        assert sorted(i for b in batches for i in b.index) == list(range(200))
        assert all(b.size * max(b.source.size(1), b.target.size(1)) <= 150 for b in batches)
        assert data.target_tokens(epoch) == sum(b.tokens for b in batches)
        real = sum(int(b.source_mask.sum() + b.target_mask.sum()) for b in batches)
        cells = sum(b.source_mask.numel() + b.target_mask.numel() for b in batches)
        assert data.padding_waste(epoch) == pytest.approx(1 - real / cells)
    for batch in in_order.values():
        rows = [row[mask][:-1].tolist() for row, mask in zip(batch.target, batch.target_mask, strict=True)]
        assert tokenizer.decode_target(rows) == [split.target[i] for i in batch.index]
    with pytest.raises(IndexError):
        data.batch(0, data.num_batches(0))


def test_sampling_differs_between_epochs() -> None:
    split = corpus(50)
    tokenizer = train_tokenizer(tokenizer_config(0.3), split.source, split.target)
    data = TrainingData(split, tokenizer, 10_000, seed=3)
    rows = []
    for epoch in (0, 1):
        batch = data.batch(epoch, 0)
        order = np.argsort(batch.index)
        rows.append([batch.source[i][batch.source_mask[i]].tolist() for i in order])
    assert rows[0] != rows[1]


def test_a_pair_that_sampling_makes_too_long_is_filtered_in_that_epoch() -> None:
    split = corpus(50)
    tokenizer = train_tokenizer(tokenizer_config(0.5), split.source, split.target)
    encoded = [*tokenizer.encode_source(split.source), *tokenizer.encode_target(split.target)]
    data = TrainingData(split, tokenizer, max(map(len, encoded)) + 1, seed=3)
    assert data.filtered == {}  # without sampling all pairs fit
    batches = [data.batch(1, position) for position in range(data.num_batches(1))]
    index = [i for batch in batches for i in batch.index]
    assert 0 < len(set(index)) == len(index) < 50
    assert data.target_tokens(1) == sum(batch.tokens for batch in batches)


SCRIPT = """
import sys
from tests.data.test_batching import corpus, fingerprint, tokenizer_config
from s2s.data.batching import TrainingData
from s2s.data.tokenizer import train_tokenizer
split = corpus(120)
data = TrainingData(split, train_tokenizer(tokenizer_config(0.2), split.source, split.target), 150, seed=9)
for position in eval(sys.argv[1]):
    batch = data.batch(2, position)
print(fingerprint(batch))
"""


def fingerprint(batch: Batch) -> str:
    return hashlib.sha256(batch.source.numpy().tobytes() + batch.target.numpy().tobytes()).hexdigest()


@pytest.mark.slow  # a process that imports torch
def test_a_resumed_process_samples_what_an_uninterrupted_one_does() -> None:
    def run(positions: str) -> str:
        command = [sys.executable, "-c", SCRIPT, positions]  # another process: hashes and generators start differently
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
        return done.stdout

    split = corpus(120)
    data = TrainingData(split, train_tokenizer(tokenizer_config(0.2), split.source, split.target), 150, seed=9)
    batches = [data.batch(epoch, position) for epoch in range(3) for position in range(6)]
    assert run("[5]").strip() == fingerprint(batches[-1])


def test_pairs_that_fit_no_batch_are_filtered_and_counted() -> None:
    split = corpus(50)
    split = Split("train", [*split.source, "dog " * 200], [*split.target, "cat"])
    tokenizer = train_tokenizer(tokenizer_config(), split.source, split.target)
    data = TrainingData(split, tokenizer, 100, seed=0)
    assert data.filtered == {"longer than training.batch_tokens": 1}
    assert sorted(i for p in range(data.num_batches(0)) for i in data.batch(0, p).index) == list(range(50))
    with pytest.raises(S2SError, match=r"no training example fits into training\.batch_tokens=1: .* needs 4;"):
        TrainingData(split, tokenizer, 1, seed=0)


def test_pairs_without_tokens_are_filtered_and_counted() -> None:
    """Normalisation removes a zero-width space, which is a word until then; there would be nothing to predict."""
    split = corpus(50)
    config = replace(tokenizer_config(), normalization="nmt_nfkc")
    tokenizer = train_tokenizer(config, split.source, split.target)
    odd = Split("train", [*split.source, "\u200b", "a dog", "\u200b"], [*split.target, "ein Hund", "\u200b", "\u200b"])
    data = TrainingData(odd, tokenizer, 100, seed=0)
    assert data.filtered == {"without tokens after normalization": 3}
    assert sorted(i for p in range(data.num_batches(0)) for i in data.batch(0, p).index) == list(range(50))
    batches = evaluation_batches(odd, tokenizer, 100)
    assert sorted(i for batch in batches for i in batch.index) == list(range(50))
    assert all(equal(a, b) for a, b in zip(batches, evaluation_batches(split, tokenizer, 100), strict=True))
    none = Split("dev", ["\u200b"], ["\u200b"])
    for make in (lambda: TrainingData(none, tokenizer, 100, 0), lambda: evaluation_batches(none, tokenizer, 100)):
        with pytest.raises(S2SError, match=r"^split dev: no line has tokens after normalization: .*\.normalization$"):
            make()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(5, 200))
def test_evaluation_batches_hold_everything_longest_first(pairs: int, budget: int) -> None:
    split = corpus(pairs, seed=pairs)
    tokenizer = shared_tokenizer()
    batches = evaluation_batches(split, tokenizer, budget)
    assert sorted(i for batch in batches for i in batch.index) == list(range(pairs))
    widths = [max(b.source.size(1), b.target.size(1)) for b in batches]
    assert widths == sorted(widths, reverse=True)
    assert all(b.size == 1 or b.size * w <= budget for b, w in zip(batches, widths, strict=True))
    assert len(batches) == len(widths)
    assert equal(batches[len(batches) - 1], list(batches)[-1])


@functools.cache
def shared_tokenizer() -> Tokenizer:
    split = corpus(100)
    return train_tokenizer(tokenizer_config(), split.source, split.target)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 40)), st.integers(0, 100))
def test_token_batches_hold_everything_once_within_the_budget(lengths: list[int], budget: int) -> None:
    batches = [batch.tolist() for batch in token_batches(lengths, budget)]
    order = [i for batch in batches for i in batch]
    assert order == sorted(range(len(lengths)), key=lambda i: -lengths[i])  # stable
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= budget for b in batches)
    for batch, following in itertools.pairwise(batches):
        assert (len(batch) + 1) * max(lengths[i] for i in [*batch, following[0]]) > budget  # none could be fuller
