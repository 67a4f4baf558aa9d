from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest

from s2s.config import EvaluationConfig
from s2s.errors import S2SError
from s2s.evaluation.bleu import count
from s2s.evaluation.paired import Paired, Randomization, every_pair, paired
from tests.evaluation.test_by_length import CONFIG, corpus, damaged, evaluate


def compare(
    sources: list[str], a: list[str], b: list[str], references: list[str], config: EvaluationConfig = CONFIG
) -> Paired:
    return paired(sources, a, b, references, source_language="en", target_language="de", config=config, trials=200)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 25))
def test_identical_systems_differ_by_nothing(seed: int, count: int) -> None:
    sources, references = corpus(count, seed=seed)
    hypotheses = damaged(references, 0.5, seed)
    found = compare(sources, hypotheses, list(hypotheses), references, replace(CONFIG, bootstrap=20))
    assert found.p_value == 1
    for row in [*found.by_length, found.corpus]:
        assert row.difference == (0 if row.sentences else None)
        assert (row.low, row.high) == ((0, 0) if row.sentences > 1 else (None, None))


def test_a_better_system_is_ahead_in_every_bin_and_significantly() -> None:
    sources, references = corpus(150)
    good, bad = damaged(references, 0.1, 1), damaged(references, 0.7, 2)
    found = compare(sources, good, bad, references)
    alone = [evaluate(sources, system, references) for system in (good, bad)]
    for row, a, b in zip(found.by_length, alone[0].by_length, alone[1].by_length, strict=True):
        if row.sentences:
            assert row.difference == a.bleu - b.bleu  # type: ignore[operator]
            assert row.low is not None
            assert row.high is not None
            assert 0 < row.low < row.difference < row.high
    assert found.p_value is not None
    assert found.p_value < 0.02
    assert "ar:200" in found.test
    mirrored = compare(sources, bad, good, references)
    assert mirrored.corpus.difference == -found.corpus.difference  # type: ignore[operator]
    assert mirrored.corpus.low == pytest.approx(-found.corpus.high)  # type: ignore[operator]


def test_the_same_resamples_serve_both_systems() -> None:
    """Two systems that are wrong in the same hard sentences differ little, and the paired interval knows it."""
    sources, references = corpus(80)
    a = damaged(references, 0.4, 1)
    b = [line + " und" if line and number % 9 == 0 else line for number, line in enumerate(a)]
    found = compare(sources, a, b, references).corpus
    alone = evaluate(sources, a, references)
    width = alone.bleu_high - alone.bleu_low  # type: ignore[operator]
    assert found.high - found.low < width / 4  # type: ignore[operator]


def test_no_sentence_at_all() -> None:
    compared = compare([], [], [], [])
    assert (compared.corpus.difference, compared.p_value) == (None, None)


@pytest.mark.parametrize("sentences", [5, 60])
def test_p_values_are_sacrebleus_own(sentences: int) -> None:
    _, references = corpus(sentences)
    hypotheses = {
        "a": damaged(references, 0.30, 1),
        "b": damaged(references, 0.33, 2),
        "c": damaged(references, 0.6, 3),
    }
    counts = {name: [count(lines, references, "13a")] for name, lines in hypotheses.items()}
    found = every_pair(counts, CONFIG, Randomization(sentences, 300))
    assert set(found.found) == {(a, b) for a in "abc" for b in "abc" if a != b}
    metrics = {"BLEU": BLEU(force=True), "chrF++": CHRF(word_order=2)}
    for a, b in (("a", "b"), ("b", "a"), ("c", "a")):
        systems = [(b, hypotheses[b]), (a, hypotheses[a])]
        signatures, scores = PairedTest(systems, metrics, [references], test_type="ar", n_samples=300)()
        for key, name in (("bleu", "BLEU"), ("chrf", "chrF2++")):
            one = found.found[a, b][key]
            assert one.p_value == scores[name][1].p_value  # type: ignore[union-attr]
            assert one.difference == scores[name][1].score - scores[name][0].score  # type: ignore[union-attr]
            assert found.tests[key] == str(signatures[name])


def test_every_pair_has_the_interval_of_the_pair_alone() -> None:
    sources, references = corpus(40)
    a, b = damaged(references, 0.2, 1), damaged(references, 0.4, 2)
    counts = {name: [count(lines, references, "13a")] for name, lines in (("a", a), ("b", b))}
    found = every_pair(counts, CONFIG, Randomization(40, 50)).found
    alone = compare(sources, a, b, references).corpus
    one, other = found["a", "b"]["bleu"], found["b", "a"]["bleu"]
    assert (one.difference, one.low, one.high) == (alone.difference, alone.low, alone.high)
    assert (other.low, other.high) == pytest.approx((-alone.high, -alone.low))  # type: ignore[operator]
    assert one.p_value == other.p_value
    assert found["a", "b"]["chrf"].difference != one.difference


def test_several_trainings_are_compared_by_their_means() -> None:
    sources, references = corpus(40)
    a, b = ([damaged(references, rate, seed) for seed in (1, 2, 3)] for rate in (0.2, 0.5))
    counts = {name: [count(lines, references, "13a") for lines in each] for name, each in (("a", a), ("b", b))}
    one = every_pair(counts, CONFIG, Randomization(40, 200)).found["a", "b"]["bleu"]
    scores = [[evaluate(sources, lines, references).bleu for lines in each] for each in (a, b)]
    assert one.difference == pytest.approx(np.mean(scores[0]) - np.mean(scores[1]))  # type: ignore[arg-type]
    assert one.low is not None
    assert one.low < one.difference < one.high
    assert one.p_value == pytest.approx(1 / 201)
    same = every_pair({"a": counts["a"], "b": counts["a"]}, CONFIG, Randomization(40, 50)).found["a", "b"]["bleu"]
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)


def test_the_seed_of_sacrebleu_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    _, references = corpus(30)
    a, b = (count(damaged(references, 0.3, seed), references, "13a").bleu for seed in (1, 2))
    usual = Randomization(30, 100)
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    other = Randomization(30, 100)
    assert "seed:12345" in usual.signature(a)
    assert "seed:7" in other.signature(a)
    assert usual.p_value([a], [b]) != other.p_value([a], [b])


def test_a_seed_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "abc")
    with pytest.raises(S2SError, match="SACREBLEU_SEED=abc in the environment must be a whole number or None"):
        Randomization(3)
