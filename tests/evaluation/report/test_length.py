from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from s2s.errors import S2SError
from s2s.evaluation.report.length import VIEWS, View, draw_length, length_picture
from s2s.evaluation.report.palette import styles
from s2s.evaluation.report.prose import SystemScores


@pytest.fixture(scope="module")
def systems(make_system) -> list[SystemScores]:
    plan = [("lstm", "fixed", 0.05), ("lstm_attention", "attention", 0.004), ("$cost$", "self-attention", 0.006)]
    return [SystemScores(*one[:2], make_system(*one).trainings[0].evaluation) for one in plan]


@pytest.mark.slow
def test_the_picture_is_large_and_repeats_byte_for_byte(systems: list[SystemScores], tmp_path: Path) -> None:
    for number in (1, 2):
        length_picture(systems, tmp_path / f"{number}.png")
        length_picture(systems, tmp_path / f"{number}.svg")
    image = imread(tmp_path / "1.png")
    assert image.shape[1] >= 1200
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 50
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()
    ElementTree.parse(tmp_path / "1.svg")
    text = (tmp_path / "1.svg").read_text(encoding="utf-8")
    for word in ("lstm_attention", "$cost$", "fixed-length context vector", "n = 0", "11–12", "words in the source"):
        assert word in text


@pytest.mark.parametrize(
    ("limit", "position", "shaded", "label"),
    [
        (10, 1.5, 2, "longest in training: 10"),
        (5, 0.5, 3, "longest in training: 5"),
        (8, 1.5, 2, "longest in training: 8"),  # all points of a bin are on one side of the limit
        (12, 2.5, 1, "longest in training: 12"),
        (40, None, 0, "longest in training: 40 →"),  # in the open last bin
        (None, None, 0, None),
    ],
)
def test_the_training_limit_is_drawn_between_bins(
    limit: int | None, position: float | None, shaded: int, label: str | None, systems: list[SystemScores]
) -> None:
    assert drawn_limit([changed(one, training_limit=limit) for one in systems]) == (position, shaded, label)


def changed(system: SystemScores, **fields: Any) -> SystemScores:
    """Returns a system with other values of some fields of its evaluation."""
    return replace(system, evaluation=replace(system.evaluation, **fields))


def drawn_limit(systems: list[SystemScores]) -> tuple[float | None, float, str | None]:
    """Returns the position of the training limit in the picture, the number of shaded bins, and the label."""
    for narrow in (False, True):
        axes = draw_length(systems, narrow=narrow).axes[0]
        vertical = [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]
        shaded = sum(patch.get_width() for patch in axes.patches)
        labels = [text for text in axes.texts if "training" in text.get_text()]
        assert len(vertical) <= 1
        assert len(labels) <= 1
        for label in labels:
            x = vertical[0] if vertical else axes.get_xlim()[1]
            assert label.xy == (x, 1)
    return vertical[0] if vertical else None, shaded, labels[0].get_text() if labels else None


def test_the_limit_may_be_at_the_end_of_the_last_bin_or_beyond_it(systems: list[SystemScores]) -> None:
    first = systems[0].evaluation
    empty = [replace(row, sentences=0, bleu=None, low=None, high=None) for row in first.by_length]
    shown = [*first.by_length[:2], *empty[2:]]  # nothing is longer than 10
    for limit, expected in ((10, (1.5, 0, "longest in training: 10")), (12, (None, 0, "longest in training: 12 →"))):
        assert drawn_limit([changed(systems[0], by_length=shown, training_limit=limit)]) == expected


def test_names_at_the_lines_are_in_the_colour_for_text(systems: list[SystemScores]) -> None:
    second = replace(systems[0], name="gru")
    labels = {text.get_text(): text.get_color() for text in draw_length([systems[0], second]).axes[0].texts}
    look = styles(["fixed", "fixed"])[1]
    assert labels["gru"] == look.text != look.light


