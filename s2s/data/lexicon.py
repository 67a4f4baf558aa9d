"""The words of the built-in corpus (`grammar.py`) and how they inflect.

Two tables hold what a dictionary holds: nouns with gender, plural and the groups they belong to ("food", "text" …);
verbs with their principal parts, the case that they govern and the groups of their subjects and objects. Two German
verbs may share their English: `eat` is *essen* for people and *fressen* for animals. The rest of the file is the
regular part of the morphology: endings of nouns, articles and adjectives, and the forms of verbs in both languages.

Reading the verb table: `an+rufen` is separable (er ruft an, dass er anruft, angerufen, anzurufen); a participle with *
takes *sein* in the perfect; `sich` marks a reflexive verb; `turn~on` has a particle, which a pronoun precedes ("turns
it on").
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

NOM, ACC, DAT, GEN = range(4)  # cases
MASC, FEM, NEUT, PLURAL = range(4)  # columns of every agreement table: German has no gender in the plural
FIRST, SG, FIRST_PLURAL, PL = range(4)  # agreement of a verb with its subject: ich, er/sie/es, wir, sie

# --------------------------------------------- articles, pronouns, adjective endings: [gender][case]

DER = (
    ("der", "den", "dem", "des"),
    ("die", "die", "der", "der"),
    ("das", "das", "dem", "des"),
    ("die", "die", "den", "der"),
)
RELATIVE = (
    ("der", "den", "dem", "dessen"),
    ("die", "die", "der", "deren"),
    ("das", "das", "dem", "dessen"),
    ("die", "die", "denen", "deren"),
)
_EIN = (("", "en", "em", "es"), ("e", "e", "er", "er"), ("", "", "em", "es"), ("e", "e", "en", "er"))
_DIESER = (("er", "en", "em", "es"), ("e", "e", "er", "er"), ("es", "es", "em", "es"), ("e", "e", "en", "er"))
STRONG = (("er", "en", "em", "en"), ("e", "e", "er", "er"), ("es", "es", "em", "en"), ("e", "e", "en", "er"))
WEAK = (("e", "en", "en", "en"), ("e", "e", "en", "en"), ("e", "e", "en", "en"), ("en", "en", "en", "en"))
MIXED = (("er", "en", "en", "en"), ("e", "e", "en", "en"), ("es", "es", "en", "en"), ("en", "en", "en", "en"))
Table = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Determiner:
    """What stands before a noun. `en` and `en_plural` are "" where English has no word ("apples")."""

    en: str
    en_plural: str
    de: Table
    adjective: Table  # endings of an adjective after it
    definite: bool  # decides where an object stands in the German clause


def _inflect(stem: str, endings: Table) -> Table:
    return tuple(tuple(stem + ending for ending in row) for row in endings)


def _fixed(word: str) -> Table:
    return ((word,) * 4,) * 4


THE = Determiner("the", "the", DER, WEAK, True)
A = Determiner("a", "", (*_inflect("ein", _EIN)[:3], ("",) * 4), (*MIXED[:3], STRONG[PLURAL]), False)
NO = Determiner("no", "no", _inflect("kein", _EIN), MIXED, False)
NOT_BARE = Determiner("", "", NO.de, MIXED, False)
NOT_A = Determiner("a", "", NO.de, MIXED, False)  # "does not see a dog" -> "sieht keinen Hund"
BARE = Determiner("", "", _fixed(""), STRONG, False)
THIS = Determiner("this", "these", _inflect("dies", _DIESER), WEAK, True)
EVERY = Determiner("every", "", _inflect("jed", _DIESER), WEAK, True)  # singular only
ALL = Determiner("", "all", _inflect("all", _DIESER), WEAK, True)  # plural only, as the following
MANY = Determiner("", "many", _inflect("viel", _DIESER), STRONG, False)
SOME = Determiner("", "some", _inflect("einig", _DIESER), STRONG, False)
TWO = Determiner("", "two", _fixed("zwei"), STRONG, False)
THREE = Determiner("", "three", _fixed("drei"), STRONG, False)
POSSESSIVE = {
    who: Determiner(en, en, _inflect(stem, _EIN), MIXED, True)
    for who, en, stem in (
        ("I", "my", "mein"), ("we", "our", "unser"), ("he", "his", "sein"), ("she", "her", "ihr"),
        ("they", "their", "ihr"),
        ("it:0", "its", "sein"), ("it:1", "its", "ihr"), ("it:2", "its", "sein"),
    )
}  # fmt: skip
# Key: English subject and object, German nominative, accusative and dative, agreement. "it:gender" is the English "it".
PRONOUNS = {
    "I": ("I", "me", "ich", "mich", "mir", FIRST),
    "we": ("we", "us", "wir", "uns", "uns", FIRST_PLURAL),
    "he": ("he", "him", "er", "ihn", "ihm", SG),
    "she": ("she", "her", "sie", "sie", "ihr", SG),
    "they": ("they", "them", "sie", "sie", "ihnen", PL),
    "it:0": ("it", "it", "er", "ihn", "ihm", SG),
    "it:1": ("it", "it", "sie", "sie", "ihr", SG),
    "it:2": ("it", "it", "es", "es", "ihm", SG),
}
REFLEXIVE = ("mich", "sich", "uns", "sich")
CONTRACTIONS = {
    ("in", "dem"): "im", ("in", "das"): "ins", ("an", "dem"): "am", ("an", "das"): "ans",
    ("von", "dem"): "vom", ("zu", "dem"): "zum", ("zu", "der"): "zur",
}  # fmt: skip

# ---------------------------------------------------------------------------------------- adjectives


@dataclass(frozen=True, eq=False)
class Adjective:
    en: str
    de: str  # predicative: "ist dunkel"
    stem: str  # attributive: "das dunkle Zimmer"
    groups: frozenset[str]
    more: tuple[str, str] | None  # comparatives
    colour: bool  # stands after another adjective

    def attributive(self, endings: Table, gender: int, case: int) -> str:
        return self.stem + endings[gender][case]


_ADJECTIVES = """
old          alt           person animal item place vehicle clothes furniture tree  older/älter
young        jung          person animal                               younger/jünger
big          groß          animal item place vehicle food furniture tree  bigger/größer
small        klein         animal item place vehicle food furniture kid   smaller/kleiner
tall         groß          person                                      taller/größer
tall         hoch/hoh      tree
short        klein         person                                      shorter/kleiner
short        kurz          text film                                   shorter/kürzer
long         lang          text film street                            longer/länger
strong       stark         person horse bear
friendly     freundlich    person dog
tired        müde/müd        person animal
hungry       hungrig       person animal
happy        glücklich     person
sad          traurig       person
rich         reich         adult
poor         arm           adult
famous       berühmt       adult
sick         krank         person animal
black        schwarz       animal clothes item vehicle colour
white        weiß          animal clothes item furniture wall colour
red          rot           clothes item vehicle furniture colour
green        grün          clothes item furniture vehicle wall colour
new          neu           item vehicle clothes text film place furniture device
heavy        schwer        heavy furniture
expensive    teuer/teur    item vehicle clothes device
cheap        billig        item vehicle clothes
fresh        frisch        food drink
cold         kalt          drink room
warm         warm          drink soup clothes
good         gut           food drink text film game
interesting  interessant   text film question game
loud         laut          music
boring       langweilig    text film game
difficult    schwierig     question
beautiful    schön         place tree picture music flower
dark         dunkel/dunkl  room forest
quiet        ruhig         place
"""


def _adjective(line: str) -> Adjective:
    en, de, *groups = line.split()
    word, _, stem = de.partition("/")
    more = groups.pop().split("/") if "/" in groups[-1] else None
    comparatives = (more[0], more[1]) if more else None
    return Adjective(en, word, stem or word, frozenset(groups) - {"colour"}, comparatives, "colour" in groups)


ADJECTIVES = tuple(map(_adjective, _ADJECTIVES.strip().splitlines()))

# --------------------------------------------------------------------------------------------- nouns


@dataclass(frozen=True, eq=False)
class Noun:
    """A noun with its German case forms. Mass nouns ("milk") have no plural."""

    en: str
    en_plural: str
    gender: int
    singular: tuple[str, ...]  # nominative, accusative, dative, genitive
    plural: tuple[str, ...]
    groups: frozenset[str]
    pronoun: str  # key of PRONOUNS for the singular
    feminine: str = ""  # of professions: "She is a teacher" -> "Sie ist Lehrerin"
    places: tuple[tuple[str, str], ...] = ()  # where: English and German preposition, dative
    ways: tuple[tuple[str, str], ...] = ()  # where to: accusative, with "zu" dative
    adjectives: tuple[Adjective, ...] = field(default=(), repr=False)
    as_subject: list[Verb] = field(
        default_factory=list, repr=False
    )  # verbs that it can be the subject of (filled below)
    as_object: list[Verb] = field(default_factory=list, repr=False)  # verbs of one object that it can be the object of

    @property
    def is_person(self) -> bool:
        return "person" in self.groups

    def agreement(self, plural: bool) -> int:
        """The row of the agreement tables."""
        return PLURAL if plural else self.gender


def noun_forms(de: str, plural: str, gender: int, weak: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The four cases in singular and plural: (Hund, Hund, Hund, Hundes), (Hunde, Hunde, Hunden, Hunde)."""
    if weak:  # der Junge, den Jungen, dem Jungen, des Jungen
        singular = (de, plural, plural, plural)
    elif gender == FEM:
        singular = (de,) * 4
    else:
        one_syllable = len(re.findall("[aeiouyäöü]+", de.lower())) == 1
        if plural == de + "se":  # der Bus, die Busse
            ending = "ses"
        elif de.endswith(("s", "ß", "z", "x")):
            ending = "es"
        else:
            ending = "es" if one_syllable and not de.endswith("e") and not plural.endswith("s") else "s"
        singular = (de, de, de, de + ending)
    dative = plural if not plural or plural.endswith(("n", "s")) else plural + "n"
    return singular, (plural, plural, dative, plural)


