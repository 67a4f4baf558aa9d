from __future__ import annotations

import pytest

from s2s.evaluation.paired import paired
from s2s.evaluation.report.prose import (
    Comparison,
    Scored,
    between_seeds,
    difference_in,
    duration,
    ends,
    family_pairs,
    headline,
    mebibytes,
    millions,
    quantity,
    rows_to_show,
    signed,
    threads,
)
from s2s.evaluation.report.results import TestSet


def scored(*systems) -> list[Scored]:
    return [Scored(one.name, one.family, one.trainings[0].evaluation) for one in systems]


def comparison(a, b, test_set: TestSet) -> Comparison:
    found = paired(
        test_set.sources, a.trainings[0].hypotheses, b.trainings[0].hypotheses, test_set.references,
        source_language="en", target_language="de",
        config=test_set.config, trials=10,
    )  # fmt: skip
    return Comparison(a.name, b.name, found)


def test_the_headline_says_what_the_numbers_say(make_system, test_set: TestSet) -> None:
    fixed, attention = make_system("lstm", "fixed", 0.06), make_system("lstm_attention", "attention", 0.002)
    compared = comparison(attention, fixed, test_set)
    first, second, third = headline(scored(fixed, attention), [compared], 0.95)
    long = difference_in(compared.paired, attention.trainings[0].evaluation.by_length[1])  # the limit is 10 words
    assert first == (
        f"On sentences of 6–10 words, lstm on a fixed-size encoding reaches {long.b:.1f} BLEU and lstm_attention "
        f"{long.a:.1f}: {long.difference:.1f} ahead (95 % paired interval {long.low:.1f} to {long.high:.1f})."
    )
    assert second.startswith("On those of up to 5 words, lstm on a fixed-size encoding reaches ")
    rows = fixed.trainings[0].evaluation.by_length
    assert third.startswith("From up to 5 words to 6–10 words, BLEU changes by ")
    assert f"{signed(rows[1].bleu - rows[0].bleu)} with a fixed-size encoding" in third


def test_a_system_that_is_behind_is_called_behind(make_system, test_set: TestSet) -> None:
    good, bad = make_system("lstm", "fixed", 0.002), make_system("lstm_attention", "attention", 0.06)
    compared = comparison(bad, good, test_set)
    first = headline(scored(good, bad), [compared], 0.95)[0]
    row = difference_in(compared.paired, good.trainings[0].evaluation.by_length[1])
    assert f"{-row.difference:.1f} behind (95 % paired interval {-row.high:.1f} to {-row.low:.1f})" in first


def test_a_difference_that_may_be_chance_is_not_called_ahead(make_system, test_set: TestSet) -> None:
    a = make_system("lstm", "fixed", 0.03)
    b = make_system("lstm_attention", "attention", 0.03, hypotheses=a.trainings[0].hypotheses)
    first = headline(scored(a, b), [comparison(b, a, test_set)], 0.95)[0]
    assert "a difference of 0.0 that the choice of test sentences can explain" in first
    assert "ahead" not in first


def test_one_system_alone_has_a_headline(make_system) -> None:
    one = make_system("rnn", "fixed", 0.03)
    first, second = headline(scored(one), [], 0.95)
    assert first.startswith(f"rnn reaches {one.trainings[0].evaluation.bleu:.1f} BLEU")
    assert second.startswith("From up to 5 words to 6–10 words, BLEU changes by −")


def test_what_seeds_change_is_said_for_several_only() -> None:
    assert between_seeds([1], {"lstm": 0.0}) == ""
    several = between_seeds([1, 2, 5], {"lstm": 2.04, "gru": 0.46, "rnn": 1.0})
    assert several.startswith("Each model was trained with the seeds 1, 2 and 5, and its scores are means")
    assert several.endswith("BLEU of the whole test set differs by 0.5 (gru) to 2.0 (lstm).")
    assert between_seeds([1, 2], {"lstm": 2.0}).endswith("differs by 2.0.")


