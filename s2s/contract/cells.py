"""Contract of a cell, checked on a class in one line: `s2s.check_cell(MyCell)`.

`RecurrentLayer`, attention, search and checkpoints rely on these properties and on nothing else. A cell that has them
works in encoder and decoder, in both directions, in stacks, with attention and in beam search. Each check is small, in
float64 on the CPU; together they take a second or two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from s2s.contract.checks import all_close, check_contract, close, random_model, randomize, require
from s2s.models.interface import Seq2Seq
from s2s.nn.cells import CELLS, Cell
from s2s.nn.kernels.stepping import State
from s2s.nn.recurrent import RecurrentLayer

INPUTS, HIDDEN, BATCH, TIME = 5, 4, 3, 6

Make = Callable[[], Cell]


def check_cell(kind: type[Cell], **options: Any) -> None:
    """Checks that a cell works everywhere in s2s.

    Args:
        kind: the class.
        options: further options of its constructor, after input_size and hidden_size.

    Raises:
        S2SError: a property does not hold; the message lists all failures.
    """

    def make() -> Cell:
        return randomize(kind(INPUTS, HIDDEN, **options))  # type: ignore[no-any-return]

    check_contract(kind, CELLS, make, CELL_CHECKS, lambda name: _models(name, options))


def _state_shapes(make: Make) -> None:
    """The state is `num_states` tensors (batch, hidden)."""
    cell, (gx, state) = _make_inputs(make)
    _check_shapes("initial_state", cell, cell.initial_state(BATCH, gx[0]))
    _check_shapes("step", cell, cell.step(gx[0], state))


def _check_shapes(where: str, cell: Cell, state: State) -> None:
    shapes = [tuple(s.shape) for s in state]
    require(
        shapes == [(BATCH, HIDDEN)] * cell.num_states,
        f"{where} returns tensors of shapes {shapes}; num_states = {cell.num_states} requires {cell.num_states} "
        f"of (batch, hidden) = {(BATCH, HIDDEN)}, the output first",
    )


def _time_parallel_projection(make: Make) -> None:
    """`project` takes all time steps in one call."""
    cell = make()
    x = torch.randn(TIME, BATCH, INPUTS)
    whole = cell.project(x)
    require(
        whole.shape[:2] == x.shape[:2],
        f"project maps {tuple(x.shape)} to {tuple(whole.shape)}: it must keep all axes but the last",
    )
    alone = torch.stack([cell.project(step) for step in x])
    require(close(whole, alone), "project differs between all time steps at once and each of them alone")


def _affine(make: Make) -> None:
    """`project` is affine if `affine_input` is set."""
    cell = make()
    if not cell.affine_input:
        return
    x, y = torch.randn(2, BATCH, INPUTS)
    zero = torch.zeros_like(x)
    require(
        close(cell.project(x + y) + cell.project(zero), cell.project(x) + cell.project(y)),
        "project is not affine in its input (W x + b): set affine_input = False",
    )


def _independent_rows(make: Make) -> None:
    """A step does not mix the sentences of a batch."""
    cell, (gx, state) = _make_inputs(make)
    together = cell.step(gx[0], state)
    for row in range(BATCH):
        alone = cell.step(gx[0, row : row + 1], tuple(s[row : row + 1] for s in state))
        same = all_close([s[row : row + 1] for s in together], alone)
        require(same, "step returns other states for a sentence in a batch than alone: rows must not mix")


def _pure_step(make: Make) -> None:
    """A step depends on its arguments only and does not change them."""
    cell, (gx, state) = _make_inputs(make)
    before = [t.clone() for t in (gx, *state)]
    first = cell.step(gx[0], state)
    unchanged = all(map(torch.equal, before, (gx, *state)))
    require(unchanged, "step changes its arguments: search and autograd need the old state, so make new tensors")
    again = cell.step(gx[0], state)
    require(
        all(map(torch.equal, first, again)),
        "step returns other states when called again: its memory must be in the state",
    )


def _padding(make: Make) -> None:
    """Padding does not change the result, in both directions."""
    cell, lengths = make(), [TIME, 1, 3]
    mask = torch.arange(TIME) < torch.tensor(lengths).unsqueeze(1)
    x = torch.randn(BATCH, TIME, INPUTS).masked_fill(~mask.unsqueeze(2), torch.nan)
    for reverse in (False, True):
        layer = RecurrentLayer(cell, reverse)
        outputs, final = layer(x, mask)
        for row, length in enumerate(lengths):
            alone, alone_final = layer(x[row : row + 1, :length], None)
            same = all_close(
                (outputs[row : row + 1, :length], *(s[row : row + 1] for s in final)), (alone, *alone_final)
            )
            require(same, "the states of a sentence differ with and without padding")


def _gradients(make: Make) -> None:
    """Gradients are correct and reach every parameter and the initial state."""
    cell, (_, state) = _make_inputs(make)
    x = torch.randn(2, BATCH, INPUTS)
    names, parameters = zip(*cell.named_parameters(), strict=True)
    inputs = [t.detach().requires_grad_() for t in (x, *state, *parameters)]

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        def forward(x: Tensor, state: State) -> State:
            return cell.backend.loop(cell, cell.project(x.flatten(0, 1)), state, [BATCH] * len(x))

        cell.forward = forward
        values = dict(zip(names, rest[cell.num_states :], strict=True))
        return torch.func.functional_call(cell, values, (x, rest[: cell.num_states]))  # type: ignore[no-any-return]

    grads = torch.autograd.grad(torch.stack([t.sum() for t in run(*inputs)]).sum(), inputs, allow_unused=True)
    missing = [n for n, g in zip(names, grads[1 + cell.num_states :], strict=True) if g is None or not g.abs().any()]
    require(not missing, f"no gradient reaches {', '.join(missing)}: is it used, and is nothing detached?")
    require(grads[0] is not None and bool(grads[0].abs().any()), "no gradient reaches the input")
    correct = torch.autograd.gradcheck(run, inputs, raise_exception=False)
    require(correct, "autograd's gradients differ from finite differences: is something detached?")


def _gates(make: Make) -> None:
    """`gates` returns activations (batch, ·) by name."""
    cell, (gx, state) = _make_inputs(make)
    for name, values in cell.gates(gx[0], state).items():
        shape = tuple(values.shape)
        require(shape[:-1] == (BATCH,), f"gates returns {name} with the shape {shape}; it must be (batch, ·)")


def _kernel(make: Make) -> None:
    """The backend's `sequence` equals the loop over `step`."""
    cell, (_, state) = _make_inputs(make)
    batch_sizes = [BATCH, BATCH, 2, 1]  # sentences of different lengths
    x, results = torch.randn(sum(batch_sizes), INPUTS), []
    for run in (cell.backend.sequence, cell.backend.loop):
        states = run(cell, cell.project(x), state, batch_sizes)
        total = torch.stack([(s * torch.linspace(1, 2, s.numel()).view_as(s)).sum() for s in states]).sum()
        results.append([*states, *torch.autograd.grad(total, list(cell.parameters()), allow_unused=True)])
    for mine, other in zip(*results, strict=True):
        require(
            mine is other if mine is None or other is None else close(mine, other),
            "the backend's sequence (or its kernel) differs from the loop over step, in its states or gradients",
        )


