"""German of the built-in corpus: hand-written paradigms and clauses."""

from __future__ import annotations

import pytest

from s2s.data.grammar import Grammar, pronoun
from s2s.data.grammar.conjugation import MODALS, conjugate
from s2s.data.grammar.declension import ACC, DAT, FIRST, GEN, NOM, PL, SG
from s2s.data.grammar.determiners import BARE, NO, POSSESSIVE, RELATIVE, THE, THIS, A, contract
from s2s.data.grammar.nouns import NOUNS, Noun
from s2s.data.grammar.phrases import noun_phrase
from s2s.data.grammar.verbs import VERBS, Verb


def noun(en: str) -> Noun:
    return next(noun for noun in NOUNS if noun.en == en)


def verb(infinitive: str, frame: str | None = None) -> Verb:
    return next(v for v in VERBS if v.full_infinitive == infinitive and frame in (None, v.frame))


PARADIGMS = {  # nominative, accusative, dative, genitive
    ("dog", False, "the"): "der alte Hund, den alten Hund, dem alten Hund, des alten Hundes",
    ("cat", False, "the"): "die alte Katze, die alte Katze, der alten Katze, der alten Katze",
    ("horse", False, "the"): "das alte Pferd, das alte Pferd, dem alten Pferd, des alten Pferdes",
    ("horse", True, "the"): "die alten Pferde, die alten Pferde, den alten Pferden, der alten Pferde",
    ("dog", False, "a"): "ein alter Hund, einen alten Hund, einem alten Hund, eines alten Hundes",
    ("cat", False, "a"): "eine alte Katze, eine alte Katze, einer alten Katze, einer alten Katze",
    ("horse", False, "a"): "ein altes Pferd, ein altes Pferd, einem alten Pferd, eines alten Pferdes",
    ("cat", True, ""): "alte Katzen, alte Katzen, alten Katzen, alter Katzen",
    ("dog", False, "no"): "kein alter Hund, keinen alten Hund, keinem alten Hund, keines alten Hundes",
    ("dog", True, "no"): "keine alten Hunde, keine alten Hunde, keinen alten Hunden, keiner alten Hunde",
    ("dog", False, "this"): "dieser alte Hund, diesen alten Hund, diesem alten Hund, dieses alten Hundes",
    ("horse", False, "our"): "unser altes Pferd, unser altes Pferd, unserem alten Pferd, unseres alten Pferdes",
    ("cat", False, "her"): "ihre alte Katze, ihre alte Katze, ihrer alten Katze, ihrer alten Katze",
    ("neighbour", False, "the"): "der alte Nachbar, den alten Nachbarn, dem alten Nachbarn, des alten Nachbarn",
    ("student", False, "a"): "ein alter Student, einen alten Studenten, einem alten Studenten, eines alten Studenten",
}
DETERMINERS = {"the": THE, "a": A, "": BARE, "no": NO, "this": THIS, "our": POSSESSIVE["we"], "her": POSSESSIVE["she"]}


@pytest.mark.parametrize(("en", "plural", "determiner"), PARADIGMS)
def test_paradigm_of_article_adjective_and_noun(en: str, plural: bool, determiner: str) -> None:
    forms = [
        noun_phrase(noun(en), plural, case, DETERMINERS[determiner], [("old", "alt")])[1]
        for case in (NOM, ACC, DAT, GEN)
    ]
    assert ", ".join(forms) == PARADIGMS[en, plural, determiner]


def test_english_article() -> None:
    assert noun_phrase(noun("apple"), False, NOM, A)[0] == "an apple"
    assert noun_phrase(noun("apple"), False, NOM, A, [("good", "gut")])[0] == "a good apple"
    assert noun_phrase(noun("dog"), False, NOM, A, [("old", "alt")])[0] == "an old dog"


