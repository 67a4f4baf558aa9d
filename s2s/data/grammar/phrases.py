"""Noun phrases in both languages, with the features that other words depend on.

`noun_phrase` joins determiner, adjectives and noun. An `NP` also holds number, pronoun, definiteness and the like,
which determine verbs, pronouns and the German word order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from s2s.data.grammar.declension import NOM, PLURAL, SG
from s2s.data.grammar.determiners import PRONOUNS, Determiner
from s2s.data.grammar.nouns import MAN, Noun
from s2s.data.grammar.pairs import Pair


def noun_phrase(noun: Noun, plural: bool, case: int, determiner: Determiner, adjectives: Sequence[Pair] = ()) -> Pair:
    """(boy, plural, DAT, THE, [("old", "alt")]) -> ("the old boys", "den alten Jungen")

    Adjectives: English, German stem.
    """
    column = PLURAL if plural else noun.gender
    en, de = (noun.en_plural, noun.plural[case]) if plural else (noun.en, noun.singular[case])
    if adjectives:
        ending = determiner.adjective[column][case]
        en = f"{' '.join([word for word, _ in adjectives])} {en}"
        de = f"{' '.join([stem + ending for _, stem in adjectives])} {de}"
    article, article_de = determiner.en_plural if plural else determiner.en, determiner.de[column][case]
    if article == "a" and en[0] in "aeiou":
        article = "an"
    return (f"{article} {en}" if article else en), (f"{article_de} {de}" if article_de else de)


@dataclass(slots=True)
class NP:
    """A noun phrase in both languages. The German relative clause is separate: the clause determines its position."""

    en: str
    de: str
    agr: int
    noun: Noun  # the head or referent: determines the verbs that fit
    plural: bool
    key: str  # of its pronouns in PRONOUNS and POSSESSIVE
    rel: str = ""
    definite: bool = True
    pronoun: bool = False
    described: bool = False  # has an adjective
    negative: bool = False  # has "kein"
    quantified: bool = False  # "all", "every": no negation beside it


def pronoun(key: str, noun: Noun = MAN, case: int = NOM) -> NP:
    """A personal pronoun; `key` of PRONOUNS, `noun` is its referent."""
    subject, other, nominative, accusative, dative, agr = PRONOUNS[key]
    de = (nominative, accusative, dative)[case]
    return NP(other if case else subject, de, agr, noun, agr > SG, key, pronoun=True)
