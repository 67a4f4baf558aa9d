"""Lines of text in, translations out: what stands between a user's text and search.

Any number of lines can be streamed. They are read in windows of some thousands, and in each window tokenised, sorted by
length, put into batches of a fixed token budget and translated, the longest first; then the order of the lines is
restored. There is exactly one translation for each line; a line without text has an empty one, and no model is asked.

The same class scores given translations and shows attention, both by teacher forcing.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from s2s.config import DecodingConfig, Precision
from s2s.data.batching import collate, pad_source
from s2s.data.tokenizer import Tokenizer
from s2s.decoding.graphs import GraphedSearch
from s2s.decoding.search import beam_width, length_limit, search
from s2s.errors import S2SError
from s2s.models.interface import Seq2Seq, Translatable
from s2s.nn.quantized import quantized

log = logging.getLogger(__name__)

WINDOW = 10_000  # lines held in memory and sorted together
END = "</s>"


@dataclass(frozen=True)
class TextHypothesis:
    """A hypothesis of search with its text; see `s2s.decoding.search.Hypothesis`."""

    text: str
    score: float
    log_prob: float
    tokens: list[int]


@dataclass(frozen=True)
class Translation:
    """What became of one line.

    Attributes:
        source: the line as it was given.
        hypotheses: the best score first; at least one, that of a line without text being empty.
        truncated: the line was longer than `max_source` tokens, and its end was not translated.
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
    """A given translation as the model sees it; logarithms are natural.

    Attributes:
        tokens: target ids without `</s>`.
        log_prob: of the tokens and `</s>`; what search reports for the same tokens.
        token_log_probs: its terms, one for each token and one for `</s>`.
    """

    tokens: list[int]
    log_prob: float
    token_log_probs: list[float]


@dataclass(frozen=True)
class Attention:
    """Where the decoder looked while it wrote a translation.

    Attributes:
        source, target: the pieces of both sides, each with `</s>` as the last.
        weights: by name, (target pieces, source pieces) fp32 on the CPU, rows summing to 1; empty without attention.
    """

    source: list[str]
    target: list[str]
    weights: dict[str, Tensor]


