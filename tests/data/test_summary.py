"""The corpus summary against numbers counted by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from s2s.config import TokenizerConfig
from s2s.data import summary as module
from s2s.data.corpus import Corpus, Split
from s2s.data.languages import hardly_has_spaces, identify, is_written_without_spaces
from s2s.data.summary import Summary, digest_of
from s2s.data.summary import summarise as summarise_scored
from s2s.data.tokenizer import Tokenizer, train_tokenizer
from s2s.errors import S2SError
from s2s.evaluation.bleu import bleu, scorer_tokenizer

CONFIG = TokenizerConfig("bpe", 320, True, True, 0.0, "identity", None)
ENGLISH = ["a dog runs", "the cat sleeps here", "a bird", "the dog sleeps in the big old house"]
GERMAN = ["ein Hund rennt", "die Katze schläft hier", "ein Vogel", "der Hund schläft im großen alten Haus"]


def summarise(corpus: Corpus, tokenizer: Tokenizer, filtered: dict[str, int] | None = None) -> Summary:
    tokenize = scorer_tokenizer(corpus.target_language)
    return summarise_scored(corpus, tokenizer, tokenize, lambda hyp, ref: bleu(hyp, ref, tokenize).value, filtered)


def corpus(filtered: dict[str, dict[str, int]] | None = None) -> Corpus:
    validation = Split("validation", ["a dog runs", "a bird", "the bird"], ["ein Hund rennt", "Vogel", "der Vogel"])
    test = Split("test", ["the cat", "a house"], ["die Katze", ""])
    return Corpus("en", "de", Split("train", ENGLISH, GERMAN), validation, {"test": test}, filtered)


def trained(**changes: object) -> Tokenizer:
    return train_tokenizer(replace(CONFIG, **changes), ENGLISH, GERMAN)  # type: ignore[arg-type]


def test_numbers_by_hand() -> None:
    summary = summarise(corpus({"train": {"empty source": 2}}), trained(), {"longer than a batch": 1})
    train, validation, test = (summary.splits[name] for name in ("train", "validation", "test"))
    assert (train.pairs, validation.pairs, test.pairs) == (4, 3, 2)
    assert train.dropped == {"empty source": 2, "longer than a batch": 1}
    lengths = train.source.lengths
    assert (lengths.mean, lengths.median, lengths.max, lengths.empty) == (4.25, 3.5, 8, 0)
    assert lengths.p95 == pytest.approx(4 + 4 * 0.85)
    assert test.target.lengths.empty == 1
    assert (validation.pairs_in_train, validation.sources_in_train) == (1, 2)
    assert (test.pairs_in_train, test.sources_in_train) == (0, 0)
    assert (train.ceiling, train.pairs_in_train) == (None, None)
    assert validation.ceiling == 0  # no reference has four words
    assert summary.source_vocabulary == summary.target_vocabulary


def test_overlap_counts_the_lines_that_are_held_out() -> None:
    train = Split("train", ["a dog runs", "a bird", *ENGLISH], ["ein Hund rennt", "ein Vogel", *GERMAN])  # two twice
    test = Split("test", ["a bird", "a bird", "a bird", "a house"], ["ein Vogel", "ein Vogel", "Vogel", "ein Haus"])
    overlap = summarise(Corpus("en", "de", train, None, {"test": test}), trained()).splits["test"]
    assert (overlap.pairs_in_train, overlap.sources_in_train) == (2, 3)


def test_subwords_of_characters_are_counted() -> None:
    tokenizer = trained(type="char", byte_fallback=False, joint=False)
    summary = summarise(corpus(), tokenizer)
    letters = sum(len(line.replace(" ", "")) for line in ENGLISH)
    words = sum(len(line.split()) for line in ENGLISH)
    assert summary.splits["train"].source.subwords_per_word == pytest.approx((letters + words) / words)
    assert summary.splits["train"].source.unknown == 0
    odd = Corpus("en", "de", None, None, {"test": Split("test", ["a § dog"], ["ein Hund"])})
    split = summarise(odd, tokenizer).splits["test"]
    assert split.source.unknown == pytest.approx(1 / 8)  # ▁ a ▁ § ▁ d o g
    assert (split.pairs_in_train, split.sources_in_train) == (None, None)


def test_the_ceiling_shows_what_the_tokenizer_loses() -> None:
    lines = ["全角文字（ＡＢＣ）、１２３。" * 3, "半角文字と記号：「テスト」！"]
    data = Corpus("en", "zh", None, None, {"test": Split("test", lines, lines)})
    ceilings = {}
    for rule in ("identity", "nmt_nfkc"):
        tokenizer = train_tokenizer(replace(CONFIG, normalization=rule, vocab_size=300), lines, lines)
        ceilings[rule] = summarise(data, tokenizer).splits["test"].ceiling
    assert ceilings["identity"] == pytest.approx(100)
    assert ceilings["nmt_nfkc"] is not None
    assert ceilings["nmt_nfkc"] < 80


@pytest.mark.parametrize(
    ("codes", "language", "scorer"),
    [
        ("zh zho cmn zh_CN zh-TW ZH zho_Hans zho_Hant yue yue_Hant lzh wuu nan", "", "zh"),
        ("ja jpn jpn_Jpan ja_JP.UTF-8 JA", "ja", "ja-mecab"),
        ("ko kor kor_Hang ko_KR", "ko", "ko-mecab"),
        ("th tha tha_Thai th_TH", "th", "char"),
        ("lo lao khm km mya my mya_Mymr bod dzo shn", "", "char"),
        ("de deu deu_Latn de_DE en eng fi vie vi tur arb hin", "", "13a"),
        ("zh_Latn nan_Latn ja-Latn sentence_de source input  x-y", "", "13a"),
    ],
)
def test_one_table_of_languages(codes: str, language: str, scorer: str) -> None:
    """ISO 639-1, 639-3, BCP 47 and FLORES codes of one language are one language to lengths, ceiling and scorer."""
    for code in codes.split(" "):
        assert scorer_tokenizer(code) == scorer, code
        assert is_written_without_spaces(code) == (scorer not in ("13a", "ko-mecab")), code
        assert language in ("", identify(code).code), code


@pytest.mark.parametrize("code", ["zho", "cmn", "tha", "zho_Hans"])
def test_identical_text_scores_100_whatever_its_code(code: str) -> None:
    text = ["สวัสดีชาวโลกทั้งหลาย", "ขอบคุณมากครับ"] if code == "tha" else ["我喜歡這本書。", "他今天不在家"]
    assert bleu(text, text, scorer_tokenizer(code)).value == pytest.approx(100)


def test_text_without_spaces_in_a_language_that_has_them_is_noticed() -> None:
    chinese, thai = ["我喜歡這本書。", "他不在家"], ["สวัสดีชาวโลกทั้งหลาย", "ขอบคุณมากครับ"]
    for text in (chinese, thai, ["thisisalonglinewithoutanyspaces", "andthisisanotheronewithout"]):
        assert hardly_has_spaces(text)
    for text in (ENGLISH, GERMAN, ["Donaudampfschifffahrtsgesellschaft ist ein Wort"], ["cat", "dog"], ["", "!?"], []):
        assert not hardly_has_spaces(text)
    split = Split("train", ENGLISH[:2], chinese)
    tokenizer = train_tokenizer(CONFIG, ENGLISH, chinese)
    (warning,) = summarise(Corpus("en", "xx", split, None, {}), tokenizer).warnings()
    assert "data.target_language=xx" in warning
    assert list(summarise(Corpus("en", "zho", split, None, {}), tokenizer).warnings()) == []
    assert list(summarise(corpus(), trained()).warnings()) == []


def test_the_digest_is_of_the_text_and_its_order() -> None:
    one = Split("train", ENGLISH, GERMAN)
    others = [(ENGLISH[::-1], GERMAN[::-1]), (GERMAN, ENGLISH), (ENGLISH[:3], GERMAN[:3])]
    assert digest_of(one) == digest_of(Split("b", tuple(ENGLISH), tuple(GERMAN)))
    assert len({digest_of(split) for split in (one, *(Split("a", *pair) for pair in others))}) == 4


def test_there_is_no_ceiling_that_bleu_cannot_reach() -> None:
    short = Split("test", ["red", "dog"], ["rot", "Hund"])
    assert summarise(Corpus("en", "de", None, None, {"test": short}), trained()).splits["test"].ceiling == 0


def test_lines_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 3)
    summary = summarise(corpus({"train": {"empty source": 2, "empty target": 1}}), trained())
    lines = summary.lines()
    text = "\n".join(lines)
    assert "bpe, joint" in lines[0]
    assert lines[1].split()[:3] == ["split", "pairs", "side"]
    assert "train: filtered 2 empty source, 1 empty target" in text
    assert "test: 1 pairs have an empty reference" in text
    assert "validation: 2 source lines are also in train, 1 of them with the same translation" in text
    assert "train: subword statistics are of the first 3 pairs" in text
    assert json.loads(json.dumps(summary.to_json()))["splits"]["train"]["source"]["unit"] == "words"


def test_a_tokenizer_for_another_language_is_refused() -> None:
    other = train_tokenizer(CONFIG, ["これは本です。"] * 20, ["それは木です。"] * 20)
    with pytest.raises(S2SError, match="of the characters of the source side"):
        summarise(corpus(), other)


def test_a_huge_split_costs_no_huge_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 10)
    sizes: list[int] = []
    tokenizer = trained()
    encode = tokenizer.source.encode

    def counting(texts: list[str]) -> list[list[int]]:
        sizes.append(len(texts))
        return encode(texts)

    monkeypatch.setattr(tokenizer.source, "encode", counting)
    big = Split("train", ENGLISH * 50, GERMAN * 50)
    split = summarise(Corpus("en", "de", big, None, {}), tokenizer).splits["train"]
    assert split.sampled == 10
    assert split.source.lengths.mean == 4.25
    sample = big.source[:10]
    words = sum(len(line.split()) for line in sample)
    assert split.source.subwords_per_word == pytest.approx(sum(map(len, encode(sample))) / words)
    assert sum(sizes) <= 2 * 200 + 2 * 10  # coverage of the first lines, then the sample
