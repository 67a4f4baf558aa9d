"""Rules of the phrases after the verb: complements (objects, places, "is old") and adverbs (manner, place, time).

The complements follow the verb's frame: "puts" has an object and a direction, "helps" an object in the dative. The last
phrase may use up the remaining budget with a relative clause.
"""

from __future__ import annotations

from s2s.data.grammar.adverbs import ACTING, PASSING, SOUNDING, TIMES
from s2s.data.grammar.conjugation import PASSIVE, Modal, Tense
from s2s.data.grammar.declension import ACC, DAT, NOM
from s2s.data.grammar.determiners import THE, A
from s2s.data.grammar.middle_field import (
    DATIVE,
    DEFINITE,
    HEAVY,
    HOW,
    INDEFINITE,
    LAST,
    OFTEN,
    PRONOUN,
    WHEN,
    WHERE,
    Predicate,
)
from s2s.data.grammar.noun_phrases import WAY, NounPhrases
from s2s.data.grammar.nouns import CITIES, MAN
from s2s.data.grammar.pairs import Pair, words
from s2s.data.grammar.phrases import NP, noun_phrase, pronoun
from s2s.data.grammar.verbs import Verb
from s2s.data.grammar.word_groups import ALIKE, LEAST, PERSONS, PLACES, PROFESSIONS, SUBJECTS, SURFACES, VEHICLES

_OTHERS, _WE = ("I", "we", "he", "she", "they"), ("I", "we")


