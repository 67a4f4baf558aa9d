"""Verbs with their principal parts, frames, and the groups of their subjects and objects.

The table holds dictionary entries. Two German verbs may share their English: `eat` is *essen* for people and *fressen*
for animals.

Reading the table: `an+rufen` is separable (er ruft an, dass er anruft, angerufen, anzurufen); a participle with * takes
*sein* in the perfect; `sich` marks a reflexive verb; `turn~on` has a particle, which a pronoun precedes ("turns it
on").
"""

from __future__ import annotations

from dataclasses import dataclass, field

from s2s.data.grammar.nouns import NOUNS, Noun


@dataclass(frozen=True, eq=False)
class Verb:
    """A verb. `frame` names its complements: "" none, acc, dat, give (dat + acc), to (the same, English "to"), prep,
    at and lie (a place), go (a direction), put (acc + a direction), that (a clause), inf (an infinitive clause), be,
    sky."""

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
# By noun: the verbs that it can be the subject of, and the verbs with one object that it can be the object of
VERBS_OF_SUBJECT = {noun: tuple(verb for verb in VERBS if verb.subjects & noun.groups) for noun in NOUNS}
VERBS_OF_OBJECT = {
    noun: tuple(verb for verb in VERBS if verb.frame in ("acc", "dat", "prep") and noun in verb.objects)
    for noun in NOUNS
}
