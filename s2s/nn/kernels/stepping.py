"""What the kernels of all cells share: how a cell's steps are taken forward and back over a packed batch.

Sentences are packed (see `s2s.nn.packing`): the rows of step t, one for each sentence that still has a word to be read,
stand together, those of step t + 1 after them. `sizes` are their numbers, which never grow, so the sentences of step
t + 1 are the first ones of step t.

Letters: N rows of all steps, B_t of step t, H hidden, G gates. There may be one more axis before the rows, for as many
cells (those of two directions) that step together: most of the time of a small step goes into starting operations, so
one operation for both is half of it.

A step works in small buffers that stay in the processor's cache; what a whole sequence needs is only written. Under
autocast the matrix products run in its type; states, gates and sums stay in fp32.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from s2s import devices

State = tuple[Tensor, ...]


class StepKernel:
    """A cell's steps forward and back, with memory for a whole sequence.

    Forward: `begin`, then `step` for t = 0 … T - 1; `saved` is what the way back needs. Back, on an instance made anew:
    `resume`, then `back` for t = T - 1 … 0, then `gradients`.

    Args:
        compute: type of matrix products.
        weight: the recurrent one, (…, G·H, H).
        biases: inside of the recurrence, (…, H).
        entering: (G·H, E), the weight of a part of the input that is known only when its step is reached, such as an
            attention's context. It is written to `extra(t)` before `step`.

    Attributes:
        num_states: state tensors of the cell; the first of what `saved` returns are these, (…, N, H) each.
    """

    num_states: ClassVar[int] = 1
    each: list[
        tuple[Tensor, ...]
    ]  # by step, its rows of what the pass works on; on the way forward the extra input last

    def __init__(self, compute: torch.dtype, weight: Tensor, *biases: Tensor, entering: Tensor | None = None) -> None:
        self.compute = compute
        self.hidden = weight.size(-1)
        self.extras = 0 if entering is None else entering.size(-1)
        joined = weight if entering is None else torch.cat([weight, entering], dim=-1)
        self.w = joined.to(compute)  # (…, G·H, H + E): state and extra input are multiplied together

    def begin(self, gx: Tensor, first: State, sizes: list[int]) -> None:
        """The input's part (…, N, G·H), which may be overwritten, and the state before the first step, (…, B_0, H)."""
        raise NotImplementedError

    def step(self, t: int, state: State) -> State:
        """One step: the state before (…, B_t, H) -> the state after, which is also kept."""
        raise NotImplementedError

    def extra(self, t: int) -> Tensor:
        """Where the extra input of step t goes, (B_t, E), in the type of products."""
        return self.each[t][-1]

    def saved(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def resume(self, first: State, saved: tuple[Tensor, ...], sizes: list[int]) -> None:
        raise NotImplementedError

    def back(self, t: int, grads: State) -> tuple[State, Tensor]:
        """δ of the state after step t -> δ of the state before it, and of the extra input (…, B_t, E); δgx is kept."""
        raise NotImplementedError

    def gradients(self) -> tuple[Tensor, ...]:
        """δgx (…, N, G·H) in the type of products; δ of weight, of entering (of no width without it), of each bias."""
        raise NotImplementedError

    def _like(self, states: Tensor, kind: torch.dtype | None = None, gates: int = 1) -> Tensor:
        """Room for (…, gates · H) beside (…, H)."""
        return states.new_empty(*states.shape[:-1], gates * self.hidden, dtype=kind)

    def _states(self, gx: Tensor) -> Tensor:
        """Room for (…, N, H)."""
        return gx.new_empty(*gx.shape[:-1], self.hidden)

    def _inputs(self, gx: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Room for (…, N, H + E) in the type of products, and its parts for state and extra input."""
        whole = gx.new_empty(*gx.shape[:-1], self.hidden + self.extras, dtype=self.compute)
        return whole, whole[..., : self.hidden], whole[..., self.hidden :]

    def _parts(self, whole: Tensor) -> tuple[Tensor, Tensor]:
        """(…, H + E) as what belongs to the state and to the extra input."""
        return whole[..., : self.hidden], whole[..., self.hidden :]


class Scratch(dict[int, tuple[Tensor, ...]]):
    """The first n rows of some buffers, by n: a view costs as much as a small operation, so each is made once."""

    def __init__(self, *buffers: Tensor) -> None:
        super().__init__()
        self.buffers = buffers

    def __missing__(self, rows: int) -> tuple[Tensor, ...]:
        self[rows] = tuple(buffer[..., :rows, :] for buffer in self.buffers)
        return self[rows]


def steps_of(sizes: list[int], *sequences: Tensor) -> list[tuple[Tensor, ...]]:
    """For each step its rows of each sequence (…, N, ·)."""
    return list(zip(*(sequence.split_with_sizes(sizes, -2) for sequence in sequences), strict=True))


def steps_before(sizes: list[int], first: Tensor, states: Tensor, *sequences: Tensor) -> list[tuple[Tensor, ...]]:
    """`steps_of` the sequences, and last the state before each step.

    Args:
        first: (…, B_0, H), before the first step.
        states: (…, N, H), after each step.
    """
    after = states.split_with_sizes(sizes, -2)
    before = [first, *(rows[..., :size, :] for rows, size in zip(after, sizes[1:], strict=False))]
    return [(*views, state) for views, state in zip(steps_of(sizes, *sequences), before, strict=True)]


def weight_gradient(grads: Tensor, inputs: Tensor) -> Tensor:
    """Σ_rows gradsᵀ inputs: (…, N, n), (…, N, H) -> (…, n, H)."""
    return grads.contiguous().mT @ inputs.to(grads.dtype)


def tanh(x: Tensor) -> Tensor:
    """tanh, by `tanh_` where autograd does not watch."""
    return torch.tanh(x) if torch.is_grad_enabled() else tanh_(x.clone())


def tanh_(x: Tensor) -> Tensor:
    """tanh in place. torch's takes ten times as long as its σ on CPUs; there it is 2 σ(2x) - 1, exact to rounding."""
    return x.tanh_() if devices.on_gpu(x) else x.mul_(2).sigmoid_().mul_(2).sub_(1)
