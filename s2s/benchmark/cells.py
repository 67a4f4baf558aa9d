"""Forward and backward time of recurrent layers: every cell, every way to take its steps, and torch's own modules.

A layer reads B ragged sequences (lengths evenly from T/2 to T, width H) and its outputs' sum is differentiated with
respect to input and parameters. torch's modules get the same sequences packed. In bf16 our layers run under autocast,
with parameters in fp32; torch's modules are in bf16 altogether. torch's cells stand for the plain loop that everybody
writes first: over the padded batch, input and state in one step, under autocast.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from s2s.benchmark.machine import medians, product_rate
from s2s.nn.cells import Cell, cell_class
from s2s.nn.recurrent import Recurrence, RecurrentLayer, RecurrentStack
from s2s.schema import PositiveInt

Precision = Literal["fp32", "bf16"]
WAYS: tuple[Recurrence, ...] = ("loop", "bptt", "torch")
TORCH: dict[str, Callable[..., nn.RNNBase]] = {"torch.nn.LSTM": nn.LSTM, "torch.nn.GRU": nn.GRU}
TORCH_CELLS: dict[str, Callable[..., nn.RNNCellBase]] = {
    "torch.nn.LSTMCell": nn.LSTMCell,
    "torch.nn.GRUCell": nn.GRUCell,
}


@dataclass(frozen=True)
class CellsConfig:
    """What `task=cells` measures: everything in `cells`, at every combination of the rest."""

    cells: dict[str, dict[str, Any]]  # by name in the table: cell, and options of its constructor
    batch: list[PositiveInt]
    time: list[PositiveInt]
    hidden: list[PositiveInt]
    precision: list[Precision]
    directions: list[Literal[1, 2]]
    layouts: list[Literal["packed", "padded"]] = field(default_factory=lambda: ["packed"])  # see s2s.nn.recurrent


@dataclass(frozen=True)
class Setting:
    batch: int
    time: int
    hidden: int
    precision: str
    directions: int

    def __str__(self) -> str:
        ways = "one direction" if self.directions == 1 else "two directions"
        return f"B={self.batch} T={self.time} H={self.hidden} {self.precision} {ways}"


def settings(config: CellsConfig) -> list[Setting]:
    return [
        Setting(*values)
        for values in itertools.product(config.batch, config.time, config.hidden, config.precision, config.directions)
    ]


def runs_of(config: CellsConfig, setting: Setting, device: torch.device) -> dict[str, Callable[[], object]]:
    """Forward and backward passes by name: `lstm bptt`, …, `torch.nn.LSTM`; with several layouts `lstm bptt padded`."""
    torch.manual_seed(0)
    lengths = torch.linspace(max(1, setting.time // 2), setting.time, setting.batch).round().long()
    x = torch.randn(setting.batch, setting.time, setting.hidden, device=device, requires_grad=True)
    mask = (torch.arange(setting.time) < lengths.unsqueeze(1)).to(device)
    runs: dict[str, Callable[[], object]] = {}
    for name, given in config.cells.items():
        for way in WAYS:
            levels = [_layer(given, setting, way, n == 1) for n in range(setting.directions)]
            if levels[0].backend(device)[0] != way:
                continue
            for layout in config.layouts:
                stack = RecurrentStack([levels], 0.0).to(device)
                stack.layout = layout
                label = f"{name} {way}" if len(config.layouts) == 1 else f"{name} {way} {layout}"
                runs[label] = _ours(copy.deepcopy(stack), x, mask, setting.precision, lengths.tolist())
    kind = torch.bfloat16 if setting.precision == "bf16" else torch.float32
    for name, make in TORCH.items():
        module = make(setting.hidden, setting.hidden, batch_first=True, bidirectional=setting.directions == 2)
        runs[name] = _theirs(module.to(device, kind), x, lengths, kind)
    for name, cell in TORCH_CELLS.items():
        cells = [cell(setting.hidden, setting.hidden).to(device) for _ in range(setting.directions)]
        runs[name] = _plain(cells, x, mask, setting.precision)
    return runs


def _layer(given: dict[str, Any], setting: Setting, way: Recurrence, reverse: bool) -> RecurrentLayer:
    options = dict(given)
    cell: Cell = cell_class(options.pop("cell"))(setting.hidden, setting.hidden, **options)
    layer = RecurrentLayer(cell, reverse)
    layer.recurrence = way
    return layer


def _ours(stack: RecurrentStack, x: Tensor, mask: Tensor, precision: str, lengths: list[int]) -> Callable[[], object]:
    wanted = [x, *stack.parameters()]

    def run() -> object:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
            outputs, _ = stack(x, mask, lengths=lengths)
        return torch.autograd.grad(outputs.float().sum(), wanted)

    return run


def _theirs(module: nn.RNNBase, x: Tensor, lengths: Tensor, kind: torch.dtype) -> Callable[[], object]:
    wanted = [x, *module.parameters()]

    def run() -> object:
        packed = pack_padded_sequence(x.to(kind), lengths, batch_first=True, enforce_sorted=False)
        outputs, _ = pad_packed_sequence(module(packed)[0], batch_first=True)
        return torch.autograd.grad(outputs.float().sum(), wanted)

    return run


def _plain(cells: list[nn.RNNCellBase], x: Tensor, mask: Tensor, precision: str) -> Callable[[], object]:
    wanted = [x, *(parameter for cell in cells for parameter in cell.parameters())]

    def run() -> object:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
            outputs = [_stepped(cell, x if n == 0 else x.flip(1)) for n, cell in enumerate(cells)]
        total = torch.cat(outputs, dim=-1).float().masked_fill(~mask.unsqueeze(-1), 0.0).sum()
        return torch.autograd.grad(total, wanted)

    return run


def _stepped(cell: nn.RNNCellBase, x: Tensor) -> Tensor:
    state, outputs = None, []
    for part in x.unbind(1):
        state = cell(part, state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return torch.stack(outputs, dim=1)


def measure(
    config: CellsConfig, repetitions: int, device: torch.device, done: Callable[[], object]
) -> list[dict[str, Any]]:
    """A row for each setting: the setting, seconds by name, and the rate of its step's matrix product."""
    rows = []
    for setting in settings(config):
        seconds = medians(runs_of(config, setting, device), repetitions, device, done)
        kind = torch.bfloat16 if setting.precision == "bf16" else torch.float32
        rate = product_rate(setting.batch, setting.hidden, 4 * setting.hidden, kind, device)
        rows.append({**asdict(setting), "seconds": seconds, "product_gflops": rate / 1e9})
    return rows


