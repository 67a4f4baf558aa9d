"""Why a plain RNN cannot translate: the wiring of its inputs and outputs.

A cell reads one symbol at each step. Its outputs can be wired in four ways:

- **N to N**: an output at each step. There are as many outputs as inputs, and the output at step t depends on the
  inputs up to t only (`both ways` adds a layer in the other direction, which lifts that limit).
- **N to 1**: one output, from the last state. It depends on all inputs, but is a single one.
- **1 to N**: the first input sets the state, and the network then reads its own outputs until it predicts an end. Any
  number of outputs is possible, but they depend on one input.
- **N to M**, the encoder–decoder: N to 1 with the whole last state as its output, then 1 to N from this state. Input
  and output steps are independent.

The task is the translation of a toy language (`s2s.lab.toy_language`); the networks are in `s2s.lab.readout_networks`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from s2s.evaluation.report.canvas import INK
from s2s.lab.experiment import Conclusion, Description, Findings, Numbers
from s2s.lab.fit import fit, seeded
from s2s.lab.plots import legend, note, panels, series_style
from s2s.lab.readout_networks import ENCODER_DECODER, NETWORKS, Sizes, build_network
from s2s.lab.runner import JobRunner
from s2s.lab.statistics import MIN_SEEDS, above, all_of, below, mean_over_seeds
from s2s.lab.tasks import generators
from s2s.lab.toy_language import Pair, as_batch, lexicon, sample_examples

LENGTHS = ["M < N", "M = N", "M > N"]
SOLVED = 90  # % of exact translations


@dataclass(frozen=True)
class Settings:
    sizes: Sizes
    seeds: list[int]


def check(settings: Settings) -> list[str]:
    return ["sizes.shortest is more than sizes.longest"] if settings.sizes.shortest > settings.sizes.longest else []


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """For each network a list over seeds of the results of `translated`."""
    results = runner.run_seeds(
        NETWORKS, settings.seeds, lambda name, seed: partial(translated, name, seed, settings.sizes)
    )
    return {"readouts": results}


def length_class(source: Sequence[int], target: Sequence[int]) -> str:
    """One of LENGTHS."""
    return LENGTHS[(len(target) > len(source)) - (len(target) < len(source)) + 1]


def possible(name: str, examples: Sequence[Pair]) -> list[bool]:
    """Whether the wiring of a network allows each translation: an upper bound of any training on these examples."""
    if name == ENCODER_DECODER:
        return [True] * len(examples)
    if name == "1 to N":  # one translation per first symbol: at best the most frequent one
        counts: dict[int, Counter[tuple[int, ...]]] = {}
        for source, target in examples:
            counts.setdefault(source[0], Counter())[tuple(target)] += 1
        best = {symbol: targets.most_common(1)[0][0] for symbol, targets in counts.items()}
        return [tuple(target) == best[source[0]] for source, target in examples]
    return [len(target) <= (1 if name == "N to 1" else len(source)) for source, target in examples]


def translated(name: str, seed: int, sizes: Sizes) -> dict[str, dict[str, float]]:
    """Trains and tests one network.

    Returns:
        for each of LENGTHS: examples; right: share of exact translations; at_most: share of those that are `possible`.
    """
    words = lexicon(seed)
    with seeded(seed):
        model = build_network(name, sizes)
    training, test = generators(seed)
    spread = (sizes.shortest, sizes.longest)
    fit(model, lambda: model.loss(as_batch(sample_examples(words, sizes.batch, *spread, training))), sizes.fit)
    examples = sample_examples(words, sizes.examples, *spread, test)
    right = model.right(as_batch(examples))
    results = {}
    for length in LENGTHS:
        chosen = [n for n, pair in enumerate(examples) if length_class(*pair) == length]
        results[length] = {
            "examples": len(chosen),
            "right": sum(right[n] for n in chosen) / max(1, len(chosen)),
            "at_most": sum(possible(name, [examples[n] for n in chosen])) / max(1, len(chosen)),
        }
    return results


def _percent(numbers: Numbers, key: str) -> dict[str, dict[str, list[float]]]:
    """By network and length class: a list over seeds."""
    return {
        name: {length: [100 * run[length][key] for run in runs] for length in LENGTHS}
        for name, runs in numbers["readouts"].items()
    }


def analyse(numbers: Numbers) -> Findings:
    accuracies, limits = _percent(numbers, "right"), _percent(numbers, "at_most")
    means = {
        name: {length: mean_over_seeds(values) for length, values in by_length.items()}
        for name, by_length in accuracies.items()
    }
    rows = []
    for name, by_length in means.items():
        most = {length: max(limits[name][length]) for length in LENGTHS}
        bounds = {length: "" if limit == 100 else f" (at most {limit:.0f})" for length, limit in most.items()}
        rows.append([name, *(mean.percent() + bounds[length] for length, mean in by_length.items())])
    shorter, equal, longer = ({name: by_length[length].mean for name, by_length in means.items()} for length in LENGTHS)
    sentences = [
        "N to N has one output per input symbol, so longer outputs are impossible: where M > N its accuracy is "
        f"{longer['N to N']:.0f} %. And it must predict the first symbol after reading only one; reading both ways "
        f"lifts that limit (M = N: {equal['N to N']:.0f} % → {equal['N to N, both ways']:.0f} %), but not the other "
        f"(M > N: {longer['N to N, both ways']:.0f} %).",
        "N to 1 has read everything at its output, but has a single output; 1 to N has any number of outputs, but has "
        f"read one symbol. With M > N their accuracies are {longer['N to 1']:.0f} % and {longer['1 to N']:.0f} %.",
        "The encoder–decoder combines these two: N to 1 hands over its whole last state, 1 to M starts from it and "
        f"predicts its own end. Its accuracy is {shorter[ENCODER_DECODER]:.0f} % for shorter outputs, "
        f"{equal[ENCODER_DECODER]:.0f} % for equal lengths, {longer[ENCODER_DECODER]:.0f} % for longer outputs.",
    ]
    return Findings(sentences, ["network", *LENGTHS], rows, *_conclusion(accuracies))


def _conclusion(accuracies: Mapping[str, Mapping[str, list[float]]]) -> tuple[Conclusion | None, str]:
    """The encoder–decoder must translate; the others must fail in more than half where M ≠ N."""
    if len(accuracies[ENCODER_DECODER]["M > N"]) < MIN_SEEDS:
        return None, ""
    others = {"M < N": NETWORKS[:3], "M > N": NETWORKS[:4]}
    best = {
        length: mean_over_seeds([max(seed) for seed in zip(*(accuracies[name][length] for name in names), strict=True)])
        for length, names in others.items()
    }
    exact = {length: mean_over_seeds(accuracies[ENCODER_DECODER][length]) for length in LENGTHS}
    conclusion = all_of([*(above(mean, SOLVED) for mean in exact.values()), *(below(one, 50) for one in best.values())])
    return conclusion, (
        f"exact translations of the encoder–decoder (threshold {SOLVED} %): "
        + ", ".join(f"{mean.percent()} ({length})" for length, mean in exact.items())
        + f"; of the best other network (threshold 50 %): {best['M > N'].percent()} (M > N), {best['M < N'].percent()} "
        "(M < N, there without the bidirectional one, which the claim does not name)"
    )


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, (axes,) = panels(narrow, ("", "", "exact translations, %"))
    width, limits, limit_label = 0.16, _percent(numbers, "at_most"), "upper bound"
    for number, (name, by_length) in enumerate(_percent(numbers, "right").items()):
        for group, (length, values) in enumerate(by_length.items()):
            x = group + (number - (len(NETWORKS) - 1) / 2) * width
            mean, limit = mean_over_seeds(values).mean, max(limits[name][length])
            label = name if group == 0 else None
            axes.bar(x, mean, width * 0.9, color=series_style(number).light, label=label, zorder=3)
            top = mean
            if limit < 100:
                ends = [x - width * 0.45, x + width * 0.45]
                axes.plot(ends, [limit] * 2, color=INK, lw=1.4, label=limit_label or None, zorder=4)
                limit_label = ""
                top = limit if limit - mean < 8 else mean  # keeps the number clear of the line
            if not narrow:
                note(axes, f"{mean:.0f}", (x, top), (0, 3), ha="center", fontsize=8, color=INK)
    labels = ["output shorter: M < N", "equal: M = N", "longer: M > N"]
    axes.set_xticks(range(len(LENGTHS)), [label.replace(": ", ":\n") if narrow else label for label in labels])
    axes.set_ylim(0, 112)
    return legend(figure)


DESCRIPTION = Description(
    title="N to N, 1 to N, N to 1: why not N to M?",
    claim="Limited by its structure, an RNN can only do N to N, 1 to N or N to 1; such an N to M problem gives it a "
    "headache (why?). Seq2seq, with an encoder and a decoder, solved it when the two sides differ in their number of "
    "words.",
    chapter="chapter 0 (3): what is seq2seq?",
    setup="A toy language in which each of 8 source symbols is translated by 0 to 3 target symbols, in reversed "
    "order. The same cell is used in four networks and in an encoder–decoder with a fixed-length context vector. The "
    "score is the share of exact translations of new sentences of N symbols, by the length M of the translation. A "
    "network can translate if it is right in nine tenths, and cannot if it fails in more than half.",
)