def test_relative_and_personal_pronouns() -> None:
    assert [" ".join(row) for row in RELATIVE] == [
        "der den dem dessen",
        "die die der deren",
        "das das dem dessen",
        "die die denen deren",
    ]
    forms = {key: [pronoun(key, case=case).de for case in (NOM, ACC, DAT)] for key in ("I", "we", "he", "she", "they")}
    assert forms == {
        "I": ["ich", "mich", "mir"],
        "we": ["wir", "uns", "uns"],
        "he": ["er", "ihn", "ihm"],
        "she": ["sie", "sie", "ihr"],
        "they": ["sie", "sie", "ihnen"],
    }


def test_contractions() -> None:
    assert contract("in", "dem alten Haus") == "im alten Haus"
    assert contract("zu", "der Frau") == "zur Frau"
    assert contract("in", "das Haus") == "ins Haus"
    assert contract("in", "diesem Haus") == "in diesem Haus"
    assert contract("auf", "dem Tisch") == "auf dem Tisch"


GENDERS = {
    "der": "man boy student dog bird bear apple letter key ball coat hat train bus garden park forest station market "
    "river tree table film doctor king",
    "die": "woman sister nurse cat cow mouse potato soup milk newspaper story bag bottle lamp flower jacket door "
    "school city kitchen church street library bridge wall question",
    "das": "girl child horse pig egg bread meat water book knife glass present picture shirt window radio car bicycle "
    "ship house village room restaurant museum castle bed shelf song game",
}
PLURALS = (
    "man Männer, boy Jungen, girl Mädchen, doctor Ärzte, brother Brüder, mother Mütter, "
    "daughter Töchter, guest Gäste, bird Vögel, mouse Mäuse, apple Äpfel, egg Eier, book Bücher, "
    "key Schlüssel, ball Bälle, glass Gläser, chair Stühle, coat Mäntel, hat Hüte, shirt Hemden, "
    "radio Radios, bicycle Fahrräder, train Züge, bus Busse, house Häuser, city Städte, village Dörfer, "
    "station Bahnhöfe, museum Museen, castle Schlösser, river Flüsse, lake Seen, tree Bäume, wall Wände, "
    "farmer Bauern"
)
DATIVE_PLURALS = "Männern Kindern Frauen Autos Mädchen Gästen Häusern Museen Radios Hunden Äpfeln Lehrern Hemden"
GENITIVES = "Mannes Jungen Kindes Tees Kaffees Busses Hauses Bauern Lehrers Parks Frau Flusses Sees"


def test_nouns_against_a_dictionary() -> None:
    for article, names in GENDERS.items():
        for name in names.split():
            assert THE.de[noun(name).gender][NOM] == article, name
    for entry in PLURALS.split(", "):
        en, de = entry.split()
        assert noun(en).plural[NOM] == de
    assert set(DATIVE_PLURALS.split()) <= {entry.plural[DAT] for entry in NOUNS}
    assert set(GENITIVES.split()) <= {entry.singular[GEN] for entry in NOUNS}


VERB_FORMS = [  # infinitive, agreement, tense, finite verb, end of a main clause, end of a subordinate clause
    ("anrufen", SG, "present", "ruft", "an", "anruft"),
    ("anrufen", PL, "past", "riefen", "an", "anriefen"),
    ("anrufen", SG, "perfect", "hat", "angerufen", "angerufen hat"),
    ("aufstehen", SG, "perfect", "ist", "aufgestanden", "aufgestanden ist"),
    ("einladen", SG, "present", "lädt", "ein", "einlädt"),
    ("mitbringen", SG, "pluperfect", "hatte", "mitgebracht", "mitgebracht hatte"),
    ("lesen", FIRST, "present", "lese", "", "lese"),
    ("lesen", PL, "passive", "werden", "gelesen", "gelesen werden"),
    ("gehen", PL, "pluperfect", "waren", "gegangen", "gegangen waren"),
    ("wissen", FIRST, "present", "weiß", "", "weiß"),
    ("mögen", SG, "present", "mag", "", "mag"),
    ("beantworten", SG, "past", "beantwortete", "", "beantwortete"),
    ("sein", PL, "past", "waren", "", "waren"),
]


