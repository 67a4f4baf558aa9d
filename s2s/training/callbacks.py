"""What watches a training run: the metrics file, the progress bar, TensorBoard, or a callback of your own.

The trainer tells its callbacks about the start, each update, each logged line, each validation and the end. A line is a
flat dictionary of numbers with an `event`:

    train    step, epoch, loss, nll, ppl, lr, grad_norm, tokens_per_s, waiting, memory, threads, tokens, seconds
    valid    step, epoch, tokens, seconds, what validation measured (valid_loss, valid_bleu …), best
    average  as valid, and the `steps` that were averaged; `best` says whether the average became the result

Losses are nats per target token and means since the line before; `loss` has label smoothing in it, `nll` has not, and
`ppl` is exp(nll). `grad_norm` is the mean norm before clipping. `waiting` is the share of the time in which the model
waited for batches. `memory` is MiB, what the process has had at most so far, validation included (on a GPU what torch
allocated there; null where the system does not say); `threads` are those of the CPU (null on a GPU). `tokens` and
`seconds` count the whole run, resumed parts included, validation excluded.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from s2s.errors import S2SError
from s2s.files import atomic_write, cannot_write

log = logging.getLogger(__name__)

Metrics = dict[str, Any]


class Callback:
    """Base class; each method does nothing until overridden."""

    def on_start(self, step: int, total: int | None) -> None:
        """Before the first update: updates already done, and updates in the whole run as far as known."""

    def on_step(self, step: int) -> None:
        """After each update. Keep it cheap, and wait for no device."""

    def on_log(self, metrics: Metrics) -> None:
        """After a `train` line."""

    def on_validation(self, metrics: Metrics) -> None:
        """After a `valid` or `average` line."""

    def on_end(self) -> None:
        """When training is over, whether it finished, was stopped or failed."""


class MetricsFile(Callback):
    """`metrics.jsonl`: one JSON object for each line, each written whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0

    def cut(self, lines: int) -> None:
        """Keeps the first `lines` lines only; what a killed run wrote after its last saved state goes."""
        old = self.path.read_bytes() if self.path.exists() else b""
        kept = [line for line in old.splitlines(keepends=True) if line.endswith(b"\n")][:lines]
        if b"".join(kept) != old:
            with atomic_write(self.path, "wb") as file:
                file.write(b"".join(kept))
        self.lines = len(kept)

    def on_log(self, metrics: Metrics) -> None:
        self._append(metrics)

    def on_validation(self, metrics: Metrics) -> None:
        self._append(metrics)

    def _append(self, metrics: Metrics) -> None:
        # JSON has no word for infinity: an overflown perplexity, for example, is null.
        values = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in metrics.items()}
        line = (json.dumps(values, ensure_ascii=False) + "\n").encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                before = file.tell()
                try:
                    if file.write(line) != len(line):
                        raise OSError("no space left on the device")
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(before)  # half a line would be one that no reader understands
                    raise
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self.lines += 1


class Progress(Callback):
    """A bar with loss, perplexity, speed and the time left on stderr; plain log lines where stderr is no terminal.

    Args:
        interval: seconds between plain lines, at least.
        terminal: draw the bar; None looks at stderr.
    """

    def __init__(self, interval: float = 10.0, terminal: bool | None = None) -> None:
        self.interval = interval
        self.terminal = sys.stderr.isatty() if terminal is None else terminal
        self._open = ExitStack()
        self._bar: tqdm[Any] | None = None
        self._total: int | None = None
        self._start = (0.0, 0)
        self._last = 0.0

    def on_start(self, step: int, total: int | None) -> None:
        self._total, self._start = total, (time.monotonic(), step)
        self._last = -self.interval
        if self.terminal:
            self._bar = self._open.enter_context(
                tqdm(total=total, initial=step, unit="update", desc="training", file=sys.stderr, dynamic_ncols=True)
            )
            self._open.enter_context(logging_redirect_tqdm())  # log lines go above the bar, not through it

    def on_step(self, step: int) -> None:
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def on_log(self, metrics: Metrics) -> None:
        shown = f"loss {metrics['loss']:.3f}, ppl {metrics['ppl']:.2f}, {metrics['tokens_per_s']:,.0f} tokens/s"
        if self._bar is not None:
            self._bar.set_postfix_str(shown, refresh=False)
            return
        now = time.monotonic()
        if now - self._last >= self.interval:
            self._last = now
            total = f"/{self._total}" if self._total else ""
            log.info(
                "update %d%s, epoch %d: %s%s",
                metrics["step"],
                total,
                metrics["epoch"],
                shown,
                self._left(metrics["step"]),
            )

    def on_end(self) -> None:
        self._open.close()
        self._bar = None

    def _left(self, step: int) -> str:
        began, first = self._start
        if not self._total or step <= first:
            return ""
        seconds = (time.monotonic() - began) * max(0, self._total - step) / (step - first)
        return f", {tqdm.format_interval(seconds)} left"


class TensorBoard(Callback):
    """The same numbers as TensorBoard event files.

    Args:
        folder: where they go.

    Raises:
        S2SError: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise S2SError("training.tensorboard=true needs tensorboard: pip install 's2s[tensorboard]'") from error
        self.folder = folder
        self._writer_class = SummaryWriter
        self._writer: Any = None

    def on_start(self, step: int, total: int | None) -> None:
        # Events of a killed run that come after the state it resumes from are hidden.
        self._writer = self._writer_class(str(self.folder), purge_step=step + 1 if step else None)

    def on_log(self, metrics: Metrics) -> None:
        self._write(metrics)

    def on_validation(self, metrics: Metrics) -> None:
        self._write(metrics)

    def on_end(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _write(self, metrics: Metrics) -> None:
        for key, value in metrics.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool) and key != "step":
                self._writer.add_scalar(f"{metrics['event']}/{key}", value, metrics["step"])
