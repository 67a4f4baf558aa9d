"""Names, paths, streams and folders as users have them: what is typed is meant, and nothing is lost or run unasked."""

from __future__ import annotations

import json
import math
import os
import shutil
import stat
import subprocess
import sys
import threading
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
from tests.commands.conftest import CORPUS, SMALL, SMALL_RECURRENT, Done, Script

LINE = b"The dog sleeps.\n"

# --------------------------------------------------------------------------------------------- what is typed is meant


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


@pytest.mark.parametrize("name", ["a-lr=0.001-s1", "Läufe", "20240115", "0", "nan", "it's, [a]", "true"])
def test_any_name_of_a_run_directory(name: str, trained: Path, inside: Callable[..., Done], tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / name)
    done = inside("translate", f"run={name}", f"output={name}.txt", cwd=tmp_path, stdin=LINE)
    assert done.code == 0, done.stderr
    assert (tmp_path / f"{name}.txt").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("name", ["20240115", "0"])
def test_a_run_directory_may_be_a_number(name: str, inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside("train", *SMALL_RECURRENT, "training.max_steps=1", f"run_dir={name}", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert (tmp_path / name / "model.safetensors").exists()


@pytest.mark.parametrize("value", ["nan", "no", "1", "null", "true", "inf", "[a]"])
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


# -------------------------------------------------------------------------------------------------- outputs and streams


def test_a_link_a_pipe_and_a_mode_stay(trained: Path, inside: Callable[..., Done], tmp_path: Path) -> None:
    translate = ("translate", f"run={trained}")
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "link").symlink_to("real")
    assert inside(*translate, "output=link", cwd=tmp_path, stdin=LINE).code == 0
    assert (tmp_path / "link").is_symlink()
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o600
    assert (tmp_path / "real").read_bytes().count(b"\n") == 1
    os.mkfifo(tmp_path / "pipe")
    arrived: list[bytes] = []
    reader = threading.Thread(target=lambda: arrived.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    assert inside(*translate, "output=pipe", cwd=tmp_path, stdin=LINE).code == 0
    reader.join(10)
    assert arrived == [(tmp_path / "real").read_bytes()]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.parametrize("output", [".", "folder", "file/below", "/dev/full", "folder/../folder", "read-only"])
def test_an_output_that_cannot_be_is_found_first(
    output: str, trained: Path, inside: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("precious")
    (tmp_path / "read-only").write_text("precious")
    monkeypatch.setattr(os, "access", lambda path, mode, **more: "read-only" not in str(path))  # root may write all
    before = sorted(path.name for path in tmp_path.iterdir())
    done = inside("translate", f"run={trained}", f"output={output}", cwd=tmp_path, stdin=LINE)
    assert (done.code, len(done.errors)) == (2, 1), done.stderr
    assert "cannot write" in done.errors[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "file").read_text() == (tmp_path / "read-only").read_text() == "precious"


@pytest.mark.parametrize("path", ["./missing.txt", "missing/../x", ".", "./././missing", "a\0b"])
def test_an_input_that_is_not_there(path: str, copied: Path, inside: Callable[..., Done], tmp_path: Path) -> None:
    for option in (["input"], ["input=in.txt", "reference"]):
        (tmp_path / "in.txt").write_bytes(LINE)
        done = inside("translate", f"run={copied}", *option[:-1], f"{option[-1]}={path}", cwd=tmp_path)
        assert (done.code, len(done.errors)) == (2, 1), done.stderr
    done = inside("evaluate", f"run={copied}", "source=in.txt", f"reference={path}", cwd=tmp_path)
    assert (done.code, len(done.errors)) == (2, 1), done.stderr


def test_a_byte_order_mark_is_no_part_of_a_sentence(copied: Path, inside: Callable[..., Done], tmp_path: Path) -> None:
    plain = inside("translate", f"run={copied}", cwd=tmp_path, stdin=LINE)
    for name, mark in (("plain", b""), ("marked", b"\xef\xbb\xbf")):
        (tmp_path / name).write_bytes(mark + LINE)
        assert inside("translate", f"run={copied}", f"input={name}", cwd=tmp_path).output == plain.output
        assert inside("translate", f"run={copied}", cwd=tmp_path, stdin=mark + LINE).output == plain.output
    one, two = (
        inside("evaluate", f"run={copied}", f"source={name}", f"reference={name}", cwd=tmp_path).stdout.split("\n", 1)[
            1
        ]
        for name in ("plain", "marked")
    )
    assert one == two


def test_streams_that_are_closed_or_full(
    trained: Path, environment: dict[str, str], root: Path, tmp_path: Path
) -> None:
    """Three shells at once: starting takes the time."""
    script = f"{sys.executable} {root / 'scripts' / 'translate.py'} run={trained}"
    (tmp_path / "in").write_bytes(LINE)
    shells = {
        f"{script} input=in > /dev/full": "cannot write stdout: No space left on device",
        f"{script} <&-": "cannot read stdin: it is closed",
        f"{script} input=in >&-": "cannot write stdout: it is closed",
    }
    started = {
        line: subprocess.Popen(["bash", "-c", line], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        for line in shells
    }
    for line, process in started.items():
        errors = process.communicate(timeout=120)[1].splitlines()
        assert process.returncode == 2, line
        assert [shells[line] in error for error in errors] == [True], errors


def test_a_line_that_is_there_is_translated(
    trained: Path, environment: dict[str, str], root: Path, tmp_path: Path
) -> None:
    """A co-process: each answer is awaited before the next line is written."""
    command = [sys.executable, str(root / "scripts" / "translate.py"), f"run={trained}"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(100, process.kill)
        timer.start()
        for _ in range(2):
            process.stdin.write(LINE)
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"\n")
        process.stdin.write(b"no end of line")
        process.stdin.close()
        assert process.stdout.read().count(b"\n") == 1
        assert process.wait() == 0
        timer.cancel()


def test_own_files_have_results_of_their_own(copied: Path, inside: Callable[..., Done], tmp_path: Path) -> None:
    assert inside("evaluate", f"run={copied}", cwd=tmp_path).code == 0
    before = (copied / "evaluation" / "test.json").read_bytes()
    for folder, text in (("a", "The dog sleeps.\n"), ("b", "The cat sleeps.\n")):
        for name in ("test", "reference"):
            path = tmp_path / folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        files = (f"source={folder}/test", f"reference={folder}/reference")
        assert inside("evaluate", f"run={copied}", *files, cwd=tmp_path).code == 0
    assert (copied / "evaluation" / "test.json").read_bytes() == before
    assert len(list((copied / "evaluation").glob("test-*.json"))) == 2
    for name in ("a/reference", "b/reference", "a/reference"):  # the same name for other text, and again for this
        assert inside("evaluate", f"run={copied}", f"source={name}", f"reference={name}", cwd=tmp_path).code == 0
    assert len(list((copied / "evaluation").glob("reference*.json"))) == 2


# ---------------------------------------------------------------------------------------------- folders of other people

TRAP = "import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch()\n"
NAMES = (
    "datasets",
    "queue",
    "random",
    "sacrebleu",
    "MeCab",
    "mecab_ko",
    "yaml",
    "torch",
    "tensorboard",
    "sitecustomize",
)


def traps(folder: Path) -> list[Path]:
    """Modules that leave a trace when they are imported."""
    (folder / "hydra_plugins").mkdir()
    paths = [folder / f"{name}.py" for name in NAMES]
    paths += [folder / "hydra_plugins" / name for name in ("__init__.py", "plugin.py")]
    for path in paths:
        path.write_text(TRAP)
    return paths


def test_a_run_that_somebody_sent_runs_no_code(copied: Path, script: Script) -> None:
    traps(copied)
    done = script("translate", "run=.", cwd=copied, stdin=LINE)
    assert done.returncode == 0, done.stderr.decode()
    done = script("evaluate", "run=.", "evaluation.tokenize=ja-mecab", "evaluation.force=true", cwd=copied)
    assert done.returncode == 2, done.stderr.decode()
    assert list(copied.rglob("*.ran")) == []


@pytest.mark.slow
def test_jobs_do_not_import_what_lies_around(script: Script, tmp_path: Path) -> None:
    traps(tmp_path)
    small = [one for one in SMALL_RECURRENT if not one.startswith("model.")]
    done = script("compare", "models=[gru]", *small, "training.max_steps=2", "jobs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert list(tmp_path.rglob("*.ran")) == []


def test_a_module_that_the_user_named_is_found(inside: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "my_odd_cells.py").write_text(
        "from s2s.nn.cells import GRU\n"
        "class Mine(GRU, name='my_odd'):\n"
        "    def __init__(self, input_size, hidden_size, sizes: tuple[int, ...] = (1,), more: dict = {}):\n"
        "        super().__init__(input_size, hidden_size)\n"
        "        assert isinstance(sizes, tuple) and isinstance(more, dict)\n"
    )
    options = ["+model.encoder.cell_options={sizes:[1,2,3],more:{a:1}}", "model.encoder.cell=my_odd_cells.Mine"]
    done = inside("train", "model=gru", *SMALL_RECURRENT, *options, "training.max_steps=1", "run_dir=run", cwd=tmp_path)
    assert done.code == 0, done.stderr
    (tmp_path / "my_bad_cells.py").write_text("class Mine(\n")
    done = inside("train", "model=gru", *CORPUS, "model.encoder.cell=my_bad_cells.Mine", "run_dir=bad", cwd=tmp_path)
    assert (done.code, len(done.errors)) == (2, 1), done.stderr
    assert "my_bad_cells.py, line 1" in done.errors[0]


# ----------------------------------------------------------------------------------------------- text that has changed


def test_a_run_is_resumed_with_its_own_text_alone(inside: Callable[..., Done], tmp_path: Path) -> None:
    pairs = [(f"the dog number {n} sleeps", f"der Hund Nummer {n} schläft") for n in range(40)]

    def write(split: str, pairs: list[tuple[str, str]]) -> None:
        (tmp_path / f"{split}.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs))

    write("train", pairs)
    write("dev", pairs[:5])
    data = ["data=files", "data.source=en", "data.target=de", "data.train=train.tsv", "data.validation=dev.tsv"]
    settings = [one for one in SMALL_RECURRENT if not one.startswith("data.")]
    command = ("train", *data, "data.tokenizer.vocab_size=300", *settings, "run_dir=run")
    assert inside(*command, "training.max_steps=2", cwd=tmp_path).code == 0
    for split, other, message in (
        ("train", pairs[:20], "40 sentence pairs, and there are 20 now in the train split"),
        ("train", [*pairs, ("more", "mehr")], "40 sentence pairs, and there are 41 now"),
        ("train", [*pairs[1:], pairs[0]], "other text in the train split"),
        ("dev", pairs[1:6], "other text in the validation split"),
    ):
        write(split, other)
        done = inside(*command, "training.max_steps=4", cwd=tmp_path)
        assert (done.code, len(done.errors)) == (2, 1), done.stderr
        assert message in done.errors[0]
        write("train", pairs)
        write("dev", pairs[:5])
    done = inside(*command, "training.max_steps=4", cwd=tmp_path)
    assert done.code == 0, done.stderr


def test_a_vocabulary_of_the_same_size_is_not_the_same(
    trained: Path, inside: Callable[..., Done], tmp_path: Path
) -> None:
    other = ["data.grammar_seed=2", "data.tokenizer.path=other/tokenizer", f"init_from={trained}", "run_dir=new"]
    assert inside("train", *SMALL_RECURRENT, "data.grammar_seed=2", "run_dir=other", cwd=tmp_path).code == 0
    done = inside("train", *SMALL_RECURRENT, *other, cwd=tmp_path)
    assert (done.code, len(done.errors)) == (2, 1), done.stderr
    assert "its vocabulary differs" in done.errors[0]


def test_where_bleu_cannot_move_the_loss_selects(inside: Callable[..., Done], tmp_path: Path) -> None:
    words = [("red", "rot"), ("dog", "Hund"), ("cat", "Katze"), ("old", "alt"), ("big", "groß"), ("new", "neu")]
    pairs = [(f"{a} {b}", f"{x} {y}") for a, x in words for b, y in words]
    for split, some in (("train", pairs), ("validation", pairs[:12]), ("test", pairs[:12])):
        (tmp_path / f"{split}.tsv").write_text("en\tde\n" + "".join(f"{a}\t{b}\n" for a, b in some))
    settings = [one for one in SMALL_RECURRENT if not one.startswith(("data.", "training.max", "training.valid"))]
    data = ["data=multi30k", "data.path=.", "data.tokenizer.vocab_size=300", "training.patience=3"]
    steps = ["training.max_steps=60", "training.validate_every=5"]
    done = inside("train", *data, *settings, *steps, "run_dir=run", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "validation BLEU is 0 for every translation" in done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["valid_loss"] for row in rows if row["event"] == "valid"]
    best = [row["best"] for row in rows if row["event"] == "valid"]
    assert best == [loss < min([math.inf, *losses[:n]]) for n, loss in enumerate(losses)]
    assert sum(best) > 1
    assert "100.00" not in done.stderr  # no ceiling that cannot be reached
    assert inside("train", *data, *settings, *steps, "run_dir=run", cwd=tmp_path).code == 0  # the same run


@pytest.mark.parametrize(
    "override",
    [
        "model.encoder=null", "model.decoder=null", "data.tokenizer=null", "model.encoder=3", "data.tokenizer=[]",
        "optim=null", "trust=null", "~data", "~model", "training.metric=null", "model.encoder.cell=[]", "~seed",
        "optim.schedule=null", "data.tokenizer.joint=null", "evaluation.bins=null", "recurrence=null",
        "model.cell_options=3",
    ],
)  # fmt: skip
def test_sections_that_are_missing_are_one_line(override: str, inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside("train", override, "run_dir=run", cwd=tmp_path)
    assert (done.code, len(done.errors)) == (2, 1), done.stderr
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------- what fresh eyes had broken


@pytest.mark.parametrize(
    "override",
    ["seed=99999999999999999999", "data.tokenizer.vocab_size=99999999999", "model.encoder.layers=1000000000000",
     "model.encoder.hidden_size=42354717919", "data.grammar_seed=-1", "init_from=nope", "device=meta"],
)  # fmt: skip
def test_values_beyond_any_use(override: str, inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside("train", *SMALL, "device=cpu", override, "run_dir=run", cwd=tmp_path)
    assert (done.code, len(done.errors)) == (2, 1), done.stderr
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize(
    "override",
    ["decoding.length_penalty=1e308", "decoding.max_ratio=1e300", "decoding.beam=100000", "decoding.seed=-1"],
)
def test_searches_that_never_end(override: str, trained: Path, inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside("translate", f"run={trained}", override, cwd=tmp_path, stdin=LINE)
    assert (done.code, len(done.errors)) == (2, 1), done.stderr


@pytest.mark.parametrize("table", ["test.jsonl:", "test.tsv:", "test.tsv:en\tde\n", "test.json:[]", "test.csv:en,de\n"])
def test_a_split_without_pairs(table: str, inside: Callable[..., Done], tmp_path: Path) -> None:
    for split in ("train", "validation"):
        (tmp_path / f"{split}.tsv").write_text("en\tde\n" + "a b c d\tw x y z\n" * 20)
    name, _, content = table.partition(":")
    (tmp_path / name).write_text(content)
    settings = [one for one in SMALL if not one.startswith("data.")]
    done = inside("train", "data=multi30k", "data.path=.", *settings, "run_dir=run", cwd=tmp_path)
    assert (done.code, len(done.errors)) == (2, 1), done.stderr
    assert "no sentence pairs" in done.errors[0]


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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", None),
        ("model.safetensors", None),
        ("tokenizer/tokenizer.json", None),
        ("config.yaml", "a: &a [x]\nb: [*a, *a]\n"),
        ("tokenizer/tokenizer.json", '{"format": 1, "type": "zzz", "joint": false, "sampling": 0.5}'),
        ("tokenizer/tokenizer.json", '{"format": 1, "type": "bpe", "joint": false, "sampling": "abc"}'),
        ("corpus.json", "{}"),
        ("corpus.json", "[]"),
        ("evaluation/in.json", "[]"),
        ("evaluation/in.json", '{"test_set": 5}'),
        ("training/latest.json", "{}"),
        ("training/latest.json", "[]"),
    ],
)  # fmt: skip
def test_files_of_a_run_that_s2s_did_not_write(
    name: str, content: str | None, copied: Path, inside: Callable[..., Done], tmp_path: Path
) -> None:
    """None: a pipe, which nobody writes."""
    (copied / name).parent.mkdir(exist_ok=True)
    (copied / name).unlink(missing_ok=True)
    if content is None:
        os.mkfifo(copied / name)
    else:
        (copied / name).write_text(content)
    (tmp_path / "in").write_bytes(LINE)
    if name.startswith("training"):
        done = inside("train", *SMALL_RECURRENT, "training.max_steps=14", f"run_dir={copied}", cwd=tmp_path)
    else:
        done = inside("evaluate", f"run={copied}", "source=in", "reference=in", cwd=tmp_path)
    if not name.startswith("evaluation"):  # which is made anew beside it
        assert (done.code, len(done.errors)) == (2, 1), done.stderr
    assert "Traceback" not in done.stderr


def test_python_calls_that_mean_nothing(trained: Path) -> None:
    for path in (5, None, b"x"):
        with pytest.raises(S2SError):
            s2s.load(path)  # type: ignore[arg-type]
    for trust in ("abc", [5]):
        with pytest.raises(S2SError, match="list of module names"):
            s2s.load(trained, trust=trust)  # type: ignore[arg-type]
    translator = s2s.load(trained).translator()
    for ids in ([[99999]], [[-1]], [["x"]], 5, [5], [[True]], [b"abc"]):
        with pytest.raises(S2SError):
            translator.score_ids(["a"], ids)  # type: ignore[arg-type]
    with pytest.raises(S2SError, match="line 2 is None"):
        list(translator.translate_windows([["a"], [None]]))  # type: ignore[list-item]
    for target in (5, None, b"abc", [True]):
        with pytest.raises(S2SError):
            translator.attention("a", target)  # type: ignore[arg-type]
