"""CUDA's autocast on a CPU: which operations run in bf16 there, in fp32, in the widest type of their inputs.

The lists are those of https://docs.pytorch.org/docs/stable/amp.html#cuda-op-specific-behavior, as far as a translation
model may use them. They differ from the CPU's, and operations that write into a given tensor are cast on neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from s2s.nn.recurrent import set_recurrence
from tests.models.contract import COVERING


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LOWER = _words("""
    __matmul__ __rmatmul__ addbmm addmm addmv addr baddbmm bmm chain_matmul multi_dot conv1d conv2d linear matmul mm mv
    prelu scaled_dot_product_attention einsum gru_cell lstm_cell rnn_tanh_cell
""")
FP32 = _words("""
    __pow__ __rdiv__ __rpow__ __rtruediv__ cosh cosine_similarity cross_entropy cumprod cumsum dist exp expm1 group_norm
    kl_div l1_loss layer_norm log log10 log1p log2 log_softmax logsumexp mse_loss nll_loss norm normalize pow prod
    reciprocal rsqrt sinh softmax softmin softplus sum tan
""")
WIDEST = _words("addcdiv addcmul atan2 bilinear cat cross dot index_put scatter_add stack tensordot")
AUTOCAST = frozenset(["_enter_autocast", "_exit_autocast"])

# Models that take each way of a GPU once; the other models of the contract's fast tests are slow here.
FAST = ("lstm-fixed-bi-1", "gru-after-bahdanau-current-feeding-bi-1", "sru-bahdanau-bi-1", "mgu-bahdanau-feeding-uni-1")
FAST += ("own-bahdanau-feeding-uni-1", "transformer-pre", "attention-into-ssru-post-none")
by_name = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in COVERING]
)


class CudaAutocast(TorchFunctionMode):
    """Where the CPU's autocast is on, operations are cast as CUDA's would cast them."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in AUTOCAST or not torch.is_autocast_enabled("cpu"):
            return func(*args, **kwargs)
        if "out" not in kwargs:
            dtype = _dtype(name, args, kwargs)
            if dtype is not None:
                args, kwargs = tree_map_only(Tensor, lambda t: _cast(t, dtype), (tuple(args), kwargs))
        with torch.autocast("cpu", enabled=False):
            return func(*args, **kwargs)


def _dtype(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> torch.dtype | None:
    if name in LOWER:
        return torch.get_autocast_dtype("cpu")
    if name in FP32 and kwargs.get("dtype") is None:
        return torch.float32
    if name in WIDEST:
        found: list[torch.dtype] = []
        tree_map_only(Tensor, lambda t: found.append(t.dtype), (tuple(args), dict(kwargs)))
        return torch.float32 if torch.float32 in found and torch.bfloat16 in found else None
    return None


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """float64 and whole numbers stay what they are."""
    return tensor.to(dtype) if tensor.dtype in (torch.float32, torch.bfloat16, torch.float16) else tensor


def lay_out(model: nn.Module, layout: str, recurrence: str = "auto") -> None:
    """Sets the layout and the recurrence of all layers."""
    set_recurrence(model, recurrence, torch.device("cpu"), layout)  # type: ignore[arg-type]
