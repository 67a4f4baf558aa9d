"""Subword tokenizer of a run: text to ids and back, with sentencepiece.

A run has one model for each language or a joint one for both: BPE (Sennrich et al. 2016), unigram (Kudo 2018), single
characters or whole words, all trained by sentencepiece (Kudo & Richardson 2018). Ids 0 to 3 are padding, unknown,
start and end of sentence in every model.

The round trip is exact: with `normalization: identity` and `byte_fallback: true`, `decode(encode(text)) == text` for
every text, including spaces, tabs, line breaks and emoji. The only exception is U+2581 "▁", sentencepiece's sign for a
space, which becomes a space. Without `byte_fallback`, characters unseen in training become " ⁇ ". Other normalisations
change the text by design and remove superfluous spaces.

Subword regularisation (`sampling`, see `s2s.data.sampling`) splits the same line differently in every epoch:
BPE-dropout (Provilkov et al. 2020) for BPE, with `sampling` as the rate; lattice sampling (Kudo 2018) for unigram, with
`sampling` as the exponent alpha, so that *smaller* values are more random (0.1 to 0.5 are usual).
"""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sentencepiece

from s2s.config import TokenizerConfig
from s2s.data.cache import cached
from s2s.data.columns import TextColumn
from s2s.data.sampling import Sampler
from s2s.data.subwords import BOS, EOS, PAD, UNK, Subwords
from s2s.errors import S2SError
from s2s.files import atomic_write, check_regular, read_json, user_path, write_json
from s2s.schema import Probability, check_call

__all__ = ["BOS", "EOS", "PAD", "UNK", "Tokenizer", "check_coverage", "train_subwords", "train_tokenizer"]

log = logging.getLogger(__name__)

FORMAT = 1  # of tokenizer.json
TRAINING_LINES = 2_000_000  # of each side; sentencepiece holds them in memory, and more lines change hardly anything
LINE_CHARACTERS = 1000  # longer lines are split for training: sentencepiece ignores lines beyond 4192 bytes
THREADS = 4  # a constant: a unigram model depends on the number of threads
_MODELS = {True: ("joint.model", "joint.model"), False: ("source.model", "target.model")}


@dataclass(frozen=True)
class TokenizerInfo:
    """Metadata of a tokenizer folder, `tokenizer.json`."""

    format: int
    type: Literal["bpe", "unigram", "char", "word"]
    joint: bool
    sampling: Probability


