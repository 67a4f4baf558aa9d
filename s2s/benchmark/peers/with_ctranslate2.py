"""`ctranslate2` (https://github.com/OpenNMT/CTranslate2): a Transformer with the same shape, in fp32 or int8."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import ctranslate2
import numpy as np
from ctranslate2.specs import common_spec, transformer_spec


def decode(spec: dict[str, Any], batches: list[dict[str, Any]]) -> tuple[Callable[[], None], dict[str, Any]]:
    shape = spec["shape"]
    if shape["type"] != "transformer":
        raise SystemExit("ctranslate2 decodes Transformers")
    words = ["<pad>", "<unk>", "<s>", "</s>", *(f"w{n}" for n in range(4, spec["vocabulary"]))]
    compute_type = {"fp32": "float32", "int8": "int8"}[spec["precision"]]
    with tempfile.TemporaryDirectory() as folder:
        _spec(shape, words).save(folder)
        device, _, number = spec["device"].partition(":")
        options = {"compute_type": compute_type, "intra_threads": spec["threads"], "device_index": int(number or 0)}
        translator = ctranslate2.Translator(folder, device=device, **options)

    def run() -> None:
        for arrays in batches:
            length = int(arrays["length"])
            sources = zip(arrays["source"], arrays["lengths"], strict=True)
            results = translator.translate_batch(
                [[words[i] for i in row[:count]] for row, count in sources],
                beam_size=spec["decoding"]["beam"],
                min_decoding_length=length,
                max_decoding_length=length,
            )
            assert all(len(one.hypotheses[0]) == length for one in results)

    return run, {"version": ctranslate2.__version__}


def _spec(shape: dict[str, Any], words: list[str]) -> transformer_spec.TransformerSpec:
    """Returns a model with random weights, of the magnitude of a new model's."""
    random = np.random.default_rng(1)
    size, inner = shape["size"], shape["feedforward"]
    spec = transformer_spec.TransformerSpec.from_config(shape["layers"], shape["heads"], pre_norm=True)

    def linear(layer: common_spec.LinearSpec, rows: int, columns: int) -> None:
        layer.weight = (random.standard_normal((rows, columns)) / columns**0.5).astype(np.float32)
        layer.bias = np.zeros(rows, dtype=np.float32)

    def norm(layer: common_spec.LayerNormSpec) -> None:
        layer.gamma, layer.beta = np.ones(size, dtype=np.float32), np.zeros(size, dtype=np.float32)

    def attention(layer: Any, projections: list[int]) -> None:
        norm(layer.layer_norm)
        for projection, rows in zip(layer.linear, projections, strict=True):
            linear(projection, rows, size)

    def feedforward(layer: Any) -> None:
        norm(layer.layer_norm)
        linear(layer.linear_0, inner, size)
        linear(layer.linear_1, size, inner)

    for side in (spec.encoder, spec.decoder):
        tables = side.embeddings if isinstance(side.embeddings, list) else [side.embeddings]
        for table in tables:
            table.weight = (random.standard_normal((len(words), size)) / size**0.5).astype(np.float32)
        side.scale_embeddings = np.dtype("int8").type(1)
        side.position_encodings.encodings = (random.standard_normal((1024, size)) / 2).astype(np.float32)
        norm(side.layer_norm)
    for layer in spec.encoder.layer:
        attention(layer.self_attention, [3 * size, size])
        feedforward(layer.ffn)
    for layer in spec.decoder.layer:
        attention(layer.self_attention, [3 * size, size])
        attention(layer.attention, [size, 2 * size, size])
        feedforward(layer.ffn)
    linear(spec.decoder.projection, len(words), size)
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    spec.validate()
    spec.optimize()
    return spec
