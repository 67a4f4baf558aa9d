"""One update of the weights: gradients over the micro-batches of the update, clipping, the optimiser's step.

The target tokens of the whole update are counted before the first forward pass, so each micro-batch adds the gradient
of `its loss sum / all tokens`. Random numbers (dropout) are seeded for each micro-batch from (seed, epoch, position).

Sums of the loss and the gradient's norm stay on the device until `settle` asks for them. An update that is not finite
is never applied. On a CPU that is seen at once; on a GPU looking would make the CPU wait for it in each update, so the
fused optimisers skip a step by themselves when a number on the device says so, and `settle` reports it. Where
`graphed`, a GPU runs each micro-batch as one piece, see `s2s.training.graphs`.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from s2s.config import OptimConfig, TrainingConfig
from s2s.data.batching import Batch
from s2s.errors import S2SError
from s2s.models.interface import Seq2Seq
from s2s.training.ahead import MicroBatches
from s2s.training.checkpoint import RunDirectory
from s2s.training.distributed import World
from s2s.training.graphs import GraphedStep
from s2s.training.optim import Schedule, build_optimizer, clip_gradients, set_rate


@dataclass(frozen=True)
class _Done:
    """An update whose numbers are still on the device."""

    step: int
    epoch: int
    positions: range
    tokens: int
    numbers: Tensor  # (3,): sums of loss and nll, gradient norm


class Updater:
    """Model, optimiser and schedule together: `update` moves the weights once.

    Args:
        model: on `device` already.
        data: the micro-batches.
        run: named in the error when an update is not finite.
        seed: of dropout.
        world: this process among those that share the micro-batches.
        graphed: run micro-batches as CUDA graphs; those of `data` are of fixed shape then.
    """

    def __init__(
        self,
        model: Seq2Seq,
        data: MicroBatches,
        run: RunDirectory,
        training: TrainingConfig,
        optim: OptimConfig,
        seed: int,
        device: torch.device,
        world: World,
        graphed: bool = False,
    ) -> None:
        self.model, self.data, self.run, self.training, self.optim = model, data, run, training, optim
        self.seed, self.device, self.world = seed, device, world
        self.optimizer = build_optimizer(optim, model)
        self.schedule = Schedule(optim.schedule, optim.lr, training.max_steps)
        self._parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self._graphed = GraphedStep(self._micro_batch, device) if graphed else None
        self._looks_later = device.type == "cuda"
        self._pending: list[_Done] = []

    def update(self, step: int, epoch: int, positions: range, stop: bool) -> tuple[int, bool]:
        """Does update number `step` with these micro-batches.

        Args:
            stop: this process was asked to stop.

        Returns:
            The target tokens of the update, and whether any process was asked to stop.
        """
        batches = {position: self.data.batch(epoch, position) for position in self.world.share(positions)}
        tokens, stops = self.world.add([sum(batch.tokens for batch in batches.values()), float(stop)])
        sums = self._gradients(epoch, batches, tokens)
        norm = clip_gradients(self._parameters, self.optim.clip_norm, self.optim.clip_value)
        done = _Done(step, epoch, positions, int(tokens), torch.cat([sums, norm.float().view(1)]))
        finite = done.numbers.isfinite().all()
        if self._looks_later:
            self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        elif not finite:
            raise self._not_finite(done)
        set_rate(self.optimizer, self.schedule.rate(step))
        self.optimizer.step()
        self._pending.append(done)
        return done.tokens, stops > 0

    def settle(self, window: dict[str, float]) -> None:
        """Adds the numbers of all updates since the last call to `window`; waits for the device.

        Raises:
            S2SError: one of them was not finite.
        """
        if not self._pending:
            return
        rows = torch.stack([done.numbers for done in self._pending]).tolist()
        for done, (loss, nll, norm) in zip(self._pending, rows, strict=True):
            if not math.isfinite(loss + nll + norm):
                raise self._not_finite(done)
            new = {"loss": loss, "nll": nll, "norm": norm, "tokens": done.tokens, "updates": 1}
            window.update({key: window.get(key, 0) + value for key, value in new.items()})
        self._pending.clear()

    def _gradients(self, epoch: int, batches: dict[int, Batch], tokens: float) -> Tensor:
        """Leaves the update's gradient in the parameters; (2,) sums of loss and nll over all its micro-batches."""
        self.optimizer.zero_grad(set_to_none=self._graphed is None)  # a graph adds to the gradients it was made with
        sums = torch.zeros(2, device=self.device)
        for position, batch in batches.items():
            torch.manual_seed(micro_batch_seed(self.seed, epoch, position))
            if self._graphed is None:
                sums += self._micro_batch(batch.to(self.device), torch.full((), tokens, device=self.device))
            else:
                sums += self._graphed(batch, tokens)
        if self.world.size > 1:
            for parameter in self._parameters:
                if parameter.grad is None:  # this process has no share of this update
                    parameter.grad = torch.zeros_like(parameter)
            self.world.add_tensors([*(p.grad for p in self._parameters), sums])
        return sums

    def _micro_batch(self, batch: Batch, tokens: Tensor) -> Tensor:
        """Adds the gradient of a micro-batch's loss, divided by `tokens`; (2,) its sums of loss and nll."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.training.precision == "bf16"):
            losses = self.model(batch, self.training.label_smoothing)
        (losses.loss / tokens).backward()
        return torch.stack([losses.loss.detach().float(), losses.nll.float()])

    def _not_finite(self, done: _Done) -> S2SError:
        folder = self.run.state_folder()
        kept = f"kept at {folder}" if folder else "none: nothing was saved before"
        what = "gradient norm" if done.numbers[:2].isfinite().all() else "loss"
        where = f"epoch {done.epoch + 1}, micro-batches {done.positions.start + 1} to {done.positions.stop}"
        return S2SError(
            f"{what} is not finite at step {done.step} ({where}): try a lower optim.lr, optim.clip_norm=1, "
            "training.precision=fp32 or a larger optim.schedule.warmup, in another run_dir; "
            f"the last good checkpoint is {kept}"
        )


def micro_batch_seed(seed: int, epoch: int, position: int) -> int:
    """The seed of a micro-batch's random numbers."""
    digest = hashlib.blake2b(f"{seed} {epoch} {position}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
