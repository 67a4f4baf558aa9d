"""A user's cell (two states, not affine in its input) and mixer for the tests, outside of s2s."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from s2s.nn.cells import Cell, State
from s2s.nn.mixers import Mixer, Rows


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


class Average(Mixer):
    """W times the mean of (x_1 … x_t)^power, in an encoder of the whole sentence: no weights but those of W."""

    def __init__(self, size: int, causal: bool, power: int = 1) -> None:
        super().__init__(size, causal)
        self.power = power
        self.output = nn.Linear(size, size)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        real = mask.unsqueeze(-1)
        mean = (x**self.power).masked_fill(~real, 0.0).sum(dim=1, keepdim=True) / real.sum(dim=1, keepdim=True)
        return self.output(mean.expand_as(x))  # type: ignore[no-any-return]

    def start(self, like: Tensor) -> Rows:
        zeros = like.new_zeros(like.size(0), self.output.in_features)
        return {"sum": zeros, "count": zeros[:, :1]}

    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        sums = rows["sum"].unsqueeze(1) + (x**self.power).cumsum(dim=1)
        counts = rows["count"] + torch.arange(1, x.size(1) + 1, device=x.device)
        return self.output(sums / counts.unsqueeze(-1)), {"sum": sums[:, -1], "count": counts[:, -1:].to(x.dtype)}
