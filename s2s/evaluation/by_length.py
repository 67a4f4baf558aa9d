"""How good a translation is on short and on long sentences: BLEU and chrF++ by source length, with intervals.

A fixed-size encoding has to squeeze the whole source into one vector, so it is expected to lose its grip as sentences
grow (Cho et al. 2014; Bahdanau et al. 2015). To see that, the test sentences are put into bins by the length of the
*source*, counted in a unit that no model owns (words; characters for languages without spaces), and each bin is scored
as a corpus of its own. Bins are fixed before anything is scored; every sentence is in exactly one.

Intervals are percentile bootstrap intervals (Efron; for BLEU, Koehn 2004): the sentences of a bin are drawn with
replacement, as many as there are, a thousand times. They say how much the choice of test sentences matters; they do not
contain the variance of training. Two systems are compared on the *same* resamples, which removes the difficulty of the
sentences from their difference, and by sacrebleu's own paired test on the whole set.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.significance import PairedTest, Result

from s2s.config import EvaluationConfig
from s2s.data.lengths import length_in_words, unit
from s2s.errors import S2SError
from s2s.evaluation.bleu import (
    CorpusCounts,
    bleu_counts,
    bleu_metric,
    check_tokenizer,
    chrf_counts,
    resamples,
    scorer_tokenizer,
)
from s2s.version import __version__

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class LengthBin:
    """Scores of the sentences with `min` <= source length <= `max`; None where there is nothing to compute them from.

    An interval needs two sentences. `length_ratio` is hypothesis over reference length, in the scorer's tokens.
    """

    min: int
    max: int | None  # None: no upper end
    sentences: int
    bleu: float | None
    low: float | None
    high: float | None
    chrf: float | None
    chrf_low: float | None
    chrf_high: float | None
    length_ratio: float | None

    @property
    def label(self) -> str:
        return bin_label(self.min, self.max)


@dataclass(frozen=True)
class Evaluation:
    """A system's scores on one test set: the contents of `evaluation/<split>.json`."""

    bleu: float | None
    bleu_low: float | None
    bleu_high: float | None
    chrf: float | None
    chrf_low: float | None
    chrf_high: float | None
    length_ratio: float | None
    sentences: int
    signatures: dict[str, str]  # sacrebleu's, by metric: bleu, chrf
    by_length: list[LengthBin]
    length_unit: str  # "words" or "characters" of the source
    intervals: str  # what the intervals are
    training_limit: int | None  # longest source or target seen in training, same unit
    test_set: dict[str, str]  # name, sha256 (`hash_of_test_set`)
    source_language: str
    target_language: str
    decoding: dict[str, Any]
    s2s_version: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for `s2s.files.write_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Evaluation:
        """The inverse of `to_json`; keys it does not know are left out.

        Raises:
            S2SError: a key is missing.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        missing = [name for name in names if name not in values]
        if missing:
            raise S2SError(
                f"this is not an evaluation of s2s: {', '.join(missing)} missing; run scripts/evaluate.py again"
            )
        bin_names = [field.name for field in dataclasses.fields(LengthBin)]
        bins = [LengthBin(**{name: item[name] for name in bin_names}) for item in values["by_length"]]
        return cls(**{**{name: values[name] for name in names}, "by_length": bins})


@dataclass(frozen=True)
class Difference:
    """BLEU of system A minus BLEU of system B on the same sentences, with the paired bootstrap interval."""

    min: int
    max: int | None
    sentences: int
    a: float | None
    b: float | None
    difference: float | None
    low: float | None
    high: float | None

    @property
    def label(self) -> str:
        return bin_label(self.min, self.max)


@dataclass(frozen=True)
class Paired:
    """Two systems compared on one test set."""

    corpus: Difference
    by_length: list[Difference]
    p_value: float | None  # of the corpus difference; None for no sentence, 1 where it is exactly 0
    test: str  # what made the p-value: sacrebleu's signature
    intervals: str

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def bin_label(low: int, high: int | None) -> str:
    """Short name of a bin: `≤10`, `11–20`, `>60`; `all` for the only one."""
    if high is None:
        return f">{low - 1}" if low else "all"
    return f"{low}–{high}" if low else f"≤{high}"


def bin_edges(bins: Sequence[int]) -> list[tuple[int, int | None]]:
    """Inclusive (min, max) of every bin; the first starts at 0, for a source can be empty, the last has no end."""
    if any(b <= a for a, b in zip([0, *bins], bins, strict=False)):
        raise S2SError(f"evaluation.bins={list(bins)} must rise and start above 0")
    return list(zip([0, *(edge + 1 for edge in bins)], [*bins, None], strict=True))


def assign(lengths: Sequence[int], bins: Sequence[int]) -> list[Indices]:
    """The sentences of each bin, as indices into `lengths`."""
    where = np.searchsorted(np.asarray(bins, dtype=np.int64), np.asarray(lengths, dtype=np.int64), side="left")
    return [np.flatnonzero(where == number) for number in range(len(bins) + 1)]


def hash_of_test_set(sources: Sequence[str], references: Sequence[str]) -> str:
    """SHA-256 of the source lines followed by the reference lines, each ended by a line feed.

    For text that is stored that way it is what `cat test.en test.de | sha256sum` prints.
    """
    text = "".join(f"{line}\n" for side in (sources, references) for line in side)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def report(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    source_language: str,
    target_language: str,
    config: EvaluationConfig,
    training_limit: int | None,
    decoding: Mapping[str, Any],
    test_set: str = "test",
) -> Evaluation:
    """Scores of a test set as a whole and by source length.

    Raises:
        S2SError: the three texts differ in length; the tokeniser does not fit the language or cannot be loaded.
    """
    _same_length(sources, hypotheses, references)
    tokenize = _tokenizer(target_language, config)
    bleu, chrf = bleu_counts(hypotheses, references, tokenize), chrf_counts(hypotheses, references)
    lengths = [length_in_words(text, source_language) for text in sources]
    scored = [
        _score_bin(low, high, chosen, bleu, chrf, config)
        for (low, high), chosen in zip(bin_edges(config.bins), assign(lengths, config.bins), strict=True)
    ]
    whole = _score_bin(0, None, np.arange(len(sources)), bleu, chrf, config)
    return Evaluation(
        bleu=whole.bleu,
        bleu_low=whole.low,
        bleu_high=whole.high,
        chrf=whole.chrf,
        chrf_low=whole.chrf_low,
        chrf_high=whole.chrf_high,
        length_ratio=whole.length_ratio,
        sentences=len(sources),
        signatures={"bleu": bleu.signature, "chrf": chrf.signature},
        by_length=scored,
        length_unit=unit(source_language),
        intervals=_intervals("bootstrap over sentences", config),
        training_limit=training_limit,
        test_set={"name": test_set, "sha256": hash_of_test_set(sources, references)},
        source_language=source_language,
        target_language=target_language,
        decoding=dict(decoding),
        s2s_version=__version__,
    )


def paired(
    sources: Sequence[str],
    hypotheses_a: Sequence[str],
    hypotheses_b: Sequence[str],
    references: Sequence[str],
    *,
    source_language: str,
    target_language: str,
    config: EvaluationConfig,
    trials: int = 10_000,
) -> Paired:
    """BLEU of A minus BLEU of B, by source length and on the whole set.

    Args:
        trials: of sacrebleu's paired approximate randomisation, which makes the p-value.

    Raises:
        S2SError: as `report`.
    """
    _same_length(sources, hypotheses_a, references)
    _same_length(sources, hypotheses_b, references)
    tokenize = _tokenizer(target_language, config)
    a, b = bleu_counts(hypotheses_a, references, tokenize), bleu_counts(hypotheses_b, references, tokenize)
    lengths = [length_in_words(text, source_language) for text in sources]
    by_length = [
        _difference(low, high, chosen, a, b, config)
        for (low, high), chosen in zip(bin_edges(config.bins), assign(lengths, config.bins), strict=True)
    ]
    corpus = _difference(0, None, np.arange(len(sources)), a, b, config)
    p_value, test = _significance(hypotheses_a, hypotheses_b, references, tokenize, corpus.difference, trials)
    return Paired(corpus, by_length, p_value, test, _intervals("paired bootstrap over sentences", config))


def difference(
    hypotheses_a: Sequence[str],
    hypotheses_b: Sequence[str],
    references: Sequence[str],
    *,
    target_language: str,
    config: EvaluationConfig,
) -> tuple[Difference, str, str]:
    """BLEU of A minus BLEU of B on the whole set, sacrebleu's signature, and what the interval is.

    Raises:
        S2SError: as `report`.
    """
    _same_length(hypotheses_b, hypotheses_a, references)
    tokenize = _tokenizer(target_language, config)
    a, b = bleu_counts(hypotheses_a, references, tokenize), bleu_counts(hypotheses_b, references, tokenize)
    whole = _difference(0, None, np.arange(len(references)), a, b, config)
    return whole, a.signature, _intervals("paired bootstrap over sentences", config)


def _significance(
    hypotheses_a: Sequence[str],
    hypotheses_b: Sequence[str],
    references: Sequence[str],
    tokenize: str,
    difference: float | None,
    trials: int,
) -> tuple[float | None, str]:
    if difference is None:
        return None, "no sentences"
    systems: list[tuple[str, Sequence[str]]] = [("b", list(hypotheses_b)), ("a", list(hypotheses_a))]
    test = PairedTest(systems, {"BLEU": bleu_metric(tokenize)}, [list(references)], test_type="ar", n_samples=trials)
    signatures, scores = test()
    result = scores["BLEU"][1]
    assert isinstance(result, Result)
    # sacrebleu counts the trials that *exceed* the difference: none do when the systems are the same, and its p is tiny
    return (1.0 if difference == 0 else result.p_value), str(signatures["BLEU"])


def _score_bin(
    low: int, high: int | None, chosen: Indices, bleu: CorpusCounts, chrf: CorpusCounts, config: EvaluationConfig
) -> LengthBin:
    count = len(chosen)
    bleu_low = bleu_high = chrf_low = chrf_high = None
    if count > 1:
        drawn = [
            (bleu.scores(d, chosen), chrf.scores(d, chosen)) for d in resamples(count, config.bootstrap, config.seed)
        ]
        bleu_low, bleu_high = _percentiles([scores[0] for scores in drawn], config.confidence)
        chrf_low, chrf_high = _percentiles([scores[1] for scores in drawn], config.confidence)
    written, wanted = bleu.counts[chosen, :2].sum(0).tolist()
    return LengthBin(
        min=low,
        max=high,
        sentences=count,
        bleu=bleu.score(chosen),
        low=bleu_low,
        high=bleu_high,
        chrf=chrf.score(chosen),
        chrf_low=chrf_low,
        chrf_high=chrf_high,
        length_ratio=written / wanted if wanted else None,
    )


def _difference(
    low: int, high: int | None, chosen: Indices, a: CorpusCounts, b: CorpusCounts, config: EvaluationConfig
) -> Difference:
    of_a, of_b = a.score(chosen), b.score(chosen)
    gap = None if of_a is None or of_b is None else of_a - of_b
    below = above = None
    if len(chosen) > 1:
        draws = resamples(len(chosen), config.bootstrap, config.seed)
        below, above = _percentiles([a.scores(d, chosen) - b.scores(d, chosen) for d in draws], config.confidence)
    return Difference(low, high, len(chosen), of_a, of_b, gap, below, above)


def _percentiles(chunks: Sequence[NDArray[np.float64]], confidence: float) -> tuple[float, float]:
    tail = 50 * (1 - confidence)
    low, high = np.percentile(np.concatenate(chunks), [tail, 100 - tail])
    return float(low), float(high)


def _tokenizer(language: str, config: EvaluationConfig) -> str:
    if config.tokenize is None:
        return scorer_tokenizer(language)
    check_tokenizer(config.tokenize, language, config.force)
    return config.tokenize


def _intervals(kind: str, config: EvaluationConfig) -> str:
    return f"{kind}, {100 * config.confidence:g} %, {config.bootstrap} resamples"


def _same_length(sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if not len(sources) == len(hypotheses) == len(references):
        raise S2SError(
            f"{len(sources)} sources, {len(hypotheses)} hypotheses, {len(references)} references: "
            "an evaluation needs one of each for every sentence; translate the test set again"
        )
