"""Checking plain values against a schema: a dataclass, or any callable with annotated keyword parameters.

Every unknown key, wrong type, value out of range and missing key is reported at once, with the key, the value and what
is allowed, nearest names first. The constructors of models and cells are schemas of their own sections, so nothing is
written down twice.

This module imports no other part of s2s but the error, so that everything may import it.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from s2s.errors import S2SError

T = TypeVar("T")


@dataclass(frozen=True)
class Bounds:
    """Closed range of a number; `below` is an exclusive upper end, `above` an exclusive lower one."""

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high and self.above < value < self.below

    def __str__(self) -> str:
        parts = []
        if self.low > -math.inf:
            parts.append(f"at least {self.low:g}")
        if self.above > -math.inf:
            parts.append(f"more than {self.above:g}")
        if self.high < math.inf:
            parts.append(f"at most {self.high:g}")
        if self.below < math.inf:
            parts.append(f"less than {self.below:g}")
        return " and ".join(parts)


PositiveInt = Annotated[int, Bounds(low=1)]
NonNegativeInt = Annotated[int, Bounds(low=0)]
PositiveFloat = Annotated[float, Bounds(above=0)]
NonNegativeFloat = Annotated[float, Bounds(low=0)]
Seed = Annotated[int, Bounds(low=0, high=2**64 - 1)]  # what torch takes
Layers = Annotated[int, Bounds(low=1, high=1000)]
Probability = Annotated[float, Bounds(low=0, below=1)]
Share = Annotated[float, Bounds(low=0, high=1)]


def nearest(word: str, known: Sequence[str], most: int | None = None) -> str:
    """Known names, nearest to `word` first and at most so many, as the end of an error message."""
    ordered = sorted(known, key=lambda name: (-difflib.SequenceMatcher(None, word, name).ratio(), name))
    return ", ".join(ordered[:most])


def check_call(
    target: Callable[..., Any], values: Mapping[str, Any], where: str, skip: Sequence[str] = ()
) -> list[str]:
    """Errors that calling `target(**values)` would meet, each as one clause with its key.

    `target` is a dataclass or any callable with annotated keyword parameters; `skip` names parameters that the caller
    supplies itself. Defaults make a key optional. `where` is the key of the section ("" for the top).
    """
    hints = _hints(target)
    parameters = [
        p
        for name, p in inspect.signature(target).parameters.items()
        if name not in skip and p.kind is not p.VAR_KEYWORD
    ]
    names = [p.name for p in parameters]
    errors = [
        f"unknown key {_join(where, key)} (known, nearest first: {nearest(str(key), names) or 'none'})"
        for key in values
        if key not in names
    ]
    for parameter in parameters:
        key = _join(where, parameter.name)
        if parameter.name in values:
            errors += _check_value(hints.get(parameter.name, Any), values[parameter.name], key)
        elif parameter.default is parameter.empty:
            errors.append(f"missing key {key}")
    return errors


def build(target: Callable[..., T], values: Mapping[str, Any]) -> T:
    """Calls `target` with checked values, turning nested sections into their dataclasses."""
    hints = _hints(target)
    return target(**{key: _convert(hints.get(key, Any), value) for key, value in values.items()})


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Types of the parameters; those of a user's cell that no name stands for at run time are not checked."""
    init: Any = target.__init__ if inspect.isclass(target) else target
    try:
        return typing.get_type_hints(init, include_extras=True)
    except (NameError, AttributeError, TypeError):
        return {name: hint for name, hint in getattr(init, "__annotations__", {}).items() if not isinstance(hint, str)}


def keys_of_type(target: Any, kind: Any, where: str = "") -> Iterator[str]:
    """Dotted keys of a dataclass whose values are of type `kind` (or None), those of nested sections included."""
    for name, hint in typing.get_type_hints(target).items():
        kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        for one in kinds:
            if dataclasses.is_dataclass(one):
                yield from keys_of_type(one, kind, _join(where, name))
            elif one == kind:
                yield _join(where, name)


