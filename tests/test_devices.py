from __future__ import annotations

import pytest
import torch

from s2s.devices import pick_device
from s2s.errors import S2SError


def test_auto_takes_what_there_is() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["warp", "cuda:99", "cpu:cpu", ""])
def test_what_there_is_not_is_one_line(name: str) -> None:
    with pytest.raises(S2SError, match=rf"device={name} is not usable here \(.*\); try device=auto") as caught:
        pick_device(name)
    assert "\n" not in str(caught.value)