class Translator:
    """Translates text with one model.

    The model is used where it is, in evaluation mode, and gets back the mode that it had; with `precision="int8"` a
    copy is used, see `s2s.nn.quantized`. Scores and attention weights are of the same precision: they are of the model
    that translates.

    Args:
        model: any model.
        tokenizer: the one it was trained with.
        config: strategy, limits, batch size and precision.

    Raises:
        S2SError: `config` asks for more hypotheses than are kept, or for a precision that the device does not have.
    """

    def __init__(self, model: Seq2Seq, tokenizer: Tokenizer, config: DecodingConfig) -> None:
        self.width = beam_width(config)
        self.model, self.tokenizer, self.config = prepared(model, config.precision), tokenizer, config
        graphed = self.model.cuda_graphs and self.model.device.type == "cuda"
        self._searched: Translatable = GraphedSearch(self.model) if graphed else self.model

    def translate(self, lines: Iterable[str], progress: bool = False) -> list[str]:
        """The best translation of each line, in order."""
        return [translation.text for translation in self.translations(lines, progress)]

    def translations(self, lines: Iterable[str], progress: bool = False, window: int = WINDOW) -> Iterator[Translation]:
        """One translation for each line, in order.

        Args:
            lines: read only as far as needed.
            progress: show a bar on stderr, with the time left if the number of lines is known.
            window: lines that are read before the first of them comes out.
        """
        if isinstance(lines, str):
            raise S2SError("translate takes a list of lines, not one string: put it in brackets, [text]")
        return self._translations(iter(lines), len(lines) if isinstance(lines, Sized) else None, progress, window)

    def score(self, sources: Sequence[str], targets: Sequence[str]) -> list[Score]:
        """The probability of given translations, in order.

        Raises:
            S2SError: the two sides differ in length.
        """
        return self.score_ids(sources, self.tokenizer.encode_target(list(targets)))

    def score_ids(self, sources: Sequence[str], targets: Sequence[Sequence[int]]) -> list[Score]:
        """As `score`, for target ids without special tokens, such as search finds."""
        if len(sources) != len(targets):
            raise S2SError(
                f"cannot score {len(targets)} translations of {len(sources)} source lines: need one for each"
            )
        source_ids = [
            self._cut(ids, line)[0] for line, ids in enumerate(self.tokenizer.encode_source(list(sources)), 1)
        ]
        lengths = [max(len(source), len(target)) + 1 for source, target in zip(source_ids, targets, strict=True)]
        scores: dict[int, Score] = {}
        with self._ready():
            for index in token_batches(lengths, self.config.batch_tokens):
                batch = collate([source_ids[i] for i in index], [targets[i] for i in index], index)
                for i, row in zip(index, self.model.log_probs(batch.to(self.model.device)).tolist(), strict=True):
                    terms = row[: len(targets[i]) + 1]
                    scores[i] = Score(list(targets[i]), sum(terms), terms)
        return [scores[i] for i in range(len(sources))]

    def attention(self, source: str, target: str | Sequence[int]) -> Attention:
        """Attention weights between a line and a translation of it, given as text or as ids without special tokens."""
        ids = self.tokenizer.encode_target([target])[0] if isinstance(target, str) else list(target)
        source_ids = self.tokenizer.encode_source([source])[0][: self.config.max_source]
        batch = collate([source_ids], [ids], [0])
        with self._ready():
            weights = self.model.attention(batch.to(self.model.device))
        return Attention(
            [*self.tokenizer.source_pieces(source)[: self.config.max_source], END],
            [*self.tokenizer.target_pieces_of(ids), END],
            {name: matrix[0].float().cpu() for name, matrix in weights.items()},
        )

    def _translations(
        self, lines: Iterator[str], total: int | None, progress: bool, window: int
    ) -> Iterator[Translation]:
        first, fewer = 0, 0
        bar: tqdm[Any] = tqdm(total=total, desc="translate", unit=" lines", disable=not progress)
        with bar:
            while read := list(itertools.islice(lines, window)):
                for translation in self._window(read, first, bar):
                    best, count = translation.hypotheses[0], len(translation.hypotheses)
                    fewer += best.log_prob < 0 and count < self.config.n_best
                    yield translation
                first += len(read)
        if fewer:
            log.warning("%d lines have fewer than decoding.n_best=%d different translations", fewer, self.config.n_best)

    def _window(self, lines: list[str], first: int, bar: tqdm[Any]) -> list[Translation]:
        """The translations of lines whose first has the number `first`, from 0."""
        texts = [position for position, line in enumerate(lines) if line.strip()]
        ids: dict[int, list[int]] = {}
        truncated = set()
        for position, tokens in zip(texts, self.tokenizer.encode_source([lines[i] for i in texts]), strict=True):
            if tokens:  # none are left where normalisation removes all of a line
                ids[position], cut = self._cut(tokens, first + position + 1)
                truncated.update([position] * cut)
        done = [Translation(line, [TextHypothesis("", 0.0, 0.0, [])]) for line in lines]
        bar.update(len(lines) - len(ids))
        positions = list(ids)
        with self._ready():
            for batch in token_batches([len(ids[i]) + 1 for i in positions], self.config.batch_tokens // self.width):
                index = [positions[i] for i in batch]
                for i, found in zip(
                    index, self._search([ids[i] for i in index], [first + i for i in index]), strict=True
                ):
                    done[i] = Translation(lines[i], found, i in truncated)
                bar.update(len(index))
        return done

    def _search(self, ids: list[list[int]], keys: list[int]) -> list[list[TextHypothesis]]:
        source, mask = pad_source(ids)
        limits = [length_limit(len(row), self.config) for row in ids]
        device = self.model.device
        found = search(self._searched, source.to(device), mask.to(device), self.config, limits, keys)
        texts = iter(self.tokenizer.decode_target([hypothesis.tokens for row in found for hypothesis in row]))
        return [[TextHypothesis(one_line(next(texts)), h.score, h.log_prob, h.tokens) for h in row] for row in found]

    def _cut(self, ids: list[int], line: int) -> tuple[list[int], bool]:
        """At most `max_source` ids, with a warning where that loses some; lines count from 1."""
        limit = self.config.max_source
        if len(ids) <= limit:
            return ids, False
        log.warning(
            "line %d has %d source tokens: only the first %d are read (decoding.max_source)", line, len(ids), limit
        )
        return ids[:limit], True

    @contextmanager
    def _ready(self) -> Iterator[None]:
        """The model in evaluation mode, without gradients and in the precision of `config`; afterwards as it was."""
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        try:
            with decoding_in(self.config.precision, self.model.device):
                yield
        finally:
            for module, training in modes:
                module.training = training


def check_precision(precision: Precision, device: torch.device) -> None:
    """Before any work: can this device decode in it?

    Raises:
        S2SError: int8 on another device than a CPU.
    """
    if precision == "int8" and device.type != "cpu":
        raise S2SError(
            f"decoding.precision=int8 is for CPUs, and the device is {device}: "
            "use device=cpu or decoding.precision=bf16"
        )


def prepared(model: Seq2Seq, precision: Precision) -> Seq2Seq:
    """The model that decodes in a precision: itself, or a copy with products in integers.

    Raises:
        S2SError: as `check_precision`.
    """
    check_precision(precision, model.device)
    return quantized(model) if precision == "int8" else model


@contextmanager
def decoding_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Without gradients; in bf16 under autocast."""
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield


def one_line(text: str) -> str:
    """The text with a space for each line break: with byte fallback a model may write one, and one line is promised."""
    return re.sub(r"\r\n|\r|\n", " ", text)


def token_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Positions in batches, the longest first: sentences × the longest of them <= budget, or one sentence alone."""
    batches: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget:
            batches[-1].append(position)
        else:
            batches.append([position])
    return batches
