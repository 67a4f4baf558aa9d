"""Models and batches for the contract tests: small, in float64, over all combinations of a config.

The product of cells and attentions has some 80 models and is slow; `COVERING` lists those of the fast tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from s2s.config import DecodingConfig
from s2s.data.batching import Batch, collate
from s2s.data.tokenizer import EOS
from s2s.models import build_model
from s2s.models.interface import Seq2Seq

VOCABULARY = 9
ATTENTIONS: dict[str, dict[str, Any]] = {
    "none": {"type": "none"},
    "fixed": {"type": "fixed"},
    "bahdanau": {"type": "bahdanau", "size": 5},
    "bahdanau-feeding": {"type": "bahdanau", "size": 5, "input_feeding": True},
    "bahdanau-current": {"type": "bahdanau", "size": 5, "query": "current"},
    "bahdanau-current-feeding": {"type": "bahdanau", "size": 5, "query": "current", "input_feeding": True},
}
CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn": ("rnn", {}),
    "lstm": ("lstm", {}),
    "gru": ("gru", {}),
    "gru-after": ("gru", {"reset": "after"}),
    "mgu": ("mgu", {}),
    "sru": ("sru", {}),
    "lstm-no-forget": ("lstm", {"open_gate": "forget"}),
    "lstm-no-input": ("lstm", {"open_gate": "input"}),
    "lstm-no-output": ("lstm", {"open_gate": "output"}),
    "ssru": ("ssru", {}),
    "mingru": ("mingru", {}),
    "minlstm": ("minlstm", {}),
    "own": ("tests.models.own.Leaky", {"keep": 0.5}),
}

MIXERS: dict[str, dict[str, Any]] = {
    "attention": {"type": "self_attention"},
    "convolution": {"type": "convolution", "kernel": 3},
    "average": {"type": "tests.models.own.Average", "power": 1},
    **{name: {"type": "recurrent", "cell": cell, "cell_options": options} for name, (cell, options) in CELLS.items()},
}
NORMS = ("pre", "post", "none")
POSITIONS = ("sinusoidal", "none", "recurrent")

# Each cell, each attention at least twice, both directions, each depth; each kind of Transformer, mixed models, tying.
COVERING = (
    *("rnn-none-uni-1", "rnn-bahdanau-feeding-bi-2"),
    *("lstm-fixed-bi-1", "lstm-bahdanau-bi-2", "lstm-bahdanau-current-feeding-uni-3"),
    *("gru-none-bi-2", "gru-bahdanau-uni-3", "gru-bahdanau-current-bi-3"),
    *("gru-after-fixed-uni-2", "gru-after-bahdanau-current-feeding-bi-1"),
    *("mgu-bahdanau-feeding-uni-1", "sru-fixed-bi-3", "sru-bahdanau-bi-1"),
    *("lstm-no-forget-bahdanau-current-uni-2", "lstm-no-input-none-bi-2", "lstm-no-output-bahdanau-uni-3"),
    *("own-fixed-bi-3", "own-bahdanau-feeding-uni-1"),
    *("transformer-pre", "transformer-post", "transformer-pre-rotary"),
    *("transformer-into-gru", "gru-into-transformer", "rotary-transformer-into-gru", "tied-all", "untied"),
    *("attention-into-ssru-post-none", "convolution-into-convolution-none-none"),
    *("ssru-into-convolution-none-sinusoidal", "mingru-into-mingru-none-sinusoidal"),
    *("gpt-attention-pre-rotary", "gpt-full-sinusoidal", "gpt-average-none-sinusoidal", "gpt-lstm-post-none"),
)


def recurrent(cell: str, attention: str, bidirectional: bool = True, layers: int = 1) -> dict[str, Any]:
    """A `model` section with a recurrent encoder and decoder."""
    name, options = CELLS[cell]
    side = {"type": "recurrent", "cell": name, "cell_options": options, "layers": layers, "dropout": 0.1}
    return section(
        side | {"hidden_size": 7, "bidirectional": bidirectional},
        side | {"hidden_size": 6, "attention": ATTENTIONS[attention]},
    )


def blocks(
    encoder: str, decoder: str, norm: str = "pre", positions: str = "sinusoidal", feedforward: int = 10, **more: Any
) -> dict[str, Any]:
    """A `model` section of two stacks of blocks with these mixers."""
    side = {"type": "blocks", "layers": 2, "heads": 2, "feedforward": feedforward, "dropout": 0.1}
    side |= {"norm": norm, "positions": positions, **more}
    return section(side | {"mixer": MIXERS[encoder]}, side | {"mixer": MIXERS[decoder]})


def decoder_only(
    mixer: str, norm: str = "pre", positions: str = "sinusoidal", tie: str = "output", **more: Any
) -> dict[str, Any]:
    """A `model` section of one stack over source and target."""
    decoder = blocks(mixer, mixer, norm, positions)["decoder"]
    base = {"name": "contract", "type": "decoder_only", "embedding_size": 8, "tie_embeddings": tie, "dropout": 0.1}
    return base | {"decoder": decoder, "prefix": "causal", "source_loss": 0.0} | more


def transformer(norm: str = "pre", **more: Any) -> dict[str, Any]:
    return blocks("attention", "attention", norm, **more)


def section(encoder: dict[str, Any], decoder: dict[str, Any], **more: Any) -> dict[str, Any]:
    base = {"name": "contract", "embedding_size": 8, "tie_embeddings": "output", "dropout": 0.1}
    return base | {"encoder": encoder, "decoder": decoder} | more


def models() -> dict[str, dict[str, Any]]:
    """Sections by name: every cell × attention, both Transformers, mixed models, and those of `COVERING`.

    Over the attentions each cell has one to three layers, in one direction and in both; the LSTM has all depths.
    """
    sections = {}
    for (m, cell), (n, attention), both in itertools.product(enumerate(CELLS), enumerate(ATTENTIONS), (True, False)):
        depth = 1 + (n + both) % 3
        for layers in (1, 2, 3) if cell == "lstm" else (depth,):
            name = f"{cell}-{attention}-{'bi' if both else 'uni'}-{layers}"
            if name in COVERING or (m + n + layers) % 2 == both:
                sections[name] = recurrent(cell, attention, both, layers)
    sections |= {f"transformer-{norm}": transformer(norm) for norm in ("pre", "post")}
    sections |= {f"transformer-{norm}-rotary": transformer(norm, positions="rotary") for norm in ("pre", "post")}
    # Each mixer with each; the same in both sides with each norm; the other cells in both sides.
    several = ("attention", "convolution", "lstm", "ssru")
    sides = [*itertools.product(several, several), *((name, name) for name in MIXERS if name not in several)]
    for number, (encoder, decoder) in enumerate(sides):
        for norm in range(3):
            options = NORMS[norm], POSITIONS[(norm + number) % 3]
            name = f"{encoder}-into-{decoder}-{'-'.join(options)}"
            if (encoder == decoder and encoder in several) or (number + 1) % 3 == norm or name in COVERING:
                sections[name] = blocks(encoder, decoder, *options, feedforward=number % 2 * 10)
    gru = recurrent("gru", "bahdanau")
    sections["transformer-into-gru"] = section(transformer()["encoder"], gru["decoder"])
    sections["gru-into-transformer"] = section(gru["encoder"], transformer()["decoder"])
    sections["rotary-transformer-into-gru"] = section(transformer(positions="rotary")["encoder"], gru["decoder"])
    # Each mixer in one stack over both sides, with each norm and each position encoding; a prefix that sees itself.
    for n, mixer in enumerate(MIXERS):
        norm, positions = NORMS[n % 3], POSITIONS[n // 3 % 3]
        sections[f"gpt-{mixer}-{norm}-{positions}"] = decoder_only(mixer, norm, positions)
    for positions in ("rotary", "none", "recurrent"):
        sections[f"gpt-attention-pre-{positions}"] = decoder_only("attention", positions=positions, tie="all")
    for positions in ("sinusoidal", "rotary"):
        sections[f"gpt-full-{positions}"] = decoder_only("attention", "post", positions, prefix="full")
    sections["tied-all"] = recurrent("lstm", "bahdanau") | {"tie_embeddings": "all"}
    sections["untied"] = transformer() | {"tie_embeddings": "none"}
    return sections


def by_name(prefixes: tuple[str, ...] = ("",)) -> pytest.MarkDecorator:
    """Parametrizes a test by `name`: models with one of the prefixes, marked slow unless in `COVERING`."""
    names = [name for name in models() if name.startswith(prefixes)]
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=[] if name in COVERING else pytest.mark.slow) for name in names]
    )


def make(model: dict[str, Any], seed: int = 0) -> Seq2Seq:
    """A model in float64 and evaluation mode, with weights large enough that outputs differ."""
    torch.manual_seed(seed)
    built = build_model(model, VOCABULARY, VOCABULARY).double().eval()
    noise = 0.3 if model["decoder"].get("norm") == "none" else 0.6
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
        built.output_bias[EOS] -= 8  # longer translations
    return built


def sentences(count: int, longest: int, seed: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (count,), generator=generator).tolist()
    return [torch.randint(4, VOCABULARY, (n,), generator=generator).tolist() for n in lengths]


def batch(sources: Sequence[list[int]], targets: Sequence[list[int]]) -> Batch:
    return collate(sources, targets, list(range(len(sources))))


def with_garbage(whole: Batch, extra: int) -> Batch:
    """The same sentences with more padding, all of it filled with other tokens."""

    def widen(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.randint(4, VOCABULARY, (ids.size(0), ids.size(1) + extra))
        noise[:, : ids.size(1)] = torch.where(mask, ids, noise[:, : ids.size(1)])
        wide = torch.zeros(noise.shape, dtype=torch.bool)
        wide[:, : ids.size(1)] = mask
        return noise, wide

    source, source_mask = widen(whole.source, whole.source_mask)
    target, target_mask = widen(whole.target, whole.target_mask)
    target_input, _ = widen(whole.target_input, whole.target_mask)
    return Batch(source, source_mask, target_input, target, target_mask, whole.index)


def decoding(**changes: Any) -> DecodingConfig:
    values: dict[str, Any] = {
        "name": "test", "strategy": "beam", "beam": 3, "length_penalty": 1.0, "n_best": 1, "temperature": 1.0,
        "max_ratio": 1.5, "max_extra": 4, "max_source": 100, "batch_tokens": 10_000, "precision": "fp32", "seed": 1,
    }  # fmt: skip
    return DecodingConfig(**(values | changes))
