"""Corpus BLEU and chrF++, scored by sacrebleu.

BLEU (Papineni et al. 2002) is the brevity penalty times the geometric mean of the precisions of 1- to 4-grams, counted
over the whole corpus. chrF++ (Popović 2017) is the F-score of character 1- to 6-grams and word 1- and 2-grams. Both are
functions of sufficient statistics: a few counts, summed over the sentences. `CorpusStatistics` extracts them once per
sentence. The score of a length bin or a bootstrap resample is then a function of a weighted sum, one matrix
multiplication instead of a second pass over the text, and equals sacrebleu's score of those sentences to the last bit.

Detokenised hypotheses are compared with raw references. BLEU's tokeniser follows the target language: one that splits
at spaces sees a Chinese sentence as a single word, so any error in it gives 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from s2s.data.languages import HAN, JAPANESE, WITHOUT_SPACES, identify, is_written_without_spaces
from s2s.errors import S2SError
from s2s.schema import nearest

_ANY_LANGUAGE = frozenset({"char", "spm", "flores101", "flores200", "spBLEU-1K"})
_SPLIT_AT_SPACES = frozenset({"13a", "intl", "none"})
_EXTRAS = {"ja-mecab": "ja", "ko-mecab": "ko"}

Metric = Literal["bleu", "chrf", "length_ratio"]  # length_ratio: hypothesis / reference length in BLEU's tokens
METRICS: tuple[Metric, ...] = get_args(Metric)

_RESAMPLES_AT_ONCE = 4_000_000  # numbers held in memory: resamples × sentences


@dataclass(frozen=True)
class Score:
    """Corpus score between 0 and 100 (None without sentences) with sacrebleu's signature."""

    value: float | None
    signature: str


def scorer_tokenizer(language: str) -> str:
    """Returns the name of sacrebleu's tokeniser for a target language.

    `zh`, `ja-mecab` and `ko-mecab` for Chinese, Japanese and Korean in their own scripts; `char` for other languages
    written without spaces (Thai, Lao, Khmer, Burmese …), for which sacrebleu has no word splitter; `13a`, its default,
    otherwise.
    """
    code, script = identify(language)
    if script in JAPANESE:
        return "ja-mecab"
    if code == "ko" and script in ("Kore", "Hang"):
        return "ko-mecab"
    return "zh" if script in HAN else "char" if script in WITHOUT_SPACES else "13a"


def check_tokenizer(tokenize: str, language: str, force: bool = False) -> None:
    """Rejects a tokeniser that gives meaningless BLEU for the language, unless `force`.

    `13a`, `intl` and `none` need spaces between words (`none` is for text that is already tokenised). `zh`, `ja-mecab`
    and `ko-mecab` need their own language. `char` and the sentencepiece ones (`flores200` …) fit every language.

    Raises:
        S2SError: the tokeniser is unknown or does not fit.
    """
    known = sorted(BLEU.TOKENIZERS)
    if tokenize not in known:
        raise S2SError(f"evaluation.tokenize={tokenize!r} is not one of: {nearest(tokenize, known)}")
    default = scorer_tokenizer(language)
    fits = tokenize == default or tokenize in _ANY_LANGUAGE
    if force or fits or (tokenize in _SPLIT_AT_SPACES and not is_written_without_spaces(language)):
        return
    why = "it is made for another language"
    if tokenize in _SPLIT_AT_SPACES:
        why = "that language has no spaces between words, so a sentence counts as one word and any error makes it 0"
    raise S2SError(
        f"evaluation.tokenize={tokenize} does not fit the target language {language}: {why}; use evaluation.tokenize="
        f"null for the right one ({default}), or evaluation.force=true if you mean it"
    )


