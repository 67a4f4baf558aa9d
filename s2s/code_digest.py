"""Digests of source code, so that a stored result says which code made it."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent


# What makes trained weights, translations of a run, and scores; a user's own modules join the first two.
TRAINING = (
    *("s2s.training.trainer", "s2s.models", "s2s.data.batching", "s2s.data.objectives", "s2s.data.corpus"),
    "s2s.data.tokenizer",
)
TRANSLATIONS = ("s2s.runs",)
SCORES = ("s2s.evaluation.by_length",)
DRAWING = ("s2s.lab.plots", "s2s.lab.page", "s2s.lab.results", "s2s.evaluation.report")  # makes no number


@functools.cache
def code_digest(*modules: str) -> str:
    """A digest of modules and of all modules of s2s that they import, directly or not.

    Comments, docstrings and layout have no part in it, nor have modules that only draw, nor other packages.

    Args:
        modules: names of modules of s2s, or of a user's own.
    """
    waiting, code = list(modules), dict[str, str]()
    while waiting:
        name = waiting.pop()
        if name not in code and not name.startswith(DRAWING) and (parsed := _parsed(name)) is not None:
            code[name], imports = parsed
            waiting += imports
    total = hashlib.sha256()
    for name in sorted(code):
        total.update(f"{name}\n{code[name]}\n".encode())
    return total.hexdigest()[:16]


@functools.cache
def _parsed(name: str) -> tuple[str, list[str]] | None:
    """The code of a module, and what it imports of s2s; None for what is no module."""
    path = _path(name)
    if path is None:
        return None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parent = name.rpartition(".")[0]
    packages = [parent] if parent.startswith("s2s.") else []  # importing a module runs its package first
    return _without_docstrings(tree), [*packages, *_imports(tree)]


def _path(module: str) -> Path | None:
    """The source file of a module of s2s or of a user's; None for what is no module, and for the package itself."""
    if module.startswith("s2s."):
        base = PACKAGE.joinpath(*module.split(".")[1:])
        return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)
    try:
        spec = None if module == "s2s" else importlib.util.find_spec(module)
    except (ImportError, ValueError):  # trusted, and not there: no cell is in it
        return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


def _imports(tree: ast.Module) -> Iterator[str]:
    """Names of s2s that a module imports anywhere; some may be of a class or function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("s2s."))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "s2s":
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _without_docstrings(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
