from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from s2s.errors import S2SError
from s2s.evaluation.bleu import METRICS, translation_statistics
from s2s.evaluation.by_length import (
    Evaluation,
    assign_bins,
    bin_edges,
    bin_label,
    evaluate_translations,
    hash_of_test_set,
    mean_of_seeds,
)
from s2s.evaluation.test_set import TestSet
from s2s.version import __version__
from tests.evaluation.corpora import CONFIG, corpus, corrupted


def evaluate(test: TestSet, hypotheses: Sequence[str]) -> Evaluation:
    decoding = {"strategy": "beam", "beam": 5}
    return evaluate_translations(test, hypotheses, training_limit=20, reference_limit=21, decoding=decoding)


@given(
    st.lists(st.integers(0, 90), max_size=40),
    st.lists(st.integers(1, 80), unique=True, max_size=6).map(sorted),
)
def test_every_sentence_is_in_exactly_one_bin_and_it_fits(lengths: list[int], bins: list[int]) -> None:
    members = assign_bins(lengths, bins)
    assert sorted(index for bin_ in members for index in bin_.tolist()) == list(range(len(lengths)))
    edges = bin_edges(bins)
    assert len(edges) == len(members) == len(bins) + 1
    for (low, high), indices in zip(edges, members, strict=True):
        assert all(low <= lengths[index] and (high is None or lengths[index] <= high) for index in indices)


def test_bins_are_sacrebleu_on_their_sentences() -> None:
    test = corpus(60)
    hypotheses = corrupted(test, 0.3, 1)
    result = evaluate(test, hypotheses)
    assert sum(row.sentences for row in result.by_length) == result.sentences == 60
    for row in result.by_length:
        inside = [i for i, s in enumerate(test.sources) if row.min <= len(s.split()) <= (row.max or 10**9)]
        assert row.sentences == len(inside)
        if inside:
            references = [[test.references[i] for i in inside]]
            score = sacrebleu.corpus_bleu([hypotheses[i] for i in inside], references, force=True)
            assert row.bleu == score.score
            assert row.length_ratio == score.sys_len / score.ref_len
            assert 0 <= row.low <= row.bleu <= row.high <= 100  # type: ignore[operator]
            assert row.chrf_low < row.chrf < row.chrf_high  # type: ignore[operator]


def test_one_single_bin_is_the_corpus() -> None:
    test = corpus(40, config=replace(CONFIG, bins=[]))
    hypotheses = corrupted(test, 0.3, 1)
    result = evaluate(test, hypotheses)
    (row,) = result.by_length
    assert (row.min, row.max) == (0, None)
    assert all(row.estimate(metric) == result.estimate(metric) for metric in METRICS)
    assert row.bleu == sacrebleu.corpus_bleu(hypotheses, [test.references], force=True).score


def test_an_empty_bin_has_no_score_and_one_sentence_no_interval() -> None:
    references = ["x y", "x z", "u v w x y z a"]
    result = evaluate(TestSet(["a b", "a b", "a b c d e f g"], references, "en", "de", CONFIG), references)
    two, one, none, last = result.by_length
    assert (two.sentences, one.sentences, none.sentences, last.sentences) == (2, 1, 0, 0)
    for empty in (none, last):
        assert [empty.bleu, empty.low, empty.high, empty.chrf, empty.chrf_low, empty.length_ratio] == [None] * 6
    assert two.low is not None
    assert one.bleu == pytest.approx(100)
    assert one.low is None


def test_no_sentence_at_all() -> None:
    result = evaluate(corpus(0), [])
    assert (result.bleu, result.bleu_low, result.chrf, result.sentences) == (None, None, None, 0)


def test_an_empty_source_and_empty_hypotheses_are_counted() -> None:
    first = evaluate(TestSet(["", "a b"], ["x", "y z"], "en", "de", CONFIG), ["", ""]).by_length[0]
    assert (first.sentences, first.bleu, first.length_ratio) == (2, 0, 0)


