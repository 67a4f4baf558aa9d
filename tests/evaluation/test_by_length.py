from __future__ import annotations

import hashlib
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from s2s.config import EvaluationConfig
from s2s.errors import S2SError
from s2s.evaluation.bleu import METRICS, count
from s2s.evaluation.by_length import (
    Evaluation,
    assign,
    bin_edges,
    bin_label,
    hash_of_test_set,
    mean_of_seeds,
    report,
)
from s2s.version import __version__

CONFIG = EvaluationConfig(bins=[5, 10, 20], bootstrap=200, confidence=0.95, tokenize=None, force=False, seed=5)
WORDS = ["der", "die", "Hund", "läuft", "schnell", "nach", "Hause", "und", "bellt", "laut", "im", "Garten"]


def corpus(count: int, longest: int = 16, seed: int = 0) -> tuple[list[str], list[str]]:
    """Sources of 1 to `longest` words and references of the same lengths."""
    draw = random.Random(seed)
    lengths = [1 + draw.randrange(longest) for _ in range(count)]
    return [[" ".join(draw.choice(WORDS) for _ in range(length)) + "." for length in lengths] for _ in range(2)]  # type: ignore[return-value]


def damaged(references: list[str], rate: float, seed: int) -> list[str]:
    """References with words replaced at a rate; some lines get empty."""
    draw = random.Random(seed)
    lines = [" ".join(draw.choice(WORDS) if draw.random() < rate else w for w in line.split()) for line in references]
    return ["" if draw.random() < rate / 8 else line for line in lines]


def evaluate(
    sources: list[str], hypotheses: list[str], references: list[str], config: EvaluationConfig = CONFIG
) -> Evaluation:
    return report(
        sources,
        hypotheses,
        references,
        source_language="en",
        target_language="de",
        config=config,
        training_limit=20,
        reference_limit=21,
        decoding={"strategy": "beam", "beam": 5},
    )


@given(
    st.lists(st.integers(0, 90), max_size=40),
    st.lists(st.integers(1, 80), unique=True, max_size=6).map(sorted),
)
def test_every_sentence_is_in_exactly_one_bin_and_it_fits(lengths: list[int], bins: list[int]) -> None:
    members = assign(lengths, bins)
    assert sorted(index for bin_ in members for index in bin_.tolist()) == list(range(len(lengths)))
    edges = bin_edges(bins)
    assert len(edges) == len(members) == len(bins) + 1
    for (low, high), chosen in zip(edges, members, strict=True):
        assert all(low <= lengths[index] and (high is None or lengths[index] <= high) for index in chosen)


def test_bins_are_sacrebleu_on_their_sentences() -> None:
    sources, references = corpus(60)
    hypotheses = damaged(references, 0.3, 1)
    found = evaluate(sources, hypotheses, references)
    assert sum(row.sentences for row in found.by_length) == found.sentences == 60
    for row in found.by_length:
        inside = [i for i, s in enumerate(sources) if row.min <= len(s.split()) <= (row.max or 10**9)]
        assert row.sentences == len(inside)
        if inside:
            score = sacrebleu.corpus_bleu(
                [hypotheses[i] for i in inside], [[references[i] for i in inside]], force=True
            )
            assert row.bleu == score.score
            assert row.length_ratio == score.sys_len / score.ref_len
            assert row.low is not None
            assert row.high is not None
            assert 0 <= row.low <= row.bleu <= row.high <= 100
            assert row.chrf_low is not None
            assert row.chrf is not None
            assert row.chrf_high is not None
            assert row.chrf_low < row.chrf < row.chrf_high


def test_one_single_bin_is_the_corpus() -> None:
    sources, references = corpus(40)
    found = evaluate(sources, damaged(references, 0.3, 1), references, replace(CONFIG, bins=[]))
    (row,) = found.by_length
    assert (row.min, row.max) == (0, None)
    assert (row.bleu, row.low, row.high) == (found.bleu, found.bleu_low, found.bleu_high)
    assert (row.chrf, row.chrf_low, row.chrf_high) == (found.chrf, found.chrf_low, found.chrf_high)
    expected = sacrebleu.corpus_bleu(damaged(references, 0.3, 1), [references], force=True).score
    assert row.bleu == expected


