"""The unit in which sentences are measured: one that no tokenizer owns.

Words are what stands between white space; in languages that are written without spaces, the characters are counted.
"""

from __future__ import annotations

import re

UNSPACED = frozenset({"zh", "ja", "th", "lo", "km", "my", "yue", "wuu", "bo", "dz"})


def is_unspaced(language: str) -> bool:
    """Whether a language (`zh`, `zh_CN`, `zh-Hans`, `ja` …) is written without spaces between words."""
    return re.split(r"[-_]", language.lower())[0] in UNSPACED


def unit(language: str) -> str:
    """What `length_in_words` counts for this language, in the plural."""
    return "characters" if is_unspaced(language) else "words"


def length_in_words(text: str, language: str) -> int:
    """Words of `text`; characters other than white space in languages without spaces."""
    words = text.split()
    return sum(map(len, words)) if is_unspaced(language) else len(words)
