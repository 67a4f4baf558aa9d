"""Determiners ("the", "my", "two"), pronouns, and the short forms of a preposition with an article ("im").

English has one "the" where German has der, die, das, den, dem or des. A determiner also selects the endings of the
adjective after it: *weak* after "der", *strong* after "zwei" or without a determiner, *mixed* after "ein".
"""

from __future__ import annotations

from dataclasses import dataclass

from s2s.data.grammar.declension import (
    DIESER,
    EIN,
    FIRST,
    FIRST_PLURAL,
    MIXED,
    PL,
    PLURAL,
    SG,
    STRONG,
    WEAK,
    Table,
    fixed,
    inflect,
)

DER = (
    ("der", "den", "dem", "des"),
    ("die", "die", "der", "der"),
    ("das", "das", "dem", "des"),
    ("die", "die", "den", "der"),
)
RELATIVE = (
    ("der", "den", "dem", "dessen"),
    ("die", "die", "der", "deren"),
    ("das", "das", "dem", "dessen"),
    ("die", "die", "denen", "deren"),
)


@dataclass(frozen=True, eq=False)
class Determiner:
    """Determiner of a noun. `en` and `en_plural` are "" where English has no word ("apples")."""

    en: str
    en_plural: str
    de: Table
    adjective: Table  # endings of an adjective after it
    definite: bool  # determines the position of an object in the German clause


THE = Determiner("the", "the", DER, WEAK, True)
A = Determiner("a", "", (*inflect("ein", EIN)[:3], ("",) * 4), (*MIXED[:3], STRONG[PLURAL]), False)
NO = Determiner("no", "no", inflect("kein", EIN), MIXED, False)
NOT_BARE = Determiner("", "", NO.de, MIXED, False)
NOT_A = Determiner("a", "", NO.de, MIXED, False)  # "does not see a dog" -> "sieht keinen Hund"
BARE = Determiner("", "", fixed(""), STRONG, False)
THIS = Determiner("this", "these", inflect("dies", DIESER), WEAK, True)
EVERY = Determiner("every", "", inflect("jed", DIESER), WEAK, True)  # singular only
ALL = Determiner("", "all", inflect("all", DIESER), WEAK, True)  # plural only, as the following
MANY = Determiner("", "many", inflect("viel", DIESER), STRONG, False)
SOME = Determiner("", "some", inflect("einig", DIESER), STRONG, False)
TWO = Determiner("", "two", fixed("zwei"), STRONG, False)
THREE = Determiner("", "three", fixed("drei"), STRONG, False)
POSSESSIVE = {
    who: Determiner(en, en, inflect(stem, EIN), MIXED, True)
    for who, en, stem in (
        ("I", "my", "mein"), ("we", "our", "unser"), ("he", "his", "sein"), ("she", "her", "ihr"),
        ("they", "their", "ihr"),
        ("it:0", "its", "sein"), ("it:1", "its", "ihr"), ("it:2", "its", "sein"),
    )
}  # fmt: skip
# Key: English subject and object, German nominative, accusative and dative, agreement. "it:gender" is the English "it".
PRONOUNS = {
    "I": ("I", "me", "ich", "mich", "mir", FIRST),
    "we": ("we", "us", "wir", "uns", "uns", FIRST_PLURAL),
    "he": ("he", "him", "er", "ihn", "ihm", SG),
    "she": ("she", "her", "sie", "sie", "ihr", SG),
    "they": ("they", "them", "sie", "sie", "ihnen", PL),
    "it:0": ("it", "it", "er", "ihn", "ihm", SG),
    "it:1": ("it", "it", "sie", "sie", "ihr", SG),
    "it:2": ("it", "it", "es", "es", "ihm", SG),
}
REFLEXIVE = ("mich", "sich", "uns", "sich")
CONTRACTIONS = {
    ("in", "dem"): "im", ("in", "das"): "ins", ("an", "dem"): "am", ("an", "das"): "ans",
    ("von", "dem"): "vom", ("zu", "dem"): "zum", ("zu", "der"): "zur",
}  # fmt: skip


def contract(preposition: str, de: str) -> str:
    """in, dem Garten -> im Garten"""
    first, _, rest = de.partition(" ")
    short = CONTRACTIONS.get((preposition, first))
    return f"{short} {rest}" if short else f"{preposition} {de}"