def raise_all(errors: Sequence[str]) -> None:
    """Raises one `S2SError` for all errors, if there are any."""
    if len(errors) == 1:
        raise S2SError(f"config: {errors[0]}")
    if errors:
        raise S2SError(f"config: {len(errors)} errors: " + "; ".join(f"({i}) {e}" for i, e in enumerate(errors, 1)))


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _check_value(hint: Any, value: Any, key: str) -> list[str]:
    if hint is Any:
        return []
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        errors = _check_value(arguments[0], value, key)
        broken = [m for m in arguments[1:] if isinstance(m, Bounds) and not errors and not m.holds(value)]
        return errors + [f"{key}={value!r} must be {bounds}" for bounds in broken]
    if origin in (Union, types.UnionType):
        return _check_union(arguments, value, key)
    if origin is Literal:
        if value in arguments and type(value) in {type(a) for a in arguments}:
            return []
        return [f"{key}={value!r} is not one of: {nearest(str(value), [str(a) for a in arguments])}"]
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            return [f"{key}={value!r} must be a section with keys"]
        return check_call(typing.cast(Any, hint), value, key)
    kind = origin or hint
    if kind in (list, tuple, Sequence):
        if not isinstance(value, (list, tuple)):
            return [f"{key}={value!r} must be a list"]
        kinds = _item_kinds(kind, arguments, value)
        if len(kinds) != len(value):
            return [f"{key}={value!r} must have {len(kinds)} items"]
        return [
            e
            for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
            for e in _check_value(kind, item, f"{key}[{i}]")
        ]
    if kind in (dict, Mapping):
        if not isinstance(value, Mapping):
            return [f"{key}={value!r} must be a section with keys"]
        item_kind = arguments[1] if arguments else Any
        return [e for name, item in value.items() for e in _check_value(item_kind, item, _join(key, name))]
    return _check_scalar(hint, value, key)


def _item_kinds(kind: Any, arguments: Sequence[Any], value: Sequence[Any]) -> Sequence[Any]:
    """The type of each item of a list or tuple: `list[int]`, `tuple[int, str]`, `tuple[int, ...]`, or bare."""
    if not arguments:
        return [Any] * len(value)
    if kind is not tuple or arguments[-1] is Ellipsis:
        return [arguments[0]] * len(value)
    return arguments


def _check_union(arguments: Sequence[Any], value: Any, key: str) -> list[str]:
    if value is None and type(None) in arguments:
        return []
    kinds = [a for a in arguments if a is not type(None)]
    sections = {get_args(typing.get_type_hints(k)["type"])[0]: k for k in kinds if dataclasses.is_dataclass(k)}
    if sections:  # told apart by their `type`
        chosen = value.get("type") if isinstance(value, Mapping) else None
        if chosen not in sections:
            return [f"{key}.type={chosen!r} is not one of: {nearest(str(chosen), list(sections))}"]
        return _check_value(sections[chosen], value, key)
    attempts = [_check_value(kind, value, key) for kind in kinds]
    return [] if any(not errors for errors in attempts) else attempts[0]


def _check_scalar(hint: Any, value: Any, key: str) -> list[str]:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if hint not in words:
        return []
    fits = {
        int: isinstance(value, numbers.Integral) and not isinstance(value, bool),
        float: isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value),
        bool: isinstance(value, bool),
        str: isinstance(value, str),
    }[hint]
    return [] if fits else [f"{key}={value!r} must be {words[hint]}"]


def _convert(hint: Any, value: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _convert(arguments[0], value)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        sections = [a for a in arguments if dataclasses.is_dataclass(a)]
        if sections:
            hint = next(a for a in sections if value["type"] in get_args(typing.get_type_hints(a)["type"]))
            return build(typing.cast(Any, hint), value)
        return next(
            (_convert(a, value) for a in arguments if a is not type(None) and not _check_value(a, value, "")), value
        )
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(Any, hint), value)
    if hint is float:
        return float(value)
    kind = origin or hint
    if kind in (dict, Mapping):
        return {name: _convert(arguments[1] if arguments else Any, item) for name, item in value.items()}
    if kind in (list, tuple, Sequence):
        items = [_convert(a, v) for a, v in zip(_item_kinds(kind, arguments, value), value, strict=True)]
        return tuple(items) if kind is tuple else items
    return value


def value_of(values: Any, *keys: str) -> Any:
    """A value of nested sections that were not checked yet; None if it is not there."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def checked(target: Callable[..., T], values: Mapping[str, Any]) -> T:
    """`target` built from values, after all of them were checked.

    Raises:
        S2SError: naming every error.
    """
    raise_all(check_call(target, values, ""))
    return build(target, values)
