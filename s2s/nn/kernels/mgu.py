"""The kernel of the MGU. a_h̃ = gx_h̃ + W_h̃ (f ⊙ h_{t-1}),  h_t = (1 - f) ⊙ h_{t-1} + f ⊙ h̃, so (see
`s2s.nn.kernels.bptt` for the letters)

    δa_h̃ = δh_t ⊙ f ⊙ (1 - h̃²)            u = δa_h̃ W_h̃
    δa_f = (δh_t ⊙ (h̃ - h_{t-1}) + u ⊙ h_{t-1}) ⊙ f (1 - f)
    δh_{t-1} = δh_t ⊙ (1 - f) + u ⊙ f + δa_f W_f,     δW_h̃ = Σ_t δa_h̃ᵀ (f ⊙ h_{t-1})

It is the GRU's with f in place of both z and r; only δa_f differs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from s2s.nn.kernels.gru import GRUSteps


class MGUSteps(GRUSteps):
    """States (h); weight (2H, H)."""

    num_gates = 1

    def _gate_gradients(self, views: tuple[Tensor, ...], scratch: tuple[Tensor, ...], dh: Tensor, u: Tensor) -> None:
        f, _, _, candidate, _, _, h = views
        buffer, grad, *_ = scratch
        torch.sub(candidate, h, out=grad).mul_(dh).addcmul_(u, h)
        grad.mul_(torch.addcmul(f, f, f, value=-1, out=buffer))
