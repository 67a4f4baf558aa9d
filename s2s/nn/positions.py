"""Where a word stands, told to a network that sees all words at once: without it a sentence is a bag of words.

Sinusoidal (Vaswani et al. 2017, section 3.5): a vector for each position m, added to the embedding of width E,

    PE(m, 2i) = sin(m ω_i),  PE(m, 2i + 1) = cos(m ω_i),    ω_i = 10000^(-2i/E)

Rotary (RoFormer; Su et al. 2021, section 3.4): nothing is added. In self-attention each pair of numbers of a query or
key of width d, (x_2i, x_2i+1), is turned in its plane by an angle in proportion to the position,

    x'_2i   = x_2i cos(m θ_i) - x_2i+1 sin(m θ_i)
    x'_2i+1 = x_2i sin(m θ_i) + x_2i+1 cos(m θ_i),          θ_i = 10000^(-2i/d)

A product of two turned pairs depends on the angle between them, so the score of a query at m and a key at n depends on
m - n: positions are relative, though each word is turned by its own alone, once. Values are not turned.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Positions = Literal["sinusoidal", "rotary"]
BASE = 10000.0


class Turns(NamedTuple):
    """By what the pairs of T positions are turned: cos and sin of the angles, each (T, d / 2)."""

    cos: Tensor
    sin: Tensor


def sinusoidal_positions(start: int, length: int, like: Tensor) -> Tensor:
    """Position vectors of positions start … start + length - 1: (length, E), E and type from `like` (…, E)."""
    width = like.size(-1)
    angle = _angles(start, length, width, like)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :width].to(like.dtype).to(like.device)


def turns(start: int, length: int, width: int, like: Tensor) -> Turns:
    """Turns of positions start … start + length - 1 for queries and keys of an even width; at least fp32."""
    angle, exact = _angles(start, length, width, like), torch.promote_types(like.dtype, torch.float32)
    return Turns(angle.cos().to(exact).to(like.device), angle.sin().to(exact).to(like.device))


def turned(x: Tensor, by: Turns) -> Tensor:
    """Queries or keys (…, T, d) with each pair turned, in their type."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)  # type: ignore[no-untyped-call]
    pairs = torch.stack([even * by.cos - odd * by.sin, even * by.sin + odd * by.cos], dim=-1)
    return pairs.flatten(-2).to(x.dtype)


def _angles(start: int, length: int, width: int, like: Tensor) -> Tensor:
    """m ω_i: (length, ⌈width / 2⌉), in float64 because m may be large; on the CPU where the device has no float64."""
    device = torch.device("cpu") if like.device.type == "mps" else like.device
    position = torch.arange(start, start + length, device=device, dtype=torch.float64).unsqueeze(1)
    even = torch.arange(0, width, 2, device=device, dtype=torch.float64)
    return position * torch.exp(-math.log(BASE) * even / width)
