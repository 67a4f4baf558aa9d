"""`torch`: the same models written plainly with torch's modules under autocast, as in a tutorial."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

PAD = 0


class Recurrent(nn.Module):
    """Bidirectional LSTM encoder, and an LSTM decoder with additive attention and input feeding."""

    def __init__(self, vocabulary: int, shape: dict[str, Any]) -> None:
        super().__init__()
        size, encoder, hidden, attention = (shape[k] for k in ("embedding", "encoder", "decoder", "attention"))
        self.query_first, self.feeding = shape["query"] == "previous", shape["input_feeding"]
        self.source = nn.Embedding(vocabulary, size, PAD)
        self.target = nn.Embedding(vocabulary, size, PAD)
        self.encoder = nn.LSTM(size, encoder, bidirectional=True, batch_first=True)
        memory = 2 * encoder
        context = (memory if self.query_first else 0) + (hidden if self.feeding else 0)
        self.cell = nn.LSTMCell(size + context, hidden)
        self.bridge = nn.Linear(memory, 2 * hidden)
        self.query, self.keys = nn.Linear(hidden, attention, bias=False), nn.Linear(memory, attention)
        self.energy = nn.Linear(attention, 1, bias=False)
        self.mix = nn.Linear(hidden + memory, hidden) if self.feeding else nn.Identity()
        self.readout = nn.Linear(hidden + (hidden if self.feeding else memory) + size, size)
        self.output = nn.Linear(size, vocabulary)
        self.dropout = nn.Dropout(shape["dropout"])

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        packed = pack_padded_sequence(
            self.dropout(self.source(source)), lengths, batch_first=True, enforce_sorted=False
        )
        outputs, (last, _) = self.encoder(packed)
        memory, _ = pad_packed_sequence(outputs, batch_first=True)
        mask = _mask(memory.size(1), lengths, memory.device).unsqueeze(2)
        keys = self.keys(memory)
        h, c = torch.tanh(self.bridge(torch.cat([last[0], last[1]], dim=1))).chunk(2, dim=1)
        fed, steps, words = torch.zeros_like(h), [], self.dropout(self.target(target))
        for word in words.unbind(1):
            inputs = [word]
            if self.query_first:
                context = self.attend(h, keys, memory, mask)
                inputs.append(context)
            h, c = self.cell(torch.cat([*inputs, fed] if self.feeding else inputs, dim=1), (h, c))
            if not self.query_first:
                context = self.attend(h, keys, memory, mask)
            if self.feeding:
                fed = context = torch.tanh(self.mix(torch.cat([h, context], dim=1)))
            steps.append(torch.cat([h, context], dim=1))
        read = torch.tanh(self.readout(torch.cat([torch.stack(steps, dim=1), words], dim=2)))
        return self.output(self.dropout(read))  # type: ignore[no-any-return]

    def attend(self, query: Tensor, keys: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        scores = self.energy(torch.tanh(self.query(query).unsqueeze(1) + keys)).masked_fill(~mask, -math.inf)
        return (torch.softmax(scores, dim=1) * memory).sum(1)


class Transformer(nn.Module):
    """torch's nn.Transformer, pre-norm."""

    positions: Tensor

    def __init__(self, vocabulary: int, shape: dict[str, Any]) -> None:
        super().__init__()
        size = shape["size"]
        self.source, self.target = (nn.Embedding(vocabulary, size, PAD) for _ in range(2))
        self.body = nn.Transformer(
            *(size, shape["heads"], shape["layers"], shape["layers"], shape["feedforward"], shape["dropout"]),
            batch_first=True,
            norm_first=True,
        )
        self.output = nn.Linear(size, vocabulary)
        self.dropout = nn.Dropout(shape["dropout"])
        position, even = torch.arange(1024.0).unsqueeze(1), torch.arange(0, size, 2)
        angle = position * torch.exp(-math.log(10000.0) * even / size)
        self.register_buffer("positions", torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1))
        self.scale = math.sqrt(size)

    def forward(self, source: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
        padding = ~_mask(source.size(1), lengths, source.device)
        causal = nn.Transformer.generate_square_subsequent_mask(target.size(1), device=target.device)
        sides = [
            self.dropout(table(ids) * self.scale + self.positions[: ids.size(1)])
            for table, ids in ((self.source, source), (self.target, target))
        ]
        hidden = self.body(
            *sides,
            tgt_mask=causal,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
            tgt_is_causal=True,
        )
        return self.output(hidden)  # type: ignore[no-any-return]


def _mask(time: int, lengths: Tensor, device: torch.device) -> Tensor:
    """Returns the (B, time) mask of tokens; `lengths` are on the CPU, where packing needs them."""
    return (torch.arange(time) < lengths.unsqueeze(1)).to(device)


def train(spec: dict[str, Any], batches: list[dict[str, Any]]) -> tuple[Callable[[], None], dict[str, Any]]:
    torch.set_num_threads(spec["threads"])
    torch.manual_seed(1)
    shape, device = spec["shape"], torch.device(spec["device"])
    model = {"recurrent": Recurrent, "transformer": Transformer}[shape["type"]](spec["vocabulary"], shape).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    data = [
        {name: torch.from_numpy(array).to("cpu" if name == "lengths" else device) for name, array in batch.items()}
        for batch in batches
    ]

    def run() -> None:
        for batch in data:
            with torch.autocast(device.type, torch.bfloat16, enabled=spec["precision"] == "bf16"):
                logits = model(batch["source"], batch["lengths"], batch["input"])
            options = {"ignore_index": PAD, "label_smoothing": spec["label_smoothing"], "reduction": "sum"}
            loss = F.cross_entropy(logits.flatten(0, 1).float(), batch["target"].flatten(), **options)
            optimizer.zero_grad()
            (loss / (batch["target"] != PAD).sum()).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    return run, {"parameters": sum(p.numel() for p in model.parameters()), "version": torch.__version__}
