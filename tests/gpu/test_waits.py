"""A training step reads nothing back from the device: each such read would make the CPU wait for a GPU.

Tensors here have a type and a shape and no memory, so reading one is an error.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from s2s import devices
from s2s.data.batching import Batch
from s2s.models import build_model
from s2s.models.interface import Seq2Seq
from s2s.nn.recurrent import RecurrentLayer
from tests.gpu.rules import by_name, lay_out
from tests.models.contract import VOCABULARY, batch, decoder_only, make, models, recurrent, sentences, transformer

READS = (DataDependentOutputException, DynamicOutputShapeException)


@pytest.mark.parametrize(("layout", "fixed"), [("packed", False), ("auto", False), ("auto", True)])
@by_name
def test_a_training_step(name: str, layout: str, fixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    _assert_no_read(make(models()[name]), batch(sentences(4, 7, 1), sentences(4, 7, 2)), layout, fixed, monkeypatch)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(
    ("objective", "section"),
    [
        ("masked_lm", transformer()),
        ("masked_lm", recurrent("lstm", "fixed")),
        ("causal_lm", decoder_only("attention", positions="rotary")),
        ("causal_lm", decoder_only("lstm", positions="none")),
    ],
)
def test_a_training_step_of_an_objective(
    objective: str, section: dict[str, Any], fixed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = batch(sentences(4, 7, 1), sentences(4, 7, 2))
    if objective == "masked_lm":
        chosen = data.source_mask & (torch.arange(data.source.size(1)) % 3 == 0)
        data = Batch(data.source, data.source_mask, data.source, data.source, chosen, data.index)
    _assert_no_read(build_model(section, VOCABULARY, VOCABULARY, objective), data, "auto", fixed, monkeypatch)


def _assert_no_read(model: Seq2Seq, data: Batch, layout: str, fixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "on_gpu", lambda tensor: True)
    model = model.float().train()
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
