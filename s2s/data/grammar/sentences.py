"""Rules of sentences: subordinate clauses, coordinated main clauses, and questions.

These rules make long sentences deep: they divide the word budget between a clause and its subordinate clauses, as in
"Anna hopes that the man sleeps because …". They also choose whether the next clause repeats its subject as a pronoun.
"""

from __future__ import annotations

from s2s.data.grammar.clauses import Clauses
from s2s.data.grammar.conjugation import Tense
from s2s.data.grammar.conjunctions import CONNECTORS
from s2s.data.grammar.declension import SG
from s2s.data.grammar.nouns import MAN
from s2s.data.grammar.pairs import Pair, words
from s2s.data.grammar.phrases import NP, pronoun
from s2s.data.grammar.verbs import VERBS_OF_OBJECT
from s2s.data.grammar.word_groups import (
    ANIMALS,
    ASKABLE,
    LIVING,
    MEANS,
    PERSONS,
    SKY_VERBS,
    SUBJECTS,
    THAT_VERBS,
    TRY_VERBS,
)

# Structures of a clause, repeated by frequency
_PLANS = ("simple",) * 46 + ("report",) * 16 + ("subordinate",) * 20 + ("try",) * 7 + ("purpose",) * 5 + ("both",) * 8
_LONG_PLANS = ("report",) * 35 + ("subordinate",) * 65


