"""Cache: entries are computed once, equal a new computation, and are never mistaken for another entry."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Sequence
from pathlib import Path

import datasets  # type: ignore[import-untyped]
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2s.config import TokenizerConfig
from s2s.data.cache import cache_folder, cached
from s2s.data.columns import TextColumn, line_values
from s2s.data.ids import FlatIds, cached_ids, temporary_ids
from s2s.data.lengths import length_in_words, lengths_in_words
from s2s.data.tokenizer import Tokenizer, train_tokenizer
from s2s.errors import S2SError

lines = st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=12), max_size=30)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def column(texts: Sequence[str], pieces: int = 1) -> TextColumn:
    """The texts as a table's column, in `pieces` chunks."""
    cuts = np.linspace(0, len(texts), pieces + 1).astype(int).tolist()
    chunks = [pa.array(list(texts[a:b]), pa.string()) for a, b in itertools.pairwise(cuts)]
    return TextColumn(pa.chunked_array(chunks, pa.string()))


def code_points(texts: Sequence[str]) -> list[list[int]]:
    """A tokeniser: each character is its code point, at most 999."""
    return [[min(999, ord(c)) for c in text] for text in texts]


def never(texts: Sequence[str]) -> list[list[int]]:
    raise AssertionError("tokenised again")


def as_lists(ids: FlatIds) -> list[list[int]]:
    return [ids[n].tolist() for n in range(len(ids))]


# ------------------------------------------------------------------------------------------------------------ the cache


def _compute_slowly(folder: str, marks: str) -> None:
    datasets.config.HF_DATASETS_CACHE = Path(folder)

    def make(entry: Path) -> None:
        with Path(marks).open("a") as file:
            file.write("computed\n")
        time.sleep(0.3)
        (entry / "x").write_text("done")

    assert (cached("thing", ("key", 1), make) / "x").read_text() == "done"


@pytest.mark.slow  # several processes import torch
def test_only_one_of_several_processes_computes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_compute_slowly, args=(str(tmp_path / "cache"), str(tmp_path / "marks")))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "marks").read_text() == "computed\n"


def test_a_failed_computation_leaves_nothing() -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cached("thing", ("key",), fail)
    assert [path.name for path in cache_folder().iterdir() if path.is_dir()] == []
    assert list(cached("thing", ("key",), lambda folder: None).iterdir()) == []


def test_different_keys_are_different() -> None:
    keys: list[tuple[str | int | bytes, ...]] = [("a", "b"), ("a b",), ("ab",), ("a", b"b"), ("a", 1), ("a", "1")]
    assert len({cached("thing", key, lambda folder: None) for key in keys}) == len(keys)


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file" / "cache")
    for call in (
        lambda: cached("thing", ("key",), lambda folder: None),
        lambda: temporary_ids(["a"], code_points, 1000, "tokenising"),
    ):
        with pytest.raises(S2SError, match=r"cannot write .*file/cache") as caught:
            call()
        assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------------------- identity of texts


@given(lines, lines, st.integers(1, 4))
def test_only_equal_texts_have_the_same_identity(one: list[str], other: list[str], pieces: int) -> None:
    assert column(one, pieces).identity == column(list(one), pieces).identity
    if one != other:
        assert column(one, pieces).identity != column(other, pieces).identity


@given(st.data(), st.lists(st.text(max_size=4), min_size=2, max_size=20))
def test_selected_rows_are_part_of_the_identity(data: st.DataObject, texts: list[str]) -> None:
    whole = column(texts)
    some = st.lists(st.integers(0, len(texts) - 1), max_size=8)
    first, second = (np.array(data.draw(some), dtype=np.int64) for _ in range(2))
    assert (whole.select(first).identity == whole.select(second).identity) == (first.tolist() == second.tolist())
    assert whole.select(first).identity != whole.identity
    assert list(whole.select(first)) == [texts[n] for n in first]
    end = data.draw(st.integers(0, len(texts) + 1))
    assert list(whole.head(end)) == texts[:end]
    assert list(whole.select(first).head(end)) == [texts[n] for n in first[:end]]
    if end < len(texts):
        assert whole.head(end).identity != whole.identity


