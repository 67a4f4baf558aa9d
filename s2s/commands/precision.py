"""`training.precision=auto` in the commands that train: decided once, before the first update, and kept by the run.

A run directory holds the chosen dtype, so a resumed run keeps it on any machine. Models that are compared share one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import torch

from s2s.config import RunConfig, TrainingPrecision
from s2s.dtype_choice import SLOW, Dtype, Rates, Shape, choose_precision, measured_rates
from s2s.models import build_model, shapes_only
from s2s.training.checkpoint import RunDirectory

log = logging.getLogger(__name__)


def with_stored_precision(config: RunConfig, directory: RunDirectory) -> RunConfig:
    """The configuration with the precision of its run directory in place of `auto`, where there is a run."""
    if config.training.precision == "auto" and directory.config.exists():
        return config.with_precision(directory.load_config().get("training", {}).get("precision", "auto"))
    return config


def decide_precision(runs: Sequence[RunConfig], device: torch.device) -> list[RunConfig]:
    """The configurations with a dtype in place of `auto`, the same one for all.

    A dtype that one of them has already, stored or configured, is taken; else it is measured, and a line says which and
    why. A warning says where a stored or configured one is several times slower than the other one here.

    Args:
        runs: at least one.
        device: on which they train.
    """
    fixed = sorted({run.training.precision for run in runs} - {"auto"})
    if fixed:
        for dtype in fixed:
            warn_if_slow(dtype, runs, device)
        return [run.with_precision(fixed[0]) if run.training.precision == "auto" else run for run in runs]
    choice = choose_precision(shapes(runs), device)
    log.info("training.precision=auto selects %s: %s", choice.precision, choice.reason)
    return [run.with_precision(choice.precision) for run in runs]


def warn_if_slow(dtype: TrainingPrecision, runs: Sequence[RunConfig], device: torch.device) -> None:
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


def shapes(runs: Sequence[RunConfig]) -> Iterator[Shape]:
    """(out, in) of the weight matrices of these runs' models, with vocabularies of the configured size."""
    for run in runs:
        size = run.data.tokenizer.vocab_size
        with shapes_only():
            model = build_model(run.model, size, size, run.objective.type)
        yield from ((p.shape[0], p.shape[1]) for p in model.parameters() if p.dim() == 2)
