"""`joeynmt` (https://github.com/joeynmt/joeynmt): its own model, loss and search, in fp32, which is its default."""

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
    made = Vocabulary.__new__(Vocabulary)
    tokens = ["<pad>", "<unk>", "<s>", "</s>", *(f"w{n}" for n in range(4, size))]
    # Its constructor looks each token up in a list: minutes for a vocabulary of this size.
    made._itos, made._stoi = tokens, {token: place for place, token in enumerate(tokens)}
    made.specials, made.lang_tags, made.sep_index = tokens[:4], [], None
    made.pad_index, made.unk_index, made.bos_index, made.eos_index = PAD, UNK, BOS, EOS
    return made


def _config(shape: dict[str, Any]) -> dict[str, Any]:
    dropout = shape["dropout"]
    if shape["type"] == "transformer":
        part = {"type": "transformer", "num_layers": shape["layers"], "num_heads": shape["heads"]}
        part |= {"hidden_size": shape["size"], "ff_size": shape["feedforward"], "dropout": dropout}
        part |= {"layer_norm": "pre", "embeddings": {"embedding_dim": shape["size"], "scale": True, "dropout": dropout}}
        return {"encoder": part, "decoder": dict(part)}
    embeddings = {"embedding_dim": shape["embedding"], "scale": False, "dropout": dropout}
    part = {"type": "recurrent", "rnn_type": "lstm", "num_layers": 1, "embeddings": embeddings, "dropout": dropout}
    encoder = part | {"hidden_size": shape["encoder"], "bidirectional": True}
    decoder = part | {"hidden_size": shape["decoder"], "attention": "bahdanau", "init_hidden": "bridge"}
    return {"encoder": encoder, "decoder": decoder | {"input_feeding": shape["input_feeding"]}}


def _model(given: dict[str, Any]) -> nn.Module:
    torch.set_num_threads(given["threads"])
    torch.manual_seed(1)
    if given["shape"].get("query") == "previous":
        raise SystemExit("joeynmt has no attention by the previous state")
    vocabulary = _vocabulary(given["vocabulary"])
    model: nn.Module = build_model(_config(given["shape"]), vocabulary, vocabulary)
    return model.to(given["device"])


def _batch(arrays: dict[str, Any], target: bool, device: str) -> Batch:
    rows = None
    if target:
        given, last = torch.from_numpy(arrays["input"]), torch.from_numpy(arrays["target"])
        rows = torch.cat([given, torch.full_like(given[:, :1], PAD)], dim=1)
        rows[:, 1:] = torch.where(last == EOS, EOS, rows[:, 1:])
    count = len(arrays["source"])
    return Batch(
        src=torch.from_numpy(arrays["source"]),
        src_length=torch.from_numpy(arrays["lengths"]),
        src_prompt_mask=None,
        trg=rows,
        trg_prompt_mask=None,
        indices=torch.arange(count),
        device=torch.device(device),
        pad_index=PAD,
        eos_index=EOS,
        is_train=target,
    )


def _finished(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def train(given: dict[str, Any], batches: list[dict[str, Any]]) -> tuple[Callable[[], None], dict[str, Any]]:
    model = _model(given)
    model.loss_function = ("crossentropy", given["label_smoothing"])  # type: ignore[assignment]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()

    def run() -> None:
        for arrays in batches:
            batch = _batch(arrays, True, given["device"])
            batch.sort_by_src_length()
            loss, *_ = model(return_type="loss", **vars(batch))
            batch.normalize(loss, normalization="tokens").backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            model.zero_grad()
        _finished(given["device"])

    return run, {"parameters": sum(p.numel() for p in model.parameters())}


def decode(given: dict[str, Any], batches: list[dict[str, Any]]) -> tuple[Callable[[], None], dict[str, Any]]:
    model = _model(given).eval()

    def run() -> None:
        for arrays in batches:
            batch = _batch(arrays, False, given["device"])
            batch.sort_by_src_length()
            length = int(arrays["length"])
            options = {"min_output_length": length, "generate_unk": False}
            search(model, batch, length, given["decoding"]["beam"], 1.0, **options)
        _finished(given["device"])

    return run, {"parameters": sum(p.numel() for p in model.parameters())}
