"""s2s: sequence-to-sequence machine translation with pluggable recurrent cells, attention and a Transformer baseline.

import s2s
run = s2s.load("runs/grammar/lstm_attention-s1")
run.translate(["The dog sleeps."])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from s2s.errors import S2SError
from s2s.version import __version__

if TYPE_CHECKING:
    from s2s.contract import check_cell, check_mixer
    from s2s.runs import Run, load

__all__ = ["Run", "S2SError", "__version__", "check_cell", "check_mixer", "load"]

_MODULES = {"Run": "s2s.runs", "check_cell": "s2s.contract", "check_mixer": "s2s.contract", "load": "s2s.runs"}


def __getattr__(name: str) -> Any:
    """Imports what is used when it is used: `--help` of a script does not wait for torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
