"""All experiments, in the order of the page."""

from __future__ import annotations

from s2s.lab import (
    ablation,
    bert,
    biases,
    bottleneck,
    clipping,
    convolution,
    gates,
    gpt,
    gru_lstm,
    influence,
    memory,
    mixers,
    parallel,
    positions,
    readouts,
    vanishing,
    word_order,
)
from s2s.lab.experiment import Experiment, ExperimentModule

_MODULES: list[ExperimentModule] = [
    *(influence, convolution, vanishing, clipping, memory, gates, ablation, biases, gru_lstm),
    *(word_order, readouts, bottleneck, parallel, positions, mixers, gpt, bert),
]
EXPERIMENTS = [Experiment.from_module(module) for module in _MODULES]
