"""What the contracts of cells and of mixers share: small models in float64, comparisons, and the list of failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from s2s.config import DecodingConfig
from s2s.data.batching import collate, pad_with_eos
from s2s.decoding.search import search
from s2s.errors import S2SError
from s2s.models import build_model
from s2s.models.interface import Seq2Seq
from s2s.registry import Registry

T = TypeVar("T")

VOCABULARY = 9


class ContractError(Exception):
    """A property does not hold; the message names it and the likely cause."""


Check = Callable[..., None]


def check_contract(
    kind: type[T],
    registry: Registry[T],
    make: Callable[..., T],
    checks: Sequence[Check],
    models: Callable[[str], Iterable[tuple[Callable[[], Seq2Seq], str]]],
) -> None:
    """Runs the checks on a class, and, if all hold, those of models with it.

    Args:
        make: an instance, the argument of `checks`.
        models: from the name under which the class is registered meanwhile, makers of small models, each with a
            description.

    Raises:
        S2SError: the class does not derive from the registry's base, or a property does not hold; lists all failures.
    """
    what, base = registry.kind, f"{registry.base.__module__}.{registry.base.__qualname__}"
    if not (isinstance(kind, type) and issubclass(kind, registry.base)):
        raise S2SError(f"check_{what} takes a class that derives from {base}, not {kind!r}")
    name = f"{what} under test"
    with _in_float64(), _registered(registry, name, kind):
        failures = [text for check in checks if (text := _failure(check, make)) is not None]
        if not failures:  # models of a broken class fail too, with less specific messages
            failures = [t for pair in models(name) for check in MODEL_CHECKS if (t := _failure(check, *pair))]
    if failures:
        listed = "; ".join(f"({number}) {text}" for number, text in enumerate(failures, 1))
        raise S2SError(f"{kind.__name__} is not a {what} that works everywhere: {listed}")


def _failure(check: Check, *arguments: Any) -> str | None:
    try:
        check(*arguments)
    except ContractError as error:
        return str(error)
    except Exception as error:
        text = (check.__doc__ or "").strip().rstrip(".")
        return f"{text[:1].lower()}{text[1:]}: raises {type(error).__name__}: {(str(error) or text).splitlines()[0]}"
    return None


def _batched_search_equals_single(make: Callable[[], Seq2Seq], name: str) -> None:
    """Beam search returns the same translation alone and in a batch."""
    model = make()
    sources = [[4, 5], [6], [7, 8, 4, 5, 6]]
    limits = [len(s) + 3 for s in sources]
    together = search(model, *pad_with_eos(sources), BEAM, limits)
    for row, ids in enumerate(sources):
        (alone,) = search(model, *pad_with_eos([ids]), BEAM, [limits[row]])
        same = together[row][0].tokens == alone[0].tokens
        require(same, f"in a model {name}, beam search translates a sentence differently in a batch and alone")


def _steps_equal_teacher_forcing(make: Callable[[], Seq2Seq], name: str) -> None:
    """Stepwise decoding and teacher forcing give the same probabilities."""
    model = make()
    batch = collate([[4, 5, 6], [7]], [[8, 4], [5, 6, 7]], [0, 1])
    state, columns = model.start(batch.source, batch.source_mask), []
    for previous, target in zip(batch.target_input.unbind(1), batch.target.unbind(1), strict=True):
        logits, state = model.step(previous, state)
        columns.append(logits.log_softmax(1).gather(1, target.unsqueeze(1)))
    same = close(torch.cat(columns, 1) * batch.target_mask, model.log_probs(batch))
    require(same, f"in a model {name}, stepwise decoding differs from teacher forcing")


MODEL_CHECKS = (_steps_equal_teacher_forcing, _batched_search_equals_single)
BEAM = DecodingConfig(
    name="contract", strategy="beam", beam=3, length_penalty=1.0, n_best=1, temperature=1.0, max_ratio=1.0,
    max_extra=3, max_source=100, batch_tokens=1000, precision="fp32", seed=1,
)  # fmt: skip


def random_model(section: dict[str, Any]) -> Seq2Seq:
    return randomize(build_model(section, VOCABULARY, VOCABULARY)).eval()  # type: ignore[no-any-return]


def require(condition: bool, message: str) -> None:
    if not condition:
        raise ContractError(message)


def close(mine: Tensor, other: Tensor) -> bool:
    return mine.shape == other.shape and torch.allclose(mine, other, rtol=1e-9, atol=1e-10)


def all_close(mine: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return all(close(a, b) for a, b in zip(mine, others, strict=True))


def randomize(module: Any) -> Any:
    """The module in float64, with noise on its weights: at initialisation many may be 0 or equal."""
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    return module


@contextmanager
def _in_float64() -> Iterator[None]:
    """Context with default dtype float64 and a fixed seed; restores dtype and random state."""
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


@contextmanager
def _registered(registry: Registry[T], name: str, kind: type[T]) -> Iterator[None]:
    registry[name] = kind
    try:
        yield
    finally:
        del registry[name]
