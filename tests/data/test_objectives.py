"""Batches of the objectives: what is masked, in which shares, and that it follows from the seed alone."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s.config import CausalLanguageModelling, Denoising, MaskedLanguageModelling, Objective, TokenizerConfig
from s2s.data.batching import MakeBatch, TrainingData, evaluation_batches
from s2s.data.corpus import Split
from s2s.data.objectives import MASK, batch_maker
from s2s.data.subwords import BOS, EOS
from s2s.data.tokenizer import Tokenizer, train_tokenizer

TEXT = ["the old gardener waters the garden", "a gardener is never gardening alone", "old dogs wander around"] * 9
CONFIG: dict[str, Any] = {
    "type": "bpe", "vocab_size": 290, "joint": True, "byte_fallback": True, "sampling": 0.0,
    "normalization": "identity", "path": None,
}  # fmt: skip
TOKENIZER = train_tokenizer(TokenizerConfig(**CONFIG), TEXT, TEXT)
SIZE = TOKENIZER.target_size
WORD = [piece.startswith("▁") for piece in TOKENIZER.target_pieces_of(range(SIZE))]
texts = st.lists(st.lists(st.integers(4, SIZE - 1), min_size=1, max_size=30), min_size=1, max_size=5)
seeds = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3)


def masked(share: float = 0.15, whole: bool = True) -> Objective:
    return MaskedLanguageModelling("masked_lm", "masked_lm", share, whole)


def denoising(share: float = 0.3, span: float = 3.0, whole: bool = True) -> Objective:
    return Denoising("denoising", "denoising", share, span, whole)


def maker(objective: Objective, language: str = "en", tokenizer: Tokenizer = TOKENIZER) -> MakeBatch:
    return batch_maker(objective, tokenizer, language)


def words_of(ids: Sequence[int], whole: bool = True) -> list[list[int]]:
    """The tokens of each word, by hand."""
    found: list[list[int]] = []
    for token in ids:
        if WORD[token] or not found or not whole:
            found.append([])
        found[-1].append(token)
    return found


@settings(max_examples=60)
@given(texts, seeds, st.sampled_from([0.05, 0.15, 0.5, 1.0]), st.booleans())
def test_masked_lm(rows: list[list[int]], seed: list[int], share: float, whole: bool) -> None:
    batch = maker(masked(share, whole))(rows, rows, np.arange(len(rows)), seed)
    for n, row in enumerate(rows):
        assert batch.target[n, : len(row) + 1].tolist() == [*row, EOS]
        source, chosen = batch.source[n].tolist(), batch.target_mask[n].tolist()
        assert sum(batch.source_mask[n].tolist()) == len(row) + 1
        assert source[len(row)] == EOS
        assert not any(chosen[len(row) :])
        position, alone = 0, False
        for word in words_of(row, whole):
            part = chosen[position : position + len(word)]
            assert len({*part}) == 1, "a word is chosen as a whole or not at all"
            alone |= part[0] and sum(chosen) == len(word)
            position += len(word)
        assert 1 <= sum(chosen) <= max(1, round(share * len(row))) or alone
        for was, now, is_chosen in zip(row, source, chosen, strict=False):
            assert is_chosen or was == now
            assert now in (was, MASK) or now > EOS
    assert batch.tokens == int(batch.target_mask.sum()) == sum(batch.target_lengths)
    assert batch.target.flatten()[batch.target_positions].tolist() == batch.target[batch.target_mask].tolist()


def test_of_the_chosen_tokens_eight_in_ten_are_masked_and_one_is_replaced() -> None:
    row = np.random.default_rng(1).integers(260, SIZE, 40_000).tolist()
    batch = maker(masked(whole=False))([row], [row], np.arange(1), [7])
    chosen = batch.target_mask[0, :-1].numpy()
    was, now = np.array(row)[chosen], batch.source[0, :-1].numpy()[chosen]
    assert chosen.mean() == pytest.approx(0.15, abs=1e-4)
    others = now[(now != MASK) & (now != was)]
    # A random token is the right one by chance once in 30; three standard deviations of 6,000 draws are 0.015.
    assert np.mean(now == MASK) == pytest.approx(0.8, abs=0.016)
    assert len(others) / len(now) == pytest.approx(0.1 * (1 - 1 / (SIZE - 260)), abs=0.012)
    assert others.min() >= 260, "neither special tokens nor bytes"
    assert len({*others.tolist()}) == SIZE - 260


@settings(max_examples=60)
@given(texts, seeds, st.sampled_from([0.1, 0.3, 1.0]), st.sampled_from([1.0, 3.0]), st.booleans())
def test_denoising(rows: list[list[int]], seed: list[int], share: float, span: float, whole: bool) -> None:
    batch = maker(denoising(share, span, whole))(rows, rows, np.arange(len(rows)), seed)
    for n, row in enumerate(rows):
        source = batch.source[n, : batch.source_lengths[n] - 1].tolist()
        assert batch.target[n, : batch.target_lengths[n]].tolist() == [*row, EOS]
        assert batch.target_input[n, : batch.target_lengths[n]].tolist() == [BOS, *row]
        assert len(source) <= len(row)
        words = words_of(row, whole)
        pieces = [list(part) for is_mask, part in itertools.groupby(source, lambda i: i == MASK) if not is_mask]
        missing = max(1, round(share * len(words)))
        kept = [[*itertools.chain(*words[a:b])] for a in range(len(words)) for b in range(a + 1, len(words) + 1)]
        assert all(piece in kept for piece in pieces), "what stays are whole words in a row"
        assert sum(map(len, pieces)) <= len(row) - missing  # each word has a token or more
        assert MASK in source


def test_all_arrangements_of_the_spans_are_equally_likely() -> None:
    """Two of five words are masked as one span or as two: 4 + 10 arrangements of masks, 4 of them of one span."""
    row = [i for i, starts in enumerate(WORD) if starts and i > 260][:5]
    batch = maker(denoising(0.4, 1.0))([row] * 6000, [row] * 6000, np.arange(6000), [3])
    seen = Counter(tuple(i for i in source if i > EOS or i == MASK) for source in batch.source.tolist())
    by_spans = {count: [n for key, n in seen.items() if key.count(MASK) == count] for count in (1, 2)}
    assert [len(by_spans[count]) for count in (1, 2)] == [4, 10]
    for counts in by_spans.values():
        expected = sum(counts) / len(counts)
        assert all(abs(n - expected) < 4.5 * expected**0.5 for n in counts)


@pytest.mark.parametrize("objective", [masked(), denoising()])
def test_a_batch_follows_from_seed_epoch_and_position(objective: Objective) -> None:
    split = Split("train", TEXT, TEXT)

    def data(seed: int) -> TrainingData:
        return TrainingData(split, TOKENIZER, 100, seed, make_batch=maker(objective))

    one, again, other = data(1), data(1), data(2)
    count = one.num_batches(0)
    batches = {(e, p): one.batch(e, p) for e in range(3) for p in range(count)}
    for (epoch, position), batch in reversed(batches.items()):
        assert torch.equal(again.batch(epoch, position).source, batch.source)
        assert again.batch(epoch, position).index == batch.index
    # The same line is masked in several ways.
    ways = {tuple(row) for batch in batches.values() for i, row in zip(batch.index, batch.source.tolist(), strict=True)
            if TEXT[i] == TEXT[0]}  # fmt: skip
    assert len(ways) > 5
    assert any(not torch.equal(other.batch(0, p).source, one.batch(0, p).source) for p in range(count))
    validation = [[b.source for b in evaluation_batches(split, TOKENIZER, 100, maker(objective))] for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*validation, strict=True))


def test_single_tokens_where_a_language_has_no_spaces() -> None:
    row = [i for i in range(260, SIZE) if not WORD[i]][:12]
    english, chinese = (maker(masked(0.15), language)([row], [row], np.arange(1), [1]) for language in ("en", "zh"))
    assert english.tokens == len(row), "no token starts a word: the whole line is one"
    assert chinese.tokens == 2


def test_causal_lm_has_no_source() -> None:
    make = maker(CausalLanguageModelling("causal_lm", "causal_lm"))
    batch = make([[5, 6]], [[5, 6]], np.arange(1), [1])
    assert batch.source.tolist() == [[EOS]]
    assert batch.target.tolist() == [[5, 6, EOS]]
