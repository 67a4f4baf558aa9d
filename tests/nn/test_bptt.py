"""The hand-derived backward passes against autograd through the loop, and against finite differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from s2s.nn.attention import AttentionCell, BahdanauAttention
from s2s.nn.cells import CELLS, Cell
from s2s.nn.kernels.attention import Query
from s2s.nn.packing import Packing
from s2s.nn.recurrent import RecurrentLayer
from tests.models import contract

pytestmark = pytest.mark.usefixtures("double")

KINDS = {kind: cell for kind, cell in contract.CELLS.items() if kind != "own"}  # "own" has no kernel
STEPPING = [kind for kind in KINDS if kind not in ("ssru", "mingru", "minlstm")]  # theirs runs over whole sequences


def _cell(kind: str, inputs: int, hidden: int, seed: int) -> Cell:
    name, options = KINDS[kind]
    cell = CELLS[name](inputs, hidden, **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / hidden**0.5)
    return cell


def _inputs(cell: Cell, sizes: list[int], hidden: int, seed: int) -> list[Tensor]:
    """Packed inputs and an initial state."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(sum(sizes), cell.input_size), *[(sizes[0], hidden)] * cell.num_states]
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(list(KINDS)),
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=4),
    hidden=st.integers(1, 7),
    only_last=st.booleans(),
    with_state=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_gradients_equal_autograd(
    kind: str, lengths: list[int], hidden: int, only_last: bool, with_state: bool, seed: int
) -> None:
    cell, sizes = _cell(kind, 3, hidden, seed), _sizes(lengths)
    x, *state = _inputs(cell, sizes, hidden, seed + 1)
    initial = tuple(state) if with_state else cell.initial_state(len(lengths), x)
    ours = cell.backend.sequence(cell, cell.project(x), initial, sizes)
    looped = cell.backend.loop(cell, cell.project(x), initial, sizes)
    generator = torch.Generator()

    def weighted_sum(states: tuple[Tensor, ...]) -> Tensor:
        generator.manual_seed(seed)
        selected = [s[-1] for s in states[-1:]] if only_last else list(states)
        return torch.stack([(s * torch.randn(s.shape, generator=generator)).sum() for s in selected]).sum()

    torch.testing.assert_close(ours, looped, rtol=0, atol=1e-12)
    inputs = [x, *(state if with_state else ()), *cell.parameters()]
    gradients = [
        torch.autograd.grad(weighted_sum(states), inputs, allow_unused=True, materialize_grads=True)
        for states in (ours, looped)  # unused: the SRU's h
    ]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def _sizes(lengths: list[int]) -> list[int]:
    """Rows of each step of sentences of these lengths."""
    return [sum(length > t for length in lengths) for t in range(max(lengths))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lengths", [[1], [4, 2], [12]])
@pytest.mark.parametrize("with_state", [True, False])
def test_gradients_equal_finite_differences(kind: str, lengths: list[int], with_state: bool) -> None:
    hidden = 1 if lengths == [12] else 3
    cell, sizes = _cell(kind, 2, hidden, 1), _sizes(lengths)
    x, *state = _inputs(cell, sizes, hidden, 2)
    names = [name for name, _ in cell.named_parameters()]
    count = cell.num_states if with_state else 0

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        state = rest[:count] or cell.initial_state(len(lengths), x)
        cell.forward = lambda x: cell.backend.sequence(cell, cell.project(x), state, sizes)  # type: ignore[method-assign]
        result: tuple[Tensor, ...] = torch.func.functional_call(cell, dict(zip(names, rest[count:], strict=True)), (x,))
        return result

    parameters = [p.detach().requires_grad_() for p in cell.parameters()]
    assert torch.autograd.gradcheck(run, (x, *state[:count], *parameters))


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_error_is_that_of_the_matrix_multiplications(kind: str) -> None:
    """States and gradients against float64 over 60 steps: the error of bf16 GEMMs alone, without drift over time."""
    cell, sizes = _cell(kind, 32, 32, 3), [4] * 60
    x, *state = _inputs(cell, sizes, 32, 4)

    def run(recurrence: str) -> list[Tensor]:
        states = getattr(cell.backend, recurrence)(cell, cell.project(x), tuple(state), sizes)
        gradients = torch.autograd.grad(states[0].sum(), [x, *cell.parameters()])
        return [states[0].detach(), *gradients]

    exact = run("sequence")
    cell = cell.float()
    x, state = x.detach().float().requires_grad_(), [s.detach().float() for s in state]
    with torch.autocast("cpu", torch.bfloat16):
        bf16, bf16_loop = run("sequence"), run("loop")
    assert bf16[0].dtype == torch.float32
    for mine, looped, other in zip(bf16, bf16_loop, exact, strict=True):
        error, error_looped = ((one - other).norm() / other.norm() for one in (mine, looped))
        assert error < (0.03 if kind == "ssru" else 0.015), error  # the SSRU's ReLU flips where its input is near 0
        assert error < 2 * error_looped + 1e-3, "the kernel is less accurate than autograd"
    early, late = ((bf16[0] - exact[0]).view(60, -1)[part].norm() for part in (slice(20, 40), slice(40, 60)))
    assert late < 2 * early


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(STEPPING),
    steps=st.integers(1, 20),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    parts=st.sets(st.sampled_from(["contexts", "states"]), min_size=1),
    form=st.sampled_from([("previous", False), ("previous", True), ("current", True)]),
    seed=st.integers(0, 2**20),
)
def test_attention_decoder_equals_autograd(
    kind: str, steps: int, lengths: list[int], parts: set[str], form: tuple[Query, bool], seed: int
) -> None:
    hidden, width, embedding, batch = 5, 4, 3, len(lengths)
    inner = _cell(kind, embedding + AttentionCell.context_width(*form, hidden, width), hidden, seed)
    cell = AttentionCell(inner, BahdanauAttention(hidden, width, 6), *form, width)
    assert cell.backend.has_kernel(cell)
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).requires_grad_()

    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    values, x = draw(batch, max(lengths), width), draw(steps * batch, embedding)
    state = (draw(batch, cell.output_size), *(draw(batch, hidden) for _ in range(inner.num_states - 1)))
    weights = [torch.randn(steps * batch, s.size(1), generator=generator) for s in state]
    if "states" not in parts:
        weights = [w if n == 0 else w * 0 for n, w in enumerate(weights)]
        weights[0][..., :hidden] = 0
    if "contexts" not in parts:
        weights[0][..., hidden:] = 0
    inputs = [values, x, *state, *cell.parameters()]

    def run(backend: str) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        memory = cell.attention.prepare(values, mask)
        states = getattr(cell.backend, backend)(cell, cell.project(x), state, [batch] * steps, memory)
        total = torch.stack([(s * w).sum() for s, w in zip(states, weights, strict=True)]).sum()
        return states, torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)

    torch.testing.assert_close(run("sequence"), run("loop"), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_both_directions_together_equal_each_alone(kind: str) -> None:
    layers = [RecurrentLayer(_cell(kind, 3, 4, seed), reverse=bool(seed)) for seed in (0, 1)]
    x = torch.randn(5, 6, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    mask = torch.arange(6) < torch.tensor([6, 1, 4, 0, 3]).unsqueeze(1)
    inputs = [x, *layers[0].parameters(), *layers[1].parameters()]
    results = []
    together = RecurrentLayer.run_level(layers, x, Packing.of(x, mask), [None, None], None)
    for run in (together, [f(x, mask) for f in layers]):
        tensors = [tensor for outputs, final in run for tensor in (outputs, *final)]
        total = torch.stack([(t * (n + 1)).sin().sum() for n, t in enumerate(tensors)]).sum()
        results.append([*tensors, *torch.autograd.grad(total, inputs)])
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


def test_a_subclass_with_its_own_step_has_no_kernel() -> None:
    class Halved(CELLS["lstm"]):  # type: ignore[misc,name-defined]
        def step(self, gx: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            h, c = super().step(gx, state)
            return h / 2, c

    cell = Halved(3, 4)
    gx, state, sizes = cell.project(torch.randn(5, 3)), (torch.zeros(2, 4), torch.zeros(2, 4)), [2, 2, 1]
    assert not cell.backend.has_kernel(cell)
    looped = cell.backend.loop(cell, gx, state, sizes)
    torch.testing.assert_close(cell.backend.sequence(cell, gx, state, sizes), looped)
