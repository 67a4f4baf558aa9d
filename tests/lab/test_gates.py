"""Gates of trained networks: histograms against the equations, and against the initial gates."""

from typing import Any

import numpy as np
import pytest
import torch

from s2s.data.batching import Batch, collate
from s2s.lab import gates as experiment
from s2s.lab.gates import BINS, GATES, NETWORKS, analyse, count, pooled, tails
from s2s.lab.runner import JobRunner
from s2s.models import build_model
from s2s.models.interface import Seq2Seq
from tests.lab.small import SMALL, assert_draws, measured, text
from tests.models.contract import VOCABULARY, recurrent

THREE, ZERO = NETWORKS
SOURCES, TARGETS = [[4, 5, 6, 7], [8]], [[6, 7], [4, 5, 8, 6]]


def network(scale: float, **options: Any) -> tuple[Seq2Seq, Batch]:
    """A small LSTM model whose matrices are multiplied, and a batch with padding on both sides."""
    section = recurrent("lstm", "fixed")
    for side in ("encoder", "decoder"):
        section[side]["cell_options"] = options
    torch.manual_seed(1)
    model = build_model(section, VOCABULARY, VOCABULARY).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "weight_ih" in name or "weight_hh" in name:
                parameter *= scale
    return model, collate(SOURCES, TARGETS, [0, 1])


def test_counts_are_those_of_the_equations() -> None:
    """The encoder's forward layer, sentence by sentence with numpy."""
    model, batch = network(1.0)
    named = {name: value.detach().numpy() for name, value in model.named_parameters()}
    cell = {key: named[f"encoder.stack.levels.0.0.cell.{key}"] for key in ("weight_ih", "weight_hh", "bias")}
    values: dict[str, list[float]] = {gate: [] for gate in GATES}
    for row, length in enumerate(batch.source_lengths):
        h, c = np.zeros(7), np.zeros(7)
        for token in batch.source[row, :length]:
            x = named["source_embedding.weight"][token] * np.sqrt(8)
            sums = cell["weight_ih"] @ x + cell["weight_hh"] @ h + cell["bias"]
            f, i, o = (1 / (1 + np.exp(-part)) for part in np.split(sums, 4)[:3])
            c = f * c + i * np.tanh(np.split(sums, 4)[3])
            h = o * np.tanh(c)
            for gate, row_values in zip(GATES, (f, i, o), strict=True):
                values[gate] += row_values.tolist()
    counts = count(model, [batch])
    for gate in GATES:
        expected, _ = np.histogram(values[gate], BINS, (0, 1))
        assert counts["encoder forward"][gate] == expected.tolist()
    target_tokens = sum(batch.target_lengths)
    assert all(sum(row) == 6 * target_tokens for row in counts["decoder"].values())


@pytest.mark.parametrize(("bias", "low", "high"), [(0.0, 0, 0), (3.0, 0, 1), (-3.0, 1, 0)])
def test_without_weights_a_gate_follows_its_bias(bias: float, low: float, high: float) -> None:
    model, batch = network(0.0, forget_bias=bias)
    counts = count(model, [batch])
    assert tails(pooled([counts], ["forget"], counts)).tolist() == [[low], [high]]
    assert tails(pooled([counts], ["input", "output"], counts)).tolist() == [[0], [0]]


def test_large_weights_shut_and_open_all_gates() -> None:
    networks = [network(scale) for scale in (0.3, 3.0, 300.0)]
    counts = [count(model, [batch]) for model, batch in networks]
    shares = tails(pooled(counts, GATES, ["decoder"])).sum(axis=0).tolist()
    assert shares == sorted(shares)
    assert shares[-1] > 0.9


@pytest.mark.slow  # trains two networks
def test_trained_networks_beside_untrained_ones(runner: JobRunner) -> None:
    numbers = measured(experiment, runner, train=SMALL, sentences=8, seeds=[1])
    layers = ["encoder forward", "encoder backward", "decoder"]
    outer = {
        (start, gate): tails(pooled(numbers[start]["untrained"], [gate], layers)).sum()
        for start in (THREE, ZERO)
        for gate in GATES
    }
    assert outer[THREE, "forget"] > 0.8  # before anything is learnt
    assert outer[ZERO, "forget"] < 0.1
    assert outer[THREE, "input"] < 0.4
    assert numbers[THREE]["trained"] != numbers[THREE]["untrained"]
    findings = analyse(numbers)
    assert findings.conclusion is None, "one seed"
    share = tails(pooled(numbers[THREE]["untrained"], ["forget"], layers)).sum()
    assert f"it was {100 * share:.0f} % of the forget gates" in text(findings)
    assert_draws(experiment, numbers, 3)


def numbers_with(shares: dict[str, float], seeds: int) -> dict[str, Any]:
    """Numbers of networks with this share of each gate's values at the upper end, the others in the middle."""
    row = {g: [0.0] * (BINS // 2) + [100 * (1 - s)] + [0.0] * (BINS // 2 - 2) + [100 * s] for g, s in shares.items()}
    counts = [{"decoder": row}] * seeds
    return {name: {"trained": counts, "untrained": counts} for name in (THREE, ZERO)}


@pytest.mark.parametrize(
    ("output", "seeds", "conclusion"), [(0.84, 3, "supported"), (0.7, 3, "not supported"), (0.84, 2, None)]
)
def test_a_vast_majority_of_each_gate_is_required(output: float, seeds: int, conclusion: str | None) -> None:
    findings = analyse(numbers_with({"forget": 0.9, "input": 0.85, "output": output}, seeds))
    assert findings.conclusion == conclusion
    assert f"output {100 * output:.0f} %" in findings.sentences[0]
