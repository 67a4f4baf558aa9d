"""Dynamic int8 quantisation of a model for decoding on a CPU.

The matrix multiplication W x of a layer runs in 8-bit integers. Each row w of the weight has its own scale, computed
once; each input vector x has its own scale, computed when it arrives:

    s_w = max |w| / L,    q_w = round(w / s_w)        the weight, L = 127
    s_x = max |x| / 127,  q_x = round(x / s_x)        the input
    w · x ≈ s_w s_x (q_w · q_x)                       the sums in int32, exact

L is 63 on processors whose instructions add two byte products in 16 bits (x86 without VNNI), which could overflow.
Biases, normalisation, gates, states and softmaxes stay in floating point. Each input vector has its own scale, so the
translation of a sentence does not depend on the rest of its batch, except through the last bits of floating point,
which may occasionally round to the next integer. (Scales for each row on both sides are the vector-wise quantisation of
Dettmers et al. 2022, arXiv:2208.07339, without its treatment of outliers.)

In a copy of the model the matrices are tensors of the class `Int8Weight`. `torch.nn.functional.linear` multiplies them
in integers; every other operation treats them as ordinary tensors. All callers are thus covered, every `nn.Linear` and
a user's own cell included, and so are slices of a weight; an embedding that is also the output layer is looked up
exactly. These stay in floating point: multiplications written in another way (`x @ w`, `torch.gru_cell`), a matrix that
is assembled at each call (the recurrent one of an LSTM with a removed gate), and matrices with one input or one output,
where rounding costs more than the multiplication.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn.cells import Cell
from s2s.nn.recurrent import RecurrentLayer

INPUT_LIMIT = 127

Module = TypeVar("Module", bound=nn.Module)


class Int8Weight(Tensor):
    """A weight (M, K) that `F.linear` multiplies in integers.

    It shares the memory of the original tensor, which must not change any more. Its views are such weights, too.

    Attributes:
        cache: of the weight and its views: quantised rows with their scales, and concatenated weights.
    """

    cache: dict[Any, Any]

    @classmethod
    def of(cls, weight: Tensor, cache: dict[Any, Any] | None = None) -> Int8Weight:
        int8 = weight.detach().as_subclass(cls)
        int8.cache = {} if cache is None else cache
        return int8

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if func is F.linear:
                return _linear(*args, **kwargs)
            if func is torch.cat and all(isinstance(part, cls) for part in args[0]):
                return _cat(args[0], *args[1:], **kwargs)
            result = func(*args, **kwargs)
            if not (args and isinstance(args[0], cls)):
                return result
            if type(result) in (tuple, list):
                return type(result)(args[0]._view(part) for part in result)
            return args[0]._view(result)

    def _view(self, result: Any) -> Any:
        """The result of an operation on this weight, as an `Int8Weight` if it is a view."""
        if type(result) is not Tensor or result.untyped_storage().data_ptr() != self.untyped_storage().data_ptr():
            return result
        return Int8Weight.of(result, self.cache)

    def _key(self) -> tuple[Any, ...]:
        return self.data_ptr(), self.shape, self.stride()


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`, in integers for an `Int8Weight`: (…, K) -> (…, M) of the same dtype."""
    # With one input (K = 1) torch 2.13's `_int_mm` also returns wrong sums on a CPU.
    if not isinstance(weight, Int8Weight) or weight.dim() != 2 or 1 in weight.shape:
        return F.linear(input, weight, bias)
    key = weight._key()
    if key not in weight.cache:
        weight.cache[key] = quantize_rows(weight, weight_limit())
    q_w, s_w = weight.cache[key]
    q_x, s_x = quantize_rows(input.reshape(-1, input.size(-1)), INPUT_LIMIT)
    sums = torch._int_mm(q_x, q_w.T).to(input.dtype).mul_(s_x)
    scales = s_w.T.to(input.dtype)
    sums = sums.mul_(scales) if bias is None else torch.addcmul(bias, sums, scales, out=sums)
    return sums.view(*input.shape[:-1], -1)


def _cat(parts: Sequence[Int8Weight], dim: int = 0) -> Tensor:
    """`torch.cat`, cached: a cell that concatenates its weight at each step has it quantised once."""
    cache, key = parts[0].cache, (dim, *(part._key() for part in parts))
    if key not in cache:
        cache[key] = Int8Weight.of(torch.cat(list(parts), dim))
    return cache[key]  # type: ignore[no-any-return]


def quantize_rows(rows: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """(N, K) floating point -> int8 integers within ±limit, and the scale (N, 1) of each row.

    Zeros stay zeros; the scale of a row with a number that is not finite is not finite.
    """
    scale = (rows.abs().amax(dim=1, keepdim=True) / limit).clamp_(min=torch.finfo(rows.dtype).tiny)
    return (rows / scale).round_().to(torch.int8), scale


@functools.cache
def weight_limit() -> int:
    """The largest integer of a weight for which this processor's sums are exact."""
    largest = torch.full((16, 64), 127, dtype=torch.int8)
    return 127 if bool((torch._int_mm(largest, largest.T) == 64 * 127 * 127).all()) else 63


def quantized(model: Module) -> Module:
    """A copy of a model with int8 matrix multiplications; for decoding only, without gradients.

    It shares the memory of the model's parameters, so the model must not be trained while the copy is in use. Recurrent
    layers of the copy run the loop backend, whose `F.linear` is quantised, and project the whole input at once: in
    integers the projections of its parts do not add up to the same.
    """
    shared = {id(p): Int8Weight.of(p) if p.dim() == 2 else p.detach() for p in model.parameters()}
    int8 = copy.deepcopy(model, dict(shared))
    for module in int8.modules():
        if isinstance(module, RecurrentLayer):
            module.recurrence = "loop"
        elif isinstance(module, Cell):
            module.affine_input = False
    return int8
