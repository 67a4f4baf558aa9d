"""Modules of the user's own, the only code outside of s2s and its packages that it ever imports."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from s2s.errors import S2SError


def import_user_module(name: str) -> ModuleType:
    """Imports a module that the user named, also from the current folder, which comes last in the search.

    Nothing else puts that folder on the path: it may hold what somebody else sent.

    Raises:
        S2SError: there is none, or it fails while it is imported; names the file and line.
    """
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        return importlib.import_module(name)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        if isinstance(error, SyntaxError) and error.filename:
            where = f" ({error.filename}, line {error.lineno})"
        elif isinstance(error, ImportError) and "importlib" in place.filename:
            where = "; it must be in the folder you start from"
        else:
            where = f" ({place.filename}, line {place.lineno})"
        raise S2SError(f"cannot import {name}: {type(error).__name__}: {error}{where}") from error
