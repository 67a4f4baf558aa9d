"""Interfaces of the encoder–decoder: all that trainer, search, evaluation and lab know of a model.

An `Encoder` reads the source once and returns a `Memory`. A `Decoder` turns it into a `DecodeState`, an immutable value
that each decoding step takes and returns, so search can copy, reorder and drop hypotheses without knowing its content.
`Seq2Seq` joins the two with embeddings and the output layer.

Shapes: B sentences, N hypotheses (N = B × K, those of one sentence side by side), S source time, T target time,
D width, V vocabulary. Masks are True at real tokens, which come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from s2s.data.batching import Batch
from s2s.nn.mixers import Kind


@dataclass(frozen=True)
class Memory:
    """The encoder's output."""

    values: Tensor  # (B, S, D), zero at padding
    mask: Tensor  # (B, S)
    summary: Tensor  # (B, D): final encoder states (a Transformer: mean of values), the fixed-length context vector


@dataclass(frozen=True)
class DecodeState:
    """The state of decoding between two steps; a value, never stored on a module.

    Attributes:
        shared: tensors per sentence (B, …), not repeated for its hypotheses: memory, attention keys, mask.
        rows: tensors per hypothesis (N, …): recurrent states, key/value caches.
    """

    shared: dict[str, Tensor]
    rows: dict[str, Tensor]

    def reorder(self, index: Tensor) -> DecodeState:
        """The state of the hypotheses `index` (N',), each of which must stay with its sentence."""
        return DecodeState(self.shared, {name: rows.index_select(0, index) for name, rows in self.rows.items()})

    def select(self, sentences: Tensor) -> DecodeState:
        """The state of these sentences (B',) and their hypotheses."""
        count = next(iter(self.shared.values())).size(0)
        shared = {name: tensor.index_select(0, sentences) for name, tensor in self.shared.items()}
        by_sentence = {name: tensor.unflatten(0, (count, -1)) for name, tensor in self.rows.items()}  # type: ignore[no-untyped-call]
        rows = {name: tensor.index_select(0, sentences).flatten(0, 1) for name, tensor in by_sentence.items()}
        return DecodeState(shared, rows)


class LossSums(NamedTuple):
    """Sums over the target tokens of a batch, each a 0-dimensional tensor on the model's device."""

    loss: Tensor  # the training loss: cross-entropy with label smoothing, nats; with gradient
    nll: Tensor  # cross-entropy without smoothing, nats; detached
    tokens: Tensor  # number of target tokens, end of sentence included


ENCODERS: dict[str, type[Encoder]] = {}
DECODERS: dict[str, type[Decoder]] = {}

Gates = dict[str, dict[str, Tensor]]  # activations by layer and gate


class Encoder(nn.Module):
    """Base class of encoders. `class Mine(Encoder, name="mine")` registers it as `model.encoder.type=mine`.

    Its constructor takes the embedding's width first and then, as keywords, the options of its config section.

    Attributes:
        output_size: D of the memory's values.
        summary_size: D of its summary.
        mixes: how information travels between the source positions.
        takes_lengths: whether `forward` has a third argument, the sentence lengths if known on the CPU (list of B, or
            None): reading them from the mask makes the CPU wait for a GPU.
    """

    output_size: int
    summary_size: int
    mixes: Kind = "other"
    takes_lengths: ClassVar[bool] = False

    def __init_subclass__(cls, name: str) -> None:
        super().__init_subclass__()
        ENCODERS[name] = cls

    def forward(self, embedded: Tensor, mask: Tensor) -> Memory:
        """(B, S, E) embedded source, (B, S) mask -> Memory."""
        raise NotImplementedError

    def gates(self, embedded: Tensor, mask: Tensor) -> Gates:
        """(B, S, H) activations of the cells' gates, for inspection; empty without gates, and for blocks."""
        return {}


class Decoder(nn.Module):
    """Base class of decoders. `class Mine(Decoder, name="mine")` registers it as `model.decoder.type=mine`.

    Its constructor takes the widths of embedding, memory and summary first and then, as keywords, the options of its
    config section.

    Attributes:
        output_size: D of the hidden vectors that the output layer reads.
        reads: its access to the source: `fixed` (a fixed-length context vector) or `attention`.
        mixes: how information travels between the target positions.
    """

    output_size: int
    reads: Literal["fixed", "attention"]
    mixes: Kind = "other"

    def __init_subclass__(cls, name: str) -> None:
        super().__init_subclass__()
        DECODERS[name] = cls

    def init_state(self, memory: Memory) -> DecodeState:
        """The state before the first target token, with one hypothesis for each sentence."""
        raise NotImplementedError

    def forward(self, embedded: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        """(N, T, E) embedded next target tokens, T >= 1, and their state -> (N, T, D), new state.

        Each output depends on steps up to its own only. There is no target mask: padding comes last, and its outputs
        are ignored.
        """
        raise NotImplementedError

    def attention(self, embedded: Tensor, state: DecodeState) -> dict[str, Tensor]:
        """Attention weights by name, each (N, T, S), rows summing to 1; empty for a decoder without attention."""
        return {}

    def gates(self, embedded: Tensor, state: DecodeState) -> Gates:
        """(N, T, H) activations of the cells' gates, for inspection; empty without gates, and for blocks."""
        return {}


class Translatable(Protocol):
    """The interface of a model for search."""

    def start(self, src: Tensor, mask: Tensor) -> DecodeState:
        """(B, S) source tokens and mask -> state with one hypothesis for each sentence."""

    def step(self, tokens: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        """(N,) last tokens -> (N, V) logits of the next token, new state."""


class Seq2Seq(nn.Module):
    """The interface of a whole model; `s2s.models` builds those that there are."""

    cuda_graphs = True  # whether search may record its steps on a GPU, see `s2s.decoding.graphs`
    writes_text: ClassVar[bool] = True  # whether it predicts a target from left to right: `start` and `step`
    continues_source: ClassVar[bool] = False  # whether its output goes on where the source ends, as one text

    def forward(self, batch: Batch, label_smoothing: float = 0.0) -> LossSums:
        raise NotImplementedError

    def start(self, src: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> DecodeState:
        """`Translatable.start`, with the sentence lengths if they are known on the CPU."""
        raise NotImplementedError

    def step(self, tokens: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        raise NotImplementedError

    def log_probs(self, batch: Batch) -> Tensor:
        """(B, T) log-probability of each target token under teacher forcing, 0 at padding; nats, fp32."""
        raise NotImplementedError

    def attention(self, batch: Batch) -> dict[str, Tensor]:
        """Attention weights (B, T, S) by name under teacher forcing; row i predicts target token i, and sums to 1.

        A decoder-only model has the target in the same distribution: its rows sum to less.
        """
        raise NotImplementedError

    def gates(self, batch: Batch) -> Gates:
        """Activations (N, H) of the cells' gates under teacher forcing, one row for each real token."""
        raise NotImplementedError

    @property
    def reads(self) -> Literal["fixed", "attention"]:
        """See `Decoder.reads`."""
        raise NotImplementedError

    @property
    def mixes(self) -> tuple[Kind, Kind]:
        """How information travels between the positions of the source, and of the target."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device
