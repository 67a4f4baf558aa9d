"""All experiments, in the order of the page."""

from __future__ import annotations

from s2s.lab import vanishing
from s2s.lab.experiment import Experiment

EXPERIMENTS: list[Experiment] = [vanishing.EXPERIMENT]
