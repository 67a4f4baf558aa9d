"""The unit in which sentences are measured: one that no tokenizer owns.

Words are what stands between white space; in languages that are written without spaces, the characters are counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s2s.data.columns import measured

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


def lengths_in_words(texts: Sequence[str], language: str) -> NDArray[np.int64]:
    """(N,) `length_in_words` of each line."""
    return measured(texts, unit(language), lambda text: length_in_words(text, language))
