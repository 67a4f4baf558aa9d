"""`init_from`: the tokeniser of another run, and the weights that fit."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import nn

from s2s.commands.console import plain
from s2s.commands.init_from import check_initial, initial_tokenizer, start_from
from s2s.config import RunConfig, TokenizerConfig, parse
from s2s.data.corpus import Split
from s2s.data.tokenizer import Tokenizer, train_tokenizer
from s2s.errors import S2SError
from s2s.models import build_model
from s2s.models.interface import Seq2Seq
from s2s.runs import load
from s2s.training.checkpoint import RunDirectory
from s2s.training.weights import model_tensors
from tests.commands.conftest import SMALL, SMALL_RECURRENT, Done
from tests.models import contract

TIES = ("none", "output", "all")
ENGLISH = ["the dog sleeps", "a cat runs", "the old man reads a book"]
GERMAN = ["der Hund schläft", "eine Katze rennt", "der alte Mann liest ein Buch"]
OTHER = [line.translate(str.maketrans("aeo", "xyz")) for line in ENGLISH]  # as many pieces, but others
SETTINGS = TokenizerConfig(
    type="char", vocab_size=40, joint=False, byte_fallback=False, sampling=0.0, normalization="identity", path=None
)


def tokenizer(source: Sequence[str] = ENGLISH, target: Sequence[str] = GERMAN, joint: bool = False) -> Tokenizer:
    config = TokenizerConfig(**{**vars(SETTINGS), "joint": joint})
    return train_tokenizer(config, source, target)


def make(section: dict[str, Any], subwords: Tokenizer, seed: int, objective: str = "translation") -> Seq2Seq:
    """A model whose weights all differ from those of another seed."""
    torch.manual_seed(seed)
    model = build_model(section, subwords.source_size, subwords.target_size, objective)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


def saved(path: Path, model: nn.Module, subwords: Tokenizer, tie: str = "output", **data: Any) -> RunDirectory:
    """A run directory with all that `init_from` reads."""
    run = RunDirectory(path)
    run.save_config({"model": {"tie_embeddings": tie}, "data": {"tokenizer": vars(SETTINGS), **data}})
    run.save_weights(run.weights, model_tensors(model), [1])
    subwords.save(run.tokenizer)
    return run


def tied(kind: str) -> dict[str, Any]:
    """A `model` section that says no more than this."""
    return {"tie_embeddings": kind}


def equal(ours: nn.Module, theirs: nn.Module) -> bool:
    pairs = zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


# ------------------------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("our_tie", TIES)
@pytest.mark.parametrize("their_tie", TIES)
def test_tied_embeddings_come_from_any_others(tmp_path: Path, their_tie: str, our_tie: str) -> None:
    subwords = tokenizer(joint=True)
    section = contract.transformer()
    theirs = make(section | {"tie_embeddings": their_tie}, subwords, 1)
    ours = make(section | {"tie_embeddings": our_tie}, subwords, 2)
    start_from(saved(tmp_path, theirs, subwords, their_tie), ours, tied(our_tie), subwords)
    assert equal(ours.encoder, theirs.encoder)
    assert equal(ours.decoder, theirs.decoder)
    assert torch.equal(ours.output_bias, theirs.output_bias)
    embedding = theirs.target_embedding.weight
    assert torch.equal(ours.target_embedding.weight, embedding)
    assert torch.equal(ours.source_embedding.weight, embedding if our_tie == "all" else theirs.source_embedding.weight)
    assert torch.equal(ours.output_weight, theirs.output_weight if our_tie == "none" else embedding)
    assert (ours.output_weight is ours.target_embedding.weight) == (our_tie != "none")


@pytest.mark.parametrize("our_tie", TIES)
@pytest.mark.parametrize("their_tie", TIES)
def test_a_language_model_has_one_embedding_for_both_sides(tmp_path: Path, their_tie: str, our_tie: str) -> None:
    subwords = tokenizer(joint=True)
    language_model = make(contract.decoder_only("attention", tie=their_tie), subwords, 1, "causal_lm")
    section = contract.decoder_only("attention", tie=our_tie)
    ours = make(section, subwords, 2)
    run = saved(tmp_path / "lm", language_model, subwords, their_tie)
    start_from(run, ours, tied(our_tie), subwords)
    embedding = language_model.target_embedding.weight
    assert equal(ours.decoder, language_model.decoder)
    assert torch.equal(ours.source_embedding.weight, embedding)
    assert torch.equal(ours.target_embedding.weight, embedding)
    assert torch.equal(ours.output_weight, language_model.output_weight if our_tie == "none" else embedding)

    theirs, ours = make(section, subwords, 3), make(section, subwords, 4, "causal_lm")
    start_from(saved(tmp_path / "translation", theirs, subwords, our_tie), ours, tied(our_tie), subwords)
    assert ours.source_embedding is ours.target_embedding
    assert torch.equal(ours.target_embedding.weight, theirs.target_embedding.weight)
    assert torch.equal(ours.output_weight, theirs.output_weight)


def test_a_masked_language_model_gives_its_encoder_and_embedding(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known, new = tokenizer(ENGLISH, ENGLISH, joint=True), tokenizer(ENGLISH, GERMAN)
    section = contract.transformer()
    theirs, ours = make(section, known, 1, "masked_lm"), make(section, new, 2)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        start_from(saved(tmp_path, theirs, known), ours, tied("output"), new)
    assert equal(ours.encoder, theirs.encoder)
    assert torch.equal(ours.source_embedding.weight, theirs.source_embedding.weight)
    assert caplog.messages[1].endswith(": head (4 tensors), head_bias")


def test_a_masked_language_model_from_one_of_other_pieces(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As many source pieces, but others; no target embedding in either, whatever is tied."""
    known, new = tokenizer(), tokenizer(OTHER, GERMAN)
    section = contract.transformer() | {"tie_embeddings": "all"}
    theirs, ours = make(section, known, 1, "masked_lm"), make(section, new, 2, "masked_lm")
    run = saved(tmp_path, theirs, known, "all")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        start_from(run, ours, tied("all"), new)
    (line,) = caplog.messages
    assert (
        line
        == f"initial weights: encoder (30 tensors), head (4 tensors) from {tmp_path}; new: head_bias, source_embedding"
    )


