"""Reproducible subword regularisation: the same seed gives the same segmentation in every process.

BPE-dropout (Provilkov et al. 2020): merges are applied in the order of training, but each is skipped with probability
`rate`. Unigram sampling (Kudo 2018): a segmentation x is drawn with probability ∝ P(x)^rate, by a forward pass over the
lattice of pieces and backward sampling from its end. sentencepiece has both, but its generator differs from process to
process whatever its seed, so a resumed run would train on other text than an uninterrupted one.

No piece crosses the start of a word, so words are segmented one by one. Each word has `VARIANTS` segmentations, each a
function of word and variant number alone, and each occurrence draws its number: a cache holds those of common words.
"""

from __future__ import annotations

import functools
import hashlib
import heapq
import itertools
import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

VARIANTS = 128
CACHE = 2**19  # segmentations; some 100 MB at most
UNKNOWN_PENALTY = 10.0  # log-probability of an unknown character below that of the rarest piece, as in sentencepiece


def _numbers(seed: str) -> Iterator[float]:
    """Yields random numbers in [0, 1), hashes of the seed; a generator for each word would take longer to set up."""
    for block in itertools.count():
        numbers = struct.unpack("<16I", hashlib.blake2b(f"{block} {seed}".encode()).digest())
        yield from (number / 2**32 for number in numbers)


class Sampler:
    """Sampler of segmentations of one subword model.

    Args:
        scores: of each piece of text; higher is merged earlier (bpe), or log-probability (unigram).
        ids: of each piece of text.
        byte_ids: of the 256 bytes, for characters without a piece; empty without byte fallback.
        unknown: the id of such a character then.
        kind: bpe or unigram.
        rate: dropout rate of bpe; exponent of unigram.
    """

    def __init__(
        self,
        scores: Mapping[str, float],
        ids: Mapping[str, int],
        byte_ids: Sequence[int],
        unknown: int,
        kind: str,
        rate: float,
    ) -> None:
        self._scores, self._ids, self._byte_ids, self._unknown, self._rate = scores, ids, byte_ids, unknown, rate
        self._longest = max(map(len, scores), default=1)
        self._rare = min(scores.values(), default=0.0) - UNKNOWN_PENALTY
        self._split = {"bpe": self._merge, "unigram": self._draw}[kind]
        crosses_words = any("\u2581" in piece[1:] for piece in scores)  # only in models that s2s did not train
        self._word = re.compile(".+" if crosses_words else "\u2581[^\u2581]*|[^\u2581]+", re.DOTALL)
        self._cached = functools.lru_cache(CACHE)(self._segment)

    def sample(self, texts: Sequence[str], seed: int) -> list[list[int]]:
        """Ids of a random segmentation of each text, determined by `seed`. Texts are normalised: "▁" for a space."""
        words = [self._word.findall(text) for text in texts]
        generator = np.random.Generator(np.random.PCG64(seed))
        variants = iter(generator.integers(VARIANTS, size=sum(map(len, words))).tolist())
        return [[i for word in line for i in self._cached(word, next(variants))] for line in words]

    def _segment(self, word: str, variant: int) -> tuple[int, ...]:
        ids: list[int] = []
        for piece in self._split(word, _numbers(f"{variant} {word}").__next__):
            known = self._ids.get(piece)
            if known is not None:
                ids.append(known)
            elif self._byte_ids:
                ids += [self._byte_ids[byte] for byte in piece.encode("utf-8")]
            elif ids[-1:] != [self._unknown]:  # a run of unknown characters is one <unk>
                ids.append(self._unknown)
        return tuple(ids)

    def _merge(self, word: str, draw: Callable[[], float]) -> list[str]:
        size = len(word)
        symbols, after, before = list(word), list(range(1, size + 1)), list(range(-1, size - 1))
        queue: list[tuple[float, int, str]] = []  # merges: best score first, then from the left

        def push(left: int) -> None:
            if left >= 0 and after[left] < size:
                piece = symbols[left] + symbols[after[left]]
                score = self._scores.get(piece)
                if score is not None:
                    heapq.heappush(queue, (-score, left, piece))

        for left in range(size):
            push(left)
        while queue:
            _, left, piece = heapq.heappop(queue)
            right = after[left]
            outdated = not symbols[left] or right >= size or symbols[left] + symbols[right] != piece
            if outdated or draw() < self._rate:
                continue
            symbols[left], symbols[right] = piece, ""
            after[left] = after[right]
            if after[right] < size:
                before[after[right]] = left
            push(left)
            push(before[left])
        return [symbol for symbol in symbols if symbol]

    def _draw(self, word: str, draw: Callable[[], float]) -> list[str]:
        total = [0.0]  # log of the sum over all segmentations of word[:end]
        arcs_to: list[list[tuple[int, float]]] = [[]]  # pieces by their end: (start, log weight)
        for end in range(1, len(word) + 1):
            arcs = []
            for start in range(max(0, end - self._longest), end):
                score = self._scores.get(word[start:end], self._rare if end - start == 1 else None)
                if score is not None:
                    arcs.append((start, total[start] + self._rate * score))
            best = max(weight for _, weight in arcs)
            total.append(best + math.log(sum(math.exp(weight - best) for _, weight in arcs)))
            arcs_to.append(arcs)
        pieces, end = [], len(word)
        while end > 0:
            remaining = draw()
            chosen = arcs_to[end][-1][0]  # the last arc also takes what rounding leaves over
            for start, weight in arcs_to[end]:
                remaining -= math.exp(weight - total[end])
                if remaining < 0:
                    chosen = start
                    break
            pieces.append(word[chosen:end])
            end = chosen
        return pieces[::-1]
