"""Splits of the corpus: sentences of the target lengths, each in one split only.

Rejection sampling: sentences are drawn until one has the target length, belongs to the split, and is new.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from s2s.data.grammar.lexicons import Lexicon
from s2s.data.grammar.pairs import Pair, words
from s2s.data.grammar.sentences import Grammar
from s2s.errors import S2SError

BINS = 6  # of equal width, up to the longest sentence
LONGEST = 60  # words of the source
TRAIN_SHARES = (0.28, 0.33, 0.16, 0.09, 0.07, 0.07)  # of the bins in train, validation: mean a third of the longest
SHORTEST = 3
MAX_TRIES = 20_000  # for one pair


def length_bins(longest: int = LONGEST) -> tuple[int, ...]:
    """Upper edges of the length bins, in words of the source: (10, 20, 30, 40, 50, 60)."""
    return tuple(longest * number // BINS for number in range(1, BINS + 1))


def generate(split: str, *, pairs: int, seed: int, longest: int = LONGEST, lexicon: Lexicon = "full") -> Iterator[Pair]:
    """Yields `pairs` different pairs (English, German) of "train", "validation" or "test", of 3 to `longest` words.

    A hash of the German sentence determines its split: test and validation have one tenth each, train has the rest. As
    a source has one translation, no sentence of either language is in two splits, whatever their sizes and seeds. A
    smaller corpus is a prefix of a larger one with the same seed. Memory holds only 8-byte digests of the pairs. The
    pairs of test are divided equally over the six length bins, in turn.

    Raises:
        S2SError: unknown split, or numbers that no corpus can have.
    """
    if split not in ("train", "validation", "test"):
        raise S2SError(f"unknown split {split!r} of the grammar corpus: train, validation or test")
    if pairs < 0:
        raise S2SError(f"the grammar corpus needs pairs >= 0, not {pairs}")
    if longest % BINS or longest < 3 * BINS:
        raise S2SError(
            f"the grammar corpus has {BINS} length bins of equal width, of at least 3 words: longest={longest} "
            f"is no multiple of {BINS} of at least {3 * BINS}"
        )
    if split == "test" and pairs % BINS:
        raise S2SError(f"the test split has equally many pairs in {BINS} length bins: pairs={pairs} is no multiple")
    return _generate(split, pairs, seed, length_bins(longest), lexicon)


def _generate(split: str, pairs: int, seed: int, bins: tuple[int, ...], lexicon: Lexicon) -> Iterator[Pair]:
    digest = blake2b(f"{split} {seed}".encode(), digest_size=8).digest()
    grammar = Grammar(int.from_bytes(digest, "big"), lexicon)
    digests: set[int] = set()
    for i in range(pairs):
        bin_ = i % BINS if split == "test" else _draw_bin(grammar.random())
        low, high = (bins[bin_ - 1] + 1 if bin_ else SHORTEST), bins[bin_]
        for _ in range(MAX_TRIES):
            length = grammar.between(low, high)
            if bin_ == 0:  # fewer of the shortest: there are few different sentences of three words
                length = max(length, grammar.between(low, high))
            source, target = grammar.sentence(length)
            if not low <= words(source) <= high:
                continue
            key = int.from_bytes(blake2b(target.encode(), digest_size=8).digest(), "big")
            if split_of(key) == split and key not in digests:
                digests.add(key)
                yield source, target
                break
        else:
            raise S2SError(
                f"the grammar has fewer than {pairs} different sentences of this lexicon and these lengths for "
                f"{split}: lower data.{split}_pairs (data=grammar_text: data.{split}_lines), or raise data.longest"
            )


def split_of(key: int) -> str:
    """Split of the sentence with this digest."""
    return {0: "test", 1: "validation"}.get(key % 10, "train")


def _draw_bin(r: float) -> int:
    for bin_, share in enumerate(TRAIN_SHARES):
        r -= share
        if r < 0:
            return bin_
    return len(TRAIN_SHARES) - 1
