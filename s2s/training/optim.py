"""Optimiser, learning-rate schedule and gradient clipping.

Updates are counted from 1. Every schedule rises linearly during the first `warmup` updates, `peak × step / warmup`, and
then continues, with s = step, w = warmup and N = `training.max_steps`, as

    constant      peak
    inverse_sqrt  peak × √(w / s)                                                (Vaswani et al. 2017, w = 0 reads as 1)
    cosine        peak × (final + (1 - final) × (1 + cos(π p)) / 2),  p = (s - w) / (N - w)   (Loshchilov & Hutter 2017)
    plateau       peak × max(final, factor ** d),  d = number of times that validation has plateaued

so the rate depends on the update's number alone; only `plateau` has a state, two integers.

Weight decay applies to weight matrices, not to biases and norm gains (parameters with fewer than two axes) or to
embedding tables. A parameter shared by two layers counts once. `optim.scale` multiplies the learning rate of parts of
the model, see `s2s.models.parts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from s2s.config import OptimConfig, ScheduleConfig
from s2s.errors import S2SError
from s2s.models.parts import rate_factors

FUSED_DEVICES = ("cpu", "cuda")  # torch has fused kernels of its optimisers there


def build_optimizer(config: OptimConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Returns an optimiser of all trainable parameters of `model`, which must be on its device already.

    The parameters of a group have one weight decay and one factor of the learning rate, `scale`.
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag))}
    trained = [p for p in model.parameters() if p.requires_grad]  # each shared parameter comes once
    if not trained:
        raise S2SError("the model has no parameter to train: every one has requires_grad=False")
    factors = rate_factors(model, config.scale or {})
    decayed = [p for p in trained if p.ndim >= 2 and id(p) not in tables]
    others = [p for p in trained if p.ndim < 2 or id(p) in tables]
    groups = [
        {"params": params, "weight_decay": decay, "scale": scale}
        for members, decay in ((decayed, config.weight_decay), (others, 0.0))
        for scale in sorted(set(factors.values()))
        if (params := [p for p in members if factors[p] == scale])
    ]
    fused = all(p.device.type in FUSED_DEVICES and p.is_floating_point() for p in trained)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=fused)
    adam = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return adam(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=fused)


class Schedule:
    """Learning-rate schedule; the formulas are at the top of this file.

    Args:
        config: type and options.
        peak: learning rate at the end of the warm-up, `optim.lr`.
        max_steps: N of the cosine; raising it on resume stretches the rest of the curve.
    """

    def __init__(self, config: ScheduleConfig, peak: float, max_steps: int | None) -> None:
        if config.type == "cosine" and max_steps is None:
            raise S2SError("optim.schedule.type=cosine needs training.max_steps, the length of the cosine")
        self.config, self.peak, self.max_steps = config, peak, max_steps or 0
        self._drops = 0
        self._unimproved = 0

    def rate(self, step: int) -> float:
        """Returns the learning rate of update `step` >= 1."""
        warmup, final = self.config.warmup, self.config.final
        if step <= warmup:
            return self.peak * step / warmup
        if self.config.type == "inverse_sqrt":
            return self.peak * math.sqrt(max(warmup, 1) / step)
        if self.config.type == "cosine":
            progress = min(1.0, (step - warmup) / max(1, self.max_steps - warmup))
            return self.peak * (final + (1 - final) * (1 + math.cos(math.pi * progress)) / 2)
        if self.config.type == "plateau":
            return self.peak * max(final, self.config.factor**self._drops)
        return self.peak

    def observe(self, step: int, improved: bool) -> None:
        """Records a validation after update `step`; `plateau` counts those after the warm-up."""
        if self.config.type != "plateau" or step < self.config.warmup:
            return
        self._unimproved = 0 if improved else self._unimproved + 1
        if self._unimproved > self.config.patience:
            self._unimproved = 0
            self._drops += 1

    def state_dict(self) -> dict[str, int]:
        """Returns the state as JSON values."""
        return {"drops": self._drops, "unimproved": self._unimproved}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._drops, self._unimproved = int(state["drops"]), int(state["unimproved"])


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the learning rate of all parameter groups, multiplied by the factor of those that have one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)


def clip_gradients(parameters: Iterable[Tensor], norm: float | None, value: float | None) -> Tensor:
    """Clips gradients in place: first each component to [-value, value], then the global Euclidean norm to `norm`.

    Returns:
        The norm before clipping (0-dimensional, on the gradients' device; not finite if a component is not).
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    raw = global_norm(gradients)
    if value is not None:
        torch._foreach_clamp_min_(gradients, -value)
        torch._foreach_clamp_max_(gradients, value)
    if norm is not None:
        clipped = raw if value is None else global_norm(gradients)
        torch._foreach_mul_(gradients, (norm / (clipped + 1e-6)).clamp(max=1.0))  # 1e-6 as in torch.nn.utils
    return raw


def global_norm(tensors: list[Tensor]) -> Tensor:
    """Returns the Euclidean norm of all components together, 0-dimensional."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors)))
    return norm
