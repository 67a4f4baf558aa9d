"""The run directory: what a training run leaves on disk, and how it survives being killed at any moment.

Weights are safetensors files, everything else is JSON, YAML or text; nothing is pickled, so loading runs no code.

    config.yaml           the whole configuration          tokenizer/   evaluation/   train.log
    model.safetensors     the weights to use               metrics.jsonl
    training/latest.json  names the folder below that is valid
    training/step-*/      state.json (counters) and state.safetensors (weights, optimiser)
    training/weights-*    checkpoints that the final average is made of

The two files of a training state must match. They are written into a fresh folder and forced to disk; then the small
`latest.json`, replaced in one rename, points to it; only then the old folder goes. A run killed in between leaves a
folder that nothing points to, and the next start removes it. `model.safetensors` follows from the state alone
(`TrainingState.published`), so a run killed before it was written writes it when it resumes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor, nn

from s2s.errors import S2SError
from s2s.files import atomic_write, cannot_write, read_json, write_json
from s2s.training.weights import fill, load_weights, mean_weights, model_tensors, read_info, read_tensors, write_tensors

MAY_CHANGE = (
    *(f"training.{key}" for key in ("max_steps", "max_epochs", "patience", "log_every", "save_every", "tensorboard")),
    *("device", "recurrence", "layout", "cuda_graphs", "deterministic", "tf32", "decoding", "evaluation", "trust"),
)
# What a run does whose configuration is older than the key.
OLDER = {f"model.{part}.positions": "sinusoidal" for part in ("encoder", "decoder")} | {
    "data.longest": 60,
    "data.lexicon": "full",
}


@dataclass
class TrainingState:
    """Where a run is; with the tensors beside it, all that the rest of the run depends on."""

    step: int = 0  # updates done
    epoch: int = 0  # from 0
    position: int = 0  # next micro-batch of the epoch
    tokens: int = 0  # target tokens seen
    seconds: float = 0.0  # spent training, without validation and saving
    waited: float = 0.0  # seconds of these in which the model waited for batches
    window: dict[str, float] = field(default_factory=dict)  # sums since the last logged line
    schedule: dict[str, int] = field(default_factory=dict)
    validated: int = 0  # step of the last validation
    unimproved: int = 0  # validations since the best one
    best_step: int = 0  # 0: no validation yet
    best_score: float = 0.0  # larger is better; a loss is stored negated
    kept: dict[int, float] = field(default_factory=dict)  # step -> score of the files training/weights-*
    average: list[int] = field(default_factory=list)  # steps whose mean is published, none until the run is finished
    average_score: float = 0.0
    stopped_by: str = ""  # max_steps, max_epochs or patience; "" while the run goes on
    metrics_lines: int = 0

    @property
    def published(self) -> list[int]:
        """Steps of the checkpoints whose mean `model.safetensors` holds; empty before the first validation."""
        return self.average or ([self.best_step] if self.best_step else [])


class RunDirectory:
    """Paths of one run, and reading and writing what is there."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.weights = self.path / "model.safetensors"
        self.tokenizer = self.path / "tokenizer"
        self.metrics = self.path / "metrics.jsonl"
        self.training = self.path / "training"
        self.tensorboard = self.training / "tensorboard"
        self.evaluation = self.path / "evaluation"
        self.log = self.path / "train.log"
        self._latest = self.training / "latest.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from training here.

        Raises:
            S2SError: one does already.
        """
        lock = FileLock(self.training / "lock", blocking=False)
        try:
            self.training.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise S2SError(f"another process is training in {self.path}: wait, or choose another run_dir") from error
        except OSError as error:
            raise cannot_write(self.training, error) from error
        try:
            yield
        finally:
            lock.release()

    def save_config(self, config: Mapping[str, Any]) -> None:
        with atomic_write(self.config) as file:
            file.write(OmegaConf.to_yaml(OmegaConf.create(dict(config))))

    def load_config(self) -> dict[str, Any]:
        """The saved configuration as plain values.

        Raises:
            S2SError: there is none, or it is not readable.
        """
        try:
            config = OmegaConf.to_container(OmegaConf.load(self.config), resolve=True)
        except FileNotFoundError as error:
            raise S2SError(
                f"{self.path} is not a run directory: it has no config.yaml; name the folder of a run"
            ) from error
        except (OSError, ValueError, OmegaConfBaseException) as error:
            raise S2SError(f"{self.config} is not readable: {error}") from error
        except Exception as error:  # the YAML parser's own errors, which no declared dependency exports
            raise S2SError(f"{self.config} is not valid YAML: {error}") from error
        if not isinstance(config, dict):
            raise S2SError(f"{self.config} must hold keys and values, and holds a {type(config).__name__}")
        return {str(key): value for key, value in config.items()}

    def checkpoint(self, step: int) -> Path:
        """The weight file that is kept for averaging."""
        return self.training / f"weights-{step:08d}.safetensors"

    def save_weights(self, path: Path, tensors: Mapping[str, Tensor], steps: Sequence[int]) -> None:
        """Writes weights (`model_tensors`, or a mean of several) with what they come from."""
        config = hashlib.sha256(self.config.read_bytes()).hexdigest()[:16] if self.config.exists() else ""
        write_tensors(path, tensors, {"steps": list(steps), "config": config})

    def load_weights(self, model: nn.Module) -> None:
        """Fills `model` from `model.safetensors`; errors as `load_weights`."""
        if not self.weights.exists():
            raise S2SError(f"{self.path} has no model.safetensors: training has not reached its first validation")
        load_weights(model, self.weights)

    def save_state(self, state: TrainingState, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Makes `state` with the tensors of `model` and `optimizer` the state that the next start resumes from."""
        names = [f"step-{state.step:08d}{again}" for again in ("", "-again")]
        folder = next(p for name in names if (p := self.training / name) != self.state_folder())
        shutil.rmtree(folder, ignore_errors=True)
        tensors = {f"model.{name}": tensor for name, tensor in model_tensors(model).items()}
        write_tensors(
            folder / "state.safetensors", tensors | _optimizer_tensors(model, optimizer), {"steps": [state.step]}
        )
        write_json(folder / "state.json", dataclasses.asdict(state))
        for changed in (folder, self.training):
            _sync_folder(changed)
        write_json(self._latest, {"folder": folder.name})
        _sync_folder(self.training)
        self.remove_leftovers(state)

    def state_folder(self) -> Path | None:
        """The folder of the valid training state, if there is one."""
        return self.training / str(read_json(self._latest)["folder"]) if self._latest.exists() else None

    def load_state(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState | None:
        """Restores `model` and `optimizer` from the saved training state; None if there is none.

        Raises:
            S2SError: it is damaged or of another model, or there are weights whose training state is gone.
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
            saved = read_json(folder / "state.json")
            state = TrainingState(**saved)
            state.kept = {int(step): float(score) for step, score in state.kept.items()}
        except (S2SError, TypeError, ValueError, AttributeError) as error:
            raise S2SError(f"{folder / 'state.json'} cannot be resumed from ({error}): {again}") from error
        path = folder / "state.safetensors"
        tensors, info = read_tensors(path)
        if info.get("steps") != [state.step]:
            raise S2SError(f"{path} is not of step {state.step}, as the state.json beside it is: {again}")
        fill(model, {k.removeprefix("model."): t for k, t in tensors.items() if k.startswith("model.")}, path)
        _fill_optimizer(model, optimizer, {k: t for k, t in tensors.items() if k.startswith("optimizer.")})
        return state

    def remove_leftovers(self, state: TrainingState) -> None:
        """Removes what killed or superseded writes left: states, checkpoints and temporary files that nobody needs."""
        if not self.training.exists():
            return
        needed = {self.state_folder(), *(self.checkpoint(step) for step in state.kept)}
        for path in self.training.iterdir():
            if path.name.startswith("step-") and path not in needed:
                shutil.rmtree(path, ignore_errors=True)
            elif path.name.startswith("weights-") and path not in needed:
                path.unlink(missing_ok=True)
        for path in [*self.path.glob(".*.tmp"), *self.training.glob(".*.tmp")]:
            path.unlink(missing_ok=True)

    def publish(self, state: TrainingState, model: nn.Module) -> None:
        """Makes `model.safetensors` what `state.published` says, unless it is that already."""
        steps = state.published
        if not steps or self._published() == steps:
            return
        if steps == [state.step]:
            self.save_weights(self.weights, model_tensors(model), steps)
        elif all(self.checkpoint(step).exists() for step in steps):
            self.save_weights(self.weights, mean_weights([self.checkpoint(step) for step in steps]), steps)
        else:
            raise S2SError(
                f"{self.weights} should hold the weights of step {steps[0]} and does not: put it back, or delete "
                f"{self.training} and {self.weights.name} to start again"
            )

    def _published(self) -> list[int] | None:
        try:
            return list(read_info(self.weights).get("steps", []))
        except S2SError:  # missing or damaged
            return None


def config_differences(saved: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What keeps a run of configuration `new` from resuming one of `saved`: `key: old → new`, for each such key.

    Keys in `MAY_CHANGE`, and all below them, are left out; a missing key of `OLDER` has the value it has there.
    """
    old_values, new_values = _flat(saved), _flat(new)
    added = {key: value for key, value in OLDER.items() if key in old_values or key in new_values}
    old_values, new_values = added | old_values, added | new_values
    keys = [key for key in [*old_values, *(k for k in new_values if k not in old_values)] if not _may_change(key)]
    shown = "(not set)"
    return [
        f"{key}: {old_values.get(key, shown)} → {new_values.get(key, shown)}"
        for key in keys
        if key not in old_values or key not in new_values or old_values[key] != new_values[key]
    ]


def _may_change(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in MAY_CHANGE)


def _flat(values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{where}{key}.")
        else:
            flat[f"{where}{key}"] = list(value) if isinstance(value, (tuple, list)) else value
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
        state.setdefault(order[name], {})[kind] = tensor.clone()  # not a view of the file, which will be deleted
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _sync_folder(path: Path) -> None:
    """Forces the names in a folder to disk, as fsync does for the contents of a file."""
    if os.name == "posix":  # other systems cannot open a folder
        try:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise cannot_write(path, error) from error
