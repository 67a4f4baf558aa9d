"""BLEU and chrF++ of a translated text, by sacrebleu itself.

BLEU (Papineni et al. 2002) is the brevity penalty times the geometric mean of the precisions of 1- to 4-grams, counted
over the whole corpus; chrF++ (Popović 2017) is the F-score of character 1- to 6-grams and word 1- and 2-grams. Both
are functions of *sums over sentences* of a few counts. So the counts are taken once (`CorpusCounts`), and the score of
any selection of sentences, a length bin or a bootstrap resample, is their weighted sum handed back to sacrebleu: a
matrix product instead of a second pass over the text, and equal to scoring those sentences anew, to the last bit.

Detokenised hypotheses are compared with raw references; the tokeniser inside BLEU follows the target language, because
a scorer that splits at spaces sees each Chinese sentence as one word and gives 0 for any error in it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from s2s.data.lengths import is_written_without_spaces
from s2s.errors import S2SError
from s2s.schema import nearest

_OWN_TOKENIZER = {"zh": "zh", "yue": "zh", "wuu": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}
_ANY_LANGUAGE = frozenset({"char", "spm", "flores101", "flores200", "spBLEU-1K"})
_SPACED_ONLY = frozenset({"13a", "intl", "none"})
_EXTRAS = {"ja-mecab": "ja", "ko-mecab": "ko"}

Metric = Literal["bleu", "chrf", "length_ratio"]  # the last: hypothesis over reference length, in the scorer's tokens
METRICS: tuple[Metric, ...] = get_args(Metric)

_RESAMPLES_AT_ONCE = 4_000_000  # numbers held in memory: resamples × sentences


@dataclass(frozen=True)
class Score:
    """A corpus score between 0 and 100, None where there is no sentence, with sacrebleu's signature."""

    value: float | None
    signature: str


def scorer_tokenizer(language: str) -> str:
    """The name of sacrebleu's tokeniser for a target language.

    `zh`, `ja-mecab` and `ko-mecab` for Chinese, Japanese and Korean; `char` for other languages without spaces between
    words (Thai, Lao, Khmer, Burmese …), where sacrebleu has no word splitter; `13a`, its default, otherwise.
    """
    return _OWN_TOKENIZER.get(_base_language(language), "char" if is_written_without_spaces(language) else "13a")


def check_tokenizer(tokenize: str, language: str, force: bool = False) -> None:
    """Refuses a tokeniser that gives meaningless BLEU for the language, unless `force`.

    `13a`, `intl` and `none` need spaces between words (`none` is right for text that is already tokenised); `zh`,
    `ja-mecab` and `ko-mecab` need their language; `char` and the sentencepiece ones (`flores200` …) fit all.

    Raises:
        S2SError: the tokeniser is unknown, or does not fit.
    """
    known = sorted(BLEU.TOKENIZERS)
    if tokenize not in known:
        raise S2SError(f"evaluation.tokenize={tokenize!r} is not one of: {nearest(tokenize, known)}")
    right = scorer_tokenizer(language)
    if force or tokenize == right or tokenize in _ANY_LANGUAGE:
        return
    if tokenize in _SPACED_ONLY:
        if not is_written_without_spaces(language):
            return
        why = "that language has no spaces between words, so a sentence counts as one word and any error makes it 0"
    else:
        why = "it is made for another language"
    advice = "use evaluation.tokenize=null for the right one" if right != "char" else "use evaluation.tokenize=char"
    raise S2SError(
        f"evaluation.tokenize={tokenize} does not fit the target language {language}: {why}; "
        f"{advice} ({right}), or evaluation.force=true if you mean it"
    )


def _base_language(language: str) -> str:
    """The primary part of a language code: `zh` of `zh-CN`, `zh_Hans` and `ZH`."""
    return re.split(r"[-_]", language.lower())[0]


