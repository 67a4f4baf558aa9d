"""Top-k and log-sum-exp of the logits against plain torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s.decoding.expansion import row_statistics, stable_topk


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.integers(1, 900), st.integers(1, 5), st.integers(0, 10**6), st.data())
def test_stable_topk_is_a_stable_sort(rows, columns, levels, seed, data):
    count = data.draw(st.integers(1, min(columns, 40)))
    values = torch.randint(levels, (rows, columns), generator=torch.Generator().manual_seed(seed)).float()
    expected, order = values.sort(dim=1, descending=True, stable=True)
    largest, position = stable_topk(values, count, row_statistics(values.unsqueeze(0)).block_maxima)
    assert torch.equal(largest, expected[:, :count])
    assert torch.equal(position, order[:, :count])


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_row_statistics_are_logsumexp_and_maxima(kind):
    logits = (torch.randn(4, 3, 150, generator=torch.Generator().manual_seed(0)) * 30).to(kind)
    logits[0, 0, 7], logits[1, 2, :-1], logits[2, 1] = -torch.inf, -torch.inf, 5000.0
    (logsumexp, maxima), expected = row_statistics(logits), logits.double().logsumexp(-1)
    assert logsumexp.dtype == (torch.float64 if kind == torch.float64 else torch.float32)
    rtol = 1e-12 if kind == torch.float64 else 1e-6
    torch.testing.assert_close(logsumexp.double(), expected, rtol=rtol, atol=1e-6)
    assert torch.equal(maxima.to(kind), torch.stack([logits[..., :64].amax(-1), logits[..., 64:128].amax(-1)], -1))
    assert row_statistics(torch.full((1, 1, 3), -torch.inf)).logsumexp.item() == -torch.inf
