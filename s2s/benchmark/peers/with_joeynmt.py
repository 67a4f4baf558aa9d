"""`joeynmt` (https://github.com/joeynmt/joeynmt): its own model, loss and search, in fp32, its default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from joeynmt.batch import Batch
from joeynmt.model import build_model
from joeynmt.search import search
from joeynmt.vocabulary import Vocabulary
from torch import nn

PAD, UNK, BOS, EOS = 0, 1, 2, 3


def _vocabulary(size: int) -> Vocabulary:
    vocabulary = Vocabulary.__new__(Vocabulary)
    tokens = ["<pad>", "<unk>", "<s>", "</s>", *(f"w{n}" for n in range(4, size))]
    # The constructor searches a list for each token, which takes minutes for a vocabulary of this size.
    vocabulary._itos, vocabulary._stoi = tokens, {token: index for index, token in enumerate(tokens)}
    vocabulary.specials, vocabulary.lang_tags, vocabulary.sep_index = tokens[:4], [], None
    vocabulary.pad_index, vocabulary.unk_index, vocabulary.bos_index, vocabulary.eos_index = PAD, UNK, BOS, EOS
    return vocabulary


def _config(shape: dict[str, Any]) -> dict[str, Any]:
    dropout = shape["dropout"]
    if shape["type"] == "transformer":
        side = {"type": "transformer", "num_layers": shape["layers"], "num_heads": shape["heads"]}
        side |= {"hidden_size": shape["size"], "ff_size": shape["feedforward"], "dropout": dropout}
        side |= {"layer_norm": "pre", "embeddings": {"embedding_dim": shape["size"], "scale": True, "dropout": dropout}}
        return {"encoder": side, "decoder": dict(side)}
    embeddings = {"embedding_dim": shape["embedding"], "scale": False, "dropout": dropout}
    side = {"type": "recurrent", "rnn_type": "lstm", "num_layers": 1, "embeddings": embeddings, "dropout": dropout}
    encoder = side | {"hidden_size": shape["encoder"], "bidirectional": True}
    decoder = side | {"hidden_size": shape["decoder"], "attention": "bahdanau", "init_hidden": "bridge"}
    return {"encoder": encoder, "decoder": decoder | {"input_feeding": shape["input_feeding"]}}


def _model(spec: dict[str, Any]) -> nn.Module:
    torch.set_num_threads(spec["threads"])
    torch.manual_seed(1)
    if spec["shape"].get("query") == "previous":
        raise SystemExit("joeynmt has no attention with the previous state as the query")
    vocabulary = _vocabulary(spec["vocabulary"])
    model: nn.Module = build_model(_config(spec["shape"]), vocabulary, vocabulary)
    return model.to(spec["device"])


def _batch(arrays: dict[str, Any], target: bool, device: str) -> Batch:
    trg = None
    if target:
        trg = nn.functional.pad(torch.from_numpy(arrays["input"]), (0, 1), value=PAD)
        trg[:, 1:] = torch.where(torch.from_numpy(arrays["target"]) == EOS, EOS, trg[:, 1:])
    return Batch(
        src=torch.from_numpy(arrays["source"]),
        src_length=torch.from_numpy(arrays["lengths"]),
        src_prompt_mask=None,
        trg=trg,
        trg_prompt_mask=None,
        indices=torch.arange(len(arrays["source"])),
        device=torch.device(device),
        pad_index=PAD,
        eos_index=EOS,
        is_train=target,
    )


def train(spec: dict[str, Any], batches: list[dict[str, Any]]) -> tuple[Callable[[], None], dict[str, Any]]:
    model = _model(spec)
    model.loss_function = ("crossentropy", spec["label_smoothing"])  # type: ignore[assignment]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()

    def run() -> None:
        for arrays in batches:
            batch = _batch(arrays, True, spec["device"])
            batch.sort_by_src_length()
            loss, *_ = model(return_type="loss", **vars(batch))
            batch.normalize(loss, normalization="tokens").backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            model.zero_grad()

    return run, {"parameters": sum(p.numel() for p in model.parameters())}


def decode(spec: dict[str, Any], batches: list[dict[str, Any]]) -> tuple[Callable[[], None], dict[str, Any]]:
    model = _model(spec).eval()

    def run() -> None:
        for arrays in batches:
            batch = _batch(arrays, False, spec["device"])
            batch.sort_by_src_length()
            length = int(arrays["length"])
            options = {"min_output_length": length, "generate_unk": False}
            search(model, batch, length, spec["decoding"]["beam"], 1.0, **options)

    return run, {"parameters": sum(p.numel() for p in model.parameters())}
