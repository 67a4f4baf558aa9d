"""Position encodings: both kinds against reference formulas, and their effect in a Transformer."""

from __future__ import annotations

import cmath
import math

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from s2s.models import build_model
from s2s.models.blocks import BlockEncoder
from s2s.models.interface import Memory
from s2s.models.seq2seq import EncoderDecoder
from s2s.nn.multi_head import MultiHeadAttention, attention_bias
from s2s.nn.positions import rotary_positions, rotate, sinusoidal_positions
from tests.models import contract


def complex_rotation(x: Tensor, start: int) -> Tensor:
    """(…, T, d): each pair of components as a complex number z, multiplied by e^(i m θ)."""
    width = x.size(-1)
    rotated = x.clone()
    for row, target in zip(x.reshape(-1, *x.shape[-2:]), rotated.view(-1, *x.shape[-2:]), strict=True):
        for step, vector in enumerate(row.tolist()):
            for pair in range(width // 2):
                angle = (start + step) / 10000 ** (2 * pair / width)
                z = complex(vector[2 * pair], vector[2 * pair + 1]) * cmath.exp(1j * angle)
                target[step, 2 * pair], target[step, 2 * pair + 1] = z.real, z.imag
    return rotated


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)]
)
@pytest.mark.parametrize("start", [0, 5, 4000])
def test_rotations_are_products_of_complex_numbers(dtype: torch.dtype, tolerance: float, start: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 7, 10, dtype=torch.float64)
    result = rotate(x.to(dtype), rotary_positions(start, 7, 10, x.to(dtype)))
    assert result.dtype == dtype
    torch.testing.assert_close(result.double(), complex_rotation(x, start), rtol=tolerance, atol=tolerance)


def test_gradients_of_rotations() -> None:
    x = torch.randn(1, 2, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: rotate(z, rotary_positions(3, 4, 6, z)), x)


def test_scores_depend_on_the_difference_of_positions_only() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 8, dtype=torch.float64)  # the same at every position
    time = 9

    def scores(start: int) -> Tensor:
        cos_sin = rotary_positions(start, time, 8, query)
        return rotate(query.expand(time, -1), cos_sin) @ rotate(key.expand(time, -1), cos_sin).T

    first = scores(0)
    for start in (1, 17, 1000):
        torch.testing.assert_close(scores(start), first, rtol=1e-10, atol=1e-10)
    for distance in range(1 - time, time):
        same = first.diagonal(distance)
        torch.testing.assert_close(same, same[:1].expand_as(same), rtol=1e-10, atol=1e-10)
    assert first[0].unique().numel() == time, "all distances score alike: the test shows nothing"
    torch.testing.assert_close(first.diagonal(), (query @ key.T).squeeze().expand(time), rtol=1e-10, atol=1e-10)


def test_self_attention_depends_on_relative_positions() -> None:
    """A shift of queries and keys does not change the output of a layer; a shift of the queries alone does."""
    torch.manual_seed(0)
    layer, x = MultiHeadAttention(8, 2).double(), torch.randn(2, 5, 8, dtype=torch.float64)
    bias = attention_bias(torch.ones(1, 1, 5, 5, dtype=torch.bool).tril(), x)

    def output(query_start: int, key_start: int) -> Tensor:
        memory = layer.keys_values(x, rotary_positions(key_start, 5, 4, x))
        return layer(x, memory, bias, rotary_positions(query_start, 5, 4, x))  # type: ignore[no-any-return]

    torch.testing.assert_close(output(30, 30), output(0, 0), rtol=1e-10, atol=1e-10)
    assert (output(31, 30) - output(0, 0)).abs().max() > 1e-3


