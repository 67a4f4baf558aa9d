"""Corpora: layouts of local folders and files, filtering, and one-line errors."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2s.config import FilesData, GrammarData, HubData, TokenizerConfig
from s2s.data import grammar
from s2s.data.columns import TextColumn
from s2s.data.corpus import Corpus, Split, load_corpus
from s2s.data.lengths import length_in_words, unit
from s2s.data.pairs import read_rows
from s2s.errors import S2SError

TOKENIZER = TokenizerConfig("bpe", 100, True, True, 0.0, "identity", None)
PAIRS = [("a dog", "ein Hund"), ("the cat sleeps", "die Katze schläft"), ("x\u2028y\x0b\x85", "ü\x0c\x1c z")]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def hub(path: Path | str, **changes: Any) -> HubData:
    languages, splits = ("en", "de", "en", "de"), ("train", "validation", ["test"])
    config = HubData("toy", "hub", str(path), None, None, *languages, *splits, None, None, TOKENIZER)
    return replace(config, **changes)


def files(folder: Path, **changes: Any) -> FilesData:
    where = [str(folder / name) for name in ("train", "validation", "test")]
    config = FilesData("toy", "files", "en", "de", "en", "de", where[0], where[1], [where[2]], None, None, TOKENIZER)
    return replace(config, **changes)


def flat(pairs: list[tuple[Any, Any]]) -> str:
    return "".join(json.dumps({"en": en, "de": de}, ensure_ascii=False) + "\n" for en, de in pairs)


def nested(pairs: list[tuple[Any, Any]]) -> str:
    return "".join(json.dumps({"id": 1, "translation": {"en": en, "de": de}}) + "\n" for en, de in pairs)


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def folder(path: Path, layout: Any = flat, names: tuple[str, ...] = ("train", "validation", "test")) -> Path:
    for name in names:
        write(path / f"{name}.jsonl", layout([*PAIRS, (name, name)]))
    return path


def pairs_of(split: Split) -> list[tuple[str, str]]:
    return list(zip(split.source, split.target, strict=True))


def error(config: Any, splits: list[str] | None = None) -> str:
    with pytest.raises(S2SError) as caught:
        load_corpus(config, splits)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------------ layouts


cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t\ufeff"), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pairs=st.lists(st.tuples(cell, cell), min_size=1, max_size=6))
def test_every_layout_of_files_reads_the_same(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    en = write(tmp_path / "t.en", "".join(f"{a}\n" for a, _ in pairs))
    de = write(tmp_path / "t.de", "".join(f"{b}\r\n" for _, b in pairs))
    header = write(tmp_path / "h.tsv", "de\tnote\ten\n" + "".join(f"{b}\t-\t{a}\n" for a, b in pairs))
    plain = write(tmp_path / "p.tsv", "".join(f"{a}\t{b}\t\n" for a, b in pairs))
    for layout in ((en, de), (header,), (plain,)):
        if layout == (plain,) and {"en", "de"} <= set(pairs[0]):
            continue  # this is a header
        assert list(read_rows(layout, ("en", "de"))) == pairs
    for form in (flat, nested):
        jsonl = write(tmp_path / "j.jsonl", form(pairs) + "\n")
        assert list(read_rows((jsonl,), ("en", "de"))) == pairs


def csv_table(pairs: list[tuple[str, str]]) -> bytes:
    rows = io.StringIO(newline="")
    csv.writer(rows, lineterminator="\n").writerows([("id", "en", "de"), *((n, *pair) for n, pair in enumerate(pairs))])
    return rows.getvalue().encode()


def json_array(pairs: list[tuple[str, str]]) -> bytes:
    return json.dumps([{"translation": {"en": en, "de": de, "fr": "x"}} for en, de in pairs], indent=1).encode()


def parquet_table(pairs: list[tuple[str, str]], **columns: list[Any]) -> bytes:
    file = io.BytesIO()
    en, de = zip(*pairs, strict=True)
    pq.write_table(pa.table({"en": en, "de": de, **columns}), file)
    return file.getvalue()


def parquet_nested(pairs: list[tuple[str, str]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"translation": [{"de": de, "en": en} for en, de in pairs]}), file)
    return file.getvalue()


# What a cell looks like does not matter: pandas and pyarrow would take these for missing values, dates and numbers, and
# their quotes for CSV's.
LOOKS = [
    ("None", "Keine"), ("NA", "NA"), ("null", "nan"), ("3 of May 1979", "1979-05-03"), ("007", "1e3"),
    ("true", "False"), ("A b c d.", '"B b b b.'),
    ("C c c c.", '"D d d d.'), ("E e e e.", 'F f f f."'), ("G, g", "H; h"), ("1979", "-0"),
]  # fmt: skip
TABLES = {
    "tsv": lambda pairs: "".join(f"{a}\t{b}\n" for a, b in [("en", "de"), *pairs]).encode(),
    "csv": csv_table,
    "jsonl": lambda pairs: flat(pairs).encode(),
    "json": json_array,
    "parquet": parquet_table,
}


@pytest.mark.parametrize("suffix", TABLES)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order-mark"])
def test_a_cell_is_text_whatever_it_looks_like(tmp_path: Path, suffix: str, mark: bytes) -> None:
    """The same file in a folder of the hub's layout and by its name."""
    mark = b"" if suffix == "parquet" else mark
    for name in ("train", "validation", "test"):
        write(tmp_path / "corpus[v2]{a,b}*" / f"{name}.{suffix}", mark + TABLES[suffix](LOOKS))
    assert pairs_of(load_corpus(hub(tmp_path / "corpus[v2]{a,b}*")).train) == LOOKS
    where = tmp_path / "corpus[v2]{a,b}*" / f"train.{suffix}"
    assert pairs_of(load_corpus(files(tmp_path, train=str(where)), ["train"]).train) == LOOKS
    single = [(en, de) for en, de in LOOKS if en == "NA"]  # nothing tells a column of these from one without text
    write(where, TABLES[suffix](single))
    assert pairs_of(load_corpus(hub(where.parent), ["train"]).train) == single


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pairs=st.lists(st.tuples(cell, cell), min_size=1, max_size=6))
def test_every_table_reads_the_same(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    for suffix, table in {**TABLES, "nested.parquet": parquet_nested}.items():
        path = write(tmp_path / f"t.{suffix}", table(pairs))
        assert list(read_rows((path,), ("en", "de"), named=True)) == pairs, suffix


def test_shards_and_subsets_of_a_local_folder(tmp_path: Path) -> None:
    for place in (tmp_path / "[a]", tmp_path / "[a]" / "data" / "de-en"):
        for n, pair in enumerate(PAIRS):
            write(place / f"train-0000{n}-of-00003.parquet", parquet_table([pair]))
        write(place / "train-other.parquet", parquet_table([("x", "y")]))
    assert pairs_of(load_corpus(hub(tmp_path / "[a]"), ["train"]).train) == PAIRS
    assert pairs_of(load_corpus(hub(tmp_path / "[a]", subset="de-en"), ["train"]).train) == PAIRS
    assert "no file of that split; there are: data, train-00000-of" in error(hub(tmp_path / "[a]"), ["validation"])


def test_a_nested_column_may_have_other_languages_in_some_lines(tmp_path: Path) -> None:
    values = [{"en": en, "de": de, **({"fr": "x"} if n % 2 else {})} for n, (en, de) in enumerate(PAIRS)]
    write(tmp_path / "train.jsonl", "".join(json.dumps({"translation": value}) + "\n" for value in values))
    assert pairs_of(load_corpus(hub(tmp_path), ["train"]).train) == PAIRS


@pytest.mark.parametrize("layout", ["hub", "files", "datasets"])
def test_a_file_is_known_by_its_content_and_not_by_its_time(tmp_path: Path, layout: str) -> None:
    # A folder that only `datasets` can search is read by it.
    path = tmp_path / ("sub/odd_train.jsonl" if layout == "datasets" else "train.jsonl")
    config = files(tmp_path, train=str(path)) if layout == "files" else hub(tmp_path)
    for pairs in ([("old", "alt")], [("new", "neu")], [("old", "alt")]):
        write(path, flat(pairs))
        os.utime(path, (1_000_000_000, 1_000_000_000))
        assert pairs_of(load_corpus(config, ["train"]).train) == pairs


def test_tables_that_datasets_finds_hold_text_too(tmp_path: Path) -> None:
    write(tmp_path / "sub" / "a_train.csv", csv_table(LOOKS))
    assert pairs_of(load_corpus(hub(tmp_path), ["train"]).train) == LOOKS
    write(tmp_path / "tabs" / "sub" / "a_train.tsv", TABLES["tsv"](LOOKS))
    assert pairs_of(load_corpus(hub(tmp_path / "tabs"), ["train"]).train) == LOOKS


@pytest.mark.parametrize("name", ["validation", "train"])
def test_no_test_set_takes_the_place_of_a_split_of_the_run(tmp_path: Path, name: str) -> None:
    data = folder(tmp_path)
    write(data / "test.jsonl", flat([("", "x"), ("y", "z")]))
    assert f"there is a split {name} already" in error(hub(data, validation="test", tests=[name]))
    assert f"there is a split {name} already" in error(files(data, tests=[f"{data}/{name}.jsonl"]))
    assert pairs_of(load_corpus(hub(data, validation="test", tests=[])).validation) == [("y", "z")]


@pytest.mark.parametrize("layout", [flat, nested])
def test_a_local_folder(tmp_path: Path, layout: Any) -> None:
    corpus = load_corpus(hub(folder(tmp_path / "data", layout)))
    assert pairs_of(corpus.train) == [*PAIRS, ("train", "train")]
    assert pairs_of(corpus.validation) == [*PAIRS, ("validation", "validation")]
    assert pairs_of(corpus.tests["test"]) == [*PAIRS, ("test", "test")]
    assert list(corpus.splits) == ["train", "validation", "test"]
    assert corpus.filtered == {}
    assert corpus.train.source[-1] == "train"
    assert corpus.train.source[1:3] == [PAIRS[1][0], PAIRS[2][0]]
    with pytest.raises(IndexError):
        corpus.train.source[4]


def test_named_test_sets_of_a_local_folder(tmp_path: Path) -> None:
    names = ("train", "val", "test_2016_flickr", "test-2017.mscoco")
    config = hub(folder(tmp_path, names=names), validation="val", tests=list(names[2:]))
    corpus = load_corpus(config)
    assert corpus.validation.source[-1] == "val"
    assert {name: split.source[-1] for name, split in corpus.tests.items()} == {name: name for name in names[2:]}
    assert list(load_corpus(config, ["test"]).tests) == list(names[2:])
    assert list(load_corpus(config, [names[3]]).splits) == [names[3]]
    with pytest.raises(ValueError, match="train split was not requested"):
        _ = load_corpus(config, ["validation"]).train
    assert "no split tset" in error(config, ["tset"])


def test_other_layouts_that_datasets_knows(tmp_path: Path) -> None:
    folder(tmp_path / "data")  # data/train.jsonl and so on: found by `datasets` itself
    assert len(load_corpus(hub(tmp_path)).train) == 4
    both = folder(tmp_path / "both")
    write(both / "train.json", flat([("more", "mehr")]))  # of two tables of a split neither is preferred
    assert sorted(load_corpus(hub(both)).train.source) == sorted([*(en for en, _ in PAIRS), "train", "more"])
    features = datasets.Features({"translation": datasets.Translation(["en", "de"])})
    rows = [{"translation": {"en": a, "de": b}} for a, b in PAIRS]
    for name in ("train", "validation", "test"):
        datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "parquet" / f"{name}.parquet")
    assert pairs_of(load_corpus(hub(tmp_path / "parquet")).train) == PAIRS