# English, its plural (- for none), gender (* weak), German, its plural (- for none), groups.
# "in/in", "at/an" … are places (where?), "to/zu", "into/in" ways (where to?): English and German preposition.
_NOUNS = """
man        men         m   Mann       Männer      person adult he
woman      women       f   Frau       Frauen      person adult she
boy        boys        m*  Junge      Jungen      person kid he
girl       girls       n   Mädchen    Mädchen     person kid she
child      children    n   Kind       Kinder      person kid ours
teacher    teachers    m   Lehrer     Lehrer      person adult he =Lehrerin ours
student    students    m*  Student    Studenten   person adult he =Studentin
doctor     doctors     m   Arzt       Ärzte       person adult he =Ärztin to/zu ours
neighbour  neighbours  m*  Nachbar    Nachbarn    person adult he ours
friend     friends     m   Freund     Freunde     person adult kin he
brother    brothers    m   Bruder     Brüder      person adult kin he
sister     sisters     f   Schwester  Schwestern  person adult kin she
mother     mothers     f   Mutter     Mütter      person adult kin she one
father     fathers     m   Vater      Väter       person adult kin he one
son        sons        m   Sohn       Söhne       person adult kin he
daughter   daughters   f   Tochter    Töchter     person adult kin she
aunt       aunts       f   Tante      Tanten      person adult kin she
farmer     farmers     m*  Bauer      Bauern      person adult he
baker      bakers      m   Bäcker     Bäcker      person adult he =Bäckerin to/zu
guest      guests      m   Gast       Gäste       person adult he ours
waiter     waiters     m   Kellner    Kellner     person adult he =Kellnerin
nurse      nurses      f   Krankenschwester  Krankenschwestern  person adult she
policeman  policemen   m*  Polizist   Polizisten  person adult he
king       kings       m   König      Könige      person adult he
dog        dogs        m   Hund       Hunde       animal dog hunter
cat        cats        f   Katze      Katzen      animal hunter
horse      horses      n   Pferd      Pferde      animal horse
bird       birds       m   Vogel      Vögel       animal bird
cow        cows        f   Kuh        Kühe        animal
mouse      mice        f   Maus       Mäuse       animal
pig        pigs        n   Schwein    Schweine    animal
bear       bears       m*  Bär        Bären       animal bear hunter
apple      apples      m   Apfel      Äpfel       food feed
potato     potatoes    f   Kartoffel  Kartoffeln  food feed cooked
egg        eggs        n   Ei         Eier        food cooked
cake       cakes       m   Kuchen     Kuchen      food
soup       soups       f   Suppe      Suppen      food cooked soup
bread      -           n   Brot       -           food feed
cheese     -           m   Käse       -           food feed
meat       -           n   Fleisch    -           food feed cooked
milk       -           f   Milch      -           drink
water      -           n   Wasser     -           drink
coffee     -           m   Kaffee     -           drink
tea        -           m   Tee        -           drink
book       books       n   Buch       Bücher      text item flat
letter     letters     m   Brief      Briefe      text flat mail post openable
newspaper  newspapers  f   Zeitung    Zeitungen   text flat paper
story      stories     f   Geschichte  Geschichten  text tale
key        keys        m   Schlüssel  Schlüssel   item flat
knife      knives      n   Messer     Messer      item flat
ball       balls       m   Ball       Bälle       item flat
bag        bags        f   Tasche     Taschen     item upright openable heavy
bottle     bottles     f   Flasche    Flaschen    item upright openable
glass      glasses     n   Glas       Gläser      item upright
lamp       lamps       f   Lampe      Lampen      item upright device
chair      chairs      m   Stuhl      Stühle      item upright furniture seat built on/auf under/unter
present    presents    n   Geschenk   Geschenke   item flat mail
picture    pictures    n   Bild       Bilder      item picture
flower     flowers     f   Blume      Blumen      item picture flower
coat       coats       m   Mantel     Mäntel      clothes flat
shirt      shirts      n   Hemd       Hemden      clothes flat
jacket     jackets     f   Jacke      Jacken      clothes flat
hat        hats        m   Hut        Hüte        clothes flat
shoe       shoes       m   Schuh      Schuhe      clothes
door       doors       f   Tür        Türen       openable wall furniture behind/hinter
window     windows     n   Fenster    Fenster     openable wall furniture seat at/an
radio      radios      n   Radio      Radios      device
computer   computers   m   Computer   Computer    device
car        cars        n   Auto       Autos       vehicle ride in/in under/unter
bicycle    bicycles    n   Fahrrad    Fahrräder   vehicle ride
train      trains      m   Zug        Züge        vehicle ride line in/in
bus        buses       m   Bus        Busse       vehicle ride line in/in
ship       ships       n   Schiff     Schiffe     vehicle line built on/auf
house      houses      n   Haus       Häuser      place estate home wall built out in/in behind/hinter into/in
garden     gardens     m   Garten     Gärten      place common out in/in into/in
school     schools     f   Schule     Schulen     place built common at/in behind/hinter in_front_of/vor to/in
city       cities      f   Stadt      Städte      place home sight in/in to/in
village    villages    n   Dorf       Dörfer      place home sight out in/in to/in
kitchen    kitchens    f   Küche      Küchen      place room common out in/in into/in
room       rooms       n   Zimmer     Zimmer      place room common in/in into/in
park       parks       m   Park       Parks       place common out in/in into/in
forest     forests     m   Wald       Wälder      place forest common out in/in into/in nature
church     churches    f   Kirche     Kirchen     place sight built in/in behind/hinter in_front_of/vor to/in
station    stations    m   Bahnhof    Bahnhöfe    place common at/an behind/hinter in_front_of/vor to/zu
market     markets     m   Markt      Märkte      place common at/auf to/auf
street     streets     f   Straße     Straßen     place street common out in/auf
restaurant restaurants n   Restaurant Restaurants place common in/in behind/hinter in_front_of/vor to/in
library    libraries   f   Bibliothek Bibliotheken place common in/in in_front_of/vor to/in
museum     museums     n   Museum     Museen      place sight common in/in behind/hinter in_front_of/vor to/in
castle     castles     n   Schloss    Schlösser   place sight built in/in in_front_of/vor to/zu
river      rivers      m   Fluss      Flüsse      place at/an to/an nature
lake       lakes       m   See        Seen        place at/an to/an nature
bridge     bridges     f   Brücke     Brücken     place built sight on/auf under/unter
tree       trees       m   Baum       Bäume       tree out under/unter behind/hinter next_to/neben nature
table      tables      m   Tisch      Tische      furniture seat built surface on/auf under/unter next_to/neben
bed        beds        n   Bett       Betten      furniture seat surface on/auf under/unter next_to/neben
shelf      shelves     n   Regal      Regale      furniture surface on/auf next_to/neben
wall       walls       f   Wand       Wände       wall
song       songs       n   Lied       Lieder      music
music      -           f   Musik      -           music
film       films       m   Film       Filme       film
game       games       n   Spiel      Spiele      game
question   questions   f   Frage      Fragen      question
exercise   exercises   f   Aufgabe    Aufgaben    question
"""


