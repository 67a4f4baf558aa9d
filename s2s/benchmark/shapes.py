"""Shapes of the benchmarked models, and their `model` sections for s2s; each peer builds its own model of a shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from s2s.schema import PositiveInt, Probability


@dataclass(frozen=True)
class RecurrentShape:
    """Bidirectional LSTM encoder, LSTM decoder with Bahdanau attention; one layer each."""

    type: Literal["recurrent"]
    embedding: PositiveInt
    encoder: PositiveInt  # width of each direction
    decoder: PositiveInt
    attention: PositiveInt
    query: Literal["previous", "current"]
    input_feeding: bool
    dropout: Probability


@dataclass(frozen=True)
class FixedShape:
    """Bidirectional recurrent encoder whose last state is the decoder's fixed-length context vector at every step."""

    type: Literal["fixed"]
    cell: str
    embedding: PositiveInt
    encoder: PositiveInt  # width of each direction
    decoder: PositiveInt
    dropout: Probability


@dataclass(frozen=True)
class TransformerShape:
    """Transformer with equal encoder and decoder sizes."""

    type: Literal["transformer"]
    size: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    feedforward: PositiveInt
    dropout: Probability


@dataclass(frozen=True)
class BlockShape:
    """Transformer with another mixer in place of self-attention, in both sides; its recurrence is that of an SSRU."""

    type: Literal["blocks"]
    mixer: Literal["recurrent", "convolution"]
    size: PositiveInt
    layers: PositiveInt
    heads: PositiveInt  # of attention over the source
    feedforward: PositiveInt
    dropout: Probability


Shape = FixedShape | RecurrentShape | TransformerShape


def model_section(shape: dict[str, Any]) -> dict[str, Any]:
    """Returns the `model` section of a shape."""
    dropout = shape["dropout"]
    if shape["type"] in ("transformer", "blocks"):
        mixer = {"type": shape.get("mixer", "self_attention")}
        mixer |= {"cell": "ssru"} if mixer["type"] == "recurrent" else {}
        part: dict[str, Any] = {"type": "blocks", "mixer": mixer, "positions": "sinusoidal"}
        part |= {"dropout": dropout, "norm": "pre"}
        part |= {key: shape[key] for key in ("layers", "heads", "feedforward")}
        encoder, decoder, embedding = part, part, shape["size"]
    else:
        attention: dict[str, Any] = {"type": "fixed"}
        if shape["type"] == "recurrent":
            attention = {"type": "bahdanau", "size": shape["attention"]}
            attention |= {key: shape[key] for key in ("query", "input_feeding")}
        part = {"type": "recurrent", "cell": shape.get("cell", "lstm"), "layers": 1, "dropout": dropout}
        encoder = part | {"hidden_size": shape["encoder"], "bidirectional": True}
        decoder = part | {"hidden_size": shape["decoder"], "attention": attention}
        embedding = shape["embedding"]
    base = {"name": "benchmark", "embedding_size": embedding, "tie_embeddings": "none", "dropout": dropout}
    return {**base, "encoder": encoder, "decoder": decoder}
