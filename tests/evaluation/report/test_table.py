from __future__ import annotations

from s2s.evaluation.report.table import align, evaluation_table, systems_table


def test_columns_are_aligned() -> None:
    lines = align([["a", "b"], ["long", "1"], ["x", "234"]]).split("\n")
    assert lines == ["a       b", "---------", "long    1", "x     234"]


def test_an_evaluation_by_length(make_system) -> None:
    one = make_system("lstm", "fixed", 0.03).trainings[0].evaluation
    lines = evaluation_table(one).split("\n")
    assert lines[0].split() == ["source", "words", "sentences", "BLEU", "chrF++", "length", "ratio"]
    assert [line.split()[0] for line in lines[2:7]] == ["≤5", "6–10", "11–12", ">12", "whole"]
    assert len({len(line) for line in lines[:7]}) == 1
    first = one.by_length[0]
    assert f"{first.bleu:.1f} [{first.low:.1f}, {first.high:.1f}]" in lines[2]
    assert lines[4].split() == ["11–12", "0", "n/a", "n/a", "n/a"]
    second = lines.index("") + 1
    assert lines[second].split()[:2] == ["reference", "words"]
    row = one.by_reference_length[1]
    assert f"{row.chrf:.1f} [{row.chrf_low:.1f}, {row.chrf_high:.1f}]" in lines[second + 3]
    assert "longest source in training: 10 words" in lines
    assert "longest reference in training: 10 words" in lines
    assert any(line.startswith("bleu: nrefs:1|") for line in lines)


def test_several_systems_side_by_side(make_system) -> None:
    lstm, gru = (make_system("lstm", "fixed", rate).trainings[0].evaluation for rate in (0.03, 0.05))
    lines = systems_table({"lstm": lstm, "gru": gru}).split("\n")
    assert [line.split()[0] for line in lines] == ["system", lines[1], "lstm", "gru"]
    assert "n/a" in lines[2]
    assert f"{gru.by_length[0].bleu:.1f}" in lines[3]
