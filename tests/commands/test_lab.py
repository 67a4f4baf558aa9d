"""`scripts/lab.py`: settings are checked first, findings are printed, and the page is written."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from s2s.commands.console import plain
from s2s.commands.lab import training_configuration
from s2s.commands.lab_settings import experiments_of
from s2s.errors import S2SError
from s2s.lab.experiments import EXPERIMENTS
from tests.commands.conftest import Done, Script

TINY = ["only=vanishing", "output=out"]
NO_TESTS = '"data=files","data.source=a","data.target=b","data.train=a.tsv","data.validation=b.tsv"'
NOT_THERE = '","'.join(
    ("data=files", "data.source=en", "data.target=de", "data.train=gone.tsv", "data.validation=gone.tsv")
)
TINY += [f"lab.vanishing.quick.{one}" for one in ("hidden=4", "distance=3", "before=2", "sequences=2", "seeds=[1]")]
TINY += ["lab.vanishing.quick.radii=[0.5,2]", "lab.vanishing.quick.inputs=[0.1]"]


@pytest.mark.usefixtures("one_by_one")
def test_the_lab(inside: Callable[..., Done], tmp_path: Path) -> None:
    done = inside("lab", *TINY, cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "Do gradients vanish or explode?" in done.stdout
    assert "spectral radius" in done.stdout
    assert (tmp_path / "out" / "index.html").exists()
    assert (tmp_path / "out" / "vanishing" / "picture.png").exists()
    again = inside("lab", *TINY, cwd=tmp_path)
    assert "1 of 1 results are cached" in again.stderr
    assert again.stdout == done.stdout


@pytest.mark.slow  # starts a process of the script
def test_the_process_prints_what_the_function_does(
    script: Script, inside: Callable[..., Done], one_by_one: object, tmp_path: Path
) -> None:
    done = script("lab", *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    again = inside("lab", *TINY, cwd=tmp_path)
    assert "1 of 1 results are cached" in again.stderr
    assert again.output == done.stdout


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lab.size=huge", "lab.size='huge' is not one of: quick, full"),
        ("only=vanishin", "only=vanishin is not one of: vanishing"),
        ("~lab.parallel.quick.models.Transformer", "lab.parallel.quick.models has no self-attention network"),
        ("output=null", "output=None must be a folder"),
        ("+lab.vanishing.quick.hiden=3", "unknown key lab.vanishing.quick.hiden"),
        ('lab.gates.quick.train=["data=grammer"]', "lab.gates.quick.train: In 'train': Could not find 'data/grammer'"),
    ],
)
def test_bad_input(inside: Callable[..., Done], tmp_path: Path, override: str, message: str) -> None:
    done = inside("lab", "output=out", _only(override), override, cwd=tmp_path)
    assert done.code == 2
    assert len(done.errors) == 1
    assert message in done.errors[0]
    assert not (tmp_path / "out").exists()


def _only(override: str) -> str:
    """The selection of the experiment of these settings alone, to save the checks of the others."""
    section = re.search(r"lab\.(\w+)\.quick", override)
    return f"only={section[1] if section else 'vanishing'}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("only=[]", "only=[] names no experiment"),
        ("only=[[memory]]", "only=['memory'] is not one of"),
        ("lab.word_order.quick.nouns=3", "lab.word_order.quick.nouns must be at least 4"),
        ("lab.word_order.quick.hidden=30", "lab.word_order.quick.hidden must be a multiple of 4"),
        ("lab.parallel.quick.lengths=[64]", "lab.parallel.quick.lengths must be two or more"),
        ("lab.vanishing.quick.distance=1", "lab.vanishing.quick.distance must be at least 2"),
        ("lab.memory.quick.lengths=[1,20]", "lab.memory.quick.lengths must be at least 2"),
        ("lab.readouts.quick.sizes.cell=lsmt", "lab.readouts.quick.sizes.cell: lsmt is not one of: lstm"),
        ("lab.bottleneck.quick.sizes=[64]", "lab.bottleneck.quick.sizes must be two or more"),
        (f"lab.gates.quick.train=[{NO_TESTS}]", "lab.gates.quick.train: data.tests is empty"),
        ('lab.gates.quick.train=["data=grammar_text"]', "objective=translation needs pairs of sentences"),
        ("jobs=0", "jobs=0 must be a number of jobs, at least 1, or null"),
        ("lab.vanishing.quick.hidden=0", "lab.vanishing.quick.hidden=0 must be"),
        ("lab.vanishing.quick.seeds=[]", "lab.vanishing.quick.seeds=[] must not be empty"),
        ("lab.vanishing.quick.seeds=[1,2,1]", "lab.vanishing.quick.seeds=[1, 2, 1] names something twice"),
        ("lab.word_order.quick.cells=[lsmt]", "lab.word_order.quick.cells: lsmt is not one of: lstm"),
        ('lab.gates.quick.train=["optim.lr=0"]', "lab.gates.quick.train: optim.lr=0 must be more than 0"),
    ],
)
def test_bad_settings(root: Path, override: str, message: str) -> None:
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        values = plain(compose("lab", [_only(override), override]))
        with pytest.raises(S2SError) as error:
            experiments_of(values, training_configuration)
    assert message in str(error.value)
    assert "errors: (1)" not in str(error.value)


def test_an_error_of_all_experiments_is_reported_once(inside: Callable[..., Done], tmp_path: Path) -> None:
    for text, message in (("data=multi30", "Could not find 'data/multi30'"), (NOT_THERE, "data.train=gone.tsv")):
        overrides = ["output=out", "only=[influence,gates,biases]", "lab.size=full"]
        done = inside("lab", *overrides, f'lab.text=["{text}"]', cwd=tmp_path)
        assert done.code == 2
        assert len(done.errors) == 1
        assert done.errors[0].count(message) == 1


@pytest.mark.parametrize("size", ["quick", pytest.param("full", marks=pytest.mark.slow)])
def test_every_experiment_has_both_sizes(root: Path, size: str) -> None:
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        values = plain(compose("lab", [f"lab.size={size}"]))
        _, experiments = experiments_of(values, training_configuration)
    assert list(experiments) == [experiment.name for experiment in EXPERIMENTS]
    assert {path.stem for path in (root / "conf" / "lab").glob("*.yaml")} == set(experiments)
