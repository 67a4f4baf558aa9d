"""Contracts of what users write, each checked on a class in one line: `s2s.check_cell`, `s2s.check_mixer`."""

from s2s.contract.cells import check_cell
from s2s.contract.mixers import check_mixer

__all__ = ["check_cell", "check_mixer"]
