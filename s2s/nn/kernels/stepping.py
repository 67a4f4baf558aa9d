"""Step kernels: the interface and the helpers that the hand-written kernels of all cells share.

The batch is packed: `batch_sizes` holds the number of rows of each step, see `s2s.nn.packing`.

Letters: N rows of all steps, B_t of step t, H hidden, G gates, C context inputs. An optional axis before the rows holds
several cells (both directions of a layer) that step together: starting operations dominates the time of a small step,
so stepping together halves it.

A step works in small buffers that stay in the processor's cache; tensors for the whole sequence are only written. Under
autocast the matrix multiplications run in autocast's dtype; states, gates and sums stay in fp32.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from s2s import devices

State = tuple[Tensor, ...]


class StepKernel:
    """Forward and backward steps of a cell, with the buffers for a whole sequence.

    Forward: `begin_forward`, then `step` for t = 0 … T - 1, which fill the tensors that `begin_forward` returned.
    Backward, on a new instance: `begin_backward`, then `step_backward` for t = T - 1 … 0, then `gradients`.

    Args:
        compute: compute dtype, that of matrix multiplications.
        weight: the recurrent weight, (…, G·H, H).
        biases: biases inside the recurrence, (…, H).
        w_context: (G·H, C), the columns of the input weight whose inputs become known at each step, such as the
            context vector of attention. These inputs are written to `context_inputs(t)` before `step`.

    Attributes:
        num_states: number of state tensors of the cell.
        views: for each step, its rows of the pass's buffers; in the forward pass the context inputs come last.
        inputs: (…, N, H + C) state and context inputs that the weight multiplies in each step.
        da: (…, N, G·H) gradients of the pre-activations, which `step_backward` writes.
    """

    num_states: ClassVar[int] = 1
    views: list[tuple[Tensor, ...]]
    inputs: Tensor
    da: Tensor

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor, w_context: Tensor | None = None) -> None:
        self.compute = compute
        self.hidden = weight.size(-1)
        self.context_size = 0 if w_context is None else w_context.size(-1)
        joined = weight if w_context is None else torch.cat([weight, w_context], dim=-1)
        self.w = joined.to(compute)  # (…, G·H, H + C): one multiplication for state and context inputs
        self.w_t = self.w.mT

    def begin_forward(self, gx: Tensor, initial: State, batch_sizes: list[int]) -> tuple[Tensor, ...]:
        """The tensors to save for the backward pass: first the states (…, N, H).

        Args:
            gx: the input projection (…, N, G·H), which may be overwritten.
            initial: the state (…, B_0, H) before the first step.
        """
        raise NotImplementedError

    def step(self, t: int, state: State) -> State:
        """One step: the old state (…, B_t, H) -> the new state, which is also saved."""
        raise NotImplementedError

    def context_inputs(self, t: int) -> Tensor:
        """The buffer for the context inputs of step t, (B_t, C), in the compute dtype."""
        return self.views[t][-1]

    def begin_backward(self, initial: State, saved: tuple[Tensor, ...], batch_sizes: list[int]) -> None:
        raise NotImplementedError

    def step_backward(self, t: int, grads: State) -> tuple[State, Tensor]:
        """δ of the new state -> δ of the old state, and of the context inputs (…, B_t, C); δgx is saved."""
        raise NotImplementedError

    def gradients(self) -> tuple[Tensor, ...]:
        """δgx (…, N, G·H) in the compute dtype; δ of weight, of w_context (width 0 without it), of each bias."""
        return self.da, *self._split(weight_gradient(self.da, self.inputs))

    def _empty(self, like: Tensor, gates: int = 1, dtype: torch.dtype | None = None) -> Tensor:
        """A buffer (…, gates · H) for the rows of `like` (…, ·)."""
        return like.new_empty(*like.shape[:-1], gates * self.hidden, dtype=dtype)

    def _input_buffers(self, gx: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A buffer (…, N, H + C) in the compute dtype, and its parts for state and context inputs."""
        whole = gx.new_empty(*gx.shape[:-1], self.hidden + self.context_size, dtype=self.compute)
        return whole, *self._split(whole)

    def _split(self, whole: Tensor) -> tuple[Tensor, Tensor]:
        """(…, H + C) -> the parts of the state and of the context inputs."""
        return whole[..., : self.hidden], whole[..., self.hidden :]


class Scratch(dict[int, tuple[Tensor, ...]]):
    """The first n rows of some buffers, by n: a view costs as much as a small operation, so each is made once."""

    def __init__(self, *buffers: Tensor) -> None:
        super().__init__()
        self.buffers = buffers

    def __missing__(self, rows: int) -> tuple[Tensor, ...]:
        self[rows] = tuple(buffer[..., :rows, :] for buffer in self.buffers)
        return self[rows]


def split_steps(batch_sizes: list[int], *sequences: Tensor) -> list[tuple[Tensor, ...]]:
    """For each step its rows of each sequence (…, N, ·)."""
    return list(zip(*(sequence.split_with_sizes(batch_sizes, -2) for sequence in sequences), strict=True))


def split_with_previous(
    batch_sizes: list[int], initial: Tensor, states: Tensor, *sequences: Tensor
) -> list[tuple[Tensor, ...]]:
    """`split_steps` of the sequences, followed by the state before each step.

    Args:
        initial: (…, B_0, H), before the first step.
        states: (…, N, H), after each step.
    """
    new = states.split_with_sizes(batch_sizes, -2)
    old = [initial, *(rows[..., :size, :] for rows, size in zip(new, batch_sizes[1:], strict=False))]
    return [(*views, state) for views, state in zip(split_steps(batch_sizes, *sequences), old, strict=True)]


def weight_gradient(grads: Tensor, inputs: Tensor) -> Tensor:
    """Σ_rows gradsᵀ inputs: (…, N, n), (…, N, H) -> (…, n, H)."""
    return grads.contiguous().mT @ inputs.to(grads.dtype)


def tanh(x: Tensor) -> Tensor:
    """tanh, by `tanh_` when autograd does not record."""
    return torch.tanh(x) if torch.is_grad_enabled() else tanh_(x.clone())


def tanh_(x: Tensor) -> Tensor:
    """tanh in place: 2 σ(2x) - 1 on a CPU, exact to rounding, where torch's σ is ten times as fast as its tanh."""
    return x.tanh_() if devices.on_gpu(x) else x.mul_(2).sigmoid_().mul_(2).sub_(1)
