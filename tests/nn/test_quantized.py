"""Products in integers, against the same written out in numpy; every model decodes in them and keeps its weights.

Most models are slow, only because they are many; see `contract.COVERING`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from s2s.data.batching import pad_with_eos
from s2s.decoding.search import search
from s2s.nn.quantized import Int8Weight, quantized, round_rows, weight_limit
from tests.models import contract

MODELS = contract.models()


def by_numpy(x: Tensor, weight: Tensor, bias: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    """x Wᵀ + b with both sides rounded row by row, in steps of their type; the sums in int64."""
    (q_x, step_x), (q_w, step_w) = (
        (np.rint(rows / step).astype(np.int64), step.astype(np.float64))
        for rows, limit in ((x.numpy(), 127), (weight.numpy(), weight_limit()))
        for step in [np.abs(rows).max(axis=1, keepdims=True) / rows.dtype.type(limit)]
    )
    assert np.abs(q_x).max() == 127
    return (q_x @ q_w.T) * step_x * step_w.T + bias.numpy()


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rows", "inner", "outer"), [(1, 2, 2), (5, 7, 3), (3, 128, 512), (40, 300, 33)])
def test_a_product_is_that_of_whole_numbers(kind: torch.dtype, rows: int, inner: int, outer: int) -> None:
    torch.manual_seed(rows)
    x, layer = torch.randn(rows, inner, dtype=kind) * torch.logspace(-3, 3, rows).unsqueeze(1), nn.Linear(inner, outer)
    layer = layer.to(kind).requires_grad_(False)
    found = quantized(layer)(x.unsqueeze(1))
    assert found.dtype == kind
    assert found.shape == (rows, 1, outer)
    expected = by_numpy(x, layer.weight, layer.bias)
    tight = 1e-6 if kind == torch.float32 else 1e-13
    np.testing.assert_allclose(found.squeeze(1), expected, rtol=tight, atol=tight * np.abs(expected).max())


def test_the_error_is_what_rounding_allows_and_not_much_less() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(30, 200).double(), torch.randn(50, 200).double()
    step_x, step_w = x.abs().amax(1, keepdim=True) / 127, weight.abs().amax(1) / weight_limit()
    error = (F.linear(x, Int8Weight.of(weight)) - F.linear(x, weight)).abs()
    allowed = step_x / 2 * weight.abs().sum(1) + step_w / 2 * x.abs().sum(1, keepdim=True) + 200 / 4 * step_x * step_w
    assert bool((error <= allowed).all())
    assert error.mean() > allowed.mean() / 100


def test_each_row_has_its_own_steps() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(6, 20), Int8Weight.of(torch.randn(9, 20))
    alone = torch.cat([F.linear(row.unsqueeze(0), weight) for row in x])
    large = x.clone()
    large[0] *= 1e6
    assert torch.equal(F.linear(x, weight), alone)
    assert torch.equal(F.linear(large, weight)[1:], alone[1:])
    assert torch.equal(F.linear(x, weight[3:5]), alone[:, 3:5])


def test_rows_of_zeros_and_of_numbers_that_are_not_finite() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, torch.nan], [torch.inf, 1.0], [2.0, 1.0]])
    found = F.linear(x, Int8Weight.of(torch.eye(2)), torch.ones(2))
    assert found[0].tolist() == [1.0, 1.0]
    assert not bool(found[1:3].isfinite().any())
    assert found[3].tolist() == pytest.approx([3.0, 2.0], abs=2e-2)
    assert round_rows(torch.zeros(0, 3), 127)[0].shape == (0, 3)


def test_the_largest_sums_are_exact() -> None:
    """Some processors add pairs of products in 16 bits."""
    weight = torch.cat([torch.full((3, 512), 5.0), torch.full((3, 512), -5.0)])
    found = F.linear(torch.full((33, 512), -3.0), Int8Weight.of(weight))
    assert found.tolist() == [pytest.approx([-7680.0] * 3 + [7680.0] * 3, rel=1e-6)] * 33


def test_all_else_sees_the_weight_as_it_is() -> None:
    table = torch.randn(10, 4)
    weight, ids = Int8Weight.of(table), torch.tensor([[1, 2]])
    for found, expected in (
        (F.embedding(ids, weight), F.embedding(ids, table)),
        (weight * 2, table * 2),
        (torch.ones(1, 4) @ weight.T, torch.ones(1, 4) @ table.T),
        (F.linear(torch.ones(3, 4), weight[:1]), F.linear(torch.ones(3, 4), table[:1])),  # one output
        (F.linear(torch.ones(3, 1), weight[:, :1]), F.linear(torch.ones(3, 1), table[:, :1])),  # one input
    ):
        assert type(found) is Tensor
        assert torch.equal(found, expected)
    parts = weight.chunk(2)
    assert [type(part) for part in parts] == [Int8Weight, Int8Weight]
    assert torch.cat(parts, dim=1) is torch.cat(weight.chunk(2), dim=1)
    assert torch.equal(torch.cat(parts, dim=1).as_subclass(Tensor), torch.cat(table.chunk(2), dim=1))


class _Products(TorchDispatchMode):
    """Notes the products of floating-point matrices with more than one output."""

    def __init__(self) -> None:
        super().__init__()
        self.floating: list[tuple[int, ...]] = []
        self.integers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.integers += name == "_int_mm"
        if name in ("mm", "addmm") and args[-1].size(1) > 1:
            self.floating.append(tuple(args[-1].shape))
        return func(*args, **(kwargs or {}))


@contract.by_name()
def test_every_model_decodes_in_integers_and_is_left_as_it_was(name: str) -> None:
    model = contract.make(MODELS[name])
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    copy = quantized(model).eval()
    sources = contract.sentences(3, 5, 1)
    limits = [len(ids) + 4 for ids in sources]
    with _Products() as products:
        found = search(copy, *pad_with_eos(sources), contract.decoding(), limits)
    assert products.integers > 10
    if "lstm-no-" not in name:  # they put their matrices together anew at each step
        assert products.floating == []
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [type(p) for p in model.parameters()] == [nn.Parameter] * len(list(model.parameters()))
    # In float64 rounding to a neighbouring step by accident is as good as impossible.
    for ids, limit, together in zip(sources, limits, found, strict=True):
        ((alone,),) = search(copy, *pad_with_eos([ids]), contract.decoding(), [limit])
        assert alone.tokens == together[0].tokens
        assert alone.log_prob == pytest.approx(together[0].log_prob, abs=1e-9)
    with torch.no_grad():  # the copy is for decoding
        scores = copy.log_probs(contract.batch(sources, [row[0].tokens for row in found])).sum(1)
    assert scores.tolist() == pytest.approx([row[0].log_prob for row in found], abs=1e-9)
    exact = model.eval().log_probs(contract.batch(sources, [row[0].tokens for row in found])).sum(1)
    assert bool(((scores - exact).abs() > 1e-6).any())


def test_tied_matrices_stay_one() -> None:
    copy = quantized(contract.make(MODELS["tied-all"]))
    assert copy.source_embedding is copy.target_embedding
    assert copy.output_weight is copy.target_embedding.weight
