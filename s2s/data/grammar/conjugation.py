"""Conjugation in both languages by subject and tense, with modal verbs, the passive and negation.

A verb may be split in its clause: "has read" is "hat … gelesen", in a subordinate clause "… gelesen hat", and "calls"
is "ruft … an" or "… anruft". `conjugate` returns the pieces; the rules of clauses order them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from s2s.data.grammar.declension import SG
from s2s.data.grammar.pairs import Pair
from s2s.data.grammar.verbs import Verb

HAVE = ("habe", "hat", "haben", "haben"), ("hatte", "hatte", "hatten", "hatten")
BE = ("bin", "ist", "sind", "sind"), ("war", "war", "waren", "waren")
WERDEN = ("werde", "wird", "werden", "werden"), ("wurde", "wurde", "wurden", "wurden")
PASSIVE = {"passive": "present", "past passive": "past"}
BE_EN = {"present": ("am", "is", "are", "are"), "past": ("was", "was", "were", "were")}


@dataclass(frozen=True, eq=False)
class Modal:
    """A modal verb. English: for "he" and for "they", then negated; German: ich, er, wir, sie, then negated."""

    en: Pair
    en_not: Pair
    de: tuple[str, ...]
    de_not: tuple[str, ...]
    future: bool = False  # goes with "tomorrow"

    def question(self, agr: int) -> Pair:
        """("does", "want to") or ("can", "")."""
        first, _, rest = self.en_not[agr != SG].replace("cannot", "can not").partition(" not")
        return first, rest.strip()


def _modal(en: str, en_not: str, singular: str, plural: str, negated: str = "", future: bool = False) -> Modal:
    he, they = (en.split("/") * 2)[:2]
    not_he, not_they = (en_not.split("/") * 2)[:2]
    forms = singular, singular, plural, plural
    if singular == "wird":
        forms = WERDEN[0]
    not_forms = ("darf", "darf", "dürfen", "dürfen") if negated else forms
    return Modal((he, they), (not_he, not_they), forms, not_forms, future)


MODALS = (
    _modal("can", "cannot", "kann", "können", future=True),
    _modal("must", "must not", "muss", "müssen", "darf", future=True),
    _modal("has to/have to", "does not have to/do not have to", "muss", "müssen", future=True),
    _modal("wants to/want to", "does not want to/do not want to", "will", "wollen", future=True),
    _modal("would like to", "would not like to", "möchte", "möchten", future=True),
    _modal("should", "should not", "soll", "sollen", future=True),
    _modal("may", "may not", "darf", "dürfen"),
    _modal("will", "will not", "wird", "werden", future=True),
    _modal("will", "will not", "wird", "werden", future=True),
)
PAST_MODALS = (
    _modal("could", "could not", "konnte", "konnten"),
    _modal("had to", "did not have to", "musste", "mussten"),
    _modal("wanted to", "did not want to", "wollte", "wollten"),
)
Tense = str | Modal  # "present", "past", "perfect", "pluperfect", "passive", "past passive", "gern" or a modal verb


def english(verb: Verb, agr: int, tense: Tense, negated: bool, question: bool) -> Pair:
    """(auxiliary, rest of the verb with its "not"): ("has", "read"), ("", "reads"), ("does", "not read")."""
    base, third, past, participle = verb.en
    no = "not " if negated else ""
    if isinstance(tense, Modal):
        if question:
            aux, rest = tense.question(agr)
            return aux, f"{rest} {base}".strip()
        return (tense.en_not if negated else tense.en)[agr != SG], base
    if tense == "perfect":
        return ("has" if agr == SG else "have"), no + participle
    if tense == "pluperfect":
        return "had", no + participle
    if tense in PASSIVE:
        return BE_EN[PASSIVE[tense]][agr], no + participle
    if base == "be":
        return BE_EN[tense][agr], no.strip()
    likes = "like to " if tense == "gern" else ""
    if negated or question:
        return ("did" if tense == "past" else "does" if agr == SG else "do"), no + likes + base
    if tense == "past":
        return "", past
    if likes:
        return "", ("likes to " if agr == SG else likes) + base
    return "", third if agr == SG else base


def german(verb: Verb, agr: int, tense: Tense, negated: bool) -> tuple[str, str, str]:
    """(finite verb, end of a main, end of a subordinate clause): (ruft, an, anruft), (hat, gelesen, gelesen hat)."""
    if tense in ("present", "gern", "past"):
        finite = (verb.past if tense == "past" else verb.present)[agr]
        return finite, verb.prefix, verb.prefix + finite
    if isinstance(tense, Modal):
        finite, last = (tense.de_not if negated else tense.de)[agr], verb.full_infinitive
    elif tense in PASSIVE:
        finite, last = WERDEN[PASSIVE[tense] == "past"][agr], verb.participle
    else:
        finite, last = (BE if verb.sein else HAVE)[tense == "pluperfect"][agr], verb.participle
    return finite, last, f"{last} {finite}"


@functools.cache
def conjugate(verb: Verb, agr: int, tense: Tense, negated: bool, question: bool) -> tuple[str, str, str, str, str]:
    """All verb forms of a clause: what `english` and `german` return."""
    return *english(verb, agr, tense, negated, question), *german(verb, agr, tense, negated)
