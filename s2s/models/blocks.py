"""Stacks of blocks: the Transformer (Vaswani et al. 2017) and its relatives, which differ in their mixer only.

A block has three sub-layers, each with a residual connection and normalisation: a mixer, in which the positions of one
sequence exchange information (`s2s.nn.mixers`); attention over the source, in a decoder; and a position-wise
feed-forward network, which `feedforward=0` leaves out,

    feed-forward(x) = max(0, x W_1 + b_1) W_2 + b_2                             (Vaswani et al. 2017, eq. 2)

`norm="pre"` normalises the input of each sub-layer, x + f(LN(x)), with one more normalisation at the end; it trains
without tricks (Xiong et al. 2020). `norm="post"` is the Transformer's own LN(x + f(x)). `norm="none"` is (x + f(x)) √½,
the residual connection of Gehring et al. 2017 (section 3.5).

`positions` selects the position encoding of `s2s.nn.positions`: `sinusoidal`, added to the embeddings as in the
Transformer; `rotary`, where self-attention rotates queries and keys; `recurrent`, a recurrent layer before the first
block; or `none`. Attention over the source has no positions of its own.

In decoding, `DecodeState.rows` holds the rows of the mixers. Keys and values of the source are computed once and shared
by all hypotheses of a sentence (`DecodeState.shared`). A decoder-only model has no attention over the source: its
blocks read the source as a prefix of the target, see `s2s.models.decoder_only`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from s2s.errors import S2SError
from s2s.models.interface import Decoder, DecodeState, Encoder, Memory
from s2s.nn.dropout import Dropout
from s2s.nn.mixers import MIXERS, AddSinusoids, Mixer, Recurrent, Rows, SelfAttention, mix
from s2s.nn.multi_head import KeysValues, MultiHeadAttention, attention_bias
from s2s.nn.positions import Positions
from s2s.schema import Layers, NonNegativeInt, PositiveInt, Probability, build

Norm = Literal["pre", "post", "none"]


class Residual(nn.Module):
    """Add & Norm (Vaswani et al. 2017, figure 1) around a sub-layer, with dropout on its output."""

    def __init__(self, size: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.norm = nn.Identity() if norm == "none" else nn.LayerNorm(size)
        self.dropout = Dropout(dropout)
        self.kind = norm

    def before(self, x: Tensor) -> Tensor:
        """The sub-layer's input."""
        return self.norm(x) if self.kind == "pre" else x

    def after(self, x: Tensor, output: Tensor) -> Tensor:
        """x plus the sub-layer's output."""
        x = x + self.dropout(output)
        return self.norm(x) if self.kind == "post" else x * 0.5**0.5 if self.kind == "none" else x


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


