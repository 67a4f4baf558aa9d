"""Languages by their codes: ISO 639-1 and 639-3 (`zh`, `zho`, `cmn`), BCP 47 and FLORES (`zh-Hant`, `zho_Hans`).

The script of a language, and not a list of languages, says whether it has spaces between words; `langcodes` knows the
usual script of each. Lengths, the ceiling of BLEU and its tokeniser all follow from here.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import langcodes

# ISO 15924, with the first words of their characters' Unicode names
HAN = frozenset({"Hani", "Hans", "Hant", "Hanb"})
JAPANESE = frozenset({"Jpan", "Hrkt", "Hira", "Kana"})
WITHOUT_SPACES = HAN | JAPANESE | {"Thai", "Laoo", "Khmr", "Mymr", "Tibt", "Lana", "Talu"}
_NAMES = frozenset({"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "TAI"})
_LONG_WORD = 15  # letters; the mean of no language with spaces, not even of agglutinative ones


class Language(NamedTuple):
    """A language and the script it is written in; both are empty where the code says nothing."""

    code: str  # the shortest of ISO 639, of macrolanguages that of the whole: zh of cmn
    script: str  # ISO 15924


@functools.cache
def identify(code: str) -> Language:
    """The language of a code; that of its first part where the rest is no part of a code (`ja_JP.UTF-8`)."""
    tag = re.split(r"[.@]", code.strip())[0].replace("_", "-")
    for attempt in (tag, tag.split("-")[0]):
        try:
            language = langcodes.Language.get(attempt)
            whole = langcodes.standardize_tag(attempt, macro=True).split("-")[0]
        except ValueError:
            continue
        return Language(whole, language.maximize().script or "")
    return Language("", "")


def is_written_without_spaces(language: str) -> bool:
    """Whether a language (`zh`, `zho_Hans`, `ja`, `tha` …) has no spaces between words."""
    return identify(language).script in WITHOUT_SPACES


def hardly_has_spaces(texts: Sequence[str]) -> bool:
    """Whether text looks as if its words were not separated by spaces, whatever its language is said to be."""
    words = sum(len(text.split()) for text in texts)
    letters = [character for text in texts for character in text if character.isalpha()]
    without = sum(unicodedata.name(letter, "").partition(" ")[0] in _NAMES for letter in letters)
    return bool(words) and (len(letters) / words > _LONG_WORD or 2 * without > len(letters))
