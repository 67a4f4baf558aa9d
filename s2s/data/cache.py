"""Cache of computed data that later runs reuse: tokenised text, tokenizers, lengths.

Each entry is a folder named after a hash of everything that determines its contents: text, settings and format version.
So no entry is ever out of date, and any of them may be deleted at any time. The cache is `HF_DATASETS_CACHE/s2s`,
beside the tables of `datasets`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from s2s.files import cannot_write

VERSION = 1  # of all entries; raise it when their computation or format changes


def cache_folder() -> Path:
    """The folder of all entries."""
    import datasets  # type: ignore[import-untyped]  # takes a second to import, and translation needs no cache

    return Path(datasets.config.HF_DATASETS_CACHE) / "s2s"


def cached(kind: str, key: tuple[str | int | bool | bytes, ...], make: Callable[[Path], None]) -> Path:
    """Returns the folder of an entry; only the first call, in whichever process, computes it.

    Args:
        kind: prefix of the folder's name.
        key: everything that determines the contents.
        make: writes the files of the entry into a folder.

    Raises:
        S2SError: the cache cannot be written.
    """
    digest = hashlib.sha256(repr((VERSION, *key)).encode()).hexdigest()[:32]
    entry = cache_folder() / f"{kind}-{digest}"
    if entry.is_dir():
        return entry
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{entry}.lock"):  # one process computes it, others wait
            for orphaned in entry.parent.glob(f".{entry.name}.*"):  # of killed processes: the lock is ours
                shutil.rmtree(orphaned, ignore_errors=True)
            if not entry.is_dir():
                unfinished = entry.with_name(f".{entry.name}.{os.getpid()}")
                try:
                    unfinished.mkdir(exist_ok=True)
                    make(unfinished)
                    for file in unfinished.iterdir():  # contents must reach the disk before the name does
                        with file.open("rb+") as stream:  # Windows syncs no file that is open for reading alone
                            os.fsync(stream.fileno())
                    unfinished.replace(entry)
                finally:
                    shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise cannot_write(entry, error) from error
    return entry
