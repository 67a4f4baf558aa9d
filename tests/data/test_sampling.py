"""Subword sampling: sentencepiece's own segmentation without randomness, and the correct distribution with it."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s.config import TokenizerConfig
from s2s.data.sampling import Sampler
from s2s.data.subwords import Subwords
from s2s.data.tokenizer import train_tokenizer

STEMS = ["low", "new", "wid", "slow", "ester", "west", "tower", "stone", "wine", "nest"]
ENDS = ["", "er", "est", "ly", "ing", "en", "s"]
LINES = [f"{a}{x} {b}{y}" for a in STEMS for b in STEMS for x in ENDS for y in ENDS]
SCORES = {"a": -2.0, "b": -2.5, "c": -3.0, "ab": -3.1, "bc": -4.0, "abc": -5.0}


def model(kind: str, byte_fallback: bool = True) -> Subwords:
    size = 340 if byte_fallback else 80
    config = TokenizerConfig(kind, size, True, byte_fallback, 0.0, "identity", None)  # type: ignore[arg-type]
    return train_tokenizer(config, LINES, LINES).source


@pytest.fixture(scope="module", params=[(k, b) for k in ("bpe", "unigram") for b in (True, False)], ids=str)
def trained(request: pytest.FixtureRequest) -> tuple[Subwords, Sampler]:
    kind, byte_fallback = request.param
    subwords = model(kind, byte_fallback)
    # Rate 0 drops no merge; a large exponent leaves the best segmentation only.
    return subwords, subwords.sampler(kind, 0.0 if kind == "bpe" else 500.0)


@settings(deadline=None, max_examples=200)
@given(texts=st.lists(st.text("lowernwidst yéß😀", max_size=20), min_size=1, max_size=3))
def test_without_randomness_it_equals_sentencepiece(trained: tuple[Subwords, Sampler], texts: list[str]) -> None:
    subwords, sampler = trained
    sampled = sampler.sample(subwords.normalize(texts), 1)
    expected = subwords.encode(texts)
    if sampler._split == sampler._merge:
        assert sampled == expected
    else:  # two segmentations may be equally likely
        for ours, theirs in zip(sampled, expected, strict=True):
            assert subwords.decode([ours]) == subwords.decode([theirs])
            scores = [sum(subwords._model.get_score(i) for i in row) for row in (ours, theirs)]
            assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def _segmentations(word: str) -> dict[tuple[str, ...], float]:
    scores = {}
    for cuts in itertools.product([0, 1], repeat=len(word) - 1):
        pieces, start = [], 0
        for end in [i + 1 for i, cut in enumerate(cuts) if cut] + [len(word)]:
            pieces.append(word[start:end])
            start = end
        if all(piece in SCORES for piece in pieces):
            scores[tuple(pieces)] = sum(SCORES[piece] for piece in pieces)
    return scores


def _toy(kind: str, rate: float) -> Sampler:
    return Sampler(SCORES, {piece: i for i, piece in enumerate(SCORES)}, [], 99, kind, rate)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_unigram_draws_by_probability(rate: float) -> None:
    weights = {pieces: math.exp(rate * score) for pieces, score in _segmentations("abcab").items()}
    generator, draws = random.Random(0), 20_000
    sampler = _toy("unigram", rate)
    counts = Counter(tuple(sampler._draw("abcab", generator.random)) for _ in range(draws))
    assert set(counts) <= set(weights)
    for pieces, weight in weights.items():
        share = weight / sum(weights.values())
        assert counts[pieces] / draws == pytest.approx(share, abs=4 * math.sqrt(share / draws) + 1e-3)


def test_bpe_dropout_skips_each_merge_with_its_rate() -> None:
    # Merge order: ab, then bc, then abc. Expected: "ab" is taken with 1 - p. If so, "abc" follows with 1 - p.
    # If not, "bc" is taken with 1 - p, and then "abc" with 1 - p.
    p, draws = 0.3, 20_000
    q = 1 - p
    expected = {("abc",): q * q + p * q * q, ("ab", "c"): q * p, ("a", "bc"): p * q * p, ("a", "b", "c"): p * p}
    generator, sampler = random.Random(0), _toy("bpe", p)
    counts = Counter(tuple(sampler._merge("abc", generator.random)) for _ in range(draws))
    assert set(counts) == set(expected)
    for pieces, share in expected.items():
        assert counts[pieces] / draws == pytest.approx(share, abs=4 * math.sqrt(share / draws))


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_the_distribution_is_that_of_sentencepiece(kind: str) -> None:
    subwords, rate, draws = model(kind), 0.1, 4000
    text = "slowestoweringstone"
    sampler, [word] = subwords.sampler(kind, rate), subwords.normalize([text])
    ours = Counter(sampler._segment(word, variant) for variant in range(draws))
    sample = subwords._model.sample_encode_as_ids
    theirs = Counter(tuple(sample(text, alpha=rate, nbest_size=-1)) for _ in range(draws))
    assert len(ours) >= 3
    for ids in ours.keys() | theirs.keys():
        share = (ours[ids] + theirs[ids]) / (2 * draws)
        assert ours[ids] / draws == pytest.approx(theirs[ids] / draws, abs=5 * math.sqrt(2 * share / draws) + 1e-3)


def test_the_sample_is_a_constant() -> None:
    # The same in every process, on every machine, in every release: resumed runs rely on it.
    sampler = _toy("unigram", 0.5)
    assert sampler.sample(["abcabc", "cab\u2581abc"], 3) == sampler.sample(["abcabc", "cab\u2581abc"], 3)
    assert [sampler.sample(["abcabc"], seed)[0] for seed in range(3)] == [[3, 2, 3, 2], [3, 2, 3, 2], [3, 2, 0, 1, 2]]


def test_pieces_of_foreign_models_may_cross_spaces() -> None:
    scores = {"\u2581": -9.0, "a": -9.0, "\u2581a": -1.0, "\u2581a\u2581": -2.0, "\u2581a\u2581a": -3.0}
    ids = {piece: i for i, piece in enumerate(scores)}
    assert Sampler(scores, ids, [], 99, "unigram", 100.0).sample(["\u2581a\u2581a"], 0) == [[2, 2]]
    scores["\u2581a\u2581a"] = -1.5
    assert Sampler(scores, ids, [], 99, "unigram", 100.0).sample(["\u2581a\u2581a"], 0) == [[4]]


def test_unknown_characters() -> None:
    byte_ids = list(range(1000, 1256))
    for kind in ("bpe", "unigram"):
        [ids] = Sampler(SCORES, {p: i for i, p in enumerate(SCORES)}, byte_ids, 99, kind, 0.1).sample(["é"], 0)
        assert ids == [1000 + byte for byte in "é".encode()]
        [ids] = Sampler(SCORES, {p: i for i, p in enumerate(SCORES)}, [], 99, kind, 0.1).sample(["éé\u2581é"], 0)
        assert ids == [99, 99]
