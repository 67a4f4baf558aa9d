"""All experiments, in the order of the page."""

from __future__ import annotations

from s2s.lab import (
    ablation,
    biases,
    bottleneck,
    clipping,
    gates,
    gru_lstm,
    influence,
    memory,
    parallel,
    positions,
    readouts,
    vanishing,
    word_order,
)
from s2s.lab.experiment import Experiment

EXPERIMENTS: list[Experiment] = [
    influence.EXPERIMENT,
    vanishing.EXPERIMENT,
    clipping.EXPERIMENT,
    memory.EXPERIMENT,
    gates.EXPERIMENT,
    ablation.EXPERIMENT,
    biases.EXPERIMENT,
    gru_lstm.EXPERIMENT,
    word_order.EXPERIMENT,
    readouts.EXPERIMENT,
    bottleneck.EXPERIMENT,
    parallel.EXPERIMENT,
    positions.EXPERIMENT,
]
