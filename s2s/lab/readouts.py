"""Why a plain RNN cannot translate: where its outputs come from.

A cell reads one symbol at each step. What can be read off it?

- **N to N**: an output at each step. There are as many outputs as inputs, and the output at step t knows the inputs up
  to t only (`both ways` adds a second layer that reads from the end, and lifts that limit).
- **N to 1**: one output, from the last state. It knows all inputs, but is a single one.
- **1 to N**: the first input sets the state, and the network then reads its own outputs until it writes an end. It can
  write any number of them, but knows one input.
- **N to M**, the encoder–decoder: N to 1 whose output is the whole last state, then 1 to N that begins with it. The
  step at which a symbol is read has nothing to do any more with the step at which one is written.

What is translated is a toy language (`s2s.lab.toy_language`); the networks are those of `s2s.lab.readout_networks`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from s2s.data.batching import Batch, collate
from s2s.evaluation.report.canvas import INK
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers, Verdict
from s2s.lab.fit import fit, seeded
from s2s.lab.look import axis_labels, legend, numbered, panels
from s2s.lab.readout_networks import ENCODER_DECODER, READOUTS, Sizes, readout
from s2s.lab.statistics import SEEDS_FOR_A_VERDICT, above, all_of, below, mean_over_seeds
from s2s.lab.toy_language import Examples, draw_examples, lexicon
from s2s.schema import build

LENGTHS = ["M < N", "M = N", "M > N"]
SOLVED = 90  # % of exact translations


@dataclass(frozen=True)
class Settings:
    sizes: Sizes
    seeds: list[int]


def measure(settings: Settings, bench: Bench) -> Numbers:
    """For each readout a list over seeds of what `translated` returns."""
    sizes = dataclasses.asdict(settings.sizes)
    jobs = {
        f"{name}, seed {seed}": partial(translated, name, seed, sizes) for seed in settings.seeds for name in READOUTS
    }
    done = bench.each(jobs)
    return {"readouts": {name: [done[f"{name}, seed {seed}"] for seed in settings.seeds] for name in READOUTS}}


def length_class(source: Sequence[int], target: Sequence[int]) -> str:
    """One of LENGTHS."""
    return LENGTHS[(len(target) > len(source)) - (len(target) < len(source)) + 1]


def at_most(name: str, examples: Examples) -> list[bool]:
    """Which translations the structure of a readout allows; no training can do better in these examples."""
    source, target = examples
    if name == "1 to N":  # the same for the same first symbol: at best what is most frequent after it
        seen: dict[int, Counter[tuple[int, ...]]] = {}
        for one, other in zip(source, target, strict=True):
            seen.setdefault(one[0], Counter())[tuple(other)] += 1
        best = {symbol: counts.most_common(1)[0][0] for symbol, counts in seen.items()}
        return [tuple(other) == best[one[0]] for one, other in zip(source, target, strict=True)]
    if name == ENCODER_DECODER:
        return [True] * len(source)
    return [len(other) <= (1 if name == "N to 1" else len(one)) for one, other in zip(source, target, strict=True)]


def translated(name: str, seed: int, sizes: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Trains and tests one readout.

    Returns:
        for each of LENGTHS: examples; right: share of exact translations; at_most: see `at_most`.
    """
    told = build(Sizes, sizes)
    words = lexicon(seed)
    with seeded(seed):
        model = readout(name, told)
    training, later = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(1_000_000 + seed)

    def batch(count: int, generator: torch.Generator) -> tuple[Examples, Batch]:
        examples = draw_examples(words, count, told.shortest, told.longest, generator)
        return examples, collate(*examples, np.arange(count))

    fit(model, lambda: model.loss(batch(told.batch, training)[1]), told.fit)
    examples, whole = batch(told.examples, later)
    classes = [length_class(*pair) for pair in zip(*examples, strict=True)]
    right, found = model.right(whole), {}
    for one in LENGTHS:
        chosen = [number for number, other in enumerate(classes) if other == one]
        these = Examples([examples.source[n] for n in chosen], [examples.target[n] for n in chosen])
        found[one] = {
            "examples": len(chosen),
            "right": sum(right[number] for number in chosen) / max(1, len(chosen)),
            "at_most": sum(at_most(name, these)) / max(1, len(chosen)),
        }
    return found


# ---------------------------------------------------------------------------------------------- what follows from it


