"""Every configuration of conf/model under autocast: loss close to fp32, a gradient for each parameter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from s2s.commands.console import plain
from s2s.data.batching import collate
from s2s.evaluation.report.palette import family_of
from s2s.models import build_model, check_model, count_parameters, shapes_only

ROOT = Path(__file__).resolve().parent.parent.parent
MODELS = sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))
ROTARY = ["model.encoder.positions=rotary", "model.decoder.positions=rotary"]


@pytest.mark.parametrize(("name", "overrides"), [*((name, []) for name in MODELS), ("transformer", ROTARY)])
def test_bf16(name: str, overrides: list[str]) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = plain(compose("train", [f"model={name}", *overrides]))["model"]
    torch.manual_seed(1)
    model = build_model(config, 40, 40)
    draw = torch.Generator().manual_seed(2)
    sides = [[torch.randint(4, 40, (n,), generator=draw).tolist() for n in (3, 9, 1, 17)] for _ in range(2)]
    batch = collate(*sides, range(4))
    torch.manual_seed(3)
    exact = model(batch).loss
    torch.manual_seed(3)  # the same dropout masks
    with torch.autocast("cpu", torch.bfloat16):
        bf16 = model(batch).loss
    bf16.backward()
    assert abs(bf16.item() / exact.item() - 1) < 0.01
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", [name for name in MODELS if name.endswith("_attention")])
def test_any_encoder_goes_with_any_decoder(name: str) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = plain(compose("train", [f"model={name}", "model/encoder=transformer"]))["model"]
    assert check_model(config, True, []) == []


FAMILIES = {
    "gru": ("fixed", ("recurrence", "recurrence"), "fixed"),
    "gru_attention": ("attention", ("recurrence", "recurrence"), "attention"),
    "transformer": ("attention", ("self-attention", "self-attention"), "self-attention"),
    "hybrid": ("attention", ("self-attention", "recurrence"), "attention"),
    "conv": ("attention", ("convolution", "convolution"), "convolution"),
    "conv_attention": ("attention", ("convolution", "recurrence"), "attention"),
    "recurrent_blocks": ("attention", ("recurrence", "recurrence"), "attention"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_access_to_the_source_and_mixers(name: str) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = plain(compose("train", [f"model={name}"]))["model"]
    model = build_model(config, 40, 40)
    assert (model.reads, model.mixes, family_of(model.reads, model.mixes)) == FAMILIES[name]


@pytest.mark.parametrize("name", [name for name in MODELS if "blocks" in name or "conv" in name or "hybrid" in name])
def test_models_with_attention_have_about_as_many_parameters(name: str) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"), shapes_only():
        sizes = [
            count_parameters(build_model(plain(compose("train", [f"model={one}"]))["model"], 8, 8))[1]
            for one in (name, "transformer")
        ]
    assert abs(sizes[0] / sizes[1] - 1) < 0.05