class Tokenizer:
    """Tokenizer of both sides. Ids never include special tokens; batching adds those.

    Args:
        source, target: the models, the same object when joint.
        type: bpe, unigram, char or word.
        sampling: strength of `sample_source` and `sample_target`; 0 makes them equal to `encode_…`.
    """

    def __init__(self, source: Subwords, target: Subwords, type: str, sampling: float) -> None:
        self.source, self.target, self.type, self.sampling = source, target, type, sampling
        self.joint = source is target
        self.source_size, self.target_size = source.size, target.size
        self._samplers: tuple[Sampler, Sampler] | None = None
        if sampling:
            sampler = source.sampler(type, sampling)
            self._samplers = sampler, sampler if self.joint else target.sampler(type, sampling)

    @property
    def vocabularies(self) -> tuple[list[str], list[str]]:
        """The pieces of both sides in the order of their ids: what each row of an embedding stands for."""
        return self.source.pieces_of(range(self.source_size)), self.target.pieces_of(range(self.target_size))

    def encode_source(self, texts: Sequence[str]) -> list[list[int]]:
        return self.source.encode(texts)

    def encode_target(self, texts: Sequence[str]) -> list[list[int]]:
        return self.target.encode(texts)

    def sample_source(self, texts: Sequence[str], seed: int) -> list[list[int]]:
        """As `encode_source`, with subword sampling determined by `seed` alone."""
        if self._samplers is None:
            return self.source.encode(texts)
        return self._samplers[0].sample(self.source.normalize(texts), seed)

    def sample_target(self, texts: Sequence[str], seed: int) -> list[list[int]]:
        if self._samplers is None:
            return self.target.encode(texts)
        return self._samplers[1].sample(self.target.normalize(texts), seed)

    def decode_source(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return self.source.decode(ids)

    def decode_target(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each id sequence without special tokens; it may hold any character, even line breaks."""
        return self.target.decode(ids)

    def source_pieces(self, text: str) -> list[str]:
        return self.source.pieces(text)

    def target_pieces(self, text: str) -> list[str]:
        return self.target.pieces(text)

    def target_pieces_of(self, ids: Sequence[int]) -> list[str]:
        return self.target.pieces_of(ids)

    def save(self, folder: Path) -> None:
        """Writes the model or models and `tokenizer.json`, the latter last: a folder that has it is complete."""
        for name, model in zip(_MODELS[self.joint], (self.source, self.target), strict=True):
            with atomic_write(folder / name, "wb") as file:
                file.write(model.proto)
        write_json(
            folder / "tokenizer.json",
            {"format": FORMAT, "type": self.type, "joint": self.joint, "sampling": self.sampling},
        )

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Reads a folder of `save`.

        Raises:
            S2SError: a file is missing, damaged or of a newer format.
        """
        path = folder / "tokenizer.json"
        values = read_json(path)
        if not isinstance(values, dict) or check_call(TokenizerInfo, values, ""):
            raise S2SError(f"{path} does not describe a tokenizer of s2s (or one of a newer s2s)")
        info = TokenizerInfo(**values)
        if info.format != FORMAT:
            raise S2SError(f"{path} has format {info.format}, this s2s reads {FORMAT}: use the s2s that wrote it")
        names = _MODELS[bool(info.joint)]
        source = _read_model(folder / names[0])
        target = source if info.joint else _read_model(folder / names[1])
        return cls(source, target, str(info.type), float(info.sampling))


def train_tokenizer(config: TokenizerConfig, source: Iterable[str], target: Iterable[str]) -> Tokenizer:
    """Trains the models of a run on its training text, or loads those of `config.path`.

    Text of one language is both `source` and `target`, the same object; a joint model counts its lines once.
    The result depends only on the text and the configuration. If the text is too small for `vocab_size`, the models
    have the largest possible size; if `vocab_size` is too small for the characters, the smallest. The log reports both.

    Raises:
        S2SError: there is no text, the type does not support sampling, or the models of `path` do not fit `config`.
    """
    if config.sampling and config.type not in ("bpe", "unigram"):
        raise S2SError(
            f"config: data.tokenizer.sampling={config.sampling} needs data.tokenizer.type=bpe or unigram: "
            f"{config.type} has one way to split a line; set data.tokenizer.sampling=0"
        )
    if config.path is not None:
        return _load_for(config, user_path(config.path))
    if config.joint:
        model = train_subwords(config, "joint", *((source,) if target is source else (source, target)))
        return Tokenizer(model, model, config.type, config.sampling)
    sides = train_subwords(config, "source", source), train_subwords(config, "target", target)
    return Tokenizer(*sides, config.type, config.sampling)


def train_subwords(config: TokenizerConfig, side: str, *texts: Iterable[str]) -> Subwords:
    """Trains the model of one side, or a joint one, on these texts; raises what `train_tokenizer` raises."""
    return Subwords(_train(config, _TrainingLines(*texts), side), f"the new {side} model")


def check_coverage(tokenizer: Tokenizer, source: Sequence[str], target: Sequence[str]) -> None:
    """Rejects text of a language that the tokenizer was not trained on.

    Raises:
        S2SError: more than half of the characters of a side become <unk> or bytes.
    """
    if target is source:
        sides = [("the text", "it", tokenizer.source, source)]
    else:
        sides = [
            ("the source side", "data.source", tokenizer.source, source),
            ("the target side", "data.target", tokenizer.target, target),
        ]
    for side, setting, model, texts in sides:
        share = model.unknown_share(texts)
        if share > 0.5:
            raise S2SError(
                f"the tokenizer does not know {share:.0%} of the characters of {side} (they become <unk> or "
                f"bytes): check {setting} and data.tokenizer.path, or raise data.tokenizer.vocab_size"
            )


class _TrainingLines:
    """The training lines of a model; can be iterated repeatedly."""

    def __init__(self, *sides: Iterable[str]) -> None:
        self._sides = [list(side) if isinstance(side, Iterator) else side for side in sides]

    @property
    def identity(self) -> tuple[bytes, ...] | None:
        """A hash of the text, if it consists of columns of tables."""
        columns = [side.identity for side in self._sides if isinstance(side, TextColumn)]
        return tuple(columns) if len(columns) == len(self._sides) else None

    def __iter__(self) -> Iterator[str]:
        for side in self._sides:
            every = 1
            if isinstance(side, Sequence) and len(side) > TRAINING_LINES:
                every = -(-len(side) // TRAINING_LINES)
                log.info("the tokenizer is trained on one in %d of %d lines", every, len(side))
            for line in itertools.islice(side, 0, None, every):
                for start in range(0, len(line), LINE_CHARACTERS):
                    yield line[start : start + LINE_CHARACTERS]


def _train(config: TokenizerConfig, lines: _TrainingLines, side: str) -> bytes:
    """Returns the model of `config`, or the nearest size that the text allows; the cache keeps it for the same text."""
    if lines.identity is None:
        proto = _fit_nearest(config, lines, side)
    else:
        settings = (config.type, config.vocab_size, config.byte_fallback, config.normalization)
        key = (*lines.identity, *settings, TRAINING_LINES, LINE_CHARACTERS, sentencepiece.__version__)

        def make(folder: Path) -> None:
            (folder / "model").write_bytes(_fit_nearest(config, lines, side))

        proto = (cached("subwords", key, make) / "model").read_bytes()
    size = _size(proto)
    if size > config.vocab_size:
        log.warning(
            "%s tokenizer: vocab_size=%d is too small for the characters of the text; it has %d, the smallest possible",
            side, config.vocab_size, size,
        )  # fmt: skip
    elif size < config.vocab_size:
        log.warning(
            "%s tokenizer: the text is too small for vocab_size=%d; it has %d, the largest possible",
            side, config.vocab_size, size,
        )  # fmt: skip
    return proto


def _fit_nearest(config: TokenizerConfig, lines: _TrainingLines, side: str) -> bytes:
    if not any(line.strip() for line in lines):
        raise S2SError(f"there is no {side} text to train a tokenizer on: all lines are empty")
    size = max(config.vocab_size, 4 + 256 * config.byte_fallback + 1)  # special tokens, bytes and one piece of text
    try:
        return _fit(config, lines, config.type, size)
    except (RuntimeError, UnicodeError) as error:
        # BPE and unigram need a piece for each character; an unlimited character model counts these.
        required = _size(_fit(config, lines, "char", 1_200_000)) if isinstance(error, RuntimeError) else 0
        if required <= size:
            raise S2SError(f"sentencepiece cannot train a {config.type} model on the {side} text: {error}") from error
        return _fit(config, lines, config.type, required)


def _fit(config: TokenizerConfig, lines: Iterable[str], kind: str, size: int) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type=kind,
        vocab_size=size,
        hard_vocab_limit=False,
        # Byte pieces cover rare characters; without them, every character needs a piece.
        character_coverage=0.9995 if config.byte_fallback else 1.0,
        byte_fallback=config.byte_fallback,
        normalization_rule_name=config.normalization,
        remove_extra_whitespaces=config.normalization != "identity",
        pad_id=PAD,
        unk_id=UNK,
        bos_id=BOS,
        eos_id=EOS,
        num_threads=THREADS,
        minloglevel=2,
    )
    return model.getvalue()


def _size(proto: bytes) -> int:
    size: int = sentencepiece.SentencePieceProcessor(model_proto=proto).vocab_size()
    return size


def _read_model(path: Path) -> Subwords:
    check_regular(path)
    try:
        return Subwords(path.read_bytes(), str(path))
    except OSError as error:
        raise S2SError(f"cannot read {path}: {error.strerror}; a tokenizer is its models and tokenizer.json") from error


def _load_for(config: TokenizerConfig, path: Path) -> Tokenizer:
    if path.is_dir():
        tokenizer = Tokenizer.load(path)
    elif path.exists():
        model = _read_model(path)
        tokenizer = Tokenizer(model, model, config.type, config.sampling)
    else:
        raise S2SError(f"data.tokenizer.path={path} does not exist: name a tokenizer folder, a .model file, or null")
    if tokenizer.joint != config.joint:
        if tokenizer.joint:
            raise S2SError(f"data.tokenizer.path={path} has one joint model: set data.tokenizer.joint=true")
        raise S2SError(
            f"data.tokenizer.path={path} has two models: set data.tokenizer.joint=false, or for text of one language "
            f"name one of them, data.tokenizer.path={path / _MODELS[False][0]}"
        )
    if tokenizer.type != config.type:
        raise S2SError(
            f"data.tokenizer.path={path} has type {tokenizer.type}: set data.tokenizer.type={tokenizer.type}"
        )
    return Tokenizer(tokenizer.source, tokenizer.target, tokenizer.type, config.sampling)
