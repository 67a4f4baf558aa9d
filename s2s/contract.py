"""What every cell promises, checked on a class in one line: `s2s.check_cell(MyCell)`.

`RecurrentLayer`, attention, search and checkpoints rely on these properties and on nothing else, so a cell that has
them works in encoder and decoder, in both directions, in stacks, with attention and in beam search. Each check is
small, in float64 on the CPU, and says in plain words what is wrong; all of them together take a second or two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from s2s.config import DecodingConfig
from s2s.data.batching import collate, pad_with_eos
from s2s.decoding.search import search
from s2s.errors import S2SError
from s2s.models import build_model
from s2s.models.interface import Seq2Seq
from s2s.nn.cells import CELLS, Cell
from s2s.nn.kernels.stepping import State
from s2s.nn.recurrent import RecurrentLayer

INPUTS, HIDDEN, BATCH, TIME, VOCABULARY = 5, 4, 3, 6, 9
NAME = "cell under test"

Make = Callable[[], Cell]


class _BrokenError(Exception):
    """A property does not hold; the message says which and where to look."""


def check_cell(kind: type[Cell], **options: Any) -> None:
    """Checks that a cell works everywhere in s2s.

    Args:
        kind: the class.
        options: what its constructor takes after input_size and hidden_size.

    Raises:
        S2SError: a property does not hold; the message has all that fail.
    """
    if not (isinstance(kind, type) and issubclass(kind, Cell)):
        raise S2SError(f"check_cell takes a class that derives from s2s.nn.cells.Cell, not {kind!r}")

    def make() -> Cell:
        return _random(kind(INPUTS, HIDDEN, **options))  # type: ignore[no-any-return]

    with _in_float64(), _registered(kind):
        wrong = [text for check in PARTS if (text := _outcome(check, make)) is not None]
        if not wrong:  # what is built of a broken cell breaks too, and says less
            models = _models(options)
            wrong = [text for name in models for check in WHOLES if (text := _outcome(check, models[name], name))]
    if wrong:
        listed = "; ".join(f"({number}) {text}" for number, text in enumerate(wrong, 1))
        raise S2SError(f"{kind.__name__} is not a cell that works everywhere: {listed}")


def _outcome(check: Callable[..., None], *arguments: Any) -> str | None:
    try:
        check(*arguments)
    except _BrokenError as broken:
        return str(broken)
    except Exception as error:
        what = (check.__doc__ or "").strip().rstrip(".")
        return f"{what[:1].lower()}{what[1:]}: raises {type(error).__name__}: {(str(error) or what).splitlines()[0]}"
    return None


def _state(make: Make) -> None:
    """The state is `num_states` tensors (batch, hidden)."""
    cell, (gx, state) = _begun(make)
    _same_shapes("initial_state", cell, cell.initial_state(BATCH, gx[0]))
    _same_shapes("step", cell, cell.step(gx[0], state))


def _same_shapes(where: str, cell: Cell, state: State) -> None:
    shapes = [tuple(s.shape) for s in state]
    if shapes != [(BATCH, HIDDEN)] * cell.num_states:
        raise _BrokenError(
            f"{where} returns tensors of the shapes {shapes}; num_states = {cell.num_states} says {cell.num_states} "
            f"of (batch, hidden) = {(BATCH, HIDDEN)}, the output first"
        )


def _all_time_at_once(make: Make) -> None:
    """`project` takes all time steps in one call."""
    cell = make()
    x = torch.randn(TIME, BATCH, INPUTS)
    whole = cell.project(x)
    if whole.shape[:2] != x.shape[:2]:
        raise _BrokenError(f"project turns {tuple(x.shape)} into {tuple(whole.shape)}: the first axes must stay")
    if not _close(whole, torch.stack([cell.project(step) for step in x])):
        raise _BrokenError("project gives something else for all time steps at once than for each of them alone")


def _affine(make: Make) -> None:
    """`affine_input` says whether `project` is affine."""
    cell = make()
    if not cell.affine_input:
        return
    x, y = torch.randn(2, BATCH, INPUTS)
    zero = torch.zeros_like(x)
    if not _close(cell.project(x + y) + cell.project(zero), cell.project(x) + cell.project(y)):
        raise _BrokenError("project is not affine in its input (W x + b): say so with affine_input = False")


def _rows_apart(make: Make) -> None:
    """A step treats the sentences of a batch apart."""
    cell, (gx, state) = _begun(make)
    together = cell.step(gx[0], state)
    for row in range(BATCH):
        alone = cell.step(gx[0, row : row + 1], tuple(s[row : row + 1] for s in state))
        if not all(_close(a[row : row + 1], b) for a, b in zip(together, alone, strict=True)):
            raise _BrokenError("step gives a sentence something else in a batch than alone: rows must not mix")


def _repeatable(make: Make) -> None:
    """A step depends on its arguments alone and leaves them as they are."""
    cell, (gx, state) = _begun(make)
    kept = [t.clone() for t in (gx, *state)]
    first = cell.step(gx[0], state)
    if not all(torch.equal(a, b) for a, b in zip(kept, (gx, *state), strict=True)):
        raise _BrokenError("step changes its arguments: search and autograd need the old state, so make new tensors")
    again = cell.step(gx[0], state)
    if not all(torch.equal(a, b) for a, b in zip(first, again, strict=True)):
        raise _BrokenError("step gives something else when called again: all it remembers must be in the state")


def _padding(make: Make) -> None:
    """Padding changes nothing, in both directions."""
    cell, lengths = make(), [TIME, 1, 3]
    mask = torch.arange(TIME) < torch.tensor(lengths).unsqueeze(1)
    x = torch.randn(BATCH, TIME, INPUTS).masked_fill(~mask.unsqueeze(2), torch.nan)
    for reverse in (False, True):
        layer = RecurrentLayer(cell, reverse)
        outputs, final = layer(x, mask)
        for row, length in enumerate(lengths):
            alone, alone_final = layer(x[row : row + 1, :length], None)
            parts = [(outputs[row : row + 1, :length], alone)]
            parts += [(f[row : row + 1], a) for f, a in zip(final, alone_final, strict=True)]
            if not all(_close(a, b) for a, b in parts):
                raise _BrokenError("a padded sentence gets other states than the same sentence without padding")


def _gradients(make: Make) -> None:
    """Gradients are right and reach every parameter and the first state."""
    cell, (_, state) = _begun(make)
    x = torch.randn(2, BATCH, INPUTS)
    names, parameters = zip(*cell.named_parameters(), strict=True)
    free = [t.detach().requires_grad_() for t in (x, *state, *parameters)]

    def run(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        def forward(x: Tensor, state: State) -> State:
            return cell.backend.loop(cell, cell.project(x.flatten(0, 1)), state, [BATCH] * len(x))

        cell.forward = forward
        values = dict(zip(names, rest[cell.num_states :], strict=True))
        return torch.func.functional_call(cell, values, (x, rest[: cell.num_states]))  # type: ignore[no-any-return]

    found = torch.autograd.grad(torch.stack([t.sum() for t in run(*free)]).sum(), free, allow_unused=True)
    missing = [n for n, g in zip(names, found[1 + cell.num_states :], strict=True) if g is None or not g.abs().any()]
    if missing:
        raise _BrokenError(f"no gradient reaches {', '.join(missing)}: is it used, and is nothing detached?")
    if found[0] is None or not found[0].abs().any():
        raise _BrokenError("no gradient reaches the input")
    if not torch.autograd.gradcheck(run, free, raise_exception=False):
        raise _BrokenError("autograd's gradients differ from finite differences: is something detached?")


def _gates(make: Make) -> None:
    """`gates` returns named activations (batch, ·)."""
    cell, (gx, state) = _begun(make)
    for name, values in cell.gates(gx[0], state).items():
        if values.dim() != 2 or len(values) != BATCH:
            raise _BrokenError(f"gates returns {name} with the shape {tuple(values.shape)}; it must be (batch, ·)")


def _kernel(make: Make) -> None:
    """The backend's `sequence` equals the loop over `step`."""
    cell, (_, state) = _begun(make)
    sizes = [BATCH, BATCH, 2, 1]  # sentences end
    x, results = torch.randn(sum(sizes), INPUTS), []
    for run in (cell.backend.sequence, cell.backend.loop):
        parts = run(cell, cell.project(x), state, sizes)
        weighed = torch.stack([(part * torch.linspace(1, 2, part.numel()).view_as(part)).sum() for part in parts])
        results.append([*parts, *torch.autograd.grad(weighed.sum(), list(cell.parameters()), allow_unused=True)])
    for mine, other in zip(*results, strict=True):
        if (mine is None) != (other is None) or (mine is not None and not _close(mine, other)):
            raise _BrokenError(
                "the backend's sequence (or the kernel behind it) does not compute what step computes, or its gradient"
            )


