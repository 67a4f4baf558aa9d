"""Weight files in safetensors format: written whole or not at all, checked name by name when read.

A safetensors file (https://github.com/huggingface/safetensors) is a JSON header and raw numbers; reading it runs no
code. A tensor with several names in the model (tied embeddings) is stored once, under the first. The model that loads
the file has the same ties by construction, so loading the one tensor sets them all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from s2s.errors import S2SError
from s2s.files import atomic_write, check_regular

FORMAT_VERSION = 1
OTHER_CONFIG = "it belongs to another configuration: use the config.yaml that was beside it"


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Returns parameters and buffers by name; a tensor with several names only under the first."""
    unique: dict[object, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict().items():
        view = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride())
        unique.setdefault(view if tensor.numel() else name, (name, tensor))
    return dict(unique.values())


def load_weights(model: nn.Module, path: Path) -> None:
    """Loads a weight file into `model`; tied weights stay tied.

    Raises:
        S2SError: the file is missing, damaged or foreign, or a name or shape differs from the model's.
    """
    fill(model, read_tensors(path)[0], path)


def mean_weights(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Returns the mean of weight files, name by name, summed in float64; integers are the first file's."""
    first, *rest = (read_tensors(path)[0] for path in paths)
    mean = dict(first)
    for name, tensor in first.items():
        if tensor.is_floating_point():
            total = sum((other[name].double() for other in rest), tensor.double())
            mean[name] = (total / len(paths)).to(tensor.dtype)
    return mean


def write_tensors(path: Path, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
    """Writes tensors and a few JSON values as one safetensors file, all or nothing."""
    values = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        is_view = value.untyped_storage().nbytes() != value.numel() * value.element_size()
        values[name] = value.clone() if is_view else value
    # One key, because safetensors writes several keys in an order that differs between processes.
    text = json.dumps({"format": "s2s", "version": FORMAT_VERSION, **info}, sort_keys=True)
    with atomic_write(path, "wb") as file:
        file.write(safetensors.torch.save(values, {"s2s": text}))


def read_info(path: Path) -> dict[str, Any]:
    """Returns the JSON values of a file of `write_tensors`; empty for a safetensors file of another program."""
    check_regular(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        info = json.loads(metadata.get("s2s", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if info.get("version", FORMAT_VERSION) != FORMAT_VERSION:
        raise S2SError(f"{path} has format version {info['version']} and this s2s reads {FORMAT_VERSION}: update s2s")
    return dict(info)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the tensors (on the CPU) and JSON values of a file of `write_tensors`.

    Raises:
        S2SError: the file is missing, truncated, no safetensors file, or of a newer s2s.
    """
    info = read_info(path)
    try:
        return {_current(name): tensor for name, tensor in safetensors.torch.load_file(path).items()}, info
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def _current(name: str) -> str:
    """The name of a tensor today, from the one that a Transformer's had when it had no mixer."""
    name = re.sub(r"\b((?:en|de)coder\.layers\.\d+\.)(?:self_)?attention\.", r"\1mixer.attention.", name)
    return re.sub(r"\b((?:en|de)coder\.layers\.\d+\.)around_(?:attention|self)\.", r"\1around_mixer.", name)


def _unreadable(path: Path, error: Exception) -> S2SError:
    if isinstance(error, FileNotFoundError):
        return S2SError(f"{path} does not exist: train the model first, or copy the file there")
    return S2SError(f"{path} is truncated or not a safetensors file ({error}): copy it again or train again")


def fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copies `tensors`, read from `path`, into the model; raises what `load_weights` raises."""
    own = model_tensors(model)
    for name, target in own.items():
        if name not in tensors:
            raise S2SError(f"{path} has no weight {name}, which the model has: {OTHER_CONFIG}")
        if tensors[name].shape != target.shape:
            shapes = f"{tuple(tensors[name].shape)}, and {tuple(target.shape)} in the model"
            raise S2SError(f"{path}: weight {name} has the shape {shapes}: {OTHER_CONFIG}")
    for name in tensors:
        if name not in own:
            raise S2SError(f"{path} has a weight {name}, which the model lacks: {OTHER_CONFIG}")
    with torch.no_grad():
        for name, target in own.items():
            target.copy_(tensors[name])
