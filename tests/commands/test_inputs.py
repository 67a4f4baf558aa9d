"""Folders and runs of other people, text that has changed, and values without meaning."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import s2s
from s2s.commands import console
from s2s.errors import S2SError
from s2s.training.callbacks import MetricsFile
from tests.commands.conftest import CORPUS, SMALL, SMALL_RECURRENT, Done, Script

LINE = b"The dog sleeps.\n"

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


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("translate", [], 0),
        pytest.param(
            *("evaluate", ["evaluation.tokenize=ja-mecab", "evaluation.force=true"], 2), marks=pytest.mark.slow
        ),
    ],
)
def test_a_run_that_somebody_sent_runs_no_code(
    copied: Path, script: Script, name: str, arguments: list[str], code: int
) -> None:
    traps(copied)
    done = script(name, "run=.", *arguments, cwd=copied, stdin=LINE)
    assert done.returncode == code, done.stderr.decode()
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
    (tmp_path / "run" / "corpus.json").unlink()
    done = inside(*command, "training.max_steps=6", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "warning: run/corpus.json is missing, so it cannot be checked" in done.stderr


def test_a_run_directory_that_is_removed_during_training(
    inside: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = MetricsFile.on_validation

    def remove(self: MetricsFile, metrics: dict[str, Any]) -> None:
        shutil.rmtree(tmp_path / "run")
        real(self, metrics)

    monkeypatch.setattr(MetricsFile, "on_validation", remove)
    done = inside("train", *SMALL_RECURRENT, "run_dir=run", cwd=tmp_path)
    assert (done.code, len(done.errors)) == (2, 1), done.stderr
    assert "run was removed or renamed during training" in done.errors[0]


def test_a_language_that_is_unknown(inside: Callable[..., Done], tmp_path: Path) -> None:
    """A warning, as columns may have any name."""
    for split in ("train", "dev"):
        (tmp_path / f"{split}.tsv").write_text("the dog sleeps\tder Hund schläft\n" * 9)
    files = ["data=files", "data.train=train.tsv", "data.validation=dev.tsv", "data.tokenizer.vocab_size=280"]
    settings = [*files, *(one for one in SMALL_RECURRENT if not one.startswith("data.")), "training.max_steps=1"]
    named = ["data.source=en", "data.target=de", "data.source_language=Chinese", "data.target_language=de-AT"]
    done = inside("train", *settings, *named, "run_dir=run", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert done.stderr.count("is no language that s2s knows") == 1
    assert "data.source_language=Chinese is no language" in done.stderr


@pytest.mark.slow
def test_where_bleu_cannot_move_the_loss_selects(
    inside: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[float | None] = []
    call = console._Job.__call__
    monkeypatch.setattr(console._Job, "__call__", lambda job, config: returned.append(call(job, config)))
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
    assert returned == [0.0], "a sweeper that maximises BLEU would take a loss for one"
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


# ------------------------------------------------------------------------------------- values and files without meaning


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
    for trust in ("abc", [5], None, 3, {"a"}):
        with pytest.raises(S2SError, match="list of module names"):
            s2s.load(trained, trust=trust)  # type: ignore[arg-type]
    run = s2s.load(trained)
    for lines in (np.array("x"), {"a"}, {"a": 1}, 5, None):
        with pytest.raises(S2SError, match="a list of lines is needed"):
            run.translate(lines)  # type: ignore[arg-type]
    assert run.translate(np.array(["The dog sleeps."])) == run.translate(["The dog sleeps."])  # type: ignore[arg-type]
    assert run.translator(beam=np.int64(2)).translate(["a"]) == run.translator(beam=2).translate(["a"])
    translator = run.translator()
    for ids in ([[99999]], [[-1]], [["x"]], 5, [5], [[True]], [b"abc"]):
        with pytest.raises(S2SError):
            translator.score_ids(["a"], ids)  # type: ignore[arg-type]
    with pytest.raises(S2SError, match="line 2 is None"):
        list(translator.translate_windows([["a"], [None]]))  # type: ignore[list-item]
    for target in (5, None, b"abc", [True]):
        with pytest.raises(S2SError):
            translator.attention("a", target)  # type: ignore[arg-type]