def _noun(line: str) -> Noun:
    en, en_plural, gender_word, de, plural, *marks = line.split()
    gender = "mfn".index(gender_word[0])
    singular, plurals = noun_forms(de, plural.strip("-"), gender, weak="*" in gender_word)
    pairs = [(mark.split("/")[0].replace("_", " "), mark.split("/")[1]) for mark in marks if "/" in mark]
    groups = frozenset(mark for mark in marks if "/" not in mark and "=" not in mark)
    return Noun(
        en, en_plural.strip("-"), gender, singular, plurals, groups,
        pronoun="he" if "he" in groups else "she" if "she" in groups else f"it:{gender}",
        feminine=next((mark[1:] for mark in marks if mark[0] == "="), ""),
        places=tuple(pair for pair in pairs if pair[0] not in ("to", "into")),
        ways=tuple(pair for pair in pairs if pair[0] in ("to", "into")),
        adjectives=tuple(
            adjective for adjective in ADJECTIVES
            if adjective.groups & groups
            and not (en_plural == "-" and adjective.en in ("big", "small"))
            and not ("nature" in groups and adjective.en in ("new", "old"))
            and not ("kid" in groups and adjective.en in ("young", "old"))
        ),
    )  # fmt: skip


NOUNS = tuple(map(_noun, _NOUNS.strip().splitlines()))
NAMES = (("Anna", "she"), ("Maria", "she"), ("Julia", "she"), ("Peter", "he"), ("Paul", "he"), ("Martin", "he"))
CITIES = (("Berlin", "Berlin"), ("Hamburg", "Hamburg"), ("Munich", "München"), ("Vienna", "Wien"), ("Cologne", "Köln"))

