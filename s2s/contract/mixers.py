"""Contract of a mixer, checked on a class in one line: `s2s.check_mixer(MyMixer)`.

Blocks, search and checkpoints rely on these properties and on nothing else. A mixer that has them works in encoder and
decoder, with every norm and position encoding, and in beam search. Each check is small, in float64 on the CPU; together
they take a second or two.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from s2s.contract.checks import check_contract, close, random_model, randomize, require
from s2s.models.interface import Seq2Seq
from s2s.nn.mixers import MIXERS, Mixer, Rows

SIZE, HEADS, BATCH, TIME = 4, 2, 3, 6
LENGTHS = [TIME, 1, 3]

Make = Callable[[bool], Mixer]  # of `causal`


def check_mixer(kind: type[Mixer], **options: Any) -> None:
    """Checks that a mixer works everywhere in s2s.

    Args:
        kind: the class.
        options: further options of its constructor, after size and causal; `heads` is 2 unless given.

    Raises:
        S2SError: a property does not hold; the message lists all failures.
    """

    def make(causal: bool) -> Mixer:
        heads = {"heads": HEADS} if "heads" in inspect.signature(kind).parameters else {}
        return randomize(kind(SIZE, causal, **(heads | options))).eval()  # type: ignore[no-any-return]

    check_contract(kind, MIXERS, make, MIXER_CHECKS, lambda name: _models(name, options))


def _shapes(make: Make) -> None:
    """`forward` and `extend` keep the shape (batch, time, size)."""
    x, mask = _inputs()
    outputs = {"forward": make(False)(x, mask), "extend": _extend(make(True), x)[0]}
    for name, y in outputs.items():
        require(y.shape == x.shape, f"{name} maps {tuple(x.shape)} to {tuple(y.shape)}: it must keep the shape")


def _rows(make: Make) -> None:
    """Rows are tensors by name, whose first axis is the hypotheses."""
    mixer, (x, _) = make(True), _inputs()
    before = mixer.start(x)
    after = mixer.extend(x, before)[1]
    for where, rows in (("start", before), ("extend", after)):
        right = isinstance(rows, dict) and all(isinstance(row, Tensor) for row in rows.values())
        require(right, f"{where} must return the rows as a dict of tensors by name")
        wrong = [name for name, row in rows.items() if row.dim() == 0 or row.size(0) != BATCH]
        require(
            not wrong,
            f"{where} returns rows {', '.join(wrong)} whose first axis is not the hypotheses: search reorders and "
            "drops hypotheses along it",
        )
    require(before.keys() == after.keys(), "extend returns other names of rows than start")


def _padding(make: Make) -> None:
    """Padding does not change what an encoder's real positions get."""
    mixer, (x, mask) = make(False), _inputs()
    y = mixer(x.masked_fill(~mask.unsqueeze(2), 100.0), mask)
    for row, length in enumerate(LENGTHS):
        alone = mixer(x[row : row + 1, :length], mask[row : row + 1, :length])
        same = close(y[row : row + 1, :length], alone)
        require(same, "forward gives a sentence other outputs with padding than without: use the mask")


def _independent_rows(make: Make) -> None:
    """The sentences of a batch do not mix."""
    x, mask = _inputs()
    full = torch.ones_like(mask)
    runs: dict[str, Callable[[Mixer, Tensor], Tensor]] = {
        "forward": lambda mixer, x: mixer(x, full[: len(x)]),
        "extend": lambda mixer, x: _extend(mixer, x)[0],
    }
    for name, run in runs.items():
        mixer = make(name == "extend")
        together = run(mixer, x)
        for row in range(BATCH):
            same = close(together[row : row + 1], run(mixer, x[row : row + 1]))
            require(same, f"{name} gives a sentence other outputs in a batch than alone: rows must not mix")


def _causal(make: Make) -> None:
    """In a decoder no position sees a later one."""
    mixer, (x, _) = make(True), _inputs()
    y = _extend(mixer, x)[0]
    for seen in range(1, TIME):
        changed = torch.cat([x[:, :seen], torch.randn_like(x[:, seen:])], dim=1)
        same = close(_extend(mixer, changed)[0][:, :seen], y[:, :seen])
        require(same, "extend lets a position see later ones: in training it would see the words it has to predict")


def _steps(make: Make) -> None:
    """Step by step, in parts and at once, a decoder gives the same."""
    mixer, (x, _) = make(True), _inputs()
    whole = _extend(mixer, x)[0]
    for sizes, name in (([1] * TIME, "step by step"), ([2, 1, TIME - 3], "in parts")):
        rows, parts = mixer.start(x), []
        for part in x.split(sizes, dim=1):  # type: ignore[no-untyped-call]
            y, rows = mixer.extend(part, rows)
            parts.append(y)
        same = close(torch.cat(parts, dim=1), whole)
        require(same, f"extend gives other outputs {name} than at once: all it needs of the past must be in the rows")


def _prefix(make: Make) -> None:
    """A prefix of sequences of different lengths gives what each alone does."""
    mixer, (x, mask), new = make(True), _inputs(), torch.randn(BATCH, 2, SIZE)
    together, rows = mixer.prefix(x.masked_fill(~mask.unsqueeze(2), 100.0), mask)
    after, _ = mixer.extend(new, rows)
    for row, length in enumerate(LENGTHS):
        one = slice(row, row + 1)
        alone, own = _extend(mixer, x[one, :length])
        same = close(together[one, :length], alone) and close(after[one], mixer.extend(new[one], own)[0])
        require(same, "prefix gives other outputs or rows than start and extend do for each sequence alone")


