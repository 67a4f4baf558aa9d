"""What is computed from a corpus once and kept for the next run: tokenised text, tokenisers, lengths.

Everything has a folder of its own, named after a hash of all that it follows from: the text itself, settings, and the
version of the format. So nothing in the cache is ever out of date, and what is not needed any more may be deleted at
any time. It stands beside the tables of `datasets`, in `HF_DATASETS_CACHE/s2s`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from s2s.files import cannot_write

VERSION = 1  # of all that is kept here; raise it when what is computed, or its format, changes


def cache_folder() -> Path:
    """Where it is kept."""
    import datasets  # type: ignore[import-untyped]  # a second to import, and what only translates needs no cache

    return Path(datasets.config.HF_DATASETS_CACHE) / "s2s"


def cached(kind: str, key: tuple[str | int | bool | bytes, ...], make: Callable[[Path], None]) -> Path:
    """The folder of what `make` computes, computed at the first call only, whichever process makes it.

    Args:
        kind: what it is, the beginning of the folder's name.
        key: all that it follows from.
        make: writes files into a folder.

    Raises:
        S2SError: the cache cannot be written.
    """
    digest = hashlib.sha256(repr((VERSION, *key)).encode()).hexdigest()[:32]
    place = cache_folder() / f"{kind}-{digest}"
    if place.is_dir():
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):  # one makes it, others wait for it
            if not place.is_dir():
                unfinished = place.with_name(f".{place.name}.{os.getpid()}")
                try:
                    unfinished.mkdir(exist_ok=True)
                    make(unfinished)
                    for file in unfinished.iterdir():  # the name must not be there before the contents are
                        with file.open("rb") as stream:
                            os.fsync(stream.fileno())
                    unfinished.replace(place)
                finally:
                    shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise cannot_write(place, error) from error
    return place
