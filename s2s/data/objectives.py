"""Training objectives: what a batch gives to a model, and what it asks of it.

    translation   the target of each pair, from its source
    causal_lm     each token of a text from those before it, without a source (Radford et al. 2018)
    masked_lm     some tokens of a text, from the text in which they are masked (BERT; Devlin et al. 2019)
    denoising     a text, from itself with each of some spans replaced by one mask (BART; Lewis et al. 2020)

The mask is `<unk>`: no text that is trained on holds it, unless a tokeniser without byte fallback meets an unseen
character, of which the text knows as little. In `masked_lm` 80 % of the chosen tokens are masked, 10 % replaced by
random ones and 10 % kept, so that the encoder learns to represent every token and not the mask alone (section 3.1
there). Its batch has the text itself as target, of which `target_mask` chooses the tokens to predict.

Whole words are chosen where the tokeniser marks their start ("▁"): the rest of a word would tell too much. A language
written without spaces has single tokens instead. What is drawn follows from the seed of a batch alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from s2s.config import Denoising, MaskedLanguageModelling, Objective
from s2s.data.batching import Batch, Ids, Index, MakeBatch, collate, pad_with_eos, pairs_batch
from s2s.data.languages import is_written_without_spaces
from s2s.data.subwords import EOS, SPACE, UNK
from s2s.data.tokenizer import Tokenizer

MASK = UNK
MASKED, REPLACED = 0.8, 0.1  # of the chosen tokens in masked_lm; the others are kept


def batch_maker(objective: Objective, tokenizer: Tokenizer, language: str) -> MakeBatch:
    """The function that makes the batches of an objective.

    Args:
        tokenizer: of the text.
        language: of the text, or of the target.
    """
    if objective.type == "translation":
        return pairs_batch
    if objective.type == "causal_lm":
        return lambda sources, targets, index, seed: collate([()] * len(targets), targets, index)
    words = Words(tokenizer, objective.whole_words and not is_written_without_spaces(language))
    if isinstance(objective, MaskedLanguageModelling):
        masking = Masking(objective.share, words)
        return lambda sources, targets, index, seed: masking.batch(targets, index, seed)
    infilling = Infilling(objective, words)
    return lambda sources, targets, index, seed: infilling.batch(targets, index, seed)


class Words:
    """Which tokens belong to one word.

    Attributes:
        ordinary: (n,) the ids that a random token may have: no special ones and no bytes.
    """

    def __init__(self, tokenizer: Tokenizer, whole: bool) -> None:
        pieces = tokenizer.target.pieces_of(range(tokenizer.target_size))
        self._starts = np.array([piece.startswith(SPACE) or not whole for piece in pieces])
        ids = np.arange(len(pieces))
        self.ordinary = ids[(ids > EOS) & ~tokenizer.target.is_byte]
        if not len(self.ordinary):
            self.ordinary = ids[EOS + 1 :]

    def of(self, ids: NDArray[np.integer]) -> NDArray[np.int64]:
        """(n,) the number of the word that each token is part of, from 0."""
        starts = self._starts[ids]
        starts[:1] = True
        return np.cumsum(starts) - 1


class Masking:
    """Batches of `masked_lm`.

    Args:
        share: of the tokens of each text that are chosen, as nearly as whole words allow; at least one word.
    """

    def __init__(self, share: float, words: Words) -> None:
        self.share, self.words = share, words

    def batch(self, texts: Sequence[Ids], index: Index, seed: Sequence[int]) -> Batch:
        random = _generator(seed)
        rows = [np.asarray(text, dtype=np.int64) for text in texts]
        chosen = [self.choose(row, random) for row in rows]
        corrupted = [self.corrupt(row, which, random) for row, which in zip(rows, chosen, strict=True)]
        source, mask = pad_with_eos(corrupted)
        target, _ = pad_with_eos(rows)
        predicted = np.zeros(mask.shape, dtype=np.bool_)
        for row, which in zip(predicted, chosen, strict=True):
            row[: len(which)] = which
        return Batch(source, mask, target, target, torch.from_numpy(predicted), [int(i) for i in index])

    def choose(self, ids: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.bool_]:
        """(n,) True at the tokens to predict."""
        words = self.words.of(ids)
        sizes = np.bincount(words)
        budget, taken = max(1, round(self.share * len(ids))), list[int]()
        for word in random.permutation(len(sizes)):
            if not taken or sizes[word] <= budget:
                taken.append(word)
                budget -= sizes[word]
        return np.isin(words, taken)

    def corrupt(
        self, ids: NDArray[np.int64], chosen: NDArray[np.bool_], random: np.random.Generator
    ) -> NDArray[np.int64]:
        """The text with its chosen tokens masked, replaced or kept."""
        draw, others = random.random(len(ids)), random.choice(self.words.ordinary, len(ids))
        replaced = np.where(draw < MASKED + REPLACED, others, ids)
        return np.where(chosen, np.where(draw < MASKED, MASK, replaced), ids)


class Infilling:
    """Batches of `denoising`."""

    def __init__(self, objective: Denoising, words: Words) -> None:
        self.share, self.span, self.words = objective.share, objective.span, words

    def batch(self, texts: Sequence[Ids], index: Index, seed: Sequence[int]) -> Batch:
        random = _generator(seed)
        corrupted = [self.corrupt(np.asarray(text, dtype=np.int64), random) for text in texts]
        return collate(corrupted, texts, index)

    def corrupt(self, ids: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """The text with one mask for each masked span; all arrangements of the spans are equally likely."""
        words = self.words.of(ids)
        count = int(words[-1]) + 1 if len(words) else 0
        left, lengths = min(count, max(1, round(self.share * count))), list[int]()
        while left:
            lengths.append(min(left, max(1, int(random.poisson(self.span)))))
            left -= lengths[-1]
        slots = count - sum(lengths) + len(lengths)  # the words that stay, and the spans
        places = np.sort(random.choice(slots, len(lengths), replace=False)) if lengths else np.zeros(0, dtype=int)
        result, word = list[int](), 0
        spans = dict(zip(places.tolist(), lengths, strict=True))
        for slot in range(slots):
            if slot in spans:
                result.append(MASK)
                word += spans[slot]
            else:
                result += ids[words == word].tolist()
                word += 1
        return np.array(result, dtype=np.int64)


def _generator(seed: Sequence[int]) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(list(seed))))
