"""Data sets of the Hugging Face hub, and local folders of the same layout.

The columns may be separate (`en`, `de`) or inside a `translation` column. No code of a data set is ever run. The tables
of a local folder are read by `s2s.data.pairs`, so that a file has the same text here and as `data=files`; what lies in
no usual place there, and the hub, is left to `datasets`.
"""

from __future__ import annotations

import contextlib
import csv
import glob
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]

from s2s.config import HubData, TextData
from s2s.data.cache import cache_folder
from s2s.data.columns import Columns, Reader, Row, TextColumn, call_datasets, quiet
from s2s.data.pairs import TABLES, settings_of, table_of_files
from s2s.data.reading import digest
from s2s.errors import S2SError
from s2s.files import user_path


def hub_reader(config: HubData | TextData) -> Reader:
    """Returns a reader of the configured splits.

    Raises:
        S2SError: `path` looks like a folder but is none.
    """
    names = {**{name: name for name in config.tests}, "train": config.train, "validation": config.validation}
    assert config.path is not None  # else the text is in files
    where = f"data.path={config.path}"
    folder = user_path(config.path)
    looks_local = config.path.startswith((".", "/", "~")) or config.path.count("/") > 1
    if looks_local and not folder.is_dir():
        raise S2SError(f"{where}: there is no such folder")
    suffixes = {*TABLES, ".txt"} if isinstance(config, TextData) else {*TABLES}  # of the files of local folders
    whole: dict[str, Any] = {}

    def read(name: str) -> Columns:
        split = names[name]
        if folder.is_dir() and (files := _split_files(folder, config.subset, split, suffixes)):
            return table_of_files(files, config.columns, where, named=True)
        if not whole:
            whole.update(_load(config, folder if folder.is_dir() else None, where))
        if split not in whole:
            raise S2SError(f"{where}: no split {split}; there are: {', '.join(whole)}")
        place = f"{where}, split {split}"
        columns = [_text_column(whole[split], name, place, config.columns) for name in config.columns]
        return columns[0], columns[-1]

    return Reader(list(config.tests), read)


def _split_files(folder: Path, subset: str | None, split: str, suffixes: Collection[str]) -> tuple[Path, ...]:
    """The files of a split in a local folder: `train.jsonl`, or shards such as `train-00000-of-00002.parquet`.

    They are in the folder or its `data/`, those of a subset in a folder of its name there. Empty: none is there.
    """
    name = re.compile(re.escape(split) + r"(-\d+-of-\d+)?")
    for place in (folder, folder / "data"):
        place = place / subset if subset else place
        files = sorted(place.iterdir()) if place.is_dir() else []
        tables = [file for file in files if file.suffix in suffixes and name.fullmatch(file.stem) and file.is_file()]
        if tables:
            return tuple(tables)
    return ()


def _load(config: HubData | TextData, folder: Path | None, where: str) -> Any:
    """All splits of a data set, by `datasets`: from the hub, or from a local folder."""
    path = str(folder or config.path)
    if folder is not None and glob.has_magic(str(folder.resolve())):
        found = ", ".join(sorted(file.name for file in folder.iterdir())[:10]) or "nothing"
        raise S2SError(
            f"{where}: no file of that split; there are: {found}. Name it SPLIT{'|'.join(TABLES)}, or use a folder "
            "without *, ? and [ in its path, in which `datasets` can search"
        )

    def load() -> Any:
        builder = datasets.load_dataset_builder(path, name=config.subset, revision=config.revision)
        options: dict[str, Any] = {}
        if hasattr(builder.config, "keep_default_na"):  # CSV and TSV, where a cell is text whatever it looks like
            options = {"keep_default_na": False, "converters": dict.fromkeys(config.columns, str)}
            if "\t" in (builder.config.sep, builder.config.delimiter):
                options |= {"sep": "\t", "quoting": csv.QUOTE_NONE}
        if folder is not None:  # `datasets` would know a file by its time of modification
            files = [Path(file) for split in builder.config.data_files.values() for file in split]
            options["cache_dir"] = str(cache_folder() / f"folder-{digest(files)[:32]}")
        return datasets.load_dataset(path, name=config.subset, revision=config.revision, **options)

    with quiet() if folder is not None else contextlib.nullcontext():
        return call_datasets(load, where)


def _text_column(table: Any, name: str, where: str, names: Row) -> TextColumn:
    nested = f"translation.{name}"
    if name not in table.column_names and "translation" in table.column_names:
        table = table.flatten()
    column = name if name in table.column_names else nested
    if column not in table.column_names:
        known = ", ".join(name.removeprefix("translation.") for name in table.column_names)
        raise S2SError(f"{where}: no column {name}; there are: {known}; {settings_of(names)}")
    kind = getattr(table.features[column], "dtype", None)
    values = table.data.column(column)
    if values.null_count:
        row = values.is_null().index(True).as_py()
        raise S2SError(f"{where}, row {row + 1}: column {name} has no text (null): correct or remove the row")
    if kind not in ("string", "large_string"):
        raise S2SError(f"{where}: column {name} does not hold text in every row but {kind or 'other values'}")
    return TextColumn(values)
