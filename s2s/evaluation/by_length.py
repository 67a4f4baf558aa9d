"""BLEU and chrF++ by sentence length, with bootstrap intervals.

A fixed-length context vector has to hold the whole source sentence, so translation quality is expected to drop on
longer sentences (Cho et al. 2014; Bahdanau et al. 2015). To measure this, the test sentences are grouped into bins by
*source* length, counted in a unit that no model owns (words; characters in languages written without spaces), and each
bin is scored as a corpus of its own. A second grouping uses the length of the *reference*, the text that has to be
decoded from the vector. Bins are fixed before scoring; every sentence is in exactly one.

Intervals are percentile bootstrap intervals (Efron; for BLEU, Koehn 2004): the n sentences of a bin are drawn n times
with replacement. They show how much a score depends on the choice of test sentences and do not include the
variance of training. For a model trained with several seeds the score is the mean over its trainings, and the interval
is that of the mean, with the same resamples for all trainings. `s2s.evaluation.paired` compares two systems.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from s2s.config import EvaluationConfig
from s2s.data.lengths import length_in_words, unit
from s2s.errors import S2SError
from s2s.evaluation.bleu import (
    METRICS,
    Metric,
    TranslationStatistics,
    bleu_metric,
    check_tokenizer,
    resamples,
    scorer_tokenizer,
    translation_statistics,
)
from s2s.evaluation.test_set import TestSet
from s2s.version import __version__

Indices = NDArray[np.intp]
Side = Literal["source", "reference"]  # the text whose length decides the bin
SIDES: tuple[Side, ...] = ("source", "reference")


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its interval; None where undefined."""

    value: float | None
    low: float | None
    high: float | None


class _Scores:
    """Base class of records with a field for each metric and for the ends of its interval."""

    _bleu_prefix: ClassVar[str] = "bleu_"  # of the fields with the ends of BLEU's interval

    def estimate(self, metric: Metric) -> Estimate:
        """Returns the score in this metric with its interval."""
        prefix = self._bleu_prefix if metric == "bleu" else f"{metric}_"
        return Estimate(*(getattr(self, name) for name in (metric, f"{prefix}low", f"{prefix}high")))


@dataclass(frozen=True)
class LengthBin(_Scores):
    """Scores of the sentences with `min` <= length <= `max`, None where undefined.

    An interval needs two sentences. `low` and `high` are BLEU's. `length_ratio` is the ratio of hypothesis to reference
    length in BLEU's tokens.
    """

    _bleu_prefix = ""

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
    length_ratio_low: float | None
    length_ratio_high: float | None

    @property
    def label(self) -> str:
        return bin_label(self.min, self.max)


@dataclass(frozen=True)
class LengthBins:
    """Bins of one side, their unit, and the longest training text of that side (None: unknown)."""

    bins: list[LengthBin]
    unit: str
    limit: int | None


