"""Groups of compatible words: the nouns of each kind, and the verbs that fit a noun or a kind of clause.

The rules draw from these tuples. A more frequent word is in its tuple more than once.
"""

from __future__ import annotations

from s2s.data.grammar.nouns import NOUNS, Noun
from s2s.data.grammar.verbs import VERBS, VERBS_OF_OBJECT, VERBS_OF_SUBJECT, Verb


def _nouns(*groups: str) -> tuple[Noun, ...]:
    return tuple(noun for noun in NOUNS if noun.groups & set(groups))


def _frame(frame: str) -> tuple[Verb, ...]:
    return tuple(verb for verb in VERBS if verb.frame == frame)


LIVING = frozenset(("person", "animal"))
PERSONS, ANIMALS, KIN, VEHICLES = _nouns("person"), _nouns("animal"), _nouns("kin"), _nouns("ride")
THINGS = tuple(noun for noun in NOUNS if not noun.groups & {"person", "animal"} and VERBS_OF_SUBJECT[noun])
PLACES, SURFACES = _nouns("common", "tree"), _nouns("surface")
PROFESSIONS = tuple(noun for noun in NOUNS if noun.feminine)
_KINDS = frozenset(
    ("person", "animal", "food", "text", "item", "clothes", "vehicle", "place", "furniture", "tree", "film")
)
# Nouns that a noun can be compared with: "The dog is older than the cat"
ALIKE = {noun: tuple(other for other in NOUNS if noun.groups & other.groups & _KINDS) for noun in NOUNS}
SKY_VERBS, THAT_VERBS, TRY_VERBS = _frame("sky"), _frame("that"), _frame("inf")
SUBJECTS = {verb: _nouns(*verb.subjects) for verb in VERBS}
_STATES = tuple(verb.en[0] for verb in VERBS if "state" in verb.flags)
# Verbs whose object can be the subject of a passive clause: "The letter is read by Anna"
PASSIVABLE = {
    noun: tuple(
        verb
        for verb in VERBS_OF_OBJECT[noun]
        if verb.frame == "acc" and not verb.particle and verb.en[0] not in ("lose", "forget", "wear", *_STATES)
    )
    for noun in NOUNS
}
# Verbs whose object can be a relative pronoun: "the book that Anna reads", "the man for whom Anna waits"
GAP_VERBS = {
    noun: tuple(
        verb
        for verb in VERBS_OF_OBJECT[noun]
        if verb.subjects & {"person", "adult", "animal"} and not (verb.frame == "prep" and "fixed" in verb.flags)
    )
    for noun in NOUNS
}
# Actions with a purpose: "goes to the market in order to buy a hat"
MEANS = tuple(verb for verb in VERBS if verb.frame == "go" or verb.full_infinitive in ("kaufen", "aufstehen"))
# Actions at a place: "the garden in which Anna sleeps"
AT_PLACES = tuple(verb for verb in _frame("") if "place" in verb.flags and "person" in verb.subjects)
# Verbs that can be asked for their object: "what" does not tell paint (a wall) from paint (a picture)
ASKABLE = tuple(verb for verb in VERBS if verb.frame in ("acc", "dat") and (verb.en[0] == "eat" or not verb.ambiguous))
# Minimum number of words of each frame after the verb, and the frequency of its verbs
LEAST = {"": 0, "acc": 2, "dat": 2, "give": 4, "to": 5, "prep": 3, "at": 3, "go": 3, "put": 5, "lie": 3, "be": 1}
_OFTEN = {"": 2, "acc": 3, "dat": 5, "give": 6, "to": 6, "prep": 5, "at": 6, "go": 7, "put": 7, "lie": 10, "be": 16}
# Verbs for a subject, by the words that may follow them; the last entry is for seven and more
VERBS_FOR = {
    noun: tuple(
        tuple(
            verb
            for verb in VERBS_OF_SUBJECT[noun]
            if LEAST.get(verb.frame, 99) <= room and (room < 7 or "place" in verb.flags or LEAST[verb.frame] > 1)
            for _ in range(_OFTEN[verb.frame])
        )
        or tuple(verb for verb in VERBS_OF_SUBJECT[noun] if verb.frame == "be")
        for room in range(8)
    )
    for noun in NOUNS
}
