"""`task=cells`: forward and backward time of recurrent layers, for every cell and backend, beside torch's own modules.

A layer reads B ragged sequences (lengths evenly from T/2 to T, width H), and the sum of its outputs is differentiated
with respect to input and parameters. torch's modules get the same sequences packed. In bf16 our layers run under
autocast with fp32 parameters; torch's modules are in bf16 altogether. torch's cells stand for the plain loop that
everybody writes first: over the padded batch, input and state in one step, under autocast.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from s2s.benchmark.machine import gemm_rate, medians
from s2s.dtype_choice import DTYPES, Dtype
from s2s.nn.cells import CELLS
from s2s.nn.recurrent import Recurrence, RecurrentLayer, RecurrentStack
from s2s.schema import PositiveInt

BACKENDS: tuple[Recurrence, ...] = ("loop", "bptt", "scan", "torch")
TORCH: dict[str, Callable[..., nn.RNNBase]] = {"torch.nn.LSTM": nn.LSTM, "torch.nn.GRU": nn.GRU}
TORCH_CELLS: dict[str, Callable[..., nn.RNNCellBase]] = {
    "torch.nn.LSTMCell": nn.LSTMCell,
    "torch.nn.GRUCell": nn.GRUCell,
}
GATES = {"rnn": 1, "lstm": 4, "gru": 3, "mgu": 2, "sru": 3}


@dataclass(frozen=True)
class CellsConfig:
    """Configuration of `task=cells`: all `cells` at every combination of the other values."""

    cells: dict[str, dict[str, Any]]  # by name in the table: cell, and options of its constructor
    batch: list[PositiveInt]
    time: list[PositiveInt]
    hidden: list[PositiveInt]
    precision: list[Dtype]
    directions: list[Literal[1, 2]]
    layouts: list[Literal["packed", "padded"]] = field(default_factory=lambda: ["packed"])  # see s2s.nn.recurrent


@dataclass(frozen=True)
class Setting:
    """One combination of sizes."""

    batch: int
    time: int
    hidden: int
    precision: Dtype
    directions: int

    def __str__(self) -> str:
        directions = "one direction" if self.directions == 1 else "two directions"
        return f"B={self.batch} T={self.time} H={self.hidden} {self.precision} {directions}"


def settings(config: CellsConfig) -> list[Setting]:
    """Returns all combinations of sizes."""
    sizes = (config.batch, config.time, config.hidden, config.precision, config.directions)
    return [Setting(*values) for values in itertools.product(*sizes)]


def runs_of(config: CellsConfig, setting: Setting, device: torch.device) -> dict[str, Callable[[], object]]:
    """Returns forward and backward passes by name, such as `lstm bptt`, `torch.nn.LSTM`.

    With several layouts the names have the form `lstm bptt padded`.
    """
    torch.manual_seed(0)
    lengths = torch.linspace(max(1, setting.time // 2), setting.time, setting.batch).round().long()
    x = torch.randn(setting.batch, setting.time, setting.hidden, device=device, requires_grad=True)
    mask = (torch.arange(setting.time) < lengths.unsqueeze(1)).to(device)
    autocast = setting.precision == "bf16"
    runs: dict[str, Callable[[], object]] = {}
    for (name, options), backend in itertools.product(config.cells.items(), BACKENDS):
        layers = [_layer(setting, backend, direction == 1, **options) for direction in range(setting.directions)]
        if layers[0].select_backend(device)[0] != backend:
            continue
        for layout in config.layouts:
            stack = copy.deepcopy(RecurrentStack([layers], 0.0).to(device))
            stack.layout = layout
            label = f"{name} {backend}" + (f" {layout}" if len(config.layouts) > 1 else "")
            runs[label] = _run(partial(_stack_outputs, stack, x, mask, lengths.tolist()), x, stack, autocast)
    for name, module_type in TORCH.items():
        options = {"batch_first": True, "bidirectional": setting.directions == 2}
        module = module_type(setting.hidden, setting.hidden, **options).to(device, DTYPES[setting.precision])
        runs[name] = _run(partial(_module_outputs, module, x, lengths, DTYPES[setting.precision]), x, module, False)
    for name, cell_type in TORCH_CELLS.items():
        cells = nn.ModuleList(cell_type(setting.hidden, setting.hidden) for _ in range(setting.directions)).to(device)
        runs[name] = _run(partial(_loop_outputs, cells, x, mask), x, cells, autocast)
    return runs


def _layer(setting: Setting, backend: Recurrence, reverse: bool, cell: str, **options: Any) -> RecurrentLayer:
    layer = RecurrentLayer(CELLS.find(cell)(setting.hidden, setting.hidden, **options), reverse)
    layer.recurrence = backend
    return layer


def _run(forward: Callable[[], Tensor], x: Tensor, module: nn.Module, autocast: bool) -> Callable[[], object]:
    """Returns a function that runs `forward` and differentiates the sum of its outputs."""
    inputs = [x, *module.parameters()]

    def run() -> object:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
            outputs = forward()
        return torch.autograd.grad(outputs.float().sum(), inputs)

    return run


def _stack_outputs(stack: RecurrentStack, x: Tensor, mask: Tensor, lengths: list[int]) -> Tensor:
    return stack(x, mask, lengths=lengths)[0]  # type: ignore[no-any-return]


def _module_outputs(module: nn.RNNBase, x: Tensor, lengths: Tensor, dtype: torch.dtype) -> Tensor:
    packed = pack_padded_sequence(x.to(dtype), lengths, batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(module(packed)[0], batch_first=True)[0]


def _loop_outputs(cells: nn.ModuleList, x: Tensor, mask: Tensor) -> Tensor:
    directions = []
    for n, cell in enumerate(cells):
        state, outputs = None, []
        for step in (x if n == 0 else x.flip(1)).unbind(1):
            state = cell(step, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        directions.append(torch.stack(outputs, dim=1))
    return torch.cat(directions, dim=-1).float().masked_fill(~mask.unsqueeze(-1), 0.0)


def measure(
    config: CellsConfig, repetitions: int, device: torch.device, done: Callable[[], object]
) -> list[dict[str, Any]]:
    """Returns a row per setting: the setting, seconds by name, and the GEMM throughput at the size of its step."""
    rows = []
    for setting in settings(config):
        seconds = medians(runs_of(config, setting, device), repetitions, device, done)
        rate = gemm_rate(setting.batch, setting.hidden, 4 * setting.hidden, DTYPES[setting.precision], device)
        rows.append({**asdict(setting), "seconds": seconds, "product_gflops": rate / 1e9})
    return rows


def count_runs(config: CellsConfig, repetitions: int, device: torch.device) -> int:
    """Returns the number of calls that `measure` reports as done."""
    tiny = [Setting(1, 1, 1, s.precision, s.directions) for s in settings(config)]
    return (repetitions + 1) * sum(len(runs_of(config, setting, device)) for setting in tiny)


def table(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Returns a line per setting and name: milliseconds, and speedup over the loop and over torch's LSTM."""
    lines = [["layer", "ms", "× loop", "× torch.nn.LSTM", "% of GEMM rate"]]
    for row in rows:
        setting = Setting(**{key: row[key] for key in Setting.__dataclass_fields__})
        lines.append([f"{setting} ({row['product_gflops']:.0f} GF/s)", "", "", "", ""])
        for name, seconds in row["seconds"].items():
            cell, _, layout = (*name.split(" "), "", "")[:3]
            loop = row["seconds"].get(f"{cell} loop {layout}".strip())
            speedup = "" if loop is None else f"{loop / seconds:.2f}"
            over_torch = f"{row['seconds']['torch.nn.LSTM'] / seconds:.2f}"
            share = f"{100 * _operations(name, setting) / seconds / (row['product_gflops'] * 1e9):.0f}"
            lines.append([f"  {name}", f"{1000 * seconds:.1f}", speedup, over_torch, share])
    return lines


def _operations(name: str, setting: Setting) -> float:
    """Returns the operations of the input's and the state's GEMM: forward, and twice that backward, without padding."""
    cell = name.removeprefix("torch.nn.").removesuffix("Cell").lower().split(" ")[0].split("-")[0]
    steps = setting.batch * (setting.time // 2 + setting.time) / 2
    gemms = 1 if cell == "sru" else 2
    return 6 * GATES.get(cell, 0) * gemms * setting.hidden**2 * steps * setting.directions
