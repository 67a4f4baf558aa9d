"""The training loop. It knows no kind of model: it needs `model(batch, label_smoothing) -> LossSums`, and batches.

An update takes the next `accumulate` micro-batches of the epoch (at its end, those that are left), `s2s.training.step`.
A run that is killed at any moment and started again ends in the same bits as one that was not (on a CPU; GPU kernels
may add in another order): batches and random numbers follow from (seed, epoch, position), and everything else is in
`TrainingState`, the sums of a half-full line of the log included.

At the end, `average=last|best` takes the mean of the kept checkpoints (Popel & Bojar 2018 measure what it brings). It
becomes the result if validation finds it no worse than the best single checkpoint.
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

from s2s.config import OptimConfig, TrainingConfig
from s2s.devices import most_memory
from s2s.errors import S2SError
from s2s.models.interface import Seq2Seq
from s2s.training.ahead import BatchesAhead, MicroBatches
from s2s.training.callbacks import Callback, MetricsFile
from s2s.training.checkpoint import RunDirectory, TrainingState
from s2s.training.distributed import World
from s2s.training.graphs import fixed
from s2s.training.interrupt import Interrupted, Signals
from s2s.training.step import Updater
from s2s.training.weights import fill, mean_weights, model_tensors

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    steps: int  # updates
    stopped_by: str  # max_steps, max_epochs or patience
    already_finished: bool  # there was nothing left to do
    best_score: float  # `training.metric` of the weights in model.safetensors
    from_steps: list[int]  # whose weights those are; several: their mean
    train_seconds: float  # validation excluded, all resumed parts included
    tokens: int  # target tokens seen
    tokens_per_s: float
    waiting: float  # share of the seconds in which the model waited for batches


class Trainer:
    """Trains a model into a run directory, resuming what is there.

    Args:
        model: trained in place; holds the weights of `model.safetensors` when `fit` returns.
        data: the micro-batches of each epoch.
        run: where everything is saved.
        training, optim: the sections of the configuration.
        validate: measures the model (in eval mode, without gradients): `valid_loss`, `valid_bleu` and more.
        seed: of dropout.
        device: where to train; the model is moved there.
        callbacks: told of everything, after `metrics.jsonl`, which is always written.
        world: this process among those that train together.
        graphed: run micro-batches as CUDA graphs, see `s2s.training.graphs`.
    """

    def __init__(
        self,
        model: Seq2Seq,
        data: MicroBatches,
        run: RunDirectory,
        training: TrainingConfig,
        optim: OptimConfig,
        validate: Callable[[Seq2Seq], Mapping[str, float]],
        *,
        seed: int,
        device: torch.device,
        callbacks: Sequence[Callback] = (),
        world: World | None = None,
        graphed: bool = False,
    ) -> None:
        self.model, self.run, self.config, self.validate = model.to(device), run, training, validate
        self.data = BatchesAhead(data, device, fixed if graphed else None)
        self.world = world or World()
        self.updater = Updater(model, self.data, run, training, optim, seed, device, self.world, graphed)
        self.state = TrainingState()
        self._metrics = MetricsFile(run.metrics)
        self._callbacks = [self._metrics, *callbacks] if self.world.leads else []
        self._saved = (0, 0)
        self._since = time.perf_counter()

    def fit(self) -> Result:
        """Trains until a limit is reached.

        Raises:
            S2SError: the loss is not finite, files cannot be read or written, or there is nothing to train on.
            Interrupted: a signal came; the state is saved.
        """
        self._signals, self._stop = Signals(), False
        self._resume()
        finished = bool(self.state.stopped_by) and self._limit() is not None
        if not finished:
            self.state.stopped_by, self.state.average = "", []
        if self.world.leads:
            self.run.publish(self.state, self.model)
        if not finished:
            try:
                with self._signals:
                    self._train()
            finally:
                for callback in self._callbacks:
                    callback.on_end()
        self.world.add([0.0])  # wait for process 0's file
        self.run.load_weights(self.model)
        self.model.eval()
        return self._result(finished)

    def _result(self, already_finished: bool) -> Result:
        state = self.state
        score = state.average_score if state.average else state.best_score
        return Result(
            steps=state.step,
            stopped_by=state.stopped_by,
            already_finished=already_finished,
            best_score=score if self.config.metric == "bleu" else -score,
            from_steps=state.published,
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
                log.info("resuming at step %d, epoch %d", state.step, self._epoch_number())
        if self.world.add([self.state.step])[0] != self.state.step * self.world.size:
            raise S2SError(
                f"the processes find different training states in {self.run.path}: it must be a shared folder"
            )
        if self.world.leads:
            self.run.remove_leftovers(self.state)
            self._metrics.cut(self.state.metrics_lines)
        self.world.copy_from_leader(model_tensors(self.model).values())

    def _train(self) -> None:
        self._count = self.data.num_batches(self.state.epoch)
        if self._count == 0:
            raise S2SError("there is nothing to train on: the training split gives no batch")
        if self.world.size > self.config.accumulate:
            log.warning("%d processes and training.accumulate=%d: some idle", self.world.size, self.config.accumulate)
        for callback in self._callbacks:
            callback.on_start(self.state.step, self._total())
        self.model.train()
        self._since = time.perf_counter()
        while True:
            if self._validation_due():
                self._validate()
            if self._stopping():
                self._interrupted()
            limit = self._limit()
            if limit is not None:
                break
            self._update()
            for callback in self._callbacks:
                callback.on_step(self.state.step)
            if self.state.step % self.config.log_every == 0 or self._limit() is not None:
                self._log()
            if self.state.step % self.config.save_every == 0 and not self._validation_due():
                self._save()
        self._finish(limit)

    def _update(self) -> None:
        state = self.state
        positions = range(state.position, min(state.position + self.config.accumulate, self._count))
        stop = self._signals.caught is not None
        self._announce(positions)
        before = self.data.waited
        tokens, self._stop = self.updater.update(state.step + 1, state.epoch, positions, stop)
        state.step += 1
        state.tokens += tokens
        state.position = positions.stop
        if state.position >= self._count:
            state.epoch, state.position = state.epoch + 1, 0
            self._count = self.data.num_batches(state.epoch)
        state.waited += self.data.waited - before
        state.window["waited"] = state.window.get("waited", 0.0) + self.data.waited - before

    def _announce(self, positions: range) -> None:
        """Has the batches of this update made, and then those of the next one, if there will be one."""
        state, config = self.state, self.config
        for position in self.world.share(positions):
            self.data.announce(state.epoch, position)
        epoch, start, count = state.epoch, positions.stop, self._count
        if start >= self._count:
            # Of the next epoch the number of batches is not known yet, but it has one.
            epoch, start, count = state.epoch + 1, 0, 1
        if (config.max_steps is None or state.step + 1 < config.max_steps) and (
            config.max_epochs is None or epoch < config.max_epochs
        ):
            for position in self.world.share(range(start, min(start + config.accumulate, count))):
                self.data.announce(epoch, position)

    def _settle(self) -> None:
        """Brings the sums of the next logged line and the clock up to date."""
        state = self.state
        self.updater.settle(state.window)
        now = time.perf_counter()
        state.seconds += now - self._since
        state.window["seconds"] = state.window.get("seconds", 0.0) + now - self._since
        self._since = now

    def _log(self) -> None:
        self._settle()
        state, window = self.state, self.state.window
        if not window.get("updates"):
            return
        loss, nll = window["loss"] / window["tokens"], window["nll"] / window["tokens"]
        line = {
            "event": "train",
            "step": state.step,
            "epoch": self._epoch_number(),
            "loss": loss,
            "nll": nll,
            "ppl": math.exp(min(nll, 700.0)),  # more is no float
            "lr": self.updater.schedule.rate(state.step),
            "grad_norm": window["norm"] / window["updates"],
            "tokens_per_s": window["tokens"] / max(window["seconds"], 1e-9),
            "waiting": window.get("waited", 0.0) / max(window["seconds"], 1e-9),
            "memory": most_memory(self.updater.device),
            "threads": torch.get_num_threads() if self.updater.device.type == "cpu" else None,
            "tokens": state.tokens,
            "seconds": state.seconds,
        }
        state.window = {}
        for callback in self._callbacks:
            callback.on_log(line)

    def _save(self) -> None:
        self._settle()
        state = self.state
        state.schedule, state.metrics_lines = self.updater.schedule.state_dict(), self._metrics.lines
        if self.world.leads:
            self.run.save_state(state, self.model, self.updater.optimizer)
        self._saved = (state.step, state.validated)
        self._since = time.perf_counter()

    def _stopping(self) -> bool:
        """Whether a signal came; several processes learn of it together, in `_update`."""
        return self._stop or (self.world.size == 1 and self._signals.caught is not None)

    def _interrupted(self) -> NoReturn:
        if self._saved != (self.state.step, self.state.validated):
            self._save()
        self.world.add([0.0])  # leave together: torchrun ends the others when one process is gone
        number = self._signals.caught or 15  # another process caught it
        log.info("stopped by signal %d at step %d", number, self.state.step)
        raise Interrupted(self.state.step, number)

    def _limit(self) -> str | None:
        state, config = self.state, self.config
        if config.max_steps is not None and state.step >= config.max_steps:
            return "max_steps"
        if config.max_epochs is not None and state.epoch >= config.max_epochs:
            return "max_epochs"
        if config.patience is not None and state.unimproved >= config.patience:
            return "patience"
        return None

    def _total(self) -> int | None:
        """Updates of the whole run, as far as limits on steps and epochs tell."""
        limits = [] if self.config.max_steps is None else [self.config.max_steps]
        if self.config.max_epochs is not None:
            an_epoch = -(-self._count // self.config.accumulate)
            done = -(-self.state.position // self.config.accumulate)
            limits.append(self.state.step - done + an_epoch * max(0, self.config.max_epochs - self.state.epoch))
        return min(limits, default=None)

    def _epoch_number(self) -> int:
        """The epoch of the last update, from 1."""
        return self.state.epoch + (self.state.position > 0 or self.state.step == 0)

    def _validation_due(self) -> bool:
        step = self.state.step
        return step > self.state.validated and (step % self.config.validate_every == 0 or self._limit() is not None)

    def _measure(self) -> tuple[dict[str, Any], float] | None:
        """What `validate` says of the model as it is, and its score (larger is better); None if a signal came first."""
        metrics: Mapping[str, float] | None = {}
        if self.world.leads:
            self.model.eval()
            with torch.no_grad():
                # Others wait for process 0's score, so it leaves in the midst only when it is alone.
                work = partial(self.validate, self.model)
                metrics = self._signals.unless_stopped(work) if self.world.size == 1 else work()
            self.model.train()
        self._since = time.perf_counter()
        if metrics is None:
            return None
        key = f"valid_{self.config.metric}"
        sign = 1.0 if self.config.metric == "bleu" else -1.0
        score = self.world.from_leader(sign * metrics[key] if self.world.leads else 0.0)
        if not math.isfinite(score):
            raise S2SError(f"{key} is not finite at step {self.state.step}: try a lower optim.lr or optim.clip_norm=1")
        return dict(metrics), score

    def _validate(self) -> None:
        self._settle()
        measured = None if self._stopping() else self._measure()
        if measured is None:
            return
        state, (metrics, score) = self.state, measured
        improved = state.best_step == 0 or score > state.best_score
        self._tell("valid", metrics, {"best": improved})
        state.validated = state.step
        state.unimproved = 0 if improved else state.unimproved + 1
        if improved:
            state.best_step, state.best_score = state.step, score
        self.updater.schedule.observe(state.step, improved)
        if self.config.average != "none":
            state.kept[state.step] = score
            needed = {*self._members(), state.best_step}
            state.kept = {step: kept for step, kept in state.kept.items() if step in needed}
            if self.world.leads and state.step in needed:
                self.run.save_weights(self.run.checkpoint(state.step), model_tensors(self.model), [state.step])
        self._save()
        if self.world.leads:
            self.run.publish(state, self.model)

    def _members(self) -> list[int]:
        """The kept checkpoints that an average takes in."""
        kept, count = self.state.kept, self.config.average_checkpoints
        if self.config.average == "last":
            return sorted(kept)[-count:]
        return sorted(sorted(kept, key=lambda step: (-kept[step], step))[:count])

    def _finish(self, limit: str) -> None:
        state, members = self.state, self._members()
        if len(members) > 1:
            own = {name: tensor.clone() for name, tensor in model_tensors(self.model).items()}
            if self.world.leads:
                mean = mean_weights([self.run.checkpoint(step) for step in members])
                fill(self.model, mean, self.run.weights)
            measured = self._measure()
            fill(self.model, own, self.run.weights)
            if measured is None:
                self._interrupted()
            metrics, score = measured
            if score >= state.best_score:
                state.average, state.average_score = members, score
            self._tell("average", metrics, {"best": bool(state.average), "steps": members})
        state.stopped_by = limit
        self._save()
        if self.world.leads:
            self.run.publish(state, self.model)
        log.info("finished at step %d (%s)", state.step, limit)

    def _tell(self, event: str, metrics: dict[str, Any], more: dict[str, Any]) -> None:
        state = self.state
        line = {"event": event, "step": state.step, "epoch": self._epoch_number(), "tokens": state.tokens}
        line |= {"seconds": state.seconds, **metrics, **more}
        values = ", ".join(f"{key} {value:.4g}" for key, value in metrics.items() if isinstance(value, (int, float)))
        log.info("step %d, %s: %s%s", state.step, event, values, " (best so far)" if more["best"] else "")
        for callback in self._callbacks:
            callback.on_validation(line)
