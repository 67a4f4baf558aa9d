"""Data-parallel training: several processes share the micro-batches of each update and stay bit-equal copies.

The plan is global. An update is a fixed list of micro-batches; process r of W takes numbers r, r + W, r + 2W … of it.
Each sums the gradients of the *sum* of its losses; those sums are added over all processes and divided by the target
tokens of the whole update. So W processes compute what one computes with the same `training.accumulate`, up to the
order of additions, even where the shares hold different numbers of tokens, or none at all. (DDP's mean over processes
is right only when all hold the same number of tokens.)

Process 0 alone validates, writes files and shows progress. Every process reads the run directory when it resumes, so
machines must share it. Numbers that steer the loop travel through the CPU (gloo), gradients through the device's own
back end (NCCL on GPUs). A single process makes no call of torch.distributed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

# Process 0 validates while the others wait for it.
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class World:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process validates and writes."""
        return self.rank == 0

    def share(self, positions: Sequence[int]) -> Sequence[int]:
        """The micro-batches of an update that are this process's; may be none."""
        return positions[self.rank :: self.size]

    def add(self, values: Sequence[float]) -> list[float]:
        """Sums of host numbers over all processes (float64: whole numbers stay exact to 2^53)."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return [float(v) for v in tensor.tolist()]

    def add_tensors(self, tensors: Sequence[Tensor]) -> None:
        """Sums tensors of one device over all processes, in place, in one message for each dtype."""
        if self.size == 1:
            return
        for dtype in dict.fromkeys(t.dtype for t in tensors):
            group = [t for t in tensors if t.dtype == dtype]
            flat = torch.cat([t.flatten() for t in group])
            dist.all_reduce(flat)
            for tensor, total in zip(group, torch.split(flat, [t.numel() for t in group]), strict=True):
                tensor.copy_(total.view_as(tensor))

    def copy_from_leader(self, tensors: Iterable[Tensor]) -> None:
        """Gives all processes process 0's values of these tensors."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def from_leader(self, value: float) -> float:
        """Process 0's `value` in all processes; the others' is ignored."""
        return self.add([value if self.leads else 0.0])[0]


def join_world(device: torch.device) -> World:
    """Joins the processes that `torchrun` started; alone, without `torchrun`, that is a world of one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return World()
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    return World(dist.get_rank(), dist.get_world_size())


def leave_world() -> None:
    """Leaves what `join_world` joined."""
    if dist.is_initialized():
        dist.destroy_process_group()
