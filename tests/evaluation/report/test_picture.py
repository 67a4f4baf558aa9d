from __future__ import annotations

import numpy as np
import pytest

from s2s.errors import S2SError
from s2s.evaluation.report.palette import styles
from s2s.evaluation.report.picture import Curve, draw_curves


def test_curves_go_by_seconds_or_updates() -> None:
    curves = [Curve("lstm", [(100, 60.0, 3.0), (200, 130.0, 9.0)], "fixed"), Curve("none", [], "attention")]
    for by, points in (("seconds", [1.0, 130 / 60]), ("updates", [100, 200])):
        assert list(draw_curves(curves, by).axes[0].lines[0].get_xdata()) == pytest.approx(points)
    with pytest.raises(S2SError, match="'hours'"):
        draw_curves(curves, "hours")


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
    """Returns the luminance of `#rrggbb` relative to white (https://www.w3.org/TR/WCAG21/#dfn-relative-luminance)."""
    shares = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def test_names_can_be_read() -> None:
    for look in styles(["fixed"] * 4 + ["attention"] * 4 + ["self-attention"] * 2):
        assert (1 + 0.05) / (luminance(look.text) + 0.05) >= 4.5
        assert (luminance(look.dark) + 0.05) / (luminance("#16171a") + 0.05) >= 4.5


def test_curves_of_one_system_look_alike() -> None:
    curves = [Curve("lstm", [(100, 60.0, value)], "fixed") for value in (3.0, 4.0)]
    axes = draw_curves([*curves, Curve("gru", [(100, 60.0, 5.0)], "fixed")], "updates").axes[0]
    colors = [line.get_color() for line in axes.lines]
    assert colors[0] == colors[1] != colors[2]
