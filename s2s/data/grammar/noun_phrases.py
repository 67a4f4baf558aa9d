"""Rules of noun phrases: subjects, objects and places, from "she" to "the old dog that chased the cat".

A rule has an approximate budget of words. It draws a determiner and, if the budget allows, adjectives or a relative
clause.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from s2s.data.grammar.declension import ACC, DAT, NOM, PL, SG, STRONG
from s2s.data.grammar.determiners import (
    ALL,
    BARE,
    EVERY,
    MANY,
    NO,
    NOT_A,
    NOT_BARE,
    POSSESSIVE,
    SOME,
    THE,
    THIS,
    THREE,
    TWO,
    A,
    Determiner,
    contract,
)
from s2s.data.grammar.nouns import MAN, NAMES, Noun
from s2s.data.grammar.pairs import Pair, words
from s2s.data.grammar.phrases import NP, noun_phrase, pronoun
from s2s.data.grammar.state import State
from s2s.data.grammar.word_groups import ANIMALS, LIVING, PERSONS, THINGS

WAY = 4  # a fifth value of the case of a place: direction

# Determiners by number and role, repeated by frequency; "own" and "name" stand for "his" and "Anna's"
_Choice = Determiner | str


def _choices(**shares: int) -> tuple[_Choice, ...]:
    named: dict[str, _Choice] = {
        "the": THE, "a": A, "this": THIS, "every": EVERY, "no": NO, "bare": BARE, "many": MANY, "some": SOME,
        "two": TWO,
        "three": THREE, "all": ALL,
    }  # fmt: skip
    return tuple(named.get(key, key) for key, share in shares.items() for _ in range(share))


_SUBJECT_SINGULAR = _choices(the=48, a=16, this=10, every=6, no=4, own=10, name=6)
_SUBJECT_PLURAL = _choices(the=38, bare=8, this=8, many=10, some=10, two=7, three=5, all=7, own=5, name=2)
_OBJECT_SINGULAR = _choices(the=42, a=34, this=6, own=12, name=6)
_OBJECT_PLURAL = _choices(the=34, bare=28, this=6, many=8, some=6, two=6, three=3, own=7, name=2)
_OBJECT_NEGATED = _choices(the=45, a=35, this=6, own=14)  # without "some", "many": "not" is ambiguous there
_QUANTIFIERS = (EVERY, NO, ALL, MANY, SOME, TWO, THREE)
_MASS = _choices(the=40, bare=50, own=10)
_KIN = _choices(own=75, the=10, name=15)
_OF_NAME = {name: Determiner(f"{name}'s", f"{name}'s", ((f"{name}s",) * 4,) * 4, STRONG, True) for name, _ in NAMES}


class NounPhrases(State, ABC):
    """Rules that return an NP."""

    def determiner(self, noun: Noun, plural: bool, case: int, owner: str, negated: bool) -> Determiner:
        if not noun.en_plural:
            choice = self.pick(_MASS)
        elif "kin" in noun.groups:
            choice = self.pick(_KIN)
        elif negated:
            choice = self.pick(_OBJECT_NEGATED)
        elif case == NOM:
            choice = self.pick(_SUBJECT_PLURAL if plural else _SUBJECT_SINGULAR)
        else:
            choice = self.pick(_OBJECT_PLURAL if plural else _OBJECT_SINGULAR)
        if isinstance(choice, str) and noun.is_person and not noun.groups & {"kin", "ours"}:
            return THE
        if choice == "own":
            return POSSESSIVE[owner or self.pick(("I", "we", "he", "she"))]
        if choice == "name":
            return _OF_NAME[self.pick(NAMES)[0]]
        assert isinstance(choice, Determiner)
        if choice is A and plural:
            choice = BARE
        if negated:
            return NOT_A if choice is A else NOT_BARE if choice is BARE else choice
        return choice

    def np(
        self, noun: Noun, plural: bool, case: int, room: int, owner: str = "",
        *, heavy: bool = False, negated: bool = False, determiner: Determiner | None = None,
    ) -> NP:  # fmt: skip
        """A noun phrase of about `room` words. `heavy`: may have a relative clause; `owner`: referent of "own"."""
        det = determiner or self.determiner(noun, plural, case, owner, negated)
        spare = room - (2 if (det.en_plural if plural else det.en) else 1)
        clause = heavy and spare >= 3 and self.depth < 3
        adjectives: list[Pair] = []
        described = False
        if noun.adjectives and spare > 0 and self.random() < (0.9 if not clause else 0.3 if spare > 3 else 0):
            first, second = self.pick(noun.adjectives), self.pick(noun.adjectives)
            described = True
            adjectives.append((first.en, first.stem))
            self.adjectives.append(first)
            if spare > 1 and not clause and not first.colour:
                if second.colour:
                    adjectives.append((second.en, second.stem))
                else:
                    adjectives[0] = (f"very {first.en}", f"sehr {first.stem}")
        en, de = noun_phrase(noun, plural, case, det, adjectives)
        self.mentions.append((noun, plural))
        rel = ""
        if clause:
            en_rel, rel = self.relative(noun, plural, min(spare - len(adjectives), 20), described)
            en = f"{en} {en_rel}"
        return NP(
            en, de, PL if plural else SG, noun, plural, "they" if plural else noun.pronoun, rel, det.definite,
            described=described or bool(rel), negative=det.de is NO.de, quantified=det in _QUANTIFIERS,
        )  # fmt: skip

    def short(self, noun: Noun, case: int, room: int, owner: NP | None, heavy: bool = False) -> NP:
        """A definite noun phrase beside another one: "the man", "his old brother"."""
        det = THE
        if "kin" in noun.groups:
            det = POSSESSIVE[owner.key if owner and owner.noun.is_person else self.pick(("I", "we", "he", "she"))]
        plural = self.random() < 0.25 and "one" not in noun.groups
        return self.np(noun, plural, case, room, heavy=heavy, determiner=det)

    def place(self, room: int, nouns: Sequence[Noun], case: int = DAT, heavy: bool = False) -> NP:
        """A place, "in the garden" (DAT), "to the house that …" (WAY); before a relative clause "in dem", not "im"."""
        noun = self.fresh(nouns)
        en, de = self.pick(noun.ways if case == WAY else noun.places)
        if case == WAY:
            case = DAT if de == "zu" else ACC
        phrase = self.np(
            noun, False, case, room - words(en), heavy=heavy, determiner=self.pick((THE, THE, THE, A, THIS))
        )
        phrase.en = f"{en} {phrase.en}"
        phrase.de = f"{de} {phrase.de}" if phrase.rel else contract(de, phrase.de)
        return phrase

    def subject(self, room: int, nouns: Sequence[Noun] = (), *, heavy: bool = True, free: bool = False) -> NP:
        """A subject of at most `room` words. `free`: "he" may be anybody, as nobody was mentioned yet."""
        r = self.random()
        noun = self.fresh(nouns or (PERSONS if r < 0.62 else ANIMALS if r < 0.8 else THINGS))
        r = self.random()
        if noun.is_person and (r < 0.25 or room < 2):
            if self.random() < 0.45:
                return pronoun(self.pick(("I", "we", "he", "she", "they") if free else ("I", "we")))
            name, key = self.pick(NAMES)
            return NP(name, name, SG, MAN, False, key)
        if noun.is_person and r < 0.36 and room >= 3:
            return self.two_persons(room)
        plural = self.random() < 0.35 and bool(noun.en_plural) and "one" not in noun.groups
        clause = heavy and room >= 6 and self.random() < 0.6
        if clause:
            room = self.between(5, min(room, 13))
        else:  # no adjective for a thing, as its predicate is mostly an adjective
            room = min(room, self.between(2, 3) if noun.groups & LIVING else 2)
        return self.np(noun, plural, NOM, room, heavy=clause)

    def two_persons(self, room: int) -> NP:
        """A coordination: "Anna and Peter", "the man and his sister"."""
        one, two = self.pick(NAMES[:3])[0], self.pick(NAMES[3:])[0]
        if room >= 5 and self.random() < 0.7:
            first = self.np(self.pick(PERSONS), False, NOM, 2, determiner=THE)
            second = self.short(self.fresh(PERSONS), NOM, 2, first)
            if second.noun is not first.noun:
                return NP(f"{first.en} and {second.en}", f"{first.de} und {second.de}", PL, MAN, True, "they")
        return NP(f"{one} and {two}", f"{one} und {two}", PL, MAN, True, "they")

    @abstractmethod
    def relative(self, noun: Noun, plural: bool, room: int, described: bool) -> Pair:
        """A relative clause; `Clauses` implements it, as clauses consist of noun phrases."""
