"""The Transformer (Vaswani et al. 2017): attention without recurrence, so all steps are computed at once.

    attention(Q, K, V) = softmax(Q Kᵀ / √d) V                                  (eq. 1), in several heads side by side
    feed-forward(x)    = max(0, x W_1 + b_1) W_2 + b_2                          (eq. 2)

`positions` selects the position encoding of `s2s.nn.positions`: `sinusoidal`, added to the embeddings as in the paper,
or `rotary`, where self-attention rotates queries and keys. Attention over the source has no positions of its own.

`norm="pre"` normalises the input of each sub-layer, x + f(LN(x)), with one more normalisation at the end; it trains
without tricks (Xiong et al. 2020). `norm="post"` is the paper's LN(x + f(x)).

In decoding, each self-attention layer caches the keys (rotated) and values of the tokens so far (`DecodeState.rows`).
Keys and values of the source are computed once and shared by all hypotheses of a sentence (`DecodeState.shared`).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s import devices
from s2s.errors import S2SError
from s2s.models.interface import Decoder, DecodeState, Encoder, Memory
from s2s.nn.dropout import Dropout
from s2s.nn.kernels.dot_product import DotProduct
from s2s.nn.kernels.function import compute_dtype
from s2s.nn.positions import CosSin, Positions, rotary_positions, rotate, sinusoidal_positions
from s2s.schema import Layers, PositiveInt, Probability

Norm = Literal["pre", "post"]


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
            output = F.scaled_dot_product_attention(query, *memory, attn_mask=bias)
        else:
            output = DotProduct.apply(query, *memory, bias)  # type: ignore[no-untyped-call]
        return self.output(output.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def weights(self, x: Tensor, memory: KeysValues, bias: Tensor) -> Tensor:
        """The weights (B, heads, T, S) of attention over the source, without rotary positions, for inspection."""
        query = self._heads(self.query(x))
        return torch.softmax(query @ memory.keys.transpose(-1, -2) / math.sqrt(query.size(-1)) + bias, dim=-1)

    def _heads(self, x: Tensor, cos_sin: CosSin | None = None) -> Tensor:
        """(B, T, E) -> (B, heads, T, E / heads)."""
        split = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call]
        return split if cos_sin is None else rotate(split, cos_sin)


def check_positions(positions: Positions, size: int, heads: int) -> None:
    """Raises S2SError if heads of an odd width cannot be rotated."""
    if positions == "rotary" and size // heads % 2:
        raise S2SError(
            f"config: positions=rotary rotates pairs, and model.embedding_size={size} / heads={heads} is odd; "
            "change one of them, or use positions=sinusoidal"
        )


def add_positions(positions: Positions, start: int, embedded: Tensor, heads: int) -> tuple[Tensor, CosSin | None]:
    """The first layer's input for tokens (B, T, E) from position `start` on, and the rotary tables of all layers."""
    time, size = embedded.size(1), embedded.size(2)
    if positions == "rotary":
        return embedded, rotary_positions(start, time, size // heads, embedded)
    return embedded + sinusoidal_positions(start, time, embedded), None


def attention_bias(mask: Tensor, like: Tensor) -> Tensor:
    """A bias on attention scores: 0 where mask is True, -inf elsewhere, in the compute dtype."""
    return torch.zeros(mask.shape, dtype=compute_dtype(like), device=mask.device).masked_fill_(~mask, -torch.inf)


class Residual(nn.Module):
    """Add & Norm (Vaswani et al. 2017, figure 1) around a sub-layer, with dropout on its output; pre- or post-norm."""

    def __init__(self, size: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.dropout = Dropout(dropout)
        self.pre = norm == "pre"

    def before(self, x: Tensor) -> Tensor:
        """The sub-layer's input."""
        return self.norm(x) if self.pre else x

    def after(self, x: Tensor, output: Tensor) -> Tensor:
        """x plus the sub-layer's output."""
        x = x + self.dropout(output)
        return x if self.pre else self.norm(x)


class FeedForward(nn.Module):
    """Position-wise feed-forward network: two linear layers with a ReLU between."""

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

    def forward(self, x: Tensor, bias: Tensor, cos_sin: CosSin | None) -> Tensor:
        inner = self.around_attention.before(x)
        memory = self.attention.keys_values(inner, cos_sin)
        x = self.around_attention.after(x, self.attention(inner, memory, bias, cos_sin))
        return self.around_feedforward.after(x, self.feedforward(self.around_feedforward.before(x)))


class TransformerEncoder(Encoder, name="transformer"):
    """A stack of encoder layers of the embedding's width. The summary is the mean over real tokens."""

    def __init__(
        self,
        input_size: int,
        *,
        layers: Layers,
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
        x, cos_sin = add_positions(self.positions, 0, embedded, self.heads)
        bias = attention_bias(mask[:, None, None, :], embedded)
        for layer in self.layers:
            x = layer(x, bias, cos_sin)
        values = self.final(x).masked_fill(~mask.unsqueeze(-1), 0.0)
        return Memory(values, mask, values.sum(dim=1) / mask.sum(dim=1, keepdim=True).to(values.dtype))


class AttentionInputs(NamedTuple):
    """Attention biases and rotary tables, shared by the layers of a decoder in one call."""

    source: Tensor  # (B, 1, 1, S)
    causal: Tensor | None  # (1, 1, T, past + T); None for a single new step
    cos_sin: CosSin | None


class DecoderLayer(nn.Module):
    """Self-attention over the target so far, attention over the source, feed-forward."""

    def __init__(self, size: int, memory: int, heads: int, feedforward: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(size, heads)
        self.cross_attention = MultiHeadAttention(size, heads, memory)
        self.feedforward = FeedForward(size, feedforward, dropout)
        self.around_self = Residual(size, dropout, norm)
        self.around_cross = Residual(size, dropout, norm)
        self.around_feedforward = Residual(size, dropout, norm)

    def forward(
        self, x: Tensor, memory: KeysValues, cache: KeysValues, masks: AttentionInputs, return_weights: bool = False
    ) -> tuple[Tensor, KeysValues, Tensor | None]:
        """Runs the layer over new target steps.

        Args:
            x: (N, T, E).
            memory: keys and values of the source, one for each of B sentences.
            cache: keys and values of the target steps so far, (N, heads, past, E / heads).

        Returns:
            (N, T, E); the cache with the new steps; with `return_weights` the attention weights over the source,
            (B, heads, N / B · T, S).
        """
        inner = self.around_self.before(x)
        new = self.self_attention.keys_values(inner, masks.cos_sin)
        if cache.keys.size(2):
            new = KeysValues(*(torch.cat(pair, dim=2) for pair in zip(cache, new, strict=True)))
        x = self.around_self.after(x, self.self_attention(inner, new, masks.causal, masks.cos_sin))
        # The hypotheses of a sentence stand side by side in time here, so that its keys serve all of them.
        inner = self.around_cross.before(x).reshape(memory.keys.size(0), -1, x.size(-1))
        x = self.around_cross.after(x, self.cross_attention(inner, memory, masks.source).reshape(x.shape))
        weights = self.cross_attention.weights(inner, memory, masks.source) if return_weights else None
        return self.around_feedforward.after(x, self.feedforward(self.around_feedforward.before(x))), new, weights


class TransformerDecoder(Decoder, name="transformer"):
    """A stack of decoder layers of the embedding's width; the encoder may have another."""

    reads = "self-attention"

    def __init__(
        self,
        input_size: int,
        memory_size: int,
        summary_size: int,
        *,
        layers: Layers,
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
        for n, layer in enumerate(self.layers):
            keys, values = layer.cross_attention.keys_values(memory.values)  # type: ignore[union-attr, operator]
            shared[f"{n}.key"], shared[f"{n}.value"] = keys, values
            rows[f"{n}.key"] = rows[f"{n}.value"] = keys[:, :, :0]  # no target token yet
        return DecodeState(shared, rows)

    def forward(self, embedded: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        hidden, rows, _ = self._run(embedded, state)
        return hidden, DecodeState(state.shared, rows)

    def attention(self, embedded: Tensor, state: DecodeState) -> dict[str, Tensor]:
        return self._run(embedded, state, return_weights=True)[2]

    def _run(
        self, embedded: Tensor, state: DecodeState, return_weights: bool = False
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Hidden vectors, the new caches, and with `return_weights` the attention weights over the source by head."""
        past, time = state.rows["0.key"].size(2), embedded.size(1)
        x, cos_sin = add_positions(self.positions, past, embedded, self.heads)
        causal = None
        if time > 1:
            visible = torch.ones(1, 1, time, past + time, dtype=torch.bool, device=x.device).tril(past)
            causal = attention_bias(visible, embedded)
        masks = AttentionInputs(attention_bias(state.shared["mask"][:, None, None, :], embedded), causal, cos_sin)
        rows, weights = {}, {}
        for n, layer in enumerate(self.layers):
            memory, cache = (KeysValues(part[f"{n}.key"], part[f"{n}.value"]) for part in (state.shared, state.rows))
            x, new, by_head = layer(x, memory, cache, masks, return_weights)
            rows[f"{n}.key"], rows[f"{n}.value"] = new
            if by_head is not None:
                for head, matrix in enumerate(by_head.unbind(1), 1):
                    weights[f"layer{n + 1}.head{head}"] = matrix.reshape(x.size(0), time, -1)
        return self.final(x), rows, weights