# --------------------------------------------------------------------------------------------- verbs


@dataclass(frozen=True, eq=False)
class Verb:
    """A verb. `frame` is what follows it: "" nothing, acc, dat, give (dat + acc), to (the same, English "to"), prep,
    at and lie (a place), go (a way), put (acc + a way), that (a clause), inf (an infinitive clause), be, sky."""

    en: tuple[str, str, str, str]  # read, reads, read, read
    particle: str  # of "turn on"
    infinitive: str  # without its prefix
    prefix: str
    present: tuple[str, ...]  # ich, er, wir, sie; without prefix
    past: tuple[str, ...]
    participle: str
    sein: bool  # perfect with sein
    reflexive: bool
    frame: str
    subjects: frozenset[str]
    objects: tuple[Noun, ...] = field(repr=False)
    preposition: tuple[str, str, int]  # English, German, case; of frame prep
    flags: frozenset[str]
    ambiguous: bool  # another verb is spelt like this in English

    @property
    def full_infinitive(self) -> str:
        return self.prefix + self.infinitive

    @property
    def zu_infinitive(self) -> str:
        return f"{self.prefix}zu{self.infinitive}" if self.prefix else f"zu {self.infinitive}"

    @property
    def has_past(self) -> bool:
        """False where "they read" could be present or past."""
        return self.en[0] != self.en[2]


