"""The layout without padding against torch's own packed sequences."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence

from s2s.nn.packing import Packing

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=6)


def _batch(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    time = max(*lengths, 1)
    mask = torch.arange(time) < torch.tensor(lengths).unsqueeze(1)
    return torch.randn(len(lengths), time, 2), mask


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, backwards=st.booleans())
def test_rows_are_those_of_a_packed_sequence(lengths: list[int], backwards: bool) -> None:
    x, mask = _batch(lengths)
    packing = Packing.of(x, mask)
    rows = (packing.reversed() if backwards else packing).pack(x)
    kept = [n for n in range(len(lengths)) if lengths[n]]
    if not kept:
        assert rows.shape == (0, 2)
        return
    read = torch.stack([torch.cat([row[:n].flip(0), row[n:]]) for row, n in zip(x, lengths, strict=True)])
    theirs = pack_padded_sequence(
        (read if backwards else x)[kept], torch.tensor(lengths)[kept], batch_first=True, enforce_sorted=False
    )
    assert packing.sizes == theirs.batch_sizes.tolist()
    # Sentences of one length may come in any order: each step has the same rows.
    for mine, other in zip(rows.split(packing.sizes), theirs.data.split(packing.sizes), strict=True):
        assert sorted(mine.tolist()) == sorted(other.tolist())


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, backwards=st.booleans(), masked=st.booleans())
def test_rows_go_back_to_their_places(lengths: list[int], backwards: bool, masked: bool) -> None:
    x, mask = _batch(lengths)
    packing = Packing.of(x, mask if masked else None)
    packing = packing.reversed() if backwards else packing
    expected = x.masked_fill(~mask.unsqueeze(-1), 0) if masked else x
    assert torch.equal(packing.unpack(packing.pack(x)), expected)
    each = torch.arange(float(len(lengths))).unsqueeze(1)
    assert torch.equal(packing.unpack(packing.add(torch.zeros_like(packing.pack(each[:, None].expand_as(x))), each)),
                       (each[:, None] * torch.ones_like(x)) * (mask.unsqueeze(-1) if masked else 1))  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, backwards=st.booleans())
def test_states_are_those_of_each_sentence(lengths: list[int], backwards: bool) -> None:
    """With the elements themselves as states: the last one that is read, and the first state where there is none."""
    x, mask = _batch(lengths)
    packing = Packing.of(x, mask)
    packing = packing.reversed() if backwards else packing
    before = (torch.randn(len(lengths), 2),)
    rows = packing.pack(x)
    last = [0 if backwards else n - 1 for n in lengths]
    expected = torch.stack([x[b, last[b]] if n else before[0][b] for b, n in enumerate(lengths)])
    assert torch.equal(packing.final((rows,), before)[0], expected)
    first = packing.first(before)
    assert len(first[0]) == sum(n > 0 for n in lengths)
    assert torch.equal(packing.in_batch_order(first, before)[0], before[0])
