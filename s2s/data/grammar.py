"""The built-in corpus: English sentences and their German translations, made by a synchronous grammar.

A *synchronous* grammar (Aho & Ullman 1969, "Syntax directed translations and the pushdown assembler"; Chiang 2007,
"Hierarchical phrase-based translation") writes two languages at once: each rule builds a phrase and its translation
from the same parts, in the order and with the endings that each language wants. Here a rule is a method that returns
(English, German); the words and their forms are in `lexicon.py`. Nothing is downloaded, and the same seed gives the
same corpus on every machine.

The German is that of a language course, with the problems that make translation hard:

- verb second, also after a fronted phrase: "Today the man buys a hat." → "Heute kauft der Mann einen Hut."
- the verb last in subordinate clauses: "… because he has bought a hat." → "…, weil er einen Hut gekauft hat."
- separable verbs: "He calls her." → "Er ruft sie an.", but "… that he calls her." → "…, dass er sie anruft."
- modal verbs, perfect, future and passive, whose second half stands at the end: "She must not read the letter today."
  → "Sie darf heute den Brief nicht lesen."
- infinitive clauses: "He goes to the market in order to buy a hat." → "Er geht auf den Markt, um einen Hut zu kaufen."
- case, gender and number of articles, adjectives, nouns: "He helps the old boys." → "Er hilft den alten Jungen."
- relative clauses in relative clauses, moved behind the verb that they would cut off: "He has seen the dog that chased
  the cat." → "Er hat den Hund gesehen, der die Katze jagte."
- words that depend on others: "knows him / knows that" → "kennt / weiß", "the boy eats / the dog eats" → "isst /
  frisst", "must / must not" → "muss / darf nicht", "when he saw / when he sees" → "als / wenn", "puts the book / the
  lamp on the table" → "legt / stellt", "She is a teacher." → "Sie ist Lehrerin."
- "it" → er, sie, es by its noun: "He buys a lamp and repairs it." → "Er kauft eine Lampe und repariert sie."

Each English sentence has one translation, so a perfect model reaches 100 BLEU. This holds because what could be
attached in two ways has one reading: a relative clause belongs to the nearest noun, an adverb to the nearest verb, an
object "it" is the object before, a subject "it" the subject before.

Length is the number of words of the English sentence, 3 to 60. A rule gets the number of words that it should fill and
divides it among its parts; a part with much room becomes a clause with clauses inside, so long sentences are deep
rather than long lists. A sentence whose length falls outside the wanted bin is thrown away. `TRAIN_SHARES` has the
lengths of train and validation; the test split has equally many sentences in each of the six bins.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeVar

from s2s.data.lexicon import (
    ACC,
    ACTING,
    ALL,
    BARE,
    CITIES,
    CONJUNCTIONS,
    CONNECTORS,
    DAT,
    EVERY,
    FREQUENT,
    GEN,
    MANY,
    MODALS,
    NAMES,
    NO,
    NOM,
    NOT_A,
    NOT_BARE,
    NOUNS,
    PASSING,
    PASSIVE,
    PAST_MODALS,
    PL,
    PLURAL,
    POSSESSIVE,
    PRONOUNS,
    REFLEXIVE,
    RELATIVE,
    SG,
    SOME,
    SOUNDING,
    STRONG,
    THE,
    THIS,
    THREE,
    TIMES,
    TWO,
    VERBS,
    WAY,
    A,
    Adjective,
    Determiner,
    Modal,
    Noun,
    Pair,
    Tense,
    Verb,
    conjugate,
    contract,
    noun_phrase,
)
from s2s.errors import S2SError

LENGTH_BINS = (10, 20, 30, 40, 50, 60)  # upper edges, words of the source
TRAIN_SHARES = (0.28, 0.33, 0.16, 0.09, 0.07, 0.07)  # of these bins in train and validation: mean length about 21
SHORTEST = 3
MAX_TRIES = 20_000  # for one pair

T = TypeVar("T")


def _nouns(*groups: str) -> tuple[Noun, ...]:
    return tuple(noun for noun in NOUNS if noun.groups & set(groups))


def _frame(frame: str) -> tuple[Verb, ...]:
    return tuple(verb for verb in VERBS if verb.frame == frame)


_PERSONS, _ANIMALS, _KIN_NOUNS, _VEHICLES = _nouns("person"), _nouns("animal"), _nouns("kin"), _nouns("ride")
_THINGS = tuple(noun for noun in NOUNS if not noun.groups & {"person", "animal"} and noun.as_subject)
_PLACES, _SURFACES = _nouns("common", "tree"), _nouns("surface")
_PROFESSIONS = tuple(noun for noun in NOUNS if noun.feminine)
_KINDS = frozenset(
    ("person", "animal", "food", "text", "item", "clothes", "vehicle", "place", "furniture", "tree", "film")
)
_ALIKE = {noun: tuple(other for other in NOUNS if noun.groups & other.groups & _KINDS) for noun in NOUNS}
_MAN = next(noun for noun in NOUNS if noun.en == "man")
_SKY, _THAT, _TRY = _frame("sky"), _frame("that"), _frame("inf")
_SUBJECTS = {verb: _nouns(*verb.subjects) for verb in VERBS}
_STATES = tuple(verb.en[0] for verb in VERBS if "state" in verb.flags)
_PASSIVES = {
    noun: tuple(
        verb
        for verb in noun.as_object
        if verb.frame == "acc" and not verb.particle and verb.en[0] not in ("lose", "forget", "wear", *_STATES)
    )
    for noun in NOUNS
}
# Verbs whose object can be a relative pronoun: "the book that Anna reads", "the man for whom Anna waits"
_GAPS = {
    noun: tuple(
        verb
        for verb in noun.as_object
        if verb.subjects & {"person", "adult", "animal"} and not (verb.frame == "prep" and "fixed" in verb.flags)
    )
    for noun in NOUNS
}
_UNWILLED = ("verlieren", "vergessen")  # nobody goes somewhere in order to do this
_OTHERS, _WE = ("I", "we", "he", "she", "they"), ("I", "we")
_LIVING = frozenset(("person", "animal"))
# What one does in order to do something else: "goes to the market in order to buy a hat"
_MEANS = tuple(verb for verb in VERBS if verb.frame == "go" or verb.full_infinitive in ("kaufen", "aufstehen"))
_AT_PLACES = tuple(verb for verb in _frame("") if "place" in verb.flags and "person" in verb.subjects)
# Verbs that can be asked for their object: "what" does not tell paint (a wall) from paint (a picture)
_ASKABLE = tuple(verb for verb in VERBS if verb.frame in ("acc", "dat") and (verb.en[0] == "eat" or not verb.ambiguous))
# Fewest words of each frame after the verb, and how often a verb of this frame is drawn
_LEAST = {"": 0, "acc": 2, "dat": 2, "give": 4, "to": 5, "prep": 3, "at": 3, "go": 3, "put": 5, "lie": 3, "be": 1}
_OFTEN = {"": 2, "acc": 3, "dat": 5, "give": 6, "to": 6, "prep": 5, "at": 6, "go": 7, "put": 7, "lie": 10, "be": 16}
_VERBS_FOR = {
    noun: tuple(
        tuple(
            verb
            for verb in noun.as_subject
            if _LEAST.get(verb.frame, 99) <= room and (room < 7 or "place" in verb.flags or _LEAST[verb.frame] > 1)
            for _ in range(_OFTEN[verb.frame])
        )
        or tuple(verb for verb in noun.as_subject if verb.frame == "be")
        for room in range(8)
    )
    for noun in NOUNS
}

# Determiners by number and role, as often as they are drawn; "own" and "name" stand for "his" and "Anna's"
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
_OBJECT_NEGATED = _choices(the=45, a=35, this=6, own=14)  # without "some", "many": what "not" means there is unclear
_QUANTIFIERS = (EVERY, NO, ALL, MANY, SOME, TWO, THREE)
_MASS = _choices(the=40, bare=50, own=10)
_KIN = _choices(own=75, the=10, name=15)
_OF_NAME = {name: Determiner(f"{name}'s", f"{name}'s", ((f"{name}s",) * 4,) * 4, STRONG, True) for name, _ in NAMES}

# What a clause consists of, as often as it is drawn
_PLANS = ("simple",) * 46 + ("report",) * 16 + ("subordinate",) * 20 + ("try",) * 7 + ("purpose",) * 5 + ("both",) * 8
_LONG_PLANS = ("report",) * 35 + ("subordinate",) * 65


# -------------------------------------------------------------------------------------- constituents


def words(text: str) -> int:
    return text.count(" ") + 1 if text else 0


@dataclass(slots=True)
class NP:
    """A noun phrase in both languages. The German relative clause is apart: the clause decides where it goes."""

    en: str
    de: str
    agr: int
    noun: Noun  # what it is or stands for: decides the verbs that fit
    plural: bool
    key: str  # of PRONOUNS and POSSESSIVE: what refers to it
    rel: str = ""
    definite: bool = True
    pronoun: bool = False
    described: bool = False  # has an adjective
    negative: bool = False  # has "kein"
    quantified: bool = False  # "all", "every": no negation beside it


def pronoun(key: str, noun: Noun = _MAN, case: int = NOM) -> NP:
    """A personal pronoun; `key` of PRONOUNS, `noun` is what it stands for."""
    subject, other, nominative, accusative, dative, agr = PRONOUNS[key]
    de = (nominative, accusative, dative)[case]
    return NP(other if case else subject, de, agr, noun, agr > SG, key, pronoun=True)


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


# ----------------------------------------------------------------------------------------- the rules


class Grammar:
    """Draws sentences. Of the random generator only `random()` is used: Python promises its sequence for a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed).random
        self.begin()

    def begin(self) -> None:
        """A new sentence."""
        self.past = self.random() < 0.4  # told in the past
        self.told, self.had = ("past", "pluperfect") if self.past else ("present", "perfect")
        self.first = True  # nothing said so far, so that "he" may be anybody
        self.said: list[Adjective] = []  # adjectives so far: no "the cold water is cold"
        self.verbs: list[str] = []  # so far, in English
        self.timed = False  # has a "yesterday"
        self.depth = 0  # of relative clauses
        self.reports = 0  # "says that" so far
        self.mentions: list[tuple[Noun, bool]] = []  # nouns so far and whether plural, to know what "it" can mean
        self.topic: NP | None = None  # subject of the last finished clause
        self.object: NP | None = None  # object of the last clause
        self.conjunctions = [row for row in CONJUNCTIONS if row.de_past or not self.past]

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.random() * len(options))]

    def fresh(self, nouns: Sequence[Noun]) -> Noun:
        """A noun that the sentence rather does not have yet."""
        noun = self.pick(nouns)
        for _ in range(3):
            if (noun, False) in self.mentions or (noun, True) in self.mentions:
                noun = self.pick(nouns)
        return noun

    def between(self, low: int, high: int) -> int:
        return low + int(self.random() * (high - low + 1)) if high > low else low

    # ---------------------------------------------------------------------------------- noun phrases

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
        """A noun phrase of about `room` words. `heavy`: a relative clause may fill it; `owner`: whom "own" means."""
        det = determiner or self.determiner(noun, plural, case, owner, negated)
        spare = room - (2 if (det.en_plural if plural else det.en) else 1)
        clause = heavy and spare >= 3 and self.depth < 3
        adjectives: list[Pair] = []
        described = False
        if noun.adjectives and spare > 0 and self.random() < (0.9 if not clause else 0.3 if spare > 3 else 0):
            first, second = self.pick(noun.adjectives), self.pick(noun.adjectives)
            described = True
            adjectives.append((first.en, first.stem))
            self.said.append(first)
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
        """ "the man", "his old brother": definite, as beside another noun phrase."""
        det = THE
        if "kin" in noun.groups:
            det = POSSESSIVE[owner.key if owner and owner.noun.is_person else self.pick(("I", "we", "he", "she"))]
        plural = self.random() < 0.25 and "one" not in noun.groups
        return self.np(noun, plural, case, room, heavy=heavy, determiner=det)

    def place(self, room: int, nouns: Sequence[Noun], case: int = DAT, heavy: bool = False) -> NP:
        """ "in the garden" (DAT), "to the house that …" (WAY). No "im" before a relative clause: in dem Haus, das …"""
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
        """A subject of at most `room` words. `free`: "he" may be anybody, as nobody was mentioned so far."""
        r = self.random()
        noun = self.fresh(nouns or (_PERSONS if r < 0.62 else _ANIMALS if r < 0.8 else _THINGS))
        r = self.random()
        if noun.is_person and (r < 0.25 or room < 2):
            if self.random() < 0.45:
                return pronoun(self.pick(("I", "we", "he", "she", "they") if free else ("I", "we")))
            name, key = self.pick(NAMES)
            return NP(name, name, SG, _MAN, False, key)
        if noun.is_person and r < 0.36 and room >= 3:
            return self.two_persons(room)
        plural = self.random() < 0.35 and bool(noun.en_plural) and "one" not in noun.groups
        clause = heavy and room >= 6 and self.random() < 0.6
        if clause:
            room = self.between(5, min(room, 13))
        else:  # no adjective for a thing, as its predicate is mostly an adjective
            room = min(room, self.between(2, 3) if noun.groups & _LIVING else 2)
        return self.np(noun, plural, NOM, room, heavy=clause)

    def two_persons(self, room: int) -> NP:
        """ "Anna and Peter", "the man and his sister" """
        one, two = self.pick(NAMES[:3])[0], self.pick(NAMES[3:])[0]
        if room >= 5 and self.random() < 0.7:
            first = self.np(self.pick(_PERSONS), False, NOM, 2, determiner=THE)
            second = self.short(self.fresh(_PERSONS), NOM, 2, first)
            if second.noun is not first.noun:
                return NP(f"{first.en} and {second.en}", f"{first.de} und {second.de}", PL, _MAN, True, "they")
        return NP(f"{one} and {two}", f"{one} und {two}", PL, _MAN, True, "they")

    def relative(self, noun: Noun, plural: bool, room: int, described: bool) -> Pair:
        """A relative clause. Its pronoun has the gender and number of the noun and the case of its own role."""
        self.depth += 1
        forms, verbs, r = RELATIVE[PLURAL if plural else noun.gender], _GAPS[noun], self.random()
        if verbs and room >= 4 and r < (0.6 if not noun.groups & _LIVING else 0.45 if room < 9 else 0.15):
            verb = self.pick(verbs)
            subject = self.subject(min(3, room - 2), _SUBJECTS[verb], heavy=False)
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
            subject = self.subject(min(3, room - 3), _PERSONS, heavy=False)
            en, de = self.clause("final", room - 2, subject, self.pick(_AT_PLACES), gap=True)
            pair = f"{preposition} which {en}", f"{de_preposition} {forms[DAT]} {de}"
        elif room >= 5 and r < 0.6 and noun.is_person:
            whose = Determiner("whose", "whose", ((forms[GEN],) * 4,) * 4, STRONG, True)
            owned = self.pick(_ANIMALS if self.random() < 0.4 else _KIN_NOUNS)
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

    # --------------------------------------------------------------------------------------- clauses

    def verb(self, subject: NP, room: int, active: bool = False) -> Verb:
        """A verb for the subject; `active`: something that one does, not a state."""
        options = _VERBS_FOR[subject.noun][max(0, min(room, 7))]
        verb = self.pick(options)
        for attempt in range(20):
            state = "state" in verb.flags or verb.frame == "be" or verb.infinitive in _UNWILLED
            again = attempt < 3 and verb.frame != "be" and verb.en[0] in self.verbs
            if again or (active and state) or (subject.described and verb.frame == "be"):
                verb = self.pick(options)
        return verb

    def tense(self, verb: Verb, agr: int, room: int) -> Tense:
        """For a clause with `room` words to spare."""
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

        `order` of the German: main (verb second), inverted (verb first: something stands before), question, final
        (verb last); without a subject: vp (verb first), vp final, zu (infinitive). `gap`: the object or place stands
        outside, as the relative pronoun; `heavy`: may end with a relative clause; `bare`: no adverbs; `times`: when may
        be added; `recall`: its object is a pronoun for this. A given tense means that the clause tells what happens:
        no state, no "not"."""
        silent = order in ("vp", "vp final", "zu")
        left = room - (0 if silent else words(subject.en))
        if verb is None:
            passives = (
                _PASSIVES[subject.noun] if tense is None and left >= 5 and not silent and not subject.pronoun else ()
            )
            if passives and self.random() < (0.05 if subject.noun.is_person else 0.6):
                verb, tense = self.pick(passives), "past passive" if self.past else "passive"
            else:
                verb = self.verb(subject, left, active=tense is not None)
        self.verbs.append(verb.en[0])
        agr, least = subject.agr, _LEAST.get(verb.frame, 0)
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

    def agent(self, predicate: Predicate, verb: Verb, heavy: bool) -> None:
        """ "by the man" in a passive clause"""
        left = predicate.left - 1
        heavy = heavy and left >= 5 and self.random() < 0.6
        phrase = self.short(self.fresh(_SUBJECTS[verb]), DAT, left if heavy else min(left, 3), None, heavy)
        phrase.en, phrase.de = f"by {phrase.en}", f"von {phrase.de}"
        predicate.add(phrase, HOW)

    def complement(
        self, predicate: Predicate, verb: Verb, subject: NP, tense: Tense, negated: bool, heavy: bool, recall: NP | None
    ) -> None:
        """What the verb needs: objects, places, ways, predicates. The last of them may be heavy."""
        frame, least, key = verb.frame, _LEAST.get(verb.frame, 0), subject.key
        heavy = (
            heavy and tense != "gern" and predicate.left >= least + 3 and (predicate.left > 9 or self.random() < 0.6)
        )
        small = 2 + (predicate.left > least and self.random() < 0.5)  # room of a phrase that is not heavy
        others = [other for other in _OTHERS if other != key and not (other in _WE and key in _WE)]
        if frame in ("acc", "dat", "prep", "to", "put", "give"):
            preposition, de_preposition, case = verb.preposition
            case = DAT if frame == "dat" else case if preposition else ACC
            if frame == "give":
                if self.random() < 0.25:
                    predicate.add(pronoun(self.pick(others), case=DAT), PRONOUN)
                else:
                    predicate.add(self.short(self.fresh(_PERSONS), DAT, small, subject), DATIVE)
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
            phrase = self.short(self.fresh(_PERSONS), DAT, predicate.left - 1 if heavy else small, subject, heavy)
            phrase.en = f"to {phrase.en}"
            predicate.add(phrase, DATIVE)
        elif frame == "put":
            predicate.add(self.place(predicate.left if heavy else 3, _SURFACES, ACC, heavy), LAST)
        elif frame in ("at", "lie"):
            predicate.add(
                self.place(predicate.left if heavy else min(predicate.left, 4), verb.objects, heavy=heavy), LAST
            )
        elif frame == "go":
            self.way(predicate, verb, heavy)
        elif frame == "be":
            self.quality(predicate, subject, heavy)

    def way(self, predicate: Predicate, verb: Verb, heavy: bool) -> None:
        """ "into the garden"; with "ride" "to Berlin (by train)", "to the station by car" """
        if "ride" not in verb.flags:
            predicate.add(
                self.place(predicate.left if heavy else min(predicate.left, 4), verb.objects, WAY, heavy), LAST
            )
            return
        vehicle = self.pick(_VEHICLES)
        if predicate.left < 5 or self.random() < 0.5:
            en, de = self.pick(CITIES)
            predicate.put(f"to {en}", f"nach {de}", LAST)
        else:
            predicate.add(self.place(3, verb.objects, WAY), LAST)
        if predicate.left >= 2:
            predicate.put(f"by {vehicle.en}", f"mit {THE.de[vehicle.gender][DAT]} {vehicle.singular[DAT]}", HOW)

    def quality(self, predicate: Predicate, subject: NP, heavy: bool) -> None:
        """After "is": "very old", "older than his brother", "a teacher" """
        left, noun, key = predicate.left, subject.noun, subject.key
        if left >= 2 and key in ("he", "she") and (noun is _MAN or "kin" in noun.groups) and self.random() < 0.4:
            profession = self.pick(_PROFESSIONS)
            de = profession.feminine if key == "she" else profession.singular[NOM]
            predicate.put(noun_phrase(profession, False, NOM, A)[0], de, LAST)
            return
        adjective = self.pick(noun.adjectives)
        for _ in range(4):
            if adjective in self.said:
                adjective = self.pick(noun.adjectives)
        self.said.append(adjective)
        if adjective.more and left >= 4 and (left > 5 or self.random() < 0.5):
            other = self.fresh([other for other in _ALIKE[noun] if adjective in other.adjectives])
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
        """How, where and when, as far as there is room. Returns what stands at the front of the clause instead."""
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
            phrase = self.short(self.fresh(_PERSONS), DAT, 2, subject)
            phrase.en, phrase.de = f"with {phrase.en}", f"mit {phrase.de}"
            predicate.add(phrase, HOW)
        if place and predicate.left >= 3 and self.random() < 0.6:
            if to_front and self.random() < 0.4:
                phrase = self.place(3, _PLACES)
                predicate.left -= words(phrase.en)
                return phrase.en, phrase.de
            heavy = heavy and predicate.left > 6
            predicate.add(self.place(predicate.left if heavy else min(predicate.left, 4), _PLACES, heavy=heavy), WHERE)
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

    # ------------------------------------------------------------------------------------- sentences

    def only_it(self, begin: int, phrase: NP) -> bool:
        """Whether "it" can only mean this phrase, among the nouns since `begin`."""
        candidates = [noun for noun, plural in self.mentions[begin:] if not plural and noun.pronoun.startswith("it")]
        return candidates == [phrase.noun] and not phrase.noun.is_person

    def again(self, begin: int, chance: float, event: bool = False) -> NP | None:
        """A pronoun for the last subject, or None where it is not clear; `event`: it must be able to do something."""
        topic = self.topic
        if topic is None or self.random() >= chance or (event and not topic.noun.groups & _LIVING):
            return None
        return pronoun(topic.key, topic.noun) if not topic.key.startswith("it") or self.only_it(begin, topic) else None

    def new_subject(self, room: int, *, heavy: bool = True, living: bool = False) -> NP:
        nouns = (_PERSONS if self.random() < 0.8 else _ANIMALS) if living else ()
        room = max(1, min(room - 3, room // 2 + 1))
        subject = self.subject(room, nouns, heavy=heavy, free=self.first)
        while living and subject.negative:  # "until nobody …"
            subject = self.subject(room, nouns, heavy=heavy, free=self.first)
        self.first = False
        return subject

    def body(
        self, n: int, order: str, subject: NP | None = None, tense: Tense | None = None, living: bool = False
    ) -> Pair:
        """A clause of about n words with the clauses that depend on it, which stand at its end; `living`: somebody
        acts or feels, as suits a time or a condition."""
        living = living or tense is not None
        begin, plan = len(self.mentions), self.pick(_LONG_PLANS if n > 22 else _PLANS)
        person = subject is None or subject.noun.is_person
        if plan == "report" and (self.reports == 2 or n < 8 or not person):
            plan = "subordinate"
        if plan == "report":
            self.reports += 1
            subject = subject or self.subject(min(n - 6, 3), _PERSONS, heavy=False, free=self.first)
            self.first, verb = False, self.pick(_THAT)
            while tense == self.had and "state" in verb.flags:
                verb = self.pick(_THAT)
            told = tense or (self.told if "state" in verb.flags or self.random() < 0.8 else self.had)
            en, de = self.clause(order, words(subject.en) + 3, subject, verb, tense=told, bare=True)
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
        elif plan in ("try", "purpose") and n >= 9 and (not subject or subject.noun.groups & _LIVING):
            room = 3 if plan == "try" else self.between(5, max(5, min(n - 6, 12)))
            subject = subject or self.new_subject(room, heavy=False, living=True)
            if plan == "try":
                verb, um = self.pick([verb for verb in _TRY if subject.noun in _SUBJECTS[verb]]), ""
                en, de = self.clause(order, room, subject, verb, tense=tense or self.told, bare=True)
            else:
                verb, um = self.pick([verb for verb in _MEANS if subject.noun in _SUBJECTS[verb]]), "um "
                en, de = self.clause(order, room, subject, verb, tense=tense, heavy=False)
                en = f"{en} in order"
            en_part, de_part = self.clause("zu", n - words(en), subject, tense="present", times=False)
            en, de = f"{en} {en_part}", f"{de} , {um}{de_part} ,"
        elif (
            plan == "both" and n >= 8 and tense in (None, self.told) and (not subject or subject.noun.groups & _LIVING)
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
        begin, tense = len(self.mentions), self.told
        verb = self.verb(subject, room - words(subject.en), active=True)
        en, de = self.clause(order, room, subject, verb, tense=tense, heavy=False)
        thing, options = self.object, []
        clear = thing and (not thing.key.startswith("it") or self.only_it(begin, thing))
        if thing and clear and not (thing.pronoun or thing.negative or thing.key == subject.key):
            verbs = thing.noun.as_object
            options = [other for other in verbs if other.frame == "acc" and subject.noun in _SUBJECTS[other]]
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
        state = not first and self.topic is not None and not self.topic.noun.groups & _LIVING  # "it is old until …"
        rows = [row for row in self.conjunctions if (row.first or not first) and not (state and row.event)]
        row = self.pick(rows or self.conjunctions)
        self.conjunctions.remove(row)
        if n < 9 and not row.perfect and self.random() < 0.12:
            self.topic = None
            it = NP("it", "es", SG, _MAN, False, "it:2", pronoun=True)
            en, de = self.clause("final", 2, it, self.pick(_SKY), tense=self.told, bare=True)
        else:
            tense = self.had if row.perfect else self.told if row.event else None
            en, de = self.body(n - words(row.en), "final", self.again(begin, 0.4, row.event), tense)
        return f"{row.en} {en}", f"{row.de_past if self.past else row.de} {de}"

    def statement(self, n: int, joins: int, subject: NP | None = None) -> Pair:
        """A main clause with all that belongs to it, or up to `joins` + 1 of them."""
        begin, r = len(self.mentions), self.random()
        if joins and n >= 10 and r < (0.2 if n < 22 else 0.45 if n < 35 else 0.75):
            en, de = self.statement(self.between(n * 35 // 100, n * 60 // 100), 0, subject)
            en_join, de_join, inverted = self.pick(CONNECTORS)
            rest = n - words(en) - words(en_join) + 1
            event = en_join == ", and then"
            who = self.again(begin, 0.35, event)
            if inverted:
                en_part, de_part = self.body(rest, "inverted", who, self.told if event else None)
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
            verb = self.pick(_ASKABLE)
            subject = self.subject(min(3, n - 3), _SUBJECTS[verb], heavy=False, free=True)
            en, de = self.clause("question", n - 1, subject, verb, gap=True)
            if any(noun.is_person for noun in verb.objects):
                return f"whom {en}", f"{'wem' if verb.frame == 'dat' else 'wen'} {de}"
            return f"what {en}", f"was {de}"
        subject = self.subject(min(3, n - 2), heavy=False, free=True)
        while subject.quantified:  # "When does nobody …?"
            subject = self.subject(min(3, n - 2), heavy=False, free=True)
        if r < 0.5:
            if r < 0.4 or not subject.noun.groups & _LIVING:
                en, de = self.clause("question", n - 1, subject)
                return f"why {en}", f"warum {de}"
            en, de = self.clause("question", n - 1, subject, tense=self.told, times=False)
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


# ---------------------------------------------------------------------------------------- the corpus


def generate(split: str, *, pairs: int, seed: int) -> Iterator[Pair]:
    """Yield `pairs` different pairs (English, German) of "train", "validation" or "test".

    A hash of the German sentence says which split it belongs to: test and validation have one tenth each, train has the
    rest. As a source has one translation, no sentence of either language is in two splits, whatever their sizes and
    seeds. A smaller corpus is the beginning of a larger one with the same seed. Of the pairs so far only 8-byte digests
    are kept. `pairs` of test are divided equally over the six bins of length, which take turns.
    """
    if split not in ("train", "validation", "test"):
        raise S2SError(f"unknown split {split!r} of the grammar corpus: train, validation or test")
    if pairs < 0:
        raise S2SError(f"the grammar corpus needs pairs >= 0, not {pairs}")
    if split == "test" and pairs % len(LENGTH_BINS):
        raise S2SError(
            f"the test split has equally many pairs in {len(LENGTH_BINS)} length bins: pairs={pairs} is no multiple"
        )
    return _generate(split, pairs, seed)


def _generate(split: str, pairs: int, seed: int) -> Iterator[Pair]:
    digest = blake2b(f"{split} {seed}".encode(), digest_size=8).digest()
    grammar = Grammar(int.from_bytes(digest, "big"))
    seen: set[int] = set()
    for i in range(pairs):
        bin_ = i % len(LENGTH_BINS) if split == "test" else _draw_bin(grammar.random())
        low, high = (LENGTH_BINS[bin_ - 1] + 1 if bin_ else SHORTEST), LENGTH_BINS[bin_]
        for _ in range(MAX_TRIES):
            # of the short sentences more of the longer ones, as there are few different ones of three words
            wanted = (
                max(grammar.between(low, high), grammar.between(low, high)) if bin_ == 0 else grammar.between(low, high)
            )
            source, target = grammar.sentence(wanted)
            if not low <= words(source) <= high:
                continue
            key = int.from_bytes(blake2b(target.encode(), digest_size=8).digest(), "big")
            if split_of(key) == split and key not in seen:
                seen.add(key)
                yield source, target
                break
        else:
            raise S2SError(f"the grammar corpus has not {pairs} different pairs for {split}: ask for fewer")


def split_of(key: int) -> str:
    """The split of a sentence with this digest."""
    return {0: "test", 1: "validation"}.get(key % 10, "train")


def _draw_bin(r: float) -> int:
    for bin_, share in enumerate(TRAIN_SHARES):
        r -= share
        if r < 0:
            return bin_
    return len(TRAIN_SHARES) - 1