def test_sinusoidal_positions_are_those_of_the_paper() -> None:
    result = sinusoidal_positions(3, 4, torch.empty(0, 7, dtype=torch.float64))
    for m, row in enumerate(result.tolist(), 3):
        for j, value in enumerate(row):
            angle = m / 10000 ** (2 * (j // 2) / 7)
            assert value == pytest.approx(math.cos(angle) if j % 2 else math.sin(angle), abs=1e-12)


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
def test_only_self_attention_sees_the_order_of_the_source(positions: str) -> None:
    """The encoding of a permuted sentence is not the permuted encoding; attention to a permuted memory is unchanged.

    One layer only: a second one would see the order through the causal mask of the first.
    """
    model = contract.make(contract.transformer(positions=positions, layers=1))
    assert isinstance(model, EncoderDecoder)
    torch.manual_seed(1)
    x, order = torch.randn(1, 5, 8, dtype=torch.float64), torch.tensor([3, 0, 4, 1, 2])
    mask = torch.ones(1, 5, dtype=torch.bool)
    memory = model.encoder(x, mask)
    assert (model.encoder(x[:, order], mask).values - memory.values[:, order]).abs().max() > 1e-2

    target = torch.randn(1, 4, 8, dtype=torch.float64)
    hidden, _ = model.decoder(target, model.decoder.init_state(memory))
    shuffled = Memory(memory.values[:, order], mask, memory.summary)
    again, _ = model.decoder(target, model.decoder.init_state(shuffled))
    torch.testing.assert_close(again, hidden, rtol=1e-10, atol=1e-10)
    moved, _ = model.decoder(target[:, [1, 0, 2, 3]], model.decoder.init_state(memory))
    assert (moved[:, -1] - hidden[:, -1]).abs().max() > 1e-2


def test_rotary_adds_no_absolute_position() -> None:
    """A sentence of one repeated word has the same encoding everywhere."""
    model = contract.make(contract.transformer(positions="rotary"))
    assert isinstance(model, EncoderDecoder)
    word, mask = torch.randn(1, 1, 8, dtype=torch.float64), torch.ones(1, 4, dtype=torch.bool)
    values = model.encoder(word.expand(1, 4, 8), mask).values
    torch.testing.assert_close(values, values[:, :1].expand_as(values), rtol=1e-10, atol=1e-10)
    sinusoidal = contract.make(contract.transformer())
    assert isinstance(sinusoidal, EncoderDecoder)
    values = sinusoidal.encoder(word.expand(1, 4, 8), mask).values
    assert (values - values[:, :1]).abs().max() > 1e-2


def test_positions_without_parameters() -> None:
    keys = [
        build_model(contract.transformer(positions=positions), 9, 9).state_dict().keys()
        for positions in ("sinusoidal", "rotary", "none")
    ]
    assert keys[0] == keys[1] == keys[2]


def test_recurrent_positions_are_a_gru_before_the_first_block() -> None:
    """Neishi & Yoshinaga 2019: the blocks see the outputs of a GRU over the embeddings, in place of positions."""
    model = contract.make(contract.transformer(positions="recurrent"))
    assert isinstance(model, EncoderDecoder)
    gru = nn.GRU(8, 8, batch_first=True).double()
    assert isinstance(model.encoder, BlockEncoder)
    layer = model.encoder.positions
    assert layer is not None
    mask = torch.ones(2, 5, dtype=torch.bool)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    changed = x.clone()
    changed[:, 2] += 1
    moved = (layer(changed, mask) - layer(x, mask)).abs().amax(dim=(0, 2))
    assert moved[:2].eq(0).all()  # reads in one direction
    assert moved[2:].gt(0).all()
    expected = sum(p.numel() for p in gru.parameters()) - 3 * 8  # torch has two biases
    assert sum(p.numel() for p in layer.parameters()) == expected


def test_a_device_without_float64() -> None:
    """Apple's MPS: angles are computed on the CPU. Fake tensors have a dtype and a device, and no memory."""
    dtypes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            dtypes.extend(
                t.dtype for t in tree_leaves(result) if isinstance(t, torch.Tensor) and t.device.type == "mps"
            )
            return result

    with FakeTensorMode(), Watch():
        like = torch.empty(2, 5, 8, device="mps")
        result = [sinusoidal_positions(3, 5, like), *rotary_positions(3, 5, 8, like)]
    assert {tensor.device.type for tensor in result} == {"mps"}
    assert set(dtypes) == {torch.float32}
