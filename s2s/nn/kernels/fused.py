"""torch's own recurrent functions (cuDNN on a GPU, oneDNN on a CPU) with the parameters of our cells.

Under
autocast everything is computed in its type, states included, which is torch's way and rougher than ours.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from s2s.nn.kernels.stepping import State, compute_type


class TorchForm(NamedTuple):
    """A cell in torch's parameters: gates in torch's order, two biases."""

    function: str  # of torch: rnn_tanh, lstm or gru
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


def run(form: TorchForm, rows: Tensor, sizes: list[int], state: State) -> tuple[Tensor, State]:
    """The whole sequence.

    Args:
        form: see `Cell.torch_form`.
        rows: (N, I), the cell's whole input, packed (see `s2s.nn.packing`).
        sizes: rows of each step.
        state: (B_0, H) each.

    Returns:
        outputs (N, H), and the states after each sequence's last element, in the type of `state`.
    """
    if not sizes:
        return rows.new_zeros(0, state[0].size(-1), dtype=state[0].dtype), state
    compute = compute_type(rows)
    function, weights = getattr(torch, form.function), [weight.to(compute) for weight in form[1:]]
    rows, first = rows.to(compute), tuple(s.to(compute).unsqueeze(0) for s in state)
    options = (True, 1, 0.0, False, False)  # biases, one layer, no dropout, which is all that training means, one way
    if sizes[0] == sizes[-1]:
        outputs, *final = function(rows.view(len(sizes), sizes[0], -1), _one_or_all(first), weights, *options, False)
    else:
        outputs, *final = function(rows, torch.tensor(sizes), _one_or_all(first), weights, *options)
    kind = state[0].dtype
    outputs = outputs.reshape(len(rows), -1).to(kind)
    return outputs, tuple(s.reshape(before.shape).to(kind) for s, before in zip(final, state, strict=True))


def _one_or_all(states: State) -> Tensor | State:
    return states if len(states) > 1 else states[0]