def count_runs(config: CellsConfig, repetitions: int, device: torch.device) -> int:
    """Calls that `measure` reports as done."""
    tiny = [Setting(1, 1, 1, s.precision, s.directions) for s in settings(config)]
    return (repetitions + 1) * sum(len(runs_of(config, setting, device)) for setting in tiny)


def table(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A line for each setting and name: milliseconds, and how many times as fast as the loop and as torch's LSTM."""
    lines = [["what", "ms", "× loop", "× torch.nn.LSTM", "% of product rate"]]
    for row in rows:
        setting = Setting(**{key: row[key] for key in Setting.__dataclass_fields__})
        lines.append([f"{setting} ({row['product_gflops']:.0f} GF/s)", "", "", "", ""])
        for name, seconds in row["seconds"].items():
            cell, _, layout = (*name.split(" "), "", "")[:3]
            loop = row["seconds"].get(f"{cell} loop {layout}".strip())
            against = row["seconds"]["torch.nn.LSTM"] / seconds
            share = _operations(name, setting) / seconds / (row["product_gflops"] * 1e9)
            lines.append(
                [
                    f"  {name}",
                    f"{1000 * seconds:.1f}",
                    "" if loop is None else f"{loop / seconds:.2f}",
                    f"{against:.2f}",
                    f"{100 * share:.0f}",
                ]
            )
    return lines


GATES = {"rnn": 1, "lstm": 4, "gru": 3, "mgu": 2, "sru": 3}


def _operations(name: str, setting: Setting) -> float:
    """Operations of the matrix products: input's and state's, forward and twice that backward, real steps only."""
    cell = name.removeprefix("torch.nn.").removesuffix("Cell").lower().split(" ")[0].split("-")[0]
    steps = setting.batch * (setting.time // 2 + setting.time) / 2
    products = 1 if cell == "sru" else 2
    return 6 * GATES.get(cell, 0) * products * setting.hidden**2 * steps * setting.directions
