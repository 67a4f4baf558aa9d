"""What a kernel is compared by before it is used; the kernels themselves run on a GPU, see tests/gpu."""

import pytest
import torch

from s2s.nn.kernels.triton_modules import compare, numbers, triton_module


def test_a_kernel_with_other_results_is_seen() -> None:
    expected = numbers(40, 50, device=torch.device("cpu"))
    assert expected.abs().max() <= 2
    assert len(expected.unique()) > 1900
    compare("sums", expected.clone(), expected)
    compare("sums", expected.bfloat16(), expected)
    one_row = expected.clone()
    one_row[7] = 0
    for wrong in (1.05 * expected, expected.roll(1, dims=0), one_row, expected / 0 * 0):
        with pytest.raises(ArithmeticError, match="its sums differ from those of torch's functions by "):
            compare("sums", wrong, expected)


def test_a_cpu_has_torch_s_functions() -> None:
    assert triton_module("triton_softmax", torch.zeros(1)) is None