def _reordering(make: Make) -> None:
    """Reordered rows continue the hypotheses they came from."""
    mixer, (x, _) = make(True), _inputs()
    past, new = x.split([TIME - 2, 2], dim=1)  # type: ignore[no-untyped-call]
    index = torch.tensor([2, 0, 0])
    _, rows = _extend(mixer, past)
    reordered = {name: row.index_select(0, index) for name, row in rows.items()}
    mine, _ = mixer.extend(new[index], reordered)
    expected, _ = mixer.extend(new[index], _extend(mixer, past[index])[1])
    require(close(mine, expected), "extend continues another hypothesis after beam search has reordered the rows")


def _pure(make: Make) -> None:
    """Both calls depend on their arguments only and do not change them."""
    x, mask = _inputs()
    encoder, decoder = make(False), make(True)
    _, rows = _extend(decoder, x)
    calls: dict[str, Callable[[], Tensor]] = {
        "forward": lambda: encoder(x, mask).masked_fill(~mask.unsqueeze(2), 0.0),
        "extend": lambda: decoder.extend(x, rows)[0],
    }
    for name, call in calls.items():
        before = {key: value.clone() for key, value in {**rows, "x": x}.items()}
        first = call()
        unchanged = all(torch.equal(value, before[key]) for key, value in {**rows, "x": x}.items())
        require(unchanged, f"{name} changes its arguments: search and autograd need the old ones, make new tensors")
        require(torch.equal(first, call()), f"{name} gives other outputs when called again: memory belongs in the rows")


def _gradients(make: Make) -> None:
    """Gradients are correct and reach every parameter and the input."""
    x, mask = torch.randn(2, 3, SIZE), torch.ones(2, 3, dtype=torch.bool)
    for name, causal in (("forward", False), ("extend", True)):
        mixer = make(causal)
        names, parameters = list(dict(mixer.named_parameters())), list(mixer.parameters())
        inputs = [t.detach().requires_grad_() for t in (x, *parameters)]
        if causal:
            mixer.forward = lambda x, mask, mixer=mixer: _extend(mixer, x)[0]  # type: ignore[method-assign, misc]

        def run(x: Tensor, *values: Tensor, mixer: Mixer = mixer, names: list[str] = names) -> Tensor:
            return torch.func.functional_call(mixer, dict(zip(names, values, strict=True)), (x, mask))  # type: ignore[no-any-return]

        grads = torch.autograd.grad(run(*inputs).square().sum(), inputs, allow_unused=True)
        missing = [n for n, g in zip(("the input", *names), grads, strict=True) if g is None or not g.abs().any()]
        require(not missing, f"no gradient of {name} reaches {', '.join(missing)}: is it used, and nothing detached?")
        correct = torch.autograd.gradcheck(run, inputs, raise_exception=False)
        require(correct, f"autograd's gradients of {name} differ from finite differences: is something detached?")


def _state_dict(make: Make) -> None:
    """The parameters and options of a mixer determine it."""
    x, mask = _inputs()
    for causal in (False, True):
        mixer, other = make(causal), make(causal)
        other.load_state_dict(mixer.state_dict())
        mine, theirs = (_extend(m, x)[0] if causal else m(x, torch.ones_like(mask)) for m in (mixer, other))
        require(
            torch.equal(mine, theirs),
            "a mixer with the same weights gives other outputs: every random constant must be in the state_dict",
        )


MIXER_CHECKS = (
    *(_shapes, _rows, _padding, _independent_rows, _causal, _steps, _prefix, _reordering, _pure),
    *(_gradients, _state_dict),
)


def _models(name: str, options: dict[str, Any]) -> Iterator[tuple[Callable[[], Seq2Seq], str]]:
    """Small models with a description: the mixer in both sides, and in a decoder-only model, with every norm."""
    side = {"type": "blocks", "mixer": {"type": name, **options}, "layers": 2, "dropout": 0.0, "heads": HEADS}
    for norm, positions, feedforward in (("pre", "sinusoidal", 3), ("post", "none", 0), ("none", "recurrent", 3)):
        both = {**side, "norm": norm, "positions": positions, "feedforward": feedforward}
        section = {
            "name": "contract",
            "embedding_size": SIZE,
            "tie_embeddings": "output",
            "dropout": 0.0,
            "encoder": both,
            "decoder": both,
        }
        where = f"norm={norm}, positions={positions}, feedforward={feedforward}"
        yield partial(random_model, section), f"with {where}"
        alone = {key: value for key, value in section.items() if key != "encoder"}
        alone |= {"type": "decoder_only", "prefix": "causal", "source_loss": 0.0}
        yield partial(random_model, alone), f"in a decoder-only model with {where}"


def _inputs() -> tuple[Tensor, Tensor]:
    """x (BATCH, TIME, SIZE), and a mask with padding."""
    return torch.randn(BATCH, TIME, SIZE), torch.arange(TIME) < torch.tensor(LENGTHS).unsqueeze(1)


def _extend(mixer: Mixer, x: Tensor) -> tuple[Tensor, Rows]:
    return mixer.extend(x, mixer.start(x))