class CorpusStatistics:
    """Sufficient statistics of one metric for each sentence of a corpus, and scores of selections of sentences.

    Attributes:
        metric: sacrebleu's.
        counts: (N, C), C counts of N sentences: whole numbers as float64, so their sums are exact in any order.
        signature: sacrebleu's signature of the metric.
    """

    def __init__(self, metric: BLEU | CHRF, hypotheses: Sequence[str], references: Sequence[str]) -> None:
        if len(hypotheses) != len(references):
            raise S2SError(f"{len(hypotheses)} hypotheses for {len(references)} references: each needs the other")
        # sacrebleu's private interface is used here and in `score` only. An empty corpus has no row, but a width.
        texts = (list(hypotheses), [list(references)]) if len(hypotheses) else ([""], [[""]])
        self.metric = metric
        self.counts = np.array(metric._extract_corpus_statistics(*texts), dtype=np.float64)[: len(hypotheses)]
        self.signature = str(metric.get_signature())

    def score(self, sentences: NDArray[np.intp] | None = None) -> float | None:
        """Returns the corpus score of these sentences (indices, with repetition) or of all; None without sentences."""
        counts = self.counts if sentences is None else self.counts[sentences]
        if not len(counts):
            return None
        value: float = self.metric._compute_score_from_stats([int(count) for count in counts.sum(0).tolist()]).score
        return value

    def scores(self, multiplicity: NDArray[np.float64], sentences: NDArray[np.intp]) -> NDArray[np.float64]:
        """Returns the scores (R,) of R resamples of n sentences; `multiplicity` (R, n) is how often each is drawn."""
        return self.scores_of_sums(multiplicity @ self.counts[sentences])

    def scores_of_sums(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the scores (R,) of R corpora whose counts sum to `sums` (R, C)."""
        return _bleu_of_sums(sums) if isinstance(self.metric, BLEU) else _chrf_of_sums(sums, self.metric)


# sacrebleu's formulas, vectorised, as resampling needs tens of thousands of scores. The order of operations is
# sacrebleu's, and log and exp are Python's (numpy's may differ in the last bit), so the scores are equal bit for bit.

_LOG_OF_ZERO = -9999999999.0


def _each(function: Callable[[float], float], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([function(value) for value in values.tolist()], dtype=np.float64)


def _bleu_of_sums(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """BLEU with exponential smoothing, n-grams up to 4: (R, 2 + 4 + 4) -> (R,).

    The columns are the lengths of hypothesis and reference, then the matching and the total n-grams of each order.
    """
    hypothesis, reference, correct, total = sums[:, 0], sums[:, 1], sums[:, 2:6], sums[:, 6:10]
    short = (hypothesis < reference) & (hypothesis > 0)
    brevity = np.where(hypothesis > 0, 1.0, np.where(reference > 0, 0.0, 1.0))
    brevity[short] = _each(math.exp, 1 - reference[short] / hypothesis[short])
    smooth, logs = np.ones(len(sums)), np.zeros(len(sums))
    present = np.ones(len(sums), dtype=bool)  # after an order without n-grams the precision is 0
    for order in range(correct.shape[1]):
        present &= total[:, order] > 0
        unmatched = present & (correct[:, order] == 0)
        smooth[unmatched] *= 2
        precision = np.zeros(len(sums))
        np.divide(100.0, smooth * total[:, order], out=precision, where=unmatched)
        np.divide(100.0 * correct[:, order], total[:, order], out=precision, where=present & ~unmatched)
        log = np.full(len(sums), _LOG_OF_ZERO)
        log[precision > 0] = _each(math.log, precision[precision > 0])
        logs += log
    scores = brevity * _each(math.exp, logs / correct.shape[1])
    return np.where(correct.any(1), scores, 0.0)


def _chrf_of_sums(sums: NDArray[np.float64], metric: CHRF) -> NDArray[np.float64]:
    """chrF++: F-score of precision and recall, averaged over the orders: (R, 3 · orders) -> (R,)."""
    factor = metric.beta**2
    precision, recall, orders = np.zeros(len(sums)), np.zeros(len(sums)), np.zeros(len(sums))
    for order in range(sums.shape[1] // 3):
        hypothesis, reference, matched = sums[:, 3 * order : 3 * order + 3].T
        both = (hypothesis > 0) & (reference > 0)
        precision[both] += matched[both] / hypothesis[both]
        recall[both] += matched[both] / reference[both]
        orders += both
    nonempty = orders > 0
    precision[nonempty] /= orders[nonempty]
    recall[nonempty] /= orders[nonempty]
    scores, positive = np.zeros(len(sums)), precision + recall > 0
    p, r = precision[positive], recall[positive]
    scores[positive] = 100 * ((1 + factor) * p * r / ((factor * p) + r))
    return scores


def bleu_statistics(hypotheses: Sequence[str], references: Sequence[str], tokenize: str) -> CorpusStatistics:
    """Returns BLEU's statistics; columns 0 and 1 are the hypothesis and reference lengths in BLEU's tokens.

    Raises:
        S2SError: the tokeniser cannot be loaded (an extra is not installed, a model cannot be downloaded).
    """
    return CorpusStatistics(bleu_metric(tokenize), hypotheses, references)


def chrf_statistics(hypotheses: Sequence[str], references: Sequence[str]) -> CorpusStatistics:
    """Returns chrF++'s statistics."""
    return CorpusStatistics(CHRF(word_order=2), hypotheses, references)


@dataclass(frozen=True)
class TranslationStatistics:
    """Statistics of both metrics for one translation of a test set."""

    bleu: CorpusStatistics
    chrf: CorpusStatistics

    def scores(self, sentences: NDArray[np.intp]) -> list[float | None]:
        """Returns BLEU, chrF++ and length ratio (`METRICS`) of these sentences as a corpus; None where undefined."""
        hypothesis, reference = self.bleu.counts[sentences, :2].sum(0).tolist()
        return [self.bleu.score(sentences), self.chrf.score(sentences), hypothesis / reference if reference else None]

    def resampled_scores(self, multiplicity: NDArray[np.float64], sentences: NDArray[np.intp]) -> NDArray[np.float64]:
        """Returns the same (3, R) for R resamples, `multiplicity` (R, n); NaN where undefined."""
        hypothesis, reference = (multiplicity @ self.bleu.counts[sentences, :2]).T
        ratio = np.divide(hypothesis, reference, out=np.full_like(hypothesis, np.nan), where=reference > 0)
        bleu, chrf = (metric.scores(multiplicity, sentences) for metric in (self.bleu, self.chrf))
        return np.stack([bleu, chrf, ratio])


def translation_statistics(
    hypotheses: Sequence[str], references: Sequence[str], tokenize: str
) -> TranslationStatistics:
    """Returns the statistics of both metrics; raises S2SError like `bleu_statistics`."""
    return TranslationStatistics(
        bleu_statistics(hypotheses, references, tokenize), chrf_statistics(hypotheses, references)
    )


def bleu(hypotheses: Sequence[str], references: Sequence[str], tokenize: str = "13a") -> Score:
    """Returns corpus BLEU with one reference per hypothesis."""
    statistics = bleu_statistics(hypotheses, references, tokenize)
    return Score(statistics.score(), statistics.signature)


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Returns corpus chrF++ (word order 2)."""
    statistics = chrf_statistics(hypotheses, references)
    return Score(statistics.score(), statistics.signature)


def resamples(sentences: int, count: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yields bootstrap resamples as chunks (R, sentences) of multiplicities, `count` rows in all.

    Each row is the result of `sentences` draws with replacement. The draws depend on the three arguments only, so two
    systems on the same sentences get the same resamples.
    """
    generator = np.random.default_rng(seed)
    at_once = max(1, _RESAMPLES_AT_ONCE // max(sentences, 1))
    for start in range(0, count, at_once):
        rows = min(at_once, count - start)
        yield np.stack(
            [np.bincount(generator.integers(sentences, size=sentences), minlength=sentences) for _ in range(rows)]
        ).astype(np.float64)


def bleu_metric(tokenize: str) -> BLEU:
    """Returns sacrebleu's BLEU with this tokeniser, without its warning about tokenised text.

    Raises:
        S2SError: like `bleu_statistics`.
    """
    try:
        return BLEU(tokenize=tokenize, force=True)
    except (RuntimeError, ImportError, OSError, SystemExit) as error:
        if tokenize in _EXTRAS:
            raise S2SError(
                f"evaluation.tokenize={tokenize} needs an extra that is not installed: "
                f"pip install 'sacrebleu[{_EXTRAS[tokenize]}]'; or take evaluation.tokenize=char"
            ) from error
        raise S2SError(
            f"sacrebleu's tokeniser {tokenize} cannot be loaded: {error}; evaluation.tokenize=char needs nothing"
        ) from error
