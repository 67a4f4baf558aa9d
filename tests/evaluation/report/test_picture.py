from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import imread

from s2s.errors import S2SError
from s2s.evaluation.report.palette import styles
from s2s.evaluation.report.picture import (
    Curve,
    Series,
    attention_picture,
    curves_picture,
    draw_length,
    length_picture,
)


@pytest.fixture(scope="module")
def series(make_system) -> list[Series]:
    plan = [("lstm", "fixed", 0.05), ("lstm_attention", "attention", 0.004), ("$cost$", "self-attention", 0.006)]
    return [Series(name, make_system(name, family, rate).evaluation, family) for name, family, rate in plan]


def test_the_length_picture_is_large_enough_and_repeats_byte_for_byte(series: list[Series], tmp_path: Path) -> None:
    for number in (1, 2):
        length_picture(series, tmp_path / f"{number}.png")
        length_picture(series, tmp_path / f"{number}.svg")
    image = imread(tmp_path / "1.png")
    assert image.shape[1] >= 1200
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 50
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()
    ElementTree.parse(tmp_path / "1.svg")
    text = (tmp_path / "1.svg").read_text(encoding="utf-8")
    for word in ("lstm_attention", "$cost$", "fixed-size encoding", "n = 0", "11–12", "words in the source"):
        assert word in text


def test_the_picture_shows_the_numbers(series: list[Series]) -> None:
    axes = draw_length(series).axes[0]
    scored = [row.bleu for row in series[0].evaluation.by_length if row.bleu is not None]
    drawn = [list(line.get_ydata()) for line in axes.lines]
    assert scored in drawn
    assert len(scored) == 3  # the empty bin has no point
    row = series[0].evaluation.by_length[0]
    assert [row.low, row.high] in drawn


@pytest.mark.parametrize(("limit", "position"), [(10, 1.5), (5, 0.5), (8, 1.1), (12, 2.5), (40, None), (None, None)])
def test_the_training_limit_is_drawn_where_it_is_inside_the_axis(
    limit: int | None, position: float | None, series: list[Series]
) -> None:
    moved = [replace(one, evaluation=replace(one.evaluation, training_limit=limit)) for one in series]
    axes = draw_length(moved).axes[0]
    vertical = [
        line.get_xdata()[0]
        for line in axes.lines
        if list(line.get_ydata()) == [0, 1] and line.get_xdata()[0] == line.get_xdata()[1]
    ]
    assert vertical == ([] if position is None else [pytest.approx(position)])


def test_systems_on_other_sentences_or_bins_do_not_share_a_picture(series: list[Series], tmp_path: Path) -> None:
    other = replace(series[1].evaluation, test_set={"name": "test", "sha256": "0"})
    with pytest.raises(S2SError, match="different test sets"):
        length_picture([series[0], replace(series[1], evaluation=other)], tmp_path / "a.png")
    bins = replace(series[1].evaluation, by_length=series[1].evaluation.by_length[:2])
    with pytest.raises(S2SError, match=r"different evaluation\.bins"):
        length_picture([series[0], replace(series[1], evaluation=bins)], tmp_path / "a.png")
    with pytest.raises(S2SError, match="at least one"):
        length_picture([], tmp_path / "a.png")
    with pytest.raises(S2SError, match=r"\.png or \.svg"):
        length_picture(series, tmp_path / "a.bmp")
    assert not list(tmp_path.iterdir())


def test_curves(tmp_path: Path) -> None:
    curves = [Curve("lstm", [(100, 60.0, 3.0), (200, 130.0, 9.0)], "fixed"), Curve("none", [], "attention")]
    for by in ("seconds", "updates"):
        curves_picture(curves, tmp_path / f"{by}.png", by=by)
        assert imread(tmp_path / f"{by}.png").shape[1] >= 1200
    with pytest.raises(S2SError, match="'hours'"):
        curves_picture(curves, tmp_path / "x.png", by="hours")


def test_attention(tmp_path: Path) -> None:
    weights = np.array([[0.9, 0.1, 0.0], [0.0, 0.2, 0.8]])
    attention_picture(weights, ["▁a", r"$\b$", "</s>"], ["x", "y"], tmp_path / "a.png", title="one")
    attention_picture(weights, ["▁a", r"$\b$", "</s>"], ["x", "y"], tmp_path / "a.svg")
    assert r"$\b$" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert imread(tmp_path / "a.png").shape[1] > 200
    with pytest.raises(S2SError, match="2 target × 2 source"):
        attention_picture(weights, ["a", "b"], ["x", "y"], tmp_path / "b.png")


def test_looks_tell_systems_and_families_apart() -> None:
    families = ["fixed", "fixed", "fixed", "attention", "attention", "self-attention"]
    looks = styles(families)
    assert len({look.light for look in looks}) == len({look.dark for look in looks}) == len(looks)
    assert all(bool(look.dash) == (family == "fixed") for look, family in zip(looks, families, strict=True))
    assert styles(["attention"])[0] == looks[3]
    with pytest.raises(S2SError, match="'cnn'"):
        styles(["cnn"])
