"""The influence of inputs against finite differences, a sum that forgets nothing, and one that forgets."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import initialize_config_dir

from s2s.commands.lab import training_configuration
from s2s.lab.bench import Bench
from s2s.lab.influence import EXPERIMENT, beginnings, falls, influence, reach, relative_influence
from s2s.lab.language import LanguageModel, Text
from s2s.nn.cells import CELLS, RNN, Cell, State
from s2s.nn.recurrent import RecurrentLayer
from s2s.schema import build, check_call


@pytest.mark.parametrize("name", list(CELLS))
def test_equals_finite_differences(name: str) -> None:
    torch.manual_seed(1)
    layer = RecurrentLayer(CELLS[name](3, 4)).double()
    x, step = torch.randn(2, 5, 3, dtype=torch.float64), 1e-6
    found = influence(layer, x)
    assert found.shape == (2, 5)
    for t in range(5):
        total = torch.zeros(2, dtype=torch.float64)
        for component in range(3):
            up, down = x.clone(), x.clone()
            up[:, t, component] += step
            down[:, t, component] -= step
            change = (layer(up, None)[1][0] - layer(down, None)[1][0]) / (2 * step)
            total += change.square().sum(dim=1)
        torch.testing.assert_close(found[:, t], total.sqrt().detach(), rtol=1e-6, atol=1e-8)


class Fading(Cell):
    """h_t = keep · h_{t-1} + x_t: the input k steps back has the influence keep^k."""

    def __init__(self, size: int, keep: float) -> None:
        super().__init__(size, size)
        self.keep = keep

    def project(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def step(self, gx: torch.Tensor, state: State) -> State:
        return (self.keep * state[0] + gx,)


@pytest.mark.parametrize("keep", [1.0, 0.7])
def test_a_cell_that_fades_by_a_known_factor(keep: float) -> None:
    model = LanguageModel("rnn", 9, 4, 4)
    model.layer = RecurrentLayer(Fading(4, keep))
    tokens = torch.randint(4, 9, (3, 12))
    assert relative_influence(model, tokens) == pytest.approx([keep**k for k in range(11)])


def test_the_start_of_a_plain_network_is_nearly_linear() -> None:
    """With small inputs the tanh is the identity, and an orthogonal matrix loses nothing."""
    torch.manual_seed(2)
    model = LanguageModel("rnn", 9, 6, 6)
    assert isinstance(model.layer.cell, RNN)
    with torch.no_grad():
        model.embedding.weight.mul_(1e-4)
    shares = relative_influence(model, torch.randint(4, 9, (2, 10)))
    assert shares == pytest.approx([1.0] * 9, rel=1e-5)


def test_reach() -> None:
    assert reach([1.0, 0.5, 0.05, 0.2, 0.09, 0.01]) == 4
    assert reach([1.0, 0.5]) is None


def test_beginnings_are_long_held_out_lines() -> None:
    text = Text([[9, 9, 9]], [[4, 5], [4, 5, 6, 7], [5], [6, 7, 8], [8, 8, 8]], 10)
    assert beginnings(text, 2, 2).tolist() == [[2, 4, 5, 6], [2, 6, 7, 8]]


def test_falls_from_quarter_to_quarter() -> None:
    assert falls([1.0] + [10.0**-n for n in (1, 1, 3, 3, 4, 4, 4, 4)]) == pytest.approx([2, 1, 0])


def _numbers(fall: float, seeds: int) -> dict[str, Any]:
    run = {"before": [1.0] * 9, "after": [fall**k for k in range(9)], "perplexity": 12.0}
    return {"distance": 8, "cells": {"rnn": [run] * seeds, "lstm": [run] * seeds}}


def test_findings_say_what_the_numbers_say() -> None:
    assert EXPERIMENT.find(_numbers(0.5, 1)).verdict is None
    found = EXPERIMENT.find(_numbers(0.5, 3))
    assert found.verdict == "supported"
    assert "every cell" in found.sentences[0]
    assert "rnn 4" in found.sentences[1]
    assert EXPERIMENT.find(_numbers(0.8, 3)).verdict == "not supported", "more than a tenth is left"
    turned = _numbers(0.5, 3)
    for run in turned["cells"]["rnn"]:
        run["after"] = run["after"][:7] + [2 * run["after"][6]] * 2
    assert EXPERIMENT.find(turned).verdict == "not supported", "the first words count for more again"
    rises = EXPERIMENT.find(_numbers(1.2, 3))
    assert rises.verdict == "not supported"
    assert "no cell" in rises.sentences[0]
    assert "rises again" not in " ".join(rises.sentences), "it never fell"
    assert "rises again" in EXPERIMENT.find(turned).sentences[1]


def test_a_trained_network_forgets(root: Path, tmp_path: Path) -> None:
    """A language in which only the last word matters: after training, the influence of earlier ones is small."""
    generator = torch.Generator().manual_seed(1)
    for split, count in (("train", 200), ("validation", 20)):
        flips = (torch.rand(count, 16, generator=generator) < 0.1).cumsum(dim=1) % 2
        text = "".join(" ".join("ab"[word] for word in line) + "\n" for line in flips.tolist())
        for side in ("en", "de"):
            (tmp_path / f"{split}.{side}").write_text(text)
    typed = ["data=files", "data.source=en", "data.target=de", "data.tokenizer.type=word"]
    typed += [f"data.train={tmp_path}/train", f"data.validation={tmp_path}/validation"]
    values = {"text": typed, "cells": ["rnn", "lstm"], "distance": 12, "lines": 4, "seeds": [1]}
    values["model"] = {"embedding": 8, "hidden": 8, "batch_tokens": 400, "fit": {"updates": 120, "lr": 0.02}}
    assert check_call(EXPERIMENT.settings, values, "") == []
    with initialize_config_dir(str(root / "conf"), version_base="1.3"):
        bench = Bench(tmp_path / "lab", training_configuration, lambda *_: {})
        numbers = EXPERIMENT.measure(build(EXPERIMENT.settings, values), bench)
    for cell, runs in json.loads(json.dumps(numbers))["cells"].items():
        (run,) = runs
        assert run["after"][0] == 1.0, cell
        assert run["after"][12] < 0.1 * run["after"][1], cell
        assert run["after"][12] < run["before"][12], cell
        assert run["perplexity"] < 3, cell  # of a vocabulary of 262
    assert len(EXPERIMENT.find(numbers).rows) == 2
