"""Text to subword ids and back, with sentencepiece.

A run has one model for each language or a joint one for both: BPE (Sennrich et al. 2016), unigram (Kudo 2018), single
characters or whole words, all trained by sentencepiece (Kudo & Richardson 2018). Ids 0 to 3 are padding, unknown,
start and end of sentence in every model.

What goes in comes out: with `normalization: identity` and `byte_fallback: true`, `decode(encode(text)) == text` for
every text, spaces, tabs, line breaks and emoji included, but for one character: U+2581 "▁" is sentencepiece's own sign
for a space and comes back as a space. Without `byte_fallback`, characters that training did not see come back as " ⁇ ".
Other normalisations change the text by design, and take away superfluous spaces.

Subword regularisation (`sampling`) splits the same line differently in every epoch: BPE-dropout (Provilkov et al. 2020)
for BPE, where `sampling` is the rate; drawing from the lattice (Kudo 2018) for unigram, where `sampling` is the
exponent alpha, so that *smaller* values are wilder (0.1 to 0.5 are usual). `s2s.data.sampling` does it.
"""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import sentencepiece

from s2s.config import TokenizerConfig
from s2s.data.cache import cached
from s2s.data.columns import TextColumn
from s2s.data.sampling import Sampler
from s2s.data.subwords import BOS, EOS, PAD, UNK, Subwords
from s2s.errors import S2SError
from s2s.files import atomic_write, read_json, write_json

__all__ = ["BOS", "EOS", "PAD", "UNK", "Tokenizer", "check_coverage", "train_tokenizer"]

log = logging.getLogger(__name__)

FORMAT = 1  # of tokenizer.json
TRAINING_LINES = 2_000_000  # of each side; sentencepiece holds them in memory, and more change hardly anything
LINE_CHARACTERS = 1000  # longer lines are trained on in parts: sentencepiece leaves lines beyond 4192 bytes out
THREADS = 4  # a constant: a unigram model depends on the number of threads
_MODELS = {True: ("joint.model", "joint.model"), False: ("source.model", "target.model")}


@dataclass(frozen=True)
class TokenizerInfo:
    """What a tokenizer folder says about its models, `tokenizer.json`."""

    format: int
    type: str
    joint: bool
    sampling: float


class Tokenizer:
    """Both sides of a run. Ids never include special tokens; batching adds those.

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

    def encode_source(self, texts: Sequence[str]) -> list[list[int]]:
        return self.source.encode(texts)

    def encode_target(self, texts: Sequence[str]) -> list[list[int]]:
        return self.target.encode(texts)

    def sample_source(self, texts: Sequence[str], seed: int) -> list[list[int]]:
        """Like `encode_source` with subword sampling, decided by `seed` and not by what happened before."""
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
        """The text of each id sequence, special tokens dropped. A model may write any character, line breaks too."""
        return self.target.decode(ids)

    def source_pieces(self, text: str) -> list[str]:
        return self.source.pieces(text)

    def target_pieces(self, text: str) -> list[str]:
        return self.target.pieces(text)

    def source_pieces_of(self, ids: Sequence[int]) -> list[str]:
        return self.source.pieces_of(ids)

    def target_pieces_of(self, ids: Sequence[int]) -> list[str]:
        return self.target.pieces_of(ids)

    def save(self, folder: Path) -> None:
        """Writes the model or models and `tokenizer.json`, the latter last: a folder that has it is complete."""
        for name, model in zip(_MODELS[self.joint], (self.source, self.target), strict=True):
            with atomic_write(folder / name, "wb") as file:
                file.write(model.proto)
        write_json(folder / "tokenizer.json", asdict(TokenizerInfo(FORMAT, self.type, self.joint, self.sampling)))

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Reads what `save` wrote.

        Raises:
            S2SError: something is missing, damaged or of a newer format.
        """
        path = folder / "tokenizer.json"
        values = read_json(path)
        try:
            info = TokenizerInfo(**values)
        except TypeError as error:
            raise S2SError(f"{path} does not describe a tokenizer of s2s (or one of a newer s2s)") from error
        if info.format != FORMAT:
            raise S2SError(f"{path} has format {info.format}, this s2s reads {FORMAT}: use the s2s that wrote it")
        names = _MODELS[bool(info.joint)]
        source = _read_model(folder / names[0])
        target = source if info.joint else _read_model(folder / names[1])
        return cls(source, target, str(info.type), float(info.sampling))


