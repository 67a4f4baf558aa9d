from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from s2s.errors import S2SError
from s2s.training.optim import Schedule, build_optimizer, clip_gradients, set_rate
from tests.training.toy import OPTIM, SCHEDULE, ToyModel


def schedule(kind: Any, peak: float = 2.0, max_steps: int | None = 100, **options: Any) -> Schedule:
    return Schedule(dataclasses.replace(SCHEDULE, type=kind, **options), peak, max_steps)


@pytest.mark.parametrize("kind", ["constant", "inverse_sqrt", "cosine", "plateau"])
def test_every_schedule_rises_linearly_to_the_peak(kind: str) -> None:
    rates = [schedule(kind, warmup=10).rate(step) for step in range(1, 11)]
    assert rates == pytest.approx([0.2 * step for step in range(1, 11)])


def test_constant_stays_at_the_peak() -> None:
    assert {schedule("constant", warmup=5).rate(step) for step in (5, 6, 1000)} == {2.0}
    assert schedule("constant").rate(1) == 2.0


@pytest.mark.parametrize(("warmup", "step", "expected"), [(16, 64, 1.0), (16, 17, 2 * math.sqrt(16 / 17)), (0, 4, 1.0)])
def test_inverse_sqrt(warmup: int, step: int, expected: float) -> None:
    assert schedule("inverse_sqrt", warmup=warmup).rate(step) == pytest.approx(expected)


def test_cosine_falls_from_the_peak_to_the_final_share() -> None:
    cosine = schedule("cosine", warmup=20, final=0.1)
    assert cosine.rate(20) == pytest.approx(2.0)
    assert cosine.rate(40) == pytest.approx(2 * (0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2))
    assert cosine.rate(60) == pytest.approx(1.1)  # half way: the mean of both ends
    assert cosine.rate(100) == pytest.approx(0.2)
    assert cosine.rate(150) == pytest.approx(0.2)


def test_cosine_without_its_length_is_refused() -> None:
    with pytest.raises(S2SError, match=r"training\.max_steps"):
        schedule("cosine", max_steps=None)


def test_plateau_falls_when_validation_stops_improving_and_not_below_the_end() -> None:
    plateau = schedule("plateau", factor=0.5, patience=1, final=0.2)
    rates = []
    for improved in [True, False, False, False, True, False, False, False, False, False, False]:
        plateau.observe(5, improved)
        rates.append(plateau.rate(6))
    # Two in a row halve it; an improvement starts the count anew; 0.2 of the peak is the floor.
    assert rates == pytest.approx([2, 2, 1, 1, 1, 1, 0.5, 0.5, 0.4, 0.4, 0.4])


def test_plateau_does_not_judge_the_warm_up() -> None:
    plateau = schedule("plateau", factor=0.5, patience=0, warmup=10)
    plateau.observe(9, False)
    assert plateau.rate(11) == 2.0
    plateau.observe(10, False)
    assert plateau.rate(11) == 1.0


@given(st.lists(st.booleans(), max_size=20), st.integers(0, 20))
def test_a_restored_schedule_continues_equally(improvements: list[bool], cut: int) -> None:
    whole, first, second = (schedule("plateau", patience=1) for _ in range(3))
    for improved in improvements:
        whole.observe(3, improved)
    for improved in improvements[:cut]:
        first.observe(3, improved)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for improved in improvements[cut:]:
        second.observe(3, improved)
    assert second.rate(50) == whole.rate(50)


def gradients(seed: int, scale: float = 3.0) -> list[nn.Parameter]:
    random = torch.Generator().manual_seed(seed)
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in ((3, 4), (5,), (2, 2, 2), ())]
    for parameter in parameters[:3]:
        parameter.grad = torch.randn(parameter.shape, generator=random) * scale
    return parameters  # the last has no gradient


