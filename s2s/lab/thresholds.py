"""Thresholds for gradients: floors, the opposite of clipping, and a test of the descent direction.

All of them work in place on the gradients of parameters; clipping itself is `s2s.training.optim.clip_gradients`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from s2s.training.optim import global_norm

SMALL = 1e-3  # nats, see `small_step_descends`
NEVER_ZERO = 1e-30


def flat_gradient(parameters: Sequence[Tensor]) -> Tensor:
    """A copy of all gradient components as one vector."""
    return torch.cat([gradient.flatten() for gradient in _gradients(parameters)])


def raise_norm(parameters: Sequence[Tensor], floor: float) -> None:
    """Scales a gradient with a smaller global norm up to this norm."""
    gradients = _gradients(parameters)
    torch._foreach_mul_(gradients, (floor / (global_norm(gradients) + NEVER_ZERO)).clamp(min=1.0))


def raise_components(parameters: Sequence[Tensor], floor: float) -> None:
    """Moves a component with a smaller absolute value to ± this value; 0 stays, since it has no sign."""
    for gradient in _gradients(parameters):
        gradient.copy_(gradient.sign() * gradient.abs().clamp(min=floor))


@torch.no_grad()
def small_step_descends(parameters: Sequence[Tensor], loss: Callable[[], Tensor], raw_norm: float) -> bool:
    """Whether a small step against the gradients lowers the loss; the parameters stay as they are.

    Args:
        raw_norm: of the gradient before any threshold. To first order, the step changes the loss by SMALL at most.
    """
    before, backup = loss().item(), [parameter.clone() for parameter in parameters]
    gradients = _gradients(parameters)
    length = SMALL / max(raw_norm, 1.0) / (global_norm(gradients).item() + NEVER_ZERO)
    torch._foreach_sub_(list(parameters), gradients, alpha=length)
    after = loss().item()
    torch._foreach_copy_(list(parameters), backup)
    return after < before


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
