"""`scripts/compare.py`: several models and one page; finished work is not repeated.

Slow are the tests that start the script with processes of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from omegaconf import OmegaConf

from s2s import code_digest
from s2s.commands import compare, compare_report, evaluate
from s2s.evaluation.by_length import Evaluation
from s2s.runs import Run, load
from s2s.training.checkpoint import RunDirectory
from s2s.training.weights import read_tensors, write_tensors
from tests.commands.conftest import SMALL, After, Done, Script, hear_interrupts
from tests.models import own

# What these models share; `model.…` keys hold for each.
LADDER = [*SMALL, "models=[lstm,transformer]", "evaluation.bootstrap=50", "output=out", "jobs=2"]
LADDER += ["evaluation.bins=[5,10,15]", "decoding.beam=2"]
# For all models, and for one; what is typed for all wins.
LADDER += ['++ladder.quick.all=["optim.schedule.warmup=7","optim.lr=2e-3"]']
LADDER += ['++ladder.quick.lstm=["optim.lr=1e-3","training.max_steps=99"]']


class Compared(NamedTuple):
    """What a comparison said, and its page after each of the models, with the model's name."""

    done: Done
    pages: list[tuple[str, str]]


COMPARED: list[tuple[Done, list[tuple[str, str]]]] = []  # the one of `compared`