class Predicates(NounPhrases):
    """Rules that fill a `Predicate`."""

    def agent(self, predicate: Predicate, verb: Verb, heavy: bool) -> None:
        """The agent of a passive clause: "by the man"."""
        left = predicate.left - 1
        heavy = heavy and left >= 5 and self.random() < 0.6
        phrase = self.short(self.fresh(SUBJECTS[verb]), DAT, left if heavy else min(left, 3), None, heavy)
        phrase.en, phrase.de = f"by {phrase.en}", f"von {phrase.de}"
        predicate.add(phrase, HOW)

    def complement(
        self, predicate: Predicate, verb: Verb, subject: NP, tense: Tense, negated: bool, heavy: bool, recall: NP | None
    ) -> None:
        """The complements of the verb: objects, places, directions, predicatives. The last of them may be heavy."""
        frame, least, key = verb.frame, LEAST.get(verb.frame, 0), subject.key
        heavy = (
            heavy and tense != "gern" and predicate.left >= least + 3 and (predicate.left > 9 or self.random() < 0.6)
        )
        small = 2 + (predicate.left > least and self.random() < 0.5)  # budget of a phrase that is not heavy
        others = [other for other in _OTHERS if other != key and not (other in _WE and key in _WE)]
        if frame in ("acc", "dat", "prep", "to", "put", "give"):
            preposition, de_preposition, case = verb.preposition
            case = DAT if frame == "dat" else case if preposition else ACC
            if frame == "give":
                if self.random() < 0.25:
                    predicate.add(pronoun(self.pick(others), case=DAT), PRONOUN)
                else:
                    predicate.add(self.short(self.fresh(PERSONS), DAT, small, subject), DATIVE)
            noun = self.fresh(verb.objects)
            plural = self.random() < 0.35 and bool(noun.en_plural) and "one" not in noun.groups
            last = heavy and frame not in ("to", "put")
            if recall:
                phrase = pronoun(recall.key, recall.noun, case)
            elif noun.is_person and not last and self.random() < 0.15:
                phrase = pronoun(self.pick(others), case=case)
            else:
                room = predicate.left - bool(preposition) if last else small
                owner = key if subject.noun.is_person or noun.groups & {"food", "drink"} else ""
                phrase = self.np(noun, plural, case, room, owner, heavy=last, negated=negated)
            self.object = phrase
            if preposition:
                phrase.en, phrase.de = f"{preposition} {phrase.en}", f"{de_preposition} {phrase.de}"
                slot = LAST
            elif phrase.pronoun:
                slot = PRONOUN
            else:
                slot = INDEFINITE if not phrase.definite else HEAVY if phrase.rel else DEFINITE
            predicate.add(phrase, slot)
        if frame == "to":
            phrase = self.short(self.fresh(PERSONS), DAT, predicate.left - 1 if heavy else small, subject, heavy)
            phrase.en = f"to {phrase.en}"
            predicate.add(phrase, DATIVE)
        elif frame == "put":
            predicate.add(self.place(predicate.left if heavy else 3, SURFACES, ACC, heavy), LAST)
        elif frame in ("at", "lie"):
            predicate.add(
                self.place(predicate.left if heavy else min(predicate.left, 4), verb.objects, heavy=heavy), LAST
            )
        elif frame == "go":
            self.way(predicate, verb, heavy)
        elif frame == "be":
            self.quality(predicate, subject, heavy)

    def way(self, predicate: Predicate, verb: Verb, heavy: bool) -> None:
        """A direction: "into the garden"; with "ride" "to Berlin (by train)", "to the station by car"."""
        if "ride" not in verb.flags:
            predicate.add(
                self.place(predicate.left if heavy else min(predicate.left, 4), verb.objects, WAY, heavy), LAST
            )
            return
        vehicle = self.pick(VEHICLES)
        if predicate.left < 5 or self.random() < 0.5:
            en, de = self.pick(CITIES)
            predicate.put(f"to {en}", f"nach {de}", LAST)
        else:
            predicate.add(self.place(3, verb.objects, WAY), LAST)
        if predicate.left >= 2:
            predicate.put(f"by {vehicle.en}", f"mit {THE.de[vehicle.gender][DAT]} {vehicle.singular[DAT]}", HOW)

    def quality(self, predicate: Predicate, subject: NP, heavy: bool) -> None:
        """The predicative of "is": "very old", "older than his brother", "a teacher"."""
        left, noun, key = predicate.left, subject.noun, subject.key
        if left >= 2 and key in ("he", "she") and (noun is MAN or "kin" in noun.groups) and self.random() < 0.4:
            profession = self.pick(PROFESSIONS)
            de = profession.feminine if key == "she" else profession.singular[NOM]
            predicate.put(noun_phrase(profession, False, NOM, A)[0], de, LAST)
            return
        adjective = self.pick(noun.adjectives)
        for _ in range(4):
            if adjective in self.adjectives:
                adjective = self.pick(noun.adjectives)
        self.adjectives.append(adjective)
        if adjective.more and left >= 4 and (left > 5 or self.random() < 0.5):
            other = self.fresh([other for other in ALIKE[noun] if adjective in other.adjectives])
            phrase = self.short(other, NOM, left - 2 if heavy else 2, subject, heavy)
            phrase.en, phrase.de = f"{adjective.more[0]} than {phrase.en}", f"{adjective.more[1]} als {phrase.de}"
            predicate.add(phrase, LAST)
        elif left >= 2 and self.random() < 0.5:
            predicate.put(f"very {adjective.en}", f"sehr {adjective.de}", LAST)
        else:
            predicate.put(adjective.en, adjective.de, LAST)

    def adverbs(
        self,
        predicate: Predicate,
        verb: Verb,
        subject: NP,
        tense: Tense,
        heavy: bool,
        placed: bool,
        times: bool,
        main: bool,
    ) -> Pair:
        """Adds adverbs of manner, place and time within the budget; returns the one at the front of the clause."""
        if (
            predicate.closed
            or "state" in verb.flags
            or (verb.frame == "be" and predicate.slots[LAST][0] not in PASSING)
        ):
            return "", ""
        place, to_front = "place" in verb.flags and not placed, main and self.random() < 0.35
        if verb.flags & {"act", "sound"} and predicate.left > 0 and tense not in PASSIVE and self.random() < 0.25:
            en, de = self.pick(ACTING if "act" in verb.flags else SOUNDING)
            if predicate.left > 3 and en.endswith("ly") and self.random() < 0.4:
                en, de = f"very {en}", f"sehr {de}"
            predicate.put(en, de, HOW)
        if place and verb.frame == "" and not verb.ambiguous and predicate.left >= 3 and self.random() < 0.2:
            phrase = self.short(self.fresh(PERSONS), DAT, 2, subject)
            phrase.en, phrase.de = f"with {phrase.en}", f"mit {phrase.de}"
            predicate.add(phrase, HOW)
        if place and predicate.left >= 3 and self.random() < 0.6:
            if to_front and self.random() < 0.4:
                phrase = self.place(3, PLACES)
                predicate.left -= words(phrase.en)
                return phrase.en, phrase.de
            heavy = heavy and predicate.left > 6
            predicate.add(self.place(predicate.left if heavy else min(predicate.left, 4), PLACES, heavy=heavy), WHERE)
        if (
            times
            and not predicate.slots[OFTEN][0]
            and not predicate.closed
            and predicate.left > 0
            and tense != "pluperfect"
            and self.random() < (0.3 if self.timed else 0.85)
        ):
            self.timed = True
            if isinstance(tense, Modal):
                kind = "future" if tense.future else "past" if self.past else "present"
            else:
                kind = PASSIVE.get(tense, "present" if tense == "gern" else tense)
            time = self.pick([pair for pair in TIMES[kind] if words(pair[0]) <= predicate.left])
            if to_front:
                predicate.left -= words(time[0])
                return time
            predicate.put(*time, WHEN)
        return "", ""
