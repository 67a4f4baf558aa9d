"""`transformers`: `generate` of a Marian model of the same shape, in fp32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import MarianConfig, MarianMTModel

PAD, BOS, EOS = 0, 2, 3


def decode(given: dict[str, Any], batches: list[dict[str, Any]]) -> tuple[Callable[[], None], dict[str, Any]]:
    torch.set_num_threads(given["threads"])
    torch.manual_seed(1)
    shape = given["shape"]
    if shape["type"] != "transformer":
        raise SystemExit("Marian models are Transformers")
    config = MarianConfig(
        vocab_size=given["vocabulary"],
        d_model=shape["size"],
        **{f"{side}_layers": shape["layers"] for side in ("encoder", "decoder")},
        **{f"{side}_attention_heads": shape["heads"] for side in ("encoder", "decoder")},
        **{f"{side}_ffn_dim": shape["feedforward"] for side in ("encoder", "decoder")},
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=BOS,
        decoder_start_token_id=BOS,
        forced_eos_token_id=None,
        max_position_embeddings=512,
    )
    model = MarianMTModel(config).eval().to(given["device"])

    def run() -> None:
        for arrays in batches:
            source = torch.from_numpy(arrays["source"]).to(given["device"])
            with torch.inference_mode():
                found = model.generate(
                    source,
                    attention_mask=(source != PAD).long(),
                    num_beams=given["decoding"]["beam"],
                    min_new_tokens=int(arrays["length"]),
                    max_new_tokens=int(arrays["length"]),
                )
            assert found.shape[1] == arrays["length"] + 1

    return run, {"parameters": sum(p.numel() for p in model.parameters())}
