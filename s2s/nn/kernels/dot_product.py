"""Scaled dot-product attention for CPUs as one node of the autograd graph.

    s = Q Kᵀ / √d + bias,  p = softmax(s),  o = p V

and with δ for the gradient of the loss

    δV = pᵀ δo,    δp = δo Vᵀ,    δs = p ⊙ (δp - Σ_j p_j δp_j),    δQ = δs K / √d,    δK = δsᵀ Q / √d

Sentences are short, and torch's softmax takes ten times as long for a row of 15 numbers as for one of 16, the width of
a vector register. Keys are therefore padded to 16, and the bias masks the padding. (torch's fused attention is designed
for long sequences and takes several times as long here, most of it in its backward pass.)

B sentences, h heads, T queries, S keys, d width of a head.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from s2s.nn.kernels.function import Function

MIN_KEYS = 16


class DotProduct(Function):
    """`DotProduct.apply(query, key, value, bias)`.

    query (B, h, T, d), key and value (B, h, S, d), all of one dtype; bias broadcasts to (B, h, T, S) and is -inf where
    attention is masked; None for no mask. It is a constant: no gradient reaches it.

    Returns:
        (B, h, T, d) in their dtype.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        keys = key.size(2)
        if keys < MIN_KEYS:
            missing = MIN_KEYS - keys
            key, value = pad(key, (0, 0, 0, missing)), pad(value, (0, 0, 0, missing))
            bias = query.new_zeros(1, 1, 1, keys) if bias is None else bias
            bias = pad(bias, (0, missing), value=-math.inf)
        scores = query @ key.transpose(2, 3)
        scores = scores.mul_(query.size(3) ** -0.5) if bias is None else bias.add(scores, alpha=query.size(3) ** -0.5)
        p = torch.softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))
        ctx.save_for_backward(query, key, value, p)
        ctx.keys = keys
        return p.to(value.dtype) @ value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, p = ctx.saved_tensors
        dvalue = p.to(value.dtype).transpose(2, 3) @ grad
        dp = (grad @ value.transpose(2, 3)).to(p.dtype)
        ds = torch._softmax_backward_data(dp, p, -1, p.dtype).mul_(query.size(3) ** -0.5).to(query.dtype)
        dkey = ds.transpose(2, 3) @ query
        return ds @ key, dkey[:, :, : ctx.keys], dvalue[:, :, : ctx.keys], None
