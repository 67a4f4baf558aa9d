"""Adverbs of time, frequency and manner in both languages.

Adverbs of time are grouped by tense, so that no sentence has "yesterday" in the future.
"""

from __future__ import annotations

from s2s.data.grammar.pairs import Pair

TIMES: dict[str, tuple[Pair, ...]] = {
    "present": (
        ("today", "heute"), ("now", "jetzt"), ("every day", "jeden Tag"), ("in the morning", "am Morgen"),
        ("in the evening", "am Abend"), ("on Monday", "am Montag"), ("on Sunday", "am Sonntag"),
        ("in summer", "im Sommer"),
        ("in winter", "im Winter"), ("every week", "jede Woche"), ("at the weekend", "am Wochenende"),
    ),
    "past": (
        ("yesterday", "gestern"), ("last week", "letzte Woche"), ("in the morning", "am Morgen"),
        ("last year", "letztes Jahr"),
        ("in the evening", "am Abend"), ("on Monday", "am Montag"), ("on Sunday", "am Sonntag"),
        ("last summer", "letzten Sommer"),
        ("three days ago", "vor drei Tagen"), ("two weeks ago", "vor zwei Wochen"), ("last winter", "letzten Winter"),
    ),
    "perfect": (("today", "heute"),),
    "future": (
        ("tomorrow", "morgen"), ("today", "heute"), ("next week", "nächste Woche"), ("on Sunday", "am Sonntag"),
        ("in the evening", "am Abend"), ("next year", "nächstes Jahr"), ("in two days", "in zwei Tagen"),
    ),
}  # fmt: skip
_USUAL = (
    ("often", "oft"), ("always", "immer"), ("never", "nie"), ("sometimes", "manchmal"),
    ("usually", "meistens"), ("rarely", "selten"),
)  # fmt: skip
FREQUENT = {"present": _USUAL, "past": _USUAL, "perfect": (("already", "schon"), ("often", "oft"), ("never", "nie"))}
ACTING = (("quickly", "schnell"), ("slowly", "langsam"), ("carefully", "vorsichtig"), ("alone", "allein"))
PASSING = ("müde", "hungrig", "krank", "traurig", "glücklich")  # temporary states of a person: "is tired today"
SOUNDING = (("loudly", "laut"), ("quietly", "leise"))
