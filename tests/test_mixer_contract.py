"""`s2s.check_mixer`: built-in mixers pass, and each broken property is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import s2s
from s2s.nn.mixers import MIXERS, Mixer, Rows
from tests.models.own import Average

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "self_attention": [{}, {"rotary": True}],
    "convolution": [{}, {"kernel": 1}, {"kernel": 4}],
    "recurrent": [{"cell": "lstm"}, {"cell": "ssru", "hidden_size": 3}, {"cell": "tests.models.own.Leaky"}],
}


@pytest.mark.parametrize(("name", "options"), [(name, one) for name, several in OPTIONS.items() for one in several])
def test_built_in_mixers_pass(name: str, options: dict[str, Any]) -> None:
    before = torch.get_default_dtype(), torch.get_rng_state(), dict(MIXERS)
    s2s.check_mixer(MIXERS[name], **options)
    assert before[0] == torch.get_default_dtype()
    assert torch.equal(before[1], torch.get_rng_state())
    assert before[2] == MIXERS


def test_a_mixer_of_a_user_passes() -> None:
    s2s.check_mixer(Average, power=2)


class Wide(Average):
    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        y, rows = super().extend(x, rows)
        return torch.cat([y, y], dim=-1), rows


class TimeFirst(Average):
    def start(self, like: Tensor) -> Rows:
        return {name: row.unsqueeze(0) for name, row in super().start(like).items()}

    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        y, rows = super().extend(x, {name: row.squeeze(0) for name, row in rows.items()})
        return y, {name: row.unsqueeze(0) for name, row in rows.items()}


class OtherNames(Average):
    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        y, rows = super().extend(x, rows)
        return y, {"total": rows["sum"], "count": rows["count"]}


class AsTuple(Average):
    def start(self, like: Tensor) -> Rows:
        return tuple(super().start(like).values())  # type: ignore[return-value]

    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        y, rows = super().extend(x, dict(zip(("sum", "count"), rows, strict=True)))  # type: ignore[arg-type]
        return y, tuple(rows.values())  # type: ignore[return-value]


class IgnoresMask(Average):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return super().forward(x, torch.ones_like(mask))


class RowsMix(Average):
    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        return super().extend(x - x.mean(dim=0), rows)


class SeesTheFuture(Average):
    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        y, rows = super().extend(x, rows)
        return y + x.mean(dim=1, keepdim=True), rows


class Forgets(Average):
    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        return super().extend(x, self.start(x))


class KeepsOnItself(Average):
    """Its memory is on the module, so search reorders nothing."""

    def start(self, like: Tensor) -> Rows:
        self.stored = super().start(like)
        return {name: torch.zeros_like(row) for name, row in self.stored.items()}

    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        y, self.stored = super().extend(x, {name: row[: len(x)] for name, row in self.stored.items()})
        return y, rows


class InPlace(Average):
    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        y, new = super().extend(x, rows)
        rows["sum"].data.copy_(new["sum"])
        return y, new


class Detached(Average):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return super().forward(x.detach(), mask) + 0 * x


class Unused(Average):
    def __init__(self, size: int, causal: bool, power: int = 1) -> None:
        super().__init__(size, causal, power)
        self.spare = nn.Parameter(torch.ones(size))


class RandomConstant(Average):
    def __init__(self, size: int, causal: bool, power: int = 1) -> None:
        super().__init__(size, causal, power)
        self.constant = torch.rand(size)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return super().forward(x, mask) + self.constant


class Raises(Average):
    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        raise RuntimeError("no such row\nand more")


class PrefixOfEqualLengths(Average):
    """Its rows after a prefix count the padding."""

    def prefix(self, x: Tensor, mask: Tensor, lengths: Sequence[int] | None = None) -> tuple[Tensor, Rows]:
        return self.extend(x, self.start(x))


class Grows(Average):
    """It stores all inputs, and does not say what they are at padding."""

    def start(self, like: Tensor) -> Rows:
        return {"past": like.new_zeros(like.size(0), 0, self.output.in_features)}

    def extend(self, x: Tensor, rows: Rows) -> tuple[Tensor, Rows]:
        past = torch.cat([rows["past"], x], dim=1)
        y, _ = super().extend(past, super().start(x))
        return y[:, -x.size(1) :], {"past": past}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (PrefixOfEqualLengths, "prefix gives other outputs or rows than start and extend do for each sequence alone"),
        (Grows, "the rows of mixer Grows grow with the sequence: it needs a method `prefix` of its own"),
        (Wide, "extend maps (3, 6, 4) to (3, 6, 8)"),
        (TimeFirst, "whose first axis is not the hypotheses"),
        (OtherNames, "other names of rows than start"),
        (AsTuple, "rows as a dict of tensors by name"),
        (IgnoresMask, "with padding than without: use the mask"),
        (RowsMix, "extend gives a sentence other outputs in a batch than alone"),
        (SeesTheFuture, "extend lets a position see later ones"),
        (Forgets, "other outputs step by step than at once"),
        (KeepsOnItself, "continues another hypothesis after beam search has reordered the rows"),
        (InPlace, "extend changes its arguments"),
        (Detached, "no gradient of forward reaches"),
        (Unused, "reaches spare"),
        (RandomConstant, "every random constant must be in the state_dict"),
        (Raises, "raises RuntimeError: no such row"),
    ],
)
def test_failures_are_named(kind: type[Mixer], words: str) -> None:
    with pytest.raises(s2s.S2SError, match=f"{kind.__name__} is not a mixer that works everywhere: ") as caught:
        s2s.check_mixer(kind)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_classes_are_rejected() -> None:
    with pytest.raises(s2s.S2SError, match="takes a class that derives from"):
        s2s.check_mixer(nn.MultiheadAttention)  # type: ignore[arg-type]