def test_vocabularies_are_compared_by_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    section = contract.transformer() | {"tie_embeddings": "none"}
    known = tokenizer()
    theirs = make(section, known, 1)
    run = saved(tmp_path, theirs, known, "none")
    same = {"source_embedding": theirs.source_embedding.weight, "target_embedding": theirs.target_embedding.weight}
    same |= {"output_weight": theirs.output_weight, "output_bias": theirs.output_bias}
    for new, fitting in (
        (tokenizer(OTHER, GERMAN), {"target_embedding", "output_weight", "output_bias"}),
        (tokenizer(ENGLISH, GERMAN[:2]), {"source_embedding"}),
        (tokenizer(ENGLISH, GERMAN), set(same)),
    ):
        ours = make(section, new, 2)
        before = copy.deepcopy(ours)
        caplog.clear()
        with caplog.at_level(logging.INFO):
            start_from(run, ours, tied("none"), new)
        assert equal(ours.encoder, theirs.encoder)
        (line,) = caplog.messages
        taken, fresh = (re.findall(r"\w+_\w+", part) for part in line.split("; new: "))
        assert {*taken} & {*same} == fitting
        assert {*fresh} == {*same} - fitting
        weights = {name: tensor for name, tensor in ours.state_dict().items() if name.split(".")[0] in same}
        for name, tensor in weights.items():
            expected = same[name.split(".")[0]] if name.split(".")[0] in fitting else before.state_dict()[name]
            assert torch.equal(tensor, expected), name
    new = tokenizer(OTHER, GERMAN[:2])
    with pytest.raises(S2SError, match=r"its vocabulary differs; leave data\.tokenizer\.path out"):
        start_from(run, make(section, new, 2), tied("none"), new)


def test_an_embedding_is_not_taken_from_the_other_side(tmp_path: Path) -> None:
    """Tied to all in a joint vocabulary, of which only the target side is the same here."""
    known = tokenizer(GERMAN, GERMAN, joint=True)
    new = tokenizer(ENGLISH, GERMAN)
    theirs, ours = (
        make(contract.transformer() | {"tie_embeddings": "all"}, known, 1),
        make(contract.transformer(), new, 2),
    )
    before = ours.source_embedding.weight.detach().clone()
    start_from(saved(tmp_path, theirs, known, "all"), ours, tied("output"), new)
    assert torch.equal(ours.target_embedding.weight, theirs.target_embedding.weight)
    assert torch.equal(ours.source_embedding.weight, before)


