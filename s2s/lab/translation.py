"""Translation models of experiments: scores (also by source length), and hidden sizes of equal parameters.

Recurrent cells of equal width differ in parameters: an LSTM has four weight blocks, a GRU three. So they are compared
at equal width, and at equal parameters, with a wider GRU. Embeddings and output layer do not depend on the cell and do
not count.
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
from s2s.lab.runner import Facts, JobRunner
from s2s.models import build_model, count_parameters, shapes_only
from s2s.runs import Run, load

WIDTH_STEP = 16  # hidden sizes are multiples of it: odd ones are slow
TOLERANCE = 0.02  # maximum relative difference of parameters that count as equal

Bin = list[int]  # [shortest, longest, sentences]


def bleu(facts: Facts) -> float:
    """BLEU of the test sentences in the length bins that the training lengths reach; longer bins do not count.

    Raises:
        S2SError: several bins were reached, and others were not.
    """
    evaluation = facts["evaluation"]
    limit = evaluation["training_limit"]
    bins = [row for row in evaluation["by_length"] if row["sentences"]]
    reached = [row for row in bins if row["min"] <= (limit or row["min"])]
    if len(reached) == len(bins):
        return float(evaluation["bleu"])
    if len(reached) == 1:
        return float(reached[0]["bleu"])
    raise S2SError(f"config: training sentences have up to {limit} words: set evaluation.bins=[{limit}]")


def length_bins(facts: Facts) -> list[Bin]:
    """The bins of a model's evaluation that have both sentences and an upper end."""
    return [[max(row["min"], 1), row["max"], row["sentences"]] for row in _rows(facts)]


def scores_by_length(facts: Facts, score: str = "bleu") -> list[float]:
    """A score of each of these bins: `bleu`, or `length_ratio` (output over reference)."""
    return [row[score] or 0.0 for row in _rows(facts)]


def _rows(facts: Facts) -> list[dict[str, Any]]:
    return [row for row in facts["evaluation"]["by_length"] if row["sentences"] and row["max"] is not None]


def bin_centers(bins: Sequence[Bin]) -> list[float]:
    return [(low + high) / 2 for low, high, _ in bins]


def bin_label(length_bin: Bin) -> str:
    """`9–12 words`."""
    return f"{length_bin[0]}–{length_bin[1]} words"


def scores(runner: JobRunner, facts: Mapping[str, Sequence[Facts]]) -> dict[str, dict[str, list[float]]]:
    """`bleu` on the test set and `loss` on the validation split: by system, a list over seeds."""
    job = partial(validation_losses, [run["run"] for runs in facts.values() for run in runs])
    losses = iter(runner.run({"validation losses": job})["validation losses"])
    return {
        "bleu": {name: [bleu(run) for run in runs] for name, runs in facts.items()},
        "loss": {name: [next(losses) for _ in runs] for name, runs in facts.items()},
    }


@torch.no_grad()
def validation_losses(paths: Sequence[str]) -> list[float]:
    """Cross-entropy per target token of `validation_pairs`, in nats, of the runs in these directories."""
    losses = []
    for run in (load(path, "cpu") for path in paths):
        batches = list(evaluation_batches(validation_pairs(run), run.tokenizer, run.config.training.batch_tokens))
        losses.append(sum(run.model(batch).nll.item() for batch in batches) / sum(batch.tokens for batch in batches))
    return losses


def validation_pairs(run: Run, count: int | None = None) -> Split:
    """The first `count` or all validation pairs within the length limit of the run's training data."""
    data = run.config.data
    split = load_corpus(data, ["validation"]).validation
    sides = [(split.source, data.source_language), (split.target, data.target_language)]
    longest = [max(pair) for pair in zip(*(lengths_in_words(text, language) for text, language in sides), strict=True)]
    kept = [i for i, length in enumerate(longest) if data.max_length is None or length <= data.max_length][:count]
    return Split("validation", [split.source[i] for i in kept], [split.target[i] for i in kept])


def hidden_sizes(runner: JobRunner, overrides: Sequence[str]) -> tuple[int, int]:
    """Hidden sizes of the encoder and decoder of the model with these overrides."""
    model = runner.compose(overrides)["model"]
    return model["encoder"]["hidden_size"], model["decoder"]["hidden_size"]


def size_overrides(encoder: int, decoder: int) -> list[str]:
    """Overrides for these hidden sizes."""
    return [f"model.encoder.hidden_size={encoder}", f"model.decoder.hidden_size={decoder}"]


def equal_parameters(runner: JobRunner, overrides: Sequence[str], reference: Sequence[str]) -> tuple[int, int]:
    """Hidden sizes of encoder and decoder that give a model as many parameters as the reference model.

    Among the candidates, the ratio of the sizes is nearest to that of the reference.

    Raises:
        S2SError: there are none within 2 %.
    """
    model, other = runner.compose(overrides)["model"], runner.compose(reference)["model"]
    target = inner_parameters(other)
    encoder, decoder = other["encoder"]["hidden_size"], other["decoder"]["hidden_size"]
    candidates = []
    for wider in range(WIDTH_STEP, 3 * decoder, WIDTH_STEP):
        near = WIDTH_STEP * round(wider * encoder / decoder / WIDTH_STEP)
        for narrower in range(max(WIDTH_STEP, near - 2 * WIDTH_STEP), near + 3 * WIDTH_STEP, WIDTH_STEP):
            if abs(inner_parameters(model, narrower, wider) / target - 1) <= TOLERANCE:
                candidates.append((abs(narrower / wider - encoder / decoder), narrower, wider))
    if not candidates:
        raise S2SError(f"no hidden sizes give {model['name']} the {target:,} parameters of {other['name']}")
    return min(candidates)[1:]


def matched_feedforward(
    runner: JobRunner, common: Sequence[str], systems: Mapping[str, Sequence[str]], reference: str
) -> dict[str, list[str]]:
    """Overrides of each system of blocks, with feed-forward networks that give it the parameters of `reference`."""
    models = {name: runner.compose([*common, *overrides])["model"] for name, overrides in systems.items()}
    target, found = inner_parameters(models[reference]), {}
    for name, model in models.items():
        sides = [side for side in ("encoder", "decoder") if side in model]
        layers = sum(model[side]["layers"] for side in sides)
        each = (inner_parameters(model) - target) / layers  # a unit has 2 E weights and a bias
        change = round(each / (2 * model["embedding_size"] + 1))
        widths = {side: max(0, model[side]["feedforward"] - change) for side in sides}
        found[name] = [*systems[name], *(f"model.{side}.feedforward={width}" for side, width in widths.items())]
    return found


def inner_parameters(model: Mapping[str, Any], encoder: int | None = None, decoder: int | None = None) -> int:
    """Parameters of a `model` section without embeddings and output layer, optionally with other hidden sizes."""
    sizes = {name: size for name, size in {"encoder": encoder, "decoder": decoder}.items() if size}
    sections = {name: {**model[name], "hidden_size": size} for name, size in sizes.items()}
    with shapes_only():
        return count_parameters(build_model({**model, **sections}, 8, 8))[1]
