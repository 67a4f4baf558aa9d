"""Training callbacks: the metrics file, the progress bar and TensorBoard; a user can add callbacks.

The trainer calls them at the start, after each update, log line and validation, and at the end. A line is a flat
dictionary of numbers with an `event`:

    train    step, epoch, loss, nll, ppl, lr, grad_norm, tokens_per_s, waiting, memory, threads, tokens, seconds
    valid    step, epoch, tokens, seconds, the validation metrics (valid_loss, valid_bleu …), best
    average  as valid, and the averaged `steps`; `best` tells whether the average became the result

Losses are means since the previous line, in nats per target token: `loss` includes label smoothing, `nll` does not, and
`ppl` is exp(nll). `grad_norm` is the mean norm before clipping. `waiting` is the data-loading share of the time.
`memory` is the peak memory of the process so far in MiB, validation included (on a GPU torch's allocations there; null
if the system does not report it). `threads` is the number of CPU threads (null on a GPU). `tokens` and `seconds` count
the whole run, resumed parts included, validation excluded.
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
    """Base class of callbacks; each method does nothing by default."""

    def on_start(self, step: int, total: int | None) -> None:
        """Called before the first update with the updates done and the `total` of the whole run, if known."""

    def on_step(self, step: int) -> None:
        """Called after each update. It should be cheap and not synchronise with the device."""

    def on_log(self, metrics: Metrics) -> None:
        """Called after a `train` line."""

    def on_validation(self, metrics: Metrics) -> None:
        """Called after a `valid` or `average` line."""

    def on_end(self) -> None:
        """Called when training is over: finished, stopped or failed."""


class MetricsFile(Callback):
    """Writer of `metrics.jsonl`: one JSON object per line, written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0

    def truncate(self, lines: int) -> None:
        """Keeps only the first `lines` lines; a killed run wrote the others after its last saved state."""
        try:
            old = self.path.read_bytes() if self.path.exists() else b""
        except OSError as error:
            raise S2SError(f"cannot read {self.path}: {error.strerror}") from error
        kept = [line for line in old.splitlines(keepends=True) if line.endswith(b"\n")][:lines]
        if b"".join(kept) != old:
            with atomic_write(self.path, "wb") as file:
                file.write(b"".join(kept))
        self.lines = len(kept)

    def on_log(self, metrics: Metrics) -> None:
        # JSON has no infinity: an overflown perplexity, for example, is null.
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
                    file.truncate(before)  # no reader could parse half a line
                    raise
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self.lines += 1

    on_validation = on_log


class Progress(Callback):
    """Progress bar on stderr with loss, perplexity, speed and the time left; plain log lines if stderr is no terminal.

    Args:
        interval: minimum seconds between plain lines.
        terminal: whether to draw the bar; None checks stderr.
    """

    def __init__(self, interval: float = 10.0, terminal: bool | None = None) -> None:
        self.interval = interval
        self.terminal = sys.stderr.isatty() if terminal is None else terminal
        self._stack = ExitStack()
        self._bar: tqdm[Any] | None = None
        self._total: int | None = None
        self._start = (0.0, 0)
        self._last = 0.0

    def on_start(self, step: int, total: int | None) -> None:
        self._total, self._start = total, (time.monotonic(), step)
        self._last = -self.interval
        if self.terminal:
            self._bar = self._stack.enter_context(
                tqdm(total=total, initial=step, unit="update", desc="training", file=sys.stderr, dynamic_ncols=True)
            )
            self._stack.enter_context(logging_redirect_tqdm())  # log lines go above the bar, not through it

    def on_step(self, step: int) -> None:
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def on_log(self, metrics: Metrics) -> None:
        summary = f"loss {metrics['loss']:.3f}, ppl {metrics['ppl']:.2f}, {metrics['tokens_per_s']:,.0f} tokens/s"
        if self._bar is not None:
            self._bar.set_postfix_str(summary, refresh=False)
            return
        now = time.monotonic()
        if now - self._last >= self.interval:
            self._last = now
            total = f"/{self._total}" if self._total else ""
            step, epoch = metrics["step"], metrics["epoch"]
            log.info("update %d%s, epoch %d: %s%s", step, total, epoch, summary, self._left(step))

    def on_end(self) -> None:
        self._stack.close()
        self._bar = None

    def _left(self, step: int) -> str:
        start, first = self._start
        if not self._total or step <= first:
            return ""
        seconds = (time.monotonic() - start) * max(0, self._total - step) / (step - first)
        return f", {tqdm.format_interval(seconds)} left"


class TensorBoard(Callback):
    """Writer of the same numbers as TensorBoard event files in `folder`.

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
        # Hides the events of a killed run after the state it resumes from.
        self._writer = self._writer_class(str(self.folder), purge_step=step + 1 if step else None)

    def on_end(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def on_log(self, metrics: Metrics) -> None:
        for key, value in metrics.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool) and key != "step":
                self._writer.add_scalar(f"{metrics['event']}/{key}", value, metrics["step"])

    on_validation = on_log
