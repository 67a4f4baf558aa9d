from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest

from s2s.errors import S2SError
from s2s.evaluation.bleu import TranslationStatistics, translation_statistics
from s2s.evaluation.paired import (
    ApproximateRandomization,
    BaselineDifference,
    Difference,
    differences_by_length,
    pairwise_differences,
    whole_difference,
)
from s2s.evaluation.test_set import TestSet
from tests.evaluation.corpora import CONFIG, corpus, corrupted
from tests.evaluation.test_by_length import evaluate


def statistics(test: TestSet, *outputs: list[str]) -> list[TranslationStatistics]:
    return [translation_statistics(lines, test.references, "13a") for lines in outputs]


def bleu_differences(test: TestSet, a: list[str], b: list[str]) -> tuple[Difference, list[Difference]]:
    """Returns BLEU of `a` minus that of `b` on the whole set and in each bin."""
    systems = [[one.bleu] for one in statistics(test, a, b)]
    return whole_difference(*systems, test.config), differences_by_length(*systems, test)


def p_value(test: TestSet, a: list[str], b: list[str]) -> float | None:
    pairs = differences({"a": statistics(test, a), "b": statistics(test, b)}, len(test.sources), 200)
    return pairs["a", "b"]["bleu"].p_value


def differences(
    systems: dict[str, list[TranslationStatistics]], sentences: int, trials: int
) -> dict[tuple[str, str], dict[str, BaselineDifference]]:
    return pairwise_differences(systems, CONFIG, ApproximateRandomization(sentences, trials)).differences


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 25))
def test_identical_systems_differ_by_nothing(seed: int, count: int) -> None:
    test = corpus(count, seed, replace(CONFIG, bootstrap=20))
    hypotheses = corrupted(test, 0.5, seed)
    whole, by_length = bleu_differences(test, hypotheses, list(hypotheses))
    assert p_value(test, hypotheses, list(hypotheses)) == 1
    for row in [*by_length, whole]:
        assert row.difference == (0 if row.sentences else None)
        assert (row.low, row.high) == ((0, 0) if row.sentences > 1 else (None, None))


def test_a_better_system_is_ahead_in_every_bin_and_significantly() -> None:
    test = corpus(150)
    good, bad = corrupted(test, 0.1, 1), corrupted(test, 0.7, 2)
    whole, by_length = bleu_differences(test, good, bad)
    alone = [evaluate(test, system) for system in (good, bad)]
    for row, a, b in zip(by_length, alone[0].by_length, alone[1].by_length, strict=True):
        if row.sentences:
            assert row.difference == a.bleu - b.bleu  # type: ignore[operator]
            assert 0 < row.low < row.difference < row.high  # type: ignore[operator]
    assert (p_value(test, good, bad) or 1) < 0.02
    mirrored, _ = bleu_differences(test, bad, good)
    assert mirrored.difference == -whole.difference  # type: ignore[operator]
    assert mirrored.low == pytest.approx(-whole.high)  # type: ignore[operator]


def test_both_systems_have_the_same_resamples() -> None:
    """Two systems with errors in the same hard sentences differ little, and the paired interval shows it."""
    test = corpus(80)
    a = corrupted(test, 0.4, 1)
    b = [line + " und" if line and number % 9 == 0 else line for number, line in enumerate(a)]
    (paired, _), alone = bleu_differences(test, a, b), evaluate(test, a)
    width = alone.bleu_high - alone.bleu_low  # type: ignore[operator]
    assert paired.high - paired.low < width / 4  # type: ignore[operator]


def test_no_sentence_at_all() -> None:
    whole, by_length = bleu_differences(corpus(0), [], [])
    assert {row.difference for row in (whole, *by_length)} == {None}
    assert p_value(corpus(0), [], []) is None


@pytest.mark.parametrize("sentences", [5, 60])
def test_p_values_are_sacrebleus_own(sentences: int) -> None:
    test = corpus(sentences)
    hypotheses = {
        name: corrupted(test, rate, seed) for name, rate, seed in (("a", 0.3, 1), ("b", 0.33, 2), ("c", 0.6, 3))
    }
    systems = {name: statistics(test, lines) for name, lines in hypotheses.items()}
    result = pairwise_differences(systems, CONFIG, ApproximateRandomization(sentences, 300))
    assert set(result.differences) == {(a, b) for a in "abc" for b in "abc" if a != b}
    metrics = {"BLEU": BLEU(force=True), "chrF++": CHRF(word_order=2)}
    for a, b in (("a", "b"), ("b", "a"), ("c", "a")):
        outputs = [(b, hypotheses[b]), (a, hypotheses[a])]
        signatures, scores = PairedTest(outputs, metrics, [test.references], test_type="ar", n_samples=300)()
        for key, name in (("bleu", "BLEU"), ("chrf", "chrF2++")):
            one = result.differences[a, b][key]
            assert one.p_value == scores[name][1].p_value  # type: ignore[union-attr]
            assert one.difference == scores[name][1].score - scores[name][0].score  # type: ignore[union-attr]
            assert result.tests[key] == str(signatures[name])


def test_every_pair_has_the_interval_of_the_pair_alone() -> None:
    test = corpus(40)
    a, b = corrupted(test, 0.2, 1), corrupted(test, 0.4, 2)
    pairs = differences({"a": statistics(test, a), "b": statistics(test, b)}, 40, 50)
    alone, _ = bleu_differences(test, a, b)
    one, other = pairs["a", "b"]["bleu"], pairs["b", "a"]["bleu"]
    assert (one.difference, one.low, one.high) == (alone.difference, alone.low, alone.high)
    assert (other.low, other.high) == pytest.approx((-alone.high, -alone.low))  # type: ignore[operator]
    assert one.p_value == other.p_value
    assert pairs["a", "b"]["chrf"].difference != one.difference


def test_several_trainings_are_compared_by_their_means() -> None:
    test = corpus(40)
    a, b = ([corrupted(test, rate, seed) for seed in (1, 2, 3)] for rate in (0.2, 0.5))
    systems = {"a": statistics(test, *a), "b": statistics(test, *b)}
    one = differences(systems, 40, 200)["a", "b"]["bleu"]
    scores = [[evaluate(test, lines).bleu for lines in each] for each in (a, b)]
    assert one.difference == pytest.approx(np.mean(scores[0]) - np.mean(scores[1]))  # type: ignore[arg-type]
    assert one.low < one.difference < one.high  # type: ignore[operator]
    assert one.p_value == pytest.approx(1 / 201)
    same = differences({"a": systems["a"], "b": systems["a"]}, 40, 50)["a", "b"]["bleu"]
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_the_seed_of_sacrebleu_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    test = corpus(30)
    a, b = (one.bleu for one in statistics(test, corrupted(test, 0.3, 1), corrupted(test, 0.3, 2)))
    default = ApproximateRandomization(30, 100)
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    other = ApproximateRandomization(30, 100)
    assert "ar:100" in default.signature(a)
    assert "seed:12345" in default.signature(a)
    assert "seed:7" in other.signature(a)
    assert default.p_value([a], [b]) != other.p_value([a], [b])


def test_an_invalid_seed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "abc")
    with pytest.raises(S2SError, match="SACREBLEU_SEED=abc in the environment must be a whole number or None"):
        ApproximateRandomization(3)