@dataclass(frozen=True)
class Evaluation(_Scores):
    """Scores of a system on one test set: the contents of `evaluation/<split>.json`."""

    bleu: float | None
    bleu_low: float | None
    bleu_high: float | None
    chrf: float | None
    chrf_low: float | None
    chrf_high: float | None
    length_ratio: float | None
    length_ratio_low: float | None
    length_ratio_high: float | None
    sentences: int
    signatures: dict[str, str]  # sacrebleu's, by metric: bleu, chrf
    by_length: list[LengthBin]  # of the source
    by_reference_length: list[LengthBin]
    length_unit: str  # "words" or "characters" of the source
    reference_unit: str
    intervals: str  # description of the intervals
    training_limit: int | None  # longest source in training, same unit
    reference_limit: int | None
    test_set: dict[str, str]  # name, sha256 (`hash_of_test_set`)
    source_language: str
    target_language: str
    decoding: dict[str, Any]
    s2s_version: str

    def bins_by(self, side: Side) -> LengthBins:
        """Returns the scores by the length of one side."""
        if side == "source":
            return LengthBins(self.by_length, self.length_unit, self.training_limit)
        return LengthBins(self.by_reference_length, self.reference_unit, self.reference_limit)

    def to_json(self) -> dict[str, Any]:
        """Returns plain values for `s2s.files.write_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Evaluation:
        """Inverts `to_json`; ignores unknown keys.

        Raises:
            S2SError: a key is missing.
        """
        names, bin_names = ([field.name for field in dataclasses.fields(one)] for one in (cls, LengthBin))
        sides = ("by_length", "by_reference_length")
        missing = [name for name in names if name not in values]
        keys = {side: set(bin_names).intersection(*values.get(side, [])) for side in sides}
        missing += [f"{side}.{name}" for side in sides for name in bin_names if name not in keys[side]]
        if missing:
            raise S2SError(
                f"this is not an evaluation of s2s: {', '.join(missing)} missing; run scripts/evaluate.py again"
            )
        bins = {side: [LengthBin(**{name: row[name] for name in bin_names}) for row in values[side]] for side in sides}
        return cls(**{**{name: values[name] for name in names}, **bins})


def bin_label(low: int, high: int | None) -> str:
    """Returns the short name of a bin: `≤10`, `11–20`, `>60`; `all` for a single bin."""
    if high is None:
        return f">{low - 1}" if low else "all"
    return f"{low}–{high}" if low else f"≤{high}"


def bin_edges(bins: Sequence[int]) -> list[tuple[int, int | None]]:
    """Returns the inclusive (min, max) of every bin; the first starts at 0 (an empty source), the last has no end."""
    if any(b <= a for a, b in zip([0, *bins], bins, strict=False)):
        raise S2SError(f"evaluation.bins={list(bins)} must rise and start above 0")
    return list(zip([0, *(edge + 1 for edge in bins)], [*bins, None], strict=True))


def assign_bins(lengths: Sequence[int], bins: Sequence[int]) -> list[Indices]:
    """Returns the sentences of each bin as indices into `lengths`."""
    where = np.searchsorted(np.asarray(bins, dtype=np.int64), np.asarray(lengths, dtype=np.int64), side="left")
    return [np.flatnonzero(where == number) for number in range(len(bins) + 1)]


def bin_members(texts: Sequence[str], language: str, bins: Sequence[int]) -> list[tuple[int, int | None, Indices]]:
    """Returns (min, max, sentences) of each bin."""
    members = assign_bins([length_in_words(text, language) for text in texts], bins)
    return [(low, high, indices) for (low, high), indices in zip(bin_edges(bins), members, strict=True)]


def hash_of_test_set(sources: Sequence[str], references: Sequence[str]) -> str:
    """Returns the SHA-256 of the source lines followed by the reference lines, each ended by a line feed.

    For text files with such lines this is the output of `cat test.en test.de | sha256sum`.
    """
    return hash_of_lines([*sources, *references])


def hash_of_lines(lines: Sequence[str]) -> str:
    """Returns the SHA-256 of lines, each ended by a line feed."""
    text = "".join(f"{line}\n" for line in lines)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def evaluate_translations(
    test: TestSet,
    hypotheses: Sequence[str],
    *,
    training_limit: int | None,
    reference_limit: int | None = None,
    decoding: Mapping[str, Any],
    name: str = "test",
) -> Evaluation:
    """Returns the scores of the translations of a test set, as a whole and by length.

    Args:
        training_limit, reference_limit: longest source and target sentence in training, in the unit of the evaluation.
        name: of the test set.

    Raises:
        S2SError: the numbers of lines differ; the tokeniser does not fit the language or cannot be loaded.
    """
    check_line_counts(test, hypotheses)
    tokenize = tokenizer_of(test.target_language, test.config)
    statistics = translation_statistics(hypotheses, test.references, tokenize)
    return Evaluation(
        **_score_fields([statistics], test),
        sentences=len(test.sources),
        signatures={"bleu": statistics.bleu.signature, "chrf": statistics.chrf.signature},
        length_unit=unit(test.source_language),
        reference_unit=unit(test.target_language),
        intervals=describe_intervals("bootstrap over sentences", test.config),
        training_limit=training_limit,
        reference_limit=reference_limit,
        test_set={"name": name, "sha256": hash_of_test_set(test.sources, test.references)},
        source_language=test.source_language,
        target_language=test.target_language,
        decoding=dict(decoding),
        s2s_version=__version__,
    )


def mean_of_seeds(
    evaluations: Sequence[Evaluation], statistics: Sequence[TranslationStatistics], test: TestSet
) -> Evaluation:
    """Returns the mean evaluation of a model trained with several seeds, with intervals of the means.

    Args:
        evaluations: of each training.
        statistics: of the translations of each training, in the same order.
    """
    first = evaluations[0]
    return first if len(evaluations) == 1 else dataclasses.replace(first, **_score_fields(statistics, test))


def _score_fields(statistics: Sequence[TranslationStatistics], test: TestSet) -> dict[str, Any]:
    """The fields of `Evaluation` that hold scores: means over the trainings whose statistics these are."""
    whole = _score_bin(0, None, np.arange(len(test.sources)), statistics, test.config)
    texts = {
        "by_length": (test.sources, test.source_language),
        "by_reference_length": (test.references, test.target_language),
    }
    fields: dict[str, Any] = {
        name: [_score_bin(*members, statistics, test.config) for members in bin_members(*side, test.config.bins)]
        for name, side in texts.items()
    }
    for metric in METRICS:
        score = whole.estimate(metric)
        fields |= {metric: score.value, f"{metric}_low": score.low, f"{metric}_high": score.high}
    return fields


def _score_bin(
    low: int,
    high: int | None,
    sentences: Indices,
    statistics: Sequence[TranslationStatistics],
    config: EvaluationConfig,
) -> LengthBin:
    """The bin of these sentences: mean scores over the trainings, with the intervals of the means."""
    ends: list[tuple[float | None, float | None]] = [(None, None)] * 3
    if len(sentences) > 1:
        draws = resamples(len(sentences), config.bootstrap, config.seed)
        means = [mean([one.resampled_scores(draw, sentences) for one in statistics]) for draw in draws]
        ends = [percentiles(row, config.confidence) for row in np.concatenate(means, axis=1)]
    scores = zip(*(one.scores(sentences) for one in statistics), strict=True)
    bleu, chrf, ratio = (None if None in row else mean(row) for row in scores)
    return LengthBin(low, high, len(sentences), bleu, *ends[0], chrf, *ends[1], ratio, *ends[2])


def mean(values: Sequence[Any]) -> Any:
    """Returns the mean of numbers or arrays; a single value is returned bit for bit."""
    return sum(values[1:], values[0]) / len(values)


def percentiles(values: NDArray[np.float64], confidence: float) -> tuple[float | None, float | None]:
    """Returns the ends of the interval; (None, None) if any value is NaN."""
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return (None, None) if np.isnan(values).any() else (float(low), float(high))


def tokenizer_of(language: str, config: EvaluationConfig) -> str:
    """Returns the scorer's tokeniser; raises S2SError where it does not fit the language."""
    if config.tokenize is None:
        return scorer_tokenizer(language)
    check_tokenizer(config.tokenize, language, config.force)
    return config.tokenize


def check_scoring(config: EvaluationConfig, language: str) -> None:
    """Checks the scoring settings for a target language before there is a translation.

    Raises:
        S2SError: the bins do not rise; the tokeniser does not fit the language or cannot be loaded.
    """
    bin_edges(config.bins)
    bleu_metric(tokenizer_of(language, config))


def describe_intervals(kind: str, config: EvaluationConfig) -> str:
    """Returns the description of the intervals that is stored with the scores."""
    return f"{kind}, {100 * config.confidence:g} %, {config.bootstrap} resamples"


def check_line_counts(test: TestSet, *translations: Sequence[str]) -> None:
    """Raises S2SError unless every sentence has a source, a reference and a hypothesis in each translation."""
    for hypotheses in translations:
        if not len(test.sources) == len(hypotheses) == len(test.references):
            raise S2SError(
                f"{len(test.sources)} sources, {len(hypotheses)} hypotheses, {len(test.references)} references: "
                "an evaluation needs one of each for every sentence; translate the test set again"
            )