def _saved(make: Make) -> None:
    """A cell is its parameters and options."""
    cell, (_, state) = _begun(make)
    other = make()
    other.load_state_dict(cell.state_dict())
    x = torch.randn(BATCH, INPUTS)
    mine, again = cell.step(cell.project(x), state), other.step(other.project(x), state)
    if not all(torch.equal(a, b) for a, b in zip(mine, again, strict=True)):
        raise _BrokenError("a cell with the same weights computes something else: what it is must be in its parameters")


def _translates_alike(make: Callable[[], Seq2Seq], name: str) -> None:
    """Beam search finds the same translation alone and in a batch."""
    model = make()
    sources = [[4, 5], [6], [7, 8, 4, 5, 6]]
    limits = [len(s) + 3 for s in sources]
    together = search(model, *pad_with_eos(sources), BEAM, limits)
    for row, ids in enumerate(sources):
        (alone,) = search(model, *pad_with_eos([ids]), BEAM, [limits[row]])
        if together[row][0].tokens != alone[0].tokens:
            raise _BrokenError(f"in a model {name}, beam search translates a sentence otherwise in a batch than alone")


def _steps_equal_teacher_forcing(make: Callable[[], Seq2Seq], name: str) -> None:
    """Decoding step by step has the probabilities of training."""
    model = make()
    batch = collate([[4, 5, 6], [7]], [[8, 4], [5, 6, 7]], [0, 1])
    state, columns = model.start(batch.source, batch.source_mask), []
    for given, wanted in zip(batch.target_input.unbind(1), batch.target.unbind(1), strict=True):
        logits, state = model.step(given, state)
        columns.append(logits.log_softmax(1).gather(1, wanted.unsqueeze(1)))
    if not _close(torch.cat(columns, 1) * batch.target_mask, model.log_probs(batch)):
        raise _BrokenError(f"in a model {name}, decoding step by step differs from running over the whole target")


