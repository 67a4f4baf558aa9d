"""Shared state of all rules: random draws, and the history of the sentence.

The history keeps a sentence coherent: one time, unambiguous "it", and no word repeated too soon.
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
    """State of a sentence. It uses only `random()` of the generator: Python guarantees its sequence for a seed."""

    def __init__(self, seed: int, lexicon: Lexicon = "full") -> None:
        self.random = random.Random(seed).random
        self.lexicon = lexicon
        self._basic: dict[int, tuple[Sequence[object], Sequence[object]]] = {}
        self.begin()

    def begin(self) -> None:
        """Starts a new sentence."""
        self.past = self.random() < 0.4  # the sentence is in the past
        self.tense_now, self.tense_before = ("past", "pluperfect") if self.past else ("present", "perfect")
        self.first = True  # no subject so far, so that "he" may be anybody
        self.adjectives: list[Adjective] = []  # so far: no "the cold water is cold"
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
        """The options within the basic lexicon, or all if there are none; options that are no words stay."""
        if not options or not isinstance(options[0], Word):
            return options
        if not isinstance(options, tuple):  # made for this draw
            return [word for word in options if word in BASIC] or options
        if id(options) not in self._basic:  # a table: stored with the result, so that no other object gets its id
            self._basic[id(options)] = options, tuple(word for word in options if word in BASIC) or options
        return cast(Sequence[T], self._basic[id(options)][1])

    def fresh(self, nouns: Sequence[Noun]) -> Noun:
        """A noun, preferably one that the sentence does not have yet."""
        noun = self.pick(nouns)
        for _ in range(3):
            if (noun, False) in self.mentions or (noun, True) in self.mentions:
                noun = self.pick(nouns)
        return noun

    def between(self, low: int, high: int) -> int:
        return low + int(self.random() * (high - low + 1)) if high > low else low
