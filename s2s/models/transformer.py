"""The Transformer (Vaswani et al. 2017): attention without recurrence, so all positions are computed at once.

    attention(Q, K, V) = softmax(Q Kᵀ / √d) V                                  (eq. 1), in several heads side by side
    feed-forward(x)    = max(0, x W_1 + b_1) W_2 + b_2                          (eq. 2)

`positions` says how the layers learn where a word stands, see `s2s.nn.positions`: `sinusoidal`, the paper's vectors
added to the embeddings, or `rotary`, where self-attention turns queries and keys by their positions and its scores see
distances only. Attention over the source has no positions of its own in either.

`norm="pre"` normalises the input of each sub-layer, x + f(LN(x)), with one more normalisation at the end; it trains
without tricks (Xiong et al. 2020). `norm="post"` is the paper's LN(x + f(x)).

In decoding each self-attention layer keeps the keys and values of the tokens so far (`DecodeState.rows`), keys as they
were turned, for they stay where they are; those of the source are computed once and shared by all hypotheses of a
sentence (`DecodeState.shared`).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s import devices
from s2s.config import PositiveInt, Probability
from s2s.errors import S2SError
from s2s.models.interface import Decoder, DecodeState, Encoder, Memory
from s2s.nn.dropout import Dropout
from s2s.nn.kernels.dot_product import DotProduct
from s2s.nn.kernels.function import compute_dtype
from s2s.nn.positions import Positions, Turns, sinusoidal_positions, turned, turns

Norm = Literal["pre", "post"]


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention in `heads` heads of width E / heads.

    Queries, keys and values are projected apart from attending, so that keys and values can be kept.
    """

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        if size % heads:
            raise S2SError(
                f"config: model.embedding_size={size} is not a multiple of heads={heads}; change one of them"
            )
        self.heads = heads
        self.query = nn.Linear(size, size)
        self.key_value = nn.Linear(size, 2 * size)
        self.output = nn.Linear(size, size)
        for layer in (self.query, self.key_value, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def keys_values(self, x: Tensor, by: Turns | None = None) -> tuple[Tensor, Tensor]:
        """(B, S, E) -> keys, turned where asked, and values, each (B, heads, S, E / heads)."""
        key, value = self.key_value(x).chunk(2, dim=-1)
        return self._placed(key, by), self._split(value)

    def forward(self, x: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, by: Turns | None = None) -> Tensor:
        """Looks.

        Args:
            x: (B, T, E), of which queries are made.
            key, value: from `keys_values`.
            bias: broadcasts to (B, heads, T, S), -inf where a query may not look.
            by: what queries are turned by.

        Returns:
            (B, T, E).
        """
        query = self._placed(self.query(x), by)
        if (
            devices.on_gpu(x) and not torch.are_deterministic_algorithms_enabled()
        ):  # its backward pass adds in any order
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        else:
            mixed = DotProduct.apply(query, key, value, bias)  # type: ignore[no-untyped-call]
        return self.output(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def weights(self, x: Tensor, key: Tensor, bias: Tensor) -> Tensor:
        """The softmax itself, (B, heads, T, S), for looking."""
        query = self._split(self.query(x))
        return torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(query.size(-1)) + bias, dim=-1)

    def _placed(self, x: Tensor, by: Turns | None) -> Tensor:
        """(B, T, E) -> (B, heads, T, E / heads), turned where asked."""
        split = self._split(x)
        return split if by is None else turned(split, by)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call, no-any-return]


def check_positions(positions: Positions, size: int, heads: int) -> None:
    """Raises S2SError where there are no pairs to turn."""
    if positions == "rotary" and size // heads % 2:
        raise S2SError(
            f"config: positions=rotary turns pairs, and model.embedding_size={size} / heads={heads} is odd; "
            "change one of them, or take positions=sinusoidal"
        )


