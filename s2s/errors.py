"""The one exception that s2s raises for bad input.

Its message is a single line that says what is wrong, where (file, line, key) and what to do. The scripts print it on
stderr and exit with a code that is not 0; a traceback is reserved for defects of s2s itself.
"""

from __future__ import annotations


class S2SError(Exception):
    """Bad input or an environment that cannot do what was asked: one line with what, where and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split("\n")))