def test_the_stored_evaluation_describes_its_scores() -> None:
    test = corpus(12)
    result = evaluate(test, test.references)
    stored = result.to_json()
    assert Evaluation.from_json(json.loads(json.dumps(stored))) == result
    both = "".join(f"{line}\n" for line in [*test.sources, *test.references]).encode()
    assert stored["test_set"] == {"name": "test", "sha256": hashlib.sha256(both).hexdigest()}
    assert stored["signatures"]["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert "nw:2" in stored["signatures"]["chrf"]
    assert stored["intervals"] == "bootstrap over sentences, 95 %, 200 resamples"
    assert (stored["length_unit"], stored["training_limit"], stored["s2s_version"]) == ("words", 20, __version__)
    assert stored["decoding"] == {"strategy": "beam", "beam": 5}
    assert [(row["min"], row["max"]) for row in stored["by_length"]] == [(0, 5), (6, 10), (11, 20), (21, None)]


def test_other_json_is_no_evaluation() -> None:
    with pytest.raises(S2SError, match="by_length"):
        Evaluation.from_json({"bleu": 3.0})


def test_the_hash_covers_both_sides() -> None:
    hashes = {hash_of_test_set(["a"], ["b"]), hash_of_test_set(["a"], ["c"]), hash_of_test_set(["c"], ["b"])}
    assert len(hashes) == 3


def test_chinese_is_counted_and_split_in_characters() -> None:
    chinese, english = ["我们明天去北京。"] * 2, ["We go to Beijing tomorrow."] * 2
    result = evaluate(TestSet(english, chinese, "en", "zh", CONFIG), chinese)
    assert "tok:zh" in result.signatures["bleu"]
    back = evaluate(TestSet(chinese, english, "zh", "en", CONFIG), english)
    assert back.length_unit == "characters"
    assert [row.sentences for row in back.by_length] == [0, 2, 0, 0]  # 8 characters


def test_a_wrong_tokenizer_stops_the_evaluation() -> None:
    test = TestSet(["a"], ["好"], "en", "zh", replace(CONFIG, tokenize="13a"))
    with pytest.raises(S2SError, match="13a does not fit"):
        evaluate(test, ["好"])
    forced = evaluate(replace(test, config=replace(test.config, force=True)), ["好"])
    assert "tok:13a" in forced.signatures["bleu"]


def test_unequal_texts_and_falling_bins_are_errors() -> None:
    with pytest.raises(S2SError, match="2 sources, 1 hypotheses, 2 references"):
        evaluate(corpus(2), ["a"])
    with pytest.raises(S2SError, match="must rise"):
        bin_edges([10, 10])


def test_the_seed_alone_decides_the_intervals() -> None:
    test = corpus(40)
    hypotheses = corrupted(test, 0.3, 1)
    first = evaluate(test, hypotheses)
    assert evaluate(test, hypotheses) == first
    other = evaluate(replace(test, config=replace(CONFIG, seed=6)), hypotheses)
    assert other.bleu == first.bleu
    assert other.bleu_low != first.bleu_low
    wide = evaluate(replace(test, config=replace(CONFIG, confidence=0.5)), hypotheses)
    assert first.bleu_low < wide.bleu_low < wide.bleu_high < first.bleu_high  # type: ignore[operator]


def test_labels() -> None:
    assert [bin_label(*ends) for ends in ((0, 10), (11, 20), (61, None), (0, None))] == ["≤10", "11–20", ">60", "all"]


def test_bins_by_reference_are_those_of_the_references() -> None:
    test = corpus(40)
    hypotheses = corrupted(test, 0.3, 1)
    result = evaluate(replace(test, sources=[f"{line} und {line}" for line in test.sources]), hypotheses)
    as_source = evaluate(replace(test, sources=test.references), hypotheses)
    assert result.by_reference_length == as_source.by_length == as_source.by_reference_length
    assert result.by_length != result.by_reference_length
    assert result.bins_by("reference").bins == result.by_reference_length
    assert result.bins_by("source").bins == result.by_length


def test_each_side_has_its_own_unit_and_limit() -> None:
    test = TestSet(["one two three"], ["一二三四五六"], "en", "zh", CONFIG)
    result = evaluate_translations(test, ["一二三四"], training_limit=7, reference_limit=9, decoding={})
    source, reference = result.bins_by("source"), result.bins_by("reference")
    assert (source.unit, source.limit) == ("words", 7)
    assert (reference.unit, reference.limit) == ("characters", 9)
    assert [row.sentences for row in source.bins] == [1, 0, 0, 0]
    assert [row.sentences for row in reference.bins] == [0, 1, 0, 0]


def test_the_length_ratio_has_an_interval() -> None:
    test, draw = corpus(60), random.Random(3)
    shorter = [line if draw.random() < 0.5 else " ".join(line.split()[:-1]) for line in test.references]
    result = evaluate(test, shorter)
    assert result.length_ratio_low < result.length_ratio < result.length_ratio_high  # type: ignore[operator]
    row = evaluate(test, test.references).estimate("length_ratio")
    assert (row.value, row.low, row.high) == (1, 1, 1)
    undefined = evaluate(TestSet(["a", "b"], ["", ""], "en", "de", CONFIG), ["x", "y"]).estimate("length_ratio")
    assert (undefined.value, undefined.low, undefined.high) == (None, None, None)


def test_several_trainings_are_one_by_their_means() -> None:
    test = corpus(60)
    outputs = [corrupted(test, rate, seed) for seed, rate in enumerate((0.2, 0.3, 0.5))]
    each = [evaluate(test, lines) for lines in outputs]
    statistics = [translation_statistics(lines, test.references, "13a") for lines in outputs]
    result = mean_of_seeds(each, statistics, test)
    assert mean_of_seeds(each[:1], statistics[:1], test) is each[0]
    for side in ("source", "reference"):
        for number, row in enumerate(result.bins_by(side).bins):
            for metric in METRICS:
                alone = [one.bins_by(side).bins[number].estimate(metric) for one in each]
                score = row.estimate(metric)
                if not row.sentences:
                    assert score.value is None
                    continue
                assert score.value == pytest.approx(sum(one.value for one in alone) / 3)  # type: ignore[misc]
                assert score.low <= score.value <= score.high  # type: ignore[operator]
    # The resamples are the same for all trainings, so three equal trainings have the interval of one.
    same = mean_of_seeds([each[0]] * 3, [statistics[0]] * 3, test)
    assert (same.bleu_low, same.bleu_high) == pytest.approx((each[0].bleu_low, each[0].bleu_high))
    assert result.test_set == each[0].test_set
