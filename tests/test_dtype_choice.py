"""`training.precision=auto`: bf16 only where its speedup pays for its casts."""

from __future__ import annotations

import math

import pytest
import torch

from s2s import dtype_choice
from s2s.dtype_choice import Rates, choose_precision, measured_rates

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("bf16", "expected"),
    [(0.1, "fp32"), (1.0, "fp32"), (1.29, "fp32"), (1.3, "bf16"), (8.0, "bf16")],
)
def test_bf16_is_chosen_from_a_speedup_of_1_3_on(monkeypatch: pytest.MonkeyPatch, bf16: float, expected: str) -> None:
    measured = []

    def rates(shapes: object) -> Rates:
        measured.append(shapes)
        return Rates(fp32=20e9, bf16=bf16 * 20e9)

    monkeypatch.setattr(dtype_choice, "measured_rates", rates)
    choice = choose_precision([(3, 4)], CPU)
    assert choice.precision == expected
    assert measured == [[(3, 4)]]
    assert "20 GFLOP/s" in choice.reason or "20 in fp32" in choice.reason


def test_speedup_of_the_other_dtype() -> None:
    rates = Rates(fp32=2.0, bf16=8.0)
    assert (rates.of("fp32"), rates.of("bf16")) == (2.0, 8.0)
    assert rates.ratio_against("fp32") == 4.0
    assert rates.ratio_against("bf16") == 0.25


@pytest.mark.parametrize("shapes", [[], [(7, 5)], [(100_000, 4096)], [(1, 100_000)], [(64, n) for n in range(1, 50)]])
def test_any_shapes_can_be_measured(shapes: list[tuple[int, int]]) -> None:
    """Also those whose multiplication would take minutes in emulated bf16."""
    rates = measured_rates(shapes)
    assert all(0 < rate < math.inf for rate in (rates.fp32, rates.bf16))
    assert choose_precision(shapes, CPU).precision in ("fp32", "bf16")


def test_both_dtypes_multiply_the_largest_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the shapes come from an iterator, which can be read only once."""
    operands: dict[torch.dtype, list[tuple[torch.Size, torch.Size]]] = {}
    multiply = torch.mm

    def spy(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        operands.setdefault(left.dtype, []).append((left.shape, right.shape))
        return multiply(left, right)

    monkeypatch.setattr(torch, "mm", spy)
    measured_rates(iter([(2, 2), (48, 16), (16, 16), (48, 16), (16, 8), (1, 100)]))
    assert operands[torch.float32] == operands[torch.bfloat16]
    # A weight is (out, in), its operand (in, out).
    assert {tuple(right) for _, right in operands[torch.float32]} == {(16, 48), (16, 16), (8, 16)}


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_a_gpu_reports_native_bf16(monkeypatch: pytest.MonkeyPatch, native: bool, expected: str) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return native or including_emulation

    def never(shapes: object) -> Rates:
        raise AssertionError

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    monkeypatch.setattr(dtype_choice, "measured_rates", never)
    choice = choose_precision([(3, 4)], torch.device("cuda"))
    assert choice.precision == expected
    assert "a card" in choice.reason


def test_other_devices_train_in_fp32() -> None:
    assert choose_precision([(3, 4)], torch.device("meta")).precision == "fp32"