def _state_dict(make: Make) -> None:
    """The parameters and options of a cell determine it."""
    cell, (_, state) = _make_inputs(make)
    other = make()
    other.load_state_dict(cell.state_dict())
    x = torch.randn(BATCH, INPUTS)
    require(
        all(map(torch.equal, cell.step(cell.project(x), state), other.step(other.project(x), state))),
        "a cell with the same weights returns other states: every random constant must be in the state_dict",
    )


CELL_CHECKS = (
    *(_state_shapes, _time_parallel_projection, _affine, _independent_rows, _pure_step),
    *(_padding, _gradients, _gates, _kernel, _state_dict),
)


def _models(cell: str, options: dict[str, Any]) -> Iterator[tuple[Callable[[], Seq2Seq], str]]:
    """Small models with a description: encoder and decoder of one to three layers, with every kind of attention."""
    attentions: dict[str, dict[str, Any]] = {
        "without attention": {"type": "none"},
        "with a fixed context vector": {"type": "fixed"},
        "with attention": {"type": "bahdanau", "size": 3},
        "with the current state as query": {"type": "bahdanau", "size": 3, "query": "current"},
    }
    common = {"type": "recurrent", "cell": cell, "cell_options": options, "hidden_size": HIDDEN, "dropout": 0.0}
    for layers, (name, attention) in zip((1, 2, 3, 1), attentions.items(), strict=True):
        section = {
            "name": "contract",
            "embedding_size": INPUTS,
            "tie_embeddings": "output",
            "dropout": 0.0,
            "encoder": {**common, "layers": layers, "bidirectional": layers < 3},
            "decoder": {**common, "layers": layers, "attention": attention},
        }
        yield partial(random_model, section), f"{name}, {layers} {'layer' if layers == 1 else 'layers'}"


def _make_inputs(make: Make) -> tuple[Cell, tuple[Tensor, State]]:
    """A cell, a projected input (TIME, BATCH, ·), and a state."""
    cell = make()
    state = tuple(torch.randn(BATCH, HIDDEN) for _ in range(cell.num_states))
    return cell, (cell.project(torch.randn(TIME, BATCH, INPUTS)), state)
