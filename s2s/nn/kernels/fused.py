"""torch's own recurrent functions (cuDNN on a GPU, oneDNN on a CPU) with the parameters of our cells.

Under autocast everything is computed in its dtype, states included, which is torch's way and rougher than ours.

Over a padded batch an LSTM's cell state has to survive the padding, as it is returned after the last step alone. One
more input, which is 1 there, opens the forget gate and closes the input gate: σ(±10,000) is 1 or 0 in any dtype, so
the padding adds nothing to the state and nothing to a gradient.
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
HOLD_COLUMNS = 8  # one is needed; matrix units want multiples of 8


class TorchForm(NamedTuple):
    """A cell in torch's parameters: gates in torch's order, two biases."""

    function: str  # of torch: rnn_tanh, lstm or gru
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
    form: TorchForm, rows: Tensor, sizes: list[int], state: State, padding: Tensor | None = None
) -> tuple[Tensor, State]:
    """The whole sequence.

    Args:
        form: see `Cell.torch_form`.
        rows: (N, I), the cell's whole input, as laid out by `s2s.nn.packing`.
        sizes: rows of each step.
        state: (B_0, H) each.
        padding: (N, 1) True at rows of padding, if there are any.

    Returns:
        outputs (N, H), and the states after each sequence's last step, in the dtype of `state`: of sentences that end
        in padding, the states after that, which for all but the first state are those before it.
    """
    if not sizes:
        return rows.new_zeros(0, state[0].size(-1), dtype=state[0].dtype), state
    compute = compute_dtype(rows)
    if devices.on_gpu(rows) and not in_cudnn(compute, rows.device):
        compute = torch.float32  # cuDNN in fp32 is still many times as fast as steps of separate operations
    if padding is not None and form.function == "lstm":
        rows, form = _holding(rows, form, padding)
    with torch.autocast(rows.device.type, enabled=False):
        outputs, final = _run(form, rows.to(compute), sizes, tuple(s.to(compute) for s in state))
    kind = state[0].dtype
    return outputs.to(kind), tuple(s.to(kind) for s in final)


def _run(form: TorchForm, rows: Tensor, sizes: list[int], state: State) -> tuple[Tensor, State]:
    function, weights = getattr(torch, form.function), _in_one_piece(form[1:], rows.dtype)
    # Biases, one layer, no dropout, whether there will be a backward pass (cuDNN keeps what it needs), one direction.
    options = (True, 1, 0.0, torch.is_grad_enabled(), False)
    first = tuple(s.unsqueeze(0) for s in state)
    if sizes[0] == sizes[-1]:
        whole = rows.view(len(sizes), sizes[0], -1)
        outputs, *final = function(whole, _one_or_all(first), weights, *options, False)  # time comes first
    else:
        outputs, *final = function(rows, torch.tensor(sizes), _one_or_all(first), weights, *options)
    return outputs.reshape(len(rows), -1), tuple(s.reshape(b.shape) for s, b in zip(final, state, strict=True))


def _in_one_piece(weights: tuple[Tensor, ...], dtype: torch.dtype) -> list[Tensor]:
    """The weights in `dtype`, one behind the other in memory: cuDNN reads them so, and copies others."""
    whole = torch.cat([weight.flatten() for weight in weights]).to(dtype)
    pieces = whole.split([weight.numel() for weight in weights])  # type: ignore[no-untyped-call]
    return [piece.view(weight.shape) for piece, weight in zip(pieces, weights, strict=True)]


def _holding(rows: Tensor, form: TorchForm, padding: Tensor) -> tuple[Tensor, TorchForm]:
    """Input and parameters of an LSTM whose cell state stays as it is at padding."""
    i, f, *others = form.weight_ih.new_zeros(4, form.weight_hh.size(1), HOLD_COLUMNS).unbind(0)
    i[:, 0], f[:, 0] = -HOLD, HOLD
    hold = torch.cat([form.weight_ih, torch.cat([i, f, *others])], dim=1)
    return torch.cat([rows, pad(padding.to(rows.dtype), (0, HOLD_COLUMNS - 1))], dim=1), form._replace(weight_ih=hold)


def _one_or_all(states: State) -> Tensor | State:
    return states if len(states) > 1 else states[0]
