from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.multiprocessing.spawn import spawn

from s2s.training.distributed import join_process_group, leave_process_group
from s2s.training.interrupt import Interrupted
from tests.training.toy import At, events, make_trainer

OPTIONS: dict[str, Any] = {"accumulate": 3, "max_steps": 6, "average": "last", "validate_every": 2, "save_every": 1}
OPTIONS |= {"freeze": ["hidden.weight"], "scale": {"norm": 0.5}}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def process(rank: int, port: int, folder: Path) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE="2")
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    group = join_process_group(torch.device("cpu"))
    # A signal to one process stops both after the same update; then both resume.
    stop = At(3, lambda: os.kill(os.getpid(), signal.SIGTERM))
    trainer = make_trainer(folder / "two", group=group, **OPTIONS)
    if group.rank == 1:
        trainer._callbacks = [stop]  # user callbacks run on rank 0 only
    with pytest.raises(Interrupted) as stopped:
        trainer.fit()
    assert stopped.value.step == 4  # the other rank learns it with the next update
    trainer = make_trainer(folder / "two", group=group, **OPTIONS)
    result = trainer.fit()
    weights = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    gathered = [torch.empty_like(weights) for _ in range(2)]
    torch.distributed.all_gather(gathered, weights)
    assert torch.equal(*gathered)
    assert result.steps == 6
    leave_process_group()


@pytest.mark.slow  # starts two processes
def test_two_processes_train_like_one(tmp_path: Path) -> None:
    """Updates take 3 micro-batches, and 2 at the end of an epoch: the ranks never have equal tokens."""
    spawn(process, (free_port(), tmp_path), nprocs=2)  # type: ignore[no-untyped-call]
    result = make_trainer(tmp_path / "one", **OPTIONS).fit()
    one, two = load_file(tmp_path / "one/model.safetensors"), load_file(tmp_path / "two/model.safetensors")
    for name, tensor in one.items():
        if name != "seen":  # counts the micro-batches of its own process
            torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-6)
    first, second = events(tmp_path / "one"), events(tmp_path / "two")
    assert [(e["event"], e["step"]) for e in first] == [(e["event"], e["step"]) for e in second]
    for a, b in zip(first, second, strict=True):
        numbers = [key for key, value in a.items() if isinstance(value, float)]
        assert [b[key] for key in numbers] == pytest.approx([a[key] for key in numbers], rel=1e-4)
        assert {k: v for k, v in a.items() if k not in numbers} == {k: v for k, v in b.items() if k not in numbers}
    assert result.tokens == second[-1]["tokens"]


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    group = join_process_group(torch.device("cpu"))
    assert (group.rank, group.size, group.is_main) == (0, 1, True)
    assert not torch.distributed.is_initialized()
