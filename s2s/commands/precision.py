"""`training.precision=auto` in the commands that train: decided once, before the first update, and kept by the run.

A run directory holds the dtype that was taken, so a run that is resumed keeps it wherever that happens. Models that are
compared get the same one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch

from s2s.config import TrainingPrecision
from s2s.models import build_model, shapes_only
from s2s.precision import SLOW, Dtype, Rates, Shape, choose_precision, measured_rates
from s2s.training.checkpoint import RunDirectory

log = logging.getLogger(__name__)

Values = dict[str, Any]


def with_stored_precision(values: Values, directory: RunDirectory) -> Values:
    """The configuration with the precision that its run directory holds in place of `auto`, where there is a run."""
    if precision_of(values) == "auto" and directory.config.exists():
        stored = directory.load_config().get("training", {}).get("precision", "auto")
        return with_precision(values, stored)
    return values


def decide_precision(runs: Sequence[Values], device: torch.device) -> list[Values]:
    """The configurations with a dtype in place of `auto`, the same one for all that have none.

    Where one of them has a dtype already, stored or typed, that is the one; else it is measured. One line says which
    and why; a warning says where what is stored or typed is several times slower than the other one here.

    Args:
        runs: checked configurations, at least one.
        device: on which they train.
    """
    fixed = {precision_of(values) for values in runs} - {"auto"}
    if fixed:
        for dtype in sorted(fixed):
            warn_if_slow(dtype, runs, device)
        return [
            with_precision(values, sorted(fixed)[0]) if precision_of(values) == "auto" else values for values in runs
        ]
    choice = choose_precision(shapes(runs), device)
    log.info("training.precision=auto takes %s: %s", choice.precision, choice.reason)
    return [with_precision(values, choice.precision) for values in runs]


def warn_if_slow(dtype: TrainingPrecision, runs: Sequence[Values], device: torch.device) -> None:
    """A warning where training would be several times faster in the other dtype on this CPU."""
    if device.type != "cpu" or dtype == "auto":
        return
    rates = measured_rates(shapes(runs))
    if rates.ratio_against(dtype) > SLOW:
        log.warning("%s", slow(dtype, rates))


def slow(dtype: Dtype, rates: Rates) -> str:
    """The words of that warning."""
    other = "bf16" if dtype == "fp32" else "fp32"
    return (
        f"training.precision={dtype} is slow here: {rates.of(dtype) / 1e9:.3g} GFLOP/s on the model's matrix "
        f"multiplications, {rates.ratio_against(dtype):.0f} times as many in {other}; a new run takes the faster one "
        "by itself (training.precision=auto)"
    )


def shapes(runs: Sequence[Values]) -> Iterator[Shape]:
    """(out, in) of the weight matrices of these runs' models, with vocabularies as large as configured."""
    for values in runs:
        size = values["data"]["tokenizer"]["vocab_size"]
        with shapes_only():
            model = build_model(values["model"], size, size)
        yield from ((p.shape[0], p.shape[1]) for p in model.parameters() if p.dim() == 2)


def precision_of(values: Mapping[str, Any]) -> TrainingPrecision:
    return cast(TrainingPrecision, values["training"]["precision"])


def with_precision(values: Values, dtype: TrainingPrecision) -> Values:
    """A copy of the configuration that has this dtype."""
    return values | {"training": values["training"] | {"precision": dtype}}
