"""`scripts/benchmark.py` at its smallest: every cell and way is in the table, and the file says what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.conftest import Done

SIZES = ("embedding", "encoder", "decoder", "attention")
TINY = ["cells.batch=[3]", "cells.time=[4]", "cells.hidden=[8]", "cells.directions=[2]", "repetitions=1", "device=cpu"]


def test_cells(inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside("benchmark", *TINY, f"output={tmp_path / 'cells.json'}", cwd=tmp_path)
    assert done.code == 0, done.stderr
    written = json.loads((tmp_path / "cells.json").read_text())
    assert written["machine"]["torch"]
    assert written["config"]["cells"]["hidden"] == [8]
    assert [row["precision"] for row in written["rows"]] == ["fp32", "bf16"]
    both = ["rnn loop", "rnn bptt", "rnn torch", "lstm loop", "lstm bptt", "lstm torch", "gru loop", "gru bptt"]
    both += ["gru-after loop", "gru-after bptt", "gru-after torch", "mgu loop", "mgu bptt", "sru loop", "sru bptt"]
    for row in written["rows"]:
        assert list(row["seconds"]) == [*both, *(f"torch.nn.{name}" for name in ("LSTM", "GRU", "LSTMCell", "GRUCell"))]
        assert all(seconds > 0 for seconds in row["seconds"].values())
    assert all(f"\n  {name} " in done.stdout for name in both)
    assert "B=3 T=4 H=8 bf16 two directions" in done.stdout


AGAINST = [
    *("data.train_pairs=200", "data.test_pairs=12", "data.tokenizer.vocab_size=300", "repetitions=1", "device=cpu"),
    *("training.batch_tokens=400", "train.batches=2", "decode.sentences=5", "decode.batch=3", "decode.beam=2"),
    *(f"{task}.precision=[fp32]" for task in ("train", "decode")),
    *(f"{task}.models.lstm.{size}=8" for task in ("train", "decode") for size in SIZES),
    *(f"{task}.models.transformer.{size}=8" for task in ("train", "decode") for size in ("size", "feedforward")),
    *(f"~{task}.models.{name}" for task in ("train", "decode") for name in ("lstm-parallel", "transformer-512")),
]


def test_training_beside_plain_torch(inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside("benchmark", "task=train", "peer=torch", *AGAINST, "output=train.json", cwd=tmp_path)
    assert done.code == 0, done.stderr
    rows = json.loads((tmp_path / "train.json").read_text())["rows"]
    assert [(row["model"], row["program"]) for row in rows] == [
        (model, program) for model in ("lstm", "transformer") for program in ("s2s", "torch")
    ]
    for row in rows:
        assert row["tokens_per_s"] > 0
        assert row["product_gflops"] > 0
    # Written apart from each other, the two are the same model but for what each has of biases and bridges.
    for ours, plain in (rows[:2], rows[2:]):
        assert 0.9 < ours["parameters"] / plain["parameters"] < 1.1
    assert "s2s is × as fast" in done.stdout


def test_decoding_to_the_same_length(inside: Callable[..., Done], tmp_path: Path) -> None:
    given = [*AGAINST, "decode.precision=[int8,bf16]"]
    done = inside("benchmark", "task=decode", *given, "output=decode.json", cwd=tmp_path)
    assert done.code == 0, done.stderr
    rows = json.loads((tmp_path / "decode.json").read_text())["rows"]
    assert [(row["model"], row["program"], row["precision"]) for row in rows] == [
        (model, "s2s", precision) for model in ("lstm", "transformer") for precision in ("bf16", "int8")
    ]
    assert rows[0]["parameters"] == rows[1]["parameters"]


@pytest.mark.parametrize(
    ("task", "peer", "words"),
    [
        ("train", "fairseq", "peer=fairseq is unknown; known: torch, joeynmt"),
        ("train", "ctranslate2", "peer=ctranslate2 does not do task=train; these do: torch, joeynmt"),
        ("cells", "torch", "peer=torch does not do task=cells; these do: none"),
    ],
)
def test_a_peer_that_cannot_is_named(
    inside: Callable[..., Done], tmp_path: Path, task: str, peer: str, words: str
) -> None:
    done = inside("benchmark", f"task={task}", f"peer={peer}", *AGAINST, cwd=tmp_path)
    assert done.code == 2
    assert len(done.errors) == 1, done.stderr
    assert words in done.errors[0]


def test_bad_input_is_one_line(inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside("benchmark", "task=speed", "cells.batch=[0]", cwd=tmp_path)
    assert done.code == 2
    assert len(done.errors) == 1, done.stderr
    assert "task" in done.errors[0]