def test_files(tmp_path: Path) -> None:
    write(tmp_path / "train.en", "".join(f"{a}\n" for a, _ in PAIRS))
    write(tmp_path / "train.de", "".join(f"{b}\n" for _, b in PAIRS))
    write(tmp_path / "validation.tsv", "".join(f"{a}\t{b}\n" for a, b in PAIRS))
    write(tmp_path / "test.jsonl", nested(PAIRS))
    config = files(tmp_path, validation=f"{tmp_path}/validation.tsv", tests=[f"{tmp_path}/test.jsonl"])
    corpus = load_corpus(config)
    assert all(pairs_of(split) == PAIRS for split in corpus.splits.values())
    assert list(corpus.tests) == ["test"]
    write(tmp_path / "train.de", "".join(f"{b}!\n" for _, b in PAIRS))  # the cache goes by content
    assert load_corpus(config, ["train"]).train.target[0] == "ein Hund!"


def test_the_built_in_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(split: str, *, pairs: int, seed: int, longest: int, lexicon: str) -> Iterator[tuple[str, str]]:
        assert (longest, lexicon) == (24, "basic")
        return ((f"{split} {seed} {i} " + "word " * (i % 3), f"wort {i}") for i in range(pairs))

    monkeypatch.setattr(grammar, "generate", generate, raising=False)
    config = GrammarData("grammar", "grammar", "en", "de", 30, 12, 6, 5, 4, TOKENIZER, 24, "basic")
    corpus = load_corpus(config)
    assert {name: len(split) for name, split in corpus.splits.items()} == {"train": 20, "validation": 12, "test": 6}
    assert corpus.validation.source[4] == "validation 5 4 word "
    assert corpus.filtered == {"train": {"longer than max_length": 10}}


