"""Fixtures of the tests of `s2s.nn`."""

import pytest
import torch


@pytest.fixture
def double(_default_type: None) -> None:
    """Sets the default dtype to float64."""
    torch.set_default_dtype(torch.float64)
