from __future__ import annotations

import json
import logging
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.chrf import CHRF

from s2s.errors import S2SError
from s2s.evaluation.bleu import (
    CorpusStatistics,
    bleu,
    bleu_statistics,
    check_tokenizer,
    chrf,
    chrf_statistics,
    resamples,
    scorer_tokenizer,
)

REFERENCES = [
    "Ein Hund läuft über die Wiese.",
    "Zwei Kinder spielen im Garten, und es regnet.",
    "Der alte Mann liest eine Zeitung (vom Montag).",
    "Eine Frau mit rotem Hut wartet auf den Bus nach Köln.",
    "3,5 Millionen Menschen wohnen hier; das sind 12 % mehr.",
]
HYPOTHESES = [
    "Ein Hund rennt über die Wiese.",
    "Zwei Kinder spielen in einem Garten, es regnet.",
    "",
    "Eine Frau mit rotem Hut wartet auf den Bus nach Köln.",
    "3,5 Millionen leben hier, das sind 12 % mehr .",
]
WORDS = ["der", "die", "Hund", "läuft", "schnell", "nach", "Hause", ",", "und", "bellt."]
texts = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=12)


def cli(tmp_path: Path, hypotheses: list[str], references: list[str], *options: str) -> list[dict[str, object]]:
    for name, lines in (("hyp", hypotheses), ("ref", references)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    command = [sys.executable, "-m", "sacrebleu", f"{tmp_path}/ref", "-i", f"{tmp_path}/hyp", "-w", "8", *options]
    output = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return output if isinstance(output, list) else [output]


def test_equals_sacrebleu_on_the_command_line(tmp_path: Path) -> None:
    scores = cli(tmp_path, HYPOTHESES, REFERENCES, "-m", "bleu", "chrf", "--chrf-word-order", "2")
    for ours, theirs in zip((bleu(HYPOTHESES, REFERENCES), chrf(HYPOTHESES, REFERENCES)), scores, strict=True):
        assert f"{ours.value:.8f}" == f"{theirs['score']:.8f}"
        assert ours.signature == theirs["signature"]
    assert [one["name"] for one in scores] == ["BLEU", "chrF2++"]


def test_equals_sacrebleu_on_the_command_line_for_chinese(tmp_path: Path) -> None:
    references = ["我们明天去北京。", "他在图书馆看书,很安静。"]
    hypotheses = ["我们明天去上海。", "他在图书馆看报,很安静。"]
    (theirs,) = cli(tmp_path, hypotheses, references, "-m", "bleu", "-tok", "zh")
    ours = bleu(hypotheses, references, scorer_tokenizer("zh"))
    assert f"{ours.value:.8f}" == f"{theirs['score']:.8f}"
    assert ours.signature == theirs["signature"]
    assert ours.value is not None
    spaced = bleu(hypotheses, references, "13a").value  # rejected by check_tokenizer
    assert spaced is not None
    assert spaced < ours.value / 2


def both_statistics(hypotheses: list[str], references: list[str]) -> list[CorpusStatistics]:
    return [bleu_statistics(hypotheses, references, "13a"), chrf_statistics(hypotheses, references)]


def expected_score(
    statistics: CorpusStatistics, hypotheses: list[str], references: list[str], index: np.ndarray
) -> float:
    """Returns sacrebleu's own score of a selection of sentences."""
    selection = [hypotheses[i] for i in index], [[references[i] for i in index]]
    if isinstance(statistics.metric, CHRF):
        return sacrebleu.corpus_chrf(*selection, word_order=2).score
    return sacrebleu.corpus_bleu(*selection, force=True).score


@settings(max_examples=60, deadline=None)
@given(pairs, st.randoms(use_true_random=False))
def test_any_selection_has_the_score_of_sacrebleu(data: list[tuple[str, str]], random) -> None:
    hypotheses, references = [h for h, _ in data], [r for _, r in data]
    index = np.array([random.randrange(len(data)) for _ in range(random.randrange(1, 8))])
    for statistics in both_statistics(hypotheses, references):
        assert statistics.score(index) == expected_score(statistics, hypotheses, references, index)


def test_bootstrap_equals_a_loop_over_sacrebleu() -> None:
    sentences = np.array([0, 1, 3, 4])
    draws = list(resamples(len(sentences), 50, seed=7))
    statistics = bleu_statistics(HYPOTHESES, REFERENCES, "13a")
    rows = np.concatenate(draws).astype(int)
    expected = [expected_score(statistics, HYPOTHESES, REFERENCES, np.repeat(sentences, row)) for row in rows]
    assert np.concatenate([statistics.scores(draw, sentences) for draw in draws]).tolist() == expected
    assert len(set(expected)) > 10


@given(
    pairs=st.lists(
        st.tuples(*2 * [st.lists(st.sampled_from(["a", "b", "cd", "e."]), max_size=7)]), min_size=1, max_size=4
    ),
    draws=st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=3),
)
def test_scores_of_many_sums_are_sacrebleus_own(
    pairs: list[tuple[list[str], list[str]]], draws: list[list[int]]
) -> None:
    """Bit for bit, also without any match, any 4-gram or any word."""
    hypotheses, references = ([" ".join(pair[side]) for pair in pairs] for side in (0, 1))
    sentences = np.arange(len(pairs))
    times = np.array([row[: len(pairs)] for row in draws], dtype=np.float64)
    selections = [np.repeat(sentences, row.astype(int)) for row in times]
    for statistics in both_statistics(hypotheses, references):
        expected = [
            expected_score(statistics, hypotheses, references, index) if len(index) else 0.0 for index in selections
        ]
        assert statistics.scores(times, sentences).tolist() == expected


