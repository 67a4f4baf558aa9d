"""The check of a configuration: everything wrong is said at once, with key, value and what is allowed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from s2s.commands.console import plain
from s2s.commands.train import model_errors
from s2s.config import GrammarData, RunConfig, parse
from s2s.errors import S2SError
from s2s.models import check_model
from s2s.schema import Bounds, PositiveInt, build, check_call


@pytest.fixture(scope="module")
def composed(root: Path) -> dict[str, Any]:
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        values = OmegaConf.to_container(compose("train"), resolve=True)
    assert isinstance(values, dict)
    values.pop("run_dir")
    return {str(key): value for key, value in values.items()}


def _changed(values: dict[str, Any], **changes: Any) -> dict[str, Any]:
    new = copy.deepcopy(values)
    for path, value in changes.items():
        *parents, last = path.split("__")
        section = new
        for parent in parents:
            section = section[parent]
        section[last] = value
    return new


def _model_errors(values: Any) -> list[str]:
    return model_errors(values, ())


def test_the_default_becomes_typed_sections(composed: dict[str, Any]) -> None:
    config = parse(composed, _model_errors)
    assert isinstance(config, RunConfig)
    assert isinstance(config.data, GrammarData)
    assert config.data.source_language == "en"
    assert config.optim.betas == (0.9, 0.98)
    assert isinstance(config.optim.eps, float)


def test_all_errors_are_reported_in_one_line(composed: dict[str, Any]) -> None:
    broken = _changed(
        composed,
        training__batch_tokens=0,
        training__precision="fp16",
        optim__lr="fast",
        optim__schedule__warmup=-1,
        decoding__n_best=9,
        data__tokenizer__vocab_sise=3,
        model__embedding_size=-4,
    )
    with pytest.raises(S2SError) as caught:
        parse(broken, _model_errors)
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "config: 7 errors: (1) ",
        "training.batch_tokens=0 must be at least 1",
        "training.precision='fp16' is not one of: bf16, fp32",
        "optim.lr='fast' must be a number",
        "decoding.n_best=9 is more than decoding.beam=5",
        "optim.schedule.warmup=-1 must be at least 0",
        "unknown key data.tokenizer.vocab_sise (known, nearest first: vocab_size,",
        "model.embedding_size=-4 must be at least 1",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"decoding__n_best": 9}, "decoding.n_best=9 is more than decoding.beam=5"),
        ({"training__max_steps": None, "training__max_epochs": None}, "set one, or training never ends"),
        ({"optim__schedule__type": "cosine", "training__max_steps": None}, "needs training.max_steps"),
        ({"evaluation__bins": [10, 10]}, "evaluation.bins=[10, 10] must rise"),
        ({"data__type": "hug"}, "data.type='hug' is not one of: hub, "),
        ({"model__tie_embeddings": "all"}, "needs data.tokenizer.joint=true"),
        ({"model__encoder__cell": "lstn"}, "unknown cell 'lstn'; known, nearest first: lstm"),
        ({"model__encoder__cell_options": {"forget_byas": 1}}, "model.encoder.cell_options.forget_byas (known"),
        ({"model__encoder__cell": "thing.Cell"}, "is a class outside of s2s: add trust=[thing]"),
        ({"model__decoder__attention__type": "luong"}, "model.decoder.attention.type='luong' is not one of:"),
        ({"model__encoder__type": "block"}, "type='block' is not one of: blocks, recurrent"),
        ({"seed": True}, "seed=True must be a whole number"),
        ({"optim__betas": [0.9]}, "optim.betas=[0.9] must have 2 items"),
        ({"optim__betas": [0.9, 1.0]}, "optim.betas[1]=1.0 must be at least 0 and less than 1"),
        (
            {"freeze": ["encoder", "decodr"]},
            "config: freeze: model=lstm_attention has no part 'decodr'; nearest: decoder, encoder, source_embedding, "
            "target_embedding, output_bias",
        ),
        ({"freeze": ["encoder.stack.level"]}, "nearest: encoder.stack.levels, encoder.stack, "),
        ({"freeze": ["enc"]}, "freeze: model=lstm_attention has no part 'enc'"),  # part of a name
        ({"freeze": [""]}, "freeze: model=lstm_attention has no part ''"),
        ({"freeze": ["encoder", 3]}, "freeze[1]=3 must be text"),
        ({"freeze": "encoder"}, "freeze='encoder' must be a list"),
        ({"freeze": None}, "freeze=None must be a list"),
        (
            {"freeze": ["encoder", "decoder", "source_embedding", "output_weight", "output_bias"]},
            "leaves no parameter to train",
        ),
        ({"optim__scale": {"encoder": 0.3, "encodr": 2}}, "optim.scale: model=lstm_attention has no part 'encodr'"),
        ({"optim__scale": {"encoder": 0}}, "optim.scale.encoder=0 must be more than 0"),
        ({"optim__scale": {"encoder": [1]}}, "optim.scale.encoder=[1] must be a number"),
        (
            {"freeze": ["encoder"], "optim__scale": {"encoder.stack": 0.3, "decoder": 0.5}},
            "optim.scale: encoder.stack is frozen, so that it has no rate: take it out of optim.scale or of freeze",
        ),
        ({"optim__scale": {1: 0.5}}, "optim.scale: model=lstm_attention has no part '1'"),
        ({"optim__scale": ["encoder"]}, "optim.scale=['encoder'] must be a section"),
        (
            {"optim__scale": {"target_embedding": 0.5, "output_weight": 2.0}},
            "optim.scale has several factors for one tied parameter (target_embedding, output_weight): keep one",
        ),
    ],
)  # fmt: skip
def test_one_error(composed: dict[str, Any], changes: dict[str, Any], part: str) -> None:
    with pytest.raises(S2SError) as caught:
        parse(_changed(composed, **changes), _model_errors)
    assert part in str(caught.value)


def test_parts_of_a_model(composed: dict[str, Any]) -> None:
    scale = {"decoder": 0.5, "decoder.readout": 2, "target_embedding": 1.5, "target_embedding.weight": 3, "encoder": 1}
    changes = {"freeze": ["encoder.stack.levels.0", "source_embedding"], "optim__scale": scale}
    config = parse(_changed(composed, **changes), _model_errors)
    assert config.freeze == changes["freeze"]
    assert config.optim.scale == scale
    assert parse(_changed(composed, optim__scale={}), _model_errors).optim.scale == {}
    with pytest.raises(S2SError) as caught:
        parse(_changed(composed, freeze=["decoder.a.b.c"]), _model_errors)
    assert str(caught.value).partition("nearest: ")[2].count(", ") == 4  # of dozens


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        (["model.encoder.heads=3"], "model.embedding_size=128 is not a multiple of heads=3; change one of them"),
        (
            ["model.decoder.positions=rotary", "model.decoder.heads=128"],
            "positions=rotary rotates pairs, and model.embedding_size=128 / heads=128 is odd; change one of them, or "
            "use positions=sinusoidal",
        ),
        (
            ["model.decoder.positions=rotatory"],
            "model.decoder.positions='rotatory' is not one of: rotary, recurrent, sinusoidal, none",
        ),
        (
            ["model.encoder.mixer.type=convolutoin"],
            "model.encoder.mixer.type: unknown mixer 'convolutoin'; known, "
            "nearest first: convolution, recurrent, self_attention",
        ),
        (
            ["model/encoder/mixer=convolution", "model.encoder.mixer.kernel=0"],
            "model.encoder.mixer.kernel=0 must be at least 1",
        ),
        (["+model.decoder.mixer.kernel=3"], "unknown key model.decoder.mixer.kernel (known, nearest first: none)"),
        (
            ["model/decoder/mixer=recurrent", "model.decoder.mixer.cell=lstn"],
            "model.decoder.mixer.cell: unknown cell "
            "'lstn'; known, nearest first: lstm, minlstm, rnn, sru, ssru, mingru, gru, mgu",
        ),
        (
            ["model/decoder/mixer=recurrent", "model.decoder.mixer.cell=thing.Cell"],
            "model.decoder.mixer.cell=thing.Cell is a class outside of s2s: add trust=[thing] if you trust it",
        ),
        (
            ["model.decoder.mixer.type=thing.Mixer"],
            "model.decoder.mixer.type=thing.Mixer is a class outside of s2s: add trust=[thing] if you trust it",
        ),
        (
            ["model/encoder/mixer=convolution", "model.encoder.positions=rotary"],
            "positions=rotary rotates queries and "
            "keys, and the mixer convolution has none: use positions=sinusoidal, recurrent or none",
        ),
        (["~model.encoder.heads"], "model.encoder.heads is missing: the mixer self_attention needs it"),
    ],
)
def test_what_a_constructor_refuses_is_found_without_data(root: Path, typed: list[str], error: str) -> None:
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        config = compose("train", ["model=transformer", *typed])
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    assert check_model(values["model"], False, ()) == [error]


@dataclass(frozen=True)
class _Inner:
    type: Literal["inner"]
    size: PositiveInt


@dataclass(frozen=True)
class _Outer:
    count: Annotated[int, Bounds(low=1, high=9)]
    share: float
    names: list[str]
    inner: _Inner | None
    flag: bool = False


VALUES = {
    "count": st.integers(1, 9),
    "share": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 5),
    "names": st.lists(st.text()),
    "inner": st.none() | st.fixed_dictionaries({"type": st.just("inner"), "size": st.integers(1)}),
}


@given(values=st.fixed_dictionaries(VALUES, optional={"flag": st.booleans()}))
def test_what_is_accepted_is_built(values: dict[str, Any]) -> None:
    assert check_call(_Outer, values, "") == []
    made = build(_Outer, values)
    assert made.count == values["count"]
    assert isinstance(made.share, float)
    assert made.inner is None or isinstance(made.inner, _Inner)


@given(
    values=st.fixed_dictionaries(VALUES),
    key=st.sampled_from([*VALUES]),
    wrong=st.sampled_from([{}, "x", -7, float("nan"), [1]]),
)
def test_a_wrong_value_is_named_with_its_key(values: dict[str, Any], key: str, wrong: Any) -> None:
    allowed = {"share": (-7,)}.get(key, ())
    errors = check_call(_Outer, {**values, key: wrong}, "top")
    assert len(errors) == (0 if any(wrong is a or wrong == a for a in allowed) else 1)
    assert all(f"top.{key}" in error for error in errors)


@given(values=st.fixed_dictionaries(VALUES), key=st.sampled_from([*VALUES]))
def test_a_missing_key_is_named(values: dict[str, Any], key: str) -> None:
    del values[key]
    assert check_call(_Outer, values, "a.b") == [f"missing key a.b.{key}"]


@pytest.mark.parametrize(
    ("typed", "error"),
    [
        ("model.cell_options={reset: after}", None),
        ("+model.cell_options.reset=after", None),
        ("model.encoder.cell_options={reset: after}", None),
        (
            "model.cell_options={rest: after}",
            "unknown key model.encoder.cell_options.rest (known, nearest",
        ),
        ("model.cell_options=3", "model.cell_options=3 must be a section with keys"),
    ],
)
def test_options_of_a_cell_can_be_typed(root: Path, typed: str, error: str | None) -> None:
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        values = plain(compose("train", ["model=gru", typed]))
    found = _model_errors(values)
    assert found == [] if error is None else any(error in line for line in found)


class _Options:
    """A user's class with parameters of all kinds of hints."""

    def __init__(
        self,
        sizes: tuple[int, ...] = (),
        pair: tuple[int, str] = (1, "a"),
        bare: dict = {},  # type: ignore[type-arg]  # noqa: B006
        items: list = [],  # type: ignore[type-arg]  # noqa: B006
        nested: dict[str, dict[str, float]] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.values = {"sizes": sizes, "pair": pair, "bare": bare, "items": items, "nested": nested, "names": names}


@pytest.mark.parametrize(
    ("key", "value", "built"),
    [
        ("sizes", [1, 2, 3], (1, 2, 3)),
        ("sizes", [], ()),
        ("sizes", [1, "x"], "sizes[1]='x' must be a whole number"),
        ("sizes", 3, "sizes=3 must be a list"),
        ("pair", [1, "b"], (1, "b")),
        ("pair", [1], "pair=[1] must have 2 items"),
        ("bare", {"a": [1]}, {"a": [1]}),
        ("bare", [1], "bare=[1] must be a section with keys"),
        ("items", [1, "x"], [1, "x"]),
        ("nested", {"a": {"b": 1}}, {"a": {"b": 1.0}}),
        ("nested", {"a": {"b": "x"}}, "nested.a.b='x' must be a number"),
        ("nested", {"a": 1}, "nested.a=1 must be a section with keys"),
        ("names", ["a"], ["a"]),
        ("names", "a", "names='a' must be a list"),
    ],
)
def test_containers_of_every_kind(key: str, value: Any, built: Any) -> None:
    errors = check_call(_Options, {key: value}, "")
    if isinstance(built, str):
        assert errors == [built]
    else:
        assert errors == []
        made = build(_Options, {key: value}).values[key]
        assert made == built
        assert type(made) is type(built)


def test_a_hint_that_no_name_stands_for_is_not_checked() -> None:
    def cell(size: int, other: Missing) -> None:  # type: ignore[name-defined]  # noqa: F821
        pass

    assert check_call(cell, {"size": 1, "other": "anything"}, "") == []
    assert check_call(cell, {"size": 1}, "") == ["missing key other"]
