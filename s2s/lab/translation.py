"""Translation models for experiments: trained once for all that ask for the same, and sizes that make them comparable.

A system is what one would type after `scripts/train.py` beside what all of an experiment share: `["model=gru"]`.

Recurrent cells of equal width differ in parameters: an LSTM has four blocks of weights, a GRU three. So they are
compared at equal width, and at equal parameters, where the smaller cell is made wider. Embeddings and output layer,
which do not depend on the cell, are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from s2s.data.batching import evaluation_batches
from s2s.data.corpus import Split, load_corpus
from s2s.data.lengths import lengths_in_words
from s2s.errors import S2SError
from s2s.lab.bench import Bench
from s2s.models import build_model, count_parameters, shapes_only
from s2s.runs import Run, load

WIDTHS = 16  # hidden sizes are multiples of it: odd ones are slow
WITHIN = 0.02  # parameters of two models that count as equal differ by this share at most

Facts = dict[str, Any]  # what `s2s.commands.lab.trained` returns


def train(
    bench: Bench, systems: Mapping[str, Sequence[str]], shared: Sequence[str], seeds: Sequence[int]
) -> dict[str, list[Facts]]:
    """Facts about trained systems, for each seed in order."""
    wanted = {
        f"{name}, seed {seed}": [*shared, *typed, f"seed={seed}"] for seed in seeds for name, typed in systems.items()
    }
    facts = bench.trained(wanted)
    return {name: [facts[f"{name}, seed {seed}"] for seed in seeds] for name in systems}


def bleu(facts: Facts) -> float:
    """BLEU of the test sentences in the length bins that training reached; those of longer bins do not count.

    Raises:
        S2SError: several bins were reached, and others were not.
    """
    evaluation = facts["evaluation"]
    bins = [one for one in evaluation["by_length"] if one["sentences"]]
    known = [one for one in bins if one["min"] <= (evaluation["training_limit"] or one["min"])]
    if len(known) == len(bins):
        return float(evaluation["bleu"])
    if len(known) == 1:
        return float(known[0]["bleu"])
    limit = evaluation["training_limit"]
    raise S2SError(f"config: sentences of training have up to {limit} words: set evaluation.bins=[{limit}]")


def scores(bench: Bench, facts: Mapping[str, Sequence[Facts]]) -> dict[str, dict[str, list[float]]]:
    """`bleu` on the test set and `loss` on the validation split, by system, for each seed."""
    jobs = {"validation losses": partial(validation_losses, [one["run"] for each in facts.values() for one in each])}
    losses = iter(bench.each(jobs)["validation losses"])
    return {
        "bleu": {name: [bleu(one) for one in each] for name, each in facts.items()},
        "loss": {name: [next(losses) for _ in each] for name, each in facts.items()},
    }


@torch.no_grad()
def validation_losses(paths: Sequence[str]) -> list[float]:
    """Cross-entropy of a target token of `known_pairs`, in nats, of the runs in these directories."""
    losses = []
    for run in (load(path, "cpu") for path in paths):
        batches = list(evaluation_batches(known_pairs(run), run.tokenizer, run.config.training.batch_tokens))
        losses.append(sum(run.model(batch).nll.item() for batch in batches) / sum(batch.tokens for batch in batches))
    return losses


def known_pairs(run: Run, most: int | None = None) -> Split:
    """The validation pairs, or the first so many, that are no longer than the pairs that a run was trained on."""
    data = run.config.data
    split = load_corpus(data, ["validation"]).validation
    sides = [(split.source, data.source_language), (split.target, data.target_language)]
    longest = [max(pair) for pair in zip(*(lengths_in_words(text, language) for text, language in sides), strict=True)]
    kept = [i for i, length in enumerate(longest) if data.max_length is None or length <= data.max_length][:most]
    return Split("validation", [split.source[i] for i in kept], [split.target[i] for i in kept])


def widths(bench: Bench, typed: Sequence[str]) -> tuple[int, int]:
    """Hidden sizes of encoder and decoder of the model that is typed."""
    model = bench.configuration(typed)["model"]
    return model["encoder"]["hidden_size"], model["decoder"]["hidden_size"]


def of_widths(encoder: int, decoder: int) -> list[str]:
    """What to type for these hidden sizes."""
    return [f"model.encoder.hidden_size={encoder}", f"model.decoder.hidden_size={decoder}"]


def equal_parameters(bench: Bench, typed: Sequence[str], like: Sequence[str]) -> tuple[int, int]:
    """Hidden sizes with which the model that is typed has as many parameters as another one.

    Of the sizes that do, those are taken whose ratio is nearest to that of the other model.

    Raises:
        S2SError: there are none within 2 %.
    """
    model, other = bench.configuration(typed)["model"], bench.configuration(like)["model"]
    wanted = inner_parameters(other)
    encoder, decoder = other["encoder"]["hidden_size"], other["decoder"]["hidden_size"]
    found = []
    for wider in range(WIDTHS, 3 * decoder, WIDTHS):
        near = WIDTHS * round(wider * encoder / decoder / WIDTHS)
        for narrower in range(max(WIDTHS, near - 2 * WIDTHS), near + 3 * WIDTHS, WIDTHS):
            if abs(inner_parameters(model, narrower, wider) / wanted - 1) <= WITHIN:
                found.append((abs(narrower / wider - encoder / decoder), narrower, wider))
    if not found:
        raise S2SError(f"no hidden sizes give {model['name']} the {wanted:,} parameters of {other['name']}")
    _, narrower, wider = min(found)
    return narrower, wider


def inner_parameters(model: Mapping[str, Any], encoder: int | None = None, decoder: int | None = None) -> int:
    """Parameters besides embeddings and output layer of a `model` section, with other hidden sizes where given."""
    sizes = {"encoder": encoder, "decoder": decoder}
    parts = {part: {**model[part], **({"hidden_size": size} if size else {})} for part, size in sizes.items()}
    with shapes_only():
        return count_parameters(build_model({**model, **parts}, 8, 8))[1]