def test_resamples_are_full_size_seeded_and_uniform() -> None:
    first, again, other = (np.concatenate(list(resamples(20, 4000, seed=seed))) for seed in (3, 3, 4))
    assert first.shape == (4000, 20)
    assert (first.sum(1) == 20).all()
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.abs(first.mean(0) - 1).max() < 0.1
    assert first.var() == pytest.approx(0.95, abs=0.03)  # of a binomial with 20 draws of 1/20


def test_chunks_of_resamples_do_not_change_them(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(resamples(10, 30, seed=1)))
    monkeypatch.setattr("s2s.evaluation.bleu._RESAMPLES_AT_ONCE", 70)
    chunks = list(resamples(10, 30, seed=1))
    assert len(chunks) > 3
    assert np.array_equal(whole, np.concatenate(chunks))


def test_no_sentence_is_not_zero_and_an_empty_hypothesis_is() -> None:
    for score in (bleu, chrf):
        assert score([], []).value is None
        assert score([], []).signature == score(HYPOTHESES, REFERENCES).signature
        assert score(["", ""], ["Ein Hund.", "Eine Katze."]).value == 0


def test_one_missing_line_is_an_error() -> None:
    with pytest.raises(S2SError, match="4 hypotheses for 5 references"):
        bleu(HYPOTHESES[:4], REFERENCES)


def test_tokenised_periods_give_no_warning(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG):
        bleu(["ein Hund ."] * 200, ["ein Hund ."] * 200)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [("de", "13a"), ("en_GB", "13a"), ("zh", "zh"), ("zh-CN", "zh"), ("ZH_Hans", "zh"), ("ja", "ja-mecab"),
     ("ko", "ko-mecab"), ("th", "char")],
)  # fmt: skip
def test_tokenizer_follows_the_language(language: str, tokenizer: str) -> None:
    assert scorer_tokenizer(language) == tokenizer
    check_tokenizer(tokenizer, language)


@pytest.mark.parametrize(
    ("tokenize", "language"),
    [("13a", "zh"), ("none", "zh-CN"), ("intl", "ja"), ("13a", "th"), ("zh", "de"), ("zh", "ja"), ("ja-mecab", "zh"),
     ("ko-mecab", "en")],
)  # fmt: skip
def test_a_wrong_tokenizer_is_an_error_unless_forced(tokenize: str, language: str) -> None:
    with pytest.raises(S2SError, match=rf"evaluation\.tokenize={tokenize} does not fit .* {language}"):
        check_tokenizer(tokenize, language)
    check_tokenizer(tokenize, language, force=True)


def test_a_fitting_tokenizer_is_accepted() -> None:
    for tokenize, language in {"none": "de", "intl": "fr", "char": "zh", "flores200": "de", "13a": "ko"}.items():
        check_tokenizer(tokenize, language)


def test_an_unknown_tokenizer_is_an_error_even_if_forced() -> None:
    with pytest.raises(S2SError, match="'13b' is not one of: 13a"):
        check_tokenizer("13b", "de", force=True)


@pytest.mark.parametrize("language", ["ja", "ko"])
def test_a_missing_extra_names_its_install(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module(f"sacrebleu.tokenizers.tokenizer_{language}_mecab"), "MeCab", None)
    with pytest.raises(S2SError, match=rf"pip install 'sacrebleu\[{language}\]'"):
        bleu(["a"], ["a"], f"{language}-mecab")
