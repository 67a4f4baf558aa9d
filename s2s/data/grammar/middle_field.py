"""The order of what follows the verb: in German it stands in the *middle field*, before the verb's second half.

English and German differ in this order. A `Predicate` takes one phrase after the other, in the English order, and
keeps the German of each in the slot where it belongs.
"""

from __future__ import annotations

from s2s.data.grammar.pairs import Pair, words
from s2s.data.grammar.phrases import NP

# The German middle field, in order: er hat | ihm | dem Kind | heute | das Buch | oft | das Buch, das … | nicht |
# leise | im Garten | ein Buch | auf den Tisch | gelegt. The English order is: objects, how, where, when.
PRONOUN, DATIVE, WHEN, DEFINITE, OFTEN, HEAVY, NOT, HOW, WHERE, INDEFINITE, LAST = range(11)


class Predicate:
    """What follows the verb, while it is built: English in order, German in slots."""

    def __init__(self, left: int) -> None:
        self.en: list[str] = []
        self.slots: list[Pair] = [("", "")] * 11  # German phrase, its relative clause
        self.left = left  # words still wanted
        self.closed = False  # ends with a relative clause, to which anything more would seem to belong
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
        """The middle field after pronouns; the relative clause of its last phrase, which moves to the clause's end."""
        last = LAST
        while last and (last == NOT or not self.slots[last][0]):
            last -= 1
        field = [f"{de} , {rel} ," if rel and i != last else de for i, (de, rel) in enumerate(self.slots) if de and i]
        return " ".join(field), self.slots[last][1]