# ------------------------------------------------------------------------------------------------------------- entries


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(lines, st.integers(1, 3), st.sampled_from([1000, 70_000]))
def test_a_text_is_tokenised_once(texts: list[str], pieces: int, vocabulary: int) -> None:
    first = cached_ids(column(texts, pieces), code_points, vocabulary, b"model %d" % vocabulary, "tokenising")
    again = cached_ids(column(texts, pieces), never, vocabulary, b"model %d" % vocabulary, "tokenising")
    plain = cached_ids(texts, code_points, vocabulary, b"", "tokenising")
    for ids in (first, again, plain):
        assert as_lists(ids) == code_points(texts)
        assert ids.lengths.tolist() == [len(text) for text in texts]


def test_another_model_tokenises_again() -> None:
    texts = column(["a", "bc"])
    cached_ids(texts, code_points, 1000, b"one", "tokenising")
    other = cached_ids(texts, lambda some: [[7] for _ in some], 1000, b"other", "tokenising")
    assert as_lists(other) == [[7], [7]]


def test_a_damaged_file_is_one_line() -> None:
    texts = column(["abc", "de"])
    cached_ids(texts, code_points, 1000, b"one", "tokenising")
    (values,) = cache_folder().glob("ids-*/values")
    values.write_bytes(values.read_bytes()[:-2])
    with pytest.raises(S2SError, match=r"values is damaged.*delete its folder"):
        cached_ids(texts, never, 1000, b"one", "tokenising")


def test_a_temporary_file_leaves_nothing() -> None:
    ids = temporary_ids(["abc", ""], code_points, 1000, "tokenising")
    assert list(cache_folder().iterdir()) == []
    assert as_lists(ids) == code_points(["abc", ""])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(lines, st.sampled_from(["en", "zh"]))
def test_lengths_are_counted_once(texts: list[str], language: str) -> None:
    expected = [length_in_words(text, language) for text in texts]
    for _ in range(2):
        assert lengths_in_words(column(texts), language).tolist() == expected
    assert lengths_in_words(texts, language).tolist() == expected
    rows = np.arange(len(texts))[::-2]
    assert lengths_in_words(column(texts).select(rows), language).tolist() == expected[::-2]


def test_different_values_of_a_text_have_different_entries() -> None:
    texts = column(["a b", "c"])
    assert line_values(texts, "characters", len).tolist() == [3, 1]
    assert line_values(texts, "words", lambda text: len(text.split())).tolist() == [2, 1]


def test_a_tokenizer_is_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import sentencepiece

    texts = [f"the dog number {n} runs" for n in range(50)]
    joint = TokenizerConfig("bpe", 60, True, False, 0.0, "identity", None)

    def model(config: TokenizerConfig = joint, pieces: int = 1) -> tuple[bytes, bytes]:
        tokenizer: Tokenizer = train_tokenizer(config, column(texts, pieces), column([text[::-1] for text in texts]))
        return tokenizer.source.proto, tokenizer.target.proto

    separate = TokenizerConfig("bpe", 60, False, False, 0.0, "identity", None)
    first, both = model(), model(separate)
    assert both[0] != both[1]
    with monkeypatch.context() as patch:
        patch.delattr(sentencepiece.SentencePieceTrainer, "train")
        assert model() == first
        assert model(separate) == both
    assert model(TokenizerConfig("bpe", 50, True, False, 0.0, "identity", None)) != first
    assert model(TokenizerConfig("unigram", 60, True, False, 0.0, "identity", None)) != first


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    entry = cached("kind", ("key",), lambda folder: (folder / "file").write_text("x") and None)
    for path in entry.iterdir():
        path.unlink()
    entry.rmdir()
    orphaned = entry.with_name(f".{entry.name}.99999")
    orphaned.mkdir()
    assert cached("kind", ("key",), lambda folder: (folder / "file").write_text("x") and None) == entry
    assert not orphaned.exists()