class CorpusCounts:
    """What a metric counts in each sentence of a corpus, N sentences × C counts, and scores of selections of them.

    Attributes:
        metric: sacrebleu's.
        counts: (N, C) whole numbers as float64, whose sums are exact, so that the order of summation does not matter.
        signature: sacrebleu's signature of the metric.
    """

    def __init__(self, metric: BLEU | CHRF, hypotheses: Sequence[str], references: Sequence[str]) -> None:
        if len(hypotheses) != len(references):
            raise S2SError(f"{len(hypotheses)} hypotheses for {len(references)} references: each needs the other")
        self.metric = metric
        self.counts = _sentence_counts(metric, hypotheses, references)
        self.signature = str(metric.get_signature())

    def score(self, sentences: NDArray[np.intp] | None = None) -> float | None:
        """The corpus score of these sentences (indices; repeated ones count again), or of all; None for no sentence."""
        counts = self.counts if sentences is None else self.counts[sentences]
        return _score_of_sums(self.metric, counts.sum(0)) if len(counts) else None

    def scores(self, multiplicity: NDArray[np.float64], sentences: NDArray[np.intp]) -> NDArray[np.float64]:
        """Scores of R resamples of n selected sentences: `multiplicity` (R, n) says how often each occurs -> (R,)."""
        return self.scores_of_sums(multiplicity @ self.counts[sentences])

    def scores_of_sums(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of R corpora whose counts, summed over their sentences, are `sums` (R, C) -> (R,)."""
        return _bleu_of_sums(sums) if isinstance(self.metric, BLEU) else _chrf_of_sums(sums, self.metric)


def _sentence_counts(metric: BLEU | CHRF, hypotheses: Sequence[str], references: Sequence[str]) -> NDArray[np.float64]:
    """sacrebleu's sufficient statistics of each sentence (its private interface is used here and in the next only)."""
    if not hypotheses:
        width = len(metric._extract_corpus_statistics([""], [[""]])[0])
        return np.zeros((0, width))
    return np.array(metric._extract_corpus_statistics(list(hypotheses), [list(references)]), dtype=np.float64)


def _score_of_sums(metric: BLEU | CHRF, sums: NDArray[np.float64]) -> float:
    value: float = metric._compute_score_from_stats([int(count) for count in sums.tolist()]).score
    return value


# What sacrebleu computes from summed counts, for many sums at once: resampling needs tens of thousands of scores. The
# order of operations is sacrebleu's, and log and exp are Python's (numpy's may differ in the last bit), so that the
# scores equal sacrebleu's bit for bit.

_LOG_OF_ZERO = -9999999999.0


def _each(function: Callable[[float], float], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([function(value) for value in values.tolist()], dtype=np.float64)


def _bleu_of_sums(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """BLEU with exponential smoothing, n-grams up to 4: (R, 2 + 4 + 4) -> (R,).

    The columns are lengths of system and reference, then correct and all n-grams of each order.
    """
    hypothesis, reference, correct, total = sums[:, 0], sums[:, 1], sums[:, 2:6], sums[:, 6:10]
    short = (hypothesis < reference) & (hypothesis > 0)
    brevity = np.where(hypothesis > 0, 1.0, np.where(reference > 0, 0.0, 1.0))
    brevity[short] = _each(math.exp, 1 - reference[short] / hypothesis[short])
    smooth, logs = np.ones(len(sums)), np.zeros(len(sums))
    reached = np.ones(len(sums), dtype=bool)  # orders after one without n-grams have precision 0
    for order in range(correct.shape[1]):
        reached &= total[:, order] > 0
        missed = reached & (correct[:, order] == 0)
        smooth[missed] *= 2
        precision = np.zeros(len(sums))
        np.divide(100.0, smooth * total[:, order], out=precision, where=missed)
        np.divide(100.0 * correct[:, order], total[:, order], out=precision, where=reached & ~missed)
        log = np.full(len(sums), _LOG_OF_ZERO)
        log[precision > 0] = _each(math.log, precision[precision > 0])
        logs += log
    scores = brevity * _each(math.exp, logs / correct.shape[1])
    return np.where(correct.any(1), scores, 0.0)


def _chrf_of_sums(sums: NDArray[np.float64], metric: CHRF) -> NDArray[np.float64]:
    """chrF++, the F-score of precision and recall averaged over orders: (R, 3 · orders) -> (R,)."""
    factor = metric.beta**2
    precision, recall, orders = np.zeros(len(sums)), np.zeros(len(sums)), np.zeros(len(sums))
    for order in range(sums.shape[1] // 3):
        hypothesis, reference, matched = sums[:, 3 * order : 3 * order + 3].T
        both = (hypothesis > 0) & (reference > 0)
        precision[both] += matched[both] / hypothesis[both]
        recall[both] += matched[both] / reference[both]
        orders += both
    known = orders > 0
    precision[known] /= orders[known]
    recall[known] /= orders[known]
    scores, found = np.zeros(len(sums)), precision + recall > 0
    p, r = precision[found], recall[found]
    scores[found] = 100 * ((1 + factor) * p * r / ((factor * p) + r))
    return scores


def bleu_counts(hypotheses: Sequence[str], references: Sequence[str], tokenize: str) -> CorpusCounts:
    """BLEU's counts; columns 0 and 1 are the lengths of hypothesis and reference in the scorer's tokens.

    Raises:
        S2SError: the tokeniser cannot be made (an extra is not installed, a model cannot be downloaded).
    """
    return CorpusCounts(bleu_metric(tokenize), hypotheses, references)


def chrf_counts(hypotheses: Sequence[str], references: Sequence[str]) -> CorpusCounts:
    """chrF++'s counts."""
    return CorpusCounts(CHRF(word_order=2), hypotheses, references)


@dataclass(frozen=True)
class Counted:
    """One translation of a test set as both metrics count it."""

    bleu: CorpusCounts
    chrf: CorpusCounts

    def scores(self, sentences: NDArray[np.intp]) -> list[float | None]:
        """BLEU, chrF++ and length ratio (`METRICS`) of these sentences as a corpus; None where there is nothing."""
        written, wanted = self.bleu.counts[sentences, :2].sum(0).tolist()
        return [self.bleu.score(sentences), self.chrf.score(sentences), written / wanted if wanted else None]

    def resampled(self, multiplicity: NDArray[np.float64], sentences: NDArray[np.intp]) -> NDArray[np.float64]:
        """The same of R resamples, `multiplicity` (R, n) -> (3, R); not a number where there is nothing."""
        written, wanted = (multiplicity @ self.bleu.counts[sentences, :2]).T
        ratio = np.divide(written, wanted, out=np.full_like(written, np.nan), where=wanted > 0)
        bleu, chrf = (one.scores(multiplicity, sentences) for one in (self.bleu, self.chrf))
        return np.stack([bleu, chrf, ratio])


def count(hypotheses: Sequence[str], references: Sequence[str], tokenize: str) -> Counted:
    """The counts of both metrics; S2SError as `bleu_counts`."""
    return Counted(bleu_counts(hypotheses, references, tokenize), chrf_counts(hypotheses, references))


def bleu(hypotheses: Sequence[str], references: Sequence[str], tokenize: str = "13a") -> Score:
    """Corpus BLEU, one reference for each hypothesis."""
    counts = bleu_counts(hypotheses, references, tokenize)
    return Score(counts.score(), counts.signature)


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Corpus chrF++ (word order 2)."""
    counts = chrf_counts(hypotheses, references)
    return Score(counts.score(), counts.signature)


def resamples(sentences: int, count: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Bootstrap: `count` times, `sentences` draws with replacement; chunks (R, sentences) of how often each was drawn.

    The draws depend on the three numbers only, so that two systems on the same sentences meet the same resamples.
    """
    generator = np.random.default_rng(seed)
    at_once = max(1, _RESAMPLES_AT_ONCE // max(sentences, 1))
    for start in range(0, count, at_once):
        rows = min(at_once, count - start)
        yield np.stack(
            [np.bincount(generator.integers(sentences, size=sentences), minlength=sentences) for _ in range(rows)]
        ).astype(np.float64)


def bleu_metric(tokenize: str) -> BLEU:
    """sacrebleu's BLEU with this tokeniser, quiet about text that looks tokenised.

    Raises:
        S2SError: as `bleu_counts`.
    """
    try:
        return BLEU(tokenize=tokenize, force=True)
    except (RuntimeError, ImportError, OSError, SystemExit) as error:
        if tokenize in _EXTRAS:
            install = f"pip install 'sacrebleu[{_EXTRAS[tokenize]}]'"
            raise S2SError(
                f"evaluation.tokenize={tokenize} needs an extra that is not installed: {install}; "
                "or take evaluation.tokenize=char"
            ) from error
        raise S2SError(
            f"sacrebleu's tokeniser {tokenize} cannot be loaded: {error}; evaluation.tokenize=char needs nothing"
        ) from error
