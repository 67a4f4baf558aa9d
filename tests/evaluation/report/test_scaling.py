from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from s2s.evaluation.report.scaling import blocks, conditions, draw_scaling, growth_sentences, scaling_picture
from s2s.evaluation.scaling import Scaling


def test_the_picture_repeats_byte_for_byte(scaling: Scaling, tmp_path: Path) -> None:
    for suffix in ("png", "svg"):
        for number in (1, 2):
            scaling_picture(scaling, tmp_path / f"{number}.{suffix}")
        assert (tmp_path / f"1.{suffix}").read_bytes() == (tmp_path / f"2.{suffix}").read_bytes()
    ElementTree.parse(tmp_path / "1.svg")
    text = (tmp_path / "1.svg").read_text(encoding="utf-8")
    for word in ("lstm_attention", "fixed-length context vector", "batch of 8 sentences", "training: peak memory"):
        assert word in text


@pytest.mark.parametrize("narrow", [False, True])
def test_the_picture_shows_the_numbers(scaling: Scaling, narrow: bool) -> None:
    panels = draw_scaling(scaling, narrow=narrow).axes
    assert len(panels) == 6  # two batches, three measures
    training = [list(zip(*line.get_data(), strict=True)) for line in panels[0].lines]
    assert [(10, 1e-5 * 100), (20, 1e-5 * 400), (40, 1e-5 * 1600)] in training
    decoding = [list(line.get_ydata()) for line in panels[3].lines]  # of 8 sentences, the time of each
    assert pytest.approx([0.5e-3 * 10, 0.5e-3 * 20]) in decoding
    assert all(list(axes.get_xticks()) == [10, 20, 40] for axes in panels)
    rows = [panels[n : n + 2] for n in (0, 2, 4)]
    assert all(left.get_ylim() == right.get_ylim() for left, right in rows)


def test_a_picture_without_memory_has_no_empty_row(scaling: Scaling) -> None:
    unknown = replace(scaling, costs=[replace(cost, memory=None) for cost in scaling.costs])
    assert len(draw_scaling(unknown).axes) == 4


def test_sentences_have_the_numbers(scaling: Scaling) -> None:
    assert growth_sentences(scaling) == [
        "From 10 to 40 tokens, 4 times as many, a training update on 1 sentence takes rnn 4.0, lstm_attention 4.0 and "
        "transformer 16.0 times as long.",
        "On 1 sentence, each further token adds to the time of an update 1.00 ms with rnn, 2.00 ms with lstm_attention "
        "and 0.500 ms with transformer (mean from 10 to 40 tokens).",
        "From 10 to 40 tokens, 4 times as many, decoding 1 sentence takes rnn 4.0, lstm_attention 4.0 and "
        "transformer 16.0 times as long.",
    ]
    assert growth_sentences(replace(scaling, costs=[cost for cost in scaling.costs if cost.length == 10])) == []


def test_the_table(scaling: Scaling) -> None:
    by_title = {block.title: dict(block.rows) for block in blocks(scaling)}
    assert list(by_title) == [
        f"{task}, {n}" for task in ("training update", "decoding") for n in ("1 sentence", "8 sentences")
    ]
    cells = by_title["training update, 8 sentences"]
    assert [cell.time for cell in cells["transformer"]] == ["8.00 ms", "32.0 ms", "n/a"]
    assert [cell.exponent for cell in cells["transformer"]] == ["", "2.00", ""]
    assert [cell.time for cell in cells["lstm_attention"]] == ["160.0 ms", "320.0 ms", ""]
    assert [cell.memory for cell in cells["rnn"]] == ["400 MiB"] * 3


def test_the_conditions_name_the_machine(scaling: Scaling) -> None:
    assert conditions(scaling).startswith("a <processor>, 2 threads, torch 2.0, bf16: medians")
    on_gpu = replace(scaling, machine={**scaling.machine, "device": "A GPU"})
    assert conditions(on_gpu).startswith("A GPU, torch 2.0, bf16: medians")