# English: base, past, participle | German: infinitive, er-present, er-past, participle | frame | groups of the subject
# > of the object | flags: place: a place may be added; act, sound: how it is done may be added; fixed: the particle
# stays at the verb, the preposition at its noun; state: no perfect, modal verb, passive; ride: with a vehicle;
# whether: its clause begins with that
_VERBS = """
sleep slept slept | schlafen schläft schlief geschlafen | | person animal | place
laugh laughed laughed | lachen lacht lachte gelacht | | person | place sound
cry cried cried | weinen weint weinte geweint | | kid person | place sound
work worked worked | arbeiten arbeitet arbeitete gearbeitet | | adult | place act
dance danced danced | tanzen tanzt tanzte getanzt | | person | place
sing sang sung | singen singt sang gesungen | | person bird | place sound
wait waited waited | warten wartet wartete gewartet | | person animal | place
play played played | spielen spielt spielte gespielt | | kid animal person | place sound
swim swam swum | schwimmen schwimmt schwamm geschwommen* | | person animal | act
get~up got got | auf+stehen steht stand gestanden* | | person | act
wake~up woke woken | auf+wachen wacht wachte gewacht* | | person animal |
fall~asleep fell fallen | ein+schlafen schläft schlief geschlafen* | | person animal | place
come~back came come | zurück+kommen kommt kam gekommen* | | person animal |
arrive arrived arrived | an+kommen kommt kam gekommen* | | person line |
rest rested rested | sich aus+ruhen ruht ruhte geruht | | person animal | place
hurry hurried hurried | sich beeilen beeilt beeilte beeilt | | person |
begin began begun | an+fangen fängt fing gefangen | | film game |
see saw seen | sehen sieht sah gesehen | acc | person animal > person animal vehicle item sight clothes tree | place
hear heard heard | hören hört hörte gehört | acc | person animal > person animal line music | place
know knew known | kennen kennt kannte gekannt | acc | person > person sight text film music | state
love loved loved | lieben liebt liebte geliebt | acc | person > person animal music sight | state
like liked liked | mögen mag mochte gemocht | acc | person > person animal food drink sight clothes | state
look~for looked looked | suchen sucht suchte gesucht | acc | person > person animal item clothes | place fixed
find found found | finden findet fand gefunden | acc | person animal > item clothes animal food | place
visit visited visited | besuchen besucht besuchte besucht | acc | person > person sight |
meet met met | treffen trifft traf getroffen | acc | person > person | place
call called called | an+rufen ruft rief gerufen | acc | person > adult |
invite invited invited | ein+laden lädt lud geladen | acc | person > person |
pick~up picked picked | ab+holen holt holte geholt | acc | adult > person mail | place
feed fed fed | füttern füttert fütterte gefüttert | acc | person > animal | place act
chase chased chased | jagen jagt jagte gejagt | acc | hunter > animal | place
wash washed washed | waschen wäscht wusch gewaschen | acc | person > clothes vehicle dog | act
eat ate eaten | essen isst aß gegessen | acc | person > food | place act
eat ate eaten | fressen frisst fraß gefressen | acc | animal > feed | place act
drink drank drunk | trinken trinkt trank getrunken | acc | person animal > drink | place act
buy bought bought | kaufen kauft kaufte gekauft | acc | person > item food drink clothes vehicle paper furniture |
sell sold sold | verkaufen verkauft verkaufte verkauft | acc | adult > item clothes vehicle animal estate |
cook cooked cooked | kochen kocht kochte gekocht | acc | person > cooked | place act
read read read | lesen liest las gelesen | acc | person > text | place act
write wrote written | schreiben schreibt schrieb geschrieben | acc | person > text music | place act
open opened opened | auf+machen macht machte gemacht | acc | person > openable | act
close closed closed | zu+machen macht machte gemacht | acc | person > openable | act
turn~on turned turned | an+machen macht machte gemacht | acc | person > device |
turn~off turned turned | aus+machen macht machte gemacht | acc | person > device |
bring~along brought brought | mit+bringen bringt brachte gebracht | acc | person > item food drink text dog |
carry carried carried | tragen trägt trug getragen | acc | person > heavy upright kid | act
wear wore worn | tragen trägt trug getragen | acc | person > clothes |
put~on put put | an+ziehen zieht zog gezogen | acc | person > clothes | act
take~off took taken | aus+ziehen zieht zog gezogen | acc | person > clothes | act
lose lost lost | verlieren verliert verlor verloren | acc | person > item clothes dog |
forget forgot forgotten | vergessen vergisst vergaß vergessen | acc | person > item clothes text question |
repair repaired repaired | reparieren repariert reparierte repariert | acc | adult > vehicle device furniture | act
tidy~up tidied tidied | auf+räumen räumt räumte geräumt | acc | person > room | act
paint painted painted | malen malt malte gemalt | acc | person > picture animal tree | act
paint painted painted | streichen streicht strich gestrichen | acc | person > wall | act
build built built | bauen baut baute gebaut | acc | adult > built |
understand understood understood | verstehen versteht verstand verstanden | acc | person > question text person | state
answer answered answered | beantworten beantwortet beantwortete beantwortet | acc | person > question post | act
answer answered answered | antworten antwortet antwortete geantwortet | dat | person > person |
help helped helped | helfen hilft half geholfen | dat | person > person animal | place
thank thanked thanked | danken dankt dankte gedankt | dat | person > person |
follow followed followed | folgen folgt folgte gefolgt* | dat | person animal > person animal |
listen~to listened listened | zu+hören hört hörte gehört | dat | person > person bird | place fixed
listen~to listened listened | hören hört hörte gehört | acc | person > music | place fixed
belong~to belonged belonged | gehören gehört gehörte gehört | dat | item clothes vehicle estate > person | state fixed
give gave given | geben gibt gab gegeben | give | person > item food drink text |
show showed shown | zeigen zeigt zeigte gezeigt | give | person > item text clothes vehicle animal |
send sent sent | schicken schickt schickte geschickt | give | person > mail text |
tell told told | erzählen erzählt erzählte erzählt | give | person > tale |
explain explained explained | erklären erklärt erklärte erklärt | to | person > question text |
return returned returned | zurück+geben gibt gab gegeben | to | person > item text |
wait waited waited | warten wartet wartete gewartet | prep for auf 1 | person > person line mail | place
think thought thought | denken denkt dachte gedacht | prep of an 1 | person > person question |
talk talked talked | sprechen spricht sprach gesprochen | prep about über 1 | person > person text film question | place
dream dreamt dreamt | träumen träumt träumte geträumt | prep of von 2 | person animal > person animal food |
laugh laughed laughed | lachen lacht lachte gelacht | prep at über 1 | person > person text film |
look looked looked | sich kümmern kümmert kümmerte gekümmert | prep after um 1 | person > kid animal | fixed
look~forward looked looked | sich freuen freut freute gefreut | prep to auf 1 | person > mail film game food | fixed
play played played | spielen spielt spielte gespielt | prep with mit 2 | kid animal > kid animal | place
live lived lived | wohnen wohnt wohnte gewohnt | at | person > home | state
live lived lived | leben lebt lebte gelebt | at | animal > home forest | state
sit sat sat | sitzen sitzt saß gesessen | at | person > seat tree common vehicle |
sit sat sat | sitzen sitzt saß gesessen | at | animal > seat out |
stand stood stood | stehen steht stand gestanden | at | person > street place tree |
stand stood stood | stehen steht stand gestanden | at | animal > out |
go went gone | gehen geht ging gegangen* | go | person > place person |
go went gone | fahren fährt fuhr gefahren* | go | person > place | ride
come came come | kommen kommt kam gekommen* | go | person > place |
come came come | kommen kommt kam gekommen* | go | animal > out |
run ran run | laufen läuft lief gelaufen* | go | person > place | act
run ran run | laufen läuft lief gelaufen* | go | animal > out | act
put put put | legen legt legte gelegt | put | person > flat | act
put put put | stellen stellt stellte gestellt | put | person > upright | act
say said said | sagen sagt sagte gesagt | that | person |
think thought thought | denken denkt dachte gedacht | that | person |
believe believed believed | glauben glaubt glaubte geglaubt | that | person |
know knew known | wissen weiß wusste gewusst | that | person | state
hope hoped hoped | hoffen hofft hoffte gehofft | that | person |
hear heard heard | hören hört hörte gehört | that | person |
see saw seen | sehen sieht sah gesehen | that | person |
ask asked asked | fragen fragt fragte gefragt | that | person | whether
try tried tried | versuchen versucht versuchte versucht | inf | person animal |
begin began begun | an+fangen fängt fing gefangen | inf | person animal |
promise promised promised | versprechen verspricht versprach versprochen | inf | person |
forget forgot forgotten | vergessen vergisst vergaß vergessen | inf | person |
be was been | sein ist war gewesen* | be | any |
be was been | liegen liegt lag gelegen | lie | flat > surface | state
be was been | stehen steht stand gestanden | lie | upright > surface | state
rain rained rained | regnen regnet regnete geregnet | sky | sky |
snow snowed snowed | schneien schneit schneite geschneit | sky | sky |
"""

