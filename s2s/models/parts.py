"""Parts of a model: the parameters whose names begin with a dotted prefix (`encoder`, `encoder.layers.0`).

`freeze` excludes parts from training, `optim.scale` multiplies their learning rate. A tied parameter has several names
and belongs to the parts of all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from s2s.schema import nearest


def is_in(name: str, part: str) -> bool:
    """Whether the parameter of this name belongs to a part."""
    return f"{name}.".startswith(f"{part}.")


def parameter_names(model: nn.Module) -> list[tuple[nn.Parameter, list[str]]]:
    """Each parameter with its names, several if it is tied, in the order of `model.parameters()`."""
    names: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(name)
    return list(names.items())


def freeze_parts(model: nn.Module, parts: Sequence[str]) -> list[str]:
    """Excludes parts from training; returns further names of frozen parameters, those tied to the parts."""
    frozen = [(parameter, names) for parameter, names in parameter_names(model) if _any_in(names, parts)]
    for parameter, _ in frozen:
        parameter.requires_grad_(False)
    return [name for _, names in frozen for name in names if not _any_in([name], parts)]


def rate_factors(model: nn.Module, scale: Mapping[str, float]) -> dict[nn.Parameter, float]:
    """The factor of each parameter's learning rate: that of the longest part it belongs to, else 1."""
    return {p: scale[parts[0]] if (parts := _longest(names, scale)) else 1.0 for p, names in parameter_names(model)}


def check_parts(model: nn.Module, model_name: str, freeze: Any, scale: Any) -> list[str]:
    """Errors of `freeze` and `optim.scale`: parts that the model lacks, that contradict each other, or are all of it.

    Values of a wrong type, which the schema reports, are ignored.
    """
    freeze = [part for part in freeze if isinstance(part, str)] if isinstance(freeze, (list, tuple)) else []
    scale = {str(part): factor for part, factor in scale.items()} if isinstance(scale, Mapping) else {}
    names = [names for _, names in parameter_names(model)]
    every_name = list(itertools.chain.from_iterable(names))
    errors = [
        f"{key}: model={model_name} has no part {part!r}; nearest: {_nearest(part, every_name)}"
        for key, parts in (("freeze", freeze), ("optim.scale", scale))
        for part in parts
        if not any(is_in(name, part) for name in every_name)
    ]
    if all(_any_in(tied, freeze) for tied in names):
        errors.append(f"freeze={list(freeze)} leaves no parameter to train")
    errors += [
        f"optim.scale: {part} is frozen, so that it has no rate: take it out of optim.scale or of freeze"
        for part in scale
        if _any_in([part], freeze)
    ]
    for tied in names:
        parts = _longest(tied, scale)
        if any(scale[part] != scale[parts[0]] for part in parts):
            errors.append(f"optim.scale has several factors for one tied parameter ({', '.join(parts)}): keep one")
    return errors


def _any_in(names: Iterable[str], parts: Iterable[str]) -> bool:
    return any(is_in(name, part) for name, part in itertools.product(names, parts))


def _longest(names: Sequence[str], parts: Iterable[str]) -> list[str]:
    """The longest parts that a parameter belongs to: one, or several of a tied parameter."""
    matching = [part for part in parts if any(is_in(name, part) for name in names)]
    depth = max((part.count(".") for part in matching), default=0)
    return [part for part in matching if part.count(".") == depth]


def _nearest(part: str, names: Iterable[str]) -> str:
    """The most similar parts that are nested as deep as this one, or less."""
    depth = part.count(".") + 1
    known = {".".join(name.split(".")[:n]) for name in names for n in range(1, depth + 1)}
    return nearest(part, list(known), most=5)
