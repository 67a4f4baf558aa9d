"""Objectives by the commands: pre-training, resuming, starting a translation from it, continuing text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from s2s import S2SError, load
from s2s.data.batching import collate
from tests.commands.conftest import SMALL, Done, Script
from tests.commands.test_train import RANDOM, _killed_and_resumed, _metrics, assert_resumes_in_the_same_bits

TEXT = ["data=grammar_text", *(one for one in SMALL if one.startswith(("training.", "device")))]
TEXT += ["data.train_lines=300", "data.validation_lines=12", "data.longest=24", "data.tokenizer.vocab_size=300"]
MODEL = ["model.embedding_size=16", "model.decoder.layers=2", "model.decoder.feedforward=16"]
BERT = ["model=transformer", "objective=masked_lm", *TEXT, *MODEL, "model.encoder.layers=2"]
GPT = ["model=gpt", "objective=causal_lm", *TEXT, *MODEL]
BART = ["model=gru_attention", "objective=denoising", *TEXT, "model.embedding_size=16"]
BART += ["model.encoder.hidden_size=12", "model.decoder.hidden_size=14"]
OBJECTIVES = {"masked_lm": BERT, "causal_lm": GPT, "denoising": BART, "gpt": ["model=gpt", *SMALL, *MODEL]}


@pytest.fixture(scope="session")
def bert(script: Script, shared: Path) -> Path:
    """The run directory of a pre-trained encoder, for reading alone."""
    folder = shared / "bert"
    with FileLock(shared / "bert.lock"):
        if not (folder / "run").exists():
            folder.mkdir()
            done = script("train", *BERT, "run_dir=run", cwd=folder)
            assert done.returncode == 0, done.stderr.decode()
    return folder / "run"


@pytest.mark.parametrize(
    "name", ["masked_lm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("causal_lm", "denoising", "gpt"))]
)
def test_a_resumed_run_ends_in_the_same_bits(inside: Callable[..., Done], tmp_path: Path, name: str) -> None:
    random = [one for one in RANDOM if not one.startswith("data.validation")]
    assert_resumes_in_the_same_bits(inside, tmp_path, [*OBJECTIVES[name], *random])


@pytest.mark.slow
def test_a_killed_run_ends_in_the_same_bits(root: Path, environment: dict[str, str], tmp_path: Path) -> None:
    random = [one for one in RANDOM if not one.startswith("data.validation")]
    whole, broken = _killed_and_resumed(root, environment, tmp_path, [*BERT, *random], seed=2)
    assert (whole / "model.safetensors").read_bytes() == (broken / "model.safetensors").read_bytes()
    assert _metrics(whole) == _metrics(broken)


def test_validation_says_what_fits(inside: Callable[..., Done], tmp_path: Path) -> None:
    keys = {"masked_lm": {"valid_loss", "valid_ppl", "valid_accuracy"}, "causal_lm": {"valid_loss", "valid_ppl"}}
    for name, expected in keys.items():
        done = inside("train", *OBJECTIVES[name], f"run_dir={name}", "training.max_steps=6", cwd=tmp_path)
        assert done.code == 0, done.stderr
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        (valid,) = [line for line in lines if line["event"] == "valid"]
        assert {key for key in valid if key.startswith("valid_")} == expected
        assert valid["valid_ppl"] == pytest.approx(math.exp(valid["valid_loss"]))
        assert 0 <= valid.get("valid_accuracy", 0) <= 1


def test_a_masked_language_model_writes_no_text_in_any_way(bert: Path) -> None:
    run, line = load(bert), "The old dog sees a man."
    for use in (lambda: run.translate([line]), lambda: run.score([line], ["Er."]), lambda: run.attention(line, "Er.")):
        with pytest.raises(S2SError, match="writes no text"):
            use()


def test_a_translation_starts_from_a_pre_trained_encoder(
    inside: Callable[..., Done], bert: Path, tmp_path: Path
) -> None:
    """The encoder and the source embedding come from the run, the rest is new."""
    arguments = ["model=transformer", *SMALL, *MODEL, "model.encoder.layers=2", "data.tokenizer.joint=false"]
    frozen = ["freeze=[encoder,source_embedding]", "training.max_steps=2", "training.validate_every=2"]
    done = inside("train", *arguments, *frozen, f"init_from={bert}", "run_dir=run", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "encoder" in done.stderr.split("new:")[0]
    old, new = load(bert).model.state_dict(), load(tmp_path / "run").model.state_dict()
    taken = [name for name in new if name.startswith(("encoder.", "source_embedding."))]
    assert taken
    assert all(torch.equal(new[name], old[name]) for name in taken)


@pytest.mark.slow
def test_a_translation_starts_from_a_language_model(inside: Callable[..., Done], tmp_path: Path) -> None:
    """All of a decoder-only model comes from the run where source and target have its vocabulary."""
    assert inside("train", *GPT, "run_dir=lm", cwd=tmp_path).code == 0
    arguments = ["model=gpt", *SMALL, *MODEL, "data.tokenizer.joint=true", "data.tokenizer.path=lm/tokenizer"]
    more = ["training.max_steps=1", "training.validate_every=1", "optim.lr=1e-12"]
    done = inside("train", *arguments, *more, "init_from=lm", "run_dir=run", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "new: none" in done.stderr
    old, new = load(tmp_path / "lm").model.state_dict(), load(tmp_path / "run").model.state_dict()
    assert old.keys() == new.keys()
    assert all((new[name] - old[name]).abs().max() < 1e-6 for name in new)


def test_a_line_is_continued(inside: Callable[..., Done], tmp_path: Path) -> None:
    """A line out for each line in, which begins with it; drawn from the seed, whatever the other lines are."""
    assert inside("train", *GPT, "run_dir=gpt", cwd=tmp_path).code == 0
    lines = ["The old", "", "A  man\tsees the", "She", "漢字 the ☃"]  # of which the tokeniser does not know all
    run = load(tmp_path / "gpt")
    for options in ({"strategy": "greedy", "n_best": 1}, {"strategy": "sample", "n_best": 1, "temperature": 0.7}):
        together = run.translate(lines, **options)
        assert [text.startswith(line) for line, text in zip(lines, together, strict=True)] == [True] * 5
        assert together[1] == ""
        assert run.translate(lines, batch_tokens=1, **options) == together
    line_ids = run.tokenizer.encode_source(lines)
    for options in ({}, {"max_source": 2}):  # of a long line the model reads the end
        found = [one.hypotheses[0] for one in run.translations(lines, strategy="beam", beam=2, **options)]
        for line, ids, hypothesis in zip(lines, line_ids, found, strict=True):
            read = ids[-options.get("max_source", len(ids)) :]
            (score,) = run.translator(**options).score_ids([line], [hypothesis.tokens])
            if ids:
                assert score.log_prob == pytest.approx(hypothesis.log_prob, abs=1e-3)
            batch = collate([()], [[*read, *hypothesis.tokens]], [0])
            with torch.no_grad():
                whole = run.model.log_probs(batch)[0].tolist()
            assert score.token_log_probs == pytest.approx(whole[len(read) :], abs=1e-4)
            assert score.tokens == hypothesis.tokens
            assert hypothesis.text.startswith(line)
    (tmp_path / "in.txt").write_text("\n".join(lines) + "\n")
    done = inside("translate", "run=gpt", "input=in.txt", "decoding.strategy=greedy", "decoding.n_best=1", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines() == run.translate(lines, strategy="greedy", n_best=1)


def test_text_needs_no_scorer_of_its_language(inside: Callable[..., Done], tmp_path: Path) -> None:
    """BLEU splits Japanese with a package that is not needed where nothing is translated."""
    (tmp_path / "ja.txt").write_text("犬が眠る\n猫が走る\n" * 20)
    given = ["data=text", "data.language=ja", "data.train=ja.txt", "data.validation=ja.txt", "run_dir=run"]
    settings = [one for one in BERT if not one.startswith("data")]
    done = inside("train", *settings, *given, "data.tokenizer.vocab_size=300", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "BLEU" not in done.stderr


@pytest.mark.parametrize(
    ("command", "arguments", "words"),
    [
        ("train", [*TEXT, "model=transformer"], "objective=translation needs pairs of sentences"),
        ("train", [*SMALL, "model=gpt", "objective=causal_lm"], "use data=text or data=grammar_text"),
        ("train", [*TEXT, "model=gpt", "objective=masked_lm"], "objective=masked_lm trains an encoder"),
        ("train", [*TEXT, "model=lstm", "objective=causal_lm"], "use a decoder-only model, model=gpt"),
        ("train", [*BERT, "training.metric=bleu"], "training.metric=bleu scores translations"),
        (
            "train",
            [*GPT, "model.prefix=full"],
            "model.prefix=full is about a source, and a text of objective=causal_lm",
        ),
        ("train", [*GPT, "model.source_loss=0.5"], "model.source_loss=0.5 is about a source, and a text of objective="),
        ("train", [*GPT, "init_from=BERT/nothing"], "init_from: BERT/nothing is not a run directory: it has no config"),
        (
            "train",
            [*GPT, "init_from=BERT/config.yaml"],
            "init_from: BERT/config.yaml is not a run directory: it has no config.yaml; name",
        ),
        ("train", [*BERT, "objective.share=0"], "objective.share=0 must be more than 0"),
        ("train", [*BERT, "objective.span=3"], "objective.span"),
        ("train", ["objective=mlm"], "mlm"),
        ("translate", ["run=BERT"], "objective=masked_lm writes no text"),
        ("evaluate", ["run=BERT", "splits=[validation]"], "objective=masked_lm and translates nothing"),
        ("compare", [*TEXT, "models=[transformer]"], "objective=translation needs pairs of sentences"),
    ],
)
def test_what_does_not_fit_is_one_line(
    inside: Callable[..., Done], bert: Path, tmp_path: Path, command: str, arguments: list[str], words: str
) -> None:
    *arguments, words = (one.replace("BERT", str(bert)) for one in (*arguments, words))
    done = inside(command, *arguments, cwd=tmp_path, **({"stdin": b"The dog\n"} if command == "translate" else {}))
    assert done.code == 2
    assert len(done.errors) == 1, done.stderr
    assert words in done.errors[0]
    assert not list(tmp_path.rglob("*.safetensors"))
