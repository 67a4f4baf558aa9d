from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from s2s.durations import duration
from s2s.evaluation.bleu import bleu_statistics
from s2s.evaluation.paired import Difference, differences_by_length, whole_difference
from s2s.evaluation.report.prose import (
    Comparison,
    Pair,
    SystemScores,
    code_note,
    headline,
    informative_bins,
    mebibytes,
    millions,
    pair_table_rows,
    pairs_to_compare,
    quantity,
    seed_variation,
    signed,
    threads_note,
)
from s2s.evaluation.test_set import TestSet


def scored(*systems) -> list[SystemScores]:
    return [SystemScores(one.name, one.family, one.trainings[0].evaluation) for one in systems]


def comparison(a, b, test_set: TestSet, contrast="attention") -> Comparison:
    pair = [[bleu_statistics(one.trainings[0].hypotheses, test_set.references, "13a")] for one in (a, b)]
    whole, by_length = whole_difference(*pair, test_set.config), differences_by_length(*pair, test_set)
    return Comparison(Pair(a.name, b.name, contrast), whole, by_length)


def headline_of(a, b, test_set: TestSet, *others, seeds: int = 1) -> tuple[list[str], Comparison]:
    """Returns the headline of `a` compared with `b`, and the comparison."""
    compared = comparison(a, b, test_set)
    return headline(scored(b, a, *others), [compared], 0.95, seeds), compared


def about_the_whole_set(difference: float, low: float, high: float) -> Comparison:
    corpus = Difference(0, None, 90, 50 + difference, 50.0, difference, low, high)
    return Comparison(Pair("lstm_attention", "lstm", "attention"), corpus, [])


def test_the_headline_has_the_numbers(make_system, test_set: TestSet) -> None:
    fixed, attention = make_system("lstm", "fixed", 0.06), make_system("lstm_attention", "attention", 0.002)
    (first, second, third), paired = headline_of(attention, fixed, test_set)
    rows = fixed.trainings[0].evaluation.by_length
    assert min(rows[0].sentences, rows[1].sentences) >= 20
    long = paired.difference_in(rows[1])  # the limit is 10 words
    assert first == (
        f"On sentences of 6–10 words (n\u00a0=\u00a0{rows[1].sentences}), lstm with a fixed-length context vector "
        f"reaches {long.b:.1f} BLEU and lstm_attention {long.a:.1f}: lstm_attention is {long.difference:.1f} ahead "
        f"(95 % paired interval {long.low:.1f} to {long.high:.1f})."
    )
    opening = f"On sentences of up to 5 words (n\u00a0=\u00a0{rows[0].sentences}), "
    assert second.startswith(f"{opening}lstm with a fixed-length context vector reaches ")
    spans = f"From up to 5 words (n\u00a0=\u00a0{rows[0].sentences}) to 6–10 words (n\u00a0=\u00a0{rows[1].sentences})"
    assert third.startswith(f"{spans}, BLEU changes by ")
    assert f"{signed(rows[1].bleu - rows[0].bleu)} with a fixed-length context vector" in third


def test_a_system_that_is_behind_is_called_behind(make_system, test_set: TestSet) -> None:
    good, bad = make_system("lstm", "fixed", 0.002), make_system("lstm_attention", "attention", 0.06)
    sentences, paired = headline_of(bad, good, test_set)
    row = paired.difference_in(good.trainings[0].evaluation.by_length[1])
    text = f"lstm_attention is {-row.difference:.1f} behind (95 % paired interval {-row.high:.1f} to {-row.low:.1f})"
    assert text in sentences[0]


@pytest.mark.parametrize(
    ("difference", "ending"),
    [
        ((0.0, 0.0, 0.0), "and lstm_attention 50.0: the same."),
        ((0.04, 0.01, 0.2), "and lstm_attention 50.0: no difference (95 % paired interval 0.0 to +0.2)."),
        ((-0.04, -0.3, -0.01), "and lstm_attention 50.0: no difference (95 % paired interval −0.3 to 0.0)."),
        (
            (0.06, 0.04, 0.2),
            ": a difference of +0.1 that the choice of test sentences can explain (95 % paired interval 0.0 to +0.2).",
        ),
        ((0.3, 0.06, 0.6), ": lstm_attention is 0.3 ahead (95 % paired interval 0.1 to 0.6)."),
    ],
)
def test_the_printed_numbers_decide_on_a_difference(make_system, difference, ending: str) -> None:
    systems = make_system("lstm", "fixed", 0.03, limit=1), make_system("lstm_attention", "attention", 0.03, limit=1)
    (only,) = headline(scored(*systems), [about_the_whole_set(*difference)], 0.95)
    assert only.endswith(ending)


