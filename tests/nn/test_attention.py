"""Bahdanau attention against its equations in plain loops, and `AttentionCell`."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from s2s.nn.attention import AttentionCell, BahdanauAttention
from s2s.nn.cells import CELLS, Cell, State
from s2s.nn.recurrent import RecurrentLayer

pytestmark = pytest.mark.usefixtures("double")


def _reference(attention: BahdanauAttention, query: Tensor, memory: Tensor, length: int) -> tuple[Tensor, list[float]]:
    energies = []
    for j in range(length):
        inner = torch.tanh(attention.query.weight @ query + attention.key.weight @ memory[j] + attention.key.bias)
        energies.append((attention.energy.weight[0] @ inner).item())
    total = sum(math.exp(e) for e in energies)
    weights = [math.exp(e) / total for e in energies]
    return sum((w * memory[j] for j, w in enumerate(weights)), torch.zeros(memory.size(1))), weights


def test_equations() -> None:
    torch.manual_seed(0)
    attention = BahdanauAttention(3, 5, 4)
    memory, lengths = torch.randn(2, 6, 5), [6, 2]
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    keys = attention.prepare(memory, mask)
    queries = torch.randn(6, 4, 3)  # 2 sentences × 3 hypotheses, 4 steps
    context, weights = attention(queries, keys)
    assert context.shape == (6, 4, 5)
    for row in range(6):
        for step in range(4):
            expected, reference = _reference(attention, queries[row, step], memory[row // 3], lengths[row // 3])
            torch.testing.assert_close(context[row, step], expected)
            torch.testing.assert_close(weights[row, step, : len(reference)], torch.tensor(reference))
            assert weights[row, step, len(reference) :].eq(0).all()
    one, _ = attention(queries[:, 0], keys)
    torch.testing.assert_close(one, context[:, 0])


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    steps=st.integers(1, 5),
    sizes=st.tuples(*[st.integers(1, 4)] * 3),
    seed=st.integers(0, 99),
)
def test_attention_over_time(lengths: list[int], steps: int, sizes: tuple[int, int, int], seed: int) -> None:
    torch.manual_seed(seed)
    query_size, width, inner = sizes
    attention = BahdanauAttention(query_size, width, inner)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    memory = torch.randn(len(lengths), max(lengths), width, requires_grad=True)
    queries = torch.randn(len(lengths), steps, query_size, requires_grad=True)
    weights = torch.randn(len(lengths), steps, width)
    inputs = [queries, memory, *attention.parameters()]

    def run(kernel: bool) -> list[Tensor]:
        keys = attention.prepare(memory, mask)
        contexts = attention.contexts(queries, keys) if kernel else attention(queries, keys)[0]
        return [contexts, *torch.autograd.grad((contexts * weights).sum(), inputs)]

    torch.testing.assert_close(run(True), run(False), rtol=1e-9, atol=1e-10)


def test_attention_over_time_in_bf16() -> None:
    torch.manual_seed(0)
    attention = BahdanauAttention(24, 32, 48).float()
    mask = torch.arange(9) < torch.tensor([9, 4, 7])[:, None]
    memory, queries = torch.randn(3, 9, 32), torch.randn(3, 11, 24)

    def run(dtype: torch.dtype, kernel: bool) -> list[Tensor]:
        module = BahdanauAttention(24, 32, 48).to(dtype)
        module.load_state_dict(attention.state_dict())
        inputs = [queries.to(dtype).requires_grad_(), memory.to(dtype).requires_grad_()]
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
            keys = module.prepare(inputs[1], mask)
            contexts = module.contexts(inputs[0], keys) if kernel else module(inputs[0], keys)[0]
        return [contexts, *torch.autograd.grad(contexts.to(dtype).square().sum(), [*inputs, *module.parameters()])]

    every = (run(torch.float32, True), run(torch.float32, False), run(torch.float64, False))
    for ours, autograd, exact in zip(*every, strict=True):
        error, reference = ((gradient.double() - exact).norm() / exact.norm() for gradient in (ours, autograd))
        assert error < max(0.01, 1.2 * reference)
        assert error < 0.03


class NonlinearInput(Cell):
    """A cell that is not affine in its input: h = tanh(W h + sin(U x))."""

    affine_input = False

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.u = torch.nn.Linear(input_size, hidden_size)
        self.w = torch.nn.Linear(hidden_size, hidden_size)

    def project(self, x: Tensor) -> Tensor:
        return torch.sin(self.u(x))

    def step(self, gx: Tensor, state: State) -> State:
        return (torch.tanh(self.w(state[0]) + gx),)


@pytest.mark.parametrize("kind", [*sorted(CELLS), "nonlinear"])
@pytest.mark.parametrize("query", ["previous", "current"])
@pytest.mark.parametrize("feeding", [False, True])
def test_attention_cell_equals_its_equations(kind: str, query: str, feeding: bool) -> None:
    torch.manual_seed(1)
    hidden, width, embedding = 4, 3, 2
    cell_type = NonlinearInput if kind == "nonlinear" else CELLS[kind]
    inner = cell_type(embedding + AttentionCell.context_width(query, feeding, hidden, width), hidden)
    attention = BahdanauAttention(hidden, width, 5)
    cell = AttentionCell(inner, attention, query, feeding, width)
    memory, mask = torch.randn(2, 6, width), torch.arange(6) < torch.tensor([[6], [3]])
    keys = attention.prepare(memory, mask)
    x = torch.randn(2, 5, embedding)
    outputs, _ = RecurrentLayer(cell)(x, None, None, keys)

    state = inner.initial_state(2, x)
    attentional = torch.zeros(2, hidden)
    for t in range(5):
        parts = [x[:, t]]
        if query == "previous":
            context, weights = attention(state[0], keys)
            parts.append(context)
        if feeding:
            parts.append(attentional)
        state = inner.step(inner.project(torch.cat(parts, dim=-1)), state)
        if query == "current":
            context, weights = attention(state[0], keys)
        second = context
        if feeding:
            assert cell.attentional is not None
            second = attentional = torch.tanh(cell.attentional(torch.cat([state[0], context], dim=-1)))
        torch.testing.assert_close(outputs[:, t], torch.cat([state[0], second], dim=-1))
        traced = RecurrentLayer(cell).trace(x[:, : t + 1], None, None, keys)
        torch.testing.assert_close(traced["attention"][:, t], weights)
