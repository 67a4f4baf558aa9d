"""The chunked loss against torch's cross-entropy, values and gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2s.nn import loss as module
from s2s.nn.loss import projected_cross_entropy, token_log_probs


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 90),
    classes=st.integers(2, 30),
    smoothing=st.sampled_from([0.0, 0.1, 0.7]),
    bias=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_equals_torch_in_float64(rows: int, classes: int, smoothing: float, bias: bool, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", 1)  # the smallest chunks, so that there are several
        generator = torch.Generator().manual_seed(seed)
        draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()  # noqa: E731
        hidden, weight, offset = draw(rows, 5), draw(classes, 5), draw(classes) if bias else None
        target = torch.randint(classes, (rows,), generator=generator)
        ours, nll = projected_cross_entropy(hidden, weight, offset, target, smoothing)
        logits = torch.nn.functional.linear(hidden, weight, offset)
        theirs = torch.nn.functional.cross_entropy(logits, target, label_smoothing=smoothing, reduction="sum")
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(nll, torch.nn.functional.cross_entropy(logits, target, reduction="sum"))
        inputs = [t for t in (hidden, weight, offset) if t is not None]
        gradients = [torch.autograd.grad(3 * loss, inputs) for loss in (ours, theirs)]
        torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-11)
        log_probs = token_log_probs(hidden, weight, offset, target)
        torch.testing.assert_close(-log_probs.sum(), nll)


@settings(max_examples=25, deadline=None)
@given(
    mask=st.lists(st.booleans(), min_size=1, max_size=50),
    smoothing=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**20),
)
def test_masked_rows_do_not_count(mask: list[bool], smoothing: float, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", 1)
        torch.manual_seed(seed)
        inputs = [torch.randn(*n, dtype=torch.float64, requires_grad=True) for n in ((len(mask), 5), (7, 5), (7,))]
        hidden, weight, bias = inputs
        target, rows = torch.randint(7, (len(mask),)), torch.tensor(mask)
        ours, nll = projected_cross_entropy(hidden, weight, bias, target, smoothing, rows)
        theirs, other = projected_cross_entropy(hidden[rows], weight, bias, target[rows], smoothing)
        torch.testing.assert_close((ours, nll), (theirs, other))
        torch.testing.assert_close(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs))


def test_bf16_error() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(300, 64), torch.randn(500, 64) / 8
    target = torch.randint(500, (300,))
    exact, _ = projected_cross_entropy(hidden.double(), weight.double(), None, target)
    with torch.autocast("cpu", torch.bfloat16):
        bf16, _ = projected_cross_entropy(hidden, weight, None, target)
    assert bf16.dtype == torch.float32
    assert abs(bf16.item() / exact.item() - 1) < 1e-3


def test_no_gradient_under_no_grad() -> None:
    with torch.no_grad():
        loss, _ = projected_cross_entropy(torch.randn(3, 4), torch.randn(5, 4), None, torch.tensor([0, 1, 2]))
    assert not loss.requires_grad
