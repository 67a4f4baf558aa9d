"""`transformers`: `generate` of a Marian model with the same shape, in fp32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import MarianConfig, MarianMTModel

PAD, BOS, EOS = 0, 2, 3


def decode(spec: dict[str, Any], batches: list[dict[str, Any]]) -> tuple[Callable[[], None], dict[str, Any]]:
    torch.set_num_threads(spec["threads"])
    torch.manual_seed(1)
    shape = spec["shape"]
    if shape["type"] != "transformer":
        raise SystemExit("Marian models are Transformers")
    sizes = {"layers": shape["layers"], "attention_heads": shape["heads"], "ffn_dim": shape["feedforward"]}
    config = MarianConfig(
        vocab_size=spec["vocabulary"],
        d_model=shape["size"],
        **{f"{side}_{option}": value for side in ("encoder", "decoder") for option, value in sizes.items()},
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=BOS,
        decoder_start_token_id=BOS,
        forced_eos_token_id=None,
        max_position_embeddings=512,
    )
    model = MarianMTModel(config).eval().to(spec["device"])

    def run() -> None:
        for arrays in batches:
            source = torch.from_numpy(arrays["source"]).to(spec["device"])
            with torch.inference_mode():
                outputs = model.generate(
                    source,
                    attention_mask=(source != PAD).long(),
                    num_beams=spec["decoding"]["beam"],
                    min_new_tokens=int(arrays["length"]),
                    max_new_tokens=int(arrays["length"]),
                )
            assert outputs.shape[1] == arrays["length"] + 1

    return run, {"parameters": sum(p.numel() for p in model.parameters())}