_FIRST_PERSON = {"mögen": "mag", "wissen": "weiß", "sein": "bin"}  # elsewhere stem + e


def third_person(base: str) -> str:
    """go -> goes, try -> tries, play -> plays"""
    if base == "be":
        return "is"
    if base.endswith(("s", "sh", "ch", "x", "o")):
        return base + "es"
    return base[:-1] + "ies" if base[-1] == "y" and base[-2] not in "aeiou" else base + "s"


def _verb(line: str, spellings: list[str]) -> Verb:
    english, german, frame, arguments, flags = (part.strip() for part in line.split("|"))
    first, en_past, en_participle = english.split()
    base, _, particle = first.partition("~")
    reflexive = german.startswith("sich ")
    compound, er, er_past, participle = german.removeprefix("sich ").split()
    prefix, _, infinitive = compound.rpartition("+")
    subjects, _, objects = arguments.partition(">")
    frame, *preposition = frame.split() or [""]
    sein = participle.endswith("*")
    plural = "sind" if infinitive == "sein" else infinitive
    ich = _FIRST_PERSON.get(infinitive, infinitive.removesuffix("n").removesuffix("e") + "e")
    past_plural = er_past + ("n" if er_past.endswith("e") else "en")
    groups = set(objects.split())

    def fits(noun: Noun) -> bool:
        if frame == "go":  # one rides to a place, not into it
            return any(en == "to" or "ride" not in flags for en, _ in noun.ways)
        return frame not in ("at", "lie") or bool(noun.places)

    if subjects.strip() == "any":
        subjects = " ".join(group for noun in NOUNS for group in noun.groups)
    return Verb(
        (base, third_person(base), en_past, en_participle), particle, infinitive, prefix,
        present=(ich, er, plural, plural), past=(er_past, er_past, past_plural, past_plural),
        participle=prefix + participle.rstrip("*"), sein=sein, reflexive=reflexive, frame=frame,
        subjects=frozenset(subjects.split()),
        objects=tuple(noun for noun in NOUNS if noun.groups & groups and fits(noun)),
        preposition=(preposition[0], preposition[1], int(preposition[2])) if preposition else ("", "", 0),
        flags=frozenset(flags.split()), ambiguous=spellings.count(english) > 1,
    )  # fmt: skip