def test_several_seeds_are_said_in_the_first_sentence(make_system, test_set: TestSet) -> None:
    fixed, attention = make_system("lstm", "fixed", 0.06), make_system("lstm_attention", "attention", 0.002)
    first, second, _ = headline(scored(fixed, attention), [comparison(attention, fixed, test_set)], 0.95, 3)
    assert " (means of 3 trainings): " in first
    assert "means" not in second


def test_pairs_share_their_cell_and_the_strongest_fixed_system_comes_first(make_system) -> None:
    weak, strong = make_system("rnn", "fixed", 0.08), make_system("gru", "fixed", 0.02)
    partners = make_system("rnn_attention", "attention", 0.001), make_system("gru_attention", "attention", 0.002)
    assert family_pairs(scored(weak, strong, *partners)) == [("gru_attention", "gru"), ("rnn_attention", "rnn")]
    other = make_system("mine", "attention", 0.004)
    assert family_pairs(scored(weak, strong, other)) == [("mine", "gru")]
    assert family_pairs(scored(weak, strong)) == []
    # The best fixed system is compared also where only a weaker one has a partner of its cell.
    assert family_pairs(scored(weak, strong, partners[0], other)) == [
        ("rnn_attention", "gru"),
        ("rnn_attention", "rnn"),
    ]


def test_the_ends_stay_within_the_training_limit(make_system) -> None:
    inside, without = make_system("a", "fixed", 0.03), make_system("a", "fixed", 0.03, limit=None)
    assert [row.label for row in ends(inside.trainings[0].evaluation)] == ["≤5", "6–10"]
    assert [row.label for row in ends(without.trainings[0].evaluation)] == ["≤5", ">12"]
    assert ends(make_system("a", "fixed", 0.03, limit=7).trainings[0].evaluation) is None


def test_with_one_bin_within_the_limit_the_headline_is_about_the_whole_test_set(make_system, test_set: TestSet) -> None:
    fixed, attention = (
        make_system("lstm", "fixed", 0.06, limit=7),
        make_system("lstm_attention", "attention", 0.002, limit=7),
    )
    compared = comparison(attention, fixed, test_set)
    (only,) = headline(scored(fixed, attention), [compared], 0.95)
    whole = compared.paired.corpus
    assert only.startswith("On the whole test set, lstm on a fixed-size encoding reaches ")
    assert f"{whole.b:.1f} BLEU and lstm_attention {whole.a:.1f}: {whole.difference:.1f} ahead" in only
    labels = [label for label, _ in rows_to_show(compared, fixed.trainings[0].evaluation)]
    assert labels == ["up to 5 words", "more than 12 words", "whole test set"]


@pytest.mark.parametrize(
    ("of", "said"),
    [
        ([1, 1], "Each training computed with 1 CPU thread."),
        ([4], "Each training computed with 4 CPU threads."),
        ([1, 2, 1], "Trainings computed with 1 to 2 CPU threads, so their times and speeds cannot be compared."),
        ([1, None], ""),
        ([None], ""),
    ],
)
def test_threads_are_those_of_the_trainings(of: list[int | None], said: str) -> None:
    assert threads(of) == said


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (duration(0.84), "0.8 s"),
        (duration(48.2), "48 s"),
        (duration(252), "4 min 12 s"),
        (duration(59.7), "1 min 00 s"),
        (duration(3599.8), "1 h 00 min"),
        (duration(3780), "1 h 03 min"),
        (duration(None), "n/a"),
        (quantity(12345.6), "12,346"),
        (quantity(1.234e6), "1.23 M"),
        (quantity(None), "n/a"),
        (millions(834_567), "0.83 M"),
        (millions(512), "512"),
        (mebibytes(512.4), "512 MiB"),
        (mebibytes(3174), "3.1 GiB"),
        (mebibytes(None), "n/a"),
        (signed(-0.04), "0.0"),
        (signed(-3.21), "−3.2"),
        (signed(3.21), "+3.2"),
    ],
)
def test_formats(text: str, expected: str) -> None:
    assert text == expected
