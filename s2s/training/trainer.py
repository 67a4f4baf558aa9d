"""Training loop for any model with `model(batch, label_smoothing) -> LossSums`: updates, validation, checkpoints.

An update takes the next `accumulate` micro-batches of the epoch, or those that are left (`s2s.training.step`). A run
that is killed at any moment and started again ends in the same bits as an uninterrupted one (on a CPU; GPU kernels may
add in another order): batches and random numbers follow from (seed, epoch, position), and everything else is in
`TrainingState`, including the partial sums of the next log line.

At the end, `average=last|best` averages the kept checkpoints (Popel & Bojar 2018 measure the gain). The average becomes
the result if its validation score is at least that of the best single checkpoint.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import torch

from s2s.devices import peak_memory
from s2s.errors import S2SError
from s2s.models.interface import Seq2Seq
from s2s.training.callbacks import Callback, MetricsFile
from s2s.training.graphs import pad_to_captured_shape
from s2s.training.interrupt import Interrupted, Signals
from s2s.training.prefetch import MicroBatches, Prefetcher
from s2s.training.state import TrainingState
from s2s.training.step import Updater
from s2s.training.weights import fill, mean_weights, model_tensors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """Outcome of a run."""

    steps: int  # updates
    stopped_by: str  # max_steps, max_epochs or patience
    already_finished: bool  # there was nothing left to do
    metric: str  # bleu or loss
    best_score: float  # this metric of the weights in model.safetensors
    from_steps: list[int]  # steps of those weights; several: their mean
    train_seconds: float  # validation excluded, all resumed parts included
    tokens: int  # target tokens processed
    tokens_per_s: float
    waiting: float  # data-loading share of the seconds


class Trainer:
    """Training of a model in a run directory, resumed from its saved state if there is one.

    Args:
        updater: model, optimiser, settings and run directory; when `fit` returns, its model has the weights of
            `model.safetensors`.
        data: the micro-batches of each epoch.
        validate: measures the model (in eval mode, without gradients): `valid_loss`, `valid_bleu` and more.
        callbacks: called after `metrics.jsonl` is written, which is always done.
    """

    def __init__(
        self,
        updater: Updater,
        data: MicroBatches,
        validate: Callable[[Seq2Seq], Mapping[str, float]],
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.updater, self.validate = updater, validate
        self.model, self.run, self.config, self.group = updater.model, updater.run, updater.training, updater.group
        self.data = Prefetcher(data, updater.device, pad_to_captured_shape if updater.graphed else None)
        self.state = TrainingState()
        self._metrics = MetricsFile(self.run.metrics)
        self._callbacks = [self._metrics, *callbacks] if self.group.is_main else []
        self._saved = (0, 0)  # steps of the saved state and of its last validation
        self._clock = time.perf_counter()

    def fit(self) -> Result:
        """Trains until a limit is reached.

        Raises:
            S2SError: the loss is not finite, files cannot be read or written, or there is nothing to train on.
            Interrupted: a signal came; the state is saved.
        """
        self._signals, self._stop = Signals(), False
        self._resume()
        finished = bool(self.state.stopped_by and self.state.limit(self.config))
        if not finished:
            self.state.stopped_by, self.state.average = "", []
        self._export_weights()
        if not finished:
            try:
                with self._signals:
                    self._train()
            finally:
                self.data.close()
                for callback in self._callbacks:
                    callback.on_end()
        self.group.barrier()  # wait for rank 0's file
        self.run.load_weights(self.model)
        self.model.eval()
        state = self.state
        score = state.average_score if state.average else state.best_score
        return Result(
            steps=state.step,
            stopped_by=state.stopped_by,
            already_finished=finished,
            metric=self.config.metric,
            best_score=score if self.config.metric == "bleu" else -score,
            from_steps=state.exported,
            train_seconds=state.seconds,
            tokens=state.tokens,
            tokens_per_s=state.tokens / state.seconds if state.seconds else 0.0,
            waiting=state.waited / state.seconds if state.seconds else 0.0,
        )

    def _resume(self) -> None:
        state = self.run.load_state(self.model, self.updater.optimizer)
        if state is not None:
            self.state = state
            self.updater.schedule.load_state_dict(state.schedule)
            self._saved = (state.step, state.validated)
            if not state.stopped_by:
                log.info("resuming at update %d, epoch %d", state.step, self.state.epoch_number)
        if self.group.all_reduce([self.state.step])[0] != self.state.step * self.group.size:
            raise S2SError(f"the processes find different training states in {self.run.path}: it must be shared")
        if self.group.is_main:
            self.run.remove_stale_files(self.state)
            self._metrics.truncate(self.state.metrics_lines)
        self.group.broadcast(model_tensors(self.model).values())

    def _train(self) -> None:
        self._num_batches = self.data.num_batches(self.state.epoch)
        if self._num_batches == 0:
            raise S2SError("there is nothing to train on: the training split gives no batch")
        if self.group.size > self.config.accumulate:
            log.warning(
                "%d processes and training.accumulate=%d: some are idle", self.group.size, self.config.accumulate
            )
        for callback in self._callbacks:
            callback.on_start(self.state.step, self.state.total_steps(self.config, self._num_batches))
        self.model.train()
        self._clock = time.perf_counter()
        while True:
            if self.state.validation_due(self.config):
                self._validate()
            if self._stopping():
                self._interrupt()
            limit = self.state.limit(self.config)
            if limit:
                break
            self._update()
            for callback in self._callbacks:
                callback.on_step(self.state.step)
            if self.state.step % self.config.log_every == 0 or self.state.limit(self.config):
                self._log()
            if self.state.step % self.config.save_every == 0 and not self.state.validation_due(self.config):
                self._save()
        self._finish(limit)

    def _update(self) -> None:
        state = self.state
        positions = range(state.position, min(state.position + self.config.accumulate, self._num_batches))
        stop = self._signals.caught is not None
        self._prefetch(positions)
        waited = self.data.waited
        batches = {position: self.data.batch(state.epoch, position) for position in self.group.share(positions)}
        tokens, self._stop = self.updater.update(state.step + 1, state.epoch, positions, batches, stop)
        state.step += 1
        state.tokens += tokens
        state.position = positions.stop
        if state.position >= self._num_batches:
            state.epoch, state.position = state.epoch + 1, 0
            if not state.limit(self.config):  # counting the batches of an epoch may mean to sample its subwords
                self._num_batches = self.data.num_batches(state.epoch)
        state.waited += self.data.waited - waited
        state.window["waited"] = state.window.get("waited", 0.0) + self.data.waited - waited

    def _prefetch(self, positions: range) -> None:
        """Queues the batches of this update, and those of the next one if there will be one."""
        state, config = self.state, self.config
        for position in self.group.share(positions):
            self.data.prefetch(state.epoch, position)
        epoch, start, count = state.epoch, positions.stop, self._num_batches
        if start >= count:
            # The next epoch's number of batches is not known yet, but there is at least one.
            epoch, start, count = state.epoch + 1, 0, 1
        if (config.max_steps is None or state.step + 1 < config.max_steps) and (
            config.max_epochs is None or epoch < config.max_epochs
        ):
            for position in self.group.share(range(start, min(start + config.accumulate, count))):
                self.data.prefetch(epoch, position)

    def _flush_metrics(self) -> None:
        """Updates the sums of the next log line and the clock."""
        state = self.state
        self.updater.flush_metrics(state.window)
        now = time.perf_counter()
        state.seconds += now - self._clock
        state.window["seconds"] = state.window.get("seconds", 0.0) + now - self._clock
        self._clock = now

    def _log(self) -> None:
        self._flush_metrics()
        state, window = self.state, self.state.window
        if not window.get("updates"):
            return
        loss, nll = window["loss"] / window["tokens"], window["nll"] / window["tokens"]
        line = {
            "event": "train",
            "step": state.step,
            "epoch": self.state.epoch_number,
            "loss": loss,
            "nll": nll,
            "ppl": math.exp(min(nll, 700.0)),  # larger values overflow a float
            "lr": self.updater.schedule.rate(state.step),
            "grad_norm": window["norm"] / window["updates"],
            "tokens_per_s": window["tokens"] / max(window["seconds"], 1e-9),
            "waiting": window.get("waited", 0.0) / max(window["seconds"], 1e-9),
            "memory": peak_memory(self.updater.device),
            "threads": torch.get_num_threads() if self.updater.device.type == "cpu" else None,
            "tokens": state.tokens,
            "seconds": state.seconds,
        }
        state.window = {}
        for callback in self._callbacks:
            callback.on_log(line)

    def _save(self) -> None:
        self._flush_metrics()
        state = self.state
        state.schedule, state.metrics_lines = self.updater.schedule.state_dict(), self._metrics.lines
        if self.group.is_main:
            self.run.save_state(state, self.model, self.updater.optimizer)
        self._saved = (state.step, state.validated)
        self._clock = time.perf_counter()

    def _export_weights(self) -> None:
        if self.group.is_main:
            self.run.export_weights(self.state, self.model)

    def _stopping(self) -> bool:
        """Whether a signal came; several processes learn it together, in `_update`."""
        return self._stop or (self.group.size == 1 and self._signals.caught is not None)

    def _interrupt(self) -> NoReturn:
        if self._saved != (self.state.step, self.state.validated):
            self._save()
        self.group.barrier()  # leave together: torchrun ends the other processes when one has exited
        number = self._signals.caught or 15  # another process caught it
        log.info("stopped by signal %d at update %d", number, self.state.step)
        raise Interrupted(self.state.step, number)

    def _score(self) -> tuple[dict[str, Any], float] | None:
        """Returns the metrics of the current model and its score (larger is better); None if a signal came first."""
        metrics: Mapping[str, float] | None = {}
        if self.group.is_main:
            self.model.eval()
            with torch.no_grad():
                # The other ranks wait for rank 0's score, so only a single process aborts validation.
                work = partial(self.validate, self.model)
                metrics = self._signals.unless_stopped(work) if self.group.size == 1 else work()
            self.model.train()
        self._clock = time.perf_counter()
        if metrics is None:
            return None
        key = f"valid_{self.config.metric}"
        sign = 1.0 if self.config.metric == "bleu" else -1.0
        score = self.group.from_main(sign * metrics[key] if self.group.is_main else 0.0)
        if not math.isfinite(score):
            raise S2SError(
                f"{key} is not finite at update {self.state.step}: try a lower optim.lr or optim.clip_norm=1"
            )
        return dict(metrics), score

    def _validate(self) -> None:
        self._flush_metrics()
        scored = None if self._stopping() else self._score()
        if scored is None:
            return
        state, (metrics, score) = self.state, scored
        improved = state.best_step == 0 or score > state.best_score
        self._report("valid", metrics, {"best": improved})
        state.validated = state.step
        state.unimproved = 0 if improved else state.unimproved + 1
        if improved:
            state.best_step, state.best_score = state.step, score
        self.updater.schedule.observe(state.step, improved)
        if self.config.average != "none":
            state.kept[state.step] = score
            needed = {*state.averaged_steps(self.config), state.best_step}
            state.kept = {step: score for step, score in state.kept.items() if step in needed}
            if self.group.is_main and state.step in needed:
                self.run.save_weights(self.run.checkpoint(state.step), model_tensors(self.model), [state.step])
        self._save()
        self._export_weights()

    def _finish(self, limit: str) -> None:
        state, steps = self.state, self.state.averaged_steps(self.config)
        if len(steps) > 1:
            last = {name: tensor.clone() for name, tensor in model_tensors(self.model).items()}
            if self.group.is_main:
                mean = mean_weights([self.run.checkpoint(step) for step in steps])
                fill(self.model, mean, self.run.weights)
            scored = self._score()
            fill(self.model, last, self.run.weights)
            if scored is None:
                self._interrupt()
            metrics, score = scored
            if score >= state.best_score:
                state.average, state.average_score = steps, score
            self._report("average", metrics, {"best": bool(state.average), "steps": steps})
        state.stopped_by = limit
        self._save()
        self._export_weights()
        log.info("finished at update %d (%s)", state.step, limit)

    def _report(self, event: str, metrics: dict[str, Any], details: dict[str, Any]) -> None:
        """Logs a validation and passes it to the callbacks."""
        state = self.state
        line = {"event": event, "step": state.step, "epoch": self.state.epoch_number, "tokens": state.tokens}
        line |= {"seconds": state.seconds, **metrics, **details}
        values = ", ".join(f"{key} {value:.4g}" for key, value in metrics.items() if isinstance(value, (int, float)))
        log.info("update %d, %s: %s%s", state.step, event, values, " (best so far)" if details["best"] else "")
        for callback in self._callbacks:
            callback.on_validation(line)
