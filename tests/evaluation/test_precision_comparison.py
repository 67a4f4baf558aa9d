"""Quality loss at lower precision: differences to the first, with sign and interval of the paired bootstrap."""

from __future__ import annotations

import pytest
import sacrebleu

from s2s.evaluation.bleu import bleu_statistics
from s2s.evaluation.paired import whole_difference
from s2s.evaluation.precision_comparison import compare_precisions
from s2s.evaluation.report.table import precisions_table
from tests.evaluation.corpora import corpus, corrupted


def test_each_precision_is_compared_with_the_first() -> None:
    test = corpus(40)
    lines = {"fp32": corrupted(test, 0.1, 1), "bf16": corrupted(test, 0.1, 1), "int8": list(test.references)}
    lines["bf16"][0] = "other"
    translations = {name: (lines[name], seconds) for name, seconds in (("fp32", 2.0), ("bf16", 4.0), ("int8", 1.0))}
    decoding = {"beam": 5, "precision": "fp32"}
    result = compare_precisions(translations, test, decoding=decoding, machine={"threads": 1})
    for score in result.scores:
        own = lines[score.precision]
        both = ([bleu_statistics(one, test.references, "13a")] for one in (own, lines["fp32"]))
        whole = whole_difference(*both, test.config)
        assert score.bleu == pytest.approx(sacrebleu.corpus_bleu(own, [test.references]).score)
        assert (score.difference, score.low, score.high) == (whole.difference, whole.low, whole.high)
        assert score.changed == sum(a != b for a, b in zip(own, lines["fp32"], strict=True)) / 40
    first, second, third = result.scores
    assert first.difference == first.low == first.high == first.changed == 0
    assert (first.sentences_per_s, second.sentences_per_s, third.sentences_per_s) == (20, 10, 40)
    assert second.changed == 1 / 40
    assert second.difference < 0 < third.low  # type: ignore[operator]
    assert result.decoding == {"beam": 5}

    heading, _, exact, half, integers, *notes = precisions_table(result).splitlines()
    assert heading.split() == ["precision", "BLEU", "−", "fp32", "changed", "lines", "sentences/s"]
    assert exact.split() == ["fp32", f"{first.bleu:.2f}", "20.0"]
    assert half.split()[2:3] == [f"{second.difference:+.2f}"]
    assert half.split()[-3:] == ["2.5", "%", "10.0"]
    assert integers.split()[:2] == ["int8", "100.00"]
    assert notes == [f"[low, high]: {result.intervals}", f"bleu: {result.signature}"]


def test_no_sentence_has_no_score() -> None:
    result = compare_precisions({"fp32": ([], 1.0), "int8": ([], 1.0)}, corpus(0), decoding={}, machine={})
    assert [(score.bleu, score.difference, score.changed) for score in result.scores] == [(None, None, None)] * 2
    assert "n/a" in precisions_table(result)
