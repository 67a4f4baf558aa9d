"""The influence of inputs against finite differences, and in sums with and without decay."""

from pathlib import Path
from typing import Any

import pytest
import torch

from s2s.lab import influence as experiment
from s2s.lab.influence import analyse, decays, influence, prefixes, reach, relative_influence
from s2s.lab.language import LanguageModel, Text
from s2s.lab.runner import JobRunner
from s2s.nn.cells import CELLS, RNN, Cell, State
from s2s.nn.recurrent import RecurrentLayer
from tests.lab.small import measured, numerical_norms


@pytest.mark.parametrize("name", list(CELLS))
def test_equals_finite_differences(name: str) -> None:
    torch.manual_seed(1)
    layer = RecurrentLayer(CELLS[name](3, 4)).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64)
    expected = numerical_norms(lambda x: layer(x, None)[1][0], x)
    torch.testing.assert_close(influence(layer, x), expected, rtol=1e-6, atol=1e-8)


class DecayingSum(Cell):
    """h_t = keep · h_{t-1} + x_t: the input k steps back has the influence keep^k."""

    def __init__(self, size: int, keep: float) -> None:
        super().__init__(size, size)
        self.keep = keep

    def project(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def step(self, gx: torch.Tensor, state: State) -> State:
        return (self.keep * state[0] + gx,)


@pytest.mark.parametrize("keep", [1.0, 0.7])
def test_a_cell_with_a_known_decay(keep: float) -> None:
    model = LanguageModel("rnn", 9, 4, 4)
    model.layer = RecurrentLayer(DecayingSum(4, keep))
    tokens = torch.randint(4, 9, (3, 12))
    assert relative_influence(model, tokens) == pytest.approx([keep**k for k in range(11)])


def test_an_initial_plain_rnn_is_nearly_linear() -> None:
    """With small inputs the tanh is the identity, and an orthogonal matrix preserves norms."""
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


def test_prefixes_of_long_held_out_lines() -> None:
    text = Text([[9, 9, 9]], [[4, 5], [4, 5, 6, 7], [5], [6, 7, 8], [8, 8, 8]], 10)
    assert prefixes(text, 2, 2).tolist() == [[2, 4, 5, 6], [2, 6, 7, 8]]


def test_falls_from_quarter_to_quarter() -> None:
    assert decays([1.0] + [10.0**-n for n in (1, 1, 3, 3, 4, 4, 4, 4)]) == pytest.approx([2, 1, 0])


def _numbers(fall: float, seeds: int) -> dict[str, Any]:
    run = {"before": [1.0] * 9, "after": [fall**k for k in range(9)], "perplexity": 12.0}
    return {"distance": 8, "cells": {"rnn": [run] * seeds, "lstm": [run] * seeds}}


def test_findings() -> None:
    assert analyse(_numbers(0.5, 1)).conclusion is None
    findings = analyse(_numbers(0.5, 3))
    assert findings.conclusion == "supported"
    assert "every cell" in findings.sentences[0]
    assert "rnn 4" in findings.sentences[1]
    assert analyse(_numbers(0.8, 3)).conclusion == "not supported", "more than a tenth is left"
    rising = _numbers(0.5, 3)
    for run in rising["cells"]["rnn"]:
        run["after"] = run["after"][:7] + [2 * run["after"][6]] * 2
    findings = analyse(rising)
    assert findings.conclusion == "not supported", "the first words count for more again"
    assert "rises again" in findings.sentences[1]
    findings = analyse(_numbers(1.2, 3))
    assert findings.conclusion == "not supported"
    assert "no cell" in findings.sentences[0]
    assert "rises again" not in " ".join(findings.sentences), "it never fell"


def test_a_trained_network_forgets(runner: JobRunner, tmp_path: Path) -> None:
    """In a language in which only the last word matters, the influence of earlier ones is small after training."""
    generator = torch.Generator().manual_seed(1)
    for split, count in (("train", 200), ("validation", 20)):
        flips = (torch.rand(count, 16, generator=generator) < 0.1).cumsum(dim=1) % 2
        text = "".join(" ".join("ab"[word] for word in line) + "\n" for line in flips.tolist())
        for side in ("en", "de"):
            (tmp_path / f"{split}.{side}").write_text(text)
    overrides = ["data=files", "data.source=en", "data.target=de", "data.tokenizer.type=word"]
    overrides += [f"data.train={tmp_path}/train", f"data.validation={tmp_path}/validation"]
    settings: dict[str, Any] = {"text": overrides, "cells": ["rnn", "lstm"], "distance": 12, "lines": 4, "seeds": [1]}
    model = {"embedding": 8, "hidden": 8, "batch_tokens": 400, "fit": {"updates": 120, "lr": 0.02}}
    numbers = measured(experiment, runner, **settings, model=model)
    for cell, runs in numbers["cells"].items():
        (run,) = runs
        assert run["after"][0] == 1.0, cell
        assert run["after"][12] < 0.1 * run["after"][1], cell
        assert run["after"][12] < run["before"][12], cell
        assert run["perplexity"] < 3, cell  # of a vocabulary of 262
    assert len(analyse(numbers).rows) == 2