def train_tokenizer(config: TokenizerConfig, source: Iterable[str], target: Iterable[str]) -> Tokenizer:
    """Trains the models of a run on its training text, or takes the ones that `config.path` names.

    The result depends on the text and the configuration only. Where the text is too small for `vocab_size` the models
    get the largest size possible, where `vocab_size` is too small for the characters the smallest; the log says so.

    Raises:
        S2SError: there is no text, sampling is asked for a type that has none, or `path` has no fitting models.
    """
    if config.sampling and config.type not in ("bpe", "unigram"):
        raise S2SError(
            f"config: data.tokenizer.sampling={config.sampling} needs data.tokenizer.type=bpe or unigram: "
            f"{config.type} has one way to split a line; set data.tokenizer.sampling=0"
        )
    if config.path is not None:
        return _load_for(config, Path(config.path))
    if config.joint:
        model = Subwords(_train(config, _Lines(source, target), "joint"), "the new joint model")
        return Tokenizer(model, model, config.type, config.sampling)
    sides = [
        Subwords(_train(config, _Lines(texts), side), f"the new {side} model")
        for side, texts in (("source", source), ("target", target))
    ]
    return Tokenizer(sides[0], sides[1], config.type, config.sampling)


def check_coverage(tokenizer: Tokenizer, source: Sequence[str], target: Sequence[str]) -> None:
    """Refuses text in a language that the tokenizer never saw.

    Raises:
        S2SError: more than half of the characters of a side become <unk> or bytes.
    """
    for side, model, texts in (("source", tokenizer.source, source), ("target", tokenizer.target, target)):
        share = model.unknown_share(texts)
        if share > 0.5:
            raise S2SError(
                f"the tokenizer does not know {share:.0%} of the characters of the {side} side (they become <unk> or "
                f"bytes): check data.{side} and data.tokenizer.path, or raise data.tokenizer.vocab_size"
            )


class _Lines:
    """The lines that a model is trained on, as often as they are asked for."""

    def __init__(self, *sides: Iterable[str]) -> None:
        self._sides = [list(side) if isinstance(side, Iterator) else side for side in sides]

    @property
    def identity(self) -> tuple[bytes, ...] | None:
        """What they are, where they are columns of tables."""
        columns = [side.identity for side in self._sides if isinstance(side, TextColumn)]
        return tuple(columns) if len(columns) == len(self._sides) else None

    def __iter__(self) -> Iterator[str]:
        for side in self._sides:
            every = 1
            if isinstance(side, Sequence) and len(side) > TRAINING_LINES:
                every = -(-len(side) // TRAINING_LINES)
                log.info("the tokenizer is trained on one line out of %d of %d", every, len(side))
            for line in itertools.islice(side, 0, None, every):
                for start in range(0, len(line), LINE_CHARACTERS):
                    yield line[start : start + LINE_CHARACTERS]


def _train(config: TokenizerConfig, lines: _Lines, side: str) -> bytes:
    """The model that `config` asks for, or the nearest that the text allows; trained once for the same text."""
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


def _fit_nearest(config: TokenizerConfig, lines: _Lines, side: str) -> bytes:
    if not any(line.strip() for line in lines):
        raise S2SError(f"there is no {side} text to train a tokenizer on: all lines are empty")
    least = 4 + 256 * config.byte_fallback + 1  # special tokens, bytes, and one piece of text
    asked = max(config.vocab_size, least)
    try:
        return _fit(config, lines, config.type, asked)
    except (RuntimeError, UnicodeError) as error:
        # BPE and unigram need a piece for each character; a character model with room for all of them counts those.
        required = _size(_fit(config, lines, "char", 1_200_000)) if isinstance(error, RuntimeError) else 0
        if required <= asked:
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
        # Rare characters can be left to the bytes; without those, every character gets a piece.
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
    try:
        return Subwords(path.read_bytes(), str(path))
    except OSError as error:
        raise S2SError(f"cannot read {path}: {error.strerror}; a tokenizer is its models and tokenizer.json") from error


def _load_for(config: TokenizerConfig, path: Path) -> Tokenizer:
    if path.is_dir():
        found = Tokenizer.load(path)
    elif path.exists():
        model = _read_model(path)
        found = Tokenizer(model, model, config.type, config.sampling)
    else:
        raise S2SError(f"data.tokenizer.path={path} does not exist: name a tokenizer folder, a .model file, or null")
    if found.joint != config.joint:
        kind = "one joint model" if found.joint else "two models"
        raise S2SError(f"data.tokenizer.path={path} has {kind}: set data.tokenizer.joint={str(found.joint).lower()}")
    if found.type != config.type:
        raise S2SError(f"data.tokenizer.path={path} has type {found.type}: set data.tokenizer.type={found.type}")
    return Tokenizer(found.source, found.target, found.type, config.sampling)
