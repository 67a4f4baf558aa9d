"""German declension: endings of articles, adjectives and nouns by gender, number and case; agreement of verbs.

"der alte Hund, den alten Hund, dem alten Hund, des alten Hundes" is one phrase in the four cases. A table of endings
is indexed by gender, then case.
"""

from __future__ import annotations

import re

NOM, ACC, DAT, GEN = range(4)  # cases
MASC, FEM, NEUT, PLURAL = range(4)  # columns of every agreement table: German has no gender in the plural
FIRST, SG, FIRST_PLURAL, PL = range(4)  # agreement of a verb with its subject: ich, er/sie/es, wir, sie

Table = tuple[tuple[str, ...], ...]  # [gender][case]
EIN = (("", "en", "em", "es"), ("e", "e", "er", "er"), ("", "", "em", "es"), ("e", "e", "en", "er"))
DIESER = (("er", "en", "em", "es"), ("e", "e", "er", "er"), ("es", "es", "em", "es"), ("e", "e", "en", "er"))
STRONG = (("er", "en", "em", "en"), ("e", "e", "er", "er"), ("es", "es", "em", "en"), ("e", "e", "en", "er"))
WEAK = (("e", "en", "en", "en"), ("e", "e", "en", "en"), ("e", "e", "en", "en"), ("en", "en", "en", "en"))
MIXED = (("er", "en", "en", "en"), ("e", "e", "en", "en"), ("es", "es", "en", "en"), ("en", "en", "en", "en"))


def inflect(stem: str, endings: Table) -> Table:
    """dies -> dieser, diesen, diesem …"""
    return tuple(tuple(stem + ending for ending in row) for row in endings)


def fixed(word: str) -> Table:
    """A word without endings: zwei."""
    return ((word,) * 4,) * 4


def noun_forms(de: str, plural: str, gender: int, weak: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The four cases in singular and plural: (Hund, Hund, Hund, Hundes), (Hunde, Hunde, Hunden, Hunde)."""
    if weak:  # der Junge, den Jungen, dem Jungen, des Jungen
        singular = (de, plural, plural, plural)
    elif gender == FEM:
        singular = (de,) * 4
    else:
        one_syllable = len(re.findall("[aeiouyäöü]+", de.lower())) == 1
        if plural == de + "se":  # der Bus, die Busse
            ending = "ses"
        elif de.endswith(("s", "ß", "z", "x")):
            ending = "es"
        else:
            ending = "es" if one_syllable and not de.endswith("e") and not plural.endswith("s") else "s"
        singular = (de, de, de, de + ending)
    dative = plural if not plural or plural.endswith(("n", "s")) else plural + "n"
    return singular, (plural, plural, dative, plural)
