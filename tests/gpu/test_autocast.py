"""Every model trains and translates in bf16 by CUDA's autocast rules, which are not the CPU's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from s2s.decoding.search import search
from s2s.nn.kernels.function import Function
from tests.gpu.rules import CudaAutocast, by_name
from tests.models.contract import batch, decoding, make, models, sentences

OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "matmul": lambda x, v: x @ x,
    "mm": lambda x, v: x.mm(x),
    "mv": lambda x, v: x.mv(v),
    "linear": F.linear,
    "addmm": lambda x, v: torch.addmm(v, x, x),
    "bmm": lambda x, v: torch.bmm(x.unsqueeze(0), x.unsqueeze(0)),
    "baddbmm": lambda x, v: torch.baddbmm(x.unsqueeze(0), x.unsqueeze(0), x.unsqueeze(0)),
    "einsum": lambda x, v: torch.einsum("ij,jk->ik", x, x),
    "softmax": lambda x, v: torch.softmax(x.bfloat16(), 1),
    "log_softmax": lambda x, v: torch.log_softmax(x.bfloat16(), 1),
    "sum": lambda x, v: x.bfloat16().sum(),
    "mean": lambda x, v: x.bfloat16().mean(),
    "exp": lambda x, v: x.bfloat16().exp(),
    "layer_norm": lambda x, v: F.layer_norm(x.bfloat16(), (4,), v.bfloat16(), v.bfloat16()),
    "cat": lambda x, v: torch.cat([x, x.bfloat16()]),
    "stack": lambda x, v: torch.stack([x, x.bfloat16()]),
    "addcmul": lambda x, v: torch.addcmul(x, x.bfloat16(), x),
    "add": lambda x, v: x.bfloat16() + v,
    "mul": lambda x, v: x.bfloat16() * x.bfloat16(),
    "sigmoid": lambda x, v: x.bfloat16().sigmoid(),
    "tanh": lambda x, v: x.bfloat16().tanh(),
    "cumsum": lambda x, v: x.bfloat16().cumsum(0),
    "mm into": lambda x, v: torch.mm(x, x, out=torch.empty_like(x)),
    "attention": lambda x, v: F.scaled_dot_product_attention(
        x.view(1, 1, 4, 4), x.view(1, 1, 4, 4), x.view(1, 1, 4, 4)
    ),
}


@contextmanager
def _cuda_autocast() -> Iterator[None]:
    """torch's own, without asking whether there is a GPU."""
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.clear_autocast_cache()


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_rules_are_those_of_cuda(name: str) -> None:
    """Against torch's own rules on tensors of a GPU that have a type and a shape and no memory."""
    with FakeTensorMode(), _cuda_autocast():
        theirs = OPERATIONS[name](torch.empty(4, 4, device="cuda"), torch.empty(4, device="cuda")).dtype
    with CudaAutocast(), torch.autocast("cpu", torch.bfloat16):
        assert OPERATIONS[name](torch.ones(4, 4), torch.ones(4)).dtype == theirs


@by_name
def test_training_and_search(name: str) -> None:
    model = make(models()[name]).float()
    data = batch(sentences(4, 7, 1), sentences(4, 7, 2))
    exact = model.train(False)(data, 0.1).loss.item()
    with CudaAutocast():
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(data, 0.1).loss
        loss.backward()
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            found = search(model, data.source, data.source_mask, decoding(beam=2), [5] * 4)
    assert loss.item() == pytest.approx(exact, rel=0.02)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert all(found)


def test_a_function_computes_in_the_types_that_it_names() -> None:
    """Autocast is off inside, on the way back as well, also where the caller has it on there."""
    seen = []

    class Product(Function):
        @staticmethod
        def forward(ctx, x, v):  # type: ignore[no-untyped-def]
            ctx.save_for_backward(x, v)
            seen.append(x.mv(v).dtype)
            return x.mv(v)

        @staticmethod
        def backward(ctx, grad):  # type: ignore[no-untyped-def]
            x, v = ctx.saved_tensors
            seen.append((x @ x).dtype)
            return torch.outer(grad, v), x.T.mv(grad)

    x, v = torch.ones(3, 3, requires_grad=True), torch.ones(3, requires_grad=True)
    with CudaAutocast(), torch.autocast("cpu", torch.bfloat16):
        assert x.mv(v).dtype == torch.bfloat16
        Product.apply(x, v).sum().backward()  # type: ignore[no-untyped-call]
    assert seen == [torch.float32, torch.float32]