PARTS = (
    *(_state, _all_time_at_once, _affine, _rows_apart, _repeatable),
    *(_padding, _gradients, _gates, _kernel, _saved),
)
WHOLES = (_steps_equal_teacher_forcing, _translates_alike)
BEAM = DecodingConfig(
    name="contract", strategy="beam", beam=3, length_penalty=1.0, n_best=1, temperature=1.0, max_ratio=1.0,
    max_extra=3, max_source=100, batch_tokens=1000, precision="fp32", seed=1,
)  # fmt: skip


def _models(options: dict[str, Any]) -> dict[str, Callable[[], Seq2Seq]]:
    """Small models by what they are: encoder and decoder of one to three layers, in all ways to read the source."""
    ways: dict[str, dict[str, Any]] = {
        "without attention": {"type": "none"},
        "with a fixed context": {"type": "fixed"},
        "with attention": {"type": "bahdanau", "size": 3},
        "with attention by the current state": {"type": "bahdanau", "size": 3, "query": "current"},
    }
    return {
        f"{way}, {layers} {'layer' if layers == 1 else 'layers'}": _maker(options, attention, layers)
        for layers, (way, attention) in zip((1, 2, 3, 1), ways.items(), strict=True)
    }


def _maker(options: dict[str, Any], attention: dict[str, Any], layers: int) -> Callable[[], Seq2Seq]:
    part = {"type": "recurrent", "cell": NAME, "cell_options": options, "layers": layers, "dropout": 0.0}
    section = {
        "name": NAME,
        "embedding_size": INPUTS,
        "tie_embeddings": "output",
        "dropout": 0.0,
        "encoder": {**part, "hidden_size": HIDDEN, "bidirectional": layers < 3},
        "decoder": {**part, "hidden_size": HIDDEN, "attention": attention},
    }
    return lambda: _random(build_model(section, VOCABULARY, VOCABULARY)).eval()


def _begun(make: Make) -> tuple[Cell, tuple[Tensor, State]]:
    """A cell, its part of an input (TIME, BATCH, ·), and a state."""
    cell = make()
    state = tuple(torch.randn(BATCH, HIDDEN) for _ in range(cell.num_states))
    return cell, (cell.project(torch.randn(TIME, BATCH, INPUTS)), state)


def _close(mine: Tensor, other: Tensor) -> bool:
    return mine.shape == other.shape and torch.allclose(mine, other, rtol=1e-9, atol=1e-10)


def _random(module: Any) -> Any:
    """The module in float64 with weights that are not those of an initialisation, where much may be 0 or alike."""
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return module


@contextmanager
def _in_float64() -> Iterator[None]:
    """Random numbers and the default type are as before afterwards."""
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


@contextmanager
def _registered(kind: type[Cell]) -> Iterator[None]:
    CELLS[NAME] = kind
    try:
        yield
    finally:
        del CELLS[NAME]
