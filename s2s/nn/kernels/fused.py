"""torch's fused recurrent functions (cuDNN on a GPU, oneDNN on a CPU) with the parameters of our cells.

Under autocast torch computes everything in autocast's dtype, states included, which is less accurate than our kernels.

Over a padded batch the LSTM's cell state has to survive the padding, as it is returned after the last step alone. An
additional input, which is 1 at padding, opens the forget gate and closes the input gate: σ(±10,000) is 1 or 0 in any
dtype, so padding adds nothing to the state or to a gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from s2s import devices
from s2s.nn.kernels.function import compute_dtype
from s2s.nn.kernels.stepping import State

HOLD = 10_000.0
HOLD_COLUMNS = 8  # one is needed; tensor cores want multiples of 8


class TorchRNN(NamedTuple):
    """One of torch's recurrent functions with its parameters: gates in torch's order, two biases."""

    function: str  # rnn_tanh, lstm or gru
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


def in_cudnn(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether cuDNN computes recurrent functions in this dtype on this GPU."""
    if not torch.backends.cudnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return bool(torch.cudnn_is_acceptable(torch.empty(1, dtype=dtype, device=device)))


def run(
    rnn: TorchRNN, rows: Tensor, batch_sizes: list[int], state: State, padding: Tensor | None = None
) -> tuple[Tensor, State]:
    """Runs a whole sequence.

    Args:
        rows: (N, I), the cell's whole input, as laid out by `s2s.nn.packing`.
        batch_sizes: rows of each step.
        state: (B_0, H) each.
        padding: (N, 1), True at padding; None without any.

    Returns:
        outputs (N, H), and the states after each sequence's last step, in the dtype of `state`. If that step is
        padding, all states but the first are those before the padding.
    """
    if not batch_sizes:
        return rows.new_zeros(0, state[0].size(-1), dtype=state[0].dtype), state
    compute = compute_dtype(rows)
    if devices.on_gpu(rows) and not in_cudnn(compute, rows.device):
        compute = torch.float32  # still many times as fast as separate operations
    if padding is not None and rnn.function == "lstm":
        rows, rnn = _hold_cell_state(rows, rnn, padding)
    function, weights = getattr(torch, rnn.function), _contiguous(rnn[1:], compute)
    # Biases, one layer, no dropout, training mode (cuDNN saves tensors for the backward pass), one direction.
    options = (True, 1, 0.0, torch.is_grad_enabled(), False)
    first = tuple(s.to(compute).unsqueeze(0) for s in state)
    hx = first if len(first) > 1 else first[0]
    inputs, dtype = rows.to(compute), state[0].dtype
    with torch.autocast(rows.device.type, enabled=False):
        if batch_sizes[0] == batch_sizes[-1]:  # the time axis comes first
            outputs, *final = function(inputs.view(len(batch_sizes), batch_sizes[0], -1), hx, weights, *options, False)
        else:
            outputs, *final = function(inputs, torch.tensor(batch_sizes), hx, weights, *options)
    final_states = tuple(s.reshape(old.shape).to(dtype) for s, old in zip(final, state, strict=True))
    return outputs.reshape(len(rows), -1).to(dtype), final_states


def _contiguous(weights: tuple[Tensor, ...], dtype: torch.dtype) -> list[Tensor]:
    """The weights in `dtype`, contiguous in one tensor: cuDNN would copy others."""
    whole = torch.cat([weight.flatten() for weight in weights]).to(dtype)
    pieces = whole.split([weight.numel() for weight in weights])  # type: ignore[no-untyped-call]
    return [piece.view(weight.shape) for piece, weight in zip(pieces, weights, strict=True)]


def _hold_cell_state(rows: Tensor, rnn: TorchRNN, padding: Tensor) -> tuple[Tensor, TorchRNN]:
    """Input and parameters of an LSTM that holds its cell state at padding."""
    i, f, *others = rnn.weight_ih.new_zeros(4, rnn.weight_hh.size(1), HOLD_COLUMNS).unbind(0)
    i[:, 0], f[:, 0] = -HOLD, HOLD
    hold = torch.cat([rnn.weight_ih, torch.cat([i, f, *others])], dim=1)
    return torch.cat([rows, pad(padding.to(rows.dtype), (0, HOLD_COLUMNS - 1))], dim=1), rnn._replace(weight_ih=hold)