_LINES = _VERBS.strip().splitlines()
VERBS = tuple(_verb(line, [other.split("|")[0].strip() for other in _LINES]) for line in _LINES)
HAVE = ("habe", "hat", "haben", "haben"), ("hatte", "hatte", "hatten", "hatten")
BE = ("bin", "ist", "sind", "sind"), ("war", "war", "waren", "waren")
WERDEN = ("werde", "wird", "werden", "werden"), ("wurde", "wurde", "wurden", "wurden")

for _v in VERBS:
    for _n in NOUNS:
        if _v.subjects & _n.groups:
            _n.as_subject.append(_v)
    for _n in _v.objects:
        if _v.frame in ("acc", "dat", "prep"):
            _n.as_object.append(_v)

# --------------------------------------------------------------------------------------- small words

Pair = tuple[str, str]  # English, German


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
WAY = 4  # beside the four cases: of a place, where to
PASSIVE = {"passive": "present", "past passive": "past"}
BE_EN = {"present": ("am", "is", "are", "are"), "past": ("was", "was", "were", "were")}
Tense = str | Modal  # "present", "past", "perfect", "pluperfect", "passive", "past passive", "gern" or a modal verb

TIMES: dict[str, tuple[Pair, ...]] = {
    "present": (
        ("today", "heute"), ("now", "jetzt"), ("every day", "jeden Tag"), ("in the morning", "am Morgen"),
        ("in the evening", "am Abend"), ("on Monday", "am Montag"), ("on Sunday", "am Sonntag"),
        ("in summer", "im Sommer"),
        ("in winter", "im Winter"), ("every week", "jede Woche"), ("at the weekend", "am Wochenende"),
    ),
    "past": (
        ("yesterday", "gestern"), ("last week", "letzte Woche"), ("in the morning", "am Morgen"),
        ("last year", "letztes Jahr"),
        ("in the evening", "am Abend"), ("on Monday", "am Montag"), ("on Sunday", "am Sonntag"),
        ("last summer", "letzten Sommer"),
        ("three days ago", "vor drei Tagen"), ("two weeks ago", "vor zwei Wochen"), ("last winter", "letzten Winter"),
    ),
    "perfect": (("today", "heute"),),
    "future": (
        ("tomorrow", "morgen"), ("today", "heute"), ("next week", "nächste Woche"), ("on Sunday", "am Sonntag"),
        ("in the evening", "am Abend"), ("next year", "nächstes Jahr"), ("in two days", "in zwei Tagen"),
    ),
}  # fmt: skip
_USUAL = (
    ("often", "oft"), ("always", "immer"), ("never", "nie"), ("sometimes", "manchmal"),
    ("usually", "meistens"), ("rarely", "selten"),
)  # fmt: skip
FREQUENT = {"present": _USUAL, "past": _USUAL, "perfect": (("already", "schon"), ("often", "oft"), ("never", "nie"))}
ACTING = (("quickly", "schnell"), ("slowly", "langsam"), ("carefully", "vorsichtig"), ("alone", "allein"))
PASSING = ("müde", "hungrig", "krank", "traurig", "glücklich")  # of a person at a time: "is tired today"
SOUNDING = (("loudly", "laut"), ("quietly", "leise"))


