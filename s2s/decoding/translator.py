"""Translator: text lines in, translations out, around beam search.

Lines are streamed in windows of some thousands. Each window is tokenised, sorted by length and translated in batches of
a fixed token budget, the longest first; then the order of the lines is restored. Each line has exactly one translation;
that of a line without text is empty and needs no model.

The same class scores existing translations and returns attention weights, both by teacher forcing.
"""

from __future__ import annotations

import itertools
import logging
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from s2s.config import DecodingConfig, Precision
from s2s.data.batching import collate, pad_with_eos, token_batches
from s2s.data.reading import check_characters
from s2s.data.tokenizer import Tokenizer
from s2s.decoding.graphs import GraphedDecoder
from s2s.decoding.search import beam_width, length_limit, search
from s2s.errors import S2SError
from s2s.models.interface import Seq2Seq, Translatable
from s2s.nn.quantized import quantized

log = logging.getLogger(__name__)

WINDOW = 10_000  # lines held in memory and sorted together
END = "</s>"


@dataclass(frozen=True)
class TextHypothesis:
    """A hypothesis of search with its text; see `s2s.decoding.search.Hypothesis`.

    The text of a language model is the line and what it continues it with; all else is of the continuation alone.
    """

    text: str
    score: float
    log_prob: float
    tokens: list[int]


@dataclass(frozen=True)
class Translation:
    """The hypotheses of one line.

    Attributes:
        source: the unchanged line.
        hypotheses: the best score first; at least one, an empty one for a line without text.
        truncated: the line was longer than `max_source` tokens, and its end was not translated; a language model, which
            continues the line, did not read its beginning.
    """

    source: str
    hypotheses: list[TextHypothesis]
    truncated: bool = False

    @property
    def text(self) -> str:
        """The best translation."""
        return self.hypotheses[0].text


@dataclass(frozen=True)
class Score:
    """The probability of an existing translation; logarithms are natural.

    Attributes:
        tokens: target ids without `</s>`.
        log_prob: of the tokens and `</s>`; equal to that of search for the same tokens.
        token_log_probs: its terms, one for each token and one for `</s>`.
    """

    tokens: list[int]
    log_prob: float
    token_log_probs: list[float]


@dataclass(frozen=True)
class Attention:
    """Attention weights of a translation.

    Attributes:
        source, target: the pieces of both sides, each ending with `</s>`.
        weights: by name, (target pieces, source pieces) fp32 on the CPU; rows sum to 1, or less where a decoder-only
            model attends to its target, too; empty without attention.
    """

    source: list[str]
    target: list[str]
    weights: dict[str, Tensor]


