"""Corpus: training, validation and test splits from the built-in grammar, the hub, or local files.

A corpus is parallel, or the text of one language, which is then the source and the target of its splits.
Text from any source is stored in Arrow files that `datasets` maps into memory: a corpus of any size takes hardly any
memory, access to a line is immediate, and processes on one machine share the pages. `Corpus.filtered` counts the pairs
that `load_corpus` filtered, by reason. Only the training split is filtered by length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from s2s.config import DataConfig, FilesData, GrammarData, GrammarTextData, MonolingualData, TextData
from s2s.data import grammar
from s2s.data.columns import Columns, Reader, Row, TextColumn, cached_table
from s2s.data.grammar.lexicons import Lexicon
from s2s.data.hub import hub_reader
from s2s.data.lengths import lengths_in_words
from s2s.data.pairs import TABLES, check_files, find_files, rows_name, table_of_files
from s2s.data.reading import digest
from s2s.errors import S2SError

ROLES = ("train", "validation")  # of the splits that a run is made with; no test set has such a name
TOO_LONG = "longer than max_length"


@dataclass(frozen=True)
class Split:
    """Sentence pairs: line n of `target` translates line n of `source`. Access to any line is cheap.

    Text of one language is both `source` and `target`, the same object.
    """

    name: str
    source: Sequence[str]
    target: Sequence[str]

    def __post_init__(self) -> None:
        if len(self.source) != len(self.target):
            raise S2SError(f"split {self.name} has {len(self.source)} source and {len(self.target)} target lines")

    def __len__(self) -> int:
        return len(self.source)

    @property
    def monolingual(self) -> bool:
        """Whether it is text of one language."""
        return self.target is self.source

    @property
    def rows_name(self) -> str:
        """The name of its rows in messages: lines, or sentence pairs."""
        return rows_name(1 if self.monolingual else 2)


class Corpus:
    """The splits of a data set.

    Args:
        source_language, target_language: language codes.
        train, validation: None for a split that was not requested.
        tests: by name.
        filtered: number of filtered pairs by split and reason.
    """

    def __init__(
        self,
        source_language: str,
        target_language: str,
        train: Split | None,
        validation: Split | None,
        tests: dict[str, Split],
        filtered: dict[str, dict[str, int]] | None = None,
    ) -> None:
        self.source_language, self.target_language = source_language, target_language
        self.tests = tests
        self.filtered = filtered if filtered is not None else {}
        self._train, self._validation = train, validation

    @property
    def train(self) -> Split:
        return self._loaded(self._train, "train")

    @property
    def validation(self) -> Split:
        return self._loaded(self._validation, "validation")

    @property
    def splits(self) -> dict[str, Split]:
        """The loaded splits by name."""
        named = {"train": self._train, "validation": self._validation, **self.tests}
        return {name: split for name, split in named.items() if split is not None}

    def _loaded(self, split: Split | None, name: str) -> Split:
        if split is None:
            raise ValueError(f"the {name} split was not requested: load_corpus(config, splits=[{name!r}, …])")
        return split


def load_corpus(config: DataConfig, splits: Sequence[str] | None = None) -> Corpus:
    """Reads a data set.

    Pairs with an empty side are filtered from training and validation; test sets stay as published. The training split
    also loses pairs longer than `max_length`, and all pairs after `max_train_pairs`. The lines of one language are
    filtered in the same way (`max_train_lines`).

    Args:
        config: the data section.
        splits: the splits to read: "train", "validation", "test" (all test sets) or names of test sets; None: all.

    Raises:
        S2SError: data are missing, unreadable or empty; the message says where and what to do.
    """
    reader = _reader(config)
    known = ["train", "validation", *reader.tests]
    unknown = set(splits or ()) - {*known, "test"}
    if unknown:
        raise S2SError(f"no split {', '.join(sorted(unknown))} in data {config.name}; there are: {', '.join(known)}")

    filtered: dict[str, dict[str, int]] = {}

    def load(name: str) -> Split | None:
        if splits is not None and name not in splits and not (name in reader.tests and "test" in splits):
            return None
        source, target = reader.read(name)
        kept, reasons = _filter(config, name, source, target)
        if reasons:
            filtered[name] = reasons
        if kept is not None:
            selected = source.select(kept)
            source, target = selected, (selected if target is source else target.select(kept))
        split = Split(name, source, target)
        if not len(split):
            why = "; filtered: " + ", ".join(f"{n} {reason}" for reason, n in reasons.items()) if reasons else ""
            what = f"; raise data.max_length={config.max_length}" if TOO_LONG in reasons else ""
            raise S2SError(f"split {name} of data {config.name} has no {split.rows_name}{why}{what}")
        return split

    tests = {name: split for name in reader.tests if (split := load(name)) is not None}
    return Corpus(config.source_language, config.target_language, load("train"), load("validation"), tests, filtered)


def check_corpus(config: DataConfig) -> None:
    """Checks, without reading all of the data, that local files exist and hold a sentence pair, or a line.

    Raises:
        S2SError: a file is missing, empty or malformed.
    """
    _reader(config).check()


def without_tests(config: DataConfig) -> str:
    """The beginning of an error about a data set without test sets: the reason."""
    if isinstance(config, MonolingualData):
        return f"data {config.name} is text of one language, without test sets"
    return "data.tests is empty"


# ------------------------------------------------------------------------------------------------------------ filtering


def _filter(
    config: DataConfig, name: str, source: TextColumn, target: TextColumn
) -> tuple[NDArray[np.int64] | None, dict[str, int]]:
    """Returns the rows of a split to keep (None: all), and the number of filtered rows by reason."""
    if name not in ROLES:
        return None, {}
    limit = config.max_length if name == "train" else None
    most_key = "max_train_lines" if isinstance(config, TextData) else "max_train_pairs"
    most = getattr(config, most_key, None) if name == "train" else None

    def rows_fit(count: int) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.bool_]]]:
        first = lengths_in_words(source.head(count), config.source_language)
        if target is source:
            second, why = first, {"empty": first == 0}
        else:
            second = lengths_in_words(target.head(count), config.target_language)
            why = {"empty source": first == 0, "empty target": (second == 0) & (first > 0)}
        fits = (first > 0) & (second > 0)
        if limit is not None:
            why[TOO_LONG] = fits & (np.maximum(first, second) > limit)
            fits &= ~why[TOO_LONG]
        return fits, why

    # A small part of a huge corpus may suffice: all rows are measured only if its beginning does not hold that part.
    fits, why = rows_fit(len(source) if most is None else min(len(source), 2 * most))
    if most is not None and int(fits.sum()) < most:
        fits, why = rows_fit(len(source))
    kept = np.flatnonzero(fits)[:most]
    end = len(source) if most is None or len(kept) < most else int(kept[-1]) + 1
    reasons = {reason: int(rows[:end].sum()) for reason, rows in why.items() if rows[:end].any()}
    if end < len(source):
        reasons[f"beyond {most_key}"] = len(source) - end
    return (kept if reasons else None), reasons


# -------------------------------------------------------------------------------------------------------------- readers


def _reader(config: DataConfig) -> Reader:
    if isinstance(config, GrammarData | GrammarTextData):
        return _grammar_reader(config)
    if isinstance(config, FilesData) or (isinstance(config, TextData) and config.path is None):
        reader = _files_reader(config)
    else:
        reader = hub_reader(config)
    for name in reader.tests:
        if name in ROLES or reader.tests.count(name) > 1:
            raise S2SError(
                f"data.tests={list(config.tests)}: there is a split {name} already: give the test set another name "
                "(evaluate.py splits=[validation] evaluates on data.validation)"
            )
    return reader


def _grammar_reader(config: GrammarData | GrammarTextData) -> Reader:
    languages: tuple[str, ...] = config.source_language, config.target_language
    if isinstance(config, GrammarTextData):
        languages = (config.language,)
        counts = {"train": config.train_lines, "validation": config.validation_lines}
    else:
        counts = {"train": config.train_pairs, "validation": config.validation_pairs, "test": config.test_pairs}
    version = digest(sorted((Path(__file__).parent / "grammar").glob("*.py")))

    def read(name: str) -> Columns:
        arguments = {"split": name, "pairs": counts[name], "seed": config.grammar_seed, "version": version}
        arguments |= {"longest": config.longest, "lexicon": config.lexicon, "languages": languages}
        return cached_table(_generate, arguments, len(languages))

    return Reader(config.tests, read)


def _tests(config: FilesData | TextData) -> list[str]:
    """Names of the test sets: those of their files, in the order of `data.tests`."""
    paths = [Path(where) for where in config.tests]
    return [path.stem if path.suffix in TABLES else path.name for path in paths]


def _locations(config: FilesData | TextData) -> dict[str, tuple[str, str]]:
    """Location of each split, and the setting that names it."""
    tests = {name: (where, "data.tests") for name, where in zip(_tests(config), config.tests, strict=True)}
    return {**tests, "train": (config.train, "data.train"), "validation": (config.validation, "data.validation")}


def _files_reader(config: FilesData | TextData) -> Reader:
    locations = _locations(config)
    suffixes = config.columns if isinstance(config, FilesData) else ()

    def read(name: str) -> Columns:
        where, key = locations[name]
        return table_of_files(find_files(where, suffixes, key), config.columns, f"{key}={where}")

    def check() -> None:
        for where, key in locations.values():
            check_files(find_files(where, suffixes, key), config.columns, f"{key}={where}")

    return Reader(_tests(config), read, check)


def _generate(
    split: str, pairs: int, seed: int, version: str, longest: int, lexicon: Lexicon, languages: tuple[str, ...]
) -> Iterator[Row]:
    sides = [("en", "de").index(language) for language in languages]
    for pair in grammar.generate(split, pairs=pairs, seed=seed, longest=longest, lexicon=lexicon):
        yield tuple([pair[side] for side in sides])