def find(numbers: Numbers) -> Findings:
    readouts, rows, limits = numbers["readouts"], [], {}
    right: dict[str, dict[str, list[float]]] = {}
    for name, runs in readouts.items():
        right[name] = {one: [100 * run[one]["right"] for run in runs] for one in LENGTHS}
        limits[name] = {one: 100 * max(run[one]["at_most"] for run in runs) for one in LENGTHS}
        cells = [
            mean_over_seeds(right[name][one]).percent()
            + ("" if limits[name][one] == 100 else f" (at most {limits[name][one]:.0f})")
            for one in LENGTHS
        ]
        rows.append([name, *cells])
    mean = {name: {one: mean_over_seeds(values).mean for one, values in by.items()} for name, by in right.items()}
    both = mean[ENCODER_DECODER]
    sentences = [
        f"N to N writes one symbol for each it reads, so there is no place for more: where M > N it is right in "
        f"{mean['N to N']['M > N']:.0f} %. And the first symbol must be written when only one was read; reading both "
        f"ways lifts that limit (M = N: {mean['N to N']['M = N']:.0f} % → {mean['N to N, both ways']['M = N']:.0f} %), "
        f"but not the other (M > N: {mean['N to N, both ways']['M > N']:.0f} %).",
        "N to 1 has read everything when it writes, but writes once; 1 to N writes as much as it likes, but has read "
        f"one symbol. With M > N they are right in {mean['N to 1']['M > N']:.0f} % and "
        f"{mean['1 to N']['M > N']:.0f} %.",
        "The encoder–decoder puts these two together: N to 1 hands over its whole last state, 1 to M starts from it "
        f"and says itself when it ends. It is right in {both['M < N']:.0f} % where the output is shorter, in "
        f"{both['M = N']:.0f} % where it is as long, in {both['M > N']:.0f} % where it is longer.",
    ]
    verdict, reason = _judge(right)
    return Findings(sentences, ["readout", *LENGTHS], rows, verdict, reason)


def _judge(right: dict[str, dict[str, list[float]]]) -> tuple[Verdict | None, str]:
    """The encoder–decoder must translate; the others must fail in more than half where M ≠ N."""
    if len(right[ENCODER_DECODER]["M > N"]) < SEEDS_FOR_A_VERDICT:
        return None, ""
    unequal = {"M < N": READOUTS[:3], "M > N": READOUTS[:4]}  # by whom it must not be done
    best = {
        one: mean_over_seeds([max(values) for values in zip(*(right[name][one] for name in others), strict=True)])
        for one, others in unequal.items()
    }
    ours = {one: mean_over_seeds(right[ENCODER_DECODER][one]) for one in LENGTHS}
    verdict = all_of([*(above(share, SOLVED) for share in ours.values()), *(below(one, 50) for one in best.values())])
    return verdict, (
        f"exact translations of the encoder–decoder, of which {SOLVED} % are asked: "
        + ", ".join(f"{share.percent()} ({one})" for one, share in ours.items())
        + f"; of the best other readout, of which less than half are asked: {best['M > N'].percent()} (M > N), "
        f"{best['M < N'].percent()} (M < N, there without the one that reads both ways, which the claim does not name)"
    )


def draw(numbers: Numbers, narrow: bool) -> Figure:
    figure, (axes,) = panels([""], narrow)
    count, width, limited = len(READOUTS), 0.16, list[Any]()
    for place, (name, runs) in enumerate(numbers["readouts"].items()):
        for at, one in enumerate(LENGTHS):
            x = at + (place - (count - 1) / 2) * width
            score = mean_over_seeds([100 * run[one]["right"] for run in runs])
            look, label = numbered(place), name if at == 0 else None
            axes.bar(x, score.mean, width * 0.9, color=look.light, label=label, zorder=3)
            most, top = 100 * max(run[one]["at_most"] for run in runs), score.mean
            if most < 100:
                limit = None if limited else "most possible"
                limited = axes.plot(
                    [x - width * 0.45, x + width * 0.45], [most] * 2, color=INK, lw=1.4, label=limit, zorder=4
                )
                top = most if most - top < 8 else top  # the number stands clear of the line
            if not narrow:
                axes.annotate(
                    f"{score.mean:.0f}", (x, top), (0, 3),
                    textcoords="offset points", ha="center", fontsize=8, color=INK,
                )  # fmt: skip
    words = ["output shorter: M < N", "as long: M = N", "longer: M > N"]
    axes.set_xticks(range(len(LENGTHS)), [word.replace(": ", ":\n") if narrow else word for word in words])
    axes.set_ylim(0, 112)
    axis_labels(axes, "", "exact translations, %")
    legend(figure, axes)
    return figure


EXPERIMENT = Experiment(
    name="readouts",
    title="N to N, 1 to N, N to 1: why not N to M?",
    claim="Limited by its structure, an RNN can only do N to N, 1 to N or N to 1; such an N to M problem gives it a "
    "headache (why?). Seq2seq, with an encoder and a decoder, solved it when the two sides differ in their number of "
    "words.",
    chapter="chapter 0 (3): what is seq2seq?",
    setup="A toy language in which each of 8 source symbols stands for 0 to 3 target symbols, in reversed order. The "
    "same cell is read out in four ways and in an encoder–decoder with a fixed-size encoding; the share of "
    "exact translations of new sentences of N symbols, by the length M of the translation. A readout can do it if it "
    "is right in nine tenths, and cannot if it fails in more than half.",
    settings=Settings,
    measure=measure,
    find=find,
    draw=draw,
    check=lambda settings: (
        ["sizes.shortest is more than sizes.longest"] if settings.sizes.shortest > settings.sizes.longest else []
    ),
)
