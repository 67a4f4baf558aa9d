"""What README tells a newcomer to type works."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import s2s
from tests.commands.conftest import SMALL, SMALL_RECURRENT, Done


@pytest.fixture(scope="module")
def code(root: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL)


BLOCKS = [one for one in SMALL if "embedding" not in one] + ["model.encoder.layers=1", "model.decoder.layers=1"]


@pytest.mark.parametrize(
    ("module", "name", "settings"),
    [
        ("my_cells", "Peephole", ["model=lstm_attention", "model.cell=my_cells.Peephole", *SMALL_RECURRENT]),
        ("my_mixers", "Average", ["model=transformer", "model.decoder.mixer={type: my_mixers.Average}", *BLOCKS]),
    ],
)
def test_the_class_of_a_user_trains_and_translates(
    module: str,
    name: str,
    settings: list[str],
    inside: Callable[..., Done],
    tmp_path: Path,
    code: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / f"{module}.py").write_text(next(block for block in code if f"class {name}" in block))
    monkeypatch.delitem(sys.modules, module, raising=False)
    done = inside("train", *settings, "run_dir=run", "training.max_steps=2", "training.validate_every=2", cwd=tmp_path)
    assert done.code == 0, done.stderr
    refused = inside("translate", "run=run", cwd=tmp_path, stdin=b"The dog sleeps.\n")
    assert refused.code == 2
    assert f"trust=[{module}]" in refused.stderr
    assert refused.stdout == ""
    trusted = inside("translate", "run=run", f"trust=[{module}]", cwd=tmp_path, stdin=b"The dog sleeps.\n")
    assert trusted.code == 0, trusted.stderr
    assert trusted.stdout.count("\n") == 1


@pytest.mark.parametrize("name", ["Peephole", "MinimalRNN"])
def test_the_cells_keep_the_contract(code: list[str], name: str) -> None:
    names: dict[str, Any] = {}
    for block in code:
        if "(Cell)" in block:
            exec(block, names)
    s2s.check_cell(names[name])


def test_the_mixer_keeps_the_contract(code: list[str]) -> None:
    names: dict[str, Any] = {}
    exec(next(block for block in code if "(Mixer)" in block), names)
    s2s.check_mixer(names["Average"])


def test_the_python_interface(trained: Path, code: list[str]) -> None:
    block = next(block for block in code if "s2s.load" in block)
    names = {"s2s": s2s}
    exec(block.replace("runs/multi30k/lstm_attention-s1", str(trained)), names)
    assert isinstance(names["run"], s2s.Run)


def test_every_named_file_exists(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:conf|scripts|results)/[\w./-]+\.\w+", text))
    assert named
    assert not [name for name in named if not (root / name).exists()]
