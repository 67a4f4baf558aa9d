"""torch's own recurrent functions (cuDNN on a GPU, oneDNN on a CPU) with the parameters of our cells.

Sequences of unequal lengths are packed, so that each one's final state is the one after its own last element. Under
autocast everything is computed in its type, states included, which is torch's way and rougher than ours.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from s2s.nn.kernels.bptt import State, compute_type


class TorchForm(NamedTuple):
    """A cell in torch's parameters: gates in torch's order, two biases."""

    function: str  # of torch: rnn_tanh, lstm or gru
    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


def run(form: TorchForm, x: Tensor, mask: Tensor | None, state: State) -> tuple[Tensor, State]:
    """The whole sequence.

    Args:
        form: see `Cell.torch_form`.
        x: (B, T, I), the cell's whole input; real elements come first.
        mask: (B, T), or None when all elements are real.
        state: (B, H) each.

    Returns:
        outputs (B, T, H), 0 at padding, and the states after each sequence's last element, in the type of `state`.
    """
    compute = compute_type(x)
    function, weights = getattr(torch, form.function), [weight.to(compute) for weight in form[1:]]
    x, first = x.to(compute), tuple(s.to(compute).unsqueeze(0) for s in state)
    options = (True, 1, 0.0, False, False)  # biases, one layer, no dropout, which is all that training means, one way
    if mask is None:
        outputs, *final = function(x, _one_or_all(first), weights, *options, True)
    else:
        lengths = mask.sum(dim=1)
        packed = pack_padded_sequence(x, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
        first = tuple(s.index_select(1, packed.sorted_indices) for s in first)  # type: ignore[arg-type]
        data, *final = function(packed.data, packed.batch_sizes, _one_or_all(first), weights, *options)
        laid = PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
        outputs, _ = pad_packed_sequence(laid, batch_first=True, total_length=x.size(1))
        final = [s.index_select(1, packed.unsorted_indices) for s in final]
        outputs = outputs.masked_fill(~mask.unsqueeze(-1), 0.0)
        final = [torch.where(lengths.unsqueeze(1) > 0, s, before) for s, before in zip(final, state, strict=True)]
    kind = state[0].dtype
    return outputs.to(kind), tuple(s.reshape(before.shape).to(kind) for s, before in zip(final, state, strict=True))


def _one_or_all(states: State) -> Tensor | State:
    return states if len(states) > 1 else states[0]