class Translator:
    """Translation, scoring and attention with one model.

    The model stays on its device and runs in evaluation mode; its previous mode is restored. With `precision="int8"` a
    quantized copy runs instead, see `s2s.nn.quantized`. Scores and attention weights have the same precision.

    Args:
        model: any model.
        tokenizer: the one it was trained with.
        config: strategy, limits, batch size and precision.

    Raises:
        S2SError: the model writes no text, `n_best` exceeds the beam width, or the device does not support the
            precision.
    """

    def __init__(self, model: Seq2Seq, tokenizer: Tokenizer, config: DecodingConfig) -> None:
        if not model.writes_text:
            raise S2SError(
                "a model trained with objective=masked_lm writes no text: train a translation model that starts from "
                "it (init_from=RUN)"
            )
        self.width = beam_width(config)
        self.model, self.tokenizer, self.config = decoding_model(model, config.precision), tokenizer, config
        graphed = self.model.cuda_graphs and self.model.device.type == "cuda"
        self._search_model: Translatable = GraphedDecoder(self.model) if graphed else self.model

    def translate(self, lines: Iterable[str], progress: bool = False) -> list[str]:
        """The best translation of each line, in order."""
        return [translation.text for translation in self.translations(lines, progress)]

    def translations(self, lines: Iterable[str], progress: bool = False, window: int = WINDOW) -> Iterator[Translation]:
        """Yields one translation for each line, in order.

        Args:
            lines: read lazily.
            progress: show a bar on stderr, with the time left if the number of lines is known.
            window: number of lines read ahead, at most.
        """
        _check_list(lines)
        texts = iter(lines)
        windows = iter(lambda: list(itertools.islice(texts, window)), [])
        return self.translate_windows(windows, len(lines) if isinstance(lines, Sized) else None, progress)

    def translate_windows(
        self, windows: Iterable[list[str]], total: int | None = None, progress: bool = False
    ) -> Iterator[Translation]:
        """As `translations`, for lines in groups; the lines of a group are sorted and translated together.

        Args:
            windows: groups of lines, read lazily: one is translated before the next is asked for.
            total: number of lines, if known.
            progress: as in `translations`.
        """
        n_best, offset, incomplete = self.config.n_best, 0, 0
        with tqdm(total=total, desc="translate", unit=" lines", disable=not progress) as bar:
            for group in windows:
                window = list(_checked(group, "line", offset))
                for translation in self._translate_window(window, offset, bar):
                    hypotheses = translation.hypotheses
                    incomplete += hypotheses[0].log_prob < 0 and len(hypotheses) < n_best
                    yield translation
                offset += len(window)
        if incomplete:
            log.warning("%d lines have fewer than decoding.n_best=%d different translations", incomplete, n_best)

    def score(self, sources: Sequence[str], targets: Sequence[str]) -> list[Score]:
        """Returns the probability of each target given its source, or as its continuation by a language model.

        Raises:
            S2SError: the two sides differ in length, or an item is not text.
        """
        texts = list(checked_lines(targets, "target"))
        return self.score_ids(sources, self.tokenizer.encode_target(texts))

    def score_ids(self, sources: Sequence[str], targets: Sequence[Sequence[int]]) -> list[Score]:
        """As `score`, for target ids without special tokens, such as those of a hypothesis."""
        texts = list(checked_lines(sources, "source"))
        _check_list(targets)
        targets = [self._checked_ids(ids) for ids in targets]
        if len(texts) != len(targets):
            raise S2SError(f"cannot score {len(targets)} translations of {len(texts)} source lines: they must match")
        encoded = enumerate(self.tokenizer.encode_source(texts), 1)
        source_ids = [self._truncate(ids, line) for line, ids in encoded]
        before: list[list[int]] = [[] for _ in texts]
        if self.model.continues_source:  # one text, of which the line is the beginning
            source_ids, before = before, source_ids
        rows = [[*line, *target] for line, target in zip(before, targets, strict=True)]
        lengths = [max(len(source), len(row)) + 1 for source, row in zip(source_ids, rows, strict=True)]
        scores: dict[int, Score] = {}
        with self._evaluation_mode():
            for index in token_batches(lengths, self.config.batch_tokens):
                batch = collate([source_ids[i] for i in index], [rows[i] for i in index], index)
                log_probs = self.model.log_probs(batch.to(self.model.device)).tolist()
                for i, row in zip(batch.index, log_probs, strict=True):
                    terms = row[len(before[i]) : len(rows[i]) + 1]
                    scores[i] = Score(list(targets[i]), sum(terms), terms)
        return [scores[i] for i in range(len(texts))]

    def attention(self, source: str, target: str | Sequence[int]) -> Attention:
        """Attention weights between a line and its translation, a text or ids without special tokens."""
        (text,) = checked_lines([source], "source")
        if isinstance(target, str):
            ids = self.tokenizer.encode_target(list(checked_lines([target], "target")))[0]
        else:
            ids = self._checked_ids(target)
        source_ids = self.tokenizer.encode_source([text])[0][: self.config.max_source]
        batch = collate([source_ids], [ids], [0])
        with self._evaluation_mode():
            weights = self.model.attention(batch.to(self.model.device))
        return Attention(
            [*self.tokenizer.source_pieces(source)[: self.config.max_source], END],
            [*self.tokenizer.target_pieces_of(ids), END],
            {name: matrix[0].float().cpu() for name, matrix in weights.items()},
        )

    def _translate_window(self, lines: list[str], offset: int, bar: tqdm[Any]) -> list[Translation]:
        """Translates lines of which the first has the number `offset`, from 0."""
        nonblank = [i for i, line in enumerate(lines) if line.strip()]
        encoded = zip(nonblank, self.tokenizer.encode_source([lines[i] for i in nonblank]), strict=True)
        ids = {i: tokens for i, tokens in encoded if tokens}  # normalisation may remove all of a line
        source = [self._truncate(tokens, offset + i + 1) for i, tokens in ids.items()]
        translations = [Translation(line, [TextHypothesis("", 0.0, 0.0, [])]) for line in lines]
        bar.update(len(lines) - len(ids))
        positions = list(ids)
        with self._evaluation_mode():
            for batch in token_batches([len(row) + 1 for row in source], self.config.batch_tokens // self.width):
                index = [positions[row] for row in batch]
                hypotheses = self._search(
                    [source[row] for row in batch], [lines[i] for i in index], [offset + i for i in index]
                )
                for i, nbest in zip(index, hypotheses, strict=True):
                    translations[i] = Translation(lines[i], nbest, len(ids[i]) > self.config.max_source)
                bar.update(len(index))
        return translations

    def _search(self, ids: list[list[int]], lines: list[str], keys: list[int]) -> list[list[TextHypothesis]]:
        source, mask = (tensor.to(self.model.device) for tensor in pad_with_eos(ids))
        limits = [length_limit(len(row), self.config) for row in ids]
        hypotheses = search(self._search_model, source, mask, self.config, limits, keys)
        begun = self.model.continues_source
        before: list[list[int]] = ids if begun else [[] for _ in ids]
        tokens = [[*line, *h.tokens] for line, nbest in zip(before, hypotheses, strict=True) for h in nbest]
        texts = iter(self.tokenizer.decode_target(tokens))  # all at once: a token may be a part of a character
        beginnings = zip(lines if begun else [""] * len(ids), self.tokenizer.decode_target(before), strict=True)

        def text(line: str, read: str) -> str:
            """The line as it was given, which normalisation may have changed, and what comes after it."""
            return line + one_line(next(texts).removeprefix(read))

        return [
            [TextHypothesis(text(*beginning), h.score, h.log_prob, h.tokens) for h in nbest]
            for beginning, nbest in zip(beginnings, hypotheses, strict=True)
        ]

    def _truncate(self, ids: list[int], line: int) -> list[int]:
        """The first `max_source` ids, or the last to be continued, with a warning if some are left out.

        Lines count from 1.
        """
        limit, last = self.config.max_source, self.model.continues_source
        if len(ids) > limit:
            how = "continued after its last" if last else "truncated to"
            log.warning("line %d has %d source tokens: %s decoding.max_source=%d", line, len(ids), how, limit)
        return ids[-limit:] if last else ids[:limit]

    def _checked_ids(self, ids: Sequence[int]) -> list[int]:
        whole = isinstance(ids, Iterable) and not isinstance(ids, (str, bytes))
        if whole and all(type(i) is int and 0 <= i < self.tokenizer.target_size for i in ids):
            return list(ids)
        raise S2SError(f"target {reprlib.repr(ids)} is neither a text nor ids of the target vocabulary")

    @contextmanager
    def _evaluation_mode(self) -> Iterator[None]:
        """Evaluation mode without gradients, in the precision of `config`; restores the previous mode."""
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            with decoding_context(self.config.precision, self.model.device):
                yield
        finally:
            for module, training in modes:
                module.training = training


def checked_lines(lines: Iterable[str], what: str) -> Iterator[str]:
    """Yields the lines, which a caller may have taken from anywhere.

    Raises:
        S2SError: `lines` is one string, or an item is no text; says which.
    """
    _check_list(lines)
    return _checked(lines, what)


def _check_list(lines: object) -> None:
    ordered = isinstance(lines, Iterable) and not isinstance(lines, (str, bytes, Mapping, Set))
    if not ordered or getattr(lines, "ndim", 1) == 0:  # an array without axes says that it is iterable, and is not
        raise S2SError(f"a list of lines is needed, not {reprlib.repr(lines)}: put one line in brackets, [line]")


def _checked(lines: Iterable[str], what: str, before: int = 0) -> Iterator[str]:
    for number, line in enumerate(lines, before + 1):
        if not isinstance(line, str):
            raise S2SError(f"{what} {number} is {reprlib.repr(line)}, not text")
        check_characters(line, f"{what} {number}")
        yield line


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raises S2SError for int8 on another device than a CPU."""
    if precision == "int8" and device.type != "cpu":
        raise S2SError(f"decoding.precision=int8 needs a CPU, not {device}: use device=cpu or decoding.precision=bf16")


def decoding_model(model: Seq2Seq, precision: Precision) -> Seq2Seq:
    """Returns the model, or its quantized copy for int8; raises as `check_precision`."""
    check_precision(precision, model.device)
    return quantized(model) if precision == "int8" else model


@contextmanager
def decoding_context(precision: Precision, device: torch.device) -> Iterator[None]:
    """No gradients, and bf16 autocast for `precision="bf16"`."""
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield


def one_line(text: str) -> str:
    """Replaces line breaks by spaces: with byte fallback a model may write them."""
    return re.sub(r"\r\n|\r|\n", " ", text)
