"""Bahdanau attention against its equations in plain loops, and the cell that wraps it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from s2s.nn.attention import AttentionCell, BahdanauAttention
from s2s.nn.cells import CELLS, Cell, State
from s2s.nn.recurrent import RecurrentLayer


@pytest.fixture(autouse=True)
def _double(_default_type: None) -> None:
    torch.set_default_dtype(torch.float64)


def _by_hand(attention: BahdanauAttention, query: Tensor, memory: Tensor, length: int) -> tuple[Tensor, list[float]]:
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
            expected, by_hand = _by_hand(attention, queries[row, step], memory[row // 3], lengths[row // 3])
            torch.testing.assert_close(context[row, step], expected)
            torch.testing.assert_close(weights[row, step, : len(by_hand)], torch.tensor(by_hand))
            assert weights[row, step, len(by_hand) :].eq(0).all()
    one, _ = attention(queries[:, 0], keys)
    torch.testing.assert_close(one, context[:, 0])


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    steps=st.integers(1, 5),
    sizes=st.tuples(*[st.integers(1, 4)] * 3),
    seed=st.integers(0, 99),
)
def test_all_queries_at_once(lengths: list[int], steps: int, sizes: tuple[int, int, int], seed: int) -> None:
    torch.manual_seed(seed)
    asking, width, inner = sizes
    attention = BahdanauAttention(asking, width, inner)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    memory = torch.randn(len(lengths), max(lengths), width, requires_grad=True)
    queries = torch.randn(len(lengths), steps, asking, requires_grad=True)
    weights = torch.randn(len(lengths), steps, width)
    wanted = [queries, memory, *attention.parameters()]

    def run(by_hand: bool) -> list[Tensor]:
        keys = attention.prepare(memory, mask)
        contexts = attention.contexts(queries, keys) if by_hand else attention(queries, keys)[0]
        return [contexts, *torch.autograd.grad((contexts * weights).sum(), wanted)]

    for ours, theirs in zip(run(True), run(False), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_all_queries_at_once_in_bf16() -> None:
    torch.manual_seed(0)
    attention = BahdanauAttention(24, 32, 48).float()
    mask = torch.arange(9) < torch.tensor([9, 4, 7])[:, None]
    memory, queries = torch.randn(3, 9, 32), torch.randn(3, 11, 24)

    def run(kind: torch.dtype, by_hand: bool) -> list[Tensor]:
        module = BahdanauAttention(24, 32, 48).to(kind)
        module.load_state_dict(attention.state_dict())
        given = [queries.to(kind).requires_grad_(), memory.to(kind).requires_grad_()]
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.float32):
            keys = module.prepare(given[1], mask)
            contexts = module.contexts(given[0], keys) if by_hand else module(given[0], keys)[0]
        return [contexts, *torch.autograd.grad(contexts.to(kind).square().sum(), [*given, *module.parameters()])]

    every = (run(torch.float32, True), run(torch.float32, False), run(torch.float64, False))
    for ours, autograd, exact in zip(*every, strict=True):
        error, usual = ((found.double() - exact).norm() / exact.norm() for found in (ours, autograd))
        assert error < max(0.01, 1.2 * usual)
        assert error < 0.03


class Wavy(Cell):
    """Not affine in its input: h = tanh(W h + sin(U x))."""

    affine_input = False

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.u = torch.nn.Linear(input_size, hidden_size)
        self.w = torch.nn.Linear(hidden_size, hidden_size)

    def project(self, x: Tensor) -> Tensor:
        return torch.sin(self.u(x))

    def step(self, gx: Tensor, state: State) -> State:
        return (torch.tanh(self.w(state[0]) + gx),)


@pytest.mark.parametrize("kind", [*sorted(CELLS), "wavy"])
@pytest.mark.parametrize("query", ["previous", "current"])
@pytest.mark.parametrize("feeding", [False, True])
def test_attention_cell_is_its_equations(kind: str, query: str, feeding: bool) -> None:
    torch.manual_seed(1)
    hidden, width, embedding = 4, 3, 2
    make = Wavy if kind == "wavy" else CELLS[kind]
    inner = make(embedding + AttentionCell.width_of_context(query, feeding, hidden, width), hidden)
    attention = BahdanauAttention(hidden, width, 5)
    cell = AttentionCell(inner, attention, query, feeding, width)
    memory, mask = torch.randn(2, 6, width), torch.arange(6) < torch.tensor([[6], [3]])
    keys = attention.prepare(memory, mask)
    x = torch.randn(2, 5, embedding)
    outputs, _ = RecurrentLayer(cell)(x, None, None, keys)

    state = inner.initial_state(2, x)
    fed = torch.zeros(2, hidden)
    for t in range(5):
        parts = [x[:, t]]
        if query == "previous":
            context, weights = attention(state[0], keys)
            parts.append(context)
        if feeding:
            parts.append(fed)
        state = inner.step(inner.project(torch.cat(parts, dim=-1)), state)
        if query == "current":
            context, weights = attention(state[0], keys)
        second = context
        if feeding:
            assert cell.attentional is not None
            second = fed = torch.tanh(cell.attentional(torch.cat([state[0], context], dim=-1)))
        torch.testing.assert_close(outputs[:, t], torch.cat([state[0], second], dim=-1))
        traced = RecurrentLayer(cell).trace(x[:, : t + 1], None, None, keys)
        torch.testing.assert_close(traced["attention"][:, t], weights)
