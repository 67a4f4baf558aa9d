"""Networks: cells, attention, mixers and their kernels."""

from s2s.nn import linear_cells  # noqa: F401  (its cells register themselves)
