"""Adjectives, each with the groups of nouns that it can describe: a coat is warm, a question difficult.

A line of the table has English, German, groups and the comparatives of both languages. A slash separates a different
stem: "ist dunkel", but "das dunkle Zimmer".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Adjective:
    en: str
    de: str  # predicative: "ist dunkel"
    stem: str  # attributive: "das dunkle Zimmer"
    groups: frozenset[str]
    more: tuple[str, str] | None  # comparatives
    colour: bool  # follows another adjective


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
