"""A user-defined cell for the tests: outside of s2s, with two states, not affine in its input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s2s.nn.cells import Cell, State


class Leaky(Cell):
    """k_t = (k_{t-1} + σ(x̂_t)) / 2,  u = σ(W [h, k] + b),  h_t = (1 - u) ⊙ h_{t-1} + u ⊙ tanh(x̂_t + k_t ⊙ h_{t-1})."""

    num_states = 2
    affine_input = False

    def __init__(self, input_size: int, hidden_size: int, keep: float = 1.0) -> None:
        super().__init__(input_size, hidden_size)
        self.inputs = nn.Linear(input_size, hidden_size)
        self.update = nn.Linear(2 * hidden_size, hidden_size)
        nn.init.constant_(self.update.bias, -keep)

    def project(self, x: Tensor) -> Tensor:
        return torch.tanh(self.inputs(x)) * 2

    def step(self, gx: Tensor, state: State) -> State:
        h, k = state
        k = (k + torch.sigmoid(gx)) / 2
        update = torch.sigmoid(self.update(torch.cat([h, k], dim=-1)))
        return h + update * (torch.tanh(gx + k * h) - h), k