def place(positions: Positions, start: int, embedded: Tensor, heads: int) -> tuple[Tensor, Turns | None]:
    """What the first layer reads of tokens (B, T, E) from position `start` on, and what all layers turn by."""
    time, size = embedded.size(1), embedded.size(2)
    if positions == "rotary":
        return embedded, turns(start, time, size // heads, embedded)
    return embedded + sinusoidal_positions(start, time, embedded), None


def looking_bias(mask: Tensor, like: Tensor) -> Tensor:
    """What is added to scores so that queries look where mask is True only, in the type of products."""
    return torch.zeros(mask.shape, dtype=compute_dtype(like), device=mask.device).masked_fill_(~mask, -torch.inf)


class Residual(nn.Module):
    """The path around a sub-layer: normalisation before or after, dropout on what the sub-layer adds."""

    def __init__(self, size: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.dropout = Dropout(dropout)
        self.pre = norm == "pre"

    def enter(self, x: Tensor) -> Tensor:
        """What the sub-layer reads."""
        return self.norm(x) if self.pre else x

    def leave(self, x: Tensor, added: Tensor) -> Tensor:
        """x + what the sub-layer made."""
        x = x + self.dropout(added)
        return x if self.pre else self.norm(x)


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between, at each position by itself."""

    def __init__(self, size: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Linear(size, inner)
        self.outer = nn.Linear(inner, size)
        self.dropout = Dropout(dropout)
        for layer in (self.inner, self.outer):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.dropout(torch.relu(self.inner(x))))  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward."""

    def __init__(self, size: int, heads: int, feedforward: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(size, heads)
        self.feedforward = FeedForward(size, feedforward, dropout)
        self.around_attention = Residual(size, dropout, norm)
        self.around_feedforward = Residual(size, dropout, norm)

    def forward(self, x: Tensor, bias: Tensor, by: Turns | None) -> Tensor:
        inner = self.around_attention.enter(x)
        x = self.around_attention.leave(x, self.attention(inner, *self.attention.keys_values(inner, by), bias, by))
        return self.around_feedforward.leave(x, self.feedforward(self.around_feedforward.enter(x)))


class TransformerEncoder(Encoder, name="transformer"):
    """Its width is the embedding's. The summary is the mean over real positions."""

    def __init__(
        self,
        input_size: int,
        *,
        layers: PositiveInt,
        heads: PositiveInt,
        feedforward: PositiveInt,
        dropout: Probability,
        norm: Norm,
        positions: Positions = "sinusoidal",
    ) -> None:
        super().__init__()
        check_positions(positions, input_size, heads)
        self.positions, self.heads = positions, heads
        self.layers = nn.ModuleList(EncoderLayer(input_size, heads, feedforward, dropout, norm) for _ in range(layers))
        self.final = nn.LayerNorm(input_size) if norm == "pre" else nn.Identity()
        self.output_size = self.summary_size = input_size

    def forward(self, embedded: Tensor, mask: Tensor) -> Memory:
        x, by = place(self.positions, 0, embedded, self.heads)
        looks = looking_bias(mask[:, None, None, :], embedded)
        for layer in self.layers:
            x = layer(x, looks, by)
        values = self.final(x).masked_fill(~mask.unsqueeze(-1), 0.0)
        return Memory(values, mask, values.sum(dim=1) / mask.sum(dim=1, keepdim=True).to(values.dtype))


class DecoderLayer(nn.Module):
    """Self-attention over the target so far, attention over the source, feed-forward."""

    def __init__(self, size: int, memory: int, heads: int, feedforward: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(size, heads)
        self.cross_attention = MultiHeadAttention(size, heads)
        if memory != size:  # the encoder is of another width
            self.cross_attention.key_value = nn.Linear(memory, 2 * size)
        self.feedforward = FeedForward(size, feedforward, dropout)
        self.around_self = Residual(size, dropout, norm)
        self.around_cross = Residual(size, dropout, norm)
        self.around_feedforward = Residual(size, dropout, norm)


class TransformerDecoder(Decoder, name="transformer"):
    """Its width is the embedding's; the encoder's may be another."""

    reads = "self-attention"

    def __init__(
        self,
        input_size: int,
        memory_size: int,
        summary_size: int,
        *,
        layers: PositiveInt,
        heads: PositiveInt,
        feedforward: PositiveInt,
        dropout: Probability,
        norm: Norm,
        positions: Positions = "sinusoidal",
    ) -> None:
        super().__init__()
        check_positions(positions, input_size, heads)
        self.positions, self.heads = positions, heads
        self.layers = nn.ModuleList(
            DecoderLayer(input_size, memory_size, heads, feedforward, dropout, norm) for _ in range(layers)
        )
        self.final = nn.LayerNorm(input_size) if norm == "pre" else nn.Identity()
        self.output_size = input_size

    def init_state(self, memory: Memory) -> DecodeState:
        shared, rows = {"mask": memory.mask}, {}
        for n, layer in enumerate(self._layers()):
            key, value = layer.cross_attention.keys_values(memory.values)
            shared[f"{n}.key"], shared[f"{n}.value"] = key, value
            rows[f"{n}.key"] = rows[f"{n}.value"] = key[:, :, :0]  # no target token yet
        return DecodeState(shared, rows)

    def forward(self, embedded: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        hidden, rows, _ = self._run(embedded, state, look=False)
        return hidden, DecodeState(state.shared, rows)

    def attention(self, embedded: Tensor, state: DecodeState) -> dict[str, Tensor]:
        return self._run(embedded, state, look=True)[2]

    def _run(
        self, embedded: Tensor, state: DecodeState, look: bool
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Hidden vectors, the new key/value caches, and (where asked) the cross-attention's weights by head."""
        past, time = state.rows["0.key"].size(2), embedded.size(1)
        sentences = state.shared["mask"].size(0)
        x, by = place(self.positions, past, embedded, self.heads)
        source = looking_bias(state.shared["mask"][:, None, None, :], embedded)
        causal = None
        if time > 1:
            seen_so_far = torch.ones(1, 1, time, past + time, dtype=torch.bool, device=x.device).tril(past)
            causal = looking_bias(seen_so_far, embedded)
        rows, seen = {}, {}
        for n, layer in enumerate(self._layers()):
            inner = layer.around_self.enter(x)
            key, value = layer.self_attention.keys_values(inner, by)
            if past:
                key = torch.cat([state.rows[f"{n}.key"], key], dim=2)
                value = torch.cat([state.rows[f"{n}.value"], value], dim=2)
            rows[f"{n}.key"], rows[f"{n}.value"] = key, value
            x = layer.around_self.leave(x, layer.self_attention(inner, key, value, causal, by))
            # The hypotheses of a sentence stand side by side in time here, so that its keys serve all of them.
            inner = layer.around_cross.enter(x).reshape(sentences, -1, x.size(-1))
            key, value = state.shared[f"{n}.key"], state.shared[f"{n}.value"]
            x = layer.around_cross.leave(x, layer.cross_attention(inner, key, value, source).reshape(x.shape))
            if look:
                weights = layer.cross_attention.weights(inner, key, source)
                for head, matrix in enumerate(weights.unbind(1), 1):
                    seen[f"layer{n + 1}.head{head}"] = matrix.reshape(x.size(0), time, -1)
            x = layer.around_feedforward.leave(x, layer.feedforward(layer.around_feedforward.enter(x)))
        return self.final(x), rows, seen

    def _layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]