def test_one_system_alone_has_a_headline(make_system) -> None:
    one = make_system("rnn", "fixed", 0.03)
    first, second = headline(scored(one), [], 0.95)
    assert first.startswith(f"rnn reaches {one.trainings[0].evaluation.bleu:.1f} BLEU")
    assert second.startswith("From up to 5 words (n\u00a0=\u00a0")
    assert ", BLEU changes by −" in second


def test_only_several_seeds_have_a_sentence_on_their_variation() -> None:
    assert seed_variation([1], {"lstm": [2.0]}) == ""
    several = seed_variation([1, 2, 5], {"lstm": [7.04, 5.0, 6.0], "gru": [3.0, 3.46, None], "rnn": [1.0, 2.0, 1.5]})
    assert several.startswith("Each model was trained with the seeds 1, 2 and 5, and its scores are means")
    assert several.endswith("BLEU of the whole test set differs by 0.5 (gru) to 2.0 (lstm).")
    assert seed_variation([1, 2], {"lstm": [5.0, 7.0]}).endswith("differs by 2.0.")


def test_the_first_sentence_names_the_number_of_seeds(make_system, test_set: TestSet) -> None:
    fixed, attention = make_system("lstm", "fixed", 0.06), make_system("lstm_attention", "attention", 0.002)
    (first, second, _), _ = headline_of(attention, fixed, test_set, seeds=3)
    assert " (means of 3 trainings): lstm_attention is " in first
    assert "means" not in second


def test_pairs_share_their_cell_and_the_strongest_fixed_system_comes_first(make_system) -> None:
    weak, strong = make_system("rnn", "fixed", 0.08), make_system("gru", "fixed", 0.02)
    partners = make_system("rnn_attention", "attention", 0.001), make_system("gru_attention", "attention", 0.002)
    assert pairs_to_compare(scored(weak, strong, *partners)) == [
        Pair("gru_attention", "gru", "attention"),
        Pair("rnn_attention", "rnn", "attention"),
    ]
    # A fixed system is preferred to a better one if its cell also has a variant with attention.
    mine = make_system("mine", "attention", 0.004)
    assert pairs_to_compare(scored(weak, strong, partners[0], mine)) == [Pair("rnn_attention", "rnn", "attention")]


def test_without_a_common_cell_the_best_are_compared(make_system, test_set: TestSet) -> None:
    weak, strong = make_system("rnn", "fixed", 0.08), make_system("gru", "fixed", 0.02)
    mine, gru_attention = (make_system(name, "attention", 0.004) for name in ("mine", "gru_attention"))
    transformer, other = make_system("transformer", "self-attention", 0.004), make_system("t", "self-attention", 0.01)

    def first(*systems) -> str:
        (pair,) = pairs_to_compare(scored(*systems))
        by_name = {one.name: one for one in systems}
        compared = comparison(by_name[pair.a], by_name[pair.b], test_set, pair.contrast)
        return headline(scored(*systems), [compared], 0.95)[0]

    fixed = "with a fixed-length context vector reaches"
    for systems, *texts in (
        ((weak, strong, mine, transformer), f"gru {fixed}", "BLEU and mine with attention (another cell, too) "),
        ((weak, strong, mine, transformer), ": mine is "),
        ((weak, strong, transformer), f"gru {fixed}", "BLEU and transformer with self-attention "),
        ((other, gru_attention), "t with self-attention reaches", "BLEU and gru_attention "),
        ((weak, strong), f"rnn {fixed}", "BLEU and gru "),
    ):
        assert all(text in first(*systems) for text in texts)
    assert pairs_to_compare(scored(weak)) == []


