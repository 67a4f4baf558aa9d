"""Registries of classes that a configuration names: cells and mixers."""

from __future__ import annotations

from typing import Generic, TypeVar

from s2s.errors import S2SError
from s2s.schema import nearest
from s2s.user_modules import import_user_module

T = TypeVar("T")


class Registry(dict[str, type[T]], Generic[T]):
    """Classes of one kind by name; `find` also takes `module.Class` for a class outside of s2s.

    Args:
        kind: what the classes are, for error messages.
        base: their base class.
    """

    def __init__(self, kind: str, base: type[T]) -> None:
        super().__init__()
        self.kind = kind
        self.base = base

    def register(self, name: str, cls: type[T]) -> None:
        """Adds a class; raises S2SError if another one has the name."""
        names = [f"{one.__module__}.{one.__qualname__}" for one in (self.setdefault(name, cls), cls)]
        if names[0] != names[1]:  # the same name is a class that was edited and defined again
            raise S2SError(f"{self.kind} {name!r} is {names[0]} already: choose another name")
        self[name] = cls

    def find(self, name: str) -> type[T]:
        """The class registered under `name`, or the class at `module.Class`; raises S2SError if there is none."""
        if name in self:
            return self[name]
        module, _, class_name = name.rpartition(".")
        if not module:
            raise S2SError(f"unknown {self.kind} {name!r}; known, nearest first: {nearest(name, list(self))}")
        try:
            found = getattr(import_user_module(module), class_name, None)
        except S2SError as error:
            raise S2SError(f"{self.kind} {name}: {error}") from error
        if not (isinstance(found, type) and issubclass(found, self.base)):
            base = f"{self.base.__module__}.{self.base.__qualname__}"
            raise S2SError(f"{self.kind} {name}: {module} has no class {class_name} that derives from {base}")
        return found
