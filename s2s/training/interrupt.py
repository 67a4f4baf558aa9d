"""Graceful stop of a run on Ctrl-C (SIGINT), SIGTERM, or SIGHUP (its terminal is gone).

The handler records the signal, and the trainer stops at the next point where it can save. In validation, which may be
long and changes no state, it stops at once. A second signal has its default effect.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

ENDING = tuple(number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None)


class Interrupted(Exception):  # noqa: N818 - not an error
    """A run was stopped by a signal after its state was saved; `step` is the number of updates done."""

    def __init__(self, step: int, number: int) -> None:
        super().__init__(f"stopped at update {step}; the same command resumes")
        self.step = step
        self.exit_code = 128 + number  # the shells' convention: 130 for Ctrl-C, 143 for SIGTERM


class _AbortError(BaseException):
    """Raised by the signal handler inside `Signals.unless_stopped`, and caught there."""


class Signals:
    """Context manager that catches the signals. Outside the main thread it has no effect."""

    def __init__(self) -> None:
        self.caught: int | None = None  # number of the first signal
        self._abort = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *ENDING):
                # A signal is left alone if it is ignored on purpose (nohup) or its handler is not Python's to restore.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)

    def unless_stopped(self, work: Callable[[], T]) -> T | None:
        """Returns the result of `work`, or None if a signal came before its end; the signal aborts it."""
        if self.caught is not None:
            return None
        self._abort = True
        try:
            result = work()
        except _AbortError:
            return None
        finally:
            self._abort = False
        return None if self.caught is not None else result  # `work` may have swallowed the exception

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.caught = number
        self.__exit__()
        if self._abort:
            self._abort = False
            raise _AbortError
