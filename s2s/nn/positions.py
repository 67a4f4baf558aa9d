"""Position encodings, which tell a network without recurrence the order of the words.

Recurrent (Neishi & Yoshinaga 2019, section 3.2): a recurrent layer, here a GRU, reads the embeddings before the first
block; see `s2s.models.blocks`.

Sinusoidal (Vaswani et al. 2017, section 3.5): a vector for each position m is added to the embedding of width E,

    PE(m, 2i) = sin(m ω_i),  PE(m, 2i + 1) = cos(m ω_i),    ω_i = 10000^(-2i/E)

Rotary (RoFormer; Su et al. 2021, section 3.4): self-attention rotates each pair of components of a query or key of
width d, (x_2i, x_2i+1), by an angle proportional to its position,

    x'_2i   = x_2i cos(m θ_i) - x_2i+1 sin(m θ_i)
    x'_2i+1 = x_2i sin(m θ_i) + x_2i+1 cos(m θ_i),          θ_i = 10000^(-2i/d)

The product of two rotated pairs depends on the difference of their angles, so the score of a query at m and a key at n
depends on m - n. Positions are relative, although each token is rotated once, by its own position. Values are not
rotated.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Positions = Literal["none", "sinusoidal", "rotary", "recurrent"]
BASE = 10000.0


class CosSin(NamedTuple):
    """Cosines and sines of the rotary angles of T positions, each (T, d / 2), or (N, 1, T, d / 2) by hypothesis."""

    cos: Tensor
    sin: Tensor


def sinusoidal_positions(start: int | Tensor, length: int, like: Tensor) -> Tensor:
    """Position vectors (length, E) of positions start … start + length - 1; E and dtype of `like` (…, E).

    With a start for each of N hypotheses, (N, 1): (N, length, E).
    """
    width = like.size(-1)
    angle = _angles(start, length, width, like)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)[..., :width].to(like.dtype).to(like.device)


def rotary_positions(start: int | Tensor, length: int, width: int, like: Tensor) -> CosSin:
    """The tables for queries and keys of an even width at positions start … start + length - 1; at least fp32.

    With a start for each of N hypotheses, (N, 1, 1): tables of each.
    """
    angle, dtype = _angles(start, length, width, like), torch.promote_types(like.dtype, torch.float32)
    return CosSin(angle.cos().to(dtype).to(like.device), angle.sin().to(dtype).to(like.device))


def rotate(x: Tensor, cos_sin: CosSin) -> Tensor:
    """Queries or keys (…, T, d), each pair of components rotated, in their dtype."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)  # type: ignore[no-untyped-call]
    pairs = [even * cos_sin.cos - odd * cos_sin.sin, even * cos_sin.sin + odd * cos_sin.cos]
    return torch.stack(pairs, dim=-1).flatten(-2).to(x.dtype)


def _angles(start: int | Tensor, length: int, width: int, like: Tensor) -> Tensor:
    """m ω_i, (…, length, ⌈width / 2⌉), in float64, as m may be large; on the CPU if the device has no float64.

    A tensor of starts has the axes of the result before the last, its last of size 1; a single one has none.
    """
    device = torch.device("cpu") if like.device.type == "mps" else like.device
    start = start.to(device) if isinstance(start, Tensor) else start
    position = (torch.arange(length, device=device, dtype=torch.float64) + start).unsqueeze(-1)
    even = torch.arange(0, width, 2, device=device, dtype=torch.float64)
    return position * torch.exp(-math.log(BASE) * even / width)
