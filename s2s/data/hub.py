"""Data sets of the Hugging Face hub, and local folders of the same layout, read by `datasets.load_dataset`.

The columns may be separate (`en`, `de`) or inside a `translation` column. No code of a data set is ever run.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]

from s2s.config import HubData
from s2s.data.columns import Columns, Reader, TextColumn, call_datasets, quiet
from s2s.errors import S2SError

TABLES = (".jsonl", ".json", ".parquet", ".csv", ".tsv")  # formats of a split in a local folder


def hub_reader(config: HubData) -> Reader:
    """Returns a reader of the configured splits.

    Raises:
        S2SError: `path` looks like a folder but is none.
    """
    names = {"train": config.train, "validation": config.validation, **{name: name for name in config.tests}}
    where = f"data.path={config.path}"
    folder = Path(config.path).expanduser()
    looks_local = config.path.startswith((".", "/", "~")) or config.path.count("/") > 1
    if looks_local and not folder.is_dir():
        raise S2SError(f"{where}: there is no such folder")
    whole: dict[str, Any] = {}

    def load(split: str) -> Any:
        if folder.is_dir() and config.subset is None and (file := _split_file(folder, split)) is not None:
            with quiet():  # `datasets` would not recognise every such file name as a split
                return call_datasets(
                    lambda: datasets.load_dataset(str(folder), data_files={"train": file.name}, split="train"),
                    f"{where}: cannot read {file.name}",
                )
        if not whole:
            path = str(folder) if folder.is_dir() else config.path
            with quiet() if folder.is_dir() else contextlib.nullcontext():
                table = call_datasets(
                    lambda: datasets.load_dataset(path, name=config.subset, revision=config.revision), where
                )
                whole.update(table)
        if split not in whole:
            raise S2SError(f"{where}: no split {split}; there are: {', '.join(whole)}")
        return whole[split]

    def read(name: str) -> Columns:
        table = load(names[name])
        place = f"{where}, split {names[name]}"
        return _text_column(table, config.source, place), _text_column(table, config.target, place)

    return Reader(list(config.tests), read)


def _split_file(folder: Path, split: str) -> Path | None:
    files = [path for suffix in TABLES if (path := folder / f"{split}{suffix}").is_file()]
    return files[0] if len(files) == 1 else None


def _text_column(table: Any, name: str, where: str) -> TextColumn:
    nested = f"translation.{name}"
    if name not in table.column_names and "translation" in table.column_names:
        table = table.flatten()
    column = name if name in table.column_names else nested
    if column not in table.column_names:
        known = ", ".join(name.removeprefix("translation.") for name in table.column_names)
        raise S2SError(f"{where}: no column {name}; there are: {known}; set data.source and data.target to two of them")
    kind = getattr(table.features[column], "dtype", None)
    values = table.data.column(column)
    if values.null_count:
        row = values.is_null().index(True).as_py()
        raise S2SError(f"{where}, row {row + 1}: column {name} has no text (null): correct or remove the row")
    if kind not in ("string", "large_string"):
        raise S2SError(f"{where}: column {name} does not hold text in every row but {kind or 'other values'}")
    return TextColumn(values)