@pytest.mark.parametrize("narrow", [False, True])
def test_labels_of_many_bins_do_not_overlap(systems: list[SystemScores], narrow: bool) -> None:
    row = systems[0].evaluation.by_length[0]
    for count, least in ((7, 7), (14, 6), (30, 6)):
        bins = [replace(row, min=11 + 2 * n, max=12 + 2 * n, sentences=1234) for n in range(count)]
        figure = draw_length([changed(systems[0], by_length=bins, training_limit=None)], narrow=narrow)
        figure.draw_without_rendering()
        axes = figure.axes[0]
        sizes = [text for text in axes.texts if text.get_text().startswith("n")]
        assert len(sizes) == len(axes.get_xticks())
        assert list(axes.get_xticks()) == [text.xy[0] for text in sizes]
        assert len(sizes) >= least
        for texts in (axes.get_xticklabels(), sizes):
            ends = [text.get_window_extent() for text in texts]
            assert all(left.x1 < right.x0 for left, right in itertools.pairwise(ends))


def test_systems_on_other_sentences_or_bins_do_not_share_a_picture(systems: list[SystemScores], tmp_path: Path) -> None:
    first, second, _ = systems
    other = changed(second, test_set={"name": "test", "sha256": "0"})
    bins = changed(second, by_length=second.evaluation.by_length[:2])
    for pictured, name, message in (
        ([first, other], "a.png", "different test sets"),
        ([first, bins], "a.png", r"different evaluation\.bins"),
        ([], "a.png", "at least one"),
        (systems, "a.bmp", r"\.png or \.svg"),
    ):
        with pytest.raises(S2SError, match=message):
            length_picture(pictured, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.stem)
def test_each_view_shows_its_own_numbers(systems: list[SystemScores], view: View) -> None:
    axes = draw_length(systems, view).axes[0]
    rows = [row.estimate(view.metric) for row in systems[0].evaluation.bins_by(view.side).bins]
    values = [row.value for row in rows if row.value is not None]
    drawn = [list(line.get_ydata()) for line in axes.lines]
    assert values in drawn
    assert len(values) == 3  # the empty bin has no point
    for row in rows:
        assert row.value is None or [row.low, row.high] in drawn
    assert axes.get_ylabel() == {"bleu": "BLEU", "chrf": "chrF++", "length_ratio": "length ratio"}[view.metric]
    assert axes.get_xlabel() == f"words in the {view.side} (n: sentences)"


def test_each_side_has_its_own_limit_and_numbers_of_sentences(systems: list[SystemScores]) -> None:
    first = systems[0].evaluation
    by_reference = [replace(row, sentences=row.sentences + 1000) for row in first.by_length]
    moved = changed(systems[0], by_reference_length=by_reference, training_limit=5, reference_limit=8)
    for side, limit, extra in (("source", 0.5, 0), ("reference", 1.5, 1000)):
        axes = draw_length([moved], View("bleu", side)).axes[0]
        vertical = [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]
        assert vertical == [pytest.approx(limit)]
        assert f"n = {first.by_length[0].sentences + extra:,}" in [text.get_text() for text in axes.texts]


def test_seeds_are_circles_around_their_mean(make_system) -> None:
    trained = make_system("lstm", "fixed", 0.03, seeds=(1, 2, 3))
    evaluations = [training.evaluation for training in trained.trainings]
    one = SystemScores("lstm", "fixed", evaluations[0], evaluations)
    several, mean = (draw_length([system], title="t").axes[0] for system in (one, replace(one, seeds=())))
    drawn = [list(line.get_ydata()) for line in several.lines if line.get_linestyle() == "None"]
    assert drawn == [[row.bleu for row in each.by_length if row.bleu is not None] for each in evaluations]
    assert any("circles: single seeds" in text.get_text() for text in several.texts)
    assert not any("circles" in text.get_text() for text in mean.texts)
