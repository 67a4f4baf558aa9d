"""Nouns with gender, plural and semantic groups ("food", "text" …).

Verbs and adjectives select groups: one eats "food", a "text" may be boring. The table holds dictionary entries; the
case forms are derived.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from s2s.data.grammar.adjectives import ADJECTIVES, Adjective
from s2s.data.grammar.declension import noun_forms


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
    places: tuple[tuple[str, str], ...] = ()  # location: English and German preposition, dative
    ways: tuple[tuple[str, str], ...] = ()  # direction: accusative, with "zu" dative
    adjectives: tuple[Adjective, ...] = field(default=(), repr=False)

    @property
    def is_person(self) -> bool:
        return "person" in self.groups


# English, its plural (- for none), gender (* weak), German, its plural (- for none), groups.
# "in/in", "at/an" … are locations, "to/zu", "into/in" directions: English and German preposition.
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
MAN = next(noun for noun in NOUNS if noun.en == "man")  # stands for anybody
