"""Sentence length in words, or in characters for languages written without spaces; independent of any tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from s2s.data.columns import line_values
from s2s.data.languages import is_written_without_spaces


def unit(language: str) -> str:
    """The unit of `length_in_words` for this language, in the plural."""
    return "characters" if is_written_without_spaces(language) else "words"


def length_in_words(text: str, language: str) -> int:
    """Number of words of `text`; of characters except white space in languages written without spaces."""
    words = text.split()
    return sum(map(len, words)) if is_written_without_spaces(language) else len(words)


def lengths_in_words(texts: Sequence[str], language: str) -> NDArray[np.int64]:
    """(N,) `length_in_words` of each line."""
    return line_values(texts, unit(language), lambda text: length_in_words(text, language))
