"""Multi-head attention (Vaswani et al. 2017, section 3.2), in one sequence or over another one.

attention(Q, K, V) = softmax(Q Kᵀ / √d) V                                  (eq. 1), in several heads side by side
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from s2s import devices
from s2s.errors import S2SError
from s2s.nn.kernels.dot_product import DotProduct
from s2s.nn.kernels.function import compute_dtype
from s2s.nn.positions import CosSin, rotate

# Without cuDNN's, which torch prefers on new GPUs: it needs up to half a second to plan each new shape of a batch, and
# nearly every batch has one.
_GPU_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


class KeysValues(NamedTuple):
    """Keys and values of attention, each (B, heads, S, E / heads)."""

    keys: Tensor
    values: Tensor


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention in `heads` heads of width E / heads.

    Keys and values are projected apart from the queries, so that they can be cached.

    Args:
        size: E, width of queries and outputs.
        heads: their number.
        memory_size: input width of the key and value projection.
    """

    def __init__(self, size: int, heads: int, memory_size: int | None = None) -> None:
        super().__init__()
        if size % heads:
            raise S2SError(
                f"config: model.embedding_size={size} is not a multiple of heads={heads}; change one of them"
            )
        self.heads = heads
        self.query = nn.Linear(size, size)
        self.key_value = nn.Linear(size if memory_size is None else memory_size, 2 * size)
        self.output = nn.Linear(size, size)
        for layer in (self.query, self.key_value, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def keys_values(self, x: Tensor, cos_sin: CosSin | None = None) -> KeysValues:
        """Keys, rotated by `cos_sin`, and values of x (B, S, ·)."""
        keys, values = self.key_value(x).chunk(2, dim=-1)
        return KeysValues(self._heads(keys, cos_sin), self._heads(values))

    def forward(self, x: Tensor, memory: KeysValues, bias: Tensor | None, cos_sin: CosSin | None = None) -> Tensor:
        """Multi-head attention of queries made from x.

        Args:
            x: (B, T, E).
            memory: from `keys_values`.
            bias: broadcasts to (B, heads, T, S); -inf where attention is masked.
            cos_sin: rotates the queries.

        Returns:
            (B, T, E).
        """
        query = self._heads(self.query(x), cos_sin)
        # The backward pass of torch's function adds in any order.
        if devices.on_gpu(x) and not torch.are_deterministic_algorithms_enabled():
            with sdpa_kernel(_GPU_KERNELS):
                output = F.scaled_dot_product_attention(query, *memory, attn_mask=bias)
        else:
            output = DotProduct.apply(query, *memory, bias)  # type: ignore[no-untyped-call]
        return self.output(output.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def weights(self, x: Tensor, memory: KeysValues, bias: Tensor | None, cos_sin: CosSin | None = None) -> Tensor:
        """The weights (B, heads, T, S) of `forward`, for inspection."""
        query = self._heads(self.query(x), cos_sin)
        scores = query @ memory.keys.transpose(-1, -2) / math.sqrt(query.size(-1))
        return torch.softmax(scores if bias is None else scores + bias, dim=-1)

    def _heads(self, x: Tensor, cos_sin: CosSin | None = None) -> Tensor:
        """(B, T, E) -> (B, heads, T, E / heads)."""
        split = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call]
        return split if cos_sin is None else rotate(split, cos_sin)


def attention_bias(mask: Tensor, like: Tensor) -> Tensor:
    """A bias on attention scores: 0 where mask is True, -inf elsewhere, in the compute dtype."""
    return torch.zeros(mask.shape, dtype=compute_dtype(like), device=mask.device).masked_fill_(~mask, -torch.inf)
