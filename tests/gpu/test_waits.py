"""A training step reads nothing back from the device: each such read would make the CPU wait for a GPU.

Tensors here have a type and a shape and no memory, so reading one is an error.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from s2s import devices
from s2s.nn.recurrent import RecurrentLayer
from tests.gpu.rules import by_name, lay_out
from tests.models.contract import batch, make, models, sentences

READS = (DataDependentOutputException, DynamicOutputShapeException)


@pytest.mark.parametrize(("layout", "fixed"), [("packed", False), ("auto", False), ("auto", True)])
@by_name
def test_a_training_step(name: str, layout: str, fixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "on_gpu", lambda tensor: True)
    model, data = make(models()[name]).float().train(), batch(sentences(4, 7, 1), sentences(4, 7, 2))
    lay_out(model, layout)
    for layer in (module for module in model.modules() if isinstance(module, RecurrentLayer)):
        layer.recurrence = "scan"  # as on a GPU, for the cells that have it
    if fixed:
        data = data.pad_to_multiple(8)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        model = copy.deepcopy(model)
        with torch.autocast("cpu", torch.bfloat16):
            losses = model(data.map_tensors(mode.from_tensor), 0.1)
        (losses.loss / 7).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("read", [lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: x.tolist()])
def test_a_read_would_be_seen(read: Callable[[Tensor], object]) -> None:
    with FakeTensorMode() as mode, pytest.raises(READS):
        read(mode.from_tensor(torch.ones(3)))
