"""Rules of clauses and relative clauses: verb, tense and word order.

The German verb is second in a main clause ("Heute kauft er einen Hut"), but last in a subordinate one ("… weil er heute
einen Hut kauft"); the English verb follows its subject in both.
"""

from __future__ import annotations

from s2s.data.grammar.adverbs import FREQUENT
from s2s.data.grammar.conjugation import MODALS, PASSIVE, PAST_MODALS, Tense, conjugate
from s2s.data.grammar.declension import ACC, DAT, GEN, NOM, PL, PLURAL, SG, STRONG
from s2s.data.grammar.determiners import REFLEXIVE, RELATIVE, Determiner
from s2s.data.grammar.middle_field import HOW, NOT, OFTEN, PRONOUN, Predicate
from s2s.data.grammar.nouns import Noun
from s2s.data.grammar.pairs import Pair, words
from s2s.data.grammar.phrases import NP
from s2s.data.grammar.predicates import Predicates
from s2s.data.grammar.verbs import Verb
from s2s.data.grammar.word_groups import (
    ANIMALS,
    AT_PLACES,
    GAP_VERBS,
    KIN,
    LEAST,
    LIVING,
    PASSIVABLE,
    PERSONS,
    SUBJECTS,
    VERBS_FOR,
)

_UNWILLED = ("verlieren", "vergessen")  # involuntary: no purpose of going somewhere


