"""Sequential or parallel: the length of the dependency chain of matrix multiplications in a sentence, and its time.

A recurrent network computes h_t from h_{t-1}, so its matrix multiplications form a chain as long as the sentence: no
hardware can start a step before the previous one has ended. Self-attention computes all positions of a layer from the
layer below, so its chain has the same length for any sentence; only the amount of work grows, with T² scores instead of
T steps (Vaswani et al. 2017, table 1). The same is true of a convolution, with a constant number of inputs for each
position, and of a cell that is linear in its state (SSRU): it has all matrix multiplications before its recurrence,
which is element-wise.

The *chain* is counted, and so independent of the hardware. The *time* is that of whole training steps at a constant
number of tokens, batch × length, so that the length changes only the order of the work: fewer sentences in parallel,
more steps. A chain costs time only where work could be done in parallel: much less with few cores than on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from s2s.benchmark.machine import facts, medians
from s2s.benchmark.shapes import BlockShape, Shape, TransformerShape, model_section
from s2s.config import TrainingPrecision
from s2s.data.batching import Batch, collate
from s2s.data.tokenizer import EOS
from s2s.devices import keep_freed_memory
from s2s.lab.experiment import Conclusion, Description, Findings, Numbers, rising
from s2s.lab.plots import cell_style, legend, line, log_ticks, mean_line, panels, series_style
from s2s.lab.runner import CPU, JobRunner
from s2s.lab.statistics import MIN_SEEDS, above, all_of, mean_over_seeds, means_over_seeds
from s2s.models import build_model
from s2s.models.interface import Seq2Seq
from s2s.models.seq2seq import EncoderDecoder
from s2s.nn.recurrent import set_recurrence
from s2s.schema import PositiveInt


@dataclass(frozen=True)
class Settings:
    models: dict[str, Shape | BlockShape]
    lengths: list[PositiveInt]  # tokens of both sides
    tokens: PositiveInt  # of a batch: sentences × length
    vocabulary: PositiveInt
    precision: TrainingPrecision
    repetitions: PositiveInt  # steps of a round, whose median counts
    rounds: PositiveInt  # for the interval

    @property
    def recurrent(self) -> list[str]:
        return [name for name, shape in self.models.items() if not isinstance(shape, (TransformerShape, BlockShape))]

    @property
    def self_attention(self) -> list[str]:
        return [name for name, shape in self.models.items() if isinstance(shape, TransformerShape)]


def check(settings: Settings) -> list[str]:
    kinds = {"recurrent": settings.recurrent, "self-attention": settings.self_attention}
    return [
        *rising("lengths", settings.lengths, compared=True),
        *(f"models has no {kind} network: they are compared" for kind, names in kinds.items() if not names),
    ]


def measure(settings: Settings, runner: JobRunner) -> Numbers:
    """Chain and step times of each model by length; times have one list for each round."""
    if settings.precision == "auto":
        settings = replace(settings, precision=runner.precision)
    times = runner.run({"training steps": partial(step_times, settings)})["training steps"]
    counts = runner.run({"chains": partial(chains, settings.models, settings.lengths)})["chains"]
    return {
        "lengths": settings.lengths,
        "tokens": settings.tokens,
        "recurrent": settings.recurrent,
        "self_attention": settings.self_attention,
        "chains": counts,
        **times,
    }


def step_times(settings: Settings) -> dict[str, Any]:
    """Seconds of a training step of each model at each length, for each round."""
    keep_freed_memory()
    torch.manual_seed(1)
    steps: dict[str, Callable[[], object]] = {}
    for name, shape in settings.models.items():
        model = build_model(model_section(asdict(shape)), settings.vocabulary, settings.vocabulary)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
        for length in settings.lengths:
            batch = random_batch(max(1, settings.tokens // length), length, settings.vocabulary)
            steps[f"{name} {length}"] = partial(training_step, model, optimizer, batch, settings.precision == "bf16")
    rounds = [medians(steps, settings.repetitions, CPU, lambda: None) for _ in range(settings.rounds)]
    machine = facts(CPU)
    return {
        "seconds": {
            name: [[seconds[f"{name} {length}"] for length in settings.lengths] for seconds in rounds]
            for name in settings.models
        },
        "machine": {key: machine[key] for key in ("processor", "threads")},
    }


def chains(models: Mapping[str, Shape | BlockShape], lengths: Sequence[int]) -> dict[str, list[int]]:
    """The chain of each model at each length."""
    return {name: [chain(shape, length) for length in lengths] for name, shape in models.items()}


def random_batch(sentences: int, length: int, vocabulary: int) -> Batch:
    """Sentences of `length` random tokens on both sides."""
    source, target = torch.randint(EOS + 1, vocabulary, (2, sentences, length)).tolist()
    return collate(source, target, range(sentences))


def training_step(model: Seq2Seq, optimizer: torch.optim.Optimizer, batch: Batch, bf16: bool) -> None:
    """Forward, backward, update."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        sums = model(batch)
    (sums.loss / sums.tokens).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def chain(shape: Shape | BlockShape, length: int) -> int:
    """The longest dependency chain of matrix multiplications in a model's forward pass over one sentence pair.

    It ends at the decoder's last hidden states: the loss is computed in blocks, whose sequence saves memory and is no
    dependency.
    """
    model = build_model(model_section(asdict(shape)), 10, 10).eval()
    assert isinstance(model, EncoderDecoder)
    set_recurrence(model, "loop", CPU)  # as in the equations
    with torch.no_grad(), ChainCounter() as counter:
        batch = random_batch(1, length, 10)
        model.decoder(model.target_embedding(batch.target_input), model.start(batch.source, batch.source_mask))
    return int(counter.longest)


class ChainCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Dispatch mode that counts the matrix multiplications in sequence that each tensor depends on, its depth.

    The depth of a result is the largest depth of its inputs, plus one for a matrix multiplication. It is that of a
    storage: an in-place operation gives its depth to all tensors that share it.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.longest = 0
        self._depths: dict[int, int] = {}  # by storage
        self._alive: list[Tensor] = []  # so that addresses of storages stay unique

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        before = max((self._depths.get(_storage(tensor), 0) for tensor in _tensors((args, kwargs))), default=0)
        depth = before + (func.overloadpacket in flop_registry)
        for tensor in _tensors(result):
            self._alive.append(tensor)
            self._depths[_storage(tensor)] = max(depth, self._depths.get(_storage(tensor), 0))
        self.longest = max(self.longest, depth)
        return result


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def analyse(numbers: Numbers) -> Findings:
    lengths, counts, recurrent, seconds = (numbers[key] for key in ("lengths", "chains", "recurrent", "seconds"))
    short, long = lengths[0], lengths[-1]
    growth = {name: (chain[-1] - chain[0]) / (long - short) for name, chain in counts.items()}
    slowdown = {name: mean_over_seeds([in_round[-1] / in_round[0] for in_round in seconds[name]]) for name in counts}
    rows = [
        [
            name,
            *(str(counts[name][n]) for n in (0, -1)),
            *(f"{1000 * mean_over_seeds([in_round[n] for in_round in seconds[name]]).mean:.0f}" for n in (0, -1)),
            slowdown[name].text(),
        ]
        for name in counts
    ]
    # Time of a recurrent model relative to one with self-attention, at the shortest and the longest length.
    ratios = {
        (name, other): [
            mean_over_seeds([a[n] / b[n] for a, b in zip(seconds[name], seconds[other], strict=True)]) for n in (0, -1)
        ]
        for name in recurrent
        for other in numbers["self_attention"]
    }
    all_grow = ", ".join(f"{name} {growth[name]:g} ({chain[-1]} in all at {long})" for name, chain in counts.items())
    relative = "; ".join(
        f"{name} takes {first.mean:.2f} times the time of {other} at {short} tokens, {last.mean:.2f} times at {long}"
        for (name, other), (first, last) in ratios.items()
    )
    threads = numbers["machine"]["threads"]
    sentences = [
        "Each further token on both sides adds this many matrix multiplications to the longest dependency chain: "
        f"{all_grow}.",
        f"With {numbers['tokens']:,} tokens in each batch, the time of a step at {long} tokens a sentence relative to "
        f"{short} is: {', '.join(f'{name} {ratio.mean:.1f}' for name, ratio in slowdown.items())}.",
        f"{relative[0].upper()}{relative[1:]}.",
        f"These are times of {threads} {'thread' if threads == 1 else 'threads'} of {numbers['machine']['processor']}: "
        "with little parallelism, a long chain costs only as much as its steps are small. On hardware that runs "
        "thousands of multiplications in parallel, the chain itself bounds the time.",
    ]
    columns = ["model", f"chain at {short}", f"at {long}", f"ms a step at {short}", f"at {long}", "ratio"]
    if len(next(iter(seconds.values()))) < MIN_SEEDS:
        return Findings(sentences, columns, rows)
    grows: list[Conclusion] = [
        "supported" if (growth[name] > 0 if name in recurrent else growth[name] == 0) else "not supported"
        for name in counts
    ]
    saves = [above(last, 1.0) for _, last in ratios.values()]
    reason = (
        f"parallel: {all_of(grows)}, the chain grows by {', '.join(f'{name} {growth[name]:g}' for name in recurrent)} "
        f"for each token, that of {' and '.join(name for name in counts if name not in recurrent)} does not (counted). "
        f"More efficient, on this machine: {all_of(saves)}, "
        f"ratios of times at {long} tokens: "
        + "; ".join(f"{name} / {other} {last.text(2)}" for (name, other), (_, last) in ratios.items())
    )
    return Findings(sentences, columns, rows, all_of([*grows, *saves]), reason)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    x = "tokens of a sentence"
    figure, (left, right) = panels(
        narrow,
        ("Dependency chain", x, "matrix multiplications in sequence"),
        (f"Time of a training step, {numbers['tokens']:,} tokens", x, "ms a step"),
    )
    lengths = numbers["lengths"]
    for number, (name, chain) in enumerate(numbers["chains"].items()):
        style = cell_style("transformer") if name in numbers["self_attention"] else series_style(number)
        line(left, lengths, chain, style, name)
        means = [mean.scaled(1000) for mean in means_over_seeds(numbers["seconds"][name])]
        mean_line(right, lengths, means, style, name)
    for axes in (left, right):
        log_ticks(axes, lengths)
    left.set_yscale("log")
    ticks = [n * 10**power for power in range(6) for n in (1, 3)]
    lowest, highest = left.get_ylim()
    left.set_yticks(*zip(*((n, f"{n:,}") for n in ticks if lowest <= n <= highest), strict=True))
    left.minorticks_off()
    right.set_ylim(bottom=0)
    return legend(figure)


DESCRIPTION = Description(
    title="One by one, or all at once?",
    claim="This way of computing is too slow: an RNN has to read the words of a sentence one by one before it can "
    "put anything out. Self-attention can be computed in parallel and is more efficient.",
    chapter="chapter 0 (3): seq2seq, attention, Transformer",
    setup="Recurrent models, a Transformer, and its blocks with a linear recurrence (SSRU) or a convolution in "
    "place of self-attention, with about as many weights, on random tokens, source and target equally long. "
    "Left: the longest chain of matrix multiplications up to the decoder's last hidden states in which each "
    "needs the result of the one before it, counted. Right: the time of whole training steps at a constant "
    "number of tokens a batch (the longer the sentences, the fewer); the models alternate, medians.",
)