def test_only_bins_with_enough_sentences_carry_a_headline(make_system, test_set: TestSet) -> None:
    inside, without = make_system("a", "fixed", 0.03), make_system("a", "fixed", 0.03, limit=None)
    assert [row.label for row in informative_bins(inside.trainings[0].evaluation)] == ["≤5", "6–10"]
    evaluation = without.trainings[0].evaluation
    assert [row.label for row in informative_bins(evaluation)] == ["≤5", "6–10", ">12"]
    few = [replace(row, sentences=19 if row.max is None else 20) for row in evaluation.by_length]
    assert [row.label for row in informative_bins(replace(evaluation, by_length=few))] == ["≤5", "6–10"]
    whole = [replace(evaluation.by_length[0], min=0, max=None, sentences=90)]
    assert informative_bins(replace(evaluation, by_length=whole)) == []
    assert informative_bins(make_system("a", "fixed", 0.03, limit=4).trainings[0].evaluation) == []


def test_with_few_bins_the_headline_is_about_the_whole_test_set(make_system, test_set: TestSet) -> None:
    plan = [("lstm", "fixed", 0.06), ("lstm_attention", "attention", 0.002), ("gru", "fixed", 0.05)]

    fixed, attention, gru = (make_system(*one, limit=4) for one in plan)
    (first, second), paired = headline_of(attention, fixed, test_set, gru)  # no bin is within the limit
    whole = paired.corpus
    assert first.startswith("On the whole test set, lstm with a fixed-length context vector reaches ")
    assert f"{whole.b:.1f} BLEU and lstm_attention {whole.a:.1f}: lstm_attention is {whole.difference:.1f} a" in first
    assert second.startswith("gru reaches ")
    fixed, attention, gru = (make_system(*one, limit=7) for one in plan)
    (same, second, third), _ = headline_of(attention, fixed, test_set, gru)
    assert same == first
    assert second.startswith("On sentences of up to 5 words (n\u00a0=\u00a0")
    assert third.startswith("gru reaches ")
    rows = pair_table_rows(comparison(attention, fixed, test_set), fixed.trainings[0].evaluation)
    assert [label for label, _ in rows] == ["up to 5 words", "more than 12 words", "whole test set"]


def test_the_headline_warns_of_models_that_have_learned_little(make_system, test_set: TestSet) -> None:
    untrained = ["x"] * len(test_set.sources)
    fixed = make_system("lstm", "fixed", 0, hypotheses=untrained)
    attention = make_system("lstm_attention", "attention", 0, hypotheses=untrained)
    warning = "The models have learned little, so this says little about the architectures."
    assert headline_of(attention, fixed, test_set)[0][-1] == warning
    alone = "The model has learned little, so this says little about its architecture."
    assert headline(scored(fixed), [], 0.95)[-1] == alone
    trained = make_system("lstm_attention", "attention", 0.002)
    assert warning not in headline_of(trained, fixed, test_set)[0]


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ([1, 1], "Each training computed with 1 CPU thread."),
        ([4], "Each training computed with 4 CPU threads."),
        ([1, 2, 1], "Trainings computed with 1 to 2 CPU threads, so their times and speeds cannot be compared."),
        ([1, None], ""),
        ([None], ""),
    ],
)
def test_threads_are_those_of_the_trainings(numbers: list[int | None], sentence: str) -> None:
    assert threads_note(numbers) == sentence


@pytest.mark.parametrize(
    ("format_", "texts"),
    [
        (duration, {0.84: "0.8 s", 48.2: "48 s", 252: "4 min 12 s", 59.7: "1 min 00 s", 3599.8: "1 h 00 min"}),
        (duration, {3780: "1 h 03 min", None: "n/a"}),
        (quantity, {12345.6: "12,346", 1.234e6: "1.23 M", None: "n/a"}),
        (millions, {834_567: "0.83 M", 512: "512"}),
        (mebibytes, {512.4: "512 MiB", 3174: "3.1 GiB", None: "n/a"}),
        (signed, {-0.04: "0.0", -3.21: "−3.2", 3.21: "+3.2"}),
    ],
)
def test_formats(format_: Callable[[float | None], str], texts: dict[float | None, str]) -> None:
    assert {value: format_(value) for value in texts} == texts


def test_models_of_other_code_are_named() -> None:
    assert code_note([]) == ""
    assert "lstm, gru" in code_note(["lstm", "gru"]) or "lstm and gru" in code_note(["lstm", "gru"])