class Clauses(Predicates):
    """Rules that return a clause."""

    def verb(self, subject: NP, room: int, active: bool = False) -> Verb:
        """A verb for the subject; `active`: an action, not a state."""
        options = VERBS_FOR[subject.noun][max(0, min(room, 7))]
        verb = self.pick(options)
        for attempt in range(20):
            state = "state" in verb.flags or verb.frame == "be" or verb.infinitive in _UNWILLED
            again = attempt < 3 and verb.frame != "be" and verb.en[0] in self.verbs
            if again or (active and state) or (subject.described and verb.frame == "be"):
                verb = self.pick(options)
        return verb

    def tense(self, verb: Verb, agr: int, room: int) -> Tense:
        """A tense for a clause with `room` words left."""
        state, r = "state" in verb.flags or verb.frame == "be", self.random()
        if self.past:
            return self.pick(PAST_MODALS) if not state and room > 2 and r < 0.2 else "past"
        if state or room < 2 or r < 0.5:
            return "present"
        if r < 0.68:
            return "perfect"
        if r < 0.74 and "person" in verb.subjects and "place" in verb.flags:
            return "gern"
        return self.pick(MODALS)

    def clause(
        self, order: str, room: int, subject: NP, verb: Verb | None = None, *, tense: Tense | None = None,
        gap: bool = False, heavy: bool = True, bare: bool = False, times: bool = True, recall: NP | None = None,
    ) -> Pair:  # fmt: skip
        """A clause of about `room` words, without subordinate clauses other than relative ones.

        `order` of the German: main (verb second), inverted (verb first, after another constituent), question, final
        (verb last); without a subject: vp (verb first), vp final, zu (infinitive). `gap`: the object or place is the
        relative pronoun before the clause; `heavy`: may end with a relative clause; `bare`: no adverbs; `times`: may
        have an adverb of time; `recall`: its object is a pronoun for this phrase. With a `tense` the clause is an
        event: no state, no "not"."""
        silent = order in ("vp", "vp final", "zu")
        left = room - (0 if silent else words(subject.en))
        if verb is None:
            passives = (
                PASSIVABLE[subject.noun] if tense is None and left >= 5 and not silent and not subject.pronoun else ()
            )
            if passives and self.random() < (0.05 if subject.noun.is_person else 0.6):
                verb, tense = self.pick(passives), "past passive" if self.past else "passive"
            else:
                verb = self.verb(subject, left, active=tense is not None)
        self.verbs.append(verb.en[0])
        agr, least = subject.agr, LEAST.get(verb.frame, 0)
        event = tense is not None
        tense = tense or self.tense(verb, agr, left - least)
        if tense == "past" and verb.en[0] == verb.en[2] and agr != SG:
            tense = self.pick(PAST_MODALS)  # "they read" could be present
        simple = order not in ("zu", "question") and not subject.quantified and not bare
        negated = simple and not event and tense != "gern" and left > least + 2 and self.random() < 0.14
        aux, rest, finite, right, final = conjugate(verb, agr, tense, negated, order == "question")
        if order == "zu":
            aux, rest, final = "", f"to {verb.en[0]}", verb.zu_infinitive
        often = ("", "")
        if (
            simple
            and not (negated or event or "state" in verb.flags)
            and not subject.rel
            and left > least + 2
            and tense in FREQUENT
            and self.random() < 0.15
        ):
            often = self.pick(FREQUENT[str(tense)])
        predicate = Predicate(left - words(aux) - words(rest) - bool(often[0]) - bool(verb.particle))
        predicate.slots[OFTEN] = (often[1], "")
        if tense == "gern":
            predicate.slots[HOW] = ("gern", "")
        self.object = None
        if tense in PASSIVE:
            self.agent(predicate, verb, heavy)
        elif not gap or verb.frame not in ("acc", "dat", "prep"):
            self.complement(predicate, verb, subject, tense, negated, heavy, recall)
        if verb.particle:
            between = self.object is not None and self.object.pronoun and "fixed" not in verb.flags
            predicate.en.insert(1 if between else 0, verb.particle)
        front = ("", "")
        if not bare:
            front = self.adverbs(predicate, verb, subject, tense, heavy, gap and not least, times, order == "main")
        if negated and not predicate.negative:
            predicate.slots[NOT] = ("nicht", "")

        weak = REFLEXIVE[agr] if verb.reflexive else predicate.slots[PRONOUN][0]
        middle, rel = predicate.german()
        start = "" if silent else f"{subject.de} , {subject.rel} ," if subject.rel else subject.de
        tail = f", {rel} ," if rel else ""
        if order in ("final", "vp final", "zu"):
            parts = [start, weak, middle, final, tail]
        elif order == "main" and not front[0]:
            parts = [start, finite, weak, middle, right, tail]
        elif subject.pronoun:  # heute freut er sich
            parts = [front[1], finite, start, weak, middle, right, tail]
        else:  # heute freut sich der Mann, heute sieht ihn der Mann
            parts = [front[1], finite, weak, start, middle, right, tail]
        who = "" if silent else subject.en
        before = [aux, who] if order == "question" else [front[0], who, aux]
        en = [*before, often[0], rest, *predicate.en]
        return " ".join([part for part in en if part]), " ".join([part for part in parts if part])

    def relative(self, noun: Noun, plural: bool, room: int, described: bool) -> Pair:
        """A relative clause; its pronoun has the gender and number of the noun and the case of its role."""
        self.depth += 1
        forms, verbs, r = RELATIVE[PLURAL if plural else noun.gender], GAP_VERBS[noun], self.random()
        if verbs and room >= 4 and r < (0.6 if not noun.groups & LIVING else 0.45 if room < 9 else 0.15):
            verb = self.pick(verbs)
            subject = self.subject(min(3, room - 2), SUBJECTS[verb], heavy=False)
            preposition, de_preposition, case = verb.preposition
            en, de = self.clause("final", room - 1 - bool(preposition), subject, verb, gap=True)
            if preposition:
                pair = (
                    f"{preposition} {'whom' if noun.is_person else 'which'} {en}",
                    f"{de_preposition} {forms[case]} {de}",
                )
            else:
                case = ACC if verb.frame == "acc" else DAT
                pair = f"{'whom' if noun.is_person else 'that'} {en}", f"{forms[case]} {de}"
        elif room >= 5 and r < 0.6 and noun.places and noun.places[0][0] in ("in", "at"):
            preposition, de_preposition = noun.places[0]
            subject = self.subject(min(3, room - 3), PERSONS, heavy=False)
            en, de = self.clause("final", room - 2, subject, self.pick(AT_PLACES), gap=True)
            pair = f"{preposition} which {en}", f"{de_preposition} {forms[DAT]} {de}"
        elif room >= 5 and r < 0.6 and noun.is_person:
            whose = Determiner("whose", "whose", ((forms[GEN],) * 4,) * 4, STRONG, True)
            owned = self.pick(ANIMALS if self.random() < 0.4 else KIN)
            pair = self.clause(
                "final",
                room,
                self.np(
                    owned, self.random() < 0.3 and "one" not in owned.groups, NOM, self.between(2, 3), determiner=whose
                ),
            )
        else:
            key = "they" if plural else noun.pronoun
            subject = NP("who" if noun.is_person else "that", forms[NOM], PL if plural else SG, noun, plural, key)
            subject.described = described
            pair = self.clause("final", room, subject)
        self.depth -= 1
        return pair