def test_an_empty_bin_has_no_score_and_one_sentence_no_interval() -> None:
    sources, references = ["a b", "a b", "a b c d e f g"], ["x y", "x z", "u v w x y z a"]
    found = evaluate(sources, references, references)
    two, one, none, last = found.by_length
    assert (two.sentences, one.sentences, none.sentences, last.sentences) == (2, 1, 0, 0)
    for empty in (none, last):
        assert [empty.bleu, empty.low, empty.high, empty.chrf, empty.chrf_low, empty.length_ratio] == [None] * 6
    assert two.low is not None
    assert one.bleu == pytest.approx(100)
    assert one.low is None


def test_no_sentence_at_all() -> None:
    found = evaluate([], [], [])
    assert (found.bleu, found.bleu_low, found.chrf, found.sentences) == (None, None, None, 0)


def test_an_empty_source_and_empty_hypotheses_are_counted() -> None:
    found = evaluate(["", "a b"], ["", ""], ["x", "y z"])
    assert found.by_length[0].sentences == 2
    assert found.by_length[0].bleu == 0
    assert found.by_length[0].length_ratio == 0


def test_what_is_stored_beside_the_scores(tmp_path: Path) -> None:
    sources, references = corpus(12)
    found = evaluate(sources, references, references)
    stored = found.to_json()
    assert Evaluation.from_json(json.loads(json.dumps(stored))) == found
    both = "".join(f"{line}\n" for line in sources + references).encode()
    assert stored["test_set"] == {"name": "test", "sha256": hashlib.sha256(both).hexdigest()}
    assert stored["signatures"]["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert "nw:2" in stored["signatures"]["chrf"]
    assert stored["intervals"] == "bootstrap over sentences, 95 %, 200 resamples"
    assert (stored["length_unit"], stored["training_limit"], stored["s2s_version"]) == ("words", 20, __version__)
    assert stored["decoding"] == {"strategy": "beam", "beam": 5}
    assert [(row["min"], row["max"]) for row in stored["by_length"]] == [(0, 5), (6, 10), (11, 20), (21, None)]


def test_something_else_is_not_taken_for_an_evaluation() -> None:
    with pytest.raises(S2SError, match="by_length"):
        Evaluation.from_json({"bleu": 3.0})


def test_the_hash_sees_both_sides() -> None:
    hashes = {hash_of_test_set(["a"], ["b"]), hash_of_test_set(["a"], ["c"]), hash_of_test_set(["c"], ["b"])}
    assert len(hashes) == 3


def test_chinese_is_counted_and_split_in_characters() -> None:
    sources, references = ["我们明天去北京。"] * 2, ["We go to Beijing tomorrow."] * 2
    found = report(
        references, sources, sources, source_language="en", target_language="zh", config=CONFIG, training_limit=None,
        decoding={},
    )  # fmt: skip
    assert "tok:zh" in found.signatures["bleu"]
    back = report(
        sources, references, references, source_language="zh", target_language="en", config=CONFIG, training_limit=None,
        decoding={},
    )  # fmt: skip
    assert back.length_unit == "characters"
    assert [row.sentences for row in back.by_length] == [0, 2, 0, 0]  # 8 characters


def test_a_wrong_tokenizer_stops_the_evaluation() -> None:
    config = replace(CONFIG, tokenize="13a")
    arguments = {"source_language": "en", "target_language": "zh", "training_limit": None, "decoding": {}}
    with pytest.raises(S2SError, match="13a does not fit"):
        report(["a"], ["好"], ["好"], config=config, **arguments)  # type: ignore[arg-type]
    forced = report(["a"], ["好"], ["好"], config=replace(config, force=True), **arguments)  # type: ignore[arg-type]
    assert "tok:13a" in forced.signatures["bleu"]


def test_unequal_texts_and_falling_bins_are_errors() -> None:
    with pytest.raises(S2SError, match="2 sources, 1 hypotheses, 2 references"):
        evaluate(["a", "b"], ["a"], ["a", "b"])
    with pytest.raises(S2SError, match="must rise"):
        bin_edges([10, 10])


def test_the_seed_alone_decides_the_intervals() -> None:
    sources, references = corpus(40)
    hypotheses = damaged(references, 0.3, 1)
    first = evaluate(sources, hypotheses, references)
    assert evaluate(sources, hypotheses, references) == first
    other = evaluate(sources, hypotheses, references, replace(CONFIG, seed=6))
    assert other.bleu == first.bleu
    assert other.bleu_low != first.bleu_low
    wide = evaluate(sources, hypotheses, references, replace(CONFIG, confidence=0.5))
    assert first.bleu_low < wide.bleu_low < wide.bleu_high < first.bleu_high  # type: ignore[operator]


@pytest.mark.parametrize(
    ("low", "high", "label"), [(0, 10, "≤10"), (11, 20, "11–20"), (61, None, ">60"), (0, None, "all")]
)
def test_labels(low: int, high: int | None, label: str) -> None:
    assert bin_label(low, high) == label


def test_bins_by_reference_are_those_of_the_references() -> None:
    sources, references = corpus(40)
    longer = [f"{line} und {line}" for line in sources]
    hypotheses = damaged(references, 0.3, 1)
    found = evaluate(longer, hypotheses, references)
    as_source = evaluate(references, hypotheses, references)
    assert found.by_reference_length == as_source.by_length == as_source.by_reference_length
    assert found.by_length != found.by_reference_length
    assert found.along("reference").bins == found.by_reference_length
    assert found.along("source").bins == found.by_length


def test_each_side_has_its_own_unit_and_limit() -> None:
    found = report(
        ["one two three"], ["一二三四"], ["一二三四五六"], source_language="en", target_language="zh", config=CONFIG,
        training_limit=7, reference_limit=9, decoding={},
    )  # fmt: skip
    source, reference = found.along("source"), found.along("reference")
    assert (source.unit, source.limit) == ("words", 7)
    assert (reference.unit, reference.limit) == ("characters", 9)
    assert [row.sentences for row in source.bins] == [1, 0, 0, 0]
    assert [row.sentences for row in reference.bins] == [0, 1, 0, 0]


def test_the_length_ratio_has_an_interval() -> None:
    sources, references = corpus(60)
    draw = random.Random(3)
    hypotheses = [line if draw.random() < 0.5 else " ".join(line.split()[:-1]) for line in references]
    found = evaluate(sources, hypotheses, references)
    assert found.length_ratio_low < found.length_ratio < found.length_ratio_high  # type: ignore[operator]
    row = evaluate(sources, references, references).of("length_ratio")
    assert (row.value, row.low, row.high) == (1, 1, 1)
    nothing = evaluate(["a", "b"], ["x", "y"], ["", ""]).of("length_ratio")
    assert (nothing.value, nothing.low, nothing.high) == (None, None, None)


def test_several_trainings_are_one_by_their_means() -> None:
    sources, references = corpus(60)
    outputs = [damaged(references, rate, seed) for seed, rate in enumerate((0.2, 0.3, 0.5))]
    each = [evaluate(sources, lines, references) for lines in outputs]
    counts = [count(lines, references, "13a") for lines in outputs]
    found = mean_of_seeds(each, counts, sources, references, CONFIG)
    assert mean_of_seeds(each[:1], counts[:1], sources, references, CONFIG) is each[0]
    for side in ("source", "reference"):
        for number, row in enumerate(found.along(side).bins):
            for metric in METRICS:
                alone = [one.along(side).bins[number].of(metric) for one in each]
                score = row.of(metric)
                if not row.sentences:
                    assert score.value is None
                    continue
                assert score.value == pytest.approx(sum(one.value for one in alone) / 3)  # type: ignore[misc]
                assert score.low <= score.value <= score.high  # type: ignore[operator]
    # The same resamples for all trainings: three equal ones are as wide as one.
    same = mean_of_seeds([each[0]] * 3, [counts[0]] * 3, sources, references, CONFIG)
    assert (same.bleu_low, same.bleu_high) == pytest.approx((each[0].bleu_low, each[0].bleu_high))
    assert found.test_set == each[0].test_set
