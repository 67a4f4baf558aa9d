"""One word after another, or all at once: the chain of products that a sentence's length makes, and its time.

A recurrent network computes h_t from h_{t-1}, so its products stand in a chain as long as the sentence: no hardware can
begin a step before the one before it has ended. Self-attention computes all positions of a layer from the layer below,
so its chain has the same length for any sentence; what grows is the amount of work, T² scores instead of T steps
(Vaswani et al. 2017, table 1).

Two measurements. The *chain* is counted, the same on any hardware: each tensor of a forward pass gets as its depth the
largest number of matrix products that had to be done one after the other before it was there. The *time* is that of
whole training steps (forward, backward, update) at a constant number of tokens, batch × length, so that with length
only the order of the work changes: fewer sentences side by side, more steps. A chain costs time only where work could
have been done at once: with few cores much less than on a graphics processor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from s2s.benchmark.against import FixedShape, RecurrentShape, TransformerShape
from s2s.benchmark.machine import facts, medians
from s2s.benchmark.peers.ours import section
from s2s.config import TrainingPrecision
from s2s.data.batching import Batch, collate
from s2s.data.tokenizer import EOS
from s2s.devices import keep_freed_memory
from s2s.lab.bench import Bench
from s2s.lab.experiment import Experiment, Findings, Numbers, rising
from s2s.lab.look import axis_labels, legend, line, looks, numbered, panels
from s2s.lab.statistics import SEEDS_FOR_A_VERDICT, Mean, above, all_of, mean_over_seeds
from s2s.models import build_model
from s2s.models.interface import Seq2Seq
from s2s.models.seq2seq import EncoderDecoder
from s2s.nn.recurrent import set_recurrence
from s2s.schema import PositiveInt

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Settings:
    models: dict[str, FixedShape | RecurrentShape | TransformerShape]
    lengths: list[PositiveInt]  # tokens of both sides
    tokens: PositiveInt  # of a batch: sentences × length
    vocabulary: PositiveInt
    precision: TrainingPrecision
    repetitions: PositiveInt  # steps of a round, of which the median is taken
    rounds: PositiveInt  # for the interval


def measure(settings: Settings, bench: Bench) -> Numbers:
    """Chain and step times of each model by length; times have one list for each round."""
    given = asdict(settings) | {"precision": bench.precision if settings.precision == "auto" else settings.precision}
    timed = bench.each({"training steps": partial(step_times, given)})["training steps"]
    counted = bench.each({"chains": partial(chains, given["models"], settings.lengths)})["chains"]
    return {
        "lengths": settings.lengths,
        "tokens": settings.tokens,
        "recurrent": _recurrent(settings),
        "chains": counted,
        **timed,
    }


def _attending(settings: Settings) -> list[str]:
    return [name for name, shape in settings.models.items() if isinstance(shape, TransformerShape)]


def _recurrent(settings: Settings) -> list[str]:
    return [name for name in settings.models if name not in _attending(settings)]


def step_times(given: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds of a training step of each model at each length, for each round; all of them take turns.

    Args:
        given: `Settings` as plain values.
    """
    keep_freed_memory()
    torch.manual_seed(1)
    steps: dict[str, Callable[[], object]] = {}
    for name, shape in given["models"].items():
        model = build_model(section(shape), given["vocabulary"], given["vocabulary"])
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
        for length in given["lengths"]:
            batch = random_batch(max(1, given["tokens"] // length), length, given["vocabulary"])
            steps[f"{name} {length}"] = partial(training_step, model, optimizer, batch, given["precision"] == "bf16")
    rounds = [medians(steps, given["repetitions"], CPU, lambda: None) for _ in range(given["rounds"])]
    machine = facts(CPU)
    return {
        "seconds": {
            name: [[taken[f"{name} {length}"] for length in given["lengths"]] for taken in rounds]
            for name in given["models"]
        },
        "machine": {key: machine[key] for key in ("processor", "threads")},
    }


def chains(models: Mapping[str, Mapping[str, Any]], lengths: Sequence[int]) -> dict[str, list[int]]:
    """The chain of each model at each length."""
    return {name: [chain(shape, length) for length in lengths] for name, shape in models.items()}


def random_batch(sentences: int, length: int, vocabulary: int) -> Batch:
    """Sentences of `length` random tokens on both sides."""
    source, target = torch.randint(EOS + 1, vocabulary, (2, sentences, length)).tolist()
    return collate(source, target, range(sentences))


def training_step(model: Seq2Seq, optimizer: torch.optim.Optimizer, batch: Batch, half: bool) -> None:
    """Forward, backward, update."""
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        sums = model(batch)
    (sums.loss / sums.tokens).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def chain(shape: Mapping[str, Any], length: int) -> int:
    """Matrix products of a model's forward pass over one sentence pair that have to be done one after the other.

    Up to the decoder's last hidden vectors: the loss is computed in blocks, one after the other to save memory, not
    because one needs the other.
    """
    model = build_model(section(dict(shape)), 10, 10).eval()
    assert isinstance(model, EncoderDecoder)
    set_recurrence(model, "loop", CPU)  # as the equations have it
    with torch.no_grad(), Chain() as found:
        batch = random_batch(1, length, 10)
        model.decoder(model.target_embedding(batch.target_input), model.start(batch.source, batch.source_mask))
    return int(found.longest)


class Chain(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows all operations and notes for each tensor after how many products in a row it is there.

    An operation's result comes after the latest of its inputs, and one product later if it is one. Where an operation
    writes into memory, all tensors in that memory are there as late as what was written.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.longest = 0
        self._depths: dict[int, int] = {}  # by tensor
        self._written: dict[int, int] = {}  # by memory
        self._kept: list[Tensor] = []  # so that numbers of tensors and memory are not used again

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        before = max((self._depth(tensor) for tensor in _tensors((args, kwargs))), default=0)
        depth = before + (func.overloadpacket in flop_registry)
        for tensor in _tensors(result):
            self._kept.append(tensor)
            self._depths[id(tensor)] = depth
            if func._schema.is_mutable:
                self._written[_memory(tensor)] = max(depth, self._written.get(_memory(tensor), 0))
        self.longest = max(self.longest, depth)
        return result

    def _depth(self, tensor: Tensor) -> int:
        return max(self._depths.get(id(tensor), 0), self._written.get(_memory(tensor), 0))


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def slowdown(numbers: Numbers, name: str) -> list[float]:
    """How many times as long a step takes at the longest length as at the shortest, by round."""
    return [seconds[-1] / seconds[0] for seconds in numbers["seconds"][name]]


def advantage(numbers: Numbers, name: str, other: str, n: int) -> list[float]:
    """How many times as long a step of one model takes as one of another at length number n, by round."""
    pairs = zip(numbers["seconds"][name], numbers["seconds"][other], strict=True)
    return [mine[n] / theirs[n] for mine, theirs in pairs]


def find(numbers: Numbers) -> Findings:
    lengths, chains, recurrent = numbers["lengths"], numbers["chains"], numbers["recurrent"]
    short, long = lengths[0], lengths[-1]
    attending = [name for name in chains if name not in recurrent]
    growth = {name: (found[-1] - found[0]) / (long - short) for name, found in chains.items()}
    rows = [
        [
            name,
            *(str(chains[name][n]) for n in (0, -1)),
            *(f"{1000 * mean_over_seeds([s[n] for s in numbers['seconds'][name]]).mean:.0f}" for n in (0, -1)),
            mean_over_seeds(slowdown(numbers, name)).text(),
        ]
        for name in chains
    ]
    longer = ", ".join(f"{name} {growth[name]:g}" for name in recurrent)
    all_grow = ", ".join(f"{name} {growth[name]:g} ({found[-1]} in all at {long})" for name, found in chains.items())
    slower = ", ".join(f"{name} {mean_over_seeds(slowdown(numbers, name)).mean:.1f}" for name in chains)
    gains = {
        (name, other): [mean_over_seeds(advantage(numbers, name, other, n)) for n in (0, -1)]
        for name in recurrent
        for other in attending
    }
    told = "; ".join(
        f"{name} takes {first.mean:.2f} times the time of {other} at {short} tokens, {last.mean:.2f} times at {long}"
        for (name, other), (first, last) in gains.items()
    )
    threads = numbers["machine"]["threads"]
    sentences = [
        "Each further token on both sides adds so many products to the chain in which one waits for the other: "
        f"{all_grow}.",
        f"With {numbers['tokens']:,} tokens in each batch, a step at {long} tokens a sentence takes so many times "
        f"as long as one at {short}: {slower}.",
        f"{told[0].upper()}{told[1:]}.",
        f"These are times of {threads} {'thread' if threads == 1 else 'threads'} of {numbers['machine']['processor']}: "
        "with little done at once, a long chain costs only as much as its steps are small. Where thousands of products "
        "can be done at once, the chain itself bounds the time.",
    ]
    columns = ["model", f"chain at {short}", f"at {long}", f"ms a step at {short}", f"at {long}", "times as long"]
    rounds = len(next(iter(numbers["seconds"].values())))
    if rounds < SEEDS_FOR_A_VERDICT:
        return Findings(sentences, columns, rows)
    grows = [above(Mean(growth[name], growth[name], growth[name])) for name in recurrent]
    grows += ["supported" if growth[name] == 0 else "not supported" for name in attending]
    saves = [above(last, 1.0) for _, last in gains.values()]
    reason = (
        f"parallel: {all_of(grows)}, the chain grows by {longer} for each token, that of self-attention does not "
        f"(counted). More efficient, on this machine: {all_of(saves)}, times as long at {long} tokens: "
        + "; ".join(f"{name} / {other} {last.text(2)}" for (name, other), (_, last) in gains.items())
    )
    return Findings(sentences, columns, rows, all_of([*grows, *saves]), reason)


def draw(numbers: Numbers, narrow: bool) -> Figure:
    tokens = f"{numbers['tokens']:,} tokens"
    figure, (left, right) = panels(["Products that wait for one another", f"Time of a training step, {tokens}"], narrow)
    lengths = numbers["lengths"]
    for place, (name, found) in enumerate(numbers["chains"].items()):
        look = numbered(place) if name in numbers["recurrent"] else looks()["transformer"]
        line(left, lengths, found, look, name)
        means = [mean_over_seeds(values) for values in zip(*numbers["seconds"][name], strict=True)]
        parts = ([None if part is None else 1000 * part for part in ends] for ends in zip(*means, strict=True))
        middle, low, high = parts
        line(right, lengths, middle, look, name, low, high)  # type: ignore[arg-type]
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(lengths, [str(length) for length in lengths])
        axes.minorticks_off()
    left.set_yscale("log")
    products = [n * 10**power for power in range(6) for n in (1, 3)]
    lowest, highest = left.get_ylim()
    left.set_yticks(*zip(*((n, f"{n:,}") for n in products if lowest <= n <= highest), strict=True))
    left.minorticks_off()
    right.set_ylim(bottom=0)
    axis_labels(left, "tokens of a sentence", "products in a row")
    axis_labels(right, "tokens of a sentence", "ms a step")
    legend(figure, left)
    return figure


EXPERIMENT = Experiment(
    name="parallel",
    title="One by one, or all at once?",
    claim="This way of computing is too slow: an RNN has to read the words of a sentence one by one before it can put "
    "anything out. Self-attention can be computed in parallel and is more efficient.",
    chapter="chapter 0 (3): seq2seq, attention, Transformer",
    setup="Recurrent models and a Transformer with about as many weights on random tokens, source and target equally "
    "long. Left: the longest chain of matrix products up to the decoder's last hidden vectors in which each needs the "
    "result of the one before it, counted. Right: the time of whole training steps at a constant number of tokens a "
    "batch (the longer the sentences, the fewer); the models take turns, medians.",
    settings=Settings,
    measure=measure,
    find=find,
    draw=draw,
    check=lambda settings: [
        *rising("lengths", settings.lengths),
        *(["lengths must be two or more: they are compared"] if len(settings.lengths) < 2 else []),
        *(
            f"models has no {kind} network: they are compared"
            for kind, there in (("recurrent", _recurrent(settings)), ("self-attention", _attending(settings)))
            if not there
        ),
    ],
)
