from __future__ import annotations

import copy
import errno
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors.numpy import load_file
from torch import nn

from s2s.errors import S2SError
from s2s.training.checkpoint import RunDirectory, config_differences
from s2s.training.weights import load_weights, mean_weights, model_tensors, read_info, write_tensors
from tests.models import contract
from tests.training.toy import ToyModel, make_trainer


def saved(path: Path, model: nn.Module) -> Path:
    RunDirectory(path).save_weights(path / "model.safetensors", model_tensors(model), [7])
    return path / "model.safetensors"


def test_weights_come_back_and_ties_stay_tied(tmp_path: Path) -> None:
    model = ToyModel()
    with torch.no_grad():
        model.embedding.weight.normal_()
        model.seen += 5
    path = saved(tmp_path, model)
    assert "output.weight" not in load_file(path)  # each tensor once
    other = ToyModel()
    load_weights(other, path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    assert other.output.weight is other.embedding.weight
    assert read_info(path)["steps"] == [7]
    assert read_info(path)["format"] == "s2s"


def test_views_of_one_storage_are_different_tensors(tmp_path: Path) -> None:
    class Sliced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            flat = torch.arange(6.0)
            self.first, self.second = nn.Parameter(flat[:3]), nn.Parameter(flat[3:])
            self.transposed = nn.Parameter(torch.arange(6.0).view(2, 3).t())

    path, other = saved(tmp_path, Sliced()), Sliced()
    with torch.no_grad():
        other.second.zero_()
        other.transposed.zero_()
    load_weights(other, path)
    assert other.second.tolist() == [3, 4, 5]
    assert other.transposed.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_the_same_weights_are_the_same_bytes_with_ordinary_permissions(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "plain").write_text("")
    first, second = saved(tmp_path / "a", ToyModel()), saved(tmp_path / "b", ToyModel())
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("size", [0, 5, 100, -4])
def test_a_truncated_file_is_one_line(tmp_path: Path, size: int) -> None:
    path = saved(tmp_path, ToyModel())
    data = path.read_bytes()
    path.write_bytes(data[:size])
    with pytest.raises(S2SError, match=r"model\.safetensors is truncated or not a safetensors file.*again") as error:
        load_weights(ToyModel(), path)
    assert "\n" not in str(error.value)


def test_foreign_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(S2SError, match="does not exist"):
        load_weights(ToyModel(), tmp_path / "none.safetensors")
    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"layer.weight": torch.zeros(2)}, foreign)
    with pytest.raises(S2SError, match=r"foreign\.safetensors has no weight seen, which the model has"):
        load_weights(ToyModel(), foreign)
    foreign.write_text("torch.save was here", encoding="utf-8")
    with pytest.raises(S2SError, match="not a safetensors file"):
        load_weights(ToyModel(), foreign)
    write_tensors(foreign, model_tensors(ToyModel()), {"version": 99})
    with pytest.raises(S2SError, match="format version 99"):
        load_weights(ToyModel(), foreign)


def test_another_shape_or_name_names_the_first_key_and_changes_nothing(tmp_path: Path) -> None:
    model = ToyModel(width=8)
    before = model.hidden.weight.clone()
    with pytest.raises(S2SError, match=r"embedding\.weight has the shape \(11, 4\), and \(11, 8\).*config\.yaml"):
        load_weights(model, saved(tmp_path, ToyModel(width=4)))
    more = ToyModel()
    more.extra = nn.Linear(2, 2)
    with pytest.raises(S2SError, match=r"has a weight extra\.(weight|bias), which the model lacks"):
        load_weights(model, saved(tmp_path, more))
    assert torch.equal(model.hidden.weight, before)


def test_mean_of_checkpoints(tmp_path: Path) -> None:
    paths = []
    for number in range(3):
        model = ToyModel()
        with torch.no_grad():
            model.hidden.weight.normal_()
            model.seen.fill_(number)
        paths.append(saved(tmp_path / str(number), model))
    mean = mean_weights(paths)
    for name, tensor in mean.items():
        stack = np.stack([load_file(path)[name] for path in paths])
        expected = stack[0] if name == "seen" else stack.astype(np.float64).mean(0).astype(np.float32)
        np.testing.assert_array_equal(tensor.numpy(), expected)


