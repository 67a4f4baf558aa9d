"""Check of the lab's settings before any work: types, lists, names, and overrides of train.py.

The last experiment may begin hours after the first; errors in its settings are reported at once.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from s2s.commands.console import one_line
from s2s.commands.train import model_errors
from s2s.config import parse
from s2s.data.corpus import check_corpus, without_tests
from s2s.errors import S2SError
from s2s.files import user_path
from s2s.lab.experiment import MAY_BE_EMPTY, Experiment, Overrides, Size, TextOverrides
from s2s.lab.experiments import EXPERIMENTS
from s2s.nn.cells import CELLS
from s2s.schema import build, check_call, nearest, raise_all

Compose = Callable[[Sequence[str]], dict[str, Any]]  # overrides -> the configuration of `scripts/train.py`


def experiments_of(values: Mapping[str, Any], configuration: Compose) -> tuple[Size, dict[str, tuple[Experiment, Any]]]:
    """The size, and each selected experiment with its checked settings as plain values.

    Raises:
        S2SError: naming every error of the configuration.
    """
    sections = values["lab"]
    known = {one.name: one for one in EXPERIMENTS}
    size, only, jobs = sections["size"], values["only"], values["jobs"]
    errors = []
    if size not in get_args(Size):
        errors.append(f"lab.size={size!r} is not one of: {', '.join(get_args(Size))}")
    if not isinstance(values["output"], str):
        errors.append(f"output={values['output']!r} must be a folder")
    elif (folder := user_path(values["output"])).exists() and not folder.is_dir():
        errors.append(f"output={values['output']} is a file: name a folder")
    if not (jobs is None or (isinstance(jobs, int) and not isinstance(jobs, bool) and jobs > 0)):
        errors.append(f"jobs={jobs!r} must be a number of jobs, at least 1, or null")
    names = list(known) if only is None else only if isinstance(only, list) else [only]
    errors += [
        f"only={name} is not one of: {nearest(str(name), list(known))}" for name in names if str(name) not in known
    ]
    if not names:
        errors.append("only=[] names no experiment; null stands for all of them")
    raise_all(errors)
    for name in names:
        errors += setting_errors(known[name], sections[name][size], f"lab.{name}.{size}", configuration)
    distinct: dict[str, str] = {}  # an error that several experiments share is reported for the first
    for error in errors:
        distinct.setdefault(error.split(": ", 1)[-1], error)
    raise_all(list(distinct.values()))
    return size, {name: (known[name], sections[name][size]) for name in known if name in names}


def setting_errors(experiment: Experiment, values: Mapping[str, Any], where: str, configuration: Compose) -> list[str]:
    """All errors in an experiment's settings, each as one clause with its key."""
    errors = check_call(experiment.settings, values, where)
    if errors:
        return errors
    settings = build(experiment.settings, values)
    errors = _field_errors(settings, where, configuration)
    return errors or [f"{where}.{one}" for one in experiment.check(settings)]


def _field_errors(settings: Any, where: str, configuration: Compose) -> list[str]:
    """Those of single settings, also of a section within."""
    errors: list[str] = []
    hints = typing.get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        key, value = f"{where}.{field.name}", getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            errors += _field_errors(value, key, configuration)
        elif hints[field.name] in (Overrides, TextOverrides):
            errors += _override_errors(value, key, configuration, tested=hints[field.name] == Overrides)
        elif isinstance(value, list):
            if not value and MAY_BE_EMPTY not in getattr(hints[field.name], "__metadata__", ()):
                errors.append(f"{key}=[] must not be empty")
            if any(one in value[:n] for n, one in enumerate(value)):
                errors.append(f"{key}={value} names something twice")
        cells = {"cells": value, "cell": [value]}.get(field.name, [])
        errors += [f"{key}: {cell} is not one of: {nearest(cell, list(CELLS))}" for cell in cells if cell not in CELLS]
    return errors


def _override_errors(overrides: list[str], key: str, configuration: Compose, tested: bool) -> list[str]:
    try:
        config = parse(configuration(overrides), lambda values: model_errors(values, values["trust"]))
        if tested and not config.data.tests:
            reason = without_tests(config.data)
            raise S2SError(f"{reason}: models are evaluated on the first test set, so choose data with one")
        check_corpus(config.data)
    except (S2SError, HydraException, OmegaConfBaseException, ValueError) as error:
        return [f"{key}: {one_line(error).removeprefix('config: ')}"]
    return []
