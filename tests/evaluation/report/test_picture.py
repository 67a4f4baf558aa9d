from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from s2s.errors import S2SError
from s2s.evaluation.report.palette import styles
from s2s.evaluation.report.picture import Curve, attention_picture, curves_picture, draw_curves


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
    assert len({color for look in looks for color in {look.light, look.text}}) == sum(
        len({look.light, look.text}) for look in looks
    )
    with pytest.raises(S2SError, match="'cnn'"):
        styles(["cnn"])


def luminance(color: str) -> float:
    """Of `#rrggbb`, relative to white (https://www.w3.org/TR/WCAG21/#dfn-relative-luminance)."""
    shares = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_names_can_be_read() -> None:
    for look in styles(["fixed"] * 4 + ["attention"] * 4 + ["self-attention"] * 2):
        assert (1 + 0.05) / (luminance(look.text) + 0.05) >= 4.5
        assert (luminance(look.dark) + 0.05) / (luminance("#16171a") + 0.05) >= 4.5


def test_curves_of_one_system_look_alike_and_are_named_once() -> None:
    curves = [Curve("lstm", [(100, 60.0, value)], "fixed") for value in (3.0, 4.0)]
    axes = draw_curves([*curves, Curve("gru", [(100, 60.0, 5.0)], "fixed")], "updates").axes[0]
    colors = [line.get_color() for line in axes.lines]
    assert colors[0] == colors[1] != colors[2]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["lstm", "gru"]
