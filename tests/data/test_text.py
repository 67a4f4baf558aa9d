"""Text of one language as a data set: readers, filtering, tokeniser, ids, summary, configuration."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s2s.commands.console import plain
from s2s.commands.evaluate import test_sets as evaluated_sets
from s2s.commands.train import check_text
from s2s.config import GrammarData, GrammarTextData, MonolingualData, TextData, parse
from s2s.data import batching, grammar
from s2s.data import tokenizer as tokenizer_module
from s2s.data.batching import TrainingData, evaluation_batches
from s2s.data.corpus import Corpus, Split, check_corpus, load_corpus
from s2s.data.pairs import read_rows
from s2s.data.summary import digest_of, summarise
from s2s.data.tokenizer import Tokenizer, train_tokenizer
from s2s.errors import S2SError
from s2s.files import write_json
from s2s.training.checkpoint import RunDirectory

from .test_corpus import TABLES, TOKENIZER, cell, error, write

LINES = ["a dog", "the cat sleeps", "x\u2028y\x0b\x85", "NA", '"b', "007"]


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


def text(train: Path | str, validation: Path | str = "validation", **changes: Any) -> TextData:
    splits = str(train), str(validation)
    config = TextData("toy", "text", None, None, None, "en", "en", *splits, None, None, TOKENIZER)
    return replace(config, **changes)


def grammar_text(language: Any = "en", **changes: Any) -> GrammarTextData:
    return replace(GrammarTextData("toy", "grammar_text", language, 300, 60, 2, None, TOKENIZER), **changes)


def lines_of(config: TextData) -> list[str]:
    split = load_corpus(config, ["train"]).train
    assert split.monolingual
    return list(split.source)


def table(suffix: str, lines: list[str]) -> bytes:
    """A table with the lines in the column `en`, and with a column `de`."""
    contents: bytes = TABLES[suffix]([(line, "x") for line in lines])  # type: ignore[no-untyped-call]
    return contents


# ------------------------------------------------------------------------------------------------------------ reading


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines=st.lists(cell, min_size=1, max_size=6), end=st.sampled_from(["\n", "\r\n"]))
def test_a_file_has_the_lines_that_it_has_in_a_pair_of_files(tmp_path: Path, lines: list[str], end: str) -> None:
    path = write(tmp_path / "t.txt", "\ufeff" + "".join(line + end for line in lines))
    rows = list(read_rows((path,), ("en",)))
    assert rows == [(line,) for line in lines]
    assert [row[0] for row in read_rows((path, path), ("en", "de"))] == lines


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lines=st.lists(cell, min_size=1, max_size=6), column=st.sampled_from(["en", "de"]))
def test_a_column_is_that_of_the_pairs_of_the_same_table(tmp_path: Path, lines: list[str], column: str) -> None:
    for suffix in TABLES:
        path = write(tmp_path / f"t.{suffix}", table(suffix, lines))
        for named in (True, False):
            pairs = list(read_rows((path,), ("en", "de"), named))
            assert pairs == [(line, "x") for line in lines]
            side = ("en", "de").index(column)
            assert list(read_rows((path,), (column,), named)) == [(pair[side],) for pair in pairs], suffix


def test_a_tsv_of_one_column_may_have_no_name(tmp_path: Path) -> None:
    path = write(tmp_path / "t.tsv", "a dog\nthe cat\n")
    assert lines_of(text(path)) == ["a dog", "the cat"]
    assert lines_of(text(write(path, "en\na dog\n"))) == ["a dog"]
    # Without names nothing says which of several columns holds the language.
    assert error(text(write(path, "a dog\tein Hund\n")), ["train"]) == (
        f"{path}, line 1: the columns are called a dog, ein Hund, none of them en: a line of names must have en; "
        "data.column names it"
    )


def test_a_corpus_of_files(tmp_path: Path) -> None:
    train = write(tmp_path / "train.en", "".join(f"{line}\n" for line in LINES))
    config = text(train, write(tmp_path / "validation.csv", table("csv", LINES)))
    corpus = load_corpus(config)
    assert list(corpus.splits) == ["train", "validation"]
    assert (corpus.source_language, corpus.target_language, corpus.filtered) == ("en", "en", {})
    for split in corpus.splits.values():
        assert list(split.source) == LINES
        assert split.target is split.source
        assert split.rows_name == "lines"
    write(train, "new\n")  # the cache goes by content
    assert lines_of(config) == ["new"]
    assert "no split test" not in error(replace(config, train="none"))
    assert load_corpus(config, ["test"]).splits == {}


@pytest.mark.parametrize("suffix", [*TABLES, "txt"])
def test_a_local_folder_of_the_layout_of_the_hub(tmp_path: Path, suffix: str) -> None:
    lines = [*LINES, "a\rb"] if suffix != "csv" else LINES  # where a cell needs quotes for that
    contents = "".join(f"{line}\n" for line in lines).encode() if suffix == "txt" else table(suffix, lines)
    folder = tmp_path / "[a]" / "data" / "news"
    write(folder / f"train.{suffix}", contents)
    for part in range(2):
        write(folder / f"dev-0000{part}-of-00002.{suffix}", contents)
    corpus = load_corpus(text("train", "dev", path=str(tmp_path / "[a]"), subset="news"))
    assert list(corpus.train.source) == lines
    assert list(corpus.validation.source) == 2 * lines
    assert all(split.monolingual for split in corpus.splits.values())


def test_a_folder_that_only_datasets_can_search(tmp_path: Path) -> None:
    write(tmp_path / "sub" / "a_train.csv", table("csv", LINES))
    assert lines_of(text("train", path=str(tmp_path))) == LINES
    message = error(text("train", path=str(tmp_path), column="text"), ["train"])
    assert message.endswith("split train: no column text; there are: id, en, de; data.column names it")


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("a.txt", b"1\n23\xe4\n", "a.txt, line 2: not UTF-8 (byte 0xe4 at position 3"),
        ("a.txt", b"", "a.txt: there are no lines in "),
        ("a.txt", b"\n \n", "split train of data toy has no lines; filtered: 2 empty"),
        ("a.jsonl", b'{"en": "a"}\n{"de": "b"}\n', "a.jsonl, line 2: no key 'en'; there are: de; data.column names it"),
        ("a.jsonl", b'{"en": null}\n', "a.jsonl, line 1: 'en' is null, not text: correct or remove it"),
        ("a.jsonl", b'{"en": "\\ud800"}\n', "a.jsonl, line 1: 'en' holds half of a surrogate pair"),
        ("a.jsonl", b"[1]\n", "a.jsonl, line 1: not a JSON object: it must look like {'en': \u2026}"),
        ("a.csv", b"id,de\n1,x\n", "a.csv, line 1: the columns are called id, de, none of them en: a line of names"),
        ("a.csv", b"id,en\n1\n", "a.csv, line 2: 1 column where at least 2 are needed"),
        ("a.parquet", b"x", "a.parquet is not a readable Parquet file"),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, name: str, contents: bytes, message: str) -> None:
    config = text(write(tmp_path / name, contents), write(tmp_path / "good.txt", "good\n"))
    assert message in error(config)
    if "filtered" not in message and "line 2" not in message:  # what the beginning of a file shows
        with pytest.raises(S2SError, match=name):
            check_corpus(config)


def test_missing_text_is_one_line(tmp_path: Path) -> None:
    good = write(tmp_path / "good.txt", "good\n")
    config = text(good, tmp_path / "none.txt")
    with pytest.raises(S2SError) as caught:
        check_corpus(config)
    assert str(caught.value) == f"data.validation={tmp_path}/none.txt: there is no file {tmp_path}/none.txt"
    check_corpus(text(good, good))
    with pytest.raises(S2SError, match="there is no such folder"):
        check_corpus(text("train", path="./none"))
    parquet = write(tmp_path / "t.parquet", table("parquet", LINES))
    assert "no column text; there are: en, de; data.column names it" in error(text(parquet, column="text"))


# --------------------------------------------------------------------------------------------------- filtering, grammar


def test_filtered_lines_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "t.txt", "one two three\n\n \u3000\nok\n\na b\nc\n\n")
    corpus = load_corpus(text(path, path, max_length=2, max_train_lines=2))
    assert list(corpus.train.source) == ["ok", "a b"]
    assert corpus.train.monolingual
    assert list(corpus.validation.source) == ["one two three", "ok", "a b", "c"]
    assert corpus.filtered == {
        "train": {"empty": 3, "longer than max_length": 1, "beyond max_train_lines": 2},
        "validation": {"empty": 4},
    }
    assert list(load_corpus(text(path, path, max_length=3, language="zh")).train.source) == ["ok", "a b", "c"]


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_grammar_in_either_language(language: str) -> None:
    config = grammar_text(language, train_lines=200, validation_lines=30, lexicon="basic", longest=18)
    corpus = load_corpus(config)
    assert {name: len(split) for name, split in corpus.splits.items()} == {"train": 200, "validation": 30}
    assert (corpus.source_language, corpus.target_language) == (language, language)
    parallel = GrammarData("grammar", "grammar", "en", "de", 200, 30, 120, 1, None, TOKENIZER, 18, "basic")
    pairs = load_corpus(parallel)
    sides = {name: set(split.source if language == "en" else split.target) for name, split in pairs.splits.items()}
    for split in corpus.splits.values():
        assert split.monolingual
        assert len(set(split.source)) == len(split)
        assert not sides["test"] & set(split.source)
        assert set(split.source) != sides[split.name]
    assert not sides["validation"] & set(corpus.train.source)
    generated = grammar.generate("train", pairs=200, seed=2, longest=18, lexicon="basic")
    assert list(corpus.train.source) == [pair[("en", "de").index(language)] for pair in generated]
    assert max(len(line.split()) for line in load_corpus(replace(config, max_length=9), ["train"]).train.source) == 9


# ------------------------------------------------------------------------------------------ tokeniser, batches, summary


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus(grammar_text())


@pytest.fixture(scope="module")
def tokenizer(corpus: Corpus) -> Tokenizer:
    return train_tokenizer(replace(TOKENIZER, vocab_size=400, sampling=0.2), corpus.train.source, corpus.train.target)


def test_the_tokeniser_is_trained_once_on_the_text(
    corpus: Corpus, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(TOKENIZER, vocab_size=400)
    counts: list[int] = []
    fit = tokenizer_module._fit

    def counting(config: Any, lines: Iterator[str], kind: Any, size: int) -> bytes:
        counts.append(sum(1 for _ in lines))
        return fit(config, lines, kind, size)

    monkeypatch.setattr(tokenizer_module, "_fit", counting)
    once = train_tokenizer(config, corpus.train.source, corpus.train.target)
    assert counts == [len(corpus.train)]
    assert train_tokenizer(config, corpus.train.source, corpus.train.target).source.proto == once.source.proto
    assert counts == [len(corpus.train)]  # the cache has it
    assert train_tokenizer(config, list(corpus.train.source), []).source.proto == once.source.proto
    assert once.source is once.target


def test_both_sides_of_a_batch_are_the_same_ids(
    corpus: Corpus, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("cached_ids", "temporary_ids"):
        function = getattr(batching, name)
        monkeypatch.setattr(
            batching, name, lambda *args, name=name, function=function: [calls.append(name), function(*args)][1]
        )
    data = TrainingData(corpus.train, tokenizer, 500, seed=3)
    batch, other = data.batch(0, 0), data.batch(1, 0)
    assert calls == ["cached_ids", "temporary_ids", "temporary_ids"]
    for one in (batch, other, evaluation_batches(corpus.validation, tokenizer, 500)[0]):
        assert one.source.equal(one.target)
        assert one.source_mask.equal(one.target_mask)
    # As the source of pairs is sampled, in each epoch differently.
    line = corpus.train.source[batch.index[0]]
    assert tokenizer.decode_source([batch.source[0].tolist()]) == [line]
    pairs = Split("train", corpus.train.source, list(corpus.train.target))
    sampled = batching.EncodedSplit(pairs, tokenizer, sampling=(3, 0))
    assert batch.source[0][: batch.source_lengths[0] - 1].tolist() == sampled.source[batch.index[0]].tolist()
    assert any(not np.array_equal(sampled.source[n], sampled.target[n]) for n in range(len(pairs)))


def test_a_tokeniser_of_two_models_keeps_both(corpus: Corpus) -> None:
    two = train_tokenizer(replace(TOKENIZER, joint=False, vocab_size=400), corpus.train.source, ["ein Hund bellt"])
    ids = batching.EncodedSplit(corpus.validation, two)
    assert ids.source.lengths.tolist() != ids.target.lengths.tolist()


def test_the_summary_speaks_of_lines(corpus: Corpus, tokenizer: Tokenizer) -> None:
    known = corpus.train.source[:3]
    held_out = ["a dog runs home now", *known]
    splits = corpus.train, Split("validation", held_out, held_out)
    both = Corpus("en", "en", *splits, {}, {"train": {"empty": 2}})
    summary = summarise(both, tokenizer, None, None)
    lines = summary.lines()
    assert lines[1].split()[:4] == ["split", "lines", "side", "mean"]
    assert [line.split()[0] for line in lines[2:4]] == ["train", "validation"]
    assert lines[1].split()[-1] == "unknown", "there is no translation to score"
    assert lines[3].split()[-1] == "0.00%"
    assert lines[4:] == ["train: filtered 2 empty", "validation: 3 lines are also in train"]
    assert list(summary.warnings()) == []
    values = json.loads(json.dumps(summary.to_json()))["splits"]["train"]
    assert values["source"] == values["target"]
    spaceless = Split("train", thai := ["สวัสดีชาวโลกทั้งหลาย", "ขอบคุณมากครับ"], thai)
    foreign = Corpus("en", "en", spaceless, None, {})
    with pytest.raises(S2SError, match=r"of the characters of the text \(.*\): check it and data.tokenizer.path"):
        summarise(foreign, tokenizer, None, None)
    (warning,) = summarise(foreign, train_tokenizer(TOKENIZER, thai, thai), None, None).warnings()
    assert warning.startswith("the text hardly has spaces")
    assert "is data.language=en right?" in warning


def test_a_run_resumes_with_the_same_text_alone(tmp_path: Path, corpus: Corpus) -> None:
    directory = RunDirectory(tmp_path)
    splits = {name: {"pairs": len(one), "digest": digest_of(one)} for name, one in corpus.splits.items()}
    write_json(tmp_path / "corpus.json", {"splits": splits})
    check_text(corpus, directory)
    fewer = corpus.train.source[:-1]
    with pytest.raises(S2SError, match="was begun with 300 lines, and there are 299 now in the train split"):
        check_text(Corpus("en", "en", Split("train", fewer, fewer), corpus.validation, {}), directory)
    changed = [*fewer, "changed"]
    with pytest.raises(S2SError, match="was begun with other text in the train split"):
        check_text(Corpus("en", "en", Split("train", changed, changed), corpus.validation, {}), directory)


# ------------------------------------------------------------------------------------------------------ configuration


def composed(root: Path, *overrides: str) -> dict[str, Any]:
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        values = plain(compose("train", list(overrides)))
    values.pop("run_dir")
    return values


OBJECTIVE = ["objective=denoising"]
TEXT = ["data=text", "data.language=de", "data.train=a.txt", "data.validation=b.txt", *OBJECTIVE]


@pytest.mark.parametrize("data", [TEXT, ["data=grammar_text", "data.language=de", *OBJECTIVE]])
def test_the_configurations(root: Path, data: list[str]) -> None:
    config = parse(composed(root, *data))
    assert isinstance(config.data, MonolingualData)
    assert (config.data.source_language, config.data.target_language) == ("de", "de")
    with pytest.raises(
        S2SError, match=f"^data {config.data.name} is text of one language, without test sets, so there"
    ):
        evaluated_sets(config.data, None, config.evaluation)
    with pytest.raises(S2SError) as caught:
        parse(composed(root, *data, "data.tokenizer.joint=false"))
    assert str(caught.value) == (
        "config: data.tokenizer.joint=false is for two languages: text of one language needs joint=true"
    )
    with pytest.raises(S2SError, match=r"unknown key data\.tests"):
        parse(composed(root, *data, "+data.tests=[a]"))


def test_the_grammar_as_text_has_its_vocabulary_and_another_seed(root: Path) -> None:
    config, parallel = parse(composed(root, "data=grammar_text", *OBJECTIVE)).data, parse(composed(root)).data
    assert isinstance(config, GrammarTextData)
    assert isinstance(parallel, GrammarData)
    assert config.tokenizer.vocab_size == parallel.tokenizer.vocab_size
    assert config.grammar_seed != parallel.grammar_seed
    assert (config.longest, config.lexicon) == (parallel.longest, parallel.lexicon)
    with pytest.raises(S2SError, match=r"data\.language='fr' is not one of: "):
        parse(composed(root, "data=grammar_text", "data.language=fr", *OBJECTIVE))
