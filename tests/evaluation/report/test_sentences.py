from __future__ import annotations

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from s2s.evaluation.report.results import gather
from s2s.evaluation.report.sentences import (
    by_bins,
    differences,
    evenly,
    page_sentences,
    script_json,
    sentence_scores,
)
from s2s.evaluation.test_set import TestSet


@given(st.lists(st.lists(st.integers(), max_size=30), min_size=1, max_size=6), st.integers(0, 100))
def test_as_many_of_each_bin_as_there_are(bins: list[list[int]], count: int) -> None:
    numbered = [[(number, place) for place in range(len(members))] for number, members in enumerate(bins)]
    selection = evenly(numbered, count)  # type: ignore[arg-type]
    assert len(set(selection)) == len(selection) == min(count, sum(map(len, bins)))
    shares = [sum(one[0] == number for one in selection) for number in range(len(bins))]  # type: ignore[index]
    for members, share in zip(bins, shares, strict=True):
        assert share == len(members) or share >= max(shares) - 1


def test_they_are_spread_over_their_bin() -> None:
    assert evenly([list(range(100))], 4) == [12, 37, 62, 87]
    assert evenly([[7, 8, 9]], 1) == [8]
    assert by_bins([3, 9, 1, 4], [3, 5], longest=5) == [[2, 0], [3], []]


@pytest.mark.parametrize(
    ("output", "reference", "language", "pieces"),
    [
        ("der Hund läuft", "der Hund läuft", "de", ["der Hund läuft"]),
        ("der Kater läuft", "der Hund läuft", "de", ["der ", "Kater", " läuft"]),
        ("der läuft", "der Hund läuft", "de", ["der", "", " läuft"]),
        ("ein Hund", "Hund", "de", ["", "ein", " Hund"]),
        ("", "der Hund", "de", ["", ""]),
        ("我喜欢狗。", "我喜欢小猫。", "zh", ["我喜欢", "狗", "。"]),
        ("用LibreOffice写", "用 LibreOffice 写", "zh", ["用LibreOffice写"]),
    ],
)
def test_differences(output: str, reference: str, language: str, pieces: list[str]) -> None:
    assert differences(output, reference, language) == pieces


@given(
    st.text(alphabet="ab 。好", max_size=12), st.text(alphabet="ab 。好", max_size=12), st.sampled_from(["de", "zh"])
)
def test_pieces_are_the_output(output: str, reference: str, language: str) -> None:
    assert "".join(differences(output, reference, language)) == output


def test_scores_are_sacrebleus_of_the_sentence_alone(make_system, test_set: TestSet) -> None:
    system = make_system("lstm", "fixed", 0.04)
    results = gather([system], test_set)
    scores = sentence_scores(results)["lstm"]
    for number in (0, 5, 17):
        output, reference = system.trainings[0].hypotheses[number], test_set.references[number]
        expected = sacrebleu.sentence_chrf(output, [reference], word_order=2).score
        assert scores[number] == pytest.approx(expected, abs=0.006)
    rows = page_sentences(results, 10**9)
    assert [row[1] for row in rows] == sorted(test_set.lengths())
    assert sorted(row[0] for row in rows) == list(range(1, 91))
    for number, length, reference_length, source, reference, (score,), (pieces,) in rows:
        assert reference_length == len(reference.split())
        assert (source, reference) == (test_set.sources[number - 1], test_set.references[number - 1])
        assert length == len(source.split())
        assert "".join(pieces) == system.trainings[0].hypotheses[number - 1]
        assert score == scores[number - 1]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_the_sentences_fit_the_budget(make_system, test_set: TestSet, share: float) -> None:
    """Quotes, angle brackets and outputs in many pieces make the JSON longer than the text."""
    outputs = [f'<"{line}" a b' for line in test_set.references]
    results = gather([make_system("lstm", "fixed", 0, hypotheses=outputs)], test_set, trials=5)
    everything = len(script_json(page_sentences(results, 10**9)).encode())
    budget = int(share * everything)
    shown = page_sentences(results, budget)
    assert len(script_json(shown).encode()) <= max(budget, len("[]")) + len(shown)
    assert (len(shown) == 90) == (share == 1.0)
    assert abs(len(shown) - 90 * share) <= 15