class Conjunction(NamedTuple):
    en: str
    de: str
    de_past: str  # in a sentence in the past
    event: bool  # the clause tells what somebody does, not how something is
    first: bool  # may open the sentence
    perfect: bool = False  # the clause is in the perfect


CONJUNCTIONS = (
    Conjunction("because", "weil", "weil", event=False, first=False),
    Conjunction("although", "obwohl", "obwohl", event=False, first=True),
    Conjunction("while", "während", "während", event=True, first=True),
    Conjunction("when", "wenn", "als", event=True, first=True),
    Conjunction("if", "wenn", "", event=True, first=True),
    Conjunction("before", "bevor", "bevor", event=True, first=True),
    Conjunction("after", "nachdem", "nachdem", event=True, first=True, perfect=True),
    Conjunction("as soon as", "sobald", "sobald", event=True, first=True),
    Conjunction("until", "bis", "bis", event=True, first=False),
)
# English, German, and whether the German clause begins with the verb
CONNECTORS = (
    (", and", " , und", False),
    (", and", " , und", False),
    (", but", " , aber", False),
    (", for", " , denn", False),
    (", so", " , deshalb", True),
    (", and then", " , und dann", True),
)


# --------------------------------------------------------------------------------- phrases and forms


def noun_phrase(noun: Noun, plural: bool, case: int, determiner: Determiner, adjectives: Sequence[Pair] = ()) -> Pair:
    """(boy, plural, DAT, THE, [("old", "alt")]) -> ("the old boys", "den alten Jungen")

    Adjectives: English, German stem.
    """
    column = PLURAL if plural else noun.gender
    en, de = (noun.en_plural, noun.plural[case]) if plural else (noun.en, noun.singular[case])
    if adjectives:
        ending = determiner.adjective[column][case]
        en = f"{' '.join([word for word, _ in adjectives])} {en}"
        de = f"{' '.join([stem + ending for _, stem in adjectives])} {de}"
    article, article_de = determiner.en_plural if plural else determiner.en, determiner.de[column][case]
    if article == "a" and en[0] in "aeiou":
        article = "an"
    return (f"{article} {en}" if article else en), (f"{article_de} {de}" if article_de else de)


def contract(preposition: str, de: str) -> str:
    """in, dem Garten -> im Garten"""
    first, _, rest = de.partition(" ")
    short = CONTRACTIONS.get((preposition, first))
    return f"{short} {rest}" if short else f"{preposition} {de}"


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