def test_a_bug_is_not_reported_as_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def generate(split: str, **_: object) -> Iterator[tuple[str, str]]:
        yield "a", "b"
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(grammar, "generate", generate, raising=False)
    with pytest.raises(ZeroDivisionError):
        load_corpus(GrammarData("grammar", "grammar", "en", "de", 31, 12, 6, 5, None, TOKENIZER))


def test_random_access_to_columns(tmp_path: Path) -> None:
    many = [(f"line {i}", f"zeile {i}") for i in range(10_000)]
    write(tmp_path / "train.jsonl", flat(many))
    source = load_corpus(hub(tmp_path), ["train"]).train.source
    assert isinstance(source, TextColumn)
    assert [source[i] for i in (0, 9_999, -10_000, 5_000)] == ["line 0", "line 9999", "line 0", "line 5000"]
    assert source[9_998:] == ["line 9998", "line 9999"]
    assert source[3:0:-2] == ["line 3", "line 1"]
    assert list(source) == [a for a, _ in many]
    kept = load_corpus(hub(tmp_path, max_train_pairs=9_000), ["train"]).train.source
    assert (len(kept), kept[-1], kept[4_000:4_002]) == (9_000, "line 8999", ["line 4000", "line 4001"])


# ---------------------------------------------------------------------------------------------------------- filtering


