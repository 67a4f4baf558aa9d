"""Digests of code: what changes a result changes them, and nothing else does."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from s2s import code_digest as module
from s2s.code_digest import code_digest


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's sources that the digest reads in place of them."""
    package = tmp_path / "s2s"
    shutil.copytree(module.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "PACKAGE", package)
    return package


def digests() -> list[str]:
    module._parsed.cache_clear()
    code_digest.cache_clear()
    return [code_digest(name) for name in ("s2s.models", "s2s.decoding.translator", "s2s.evaluation.by_length")]


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("nn/kernels/lstm.py", [True, True, False]),
        ("models/blocks.py", [True, True, False]),
        ("decoding/search.py", [False, True, False]),
        ("evaluation/bleu.py", [False, False, True]),
        ("nn/kernels/__init__.py", [True, True, False]),
        ("lab/gates.py", [False, False, False]),
    ],
)
def test_a_change_of_code_changes_what_depends_on_it(copy: Path, path: str, changed: list[bool]) -> None:
    before = digests()
    with (copy / path).open("a") as file:
        file.write("\nx = 1\n")
    assert [one != other for one, other in zip(before, digests(), strict=True)] == changed


def test_comments_docstrings_and_layout_do_not_count(copy: Path) -> None:
    before = digests()
    path = copy / "nn" / "dropout.py"
    text = path.read_text()
    first = text.index('"""', 3)
    path.write_text('"""Another docstring.' + text[first:] + "\n\n# a comment\n")
    assert digests() == before
    path.write_text(path.read_text().replace("def ", "def other_", 1))
    assert digests() != before


def test_a_module_of_the_users_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "digested_cells.py"
    seen = set()
    for text in ("a = 1\n", "a = 1  # one\n", "a = 2\n"):
        path.write_text(text)
        importlib.invalidate_caches()
        module._parsed.cache_clear()
        code_digest.cache_clear()
        seen.add(code_digest("digested_cells"))
    assert len(seen) == 2


def test_every_import_is_followed() -> None:
    """Against the interpreter: what `import` loads is in the digest."""
    show = "import sys, s2s.decoding.translator; print(*(m for m in sys.modules if m.startswith('s2s.')))"
    loaded = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True).stdout.split()
    waiting, found = ["s2s.decoding.translator"], set[str]()
    while waiting:
        name = waiting.pop()
        parsed = None if name in found else module._parsed(name)
        if parsed is not None:
            found.add(name)
            waiting += parsed[1]
    assert set(loaded) <= found | {"s2s.errors", "s2s.version"}


@pytest.mark.parametrize("name", ["no_such_module", "no_such.package", "a..b", ""])
def test_a_trusted_module_that_is_not_there_has_no_code(name: str) -> None:
    assert code_digest("s2s.models", name) == code_digest("s2s.models")
