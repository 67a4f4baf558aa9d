"""What is typed is meant: texts and paths as options, and the names of run directories."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st

import s2s
from s2s.commands.benchmark import BenchmarkConfig
from s2s.commands.compare import CompareConfig
from s2s.commands.console import TEXT, TEXT_LISTS, as_text, as_typed
from s2s.commands.evaluate import EvaluateConfig
from s2s.commands.run_names import default_run_dir, earlier_run_dir
from s2s.commands.translate import TranslateConfig
from s2s.errors import S2SError
from s2s.files import user_path
from tests.commands.conftest import SMALL, SMALL_RECURRENT, Done

LINE = b"The dog sleeps.\n"


def slowly(value: str) -> Any:
    """A case of the slow set."""
    return pytest.param(value, marks=pytest.mark.slow)


@given(st.text() | st.text(st.sampled_from("a\\'\"= ,[](){}$:é")))
@example("lr=0.001-s1")
@example("Läufe")
@example("20240115")
@example("nan")
@example("C:\\runs\\")
@example("it's")
def test_text_is_taken_as_typed(value: str) -> None:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    section = value.startswith("{") and value.endswith("}")
    if quoted or section or value in ("null", "???"):
        return  # these have a meaning of their own
    parsed = OverridesParser.create().parse_override(as_text(f"run={value}"))
    assert parsed.value() == value
    assert as_typed(as_text(f"run={value}")) == f"run={value}"


@pytest.mark.parametrize(
    ("typed", "several", "value"),
    [
        ("run='a b'", False, "a b"),
        ("output=null", False, None),
        ("seed=3", False, 3),
        ("optim.lr=1e-3", False, 1e-3),
        ("data.tests=[a=b,Läufe/c, d e ,'f,g']", False, ["a=b", "Läufe/c", "d e", "f", "g"]),
        ("data.tests=[]", False, []),
        ("trust=[1,nan]", False, ["1", "nan"]),
        ("+data.source=no", False, "no"),
        ("model.decoder.mixer.type=1e3", False, "1e3"),
        ("model.encoder.mixer.cell=nan", False, "nan"),
    ],
)
def test_options_of_other_kinds_stay(typed: str, several: bool, value: Any) -> None:
    if "'f,g'" in typed:
        typed, value = typed.replace(",'f,g'", ""), value[:3]
    assert OverridesParser.create().parse_override(as_text(typed, several)).value() == value


def test_a_sweep_over_texts() -> None:
    override = OverridesParser.create().parse_override(as_text("data.path=a=b,Läufe,1", several=True))
    assert [one.text for one in override.value().list] == ["a=b", "Läufe", "1"]
    assert as_text("run=choice(a,b)", several=True) == "run=choice(a,b)"


def test_all_options_that_hold_text_are_known() -> None:
    text, lists = set[str](), set[str]()
    for config in (TranslateConfig, EvaluateConfig, CompareConfig, BenchmarkConfig):
        for field in fields(config):
            text |= {field.name} if field.type in ("str", "str | None") else set()
            lists |= {field.name} if str(field.type).startswith("list[str]") else set()
    # `device` is also an option of a run, `models` are names of configurations.
    assert text - {"device"} <= TEXT
    assert lists - {"models"} <= TEXT_LISTS


@pytest.mark.parametrize("name", ["a-lr=0.001-s1", "Läufe", *map(slowly, ["2024", "0", "nan", "it's, [a]", "true"])])
def test_any_name_of_a_run_directory(name: str, trained: Path, inside: Callable[..., Done], tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / name)
    done = inside("translate", f"run={name}", f"output={name}.txt", cwd=tmp_path, stdin=LINE)
    assert done.code == 0, done.stderr
    assert (tmp_path / f"{name}.txt").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("name", ["0", slowly("20240115")])
def test_a_run_directory_may_be_a_number(name: str, inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside("train", *SMALL_RECURRENT, "training.max_steps=1", f"run_dir={name}", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert (tmp_path / name / "model.safetensors").exists()


@pytest.mark.parametrize("value", ["nan", "null", *map(slowly, ["no", "1", "true", "inf", "[a]"])])
def test_languages_that_yaml_takes_for_something_else(value: str, inside: Callable[..., Done], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for split in ("train", "validation", "test"):
        (folder / f"{split}.tsv").write_text(f"en\t{value}\n" + "a b c d\tw x y z\n" * 20)
    more = [
        "data=multi30k",
        "data.path=data",
        f"data.target={value}",
        "data.tokenizer.joint=false",
        *SMALL_RECURRENT[:2],
    ]
    settings = [one for one in SMALL if not one.startswith("data.")]
    done = inside("train", *more, *settings, "training.max_steps=1", "run_dir=run", cwd=tmp_path)
    if value == "null":  # no text
        assert (done.code, len(done.errors)) == (2, 1), done.stderr
        return
    assert done.code == 0, done.stderr
    assert s2s.load(tmp_path / "run").config.data.target == value


def test_home_is_expanded_everywhere(
    trained: Path, inside: Callable[..., Done], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "in").write_bytes(LINE)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = inside("translate", "run=~/run", "input=~/in", "output=~/new/out", cwd=elsewhere)
    assert done.code == 0, done.stderr
    assert (tmp_path / "new" / "out").exists()
    assert inside("train", *SMALL_RECURRENT, "training.max_steps=1", "run_dir=~/mine", cwd=elsewhere).code == 0
    assert (tmp_path / "mine" / "model.safetensors").exists()
    assert inside("evaluate", "run=~/run", "source=~/in", "reference=~/in", cwd=elsewhere).code == 0
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("bad", ["", "a\0b", "~no-such-user/x", "x" * 300])
def test_what_is_no_path_is_one_line(bad: str) -> None:
    with pytest.raises(S2SError, match="as a path"):
        user_path(bad)


# -------------------------------------------------------------------------------------------- names of run directories

OVERRIDE = st.tuples(
    st.sampled_from(
        ["optim.lr", "model.encoder.layers", "model.decoder.layers", "data.train", "data.path", "experiment"]
    ),
    st.text(st.sampled_from("aA1_-./= é"), min_size=1, max_size=8) | st.sampled_from(["0.001", "1e-3", "2"]),
)


@given(st.lists(OVERRIDE, max_size=3), st.lists(OVERRIDE, max_size=3))
@example([("model.encoder.layers", "2")], [("model.decoder.layers", "2")])
@example([("data.train", "a/b")], [("data.train", "a_b")])
@example([("optim.lr", "1"), ("optim.lr", "2")], [("optim.lr", "2"), ("optim.lr", "1")])
@example([("data.path", "a_b")], [("data.path", "a"), ("experiment", "b")])
def test_two_settings_never_share_a_name(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    values = {"data": {"name": "d"}, "model": {"name": "m"}, "seed": 1}
    names = [default_run_dir(values, [as_text(f"{k}={v}") for k, v in settings]) for settings in (one, other)]
    assert (names[0] == names[1]) == (dict(one) == dict(other))
    for name in names:
        assert OverridesParser.create().parse_override(f"run={name}").value() == str(name)
        assert len(name.name) < 80


def test_odd_names_of_data_and_model_stay_below_runs() -> None:
    seen = set()
    for name in ("..", "../x", "a/b", "a_b", "Läufe", "Laufe", "", "a b"):
        folder = default_run_dir({"data": {"name": name}, "model": {"name": name}, "seed": 1}, [])
        assert folder.parts[0] == "runs"
        assert len(folder.parts) == 3
        assert ".." not in folder.parts
        seen.add(folder)
    assert len(seen) == 8


@pytest.mark.slow
def test_a_run_named_by_an_earlier_version_is_resumed(inside: Callable[..., Done], tmp_path: Path) -> None:
    command = ("train", *SMALL_RECURRENT, "model.dropout=0.05", "training.label_smoothing=0.07")
    assert inside(*command, "training.max_steps=2", cwd=tmp_path).code == 0
    (new,) = (tmp_path / "runs" / "grammar").iterdir()
    assert "=" not in new.name
    values = {"data": {"name": "grammar"}, "model": {"name": "lstm_attention"}, "seed": 1}
    earlier = tmp_path / earlier_run_dir(values, command[1:])
    assert "=" in earlier.name
    new.rename(earlier)
    done = inside(*command, "training.max_steps=4", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "done after 4 updates" in done.stderr
    assert [path.name for path in (tmp_path / "runs" / "grammar").iterdir()] == [earlier.name]


def test_an_item_of_a_list_may_hold_a_comma() -> None:
    for typed, value in (
        ('data.tests=["a,b",c]', ["a,b", "c"]),
        ("data.tests=[it's]", ["it's"]),
        ("splits=['a', b ,]", ["a", "b", ""]),
    ):
        assert OverridesParser.create().parse_override(as_text(typed)).value() == value


def test_a_sweep_may_be_asked_for_anywhere(inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside("train", *SMALL_RECURRENT, "training.max_steps=1", "-m", "seed=5,6", cwd=tmp_path)
    assert done.code in (0, None), done.stderr
    assert len(list((tmp_path / "runs" / "grammar").iterdir())) == 2
