"""Int8 matrix multiplication against numpy; every model decodes in int8 and keeps its weights.

Most models are slow tests because there are many; see `contract.COVERING`.
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
from s2s.nn.quantized import Int8Weight, quantize_rows, quantized, weight_limit
from tests.models import contract

MODELS = contract.models()


def numpy_linear(x: Tensor, weight: Tensor, bias: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    """x Wᵀ + b with both sides quantised row by row, scales in their dtype; the sums in int64."""
    (q_x, s_x), (q_w, s_w) = (
        (np.rint(rows / scale).astype(np.int64), scale.astype(np.float64))
        for rows, limit in ((x.numpy(), 127), (weight.numpy(), weight_limit()))
        for scale in [np.abs(rows).max(axis=1, keepdims=True) / rows.dtype.type(limit)]
    )
    assert np.abs(q_x).max() == 127
    return (q_x @ q_w.T) * s_x * s_w.T + bias.numpy()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("rows", "inner", "outer"), [(1, 2, 2), (5, 7, 3), (3, 128, 512), (40, 300, 33)])
def test_int8_linear_equals_numpy(dtype: torch.dtype, rows: int, inner: int, outer: int) -> None:
    torch.manual_seed(rows)
    x, layer = torch.randn(rows, inner, dtype=dtype) * torch.logspace(-3, 3, rows).unsqueeze(1), nn.Linear(inner, outer)
    layer = layer.to(dtype).requires_grad_(False)
    result = quantized(layer)(x.unsqueeze(1))
    assert result.dtype == dtype
    assert result.shape == (rows, 1, outer)
    expected = numpy_linear(x, layer.weight, layer.bias)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-13
    np.testing.assert_allclose(result.squeeze(1), expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())


def test_the_error_is_within_the_rounding_bound_and_not_far_below() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(30, 200).double(), torch.randn(50, 200).double()
    s_x, s_w = x.abs().amax(1, keepdim=True) / 127, weight.abs().amax(1) / weight_limit()
    error = (F.linear(x, Int8Weight.of(weight)) - F.linear(x, weight)).abs()
    bound = s_x / 2 * weight.abs().sum(1) + s_w / 2 * x.abs().sum(1, keepdim=True) + 200 / 4 * s_x * s_w
    assert bool((error <= bound).all())
    assert error.mean() > bound.mean() / 100


def test_each_row_has_its_own_scale() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(6, 20), Int8Weight.of(torch.randn(9, 20))
    alone = torch.cat([F.linear(row.unsqueeze(0), weight) for row in x])
    large = x.clone()
    large[0] *= 1e6
    assert torch.equal(F.linear(x, weight), alone)
    assert torch.equal(F.linear(large, weight)[1:], alone[1:])
    assert torch.equal(F.linear(x, weight[3:5]), alone[:, 3:5])


def test_zero_and_non_finite_rows() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, torch.nan], [torch.inf, 1.0], [2.0, 1.0]])
    result = F.linear(x, Int8Weight.of(torch.eye(2)), torch.ones(2))
    assert result[0].tolist() == [1.0, 1.0]
    assert not bool(result[1:3].isfinite().any())
    assert result[3].tolist() == pytest.approx([3.0, 2.0], abs=2e-2)
    assert quantize_rows(torch.zeros(0, 3), 127)[0].shape == (0, 3)


def test_the_largest_sums_are_exact() -> None:
    """Some processors add pairs of products in 16 bits."""
    weight = torch.cat([torch.full((3, 512), 5.0), torch.full((3, 512), -5.0)])
    result = F.linear(torch.full((33, 512), -3.0), Int8Weight.of(weight))
    assert result.tolist() == [pytest.approx([-7680.0] * 3 + [7680.0] * 3, rel=1e-6)] * 33


def test_other_operations_use_the_original_weight() -> None:
    table = torch.randn(10, 4)
    weight, ids = Int8Weight.of(table), torch.tensor([[1, 2]])
    for result, expected in (
        (F.embedding(ids, weight), F.embedding(ids, table)),
        (weight * 2, table * 2),
        (torch.ones(1, 4) @ weight.T, torch.ones(1, 4) @ table.T),
        (F.linear(torch.ones(3, 4), weight[:1]), F.linear(torch.ones(3, 4), table[:1])),  # one output
        (F.linear(torch.ones(3, 1), weight[:, :1]), F.linear(torch.ones(3, 1), table[:, :1])),  # one input
    ):
        assert type(result) is Tensor
        assert torch.equal(result, expected)
    parts = weight.chunk(2)
    assert [type(part) for part in parts] == [Int8Weight, Int8Weight]
    assert torch.cat(parts, dim=1) is torch.cat(weight.chunk(2), dim=1)
    assert torch.equal(torch.cat(parts, dim=1).as_subclass(Tensor), torch.cat(table.chunk(2), dim=1))


class _MatmulCounter(TorchDispatchMode):
    """Records floating-point matrix multiplications with more than one output; counts integer ones."""

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
def test_every_model_decodes_in_int8_and_is_not_changed(name: str) -> None:
    model = contract.make(MODELS[name])
    model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    copy = quantized(model).eval()
    sources = contract.sentences(3, 5, 1)
    limits = [len(ids) + 4 for ids in sources]
    with _MatmulCounter() as counter:
        result = search(copy, *pad_with_eos(sources), contract.decoding(), limits)
    assert counter.integers > 10
    if "lstm-no-" not in name:  # their matrices are assembled at each step
        assert counter.floating == []
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [type(p) for p in model.parameters()] == [nn.Parameter] * len(list(model.parameters()))
    # In float64, rounding differences to a neighbouring integer practically never occur.
    for ids, limit, together in zip(sources, limits, result, strict=True):
        ((alone,),) = search(copy, *pad_with_eos([ids]), contract.decoding(), [limit])
        assert alone.tokens == together[0].tokens
        assert alone.log_prob == pytest.approx(together[0].log_prob, abs=1e-9)
    with torch.no_grad():  # the copy is for decoding
        scores = copy.log_probs(contract.batch(sources, [row[0].tokens for row in result])).sum(1)
    assert scores.tolist() == pytest.approx([row[0].log_prob for row in result], abs=1e-9)
    exact = model.eval().log_probs(contract.batch(sources, [row[0].tokens for row in result])).sum(1)
    assert bool(((scores - exact).abs() > 1e-6).any())


def test_tied_matrices_stay_tied() -> None:
    copy = quantized(contract.make(MODELS["tied-all"]))
    assert copy.source_embedding is copy.target_embedding
    assert copy.output_weight is copy.target_embedding.weight
