"""Run directory: the files of a training run, written so that the run survives being killed at any moment.

Weights are safetensors files, everything else is JSON, YAML or text. Nothing is pickled, so loading runs no code.

    config.yaml           the whole configuration          tokenizer/   evaluation/   train.log
    model.safetensors     the exported weights             metrics.jsonl
    training/latest.json  names the valid folder below
    training/step-*/      state.json (counters) and state.safetensors (weights, optimiser)
    training/weights-*    checkpoints for the final average

The two files of a training state must match. They are written to a fresh folder and synced to disk. Then one rename
replaces the small `latest.json`, which points to that folder, and only then the old folder is removed. A run killed in
between leaves an orphaned folder, which the next start removes. `model.safetensors` follows from the state alone
(`TrainingState.exported`), so a run killed before writing it writes it on resume.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from s2s.code_digest import TRAINING, code_digest
from s2s.errors import S2SError
from s2s.files import atomic_write, cannot_write, check_regular, read_json, user_path, write_json
from s2s.training.state import TrainingState
from s2s.training.weights import fill, load_weights, mean_weights, model_tensors, read_info, read_tensors, write_tensors

MAY_CHANGE = (
    *(f"training.{key}" for key in ("max_steps", "max_epochs", "patience", "log_every", "save_every", "tensorboard")),
    *("device", "recurrence", "layout", "cuda_graphs", "deterministic", "tf32", "decoding", "evaluation", "trust"),
)
# Values of keys that the configuration of an older run does not have.
OLDER: dict[str, Any] = {
    "data.longest": 60,
    "data.lexicon": "full",
    "objective.name": "translation",
    "objective.type": "translation",
    "freeze": [],
    "optim.scale": None,
}


class RunDirectory:
    """Files of one run: their paths, readers and writers."""

    def __init__(self, path: str | Path) -> None:
        self.path = user_path(path)
        self.config = self.path / "config.yaml"
        self.weights = self.path / "model.safetensors"
        self.tokenizer = self.path / "tokenizer"
        self.metrics = self.path / "metrics.jsonl"
        self.training = self.path / "training"
        self.tensorboard = self.training / "tensorboard"
        self.evaluation = self.path / "evaluation"
        self.log = self.path / "train.log"
        self._latest = self.training / "latest.json"
        self._lock = self.training / "lock"
        self._is_locked = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Context manager: locks the directory against other training processes.

        Raises:
            S2SError: another process holds the lock.
        """
        lock = FileLock(self._lock, blocking=False)
        try:
            self.training.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise S2SError(f"another process is training in {self.path}: wait, or choose another run_dir") from error
        except OSError as error:
            raise cannot_write(self.training, error) from error
        self._is_locked = True
        try:
            yield
        finally:
            self._is_locked = False
            lock.release()

    def _check_presence(self) -> None:
        """Raises S2SError if the directory was removed while this process trains in it."""
        if self._is_locked and not self._lock.exists():
            raise S2SError(f"{self.path} was removed or renamed during training; start again with the same command")

    def save_config(self, config: Mapping[str, Any]) -> None:
        with atomic_write(self.config) as file:
            file.write(OmegaConf.to_yaml(OmegaConf.create(dict(config))))

    def load_config(self) -> dict[str, Any]:
        """Returns the saved configuration as plain values.

        Raises:
            S2SError: it is missing or not readable.
        """
        check_regular(self.config)
        try:
            text = self.config.read_text(encoding="utf-8")
            if re.search(r"(?m)[:\-,\[{]\s+\*\w+\s*([,\]}]|$)", text):  # nested ones grow beyond any memory
                raise S2SError(f"{self.config} has YAML aliases, which s2s never writes: put the run's own file back")
            config = OmegaConf.to_container(OmegaConf.create(text), resolve=False)  # it was saved resolved
        except (FileNotFoundError, NotADirectoryError) as error:
            message = f"{self.path} is not a run directory: it has no config.yaml; name the folder of a run"
            raise S2SError(message) from error
        except (OSError, ValueError, OmegaConfBaseException) as error:
            raise S2SError(f"{self.config} is not readable: {error}") from error
        except Exception as error:  # the YAML parser's own errors, which no declared dependency exports
            raise S2SError(f"{self.config} is not valid YAML: {error}") from error
        if not isinstance(config, dict):
            raise S2SError(f"{self.config} must hold keys and values, and holds a {type(config).__name__}")
        return _current({str(key): value for key, value in config.items()})

    def checkpoint(self, step: int) -> Path:
        """Returns the path of the checkpoint of this step, which is kept for averaging."""
        return self.training / f"weights-{step:08d}.safetensors"

    def save_weights(self, path: Path, tensors: Mapping[str, Tensor], steps: Sequence[int]) -> None:
        """Writes weights (`model_tensors` or a mean) with the steps, configuration and code that they come from."""
        self._check_presence()
        config = hashlib.sha256(self.config.read_bytes()).hexdigest()[:16] if self.config.exists() else ""
        trust = self.load_config().get("trust") or [] if config else []
        write_tensors(path, tensors, {"steps": list(steps), "config": config, "code": code_digest(*TRAINING, *trust)})

    def load_weights(self, model: nn.Module) -> None:
        """Loads `model.safetensors` into `model`; raises what `load_weights` raises."""
        load_weights(model, self._existing_weights())

    def weight_tensors(self) -> dict[str, Tensor]:
        """Returns the tensors of `model.safetensors`; raises what `read_tensors` raises."""
        return read_tensors(self._existing_weights())[0]

    def _existing_weights(self) -> Path:
        if not self.weights.exists():
            raise S2SError(f"{self.path} has no model.safetensors: training has not reached its first validation")
        return self.weights

    def save_state(self, state: TrainingState, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Saves `state` with the tensors of `model` and `optimizer`; the next start resumes from it."""
        self._check_presence()
        folders = (self.training / f"step-{state.step:08d}{suffix}" for suffix in ("", "-again"))
        folder = next(path for path in folders if path != self.state_folder())
        shutil.rmtree(folder, ignore_errors=True)
        tensors = {f"model.{name}": tensor for name, tensor in model_tensors(model).items()}
        tensors |= _optimizer_tensors(model, optimizer)
        write_tensors(folder / "state.safetensors", tensors, {"steps": [state.step]})
        write_json(folder / "state.json", dataclasses.asdict(state))
        _sync_folder(folder)
        _sync_folder(self.training)
        write_json(self._latest, {"folder": folder.name})
        _sync_folder(self.training)
        self.remove_stale_files(state)

    def state_folder(self) -> Path | None:
        """Returns the folder of the valid training state, if there is one."""
        if not self._latest.exists():
            return None
        latest = read_json(self._latest)
        if not isinstance(latest, dict) or not isinstance(latest.get("folder"), str):
            raise S2SError(f"{self._latest} is damaged: delete {self.training} and {self.weights.name} to start again")
        return self.training / str(latest["folder"])

    def load_state(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState | None:
        """Restores `model` and `optimizer` from the saved training state; returns None if there is none.

        Raises:
            S2SError: the state is damaged or of another model, or weights exist without a training state.
        """
        folder = self.state_folder()
        if folder is None:
            if self.weights.exists():
                raise S2SError(
                    f"{self.weights} is a trained model, but {self.training} has no state to resume from: "
                    "choose another run_dir, or delete the model to train it again"
                )
            return None
        again = f"delete {self.training} and {self.weights.name} to start again"
        try:
            state = TrainingState(**read_json(folder / "state.json"))
            state.kept = {int(step): float(score) for step, score in state.kept.items()}
        except (S2SError, TypeError, ValueError, AttributeError) as error:
            raise S2SError(f"{folder / 'state.json'} cannot be resumed from ({error}): {again}") from error
        path = folder / "state.safetensors"
        tensors, info = read_tensors(path)
        if info.get("steps") != [state.step]:
            raise S2SError(f"{path} is not of update {state.step}, as the state.json beside it is: {again}")
        fill(model, {k.removeprefix("model."): t for k, t in tensors.items() if k.startswith("model.")}, path)
        _fill_optimizer(model, optimizer, {k: t for k, t in tensors.items() if k.startswith("optimizer.")})
        return state

    def remove_stale_files(self, state: TrainingState) -> None:
        """Removes orphaned states and checkpoints, and temporary files of killed writes."""
        if not self.training.exists():
            return
        needed = {self.state_folder(), *(self.checkpoint(step) for step in state.kept)}
        for path in {*self.training.glob("step-*"), *self.training.glob("weights-*")} - needed:
            if path.name.startswith("step-"):
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        for path in [*self.path.glob(".*.tmp"), *self.training.glob(".*.tmp")]:
            path.unlink(missing_ok=True)

    def export_weights(self, state: TrainingState, model: nn.Module) -> None:
        """Writes the weights of `state.exported` to `model.safetensors`, unless it holds them already."""
        steps = state.exported
        try:
            current = list(read_info(self.weights).get("steps", []))
        except S2SError:  # missing or damaged
            current = []
        if not steps or current == steps:
            return
        if steps == [state.step]:
            self.save_weights(self.weights, model_tensors(model), steps)
        elif all(self.checkpoint(step).exists() for step in steps):
            self.save_weights(self.weights, mean_weights([self.checkpoint(step) for step in steps]), steps)
        else:
            raise S2SError(
                f"{self.weights} should hold the weights of update {steps[0]} and does not: put it back, or delete "
                f"{self.training} and {self.weights.name} to start again"
            )


def config_differences(saved: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns the differences that keep configuration `new` from resuming a run of `saved`, as lines `key: old → new`.

    Keys in `MAY_CHANGE` and all keys below them are ignored. A missing key of `OLDER` has the value given there.
    """
    old_values, new_values = _flat(saved), _flat(new)
    defaults = {key: value for key, value in OLDER.items() if key in old_values or key in new_values}
    old_values, new_values = defaults | old_values, defaults | new_values
    missing = object()
    return [
        f"{key}: {old_values.get(key, '(not set)')} → {new_values.get(key, '(not set)')}"
        for key in old_values | new_values
        if old_values.get(key, missing) != new_values.get(key, missing)
        and not any(f"{key}.".startswith(f"{prefix}.") for prefix in MAY_CHANGE)
    ]


def _current(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration in today's names: a Transformer's encoder and decoder had no mixer once."""
    model = config.get("model")
    model = model if isinstance(model, dict) else {}
    for side in ("encoder", "decoder"):
        section = model.get(side)
        if isinstance(section, dict) and section.get("type") == "transformer":
            model[side] = {"positions": "sinusoidal", **section, "type": "blocks", "mixer": {"type": "self_attention"}}
    return config


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, (tuple, list)) else value
    return flat


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"optimizer.{kind}.{names[id(parameter)]}": value
        for parameter, values in optimizer.state.items()
        for kind, value in values.items()
        if isinstance(value, Tensor)
    }


def _fill_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    order = {names[id(p)]: i for i, p in enumerate(p for group in optimizer.param_groups for p in group["params"])}
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        _, kind, name = key.split(".", 2)
        state.setdefault(order[name], {})[kind] = tensor.clone()  # no view of the file, which will be deleted
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _sync_folder(path: Path) -> None:
    """Syncs the entries of a folder to disk, as fsync does for the contents of a file."""
    if os.name == "posix":  # other systems cannot open a folder
        try:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise cannot_write(path, error) from error