def test_filtered_pairs_are_counted(tmp_path: Path) -> None:
    empty_side = [("", "x"), ("y", " \u3000")]
    odd = [("one two three", "eins"), *empty_side, ("ok", "gut"), ("a", "b c d"), ("ok 2", "gut 2"), ("3", "3")]
    for name in ("train", "validation", "test"):
        write(tmp_path / f"{name}.jsonl", flat(odd))
    corpus = load_corpus(hub(tmp_path, max_length=2, max_train_pairs=2))
    assert pairs_of(corpus.train) == [("ok", "gut"), ("ok 2", "gut 2")]
    assert pairs_of(corpus.validation) == [p for p in odd if p[0].strip() and p[1].strip()]
    assert pairs_of(corpus.tests["test"]) == odd
    empty = {"empty source": 1, "empty target": 1}
    assert corpus.filtered == {
        "train": {**empty, "longer than max_length": 2, "beyond max_train_pairs": 1},
        "validation": empty,
    }


WORDY = st.text(st.sampled_from("a \t\u3000\x1c"), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(st.lists(st.tuples(WORDY, WORDY), min_size=1, max_size=25), st.integers(1, 3), st.integers(1, 12))
def test_filtering_against_a_plain_loop(tmp_path: Path, pairs: list[tuple[str, str]], longest: int, most: int) -> None:
    kept: list[tuple[str, str]] = []
    reasons: Counter[str] = Counter()
    for number, (source, target) in enumerate(pairs):
        if len(kept) == most:
            reasons["beyond max_train_pairs"] = len(pairs) - number
            break
        if not source.strip():
            reasons["empty source"] += 1
        elif not target.strip():
            reasons["empty target"] += 1
        elif max(len(source.split()), len(target.split())) > longest:
            reasons["longer than max_length"] += 1
        else:
            kept.append((source, target))
    write(tmp_path / "train.jsonl", flat(pairs))
    config = hub(tmp_path, max_length=longest, max_train_pairs=most)
    if not kept:
        assert "has no sentence pairs" in error(config, ["train"])
        return
    corpus = load_corpus(config, ["train"])
    assert pairs_of(corpus.train) == kept
    assert corpus.filtered == ({"train": dict(reasons)} if reasons else {})


def test_length_is_counted_in_characters_where_there_are_no_spaces(tmp_path: Path) -> None:
    assert length_in_words("  a  dog\u3000runs\n", "en") == 3
    assert length_in_words("我 喜歡 書。", "zh_CN") == 5
    assert [unit(code) for code in ("en", "zh-Hans", "ja", "TH", "zu")] == [
        "words", "characters", "characters", "characters", "words",
    ]  # fmt: skip
    write(tmp_path / "train.jsonl", flat([("a b c d", "我喜歡"), ("a", "我喜歡書。")]))
    corpus = load_corpus(hub(tmp_path, max_length=4, target_language="zh"), ["train"])
    assert pairs_of(corpus.train) == [("a b c d", "我喜歡")]


# ------------------------------------------------------------------------------------------------------------- errors


def test_errors_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = folder(tmp_path / "data")
    assert "there is no such folder" in error(hub(tmp_path / "none"))
    assert "no key 'fr'; there are: en, de; data.source and" in error(hub(data, target="fr"))
    assert "no split tset; there are: train, validation, test" in error(hub(data, tests=["tset"]))
    nest = folder(tmp_path / "nest", nested)
    assert "no key 'fr'; there are: en, de" in error(hub(nest, target="fr"))
    write(data / "train.jsonl", flat([("a", "b"), ("c", None)]))
    assert re.search(r"train.jsonl, line 2: 'de' is null, not text", error(hub(data)))
    write(data / "train.jsonl", '{"en": "a", "de": "b"}\n{"en": "c"}\n')
    assert "train.jsonl, line 2: no key 'de'" in error(hub(data))
    write(data / "train.jsonl", flat([("a", 1), ("c", 2)]))
    assert "train.jsonl, line 1: 'de' is 1, not text" in error(hub(data))
    write(data / "train.jsonl", flat([("a", 1), ("c", "d")]))
    assert "de" in error(hub(data))
    write(data / "train.jsonl", '{"en": "a", "de": "b"}\n{"en": "c", "de": \n')
    assert "train.jsonl, line 2: not JSON" in error(hub(data))
    write(data / "train.jsonl", flat([("", "b"), ("a", " ")]))
    assert error(hub(data)).endswith("no sentence pairs; filtered: 1 empty source, 1 empty target")
    monkeypatch.chdir(tmp_path)
    assert len(load_corpus(hub("nest")).train) == 4  # a folder goes before the hub


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    message = error(hub("nobody/no-such-data-set"))
    assert message.startswith("data.path=nobody/no-such-data-set: the hub cannot be reached")
    assert "data.path=FOLDER" in message


def test_errors_of_files(tmp_path: Path) -> None:
    good = folder(tmp_path / "good")

    def train(name: str, **contents: str | bytes) -> str:
        for suffix, content in contents.items():
            write(tmp_path / f"{name}.{suffix}", content)
        single = next(iter(contents)) if set(contents) <= {"tsv", "jsonl"} else None
        where = f"{tmp_path}/{name}" + (f".{single}" if single else "")
        return error(files(good, train=where, validation=f"{good}/validation.jsonl", tests=[f"{good}/test.jsonl"]))

    assert re.search(r"data.train=.*there is no file .*a\.de \(it stands for a.en and a.de", train("a", en="x\n"))
    assert re.search(r"b.en has 3 lines and .*b.de has 1", train("b", en="1\n2\n3\n", de="1\n"))
    assert re.search(r"c.en has 1 lines and .*c.de has 2", train("c", en="1\n", de="1\n2\n"))
    assert re.search(r"d.de, line 2: not UTF-8 \(byte 0xe4 at position 3", train("d", en="1\n2\n", de=b"1\n23\xe4\n"))
    assert re.search(r"e.tsv, line 3: 1 column where at least 2", train("e", tsv="a\tb\nc\td\n\n"))
    assert re.search(r"f.tsv, line 2: 2 columns where at least 3", train("f", tsv="x\ten\tde\na\tb\n"))
    assert re.search(
        r"p.tsv, line 1: the columns are called id, en, none of them de: .* must have both en and de; data",
        train("p", tsv="id\ten\na\tb\n"),
    )
    assert re.search(r"g.jsonl, line 3: not JSON", train("g", jsonl=flat(PAIRS[:1]) + "\n{'en'}\n"))
    assert re.search(r"h.jsonl, line 1: no key 'de'; there are: en, fr", train("h", jsonl='{"en": "a", "fr": "b"}\n'))
    assert re.search(r"i.jsonl, line 2: 'de' is null", train("i", jsonl=flat([("a", "b"), ("c", None)])))
    assert re.search(r"j.jsonl, line 1: 'en' is 5, not text", train("j", jsonl=nested([(5, "b")])))
    assert re.search(r"k.jsonl, line 1: not a JSON object", train("k", jsonl='["a", "b"]\n'))
    assert re.search(r"l.jsonl, line 1: 'de' holds half", train("l", jsonl='{"en": "a", "de": "\\ud800"}\n'))
    assert "there are no sentence pairs in" in train("m", en="", de="")
    assert "filtered: 1 empty target" in train("n", tsv="a\t \n")
    late = "".join(f"{i}\t{i}\n" for i in range(5000)) + "oops\n"  # an error while the table is made
    assert re.search(r"o.tsv, line 5001: 1 column", train("o", tsv=late))
    assert re.search("there is no file .*none.tsv$", error(files(good, train=f"{tmp_path}/none.tsv"), ["train"]))
    two = [f"{good}/test.jsonl", f"{tmp_path}/test.tsv"]
    assert "there is a split test already" in error(files(good, tests=two))


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = folder(tmp_path / "good")
    write(tmp_path / "file", "")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "file" / "cache")
    assert "HF_DATASETS_CACHE puts it elsewhere" in error(files(good, train=f"{good}/train.jsonl"), ["train"])


def test_a_split_has_as_many_lines_on_both_sides() -> None:
    with pytest.raises(S2SError, match="2 source and 1 target"):
        Split("train", ["a", "b"], ["c"])
    corpus = Corpus("en", "de", None, None, {"test": Split("test", ["a"], ["b"])})
    assert list(corpus.splits) == ["test"]


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_corpus(hub(folder(tmp_path)))
    assert capfd.readouterr() == ("", "")
    assert not datasets.are_progress_bars_disabled()
