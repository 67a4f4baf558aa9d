"""Order of the phrases after the verb: in German the *middle field*, before the second part of the verb.

English and German differ in this order. A `Predicate` receives the phrases in the English order and stores the German
of each in its slot.
"""

from __future__ import annotations

from s2s.data.grammar.pairs import Pair, words
from s2s.data.grammar.phrases import NP

# The German middle field, in order: er hat | ihm | dem Kind | heute | das Buch | oft | das Buch, das … | nicht |
# leise | im Garten | ein Buch | auf den Tisch | gelegt. The English order is: objects, how, where, when.
PRONOUN, DATIVE, WHEN, DEFINITE, OFTEN, HEAVY, NOT, HOW, WHERE, INDEFINITE, LAST = range(11)


class Predicate:
    """The phrases after the verb, under construction: English in order, German in slots."""

    def __init__(self, left: int) -> None:
        self.en: list[str] = []
        self.slots: list[Pair] = [("", "")] * 11  # German phrase, its relative clause
        self.left = left  # word budget that remains
        self.closed = False  # ends with a relative clause, to which a further phrase would seem to belong
        self.negative = False  # has "kein", so needs no "nicht"

    def add(self, phrase: NP, slot: int) -> None:
        self.put(phrase.en, phrase.de, slot, phrase.rel)
        self.closed = bool(phrase.rel)
        self.negative |= phrase.negative

    def put(self, en: str, de: str, slot: int, rel: str = "") -> None:
        self.en.append(en)
        self.left -= words(en)
        before = self.slots[slot][0]
        self.slots[slot] = (f"{before} {de}" if before else de, rel)

    def german(self) -> Pair:
        """The middle field after pronouns, and the relative clause of its last phrase, which ends the clause."""
        last = LAST
        while last and (last == NOT or not self.slots[last][0]):
            last -= 1
        field = [f"{de} , {rel} ," if rel and i != last else de for i, (de, rel) in enumerate(self.slots) if de and i]
        return " ".join(field), self.slots[last][1]
