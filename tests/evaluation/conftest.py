from __future__ import annotations

import pytest

from s2s.evaluation.scaling import Cost, Scaling

FAMILIES = {"rnn": "fixed", "lstm_attention": "attention", "transformer": "self-attention"}


@pytest.fixture(scope="session")
def scaling() -> Scaling:
    """Update times grow linearly, linearly and quadratically; 8 sentences of 40 tokens are missing or do not fit."""
    costs = []
    for task, half in (("train", 1.0), ("decode", 0.5)):
        for batch, lengths in ((1, (10, 20, 40)), (8, (10, 20))):
            for length in lengths:
                times = {"rnn": 1e-3 * length, "lstm_attention": 2e-3 * length, "transformer": 1e-5 * length**2}
                for model, time in times.items():
                    seconds, memory = half * batch * time, 50.0 * batch
                    costs.append(Cost(model, FAMILIES[model], task, 9, batch, length, seconds, memory, None))
    costs.append(Cost("rnn", "fixed", "train", 9, 8, 40, 0.32, 400.0, None))
    costs.append(Cost("transformer", "self-attention", "train", None, 8, 40, None, None, "needs more than 70 MiB"))
    config = {"task": "scaling", "scaling": {"vocabulary": 8000, "beam": 1, "precision": "bf16"}}
    machine = {"processor": "a <processor>", "device": "cpu", "threads": 2, "torch": "2.0"}
    return Scaling(costs, config, machine)
