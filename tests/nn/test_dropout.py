"""Dropout: its rate, its scale, its gradient."""

import pytest
import torch

from s2s.nn.dropout import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_rate_and_expectation(rate: float) -> None:
    torch.manual_seed(0)
    layer = Dropout(rate)
    x = torch.ones(1000, 777, dtype=torch.float64)
    y = layer(x)
    zeros = y.eq(0).double().mean().item()
    actual_rate = round(256 * rate) / 256
    assert abs(zeros - actual_rate) < 5 * (actual_rate * (1 - actual_rate) / x.numel()) ** 0.5
    kept = y[y != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - actual_rate)))
    columns, rows = y.eq(0).double().mean(0), y.eq(0).double().mean(1)
    assert columns.std().item() == pytest.approx((actual_rate * (1 - actual_rate) / 1000) ** 0.5, rel=0.15)
    assert rows.std().item() == pytest.approx((actual_rate * (1 - actual_rate) / 777) ** 0.5, rel=0.15)


def test_gradient_has_the_mask_of_the_value() -> None:
    torch.manual_seed(0)
    x = torch.randn(7, 11, 13).transpose(0, 2).requires_grad_()
    y = Dropout(0.4)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient * x, y)


def test_seed_is_reproducible_and_evaluation_is_the_identity() -> None:
    layer, x = Dropout(0.5), torch.randn(100)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)
    assert layer.eval()(x) is x
    assert Dropout(0.0)(x) is x


@pytest.mark.parametrize("rate", [0.998, 0.9999, 0.0001])
def test_rates_beyond_what_a_byte_resolves(rate: float) -> None:
    layer = Dropout(rate).train()
    assert torch.isfinite(layer(torch.ones(1000))).all()
