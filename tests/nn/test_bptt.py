"""The derivations by hand against autograd through the step loop, and against finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from s2s.nn.attention import AttentionCell, BahdanauAttention
from s2s.nn.cells import CELLS, Cell
from s2s.nn.recurrent import RecurrentLayer
from tests.models import contract

OPEN: dict[str, tuple[str, dict[str, Any]]] = {
    f"lstm without {gate}": ("lstm", {"open_gate": gate}) for gate in ("forget", "input", "output")
}
KINDS = contract.CELLS | OPEN


@pytest.fixture(autouse=True)
def _double(_default_type: None) -> None:
    torch.set_default_dtype(torch.float64)


def _cell(kind: str, inputs: int, hidden: int, seed: int) -> Cell:
    name, options = KINDS[kind]
    cell = CELLS[name](inputs, hidden, **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / hidden**0.5)
    return cell


def _inputs(cell: Cell, steps: int, batch: int, hidden: int, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(steps, batch, cell.input_size), *[(batch, hidden)] * cell.num_states]
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(list(KINDS)),
    steps=st.integers(1, 50),
    batch=st.integers(1, 4),
    hidden=st.integers(1, 7),
    only_last=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_gradients_equal_autograd(kind: str, steps: int, batch: int, hidden: int, only_last: bool, seed: int) -> None:
    cell = _cell(kind, 3, hidden, seed)
    x, *state = _inputs(cell, steps, batch, hidden, seed + 1)
    by_hand = cell.sequence(cell.project(x), tuple(state))
    looped = cell.loop(cell.project(x), tuple(state))
    generator = torch.Generator().manual_seed(seed)

    def weighed(states: tuple[Tensor, ...]) -> Tensor:
        generator.manual_seed(seed)
        chosen = [s[-1] for s in states[-1:]] if only_last else list(states)
        return torch.stack([(s * torch.randn(s.shape, generator=generator)).sum() for s in chosen]).sum()

    for mine, other in zip(by_hand, looped, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)
    wanted = [x, *state, *cell.parameters()]
    for mine, other in zip(
        torch.autograd.grad(weighed(by_hand), wanted, allow_unused=True, materialize_grads=True),
        torch.autograd.grad(weighed(looped), wanted, allow_unused=True, materialize_grads=True),  # SRU never reads h
        strict=True,
    ):
        torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_finite_differences(kind: str) -> None:
    cell = _cell(kind, 2, 3, 1)
    x, *state = _inputs(cell, 4, 2, 3, 2)
    names = [name for name, _ in cell.named_parameters()]

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        state, parameters = rest[: cell.num_states], dict(zip(names, rest[cell.num_states :], strict=True))
        call = lambda gx, s: torch.func.functional_call(cell, parameters, (gx, s))  # noqa: E731
        cell.forward = lambda gx, s: cell.sequence(cell.project(gx), s)  # type: ignore[method-assign]
        result: tuple[Tensor, ...] = call(x, state)
        return result

    assert torch.autograd.gradcheck(run, (x, *state, *(p.detach().requires_grad_() for p in cell.parameters())))


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_products_keep_states_in_fp32(kind: str) -> None:
    cell = _cell(kind, 8, 16, 3)
    x, *state = _inputs(cell, 60, 4, 16, 4)
    exact = cell.sequence(cell.project(x), tuple(state))[0]
    cell, x = cell.float(), x.float()
    with torch.autocast("cpu", torch.bfloat16):
        rough = cell.sequence(cell.project(x).float(), tuple(s.float() for s in state))[0]
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().mean() < 0.01


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from(list(KINDS)),
    steps=st.integers(1, 20),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    parts=st.sets(st.sampled_from(["contexts", "states"]), min_size=1),
    seed=st.integers(0, 2**20),
)
def test_attention_decoder_equals_autograd(
    kind: str, steps: int, lengths: list[int], parts: set[str], seed: int
) -> None:
    hidden, memory, embedding, batch = 5, 4, 3, len(lengths)
    inner = _cell(kind, embedding + memory, hidden, seed)
    cell = AttentionCell(inner, BahdanauAttention(hidden, memory, 6), "previous", False, memory)
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).requires_grad_()

    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    values, x = draw(batch, max(lengths), memory), draw(steps, batch, embedding)
    state = (draw(batch, hidden + memory), *(draw(batch, hidden) for _ in range(inner.num_states - 1)))
    weights = [torch.randn(steps, batch, s.size(1), generator=generator) for s in state]
    if "states" not in parts:
        weights = [w if n == 0 else w * 0 for n, w in enumerate(weights)]
        weights[0][..., :hidden] = 0
    if "contexts" not in parts:
        weights[0][..., hidden:] = 0
    wanted = [values, x, *state, *cell.parameters()]

    def run(how: str) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        constants = cell.prepare(cell.attention.prepare(values, mask))
        states = getattr(cell, how)(cell.project(x), state, constants)
        total = torch.stack([(s * w).sum() for s, w in zip(states, weights, strict=True)]).sum()
        return states, torch.autograd.grad(total, wanted, allow_unused=True, materialize_grads=True)

    for mine, other in zip(run("sequence"), run("loop"), strict=True):
        for one, two in zip(mine, other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_both_directions_together_equal_one_by_one(kind: str) -> None:
    layers = [RecurrentLayer(_cell(kind, 3, 4, seed), reverse=bool(seed)) for seed in (0, 1)]
    x = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    mask = torch.arange(6) < torch.tensor([6, 1, 4, 0, 3]).unsqueeze(1)
    wanted = [x, *layers[0].parameters(), *layers[1].parameters()]
    results = []
    for run in (RecurrentLayer.both(layers[0], layers[1], x, mask, [None, None]), [f(x, mask) for f in layers]):
        tensors = [tensor for outputs, final in run for tensor in (outputs, *final)]
        total = torch.stack([(t * (n + 1)).sin().sum() for n, t in enumerate(tensors)]).sum()
        results.append([*tensors, *torch.autograd.grad(total, wanted)])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_a_subclass_with_a_step_of_its_own_has_no_kernel() -> None:
    class Halved(CELLS["lstm"]):  # type: ignore[misc,name-defined]
        def step(self, gx: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            h, c = super().step(gx, state)
            return h / 2, c

    cell = Halved(3, 4)
    gx, state = cell.project(torch.randn(5, 2, 3)), (torch.zeros(2, 4), torch.zeros(2, 4))
    assert cell.kernel is None
    torch.testing.assert_close(cell.sequence(gx, state)[0], cell.loop(gx, state)[0])