class Block(nn.Module):
    """Mixer, attention over the source if there is one to attend to, feed-forward network."""

    def __init__(
        self,
        mixer: Mixer,
        size: int,
        feedforward: int,
        dropout: float,
        norm: Norm,
        cross_attention: MultiHeadAttention | None = None,
    ) -> None:
        super().__init__()
        self.mixer = mixer
        self.cross_attention = cross_attention
        self.feedforward = FeedForward(size, feedforward, dropout) if feedforward else None
        self.around_mixer = Residual(size, dropout, norm)
        self.around_cross = None if cross_attention is None else Residual(size, dropout, norm)
        self.around_feedforward = Residual(size, dropout, norm) if feedforward else None

    def encode(self, x: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        """(B, T, D), (B, T), and the sentence lengths if they are known on the CPU -> (B, T, D)."""
        mixed = mix(self.mixer, self.around_mixer.before(x), mask, lengths)
        return self._feed_forward(self.around_mixer.after(x, mixed))

    def prefix(self, x: Tensor, mask: Tensor, lengths: Sequence[int] | None, full: bool) -> tuple[Tensor, Rows]:
        """`Mixer.prefix` of the whole block; `full` if each position sees the whole prefix."""
        inner = self.around_mixer.before(x)
        if full:
            mixed, rows = self.mixer.prefix(inner, mask, lengths, full=True)  # type: ignore[call-arg]
        else:
            mixed, rows = self.mixer.prefix(inner, mask, lengths)
        return self._feed_forward(self.around_mixer.after(x, mixed)), rows

    def decode(
        self,
        x: Tensor,
        rows: Rows,
        memory: KeysValues | None = None,
        bias: Tensor | None = None,
        return_weights: bool = False,
    ) -> tuple[Tensor, Rows, Tensor | None]:
        """Runs the block over further target positions.

        Args:
            x: (N, T, D).
            rows: of the mixer.
            memory: keys and values of the source, one for each of B sentences; None without a source.
            bias: on the scores of the source, (B, 1, 1, S).

        Returns:
            (N, T, D); new rows; with `return_weights` the attention weights over the source, (B, heads, N / B · T, S),
            or without a source those of self-attention, (N, heads, T, past + T).
        """
        inner = self.around_mixer.before(x)
        mixed, new = self.mixer.extend(inner, rows)
        x = self.around_mixer.after(x, mixed)
        if self.cross_attention is None or self.around_cross is None or memory is None or bias is None:
            weights = None
            if return_weights and isinstance(self.mixer, SelfAttention):
                weights = self.mixer.weights(inner, rows)
            return self._feed_forward(x), new, weights
        # The hypotheses of a sentence stand side by side in time here, so that its keys serve all of them.
        inner = self.around_cross.before(x).reshape(memory.keys.size(0), -1, x.size(-1))
        x = self.around_cross.after(x, self.cross_attention(inner, memory, bias).reshape(x.shape))
        weights = self.cross_attention.weights(inner, memory, bias) if return_weights else None
        return self._feed_forward(x), new, weights

    def _feed_forward(self, x: Tensor) -> Tensor:
        if self.feedforward is None or self.around_feedforward is None:
            return x
        return self.around_feedforward.after(x, self.feedforward(self.around_feedforward.before(x)))


def build_mixer(section: Mapping[str, Any], size: int, causal: bool, heads: int | None, positions: Positions) -> Mixer:
    """The mixer of a config section; one that takes `heads` or `rotary` has them from its encoder or decoder."""
    kind = MIXERS.find(section["type"])
    taken = inspect.signature(kind).parameters
    options = {key: value for key, value in section.items() if key != "type"}
    if "heads" in taken:
        if heads is None:
            raise S2SError(f"config: model.encoder.heads is missing: the mixer {section['type']} needs it")
        options = {"heads": heads} | options
    if positions == "rotary":
        if "rotary" not in taken:
            raise S2SError(
                f"config: positions=rotary rotates queries and keys, and the mixer {section['type']} has none: use "
                "positions=sinusoidal, recurrent or none"
            )
        options["rotary"] = True
    return build(kind, {"size": size, "causal": causal, **options})


def build_stack(
    size: int,
    mixer: Mapping[str, Any],
    layers: int,
    heads: int | None,
    feedforward: int,
    dropout: float,
    norm: Norm,
    positions: Positions,
    causal: bool,
    memory_size: int | None = None,
) -> tuple[Mixer | None, nn.ModuleList, nn.Module]:
    """What precedes the first block, the blocks, and the last normalisation."""
    first, blocks = None, nn.ModuleList()
    if positions in ("recurrent", "sinusoidal"):
        first = Recurrent(size, True, cell="gru") if positions == "recurrent" else AddSinusoids(size, causal)
    for _ in range(layers):
        inner = build_mixer(mixer, size, causal, heads, positions)
        cross = None if memory_size is None or heads is None else MultiHeadAttention(size, heads, memory_size)
        blocks.append(Block(inner, size, feedforward, dropout, norm, cross))
    return first, blocks, nn.LayerNorm(size) if norm == "pre" else nn.Identity()


class BlockEncoder(Encoder, name="blocks"):
    """A stack of blocks of the embedding's width. The summary is the mean over real tokens.

    Args:
        mixer: config section of the mixer: its name as `type`, and its options.
        heads: of self-attention.
    """

    takes_lengths = True

    def __init__(
        self,
        input_size: int,
        *,
        mixer: dict[str, Any],
        layers: Layers,
        feedforward: NonNegativeInt,
        dropout: Probability,
        norm: Norm,
        positions: Positions,
        heads: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        stack = build_stack(input_size, mixer, layers, heads, feedforward, dropout, norm, positions, causal=False)
        self.positions, self.layers, self.final = stack
        self.output_size = self.summary_size = input_size
        self.mixes = MIXERS.find(mixer["type"]).kind

    def forward(self, embedded: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> Memory:
        x = embedded if self.positions is None else mix(self.positions, embedded, mask, lengths)
        for block in self.layers:
            x = block.encode(x, mask, lengths)  # type: ignore[operator]
        values = self.final(x).masked_fill(~mask.unsqueeze(-1), 0.0)
        return Memory(values, mask, values.sum(dim=1) / mask.sum(dim=1, keepdim=True).to(values.dtype))


class BlockDecoder(Decoder, name="blocks"):
    """A stack of blocks of the embedding's width; the encoder may have another.

    Args:
        memory_size: None for a decoder-only model, whose blocks have no attention over the source.
        mixer: config section of the mixer: its name as `type`, and its options.
        heads: of attention over the source, and of self-attention.
    """

    reads = "attention"

    def __init__(
        self,
        input_size: int,
        memory_size: int | None,
        summary_size: int | None,
        *,
        mixer: dict[str, Any],
        layers: Layers,
        heads: PositiveInt,
        feedforward: NonNegativeInt,
        dropout: Probability,
        norm: Norm,
        positions: Positions,
    ) -> None:
        super().__init__()
        stack = build_stack(input_size, mixer, layers, heads, feedforward, dropout, norm, positions, True, memory_size)
        self.positions, self.layers, self.final = stack
        self.output_size = input_size
        self.mixer = MIXERS.find(mixer["type"])
        self.mixes = self.mixer.kind

    def init_state(self, memory: Memory) -> DecodeState:
        shared = {"mask": memory.mask}
        for n, block in enumerate(self.layers):
            keys, values = block.cross_attention.keys_values(memory.values)  # type: ignore[union-attr, operator]
            shared |= {f"{n}.key": keys, f"{n}.value": values}
        return DecodeState(shared, self.init_rows(memory.values))

    def init_rows(self, like: Tensor) -> Rows:
        """The rows before the first position, one for each of those of `like` (N, …)."""
        rows = {} if self.positions is None else _named("positions", self.positions.start(like))
        for n, block in enumerate(self.layers):
            rows |= _named(str(n), block.mixer.start(like))  # type: ignore[union-attr, operator]
        return rows

    def prefix(
        self, x: Tensor, mask: Tensor, lengths: Sequence[int] | None = None, full: bool = False
    ) -> tuple[Tensor, Rows]:
        """Hidden vectors (N, T, D) of sequences x of different lengths, and the rows after each; see `Mixer.prefix`.

        With `full` each position sees the whole sequence.
        """
        rows = Rows()
        if self.positions is not None:
            x, new = self.positions.prefix(x, mask, lengths)
            rows |= _named("positions", new)
        for n, block in enumerate(self.layers):
            x, new = block.prefix(x, mask, lengths, full)  # type: ignore[operator]
            rows |= _named(str(n), new)
        return self.final(x), rows

    def forward(self, embedded: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        hidden, rows, _ = self._run(embedded, state)
        return hidden, DecodeState(state.shared, rows)

    def attention(self, embedded: Tensor, state: DecodeState) -> dict[str, Tensor]:
        return self._run(embedded, state, return_weights=True)[2]

    def _run(
        self, x: Tensor, state: DecodeState, return_weights: bool = False
    ) -> tuple[Tensor, Rows, dict[str, Tensor]]:
        """Hidden vectors, new rows, and with `return_weights` the attention weights of `Block.decode` by head."""
        time, rows, weights = x.size(1), Rows(), dict[str, Tensor]()
        if self.positions is not None:
            x, new = self.positions.extend(x, _of("positions", state.rows))
            rows = _named("positions", new)
        memory, bias = None, None
        if "0.key" in state.shared:
            bias = attention_bias(state.shared["mask"][:, None, None, :], x)
        for n, block in enumerate(self.layers):
            if bias is not None:
                memory = KeysValues(state.shared[f"{n}.key"], state.shared[f"{n}.value"])
            x, new, by_head = block.decode(x, _of(str(n), state.rows), memory, bias, return_weights)  # type: ignore[operator]
            rows |= _named(str(n), new)
            for head, matrix in enumerate(() if by_head is None else by_head.unbind(1), 1):
                weights[f"layer{n + 1}.head{head}"] = matrix.reshape(x.size(0), time, -1)
        return self.final(x), rows, weights


def _named(part: str, rows: Rows) -> Rows:
    return {f"{part}.{name}": tensor for name, tensor in rows.items()}


def _of(part: str, rows: Rows) -> Rows:
    return {name.removeprefix(f"{part}."): tensor for name, tensor in rows.items() if name.startswith(f"{part}.")}
