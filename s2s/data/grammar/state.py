"""What all rules share: random draws, and a memory of the sentence so far.

The memory keeps a sentence coherent: all of it is told in one time, "it" is clear, and words are not repeated too soon.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar, cast

from s2s.data.grammar.adjectives import Adjective
from s2s.data.grammar.conjunctions import CONJUNCTIONS
from s2s.data.grammar.lexicons import BASIC, Lexicon, Word
from s2s.data.grammar.nouns import Noun
from s2s.data.grammar.phrases import NP

T = TypeVar("T")


class State:
    """A sentence so far. Of the random generator only `random()` is used: Python promises its sequence for a seed."""

    def __init__(self, seed: int, lexicon: Lexicon = "full") -> None:
        self.random = random.Random(seed).random
        self.lexicon = lexicon
        self._basic: dict[int, tuple[Sequence[object], Sequence[object]]] = {}
        self.begin()

    def begin(self) -> None:
        """A new sentence."""
        self.past = self.random() < 0.4  # told in the past
        self.told, self.had = ("past", "pluperfect") if self.past else ("present", "perfect")
        self.first = True  # nothing said so far, so that "he" may be anybody
        self.said: list[Adjective] = []  # adjectives so far: no "the cold water is cold"
        self.verbs: list[str] = []  # so far, in English
        self.timed = False  # has a "yesterday"
        self.depth = 0  # of relative clauses
        self.reports = 0  # "says that" so far
        self.mentions: list[tuple[Noun, bool]] = []  # nouns so far and whether plural, to know what "it" can mean
        self.topic: NP | None = None  # subject of the last finished clause
        self.object: NP | None = None  # object of the last clause
        self.conjunctions = [row for row in CONJUNCTIONS if row.de_past or not self.past]

    def pick(self, options: Sequence[T]) -> T:
        if self.lexicon == "basic":
            options = self.basic(options)
        return options[int(self.random() * len(options))]

    def basic(self, options: Sequence[T]) -> Sequence[T]:
        """Those of the basic lexicon, or all where none is; what is no word of a lexicon stays."""
        if not options or not isinstance(options[0], Word):
            return options
        if not isinstance(options, tuple):  # made for this draw
            return [word for word in options if word in BASIC] or options
        if id(options) not in self._basic:  # a table's: kept beside the result, so that its id stays its own
            self._basic[id(options)] = options, tuple(word for word in options if word in BASIC) or options
        return cast(Sequence[T], self._basic[id(options)][1])

    def fresh(self, nouns: Sequence[Noun]) -> Noun:
        """A noun that the sentence rather does not have yet."""
        noun = self.pick(nouns)
        for _ in range(3):
            if (noun, False) in self.mentions or (noun, True) in self.mentions:
                noun = self.pick(nouns)
        return noun

    def between(self, low: int, high: int) -> int:
        return low + int(self.random() * (high - low + 1)) if high > low else low
