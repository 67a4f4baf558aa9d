"""Conjunctions, which open a subordinate clause, and connectors, which open another main clause.

A conjunction may have two translations: "when" is "als" in the past and "wenn" otherwise.
"""

from __future__ import annotations

from typing import NamedTuple


class Conjunction(NamedTuple):
    en: str
    de: str
    de_past: str  # in a sentence in the past
    event: bool  # the clause describes an action, not a state
    first: bool  # may open the sentence
    perfect: bool = False  # the clause is in the perfect


CONJUNCTIONS = (
    Conjunction("because", "weil", "weil", event=False, first=False),
    Conjunction("although", "obwohl", "obwohl", event=False, first=True),
    Conjunction("while", "während", "während", event=True, first=True),
    Conjunction("when", "wenn", "als", event=True, first=True),
    Conjunction("if", "wenn", "", event=True, first=True),
    Conjunction("before", "bevor", "bevor", event=True, first=True),
    Conjunction("after", "nachdem", "nachdem", event=True, first=True, perfect=True),
    Conjunction("as soon as", "sobald", "sobald", event=True, first=True),
    Conjunction("until", "bis", "bis", event=True, first=False),
)
# English, German, and whether the German clause begins with the verb
CONNECTORS = (
    (", and", " , und", False),
    (", and", " , und", False),
    (", but", " , aber", False),
    (", for", " , denn", False),
    (", so", " , deshalb", True),
    (", and then", " , und dann", True),
)
