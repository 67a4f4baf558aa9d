"""What trainer, search, evaluation and lab see of a model: four small types, one for each part of the encoder–decoder.

An `Encoder` reads the source once and leaves a `Memory`. A `Decoder` turns that into a `DecodeState`, a value that it
consumes and returns at each call, so that search can copy, reorder and drop hypotheses without knowing what is inside.
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


@dataclass(frozen=True)
class Memory:
    """The encoded source."""

    values: Tensor  # (B, S, D), zero at padding
    mask: Tensor  # (B, S)
    summary: Tensor  # (B, D): the fixed-size encoding


@dataclass(frozen=True)
class DecodeState:
    """Everything that decoding carries from step to step; a value, never hidden on a module.

    Attributes:
        shared: tensors whose first axis is the sentence (B): memory, attention keys, mask. Not repeated for hypotheses.
        rows: tensors whose first axis is the hypothesis (N): recurrent states, key/value caches.
    """

    shared: dict[str, Tensor]
    rows: dict[str, Tensor]

    def reorder(self, index: Tensor) -> DecodeState:
        """Rows `index` (N',) of the old hypotheses become the new ones; they must stay with their sentence."""
        return DecodeState(self.shared, {name: rows.index_select(0, index) for name, rows in self.rows.items()})

    def select(self, sentences: Tensor) -> DecodeState:
        """Only these sentences (B',) and their hypotheses."""
        count = next(iter(self.shared.values())).size(0)
        shared = {name: tensor.index_select(0, sentences) for name, tensor in self.shared.items()}
        rows = {}
        for name, tensor in self.rows.items():
            beam = tensor.size(0) // count
            rows[name] = tensor.reshape(count, beam, *tensor.shape[1:]).index_select(0, sentences).flatten(0, 1)
        return DecodeState(shared, rows)


class LossSums(NamedTuple):
    """Sums over the target tokens of a batch; all are 0-dimensional tensors on the model's device."""

    loss: Tensor  # what training minimises: cross-entropy with label smoothing, nats; carries the gradient
    nll: Tensor  # cross-entropy without smoothing, nats; detached
    tokens: Tensor  # number of target tokens, end of sentence included


ENCODERS: dict[str, type[Encoder]] = {}
DECODERS: dict[str, type[Decoder]] = {}


Gates = dict[str, dict[str, Tensor]]  # values by layer and gate


class Encoder(nn.Module):
    """Reads the source. `class Mine(Encoder, name="mine")` makes it known as `model.encoder.type=mine`.

    Its constructor takes the embedding's width first and then, as keywords, the options of its config section.

    Attributes:
        output_size: D of the memory's values.
        summary_size: D of its summary.
        takes_lengths: whether `forward` has a third argument, the lengths of the sentences as numbers on the CPU where
            they are known there (list of B, or None): to read them from the mask makes the CPU wait for a GPU.
    """

    output_size: int
    summary_size: int
    takes_lengths: ClassVar[bool] = False

    def __init_subclass__(cls, name: str) -> None:
        super().__init_subclass__()
        ENCODERS[name] = cls

    def forward(self, embedded: Tensor, mask: Tensor) -> Memory:
        """(B, S, E) embedded source, (B, S) mask -> Memory."""
        raise NotImplementedError

    def gates(self, embedded: Tensor, mask: Tensor) -> Gates:
        """(B, S, H) activations of the cells' gates, for looking; empty for an encoder without."""
        return {}


class Decoder(nn.Module):
    """Writes the target. `class Mine(Decoder, name="mine")` makes it known as `model.decoder.type=mine`.

    Its constructor takes the widths of embedding, memory and summary first and then, as keywords, the options of its
    config section.

    Attributes:
        output_size: D of the hidden vectors that the output layer reads.
        reads: how it gets at the source: `fixed` (one vector of fixed size), `attention`, or `self-attention`
            (attention without recurrence). Pictures group systems by it.
    """

    output_size: int
    reads: Literal["fixed", "attention", "self-attention"]

    def __init_subclass__(cls, name: str) -> None:
        super().__init_subclass__()
        DECODERS[name] = cls

    def init_state(self, memory: Memory) -> DecodeState:
        """The state before the first target token, one hypothesis for each sentence."""
        raise NotImplementedError

    def forward(self, embedded: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        """(N, T, E) embedded target tokens that follow what `state` has seen, any T >= 1 -> (N, T, D), new state.

        Each output position depends on positions up to itself only. There is no target mask: padding comes last, and
        what it produces is ignored.
        """
        raise NotImplementedError

    def attention(self, embedded: Tensor, state: DecodeState) -> dict[str, Tensor]:
        """Attention weights by name, each (N, T, S), rows summing to 1; empty for a decoder without attention."""
        return {}

    def gates(self, embedded: Tensor, state: DecodeState) -> Gates:
        """(N, T, H) activations of the cells' gates, for looking; empty for a decoder without."""
        return {}


class Translatable(Protocol):
    """The part of `Seq2Seq` that search needs."""

    def start(self, src: Tensor, mask: Tensor) -> DecodeState:
        """(B, S) source tokens and mask -> state with one hypothesis for each sentence."""
        ...

    def step(self, tokens: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        """(N,) last tokens -> (N, V) logits of the next token, new state."""
        ...


class Seq2Seq(nn.Module):
    """A whole model; the interface that `s2s.models.seq2seq.EncoderDecoder` implements.

    Attributes:
        cuda_graphs: whether search may record its steps on a GPU, see `s2s.graphs`.
    """

    cuda_graphs = True

    def forward(self, batch: Batch, label_smoothing: float = 0.0) -> LossSums:
        raise NotImplementedError

    def start(self, src: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> DecodeState:
        """As of `Translatable`; the lengths of the sentences may be given as numbers on the CPU, too."""
        raise NotImplementedError

    def step(self, tokens: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        raise NotImplementedError

    def log_probs(self, batch: Batch) -> Tensor:
        """(B, T) log-probability of each target token of the batch by teacher forcing, 0 at padding; nats, fp32."""
        raise NotImplementedError

    def attention(self, batch: Batch) -> dict[str, Tensor]:
        """Attention weights (B, T, S) by name, by teacher forcing; row i is what target token i was written with."""
        raise NotImplementedError

    def gates(self, batch: Batch) -> Gates:
        """Activations (N, H) of the cells' gates by teacher forcing: a row for each real token, none for padding."""
        raise NotImplementedError

    @property
    def reads(self) -> str:
        """See `Decoder.reads`."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device