def test_config_round_trip(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    config = {"seed": 1, "optim": {"lr": 1e-3, "betas": [0.9, 0.98], "clip": None}, "name": "no", "text": "ünï: 中"}
    run.save_config(config)
    assert run.load_config() == config
    run.config.write_text("a: [1", encoding="utf-8")
    with pytest.raises(S2SError, match=r"config\.yaml is not"):
        run.load_config()
    with pytest.raises(S2SError, match="not a run directory"):
        RunDirectory(tmp_path / "nowhere").load_config()


def test_config_differences_name_key_old_and_new() -> None:
    old = {"seed": 1, "data": {"tests": ["a", "b"]}, "model": {"layers": 2, "gone": 1}, "training": {"batch_tokens": 5}}
    new = {"seed": 1, "data": {"tests": ["a"]}, "model": {"layers": 3, "new": {}}, "training": {"batch_tokens": 5.0}}
    assert config_differences(old, new) == [
        "data.tests: ['a', 'b'] → ['a']",
        "model.layers: 2 → 3",
        "model.gone: 1 → (not set)",
        "model.new: (not set) → {}",
    ]
    assert config_differences({"optim": {"betas": (0.9, 0.98)}}, {"optim": {"betas": [0.9, 0.98]}}) == []


def test_keys_that_may_change_on_resume() -> None:
    keys = ("max_steps", "max_epochs", "patience", "log_every", "save_every", "tensorboard")
    free = {"training": dict.fromkeys(keys, 1), "device": "cpu", "decoding": {"beam": 1}, "evaluation": {"bins": [1]}}
    changed = {"training": dict.fromkeys(keys, 2), "device": "cuda", "decoding": {"beam": 2}, "evaluation": {}}
    assert config_differences(free | {"trust": []}, changed | {"trust": ["my_module"]}) == []
    assert config_differences({"devices": 1}, {"devices": 2}) == ["devices: 1 → 2"]


def test_a_key_that_an_older_run_does_not_have() -> None:
    old, same, other = {"data": {"size": 1}}, {"data": {"size": 1, "longest": 60}}, {"data": {"size": 1, "longest": 30}}
    assert config_differences(old, same) == []
    assert config_differences(old, old) == []
    assert config_differences(old, other) == ["data.longest: 60 → 30"]
    new = {"data": {"size": 1}, "freeze": [], "optim": {"scale": None}}
    changed = {"data": {"size": 1}, "freeze": ["encoder"], "optim": {"scale": {"encoder.layers.0": 0.5}}}
    assert config_differences(old, new) == []
    for before in (old, new):
        assert config_differences(before, changed) == [
            "freeze: [] → ['encoder']",
            "optim.scale.encoder.layers.0: (not set) → 0.5",
        ]


@pytest.mark.parametrize("positions", [None, "sinusoidal", "rotary"])
def test_a_transformer_from_before_there_were_mixers(tmp_path: Path, positions: str | None) -> None:
    """Its configuration and weights load under their names of today."""
    sections = contract.transformer(norm="post", positions=positions or "sinusoidal")
    directory = RunDirectory(tmp_path)
    old = copy.deepcopy(sections)
    for side in ("encoder", "decoder"):
        del old[side]["mixer"]
        old[side]["type"] = "transformer"
        if positions is None:
            del old[side]["positions"]
    directory.save_config({"model": old})
    assert directory.load_config() == {"model": sections}
    assert config_differences(directory.load_config(), {"model": sections}) == []

    model, other = contract.make(sections), contract.make(sections, seed=1)
    names = {
        name: name.replace("decoder", "DECODER")
        .replace("around_mixer", "around_self" if "decoder" in name else "around_attention")
        .replace("mixer.attention", "self_attention" if "decoder" in name else "attention")
        .replace("DECODER", "decoder")
        for name in model_tensors(model)
    }
    assert sum(name != old_name for name, old_name in names.items()) == 2 * 2 * (6 + 2)
    assert "decoder.layers.1.self_attention.query.weight" in names.values()
    assert "encoder.layers.0.around_attention.norm.bias" in names.values()
    write_tensors(directory.weights, {names[name]: value for name, value in model_tensors(model).items()}, {})
    directory.load_weights(other)
    whole = contract.batch(contract.sentences(3, 6, 1), contract.sentences(3, 6, 2))
    assert torch.equal(model.log_probs(whole), other.log_probs(whole))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """After any failed write the run stops with one line and resumes from the previous state."""
    make_trainer(tmp_path / "whole", max_steps=8).fit()
    expected = (tmp_path / "whole" / "model.safetensors").read_bytes()
    real = getattr(os, call)
    for allowed in range(2, 40, 3):
        path = tmp_path / str(allowed)
        count = iter(range(10**9))

        def full(*args: object, count: object = count, allowed: int = allowed) -> object:
            if next(count) >= allowed:  # type: ignore[call-overload]
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*args)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            failure = ""
            try:
                make_trainer(path, max_steps=8).fit()
            except S2SError as error:
                failure = str(error)
                assert "No space left on device" in failure
        assert not list(path.rglob("*.tmp"))
        make_trainer(path, max_steps=8).fit()
        assert (path / "model.safetensors").read_bytes() == expected
        if not failure:
            return
    pytest.fail("the disk was never large enough")


def test_damaged_training_states_say_what_to_delete(tmp_path: Path) -> None:
    make_trainer(tmp_path, max_steps=6).fit()
    folder = RunDirectory(tmp_path).state_folder()
    assert folder is not None
    text = (folder / "state.json").read_text(encoding="utf-8")
    for broken in (text[:40], text.replace('"epoch"', '"epoc"'), text.replace('"step": 6', '"step": 5')):
        (folder / "state.json").write_text(broken, encoding="utf-8")
        with pytest.raises(S2SError, match=r"state\.(json|safetensors).*to start again"):
            make_trainer(tmp_path, max_steps=8).fit()


def test_a_model_whose_training_folder_was_deleted_is_not_overwritten(tmp_path: Path) -> None:
    make_trainer(tmp_path, max_steps=4).fit()
    before = (tmp_path / "model.safetensors").read_bytes()
    for path in sorted((tmp_path / "training").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(S2SError, match="choose another run_dir"):
        make_trainer(tmp_path, max_steps=4).fit()
    assert (tmp_path / "model.safetensors").read_bytes() == before
