"""How good a translation is on short and on long sentences: BLEU and chrF++ by length, with intervals.

A fixed-size encoding has to squeeze the whole source into one vector, so it is expected to lose its grip as sentences
grow (Cho et al. 2014; Bahdanau et al. 2015). To see that, the test sentences are put into bins by the length of the
*source*, counted in a unit that no model owns (words; characters for languages without spaces), and each bin is scored
as a corpus of its own. The same is done by the length of the *reference*, the text that has to come out of the vector
again. Bins are fixed before anything is scored; every sentence is in exactly one.

Intervals are percentile bootstrap intervals (Efron; for BLEU, Koehn 2004): the sentences of a bin are drawn with
replacement, as many as there are, a thousand times. They say how much the choice of test sentences matters; they do not
contain the variance of training. Of one model trained several times, the score is the mean over its trainings, and the
interval that of the mean, all trainings on the same resamples. `s2s.evaluation.paired` compares two systems.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from s2s.config import EvaluationConfig
from s2s.data.lengths import length_in_words, unit
from s2s.errors import S2SError
from s2s.evaluation.bleu import (
    METRICS,
    Counted,
    Metric,
    bleu_metric,
    check_tokenizer,
    count,
    resamples,
    scorer_tokenizer,
)
from s2s.version import __version__

Indices = NDArray[np.intp]
Side = Literal["source", "reference"]  # whose length decides the bin
SIDES: tuple[Side, ...] = ("source", "reference")


@dataclass(frozen=True)
class Measured:
    """A value with the ends of its interval; None where there is nothing to compute it from."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class LengthBin:
    """Scores of the sentences with `min` <= length <= `max`; None where there is nothing to compute them from.

    An interval needs two sentences. `low` and `high` are BLEU's; `length_ratio` is hypothesis over reference length, in
    the scorer's tokens.
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
    length_ratio_low: float | None
    length_ratio_high: float | None

    @property
    def label(self) -> str:
        return bin_label(self.min, self.max)

    def of(self, metric: Metric) -> Measured:
        """One of the scores."""
        if metric == "bleu":
            return Measured(self.bleu, self.low, self.high)
        if metric == "chrf":
            return Measured(self.chrf, self.chrf_low, self.chrf_high)
        return Measured(self.length_ratio, self.length_ratio_low, self.length_ratio_high)


@dataclass(frozen=True)
class ByLength:
    """The bins of one side: their unit, and the longest text of that side seen in training (None: not known)."""

    bins: list[LengthBin]
    unit: str
    limit: int | None


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
    length_ratio_low: float | None
    length_ratio_high: float | None
    sentences: int
    signatures: dict[str, str]  # sacrebleu's, by metric: bleu, chrf
    by_length: list[LengthBin]  # of the source
    by_reference_length: list[LengthBin]
    length_unit: str  # "words" or "characters" of the source
    reference_unit: str
    intervals: str  # what the intervals are
    training_limit: int | None  # longest source seen in training, same unit
    reference_limit: int | None
    test_set: dict[str, str]  # name, sha256 (`hash_of_test_set`)
    source_language: str
    target_language: str
    decoding: dict[str, Any]
    s2s_version: str

    def of(self, metric: Metric) -> Measured:
        """One of the scores of the whole set."""
        if metric == "bleu":
            return Measured(self.bleu, self.bleu_low, self.bleu_high)
        if metric == "chrf":
            return Measured(self.chrf, self.chrf_low, self.chrf_high)
        return Measured(self.length_ratio, self.length_ratio_low, self.length_ratio_high)

    def along(self, side: Side) -> ByLength:
        """The scores by the length of one side."""
        if side == "source":
            return ByLength(self.by_length, self.length_unit, self.training_limit)
        return ByLength(self.by_reference_length, self.reference_unit, self.reference_limit)

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
        bin_names = [field.name for field in dataclasses.fields(LengthBin)]
        sides = ("by_length", "by_reference_length")
        missing = [name for name in names if name not in values]
        missing += [
            f"{side}.{name}"
            for side in sides
            for name in bin_names
            if any(name not in row for row in values.get(side, []))
        ]
        if missing:
            raise S2SError(
                f"this is not an evaluation of s2s: {', '.join(missing)} missing; run scripts/evaluate.py again"
            )
        bins = {side: [LengthBin(**{name: row[name] for name in bin_names}) for row in values[side]] for side in sides}
        return cls(**{**{name: values[name] for name in names}, **bins})


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


def members_of_bins(
    texts: Sequence[str], language: str, bins: Sequence[int]
) -> list[tuple[tuple[int, int | None], Indices]]:
    """The edges of each bin with the sentences in it."""
    lengths = [length_in_words(text, language) for text in texts]
    return list(zip(bin_edges(bins), assign(lengths, bins), strict=True))


def hash_of_test_set(sources: Sequence[str], references: Sequence[str]) -> str:
    """SHA-256 of the source lines followed by the reference lines, each ended by a line feed.

    For text that is stored that way it is what `cat test.en test.de | sha256sum` prints.
    """
    return hash_of_lines([*sources, *references])


def hash_of_lines(lines: Sequence[str]) -> str:
    """SHA-256 of lines, each ended by a line feed."""
    text = "".join(f"{line}\n" for line in lines)
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
    reference_limit: int | None = None,
    decoding: Mapping[str, Any],
    test_set: str = "test",
) -> Evaluation:
    """Scores of a test set as a whole and by length.

    Raises:
        S2SError: the three texts differ in length; the tokeniser does not fit the language or cannot be loaded.
    """
    check_lengths(sources, hypotheses, references)
    counted = count(hypotheses, references, tokenizer_of(target_language, config))
    texts = {"source": (sources, source_language), "reference": (references, target_language)}
    return Evaluation(
        **_scores([counted], texts, config),
        sentences=len(sources),
        signatures={"bleu": counted.bleu.signature, "chrf": counted.chrf.signature},
        length_unit=unit(source_language),
        reference_unit=unit(target_language),
        intervals=describe_intervals("bootstrap over sentences", config),
        training_limit=training_limit,
        reference_limit=reference_limit,
        test_set={"name": test_set, "sha256": hash_of_test_set(sources, references)},
        source_language=source_language,
        target_language=target_language,
        decoding=dict(decoding),
        s2s_version=__version__,
    )


def mean_of_seeds(
    evaluations: Sequence[Evaluation],
    members: Sequence[Counted],
    sources: Sequence[str],
    references: Sequence[str],
    config: EvaluationConfig,
) -> Evaluation:
    """One evaluation of a model that was trained several times: means over the trainings, and intervals of the means.

    Args:
        evaluations: of each training.
        members: the counts of their translations, in the same order.
    """
    first = evaluations[0]
    if len(evaluations) == 1:
        return first
    texts = {"source": (sources, first.source_language), "reference": (references, first.target_language)}
    return dataclasses.replace(first, **_scores(members, texts, config))


def _scores(
    members: Sequence[Counted], texts: Mapping[str, tuple[Sequence[str], str]], config: EvaluationConfig
) -> dict[str, Any]:
    """The fields of an `Evaluation` that hold scores; `texts`: text and language of each side."""
    whole = score_bin(0, None, np.arange(len(texts["source"][0])), members, config)
    by_side = {
        side: [
            score_bin(low, high, chosen, members, config)
            for (low, high), chosen in members_of_bins(*texts[side], config.bins)
        ]
        for side in SIDES
    }
    found: dict[str, Any] = {"by_length": by_side["source"], "by_reference_length": by_side["reference"]}
    for metric in METRICS:
        one = whole.of(metric)
        found |= {metric: one.value, f"{metric}_low": one.low, f"{metric}_high": one.high}
    return found


def score_bin(
    low: int, high: int | None, chosen: Indices, members: Sequence[Counted], config: EvaluationConfig
) -> LengthBin:
    """The bin of these sentences: scores are means over `members`, and intervals those of the means."""
    ends: list[tuple[float | None, float | None]] = [(None, None)] * 3
    if len(chosen) > 1:
        draws = resamples(len(chosen), config.bootstrap, config.seed)
        means = [mean([one.resampled(drawn, chosen) for one in members]) for drawn in draws]
        ends = [percentiles(row, config.confidence) for row in np.concatenate(means, axis=1)]
    scored = zip(*(one.scores(chosen) for one in members), strict=True)
    bleu, chrf, ratio = (None if None in row else mean(row) for row in scored)
    return LengthBin(low, high, len(chosen), bleu, *ends[0], chrf, *ends[1], ratio, *ends[2])


def mean(values: Sequence[Any]) -> Any:
    """Of numbers or of arrays; of one it is the same, to the last bit."""
    return sum(values[1:], values[0]) / len(values)


def percentiles(values: NDArray[np.float64], confidence: float) -> tuple[float | None, float | None]:
    """The ends of the interval; (None, None) where a value is not a number."""
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return (None, None) if np.isnan(values).any() else (float(low), float(high))


def tokenizer_of(language: str, config: EvaluationConfig) -> str:
    """The scorer's tokeniser; S2SError where it does not fit the language."""
    if config.tokenize is None:
        return scorer_tokenizer(language)
    check_tokenizer(config.tokenize, language, config.force)
    return config.tokenize


def check_scoring(config: EvaluationConfig, language: str) -> None:
    """Everything about the scores of a target language that can be wrong before there is a translation.

    Raises:
        S2SError: the bins do not rise; the tokeniser does not fit the language or cannot be loaded.
    """
    bin_edges(config.bins)
    bleu_metric(tokenizer_of(language, config))


def describe_intervals(kind: str, config: EvaluationConfig) -> str:
    """What the intervals are, for whoever reads the numbers."""
    return f"{kind}, {100 * config.confidence:g} %, {config.bootstrap} resamples"


def check_lengths(sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Raises S2SError where there is not one of each for every sentence."""
    if not len(sources) == len(hypotheses) == len(references):
        raise S2SError(
            f"{len(sources)} sources, {len(hypotheses)} hypotheses, {len(references)} references: "
            "an evaluation needs one of each for every sentence; translate the test set again"
        )