@pytest.mark.parametrize(("infinitive", "agr", "tense", "finite", "right", "final"), VERB_FORMS)
def test_verb_forms(infinitive: str, agr: int, tense: str, finite: str, right: str, final: str) -> None:
    assert conjugate(verb(infinitive), agr, tense, False, False)[2:] == (finite, right, final)


SEPARABLE = (
    "abholen anfangen ankommen anmachen anrufen anziehen aufmachen aufräumen aufstehen aufwachen ausmachen "
    "ausruhen ausziehen einladen einschlafen mitbringen zuhören zumachen zurückgeben zurückkommen"
)
WITH_SEIN = "ankommen aufstehen aufwachen einschlafen fahren folgen gehen kommen laufen schwimmen sein zurückkommen"


def test_separable_verbs_and_perfect_with_sein() -> None:
    assert {v.full_infinitive for v in VERBS if v.prefix} == set(SEPARABLE.split())
    assert {v.full_infinitive for v in VERBS if v.sein} == set(WITH_SEIN.split())
    assert verb("anrufen").zu_infinitive == "anzurufen"
    assert verb("besuchen").zu_infinitive == "zu besuchen"


def test_modal_verbs() -> None:
    must, read = next(modal for modal in MODALS if modal.en[0] == "must"), verb("lesen")
    assert conjugate(read, SG, must, False, False) == ("must", "read", "muss", "lesen", "lesen muss")
    assert conjugate(read, PL, must, True, False) == ("must not", "read", "dürfen", "lesen", "lesen dürfen")
    wants = next(modal for modal in MODALS if modal.en[0] == "wants to")
    assert conjugate(read, SG, wants, False, True)[:2] == ("does", "want to read")


SHE, IT_LAMP = pronoun("she"), pronoun("it:1", noun("lamp"))
CLAUSES = [  # order, subject, verb, tense, object, English, German
    ("main", "he", "anrufen", "present", SHE, "he calls her", "er ruft sie an"),
    ("final", "he", "anrufen", "present", SHE, "he calls her", "er sie anruft"),
    ("inverted", "he", "anrufen", "present", SHE, "he calls her", "ruft er sie an"),
    ("question", "he", "anrufen", "past", SHE, "did he call her", "rief er sie an"),
    ("zu", "he", "anrufen", "present", SHE, "to call her", "sie anzurufen"),
    ("main", "we", "anrufen", "perfect", SHE, "we have called her", "wir haben sie angerufen"),
    ("final", "I", "helfen", "past", SHE, "I helped her", "ich ihr half"),
    ("vp", "he", "ausmachen", "present", IT_LAMP, "turns it off", "macht sie aus"),
    ("final", "they", "ausmachen", "pluperfect", IT_LAMP, "they had turned it off", "sie sie ausgemacht hatten"),
    ("main", "she", "suchen", "present", IT_LAMP, "she looks for it", "sie sucht sie"),
    ("main", "she", "warten", "past", SHE, "she waited for her", "sie wartete auf sie"),
    ("final", "I", "kümmern", "present", SHE, "I look after her", "ich mich um sie kümmere"),
    ("inverted", "they", "beeilen", "present", None, "they hurry", "beeilen sie sich"),
    ("zu", "we", "ausruhen", "present", None, "to rest", "uns auszuruhen"),
]


@pytest.mark.parametrize(("order", "subject", "infinitive", "tense", "recall", "en", "de"), CLAUSES)
def test_word_order_of_clauses(order, subject, infinitive, tense, recall, en, de) -> None:  # type: ignore[no-untyped-def]
    v = verb(infinitive, "prep" if infinitive == "warten" else None)
    pair = Grammar(1).clause(order, 4, pronoun(subject), v, tense=tense, recall=recall, bare=True)
    assert pair == (en, de)
