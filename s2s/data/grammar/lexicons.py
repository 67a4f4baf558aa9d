"""Lexicon of the corpus: all words of the tables, or a basic vocabulary that small models learn quickly.

The rules are the same for both; a word outside of the lexicon is drawn only where no other one fits.
"""

from __future__ import annotations

from typing import Literal

from s2s.data.grammar.adjectives import ADJECTIVES, Adjective
from s2s.data.grammar.nouns import NOUNS, Noun
from s2s.data.grammar.verbs import VERBS, Verb

Lexicon = Literal["full", "basic"]
Word = Noun | Verb | Adjective

_NOUNS = """
    man woman boy girl teacher mother father dog cat bird apple bread water book letter lamp hat car train house garden
    school city table"""
_VERBS = """
    schlafen lachen arbeiten warten aufstehen sehen kennen lieben suchen finden besuchen anrufen waschen essen fressen
    trinken kaufen lesen schreiben aufmachen tragen helfen folgen geben zeigen denken wohnen sitzen gehen fahren legen
    stellen sagen glauben wissen versuchen sein liegen regnen"""
_ADJECTIVES = "old young big tired hungry happy red new cold good"

BASIC: frozenset[Word] = frozenset(
    [
        *(noun for noun in NOUNS if noun.en in _NOUNS.split()),
        *(verb for verb in VERBS if verb.full_infinitive in _VERBS.split()),
        *(adjective for adjective in ADJECTIVES if adjective.en in _ADJECTIVES.split()),
    ]
)
