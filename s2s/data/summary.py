"""Corpus statistics, logged before training: sizes, lengths, filtered pairs, overlap with training, tokenizer.

Three numbers guard against common mistakes. *Overlap*: validation or test pairs that are also in the training text
inflate scores. *Unknown*: a high share of subwords that are <unk> or bytes reveals a tokenizer of another language.
*Ceiling*: BLEU of references that were encoded and decoded again, scored as translations are: the highest score that
any model can reach with this tokenizer. It is 100 unless normalisation or <unk> changes the text, and 0 where no
reference has the four words of BLEU's longest n-gram.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2s.data.columns import line_values
from s2s.data.corpus import Corpus, Split
from s2s.data.languages import hardly_has_spaces, identify
from s2s.data.lengths import lengths_in_words, unit
from s2s.data.subwords import Subwords
from s2s.data.tokenizer import Tokenizer, check_coverage

SAMPLE = 100_000  # pairs of a split for subword statistics
COVERAGE_SAMPLE = 2_000  # pairs for `check_coverage`, and for a look at spaces
CHUNK = 4096
_ODD = 0x9E3779B97F4A7C15  # weight of the source in the digest of a pair, so that both sides are not exchangeable

Score = Callable[[Sequence[str], Sequence[str]], float | None]  # BLEU of hypotheses and references


@dataclass(frozen=True)
class Lengths:
    """Lengths of one side of a split, in words (characters in languages written without spaces)."""

    mean: float
    median: float
    p95: float
    max: int
    empty: int  # lines without text


@dataclass(frozen=True)
class SideSummary:
    """Statistics of one side of a split; those of subwords are of its first `SAMPLE` lines."""

    language: str
    unit: str
    lengths: Lengths
    subwords_per_word: float
    unknown: float  # share of subwords that are <unk> or bytes
    without_spaces: bool  # as the text looks


@dataclass(frozen=True)
class SplitSummary:
    """Statistics of a split.

    `ceiling`, BLEU of the references after encoding and decoding, and overlap are None for the training split, overlap
    also if that is missing, and the ceiling where nothing is scored.
    """

    pairs: int
    sampled: int
    dropped: dict[str, int]  # filtered pairs by reason; a key of corpus.json
    source: SideSummary
    target: SideSummary
    digest: str  # of the text; a run is resumed with the same text alone
    ceiling: float | None
    pairs_in_train: int | None
    sources_in_train: int | None

    @property
    def sides(self) -> tuple[SideSummary, ...]:
        """Source and target; one of them if the text is of one language."""
        return (self.source,) if self.target is self.source else (self.source, self.target)


@dataclass(frozen=True)
class Summary:
    """Statistics of a corpus and its tokenizer: `lines` for the log, `to_json` for files."""

    tokenizer: str
    joint: bool
    source_vocabulary: int
    target_vocabulary: int
    bleu_tokenizer: str | None
    splits: dict[str, SplitSummary]

    def to_json(self) -> dict[str, Any]:
        """The statistics as plain dictionaries."""
        return asdict(self)

    @property
    def monolingual(self) -> bool:
        """Whether the text is of one language."""
        return all(len(split.sides) == 1 for split in self.splits.values())

    def lines(self) -> list[str]:
        """An aligned table and remarks."""
        sizes = f"{self.source_vocabulary}" if self.joint else f"{self.source_vocabulary} + {self.target_vocabulary}"
        kind = "joint" if self.joint else "separate"
        numbers = ["mean", "median", "95 %", "max", "subwords/word", "unknown"]
        if self.bleu_tokenizer is not None:
            numbers.append("BLEU ceiling")
        rows = [["split", "lines" if self.monolingual else "pairs", "side", *numbers]]
        for name, split in self.splits.items():
            for side in split.sides:
                first = side is split.source
                ceiling = "" if side is not split.target or split.ceiling is None else f"{split.ceiling:.2f}"
                rows.append(
                    [
                        name if first else "",
                        str(split.pairs) if first else "",
                        f"{side.language} {side.unit}",
                        f"{side.lengths.mean:.1f}",
                        f"{side.lengths.median:g}",
                        f"{side.lengths.p95:.0f}",
                        str(side.lengths.max),
                        f"{side.subwords_per_word:.2f}",
                        f"{side.unknown:.2%}",
                        *([] if self.bleu_tokenizer is None else [ceiling]),
                    ]
                )
        return [f"tokenizer: {self.tokenizer}, {kind}, {sizes} subwords", *_aligned(rows), *self._remarks()]

    def _remarks(self) -> Iterator[str]:
        for name, split in self.splits.items():
            if split.dropped:
                yield f"{name}: filtered " + ", ".join(f"{count} {reason}" for reason, count in split.dropped.items())
            for side, what in zip(split.sides, ("source", "reference"), strict=False):
                if side.lengths.empty:
                    yield f"{name}: {side.lengths.empty} pairs have an empty {what}"
            if split.sources_in_train and self.monolingual:
                yield f"{name}: {split.sources_in_train} lines are also in train"
            elif split.sources_in_train:
                yield (
                    f"{name}: {split.sources_in_train} source lines are also in train, "
                    f"{split.pairs_in_train} of them with the same translation"
                )
            if split.sampled < split.pairs:
                what = "lines" if self.monolingual else "pairs"
                yield f"{name}: subword statistics are of the first {split.sampled} {what}"
        if any(split.ceiling is not None for split in self.splits.values()):
            yield "BLEU ceiling: BLEU of the references after encoding and decoding by the tokenizer"

    def warnings(self) -> Iterator[str]:
        """Sides whose language is unknown, or probably another one than the configuration says."""
        keys = {"source": "data.source_language", "target": "data.target_language"}
        for side, key in ({"source": "data.language"} if self.monolingual else keys).items():
            name = getattr(next(iter(self.splits.values())), side).language
            if not identify(name).script:
                yield (
                    f"{key}={name} is no language that s2s knows: its words are what spaces separate, in lengths and "
                    "BLEU; set the code of its language, such as de, zh or zho_Hans"
                )
            found = next((one for split in self.splits.values() if (one := getattr(split, side)).without_spaces), None)
            if found is not None and found.unit == "words":
                text = "text" if self.monolingual else f"{side} text"
                yield (
                    f"the {text} hardly has spaces, so a sentence counts as a word or two in lengths and BLEU; "
                    f"is {key}={found.language} right?"
                )


def summarise(
    corpus: Corpus,
    tokenizer: Tokenizer,
    bleu_tokenizer: str | None,
    bleu: Score | None,
    filtered: dict[str, int] | None = None,
) -> Summary:
    """Returns the statistics of all loaded splits.

    Args:
        corpus, tokenizer: those of a run.
        bleu_tokenizer, bleu: the name of BLEU's tokeniser for the target language, and the score with it; None: no
            ceiling.
        filtered: further filtered training pairs by reason, such as `TrainingData.filtered`.

    Raises:
        S2SError: the tokenizer does not know the language of a side.
    """
    first = next(iter(corpus.splits.values()))
    sample = first.source[:COVERAGE_SAMPLE]
    check_coverage(tokenizer, sample, sample if first.monolingual else first.target[:COVERAGE_SAMPLE])
    train = corpus.splits.get("train")
    in_train = None if train is None else [np.sort(digests) for digests in _digests(train)]

    def summarise_split(name: str, split: Split) -> SplitSummary:
        held_out = name != "train"
        overlap: list[int | None] = [None, None]
        if held_out and in_train is not None:
            overlap = [_count_members(*pair) for pair in zip(_digests(split), in_train, strict=True)]
        reasons = dict(corpus.filtered.get(name, {}))
        if not held_out:
            reasons.update(filtered or {})
        source = _side(split.source, corpus.source_language, tokenizer.source)
        target = source if split.monolingual else _side(split.target, corpus.target_language, tokenizer.target)
        return SplitSummary(
            pairs=len(split),
            sampled=min(len(split), SAMPLE),
            dropped=reasons,
            source=source,
            target=target,
            digest=digest_of(split),
            ceiling=_ceiling(split.target[:SAMPLE], tokenizer, bleu) if held_out and bleu is not None else None,
            pairs_in_train=overlap[0],
            sources_in_train=overlap[1],
        )

    return Summary(
        tokenizer=tokenizer.type,
        joint=tokenizer.joint,
        source_vocabulary=tokenizer.source_size,
        target_vocabulary=tokenizer.target_size,
        bleu_tokenizer=bleu_tokenizer,
        splits={name: summarise_split(name, split) for name, split in corpus.splits.items()},
    )


def _side(texts: Sequence[str], language: str, model: Subwords) -> SideSummary:
    words = lengths_in_words(texts, language)
    subwords = unknown = 0
    sample = min(len(texts), SAMPLE)
    for start in range(0, sample, CHUNK):
        for row in model.encode(texts[start : min(start + CHUNK, sample)]):
            subwords += len(row)
            unknown += int(model.is_foreign[row].sum()) if row else 0
    return SideSummary(
        language=language,
        unit=unit(language),
        lengths=Lengths(
            mean=float(words.mean()),
            median=float(np.median(words)),
            p95=float(np.percentile(words, 95)),
            max=int(words.max()),
            empty=int((words == 0).sum()),
        ),
        subwords_per_word=subwords / max(1, int(words[:sample].sum())),
        unknown=unknown / max(1, subwords),
        without_spaces=hardly_has_spaces(texts[:COVERAGE_SAMPLE]),
    )


def _ceiling(references: Sequence[str], tokenizer: Tokenizer, bleu: Score) -> float | None:
    texts = list(references)
    return bleu(tokenizer.decode_target(tokenizer.encode_target(texts)), texts)


def _digests(split: Split) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """(N,) digests of the pairs and (N,) of the sources, which replace their text in comparisons."""
    source, target = (line_values(texts, "digest", _digest).astype(np.uint64) for texts in (split.source, split.target))
    return source * np.uint64(_ODD) + target, source


def digest_of(split: Split) -> str:
    """A digest of the text of a split and its order."""
    return hashlib.blake2b(b"".join(part.tobytes() for part in _digests(split)), digest_size=16).hexdigest()


def _count_members(digests: NDArray[np.uint64], ordered: NDArray[np.uint64]) -> int:
    """Number of `digests` that are in `ordered`."""
    left, right = (np.searchsorted(ordered, digests, side) for side in ("left", "right"))
    return int((left < right).sum())


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little", signed=True)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    text = {0, 2}  # columns of words are left-aligned, numbers right-aligned

    def line(row: Sequence[str]) -> str:
        cells = enumerate(zip(row, widths, strict=True))
        return "  ".join(cell.ljust(w) if i in text else cell.rjust(w) for i, (cell, w) in cells).rstrip()

    return [line(row) for row in rows]
