"""Stopping a run by Ctrl-C (SIGINT) or SIGTERM without losing work.

A signal is noted, and the trainer leaves at the next point where it can save. Where nothing is being changed (in
validation, which may be long) it leaves at once. A second signal does what it would do without this file.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):  # noqa: N818 - not an error
    """A run was stopped by a signal, and its state is saved.

    Attributes:
        step: updates done.
        exit_code: 130 for Ctrl-C, 143 for SIGTERM, as shells have it.
    """

    def __init__(self, step: int, number: int) -> None:
        super().__init__(f"stopped at step {step}; the same command resumes")
        self.step = step
        self.exit_code = 128 + number


class _Leave(BaseException):
    """Raised by a signal inside `Signals.unless_stopped`, and caught there."""


class Signals:
    """Context manager: catches the signals while it is open, in the main thread; elsewhere they cannot be caught.

    Attributes:
        caught: number of the first signal, None before.
    """

    def __init__(self) -> None:
        self.caught: int | None = None
        self._at_once = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                # Ignored on purpose (nohup), or handled by something that Python cannot put back: leave it.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, *error: object) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    def unless_stopped(self, work: Callable[[], T]) -> T | None:
        """What `work` returns; None if a signal came before its end, which cuts it short."""
        if self.caught is not None:
            return None
        self._at_once = True
        try:
            result = work()
        except _Leave:
            return None
        finally:
            self._at_once = False
        return None if self.caught is not None else result  # `work` may have swallowed the exception

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self.caught = number
        self.__exit__()
        if self._at_once:
            self._at_once = False
            raise _Leave