@pytest.mark.parametrize("norm", [None, 0.5, 1e6])
@pytest.mark.parametrize("value", [None, 0.7])
def test_clipping_agrees_with_torch(norm: float | None, value: float | None) -> None:
    ours, theirs = gradients(1), gradients(1)
    raw = clip_gradients(ours, norm, value)
    assert raw.item() == pytest.approx(torch.nn.utils.clip_grad_norm_(gradients(1), math.inf).item())
    if value is not None:
        torch.nn.utils.clip_grad_value_(theirs, value)
    if norm is not None:
        torch.nn.utils.clip_grad_norm_(theirs, norm)
    for a, b in zip(ours[:3], theirs[:3], strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_raw_norm_reports_an_infinite_component_that_clipping_hides() -> None:
    parameters = gradients(2)
    parameters[0].grad[0, 0] = math.inf  # type: ignore[index]
    assert not clip_gradients(parameters, None, 1.0).isfinite()


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_weight_decay_only_on_matrices_that_multiply(name: Any) -> None:
    model = ToyModel()
    optimizer = build_optimizer(dataclasses.replace(OPTIM, optimizer=name, weight_decay=0.3), model)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    names = {name: decay[id(parameter)] for name, parameter in model.named_parameters()}
    assert {key for key, value in names.items() if value} == {"hidden.weight"}
    assert set(names) == {"embedding.weight", "hidden.weight", "hidden.bias", "norm.weight", "norm.bias", "output.bias"}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 6  # the tied one once


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("adam", lambda ps: torch.optim.Adam(ps, lr=0.02, betas=(0.9, 0.98), eps=1e-8)),
        ("adamw", lambda ps: torch.optim.AdamW(ps, lr=0.02, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.0)),
        ("sgd", lambda ps: torch.optim.SGD(ps, lr=0.02, momentum=0.9)),
    ],
)
def test_updates_are_those_of_torch(name: Any, theirs: Any) -> None:
    ours_model, theirs_model = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs_model.load_state_dict(ours_model.state_dict())
    config = dataclasses.replace(OPTIM, optimizer=name, weight_decay=0.0, momentum=0.9)
    optimizers = [build_optimizer(config, ours_model), theirs(theirs_model.parameters())]
    for model, optimizer in zip([ours_model, theirs_model], optimizers, strict=True):
        for step in range(3):
            optimizer.zero_grad()
            model(torch.arange(8.0).view(2, 4) - step).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours_model.weight, theirs_model.weight)


def test_an_sgd_update_of_a_part_is_exactly_its_factor_as_long() -> None:
    """The longest part counts, and any name of a tied one. Powers of 2 and a start at 0 leave nothing to round."""
    updates = []
    scale = {"hidden": 8.0, "hidden.bias": 0.5, "norm": 0.25, "output.weight": 2.0}
    for factors in ({}, scale):
        model = ToyModel()
        optimizer = build_optimizer(dataclasses.replace(OPTIM, optimizer="sgd", weight_decay=0.0, scale=factors), model)
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():
            parameter.data.zero_()
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        set_rate(optimizer, 0.3)
        optimizer.step()
        updates.append({name: parameter.detach() for name, parameter in model.named_parameters()})
    plain, scaled = updates
    factors = {
        "embedding.weight": 2.0,
        "hidden.weight": 8.0,
        "hidden.bias": 0.5,
        "norm.weight": 0.25,
        "norm.bias": 0.25,
    }
    assert set(factors) == set(plain) - {"output.bias"}
    for name, update in plain.items():
        assert update.any()
        assert torch.equal(scaled[name], update * factors.get(name, 1.0)), name


def test_groups_without_factors_are_those_of_weight_decay_alone() -> None:
    """As before there were factors: the order of parameters and groups decides about the last bits of their norm."""
    model = ToyModel()
    for scale in (None, {}, {"hidden": 1.0}):
        groups = build_optimizer(dataclasses.replace(OPTIM, scale=scale), model).param_groups
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        assert [[names[id(parameter)] for parameter in group["params"]] for group in groups] == [
            ["hidden.weight"],
            ["embedding.weight", "hidden.bias", "norm.weight", "norm.bias", "output.bias"],
        ]
        assert [(group["weight_decay"], group["scale"]) for group in groups] == [(OPTIM.weight_decay, 1), (0, 1)]


def test_weight_decay_is_that_of_the_parameter_whatever_its_factor() -> None:
    model = ToyModel()
    config = dataclasses.replace(OPTIM, weight_decay=0.3, scale={"hidden": 0.5, "norm.bias": 0.5})
    groups = build_optimizer(config, model).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    settings = {names[id(p)]: (group["weight_decay"], group["scale"]) for group in groups for p in group["params"]}
    expected = dict.fromkeys(names.values(), (0.0, 1.0))
    assert settings == expected | {"hidden.weight": (0.3, 0.5), "hidden.bias": (0.0, 0.5), "norm.bias": (0.0, 0.5)}


def test_a_frozen_model_is_refused() -> None:
    with pytest.raises(S2SError, match="no parameter to train"):
        build_optimizer(OPTIM, ToyModel().requires_grad_(False))