class Grammar(Clauses):
    """Generator of sentences: all rules together."""

    def only_it(self, begin: int, phrase: NP) -> bool:
        """Whether "it" can only mean this phrase, among the nouns since `begin`."""
        candidates = [noun for noun, plural in self.mentions[begin:] if not plural and noun.pronoun.startswith("it")]
        return candidates == [phrase.noun] and not phrase.noun.is_person

    def again(self, begin: int, chance: float, event: bool = False) -> NP | None:
        """A pronoun for the last subject, or None if it is ambiguous; `event`: the subject must be able to act."""
        topic = self.topic
        if topic is None or self.random() >= chance or (event and not topic.noun.groups & LIVING):
            return None
        return pronoun(topic.key, topic.noun) if not topic.key.startswith("it") or self.only_it(begin, topic) else None

    def new_subject(self, room: int, *, heavy: bool = True, living: bool = False) -> NP:
        nouns = (PERSONS if self.random() < 0.8 else ANIMALS) if living else ()
        room = max(1, min(room - 3, room // 2 + 1))
        subject = self.subject(room, nouns, heavy=heavy, free=self.first)
        while living and subject.negative:  # "until nobody …"
            subject = self.subject(room, nouns, heavy=heavy, free=self.first)
        self.first = False
        return subject

    def body(
        self, n: int, order: str, subject: NP | None = None, tense: Tense | None = None, living: bool = False
    ) -> Pair:
        """A clause of about n words, ending with its subordinate clauses; `living`: the subject is a person or an
        animal, as a condition or an adverb of time requires."""
        living = living or tense is not None
        begin, plan = len(self.mentions), self.pick(_LONG_PLANS if n > 22 else _PLANS)
        person = subject is None or subject.noun.is_person
        if plan == "report" and (self.reports == 2 or n < 8 or not person):
            plan = "subordinate"
        if plan == "report":
            self.reports += 1
            subject = subject or self.subject(min(n - 6, 3), PERSONS, heavy=False, free=self.first)
            self.first, verb = False, self.pick(THAT_VERBS)
            while tense == self.tense_before and "state" in verb.flags:
                verb = self.pick(THAT_VERBS)
            report_tense = tense or (
                self.tense_now if "state" in verb.flags or self.random() < 0.8 else self.tense_before
            )
            en, de = self.clause(order, words(subject.en) + 3, subject, verb, tense=report_tense, bare=True)
            that, dass = ("whether", "ob") if "whether" in verb.flags else ("that", "dass")
            self.topic = subject
            en_part, de_part = self.body(n - words(en) - 1, "final", self.again(begin, 0.25))
            en, de = f"{en} {that} {en_part}", f"{de} , {dass} {de_part} ,"
        elif plan == "subordinate" and n >= 9 and self.conjunctions:
            room = self.between(4, min(n - 5, 15)) if n < 30 else self.between(10, 20)
            subject = subject or self.new_subject(room, living=living)
            en, de = self.clause(order, room, subject, tense=tense)
            self.topic = subject
            en_part, de_part = self.subordinate(n - words(en), begin)
            en, de = f"{en} {en_part}", f"{de} , {de_part} ,"
        elif plan in ("try", "purpose") and n >= 9 and (not subject or subject.noun.groups & LIVING):
            room = 3 if plan == "try" else self.between(5, max(5, min(n - 6, 12)))
            subject = subject or self.new_subject(room, heavy=False, living=True)
            if plan == "try":
                verb, um = self.pick([verb for verb in TRY_VERBS if subject.noun in SUBJECTS[verb]]), ""
                en, de = self.clause(order, room, subject, verb, tense=tense or self.tense_now, bare=True)
            else:
                verb, um = self.pick([verb for verb in MEANS if subject.noun in SUBJECTS[verb]]), "um "
                en, de = self.clause(order, room, subject, verb, tense=tense, heavy=False)
                en = f"{en} in order"
            en_part, de_part = self.clause("zu", n - words(en), subject, tense="present", times=False)
            en, de = f"{en} {en_part}", f"{de} , {um}{de_part} ,"
        elif (
            plan == "both"
            and n >= 8
            and tense in (None, self.tense_now)
            and (not subject or subject.noun.groups & LIVING)
        ):
            en, de, subject = self.both(n, order, subject)
        else:
            subject = subject or self.new_subject(n, living=living)
            en, de = self.clause(order, n, subject, tense=tense)
        self.topic = subject
        return en, de

    def both(self, n: int, order: str, subject: NP | None) -> tuple[str, str, NP]:
        """Two predicates of one subject: "buys an apple and eats it" """
        room = self.between(4, n - 3)
        subject = subject or self.new_subject(room, heavy=False, living=True)
        begin, tense = len(self.mentions), self.tense_now
        verb = self.verb(subject, room - words(subject.en), active=True)
        en, de = self.clause(order, room, subject, verb, tense=tense, heavy=False)
        thing, options = self.object, []
        clear = thing and (not thing.key.startswith("it") or self.only_it(begin, thing))
        if thing and clear and not (thing.pronoun or thing.negative or thing.key == subject.key):
            verbs = VERBS_OF_OBJECT[thing.noun]
            options = [other for other in verbs if other.frame == "acc" and subject.noun in SUBJECTS[other]]
        recall = thing if options and self.random() < 0.7 else None
        second = self.pick(options) if recall else None
        if second is verb:
            recall = second = None
        order = "vp final" if order == "final" else "vp"
        en_part, de_part = self.clause(
            order, n - words(en) - 1, subject, second, tense=tense, times=False, recall=recall
        )
        return f"{en} and {en_part}", f"{de} und {de_part}", subject

    def subordinate(self, n: int, begin: int, first: bool = False) -> Pair:
        """A subordinate clause with its conjunction; `first`: it opens the sentence."""
        state = not first and self.topic is not None and not self.topic.noun.groups & LIVING  # "it is old until …"
        rows = [row for row in self.conjunctions if (row.first or not first) and not (state and row.event)]
        row = self.pick(rows or self.conjunctions)
        self.conjunctions.remove(row)
        if n < 9 and not row.perfect and self.random() < 0.12:
            self.topic = None
            it = NP("it", "es", SG, MAN, False, "it:2", pronoun=True)
            en, de = self.clause("final", 2, it, self.pick(SKY_VERBS), tense=self.tense_now, bare=True)
        else:
            tense = self.tense_before if row.perfect else self.tense_now if row.event else None
            en, de = self.body(n - words(row.en), "final", self.again(begin, 0.4, row.event), tense)
        return f"{row.en} {en}", f"{row.de_past if self.past else row.de} {de}"

    def statement(self, n: int, joins: int, subject: NP | None = None) -> Pair:
        """A main clause with its subordinate clauses, or up to `joins` + 1 of them."""
        begin, r = len(self.mentions), self.random()
        if joins and n >= 10 and r < (0.2 if n < 22 else 0.45 if n < 35 else 0.75):
            en, de = self.statement(self.between(n * 35 // 100, n * 60 // 100), 0, subject)
            en_join, de_join, inverted = self.pick(CONNECTORS)
            rest = n - words(en) - words(en_join) + 1
            event = en_join == ", and then"
            who = self.again(begin, 0.35, event)
            if inverted:
                en_part, de_part = self.body(rest, "inverted", who, self.tense_now if event else None)
            else:
                en_part, de_part = self.statement(rest, joins - 1, who)
            return f"{en}{en_join} {en_part}", f"{de}{de_join} {de_part}"
        if n >= 9 and subject is None and self.conjunctions and self.random() < 0.3:
            en, de = self.subordinate(self.between(4, min(n - 4, 15)), begin, first=True)
            event = not en.startswith("although")
            en_part, de_part = self.body(n - words(en), "inverted", self.again(begin, 0.5, event), living=event)
            return f"{en}, {en_part}", f"{de} , {de_part}"
        return self.body(n, "main", subject)

    def question(self, n: int) -> Pair:
        r = self.random()
        if r < 0.25:
            verb = self.pick(ASKABLE)
            subject = self.subject(min(3, n - 3), SUBJECTS[verb], heavy=False, free=True)
            en, de = self.clause("question", n - 1, subject, verb, gap=True)
            if any(noun.is_person for noun in verb.objects):
                return f"whom {en}", f"{'wem' if verb.frame == 'dat' else 'wen'} {de}"
            return f"what {en}", f"was {de}"
        subject = self.subject(min(3, n - 2), heavy=False, free=True)
        while subject.quantified:  # "When does nobody …?"
            subject = self.subject(min(3, n - 2), heavy=False, free=True)
        if r < 0.5:
            if r < 0.4 or not subject.noun.groups & LIVING:
                en, de = self.clause("question", n - 1, subject)
                return f"why {en}", f"warum {de}"
            en, de = self.clause("question", n - 1, subject, tense=self.tense_now, times=False)
            return f"when {en}", f"wann {de}"
        return self.clause("question", n, subject)

    def sentence(self, n: int) -> Pair:
        """A sentence of about n words."""
        self.begin()
        mark = "?" if 4 <= n <= 12 and self.random() < 0.12 else "."
        en, de = self.question(n) if mark == "?" else self.statement(n, 1 if n < 28 else 2)
        while " , ," in de:  # a clause ends where another one ends or begins
            de = de.replace(" , ,", " ,")
        de = de.removesuffix(" ,").replace(" ,", ",")
        return en[0].upper() + en[1:] + mark, de[0].upper() + de[1:] + mark