def test_more_layers_and_other_parts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The other run is an encoder with an embedding and a head: no decoder, and fewer layers than here."""
    subwords = tokenizer()
    section = contract.transformer()
    theirs = make(section, subwords, 1)
    del theirs.decoder, theirs.target_embedding, theirs.output_weight, theirs.output_bias
    theirs.head = nn.Linear(3, 3)
    deeper = section | {"encoder": section["encoder"] | {"layers": 3}}
    ours = make(deeper, subwords, 2)
    before = copy.deepcopy(ours.state_dict())
    caplog.clear()
    with caplog.at_level(logging.INFO):
        start_from(saved(tmp_path, theirs, subwords), ours, tied("output"), subwords)
    old, new = len(theirs.encoder.state_dict()), len(ours.encoder.state_dict())
    decoder = len(ours.decoder.state_dict())
    assert caplog.messages == [
        f"initial weights: encoder ({old} of {new} tensors), source_embedding from {tmp_path}; "
        f"new: output_weight, output_bias, decoder ({decoder} tensors), target_embedding",
        f"weights of {tmp_path} that this model has no place for: head (2 tensors)",
    ]
    known = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, known.get(name, before[name])), name


def test_a_layer_of_another_shape_stays_new_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    subwords = tokenizer()
    section = contract.transformer()
    theirs = make(section, subwords, 1)
    ours = make(section | {"encoder": section["encoder"] | {"feedforward": 12}}, subwords, 2)
    caplog.clear()
    start_from(saved(tmp_path, theirs, subwords), ours, tied("output"), subwords)
    (warning,) = caplog.messages
    assert re.search(
        r"6 weights of .* do not fit and stay new \(encoder\.layers\.0\..*\(10, 8\), here \(12, 8\)\)", warning
    )
    assert equal(ours.decoder, theirs.decoder)


def test_options_that_change_what_weights_compute_are_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    subwords, section = tokenizer(), contract.transformer()
    theirs = make(section, subwords, 1)
    run = saved(tmp_path, theirs, subwords)
    run.save_config(run.load_config() | {"model": section})
    encoder = section["encoder"]
    for changes, options in (
        ({}, []),
        ({"dropout": 0.4, "layers": 3}, []),
        ({"positions": "rotary"}, ["positions=sinusoidal (here rotary)"]),
        ({"norm": "post", "heads": 1}, ["heads=2 (here 1)", "norm=pre (here post)"]),
    ):
        other = section | {"encoder": encoder | changes}
        caplog.clear()
        start_from(run, make(other, subwords, 2), other, subwords)
        found = [one for one in caplog.messages if "were trained with" in one]
        assert len(found) == bool(options)
        for line in found:
            assert line.startswith(
                f"weights of {tmp_path} were trained with {', '.join(f'model.encoder.{o}' for o in options)}: they"
            )


def test_a_model_without_a_layer_in_common_is_refused(tmp_path: Path) -> None:
    """Its embeddings would fit, or a few biases."""
    subwords = tokenizer()
    run = saved(tmp_path, make(contract.transformer(), subwords, 1), subwords)
    ours = make(contract.recurrent("gru", "bahdanau"), subwords, 2)
    before = copy.deepcopy(ours)
    with pytest.raises(S2SError) as caught:
        start_from(run, ours, tied("output"), subwords)
    assert "no weight matrix of its encoder or decoder fits (it has decoder (46 tensors), encoder (" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)
    assert equal(ours, before)
    ours = make(contract.transformer() | {"embedding_size": 4}, subwords, 2)
    with pytest.raises(
        S2SError, match=r"fits \(output_weight has the shape \(\d+, 8\), here \(\d+, 4\)\): set the model"
    ):
        start_from(run, ours, tied("output"), subwords)


# ----------------------------------------------------------------------------------------------------------- tokeniser


@pytest.fixture(scope="module")
def configure(root: Path) -> Callable[..., RunConfig]:
    """The configuration of a run, on the built-in corpus (en to de) by default, with the tokeniser of these tests."""

    def changed(*given: str, joint: bool = False, **settings: Any) -> RunConfig:
        with initialize_config_dir(str(root / "conf"), version_base="1.3"):
            values = plain(compose("train", [*given]))
        del values["run_dir"]
        values["data"]["tokenizer"] = {**vars(SETTINGS), "joint": joint, **settings}
        return parse(values)

    return changed


SPLIT = Split("train", ENGLISH, GERMAN)


def monolingual(path: Path, language: str, lines: Sequence[str]) -> RunDirectory:
    subwords = tokenizer(lines, lines, joint=True)
    run = saved(path, nn.Linear(1, 1), subwords, type="text", language=language)
    config = run.load_config()
    config["data"]["tokenizer"]["joint"] = True
    run.save_config(config)
    return run


@pytest.mark.parametrize(
    ("language", "lines", "known"),
    [("en", GERMAN[:2], 0), ("eng", ["xyz"], 0), ("de", ENGLISH[:2], 1), ("deu", ["xyz"], 1)],
)
def test_the_tokeniser_of_one_language(
    tmp_path: Path, configure: Callable[..., RunConfig], language: str, lines: list[str], known: int
) -> None:
    run = monolingual(tmp_path / "run", language, lines)
    new = initial_tokenizer(configure(), run, SPLIT)
    new.save(tmp_path / "new")
    again = Tokenizer.load(tmp_path / "new")
    assert not again.joint
    model, own = Tokenizer.load(run.tokenizer).source.proto, tokenizer()
    expected = [own.source.proto, own.target.proto]
    expected[known] = model
    assert [again.source.proto, again.target.proto] == expected
    assert expected[1 - known] != model


def test_the_tokeniser_of_one_language_for_both_sides(tmp_path: Path, configure: Callable[..., RunConfig]) -> None:
    run = monolingual(tmp_path / "run", "en", ENGLISH)
    files = ["data=files", "data.source=en", "data.target=eng", "data.train=t", "data.validation=v"]
    for joint in (True, False):
        new = initial_tokenizer(configure(*files, joint=joint), run, SPLIT)
        new.save(tmp_path / f"new-{joint}")
        again = Tokenizer.load(tmp_path / f"new-{joint}")
        assert again.joint == joint
        assert again.source.proto == again.target.proto == Tokenizer.load(run.tokenizer).source.proto


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("joint", [True, False])
def test_the_tokeniser_of_two_languages_for_one(
    tmp_path: Path, configure: Callable[..., RunConfig], side: str, joint: bool
) -> None:
    theirs = tokenizer(joint=joint)
    run = saved(tmp_path / "run", nn.Linear(1, 1), theirs, source_language="en", target_language="de", type="grammar")
    config = run.load_config()
    config["data"]["tokenizer"]["joint"] = joint
    run.save_config(config)

    def text(language: str) -> RunConfig:
        files = ["data=text", f"data.language={language}", "data.train=t", "data.validation=v"]
        return configure("model=gpt", "objective=causal_lm", *files, joint=True)

    new = initial_tokenizer(text({"source": "eng", "target": "de"}[side]), run, Split("train", OTHER, OTHER))
    new.save(tmp_path / "new")
    again = Tokenizer.load(tmp_path / "new")
    assert again.joint
    assert again.source.proto == getattr(theirs, side).proto
    if not joint:
        with pytest.raises(S2SError, match="its tokeniser is for en and de, and the data is fr: name a run on text"):
            check_initial(replace(text("fr"), init_from=str(run.path)))


@pytest.mark.parametrize(
    ("language", "settings", "message"),
    [
        ("fr", {}, "its tokeniser is for fr alone, and the data is en to de: name a run on text in one of these lang"),
        ("en", {"joint": True}, "set data.tokenizer.joint=false for a second one, or name a joint one in data.tokeniz"),
        ("en", {"vocab_size": 50}, "its tokeniser is taken over, which has data.tokenizer.vocab_size=40 and not 50: s"),
    ],
)
def test_the_tokeniser_of_one_language_is_refused(
    tmp_path: Path, configure: Callable[..., RunConfig], language: str, settings: dict[str, Any], message: str
) -> None:
    run = monolingual(tmp_path, language, ENGLISH)
    with pytest.raises(S2SError) as caught:
        check_initial(replace(configure(**settings), init_from=str(run.path)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------------------------ commands


def test_a_warm_start_takes_the_weights_and_the_vocabulary(
    trained: Path, inside: Callable[..., Done], tmp_path: Path
) -> None:
    warm = [f"init_from={trained}", "run_dir=warm", "training.max_steps=1", "optim.lr=1e-12", "seed=5"]
    done = inside("train", *SMALL_RECURRENT, *warm, cwd=tmp_path)
    assert done.code == 0, done.stderr
    old, new = load(trained), load(tmp_path / "warm")
    for (name, a), (_, b) in zip(old.model.named_parameters(), new.model.named_parameters(), strict=True):
        assert (a - b).abs().max() < 1e-6, name
    assert new.translate(["The dog sleeps."]) == old.translate(["The dog sleeps."])


def test_another_run_whose_tokeniser_or_weights_do_not_fit(
    trained: Path, inside: Callable[..., Done], tmp_path: Path
) -> None:
    for changed, message in (
        ("data.tokenizer.vocab_size=200", "which has data.tokenizer.vocab_size=300 and not 200: set the same"),
        ("model=transformer", "): set the model's options to those of that run"),
    ):
        done = inside("train", *SMALL, changed, f"init_from={trained}", "run_dir=new", cwd=tmp_path)
        assert (done.code, len(done.errors)) == (2, 1), done.stderr
        assert message in done.errors[0]


def test_other_languages_are_a_warning(inside: Callable[..., Done], tmp_path: Path) -> None:
    """A model may be trained on from one of other languages."""
    for split in ("train", "dev"):
        (tmp_path / f"{split}.tsv").write_text("the dog sleeps\tder Hund schläft\n" * 9)
    files = ["data=files", "data.train=train.tsv", "data.validation=dev.tsv", "data.tokenizer.vocab_size=280"]
    settings = [*files, *(one for one in SMALL_RECURRENT if not one.startswith("data.")), "training.max_steps=1"]
    for run, more in (
        ("run", ["data.source=en", "data.target=de", "data.target_language=de-AT"]),
        ("swapped", ["data.source=de", "data.target=en", "init_from=run"]),
    ):
        done = inside("train", *settings, *more, f"run_dir={run}", cwd=tmp_path)
        assert done.code == 0, done.stderr
    message = "run translates en to de-AT, and its tokeniser and weights are taken over for de to en"
    assert f"warning: {message}" in done.stderr


@pytest.mark.slow
def test_a_vocabulary_of_the_same_size_is_not_the_same(
    trained: Path, inside: Callable[..., Done], tmp_path: Path
) -> None:
    other = ["data.grammar_seed=2", "data.tokenizer.path=other/tokenizer", f"init_from={trained}", "run_dir=new"]
    assert inside("train", *SMALL_RECURRENT, "data.grammar_seed=2", "run_dir=other", cwd=tmp_path).code == 0
    done = inside("train", *SMALL_RECURRENT, *other, cwd=tmp_path)
    assert (done.code, len(done.errors)) == (2, 1), done.stderr
    assert "its vocabulary differs" in done.errors[0]


@pytest.mark.slow  # in small steps above
def test_the_encoder_of_a_monolingual_run_is_frozen(inside: Callable[..., Done], tmp_path: Path) -> None:
    """The whole way, in a command: one side's tokeniser, a part of the weights, some frozen and some slower."""
    text = ["objective=denoising", "data=grammar_text", "data.train_lines=300", "data.validation_lines=12"]
    text += ["data.longest=24", "data.tokenizer.vocab_size=300", "training.max_steps=1", "run_dir=run"]
    done = inside("train", *(one for one in SMALL_RECURRENT if not one.startswith("data.")), *text, cwd=tmp_path)
    assert done.code == 0, done.stderr
    other = RunDirectory(tmp_path / "run")
    settings = [*SMALL_RECURRENT, "data.tokenizer.joint=false", "training.max_steps=2", "training.average=last"]
    settings += ["init_from=run", "optim.scale={decoder: 0.5}", "run_dir=new"]
    settings.append("freeze=[encoder,source_embedding,output_bias]")
    done = inside("train", *settings, cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert re.search(
        r"initial weights: encoder \(\d+ tensors\), decoder \(\d+ tensors\), source_embedding from ", done.stderr
    )
    assert re.search(r"\nfrozen: [\d,]+ of [\d,]+ parameters \(encoder, source_embedding, output_bias\)\n", done.stderr)
    assert "\nwarning: frozen with random weights, not from init_from: output_bias\n" in done.stderr
    new = load(tmp_path / "new")
    theirs = other.weight_tensors()
    assert any(name.startswith("encoder.") for name in theirs)
    for name, tensor in new.model.state_dict().items():
        frozen = name.startswith(("encoder.", "source_embedding."))
        if name in theirs:
            assert (theirs[name].shape == tensor.shape and torch.equal(theirs[name], tensor)) == frozen, name
    assert new.config.optim.scale == {"decoder": 0.5}
    settings[settings.index("optim.scale={decoder: 0.5}")] = "optim.scale=null"
    done = inside("train", *settings, cwd=tmp_path)
    assert (done.code, len(done.errors)) == (2, 1), done.stderr
    assert "optim.scale.decoder: 0.5 → (not set)" in done.errors[0]
