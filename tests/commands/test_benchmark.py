"""`scripts/benchmark.py` at its smallest: every cell and way is in the table, and the file says what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.commands.conftest import Done

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


def test_bad_input_is_one_line(inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside("benchmark", "task=speed", "cells.batch=[0]", cwd=tmp_path)
    assert done.code == 2
    assert len(done.errors) == 1, done.stderr
    assert "task" in done.errors[0]