# A file of benchmark.py task=scaling, with what a page needs of it.
COST = {"family": "fixed", "parameters": 9, "batch": 4, "memory": 70.5, "missing": None}
MEASURED = {
    "rows": [
        {"model": "rnn", "task": task, "length": length, "seconds": 0.01 * length, **COST}
        for task in ("train", "decode")
        for length in (10, 30)
    ],
    "config": {"task": "scaling", "scaling": {"vocabulary": 8000, "beam": 1, "precision": "bf16"}},
    "machine": {"processor": "a processor", "device": "cpu", "threads": 2, "torch": "2.0"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `compared` was made."""
    return tmp_path_factory.mktemp("compared")


@pytest.fixture
def compared(folder: Path, inside: Callable[..., Done], one_by_one: list[After], tmp_path: Path) -> Compared:
    """A comparison that is there already, in the test's own folder; its first run, which the first test makes."""
    if not COMPARED:
        pages: list[tuple[str, str]] = []
        one_by_one.append(lambda name: pages.append((name, (folder / "out" / "report" / "index.html").read_text())))
        done = inside("compare", *LADDER, cwd=folder)
        one_by_one.clear()
        COMPARED.append((done, pages))
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return Compared(*COMPARED[0])


def test_ladder(compared: Compared, tmp_path: Path) -> None:
    done, report = compared.done, tmp_path / "out" / "report"
    assert done.code == 0, done.stderr
    assert done.stderr.count("done after 12 updates") == 2
    for model in ("lstm", "transformer"):
        assert f"\n{model} " in done.stdout
        assert json.loads((tmp_path / "out" / model / "evaluation" / "test.json").read_text())["test_set"]
    optim = {model: OmegaConf.load(tmp_path / "out" / model / "config.yaml").optim for model in ("lstm", "transformer")}
    assert {model: (one.lr, one.schedule.warmup) for model, one in optim.items()} == {
        "lstm": (1e-3, 7),
        "transformer": (2e-3, 7),
    }
    assert (report / "length-chrf-by-reference.png").read_bytes().startswith(b"\x89PNG")
    _check_against_sacrebleu(report, tmp_path / "out" / "lstm" / "evaluation" / "test.hyp", tmp_path)
    page = (report / "index.html").read_text(encoding="utf-8")
    assert "lstm" in page
    assert "Each training computed with 1 CPU thread. Training precision: fp32." in page
    assert not any(outside in page for outside in ('src="http', 'href="http', "@import"))
    assert "Cost by sentence length" not in page


def test_the_page_is_there_from_the_first_model_on(compared: Compared, tmp_path: Path) -> None:
    names, pages = zip(*compared.pages, strict=True)
    assert sorted(names) == ["lstm", "transformer"]
    for number, page in enumerate(pages, 1):
        missing = names[number:]
        said = re.findall(r"<p class=\"missing\"[^>]*data-reload[^>]*>([^<]*)</p>", page)
        if missing:
            assert len(said) == 1
            assert f"{number} of 2 systems" in said[0]
            assert all((name in said[0]) == (name in missing) for name in names)
        else:
            assert said == []
            assert '<p class="missing"' not in page
    assert (tmp_path / "out" / "report" / "index.html").read_text() == pages[-1]


@pytest.mark.usefixtures("one_by_one")
def test_what_is_there_is_not_made_again(compared: Compared, inside: Callable[..., Done], tmp_path: Path) -> None:
    report = tmp_path / "out" / "report"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/*.safetensors")}
    scores = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/evaluation/test.json")}
    outputs = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/evaluation/test.hyp")}
    assert len(before) == len(scores) == len(outputs) == 2
    again = inside("compare", *LADDER, cwd=tmp_path)
    assert again.code == 0, again.stderr
    assert again.stdout == compared.done.stdout
    assert again.stderr.count(" systems on ") == 1  # the page is written once, at the end
    assert all(path.stat().st_mtime_ns == at for path, at in {**before, **scores}.items())

    (tmp_path / "scaling.json").write_text(json.dumps(MEASURED))
    more = ["evaluation.bins=[8,16]", "scaling=scaling.json"]
    shorter = inside(
        "compare", *LADDER, "models=[lstm]", *more, cwd=tmp_path
    )  # scores are made anew, models and translations not
    assert shorter.code == 0, shorter.stderr
    page = (report / "index.html").read_text(encoding="utf-8")
    assert "Cost by sentence length" in page
    assert (
        "From 10 to 30 tokens, 3 times as many, a training update on 4 sentences takes rnn 3.0 times as long." in page
    )
    assert "≤8" in shorter.stdout
    assert all(path.stat().st_mtime_ns == at for path, at in {**before, **outputs}.items())
    assert [path.parts[-3] for path, at in scores.items() if path.stat().st_mtime_ns != at] == ["lstm"]


@pytest.mark.slow
@pytest.mark.usefixtures("compared", "one_by_one")
def test_another_seed_goes_beside_the_one_that_is_there(inside: Callable[..., Done], tmp_path: Path) -> None:
    two = inside("compare", *LADDER, "models=[lstm]", "seeds=[1,2]", cwd=tmp_path)
    assert two.code == 0, two.stderr
    assert "is finished already" in two.stderr
    assert two.stderr.count("done after 12 updates") == 1
    report = tmp_path / "out" / "report"
    found = json.loads((report / "report.json").read_text(encoding="utf-8"))
    assert [row["seed"] for row in found["systems"]] == ["mean", 1, 2]
    mean, *each = (row["chrf"] for row in found["systems"])
    assert mean == pytest.approx(sum(each) / 2)
    assert each[0] != each[1]
    assert all(row["memory_mib"] > 50 for row in found["systems"])
    assert [row["threads"] for row in found["systems"]] == [None, 1, 1]
    assert (tmp_path / "out" / "lstm-s2" / "model.safetensors").exists()
    assert not (tmp_path / "out" / "lstm-s1").exists()
    assert "means of 2 trainings each" in (report / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_in_processes_of_their_own(script: Script, tmp_path: Path) -> None:
    done = script("compare", *LADDER, cwd=tmp_path)
    stderr = done.stderr.decode()
    assert done.returncode == 0, stderr
    for model in ("lstm", "transformer"):
        assert f"\n{model}: done after 12 updates" in stderr  # its process's lines stand behind its name
        assert f"\n{model} " in done.stdout.decode()
    assert "data-reload=" not in (tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8")


def _check_against_sacrebleu(report: Path, hypotheses: Path, folder: Path) -> None:
    """The numbers of the page are those of sacrebleu's own command on the saved files: all of them, and one bin."""
    sentences = json.loads((report / "sentences.json").read_text(encoding="utf-8"))
    outputs = hypotheses.read_text(encoding="utf-8").split("\n")[:-1]  # a form feed ends no line
    assert [row["lstm"] for row in sentences] == outputs
    found = json.loads((report / "report.json").read_text(encoding="utf-8"))
    system = next(row for row in found["systems"] if row["system"] == "lstm")
    whole = {metric: system[metric] for metric in ("bleu", "chrf")}
    in_bin = {
        row["metric"]: row["value"]
        for row in found["length"]
        if (row["system"], row["length_of"], row["min"]) == ("lstm", "reference", 11)
    }
    chosen = [n for n, row in enumerate(sentences) if 11 <= len(row["reference"].split()) <= 15]
    assert 0 < len(chosen) < len(sentences)
    page = (report / "index.html").read_text(encoding="utf-8")
    table = page.split('<section id="systems">')[1].split("</table>")[0]
    (row,) = [row for row in table.split("</tr>") if '<span class="name">lstm</span>' in row]
    shown = {"bleu": _cells(row)[0], "chrf": _cells(row)[2]}  # between them is the difference to the baseline
    in_picture = {}
    for metric in ("bleu", "chrf"):
        view = page.split(f'<div data-view="{metric} reference"')[1].split("</table>")[0]
        place = re.findall(r'<span class="name">(.*?)</span>', view).index("lstm")
        (row,) = re.findall(r'<th scope="row">11–15</th>.*?</tr>', view, flags=re.DOTALL)
        in_picture[metric] = _cells(row)[1 + place]
    for expected, cells, lines in ((whole, shown, range(len(sentences))), (in_bin, in_picture, chosen)):
        (folder / "hyp").write_text("".join(f"{outputs[n]}\n" for n in lines), encoding="utf-8")
        (folder / "ref").write_text("".join(f"{sentences[n]['reference']}\n" for n in lines), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "sacrebleu",
            "ref",
            "-i",
            "hyp",
            "-m",
            "bleu",
            "chrf",
            "--chrf-word-order",
            "2",
        ]
        done = subprocess.run([*command, "-w", "10"], cwd=folder, capture_output=True, check=True)
        for metric, said in zip(("bleu", "chrf"), json.loads(done.stdout), strict=True):
            assert round(expected[metric], 10) == said["score"]
            assert said["signature"] == found["signatures"][metric]
            assert cells[metric] == f"{said['score']:.1f}"


def _cells(row: str) -> list[str]:
    """The first number of each cell in a row of a table."""
    return [(cell.split() or [""])[0] for cell in re.findall("<td>([^<]*)", row)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT])  # SIGTERM: test_parallel_jobs
def test_a_signal_saves_every_model(root: Path, environment: dict[str, str], tmp_path: Path, number: int) -> None:
    command = [sys.executable, str(root / "scripts" / "compare.py"), *LADDER]
    endless = [*command, "training.max_steps=100000"]
    process = subprocess.Popen(
        endless, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, preexec_fn=hear_interrupts
    )
    begun = [tmp_path / "out" / model / "metrics.jsonl" for model in ("transformer", "lstm")]
    while not all(path.exists() and path.read_bytes() for path in begun):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    text = stderr.decode()
    assert "Traceback" not in text
    assert "the same command goes on" in text
    steps = [int(text.split(f"{m}: warning: stopped at update ")[1].split(";")[0]) for m in ("transformer", "lstm")]
    assert all(step > 0 for step in steps)
    more = [*command, f"training.max_steps={max(steps) + 2}"]
    done = subprocess.run(more, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert f"transformer: resuming at update {steps[0]}," in done.stderr.decode()


@pytest.mark.slow
def test_models_stop_when_the_comparison_is_killed(root: Path, environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, str(root / "scripts" / "compare.py"), *LADDER, "training.max_steps=100000"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
    run = tmp_path / "out" / "transformer"
    while not ((run / "metrics.jsonl").exists() and (run / "metrics.jsonl").read_bytes()):
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    _, stderr = process.communicate(timeout=60)  # ends when the last process that holds the pipe has ended
    assert "transformer: warning: stopped at update" in stderr.decode()


@pytest.mark.usefixtures("one_by_one")
def test_a_failing_model_stops_the_comparison(inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside("compare", *SMALL, "models=[lstm,gru]", "output=out", "optim.lr=1e30", cwd=tmp_path)
    assert done.code == 2
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr
    assert "the same command goes on" not in done.stderr
    assert not (tmp_path / "out" / "report").exists()


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.slow
def test_the_page_does_not_wait_for_models_of_a_stopped_comparison(inside: Callable[..., Done], tmp_path: Path) -> None:
    shared = [setting for setting in SMALL if not setting.startswith("training.max_steps")]
    # The longest training is the first one.
    steps = ['++ladder.quick.lstm=["training.max_steps=40"]']
    steps += ['++ladder.quick.gru=["training.max_steps=3","optim.lr=1e30"]']
    done = inside("compare", *shared, *steps, "models=[lstm,gru]", "output=out", cwd=tmp_path)
    assert done.code == 2, done.stderr
    page = (tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8")
    assert "Still to come: gru. The comparison was stopped" in page
    assert 'data-reload="' not in page


def _begun(*_: object) -> int:
    raise AssertionError("a model begins to train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models=[]"], "must name at least one model"),
        (["models=[gru,gru]"], "each once"),
        (["models=[gru,gro]"], "models='gro' is not one of: gru, "),
        (["models=[/gru]"], "models='/gru' is not one of: gru, "),
        (["models=[gru,./gru]"], "models='./gru' is not one of: gru, "),
        (["models=[../model/gru]"], "is not one of: "),
        (['models=["gru "]'], "models='gru ' is not one of: gru, "),
        (['models=["gru,rnn"]'], "models='gru,rnn' is not one of: "),
        (["model=gru"], "models=[…]"),
        (["models=null"], "models=None must be"),
        (["models=gru"], "models='gru' must be"),
        (["models=[[gru]]"], "models[0]="),
        (["size=huge"], "size='huge' is not one of: full, quick"),
        (["run_dir=here"], "output=…, the folder of all runs, in place of run_dir=…"),
        (["jobs=0"], "jobs=0 must be"),
        (["seeds=[]"], "seeds=[] must be a list of numbers"),
        (["seeds=[1,1]"], "each once"),
        (["seeds=3"], "seeds=3 must be"),
        (["seeds=[1,2]", "seed=4"], "not both"),
        (["seeds=[-1]"], "seeds[0]=-1 must be"),
        (["scaling=5"], "5 does not exist"),
        (["models=[rnn]", "evaluation.bins=[20,10]"], "evaluation.bins=[20, 10] must rise"),
        (
            ["models=[rnn]", "data=files", "data.source=en", "data.target=de", "data.train=in", "data.validation=in"],
            "data.tests is empty: compare.py evaluates",
        ),
        (
            ["models=[rnn]", "data=grammar_text", "objective=masked_lm"],
            "data grammar_text is text of one language, without test sets: compare.py evaluates",
        ),
        (["++ladder.quick.rnn=optim.lr"], "ladder.quick.rnn='optim.lr' must be"),
        (["models=[rnn]", '++ladder.quick.rnn=["optim.lr=-2"]'], "optim.lr=-2 must be more than 0"),
        (["models=[rnn]", '++ladder.quick.all=["training.accumulate=0"]'], "training.accumulate=0 must be"),
        (["models=[rnn]", "optim.lr=-1"], "optim.lr=-1 must be more than 0"),
    ],
)
def test_bad_input_is_one_line(
    inside: Callable[..., Done],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.setattr(compare, "run_parallel_jobs", _begun)
    done = inside("compare", "output=out", *arguments, cwd=tmp_path)
    assert done.code == 2
    assert len(done.errors) == 1, done.stderr
    assert "Error executing job" not in done.stderr
    assert message in done.errors[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["data.train=none.tsv"], "data.train=none.tsv: there is no file none.tsv"),
        (["data.tests=[empty.tsv]"], "data.tests=empty.tsv: there are no sentence pairs in empty.tsv"),
        (["data.validation=names.tsv"], "names.tsv, line 1: the columns are called id, en, none of them de"),
        (["output=good.tsv/out"], "cannot make the folder output=good.tsv/out: Not a directory; choose another"),
    ],
)
def test_bad_data_and_a_bad_folder_are_found_before_the_first_model(
    inside: Callable[..., Done], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed: list[str], message: str
) -> None:
    monkeypatch.setattr(compare, "run_parallel_jobs", _begun)
    for name, text in {"good": "a\tb\n", "empty": "", "names": "id\ten\n1\ta\n"}.items():
        (tmp_path / f"{name}.tsv").write_text(text)
    data = ["data=files", "data.source=en", "data.target=de", "data.train=good.tsv", "data.validation=good.tsv"]
    done = inside(
        "compare", "models=[rnn]", "output=out", "device=cpu", *data, "data.tests=[good.tsv]", *changed, cwd=tmp_path
    )
    assert done.code == 2
    assert done.stderr.splitlines() == done.errors
    assert len(done.errors) == 1
    assert message in done.errors[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "scaling.json does not exist"),
        ('{"rows": [', "scaling.json is not readable JSON"),
        ("[]", "scaling.json is not what `python scripts/benchmark.py task=scaling output=…` writes"),
        (json.dumps({**MEASURED, "rows": [{}]}), "missing key rows[0].model"),
    ],
)
def test_another_file_than_a_measurement_is_one_line(
    inside: Callable[..., Done], tmp_path: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "scaling.json").write_text(text)
    done = inside("compare", *LADDER, "scaling=scaling.json", cwd=tmp_path)
    assert done.code == 2
    assert len(done.errors) == 1, done.stderr
    assert message in done.errors[0]
    assert not (tmp_path / "out").exists()


@pytest.fixture
def run(copied: Path) -> Run:
    """The trained run, to be evaluated quickly."""
    quick = replace(load(copied, "cpu").config.decoding, strategy="greedy", max_ratio=0.5)
    config = RunDirectory(copied).load_config()
    RunDirectory(copied).save_config(config | {"decoding": asdict(quick)})
    return load(copied, "cpu")


def test_results_of_other_code_and_other_weights_are_made_anew(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, test = compare_report.test_set(run)
    first = compare_report.evaluated(run, name, test)
    stored, text = tmp_path / "run" / "evaluation" / "test.json", tmp_path / "run" / "evaluation" / "test.hyp"
    counts = [0, 0]
    for number, function in enumerate(("evaluate_run", "score_run")):
        original = getattr(evaluate, function)

        def counted(*given: Any, number: int = number, original: Any = original) -> Any:
            counts[number] += 1
            return original(*given)

        monkeypatch.setattr(compare_report, function, counted)

    def changed(module: str) -> Any:
        real = code_digest.code_digest
        return lambda *modules: "changed" if module in modules else real(*modules)

    again = lambda: compare_report.evaluated(run, name, test)[:2]  # noqa: E731
    assert again() == first[:2]
    assert counts == [0, 0]
    for module, expected in (("s2s.evaluation.by_length", [0, 1]), ("s2s.runs", [1, 0])):
        with monkeypatch.context() as patch:
            for place in (compare_report, evaluate):
                patch.setattr(place, "code_digest", changed(module))
            assert again() == first[:2]
            assert counts == expected
            assert again() == first[:2]
            assert counts == expected  # what is stored now is of this code
        counts[:] = [0, 0]
    times = [(path, path.stat()) for path in (run.directory.weights, stored, text)]
    tensors, info = read_tensors(run.directory.weights)
    write_tensors(run.directory.weights, {key: value * 1.01 for key, value in tensors.items()}, info)
    for path, at in times:  # as `cp -p` and `rsync -t` leave it
        os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))
    again()
    assert counts == [1, 0]


def test_the_page_says_which_models_other_code_trained(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    name, test = compare_report.test_set(run)
    assert not compare_report._training(1, run, name, test).other_code
    monkeypatch.setattr(compare_report, "code_digest", lambda *modules: "other")
    assert compare_report._training(1, run, name, test).other_code


def test_scores_that_an_older_version_stored_are_made_anew_from_its_translations(run: Run, tmp_path: Path) -> None:
    name, test = compare_report.test_set(run)
    first, hypotheses, seconds = compare_report.evaluated(run, name, test)
    stored, text = tmp_path / "run" / "evaluation" / "test.json", tmp_path / "run" / "evaluation" / "test.hyp"
    values = json.loads(stored.read_text(encoding="utf-8"))
    assert Evaluation.from_json(values) == first
    written = text.stat().st_mtime_ns
    for missing in ("by_reference_length", "evaluation"):
        stored.write_text(json.dumps({key: value for key, value in values.items() if key != missing}))
        assert compare_report.evaluated(run, name, test) == (first, hypotheses, pytest.approx(seconds, abs=0.01))
        assert json.loads(stored.read_text(encoding="utf-8")) == values
    assert text.stat().st_mtime_ns == written
    text.write_text("one line\n")
    assert compare_report.evaluated(run, name, test)[1] == hypotheses


def test_scores_of_other_translations_are_not_taken_for_these(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, test = compare_report.test_set(run)
    first, hypotheses, _ = compare_report.evaluated(run, name, test)
    stored, text = tmp_path / "run" / "evaluation" / "test.json", tmp_path / "run" / "evaluation" / "test.hyp"

    text.write_text("".join(f"{line} x\n" for line in hypotheses), encoding="utf-8")
    assert compare_report.evaluated(run, name, test)[:2] == (first, hypotheses)

    for other in ("[]", "{}", '{"test_set": 3}'):
        stored.write_text(other)
        assert compare_report.evaluated(run, name, test)[:2] == (first, hypotheses)

    def broken(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "evaluate_translations", broken)
    with pytest.raises(KeyboardInterrupt):
        evaluate.evaluate_run(run, name, test, run.config.decoding)
    assert text.exists()
    assert not stored.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("one_by_one")
def test_a_cell_of_the_users_is_compared(inside: Callable[..., Done], tmp_path: Path) -> None:
    """It was named on the command line, so the same command may load it."""
    shutil.copy(Path(own.__file__), tmp_path / "my_own_cells.py")
    models = ["models=[gru]", "model.cell=my_own_cells.Leaky", "evaluation.bootstrap=20", "output=out"]
    done = inside(
        "compare", *SMALL, "model.encoder.hidden_size=8", "model.decoder.hidden_size=8", *models, cwd=tmp_path
    )
    assert done.code == 0, done.stderr
    assert (tmp_path / "out" / "report" / "index.html").exists()
