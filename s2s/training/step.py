"""One update of the weights: gradients accumulated over its micro-batches, clipping, the optimiser's step.

The target tokens of the whole update are counted before the first forward pass, so each micro-batch adds the gradient
of `its loss sum / all tokens`. Random numbers (dropout) are seeded per micro-batch from (seed, epoch, position).

Loss sums and gradient norm stay on the device until `flush_metrics`. An update that is not finite is never applied. On
a CPU the check is immediate. On a GPU a check would synchronise with the device in each update, so the fused optimisers
skip the step themselves when a flag on the device is set, and `flush_metrics` reports it. With `graphed`, a GPU runs
each micro-batch as a CUDA graph, see `s2s.training.graphs`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from s2s.config import OptimConfig, TrainingConfig
from s2s.data.batching import Batch
from s2s.errors import S2SError
from s2s.models.interface import Seq2Seq
from s2s.training.checkpoint import RunDirectory
from s2s.training.distributed import ProcessGroup
from s2s.training.graphs import GraphedStep
from s2s.training.optim import Schedule, build_optimizer, clip_gradients, set_rate


@dataclass(frozen=True)
class _Pending:
    """An update whose metrics are still on the device."""

    step: int
    epoch: int
    positions: range
    tokens: int
    metrics: Tensor  # (3,): sums of loss and nll, gradient norm


class Updater:
    """Model, optimiser and schedule; `update` changes the weights once.

    Args:
        model: moved to `device`.
        run: named in the error for an update that is not finite.
        training, optim: the sections of the configuration.
        seed: of dropout.
        group: the processes that share the micro-batches.
        graphed: run micro-batches as CUDA graphs; their shapes are fixed then.
    """

    def __init__(
        self,
        model: Seq2Seq,
        run: RunDirectory,
        training: TrainingConfig,
        optim: OptimConfig,
        seed: int,
        device: torch.device,
        group: ProcessGroup | None = None,
        graphed: bool = False,
    ) -> None:
        self.model, self.run, self.training, self.optim = model.to(device), run, training, optim
        self.seed, self.device, self.group, self.graphed = seed, device, group or ProcessGroup(), graphed
        self.optimizer = build_optimizer(optim, model)
        self.schedule = Schedule(optim.schedule, optim.lr, training.max_steps)
        self._parameters = [p for parameters in self.optimizer.param_groups for p in parameters["params"]]
        self._graphed_step = GraphedStep(self._micro_batch, device) if graphed else None
        self._deferred_check = device.type == "cuda"
        self._pending: list[_Pending] = []

    def update(
        self, step: int, epoch: int, positions: range, batches: Mapping[int, Batch], stop: bool
    ) -> tuple[int, bool]:
        """Applies update number `step`; returns its target tokens, and whether any process was asked to stop.

        Args:
            positions: of all its micro-batches.
            batches: this rank's micro-batches by position.
            stop: whether this process was asked to stop.
        """
        tokens, stops = self.group.all_reduce([sum(batch.tokens for batch in batches.values()), float(stop)])
        sums = self._accumulate(epoch, batches, tokens)
        norm = clip_gradients(self._parameters, self.optim.clip_norm, self.optim.clip_value)
        pending = _Pending(step, epoch, positions, int(tokens), torch.cat([sums, norm.float().view(1)]))
        finite = pending.metrics.isfinite().all()
        if self._deferred_check:
            self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        elif not finite:
            raise self._not_finite(pending)
        set_rate(self.optimizer, self.schedule.rate(step))
        self.optimizer.step()
        self._pending.append(pending)
        return pending.tokens, stops > 0

    def flush_metrics(self, window: dict[str, float]) -> None:
        """Adds the metrics of all updates since the last call to `window`; synchronises with the device.

        Raises:
            S2SError: an update was not finite.
        """
        if not self._pending:
            return
        rows = torch.stack([pending.metrics for pending in self._pending]).tolist()
        for pending, (loss, nll, norm) in zip(self._pending, rows, strict=True):
            if not math.isfinite(loss + nll + norm):
                raise self._not_finite(pending)
            new = {"loss": loss, "nll": nll, "norm": norm, "tokens": pending.tokens, "updates": 1}
            window.update({key: window.get(key, 0) + value for key, value in new.items()})
        self._pending.clear()

    def _accumulate(self, epoch: int, batches: Mapping[int, Batch], tokens: float) -> Tensor:
        """Accumulates the update's gradient in the parameters; returns (2,) its sums of loss and nll."""
        self.optimizer.zero_grad(set_to_none=not self.graphed)  # a graph writes to the gradients it was recorded with
        sums = torch.zeros(2, device=self.device)
        for position, batch in batches.items():
            torch.manual_seed(micro_batch_seed(self.seed, epoch, position))
            if self._graphed_step is None:
                sums += self._micro_batch(batch.to(self.device), torch.full((), tokens, device=self.device))
            else:
                sums += self._graphed_step(batch, tokens)
        if self.group.size > 1:
            for parameter in self._parameters:
                if parameter.grad is None:  # this rank has no micro-batch of this update
                    parameter.grad = torch.zeros_like(parameter)
            self.group.all_reduce_tensors([*(p.grad for p in self._parameters), sums])
        return sums

    def _micro_batch(self, batch: Batch, tokens: Tensor) -> Tensor:
        """Adds the gradient of a micro-batch's loss, divided by `tokens`; returns (2,) its sums of loss and nll."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.training.precision == "bf16"):
            losses = self.model(batch, self.training.label_smoothing)
        (losses.loss / tokens).backward()
        return torch.stack([losses.loss.detach().float(), losses.nll.float()])

    def _not_finite(self, update: _Pending) -> S2SError:
        folder = self.run.state_folder()
        checkpoint = f"kept at {folder}" if folder else "none: nothing was saved before"
        quantity = "gradient norm" if update.metrics[:2].isfinite().all() else "loss"
        where = f"epoch {update.epoch + 1}, micro-batches {update.positions.start + 1} to {update.positions.stop}"
        return S2SError(
            f"{quantity} is not finite at update {update.step} ({where}): try a lower optim.lr, optim.clip_norm=1, "
            "training.precision=fp32 or a larger optim.schedule.warmup, in another run_dir; "
            f"the last good checkpoint is {checkpoint}"
        )


def micro_batch_seed(seed: int, epoch: int, position: int) -> int:
    """Returns the random seed of a micro-batch."""
    digest = hashlib.blake2b(f"{seed} {epoch} {position}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
