"""Fixture of the lab's tests: a job runner without parallelism."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import initialize_config_dir

from s2s.commands.lab import trained, training_configuration
from s2s.lab.runner import JobRunner


@pytest.fixture
def runner(root: Path, tmp_path: Path) -> Iterator[JobRunner]:
    """A runner whose training runs are composed from the project's own `conf/`."""
    with initialize_config_dir(version_base="1.3", config_dir=str(root / "conf")):
        yield JobRunner(tmp_path / "lab", training_configuration, trained)
