"""Output formats, down to the byte."""

from __future__ import annotations

import io
import json

import pytest
import torch

from s2s.decoding.output import write_translations
from s2s.decoding.translator import Attention, TextHypothesis, Translation
from s2s.errors import S2SError

TRANSLATIONS = [
    Translation("a", [TextHypothesis("x\ty z", -0.5, -1.25, [4]), TextHypothesis("w", -2.0, -3.0, [5])]),
    Translation("", [TextHypothesis("", 0.0, 0.0, [])]),
    Translation("b\n", [TextHypothesis("ü\u2028\u0085ß", -1.0, -1.0, [6])], truncated=True),
]


def output(form, n_best=1, attention=None) -> str:
    stream = io.BytesIO()
    write_translations(iter(TRANSLATIONS), stream, form, n_best, attention)
    return stream.getvalue().decode("utf-8")


def test_text_has_one_line_for_each_line():
    assert output("text") == "x\ty z\n\nü\u2028\u0085ß\n"


def test_tsv_has_a_row_for_each_hypothesis():
    rows = output("tsv", 2).removesuffix("\n").split("\n")
    assert [row.split("\t") for row in rows] == [
        ["1", "1", "-0.500000", "-1.250000", "x y z"],
        ["1", "2", "-2.000000", "-3.000000", "w"],
        ["2", "1", "0.000000", "0.000000", ""],
        ["3", "1", "-1.000000", "-1.000000", "ü\u2028\u0085ß"],
    ]


def test_json_has_an_object_for_each_line():
    rows = [json.loads(row) for row in output("json", 2).removesuffix("\n").split("\n")]
    assert [row["source"] for row in rows] == ["a", "", "b\n"]
    assert [row["truncated"] for row in rows] == [False, False, True]
    assert rows[0]["hypotheses"] == [
        {"text": "x\ty z", "score": -0.5, "log_prob": -1.25},
        {"text": "w", "score": -2.0, "log_prob": -3.0},
    ]
    assert "attention" not in rows[0]


def test_json_holds_attention():
    def attention(translation: Translation) -> Attention:
        return Attention(["a", "</s>"], [translation.text], {"layer 1": torch.tensor([[0.25, 0.75]])})

    rows = [json.loads(row) for row in output("json", 1, attention).removesuffix("\n").split("\n")]
    assert rows[0]["attention"] == {
        "source": ["a", "</s>"],
        "target": ["x\ty z"],
        "weights": {"layer 1": [[0.25, 0.75]]},
    }


def test_unsupported_content_is_refused_before_any_work():
    def never():
        raise AssertionError
        yield

    for form, n_best, attention, message in [
        ("text", 2, None, "tsv or json"),
        ("xml", 1, None, "text, tsv, json"),
        ("tsv", 1, lambda t: None, "use json"),
    ]:
        with pytest.raises(S2SError, match=message):
            write_translations(never(), io.BytesIO(), form, n_best, attention)
