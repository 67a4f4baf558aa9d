"""Products in 8-bit integers: dynamic quantisation of a model for decoding on a CPU.

A product W x of a layer becomes one of whole numbers. Each row w of the weight is written in steps of its own, once,
and so is each input vector x, when it comes:

    s_w = max |w| / L,    q_w = round(w / s_w)        the weight, L = 127
    s_x = max |x| / 127,  q_x = round(x / s_x)        the input
    w · x ≈ s_w s_x (q_w · q_x)                       the sums in int32, exact

On processors whose instructions add two products of bytes in 16 bits (x86 without VNNI), where that could overflow, L
is 63. Biases, normalisation, gates, states and softmaxes remain as they are. As each input vector has a step of its
own, what a sentence becomes does not depend on the rest of its batch, but for the last bits of floating point, which
may now and then round to the next step. (One step for each row on both sides is the vector-wise quantisation of
Dettmers et al. 2022, arXiv:2208.07339, without its treatment of outliers.)

How: in a copy of the model the matrices are tensors of the class `Int8Weight`, of which `torch.nn.functional.linear`
takes the product in integers and which for everything else are what they were. So whatever calls it, every `nn.Linear`
and a user's own cell among them, is covered, and parts of a weight are, too; an embedding that is also the output layer
is looked up exactly. What remains as it was: products written in another way (`x @ w`, `torch.gru_cell`), those of a
matrix that is made anew at each call (the recurrent one of an LSTM with an `open_gate`), and those with one input or
one output, where rounding costs more than the product.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn.attention import AttentionCell, StackedCell
from s2s.nn.backends import Backend
from s2s.nn.cells import Cell
from s2s.nn.recurrent import RecurrentLayer

INPUT_LIMIT = 127

Module = TypeVar("Module", bound=nn.Module)


class _WholeInput(Backend):
    """The loop, over inputs that are projected in one piece."""

    def splits_input(self, cell: Cell) -> bool:
        return False


class Int8Weight(Tensor):
    """A weight (M, K) whose product in `F.linear` is one of integers.

    It has the memory of the tensor it was made from, which must not change any more. Its views are such weights, too.

    Attributes:
        known: what was made of it and its views: the rounded rows and their steps, and weights put together.
    """

    known: dict[Any, Any]

    @classmethod
    def of(cls, weight: Tensor, known: dict[Any, Any] | None = None) -> Int8Weight:
        made = weight.detach().as_subclass(cls)
        made.known = {} if known is None else known
        return made

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if func is F.linear:
                return _linear(*args, **kwargs)
            if func is torch.cat and all(isinstance(part, cls) for part in args[0]):
                return _joined(args[0], *args[1:], **kwargs)
            result = func(*args, **kwargs)
            if not (args and isinstance(args[0], cls)):
                return result
            if type(result) in (tuple, list):
                return type(result)(args[0]._view(part) for part in result)
            return args[0]._view(result)

    def _view(self, result: Any) -> Any:
        """The result of an operation on this weight, as a weight where it is a part of the same memory."""
        if type(result) is not Tensor or result.untyped_storage().data_ptr() != self.untyped_storage().data_ptr():
            return result
        return Int8Weight.of(result, self.known)

    def _place(self) -> tuple[Any, ...]:
        return self.data_ptr(), self.shape, self.stride()


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    # Products over one number would also be wrong: torch 2.13's _int_mm takes such matrices for others on a CPU.
    if not isinstance(weight, Int8Weight) or weight.dim() != 2 or 1 in weight.shape:
        return F.linear(input, weight, bias)
    place = weight._place()
    if place not in weight.known:
        weight.known[place] = round_rows(weight, weight_limit())
    rounded, step = weight.known[place]
    return product(input, rounded, step, bias)


def _joined(parts: Sequence[Int8Weight], dim: int = 0) -> Tensor:
    """`torch.cat`, once: a cell that puts its weight together at each step has it rounded once."""
    known, key = parts[0].known, (dim, *(part._place() for part in parts))
    if key not in known:
        known[key] = Int8Weight.of(torch.cat(list(parts), dim))
    return known[key]  # type: ignore[no-any-return]


def product(x: Tensor, rounded: Tensor, step: Tensor, bias: Tensor | None) -> Tensor:
    """x Wᵀ + b in integers.

    Args:
        x: (…, K), floating point.
        rounded, step: (M, K) and (M, 1) of the weight, from `round_rows`.
        bias: (M,), floating point.

    Returns:
        (…, M) of x's type.
    """
    units, step_of_x = round_rows(x.reshape(-1, x.size(-1)), INPUT_LIMIT)
    sums = torch._int_mm(units, rounded.T).to(x.dtype).mul_(step_of_x)
    steps = step.T.to(x.dtype)
    sums = sums.mul_(steps) if bias is None else torch.addcmul(bias, sums, steps, out=sums)
    return sums.view(*x.shape[:-1], -1)


def round_rows(rows: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """(N, K) floating point -> whole numbers up to ±limit in int8, and the steps (N, 1) they are multiples of.

    A row of zeros is one; one with a number that is not finite has a step that is not finite.
    """
    step = (rows.abs().amax(dim=1, keepdim=True) / limit).clamp_(min=torch.finfo(rows.dtype).tiny)
    return (rows / step).round_().to(torch.int8), step


@functools.cache
def weight_limit() -> int:
    """The largest whole number of a weight for which this processor's sums of products are exact."""
    largest = torch.full((16, 64), 127, dtype=torch.int8)
    return 127 if bool((torch._int_mm(largest, largest.T) == 64 * 127 * 127).all()) else 63


def quantized(model: Module) -> Module:
    """A copy of a model that takes its products in integers; for decoding only, without gradients.

    It has the memory of the model's parameters, so that the model must not be trained while the copy is in use. Its
    recurrent layers run cells step by step, by the cells' own `F.linear`, and give them their whole input at once: in
    integers the products of its parts do not add up to the same.
    """
    shared = {id(p): Int8Weight.of(p) if p.dim() == 2 else p.detach() for p in model.parameters()}
    made = copy.deepcopy(model, dict(shared))
    for part in made.modules():
        if isinstance(part, RecurrentLayer):
            part.recurrence = "loop"
        elif isinstance(part, Cell) and not isinstance(part, (AttentionCell, StackedCell)):
            part.backend = _WholeInput()
    return made
