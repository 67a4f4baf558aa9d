"""The packed layout against torch's packed sequences."""

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
@given(lengths=LENGTHS, reverse=st.booleans())
def test_rows_are_those_of_a_packed_sequence(lengths: list[int], reverse: bool) -> None:
    x, mask = _batch(lengths)
    packing = Packing.of(x, mask)
    rows = (packing.reversed() if reverse else packing).pack(x)
    non_empty = [n for n in range(len(lengths)) if lengths[n]]
    if not non_empty:
        assert rows.shape == (0, 2)
        return
    in_order = torch.stack([torch.cat([row[:n].flip(0), row[n:]]) for row, n in zip(x, lengths, strict=True)])
    theirs = pack_padded_sequence(
        (in_order if reverse else x)[non_empty],
        torch.tensor(lengths)[non_empty],
        batch_first=True,
        enforce_sorted=False,
    )
    assert packing.batch_sizes == theirs.batch_sizes.tolist()
    # Sentences of one length may come in any order: each step has the same rows.
    for mine, other in zip(rows.split(packing.batch_sizes), theirs.data.split(packing.batch_sizes), strict=True):
        assert sorted(mine.tolist()) == sorted(other.tolist())


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, reverse=st.booleans(), masked=st.booleans())
def test_unpack_inverts_pack(lengths: list[int], reverse: bool, masked: bool) -> None:
    x, mask = _batch(lengths)
    packing = Packing.of(x, mask if masked else None)
    packing = packing.reversed() if reverse else packing
    expected = x.masked_fill(~mask.unsqueeze(-1), 0) if masked else x
    assert torch.equal(packing.unpack(packing.pack(x)), expected)
    each = torch.arange(float(len(lengths))).unsqueeze(1)
    assert torch.equal(packing.unpack(packing.add(torch.zeros_like(packing.pack(each[:, None].expand_as(x))), each)),
                       (each[:, None] * torch.ones_like(x)) * (mask.unsqueeze(-1) if masked else 1))  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, reverse=st.booleans())
def test_final_states(lengths: list[int], reverse: bool) -> None:
    """The elements serve as states: the last one in reading order, or the initial state of an empty sentence."""
    x, mask = _batch(lengths)
    packing = Packing.of(x, mask)
    packing = packing.reversed() if reverse else packing
    before = (torch.randn(len(lengths), 2),)
    rows = packing.pack(x)
    last = [0 if reverse else n - 1 for n in lengths]
    expected = torch.stack([x[b, last[b]] if n else before[0][b] for b, n in enumerate(lengths)])
    assert torch.equal(packing.final((rows,), before)[0], expected)
    first = packing.first(before)
    assert len(first[0]) == sum(n > 0 for n in lengths)
    assert torch.equal(packing.in_batch_order(first, before)[0], before[0])
