"""Tokenizers: exact round trips, sizes at both extremes, sampling by seed, folders."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s.config import TokenizerConfig
from s2s.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer, check_coverage, train_tokenizer
from s2s.errors import S2SError

SUBJECTS = ["the boy", "a girl", "the old man", "my friend", "a dog", "the teacher"]
VERBS = ["sees", "buys", "draws", "paints", "finds", "wants"]
OBJECTS = ["a house", "the tree", "an apple", "the red car", "a small boat", "the book"]
ENGLISH = [f"{s.capitalize()} {v} {o}." for s in SUBJECTS for v in VERBS for o in OBJECTS]
_ROWS = list(zip(SUBJECTS, VERBS, OBJECTS, strict=True))
GERMAN = [f"{o}, {v} – für {s}, größer: {i}!" for i in range(36) for s, v, o in _ROWS]
TYPES = ["bpe", "unigram", "char", "word"]

BASE = TokenizerConfig("bpe", 400, joint=False, byte_fallback=True, sampling=0.0, normalization="identity", path=None)


def config(**changes: Any) -> TokenizerConfig:
    return replace(BASE, **changes)


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    return {t: train_tokenizer(config(type=t, sampling=0.0), ENGLISH, GERMAN) for t in TYPES}


# U+2581 is the one character that does not come back; surrogates are no text.
anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), max_size=40)
spacious = st.text(st.sampled_from(" \t\n\r\u2028\u3000\xa0\x00aéボ😀▅⁇<s>/unkpad"), max_size=30)


@settings(deadline=None)
@given(texts=st.lists(anything | spacious, max_size=4))
def test_the_round_trip_is_exact(tokenizers: dict[str, Tokenizer], texts: list[str]) -> None:
    for tokenizer in tokenizers.values():
        for encode, decode in (
            (tokenizer.encode_source, tokenizer.decode_source),
            (tokenizer.encode_target, tokenizer.decode_target),
        ):
            ids = encode(texts)
            assert decode(ids) == texts
            assert all(i > EOS for row in ids for i in row)  # neither <unk> nor a special token, whatever the text


@pytest.mark.parametrize("kind", TYPES)
def test_the_round_trip_of_awkward_texts(tokenizers: dict[str, Tokenizer], kind: str) -> None:
    texts = ["", " ", "  two  spaces ", "\t", "漢字、ＡＢＣ　１２３", "👩\u200d👩\u200d👧 é e\u0301", "x" * 5000]
    texts += ["</s><s><unk><pad><0x41>"]  # looks like special tokens, is text
    tokenizer = tokenizers[kind]
    assert tokenizer.decode_target(tokenizer.encode_target(texts)) == texts
    assert tokenizer.decode_target(tokenizer.encode_target(["a\u2581b"])) == ["a b"]


def test_a_corpus_without_spaces() -> None:
    # Here even the mark of a space goes through byte pieces.
    lines = ["漢字仮名交文章翻訳機械学習" * 300]
    tokenizer = train_tokenizer(config(joint=True), lines, lines)
    texts = ["漢字", " 漢 字 ", "ab  c", ""]
    assert tokenizer.decode_source(tokenizer.encode_source(texts)) == texts


def test_special_tokens_are_removed_and_unknown_is_visible() -> None:
    tokenizer = train_tokenizer(config(byte_fallback=False), ENGLISH, GERMAN)
    [ids] = tokenizer.encode_target(["größer"])
    assert tokenizer.decode_target([[BOS, *ids, EOS, PAD, PAD]]) == ["größer"]
    assert UNK in tokenizer.encode_target(["漢"])[0]
    assert "⁇" in tokenizer.decode_target(tokenizer.encode_target(["漢"]))[0]
    assert tokenizer.decode_target([]) == []
    assert tokenizer.decode_target([np.array([], dtype=np.int64), [EOS]]) == ["", ""]  # type: ignore[list-item]


def test_without_bytes_every_character_of_training_is_known() -> None:
    rare = [*ENGLISH * 20, "ξ"]  # 1 of 100,000 characters
    tokenizer = train_tokenizer(config(byte_fallback=False, joint=True), rare, rare)
    assert tokenizer.decode_source(tokenizer.encode_source(["ξ"])) == ["ξ"]


def test_normalisation_is_configurable() -> None:
    lines = [*ENGLISH, "ＡＢＣ"]
    nfkc = train_tokenizer(config(normalization="nmt_nfkc", joint=True), lines, lines)
    assert nfkc.decode_source(nfkc.encode_source(["  ＡＢＣ  x "])) == ["ABC x"]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("byte_fallback", [True, False])
def test_sizes_at_both_extremes(kind: str, byte_fallback: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        tiny = train_tokenizer(config(type=kind, byte_fallback=byte_fallback, vocab_size=1), ENGLISH, GERMAN)
    assert caplog.text.count("the smallest possible") == 2
    least = 4 + 256 * byte_fallback
    characters = len(set("".join(ENGLISH))) if kind in ("bpe", "unigram") else 1
    assert tiny.source_size == least + characters
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        huge = train_tokenizer(config(type=kind, byte_fallback=byte_fallback, vocab_size=50_000), ENGLISH, GERMAN)
    assert caplog.text.count("the largest possible") == 2
    assert tiny.source_size < huge.source_size < 50_000
    if byte_fallback:
        assert tiny.decode_source(tiny.encode_source(ENGLISH)) == ENGLISH
    assert huge.decode_target(huge.encode_target(GERMAN)) == GERMAN


@pytest.mark.parametrize("kind", TYPES)
def test_the_size_is_vocab_size(kind: str) -> None:
    size = {"char": 280, "word": 275}.get(kind, 300)
    tokenizer = train_tokenizer(config(type=kind, vocab_size=size), ENGLISH, GERMAN)
    assert (tokenizer.source_size, tokenizer.target_size) == (size, size)


def test_training_repeats_is_silent_and_takes_iterators(capfd: pytest.CaptureFixture[str]) -> None:
    one = train_tokenizer(config(type="unigram", joint=True), ENGLISH, GERMAN)
    two = train_tokenizer(config(type="unigram", joint=True), iter(ENGLISH), iter(GERMAN))
    assert one.source.proto == two.source.proto
    assert capfd.readouterr() == ("", "")


def test_joint_and_separate() -> None:
    joint = train_tokenizer(config(joint=True), ENGLISH, GERMAN)
    assert joint.joint
    assert joint.source_size == joint.target_size
    assert joint.encode_source(GERMAN[:5]) == joint.encode_target(GERMAN[:5])
    assert not train_tokenizer(config(), ENGLISH, GERMAN).joint


def test_very_long_lines_are_trained_on() -> None:
    # sentencepiece itself leaves lines beyond 4192 bytes out.
    tokenizer = train_tokenizer(config(joint=True, byte_fallback=False), ["abc " * 3000], ["x" * 5000 + "δ"])
    assert tokenizer.decode_source(tokenizer.encode_source(["abc δ"])) == ["abc δ"]


def test_pieces_spell_the_text(tokenizers: dict[str, Tokenizer]) -> None:
    text = "The boy sees größer"
    for tokenizer in tokenizers.values():
        pieces = tokenizer.target_pieces(text)
        assert pieces == tokenizer.target_pieces_of(tokenizer.encode_target([text])[0])
    assert "".join(tokenizers["bpe"].source_pieces("The boy sees")) == "▁The▁boy▁sees"


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_sampling_depends_on_the_seed_alone(kind: str) -> None:
    tokenizer = train_tokenizer(config(type=kind, sampling=0.2), ENGLISH, GERMAN)
    first = tokenizer.sample_source(ENGLISH[:40], 7)
    other = tokenizer.sample_target(GERMAN[:40], 8)
    assert tokenizer.sample_source(ENGLISH[:40], 7) == first
    assert tokenizer.sample_source(ENGLISH[:40], 6) != first
    assert first != tokenizer.encode_source(ENGLISH[:40])
    assert tokenizer.decode_source(first) == ENGLISH[:40]
    assert tokenizer.decode_target(other) == GERMAN[:40]
    assert tokenizer.sample_source(ENGLISH[:40], 2**32 - 1) == tokenizer.sample_source(ENGLISH[:40], 2**32 - 1)
    # Stronger sampling makes longer sequences for BPE-dropout; for unigram a larger exponent makes shorter ones.
    strong = train_tokenizer(config(type=kind, sampling=0.8), ENGLISH, GERMAN).sample_source(ENGLISH, 7)
    weak = tokenizer.sample_source(ENGLISH, 7)
    assert (sum(map(len, strong)) > sum(map(len, weak))) == (kind == "bpe")


def test_no_sampling_is_encoding(tokenizers: dict[str, Tokenizer]) -> None:
    tokenizer = tokenizers["bpe"]
    assert tokenizer.sample_source(ENGLISH[:9], 3) == tokenizer.encode_source(ENGLISH[:9])
    assert tokenizer.sample_target(GERMAN[:9], 3) == tokenizer.encode_target(GERMAN[:9])


@pytest.mark.parametrize("joint", [True, False])
def test_a_folder_round_trip_is_exact(tmp_path: Path, joint: bool) -> None:
    trained = train_tokenizer(config(joint=joint, sampling=0.1), ENGLISH, GERMAN)
    trained.save(tmp_path / "a")
    loaded = Tokenizer.load(tmp_path / "a")
    loaded.save(tmp_path / "b")
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert names == (["joint.model", "tokenizer.json"] if joint else ["source.model", "target.model", "tokenizer.json"])
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names)
    assert (loaded.joint, loaded.type, loaded.sampling) == (joint, "bpe", 0.1)
    assert loaded.encode_target(GERMAN) == trained.encode_target(GERMAN)
    assert loaded.sample_source(ENGLISH, 4) == trained.sample_source(ENGLISH, 4)


def test_path_takes_a_folder_or_a_model(tmp_path: Path) -> None:
    trained = train_tokenizer(config(), ENGLISH, GERMAN)
    trained.save(tmp_path)
    reused = train_tokenizer(config(path=str(tmp_path), sampling=0.3), [], [])
    assert reused.encode_target(GERMAN) == trained.encode_target(GERMAN)
    assert reused.sampling == 0.3
    single = train_tokenizer(config(path=str(tmp_path / "source.model"), joint=True), [], [])
    assert single.joint
    assert single.encode_target(ENGLISH) == trained.encode_source(ENGLISH)


def _foreign(path: Path) -> None:
    import sentencepiece

    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(ENGLISH), model_writer=file, vocab_size=40, minloglevel=2
        )


def test_errors_of_path(tmp_path: Path) -> None:
    trained = train_tokenizer(config(), ENGLISH, GERMAN)
    trained.save(tmp_path / "t")

    def message(**changes: Any) -> str:
        with pytest.raises(S2SError) as caught:
            train_tokenizer(config(**changes), ENGLISH, GERMAN)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "nowhere does not exist" in message(path=str(tmp_path / "nowhere"))
    assert "has two models: set data.tokenizer.joint=false" in message(path=str(tmp_path / "t"), joint=True)
    assert "set data.tokenizer.joint=true" in message(path=str(tmp_path / "t" / "source.model"))
    assert "set data.tokenizer.type=bpe" in message(path=str(tmp_path / "t"), type="unigram")
    _foreign(tmp_path / "foreign.model")
    assert "--pad_id=0" in message(path=str(tmp_path / "foreign.model"), joint=True)
    damaged = tmp_path / "t" / "target.model"
    damaged.write_bytes(damaged.read_bytes()[:500])
    assert "target.model is not a sentencepiece model" in message(path=str(tmp_path / "t"))
    damaged.unlink()
    assert "cannot read" in message(path=str(tmp_path / "t"))
    (tmp_path / "t" / "tokenizer.json").write_text("{}")
    assert "does not describe a tokenizer" in message(path=str(tmp_path / "t"))
    (tmp_path / "t" / "tokenizer.json").unlink()
    assert "tokenizer.json does not exist" in message(path=str(tmp_path / "t"))


def test_errors_of_training() -> None:
    with pytest.raises(S2SError, match=r"sampling=0\.1 needs data\.tokenizer\.type=bpe or unigram"):
        train_tokenizer(config(type="char", sampling=0.1), ENGLISH, GERMAN)
    with pytest.raises(S2SError, match="no target text"):
        train_tokenizer(config(), ENGLISH, ["", " "])


def test_half_a_surrogate_pair_is_named(tokenizers: dict[str, Tokenizer]) -> None:
    with pytest.raises(S2SError, match=r"surrogate pair\): 'b\\ud800'"):
        tokenizers["bpe"].encode_source(["a", "b\ud800"])
    sampling = train_tokenizer(config(sampling=0.1), ENGLISH, GERMAN)
    with pytest.raises(S2SError, match="surrogate"):
        sampling.sample_source(["a", "b\ud800"], 1)


@pytest.mark.parametrize("byte_fallback", [True, False])
@pytest.mark.parametrize("normalization", ["identity", "nmt_nfkc"])
def test_an_unknown_language_is_refused(byte_fallback: bool, normalization: Any) -> None:
    tokenizer = train_tokenizer(config(byte_fallback=byte_fallback, normalization=normalization), ENGLISH, GERMAN)
    check_coverage(tokenizer, ENGLISH, GERMAN)
    check_coverage(tokenizer, ["a 漢"], ["größer"])
    with pytest.raises(S2SError, match="100% of the characters of the target side"):
        check_coverage(tokenizer, ENGLISH, ["漢字 仮名"])
    with pytest.raises(S2SError, match="67% of the characters of the source side"):
        check_coverage(tokenizer, ["  a  漢字  "], GERMAN)
    assert tokenizer.source.unknown_share(["", "  "]) == 0
    assert tokenizer.source.unknown_share(["a 漢 a 字 "]) == 0.5
