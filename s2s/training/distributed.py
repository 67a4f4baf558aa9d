"""Data-parallel training: several processes share the micro-batches of each update and keep bit-equal model copies.

The batch plan is global. An update is a fixed list of micro-batches, and rank r of W takes numbers r, r + W, r + 2W …
of it. The target tokens of the whole update are summed over the ranks first. Each rank divides the *sum* of its losses
by them before the backward pass, and an all-reduce adds the gradients. So W processes compute what one process computes
with the same `training.accumulate`, up to the order of additions, even if the ranks have different numbers of tokens or
none. (DDP averages over processes, which is right only for equal numbers of tokens.)

Rank 0 alone validates, writes files and shows progress. Every rank reads the run directory on resume, so all machines
must share it. Host numbers that steer the loop are reduced by gloo on the CPU, gradients by the device's own backend
(NCCL on GPUs). A single process never calls torch.distributed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

TIMEOUT = timedelta(hours=2)  # of a collective: the other ranks wait in one while rank 0 validates


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together, seen from this one."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process is rank 0, which validates and writes files."""
        return self.rank == 0

    def share(self, positions: Sequence[int]) -> Sequence[int]:
        """Returns this rank's micro-batches of an update; may be empty."""
        return positions[self.rank :: self.size]

    def all_reduce(self, values: Sequence[float]) -> list[float]:
        """Returns sums of host numbers over all processes (float64: integers stay exact to 2^53)."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor)
        return [float(v) for v in tensor.tolist()]

    def all_reduce_tensors(self, tensors: Sequence[Tensor]) -> None:
        """Sums tensors of one device over several processes, in place, with one message per dtype."""
        for dtype in dict.fromkeys(t.dtype for t in tensors):
            bucket = [t for t in tensors if t.dtype == dtype]
            flat = torch.cat([t.flatten() for t in bucket])
            dist.all_reduce(flat)
            for tensor, total in zip(bucket, torch.split(flat, [t.numel() for t in bucket]), strict=True):
                tensor.copy_(total.view_as(tensor))

    def barrier(self) -> None:
        """Waits until all processes have come here."""
        self.all_reduce([0.0])

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Copies rank 0's values of these tensors to all processes."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def from_main(self, value: float) -> float:
        """Returns rank 0's `value` in all processes; the other values are ignored."""
        return self.all_reduce([value if self.is_main else 0.0])[0]


def join_process_group(device: torch.device) -> ProcessGroup:
    """Joins the processes started by `torchrun`; without `torchrun` the group has one process."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ProcessGroup()
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    return ProcessGroup(dist.get_rank(), dist.get_world_size())


def leave_process_group() -> None:
    """Leaves the group that `join_process_group` joined."""
    if dist.is_initialized():
        dist.destroy_process_group()
