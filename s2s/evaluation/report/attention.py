"""Attention weights for the page: pieces joined into words, weights as whole percent, one byte each.

A word takes in what each of its source pieces gets, so columns are added up; it is written piece by piece, so rows are
averaged. Rows still sum to 1. In languages without spaces between words the pieces themselves are shown. Of several
heads there is the mean, too.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from s2s.data.lengths import is_written_without_spaces
from s2s.evaluation.report.picture import check_weights

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_END = "</s>"
_SPACE = "▁"  # sentencepiece's


@dataclass(frozen=True)
class AttentionMap:
    """The weights of one translation.

    Attributes:
        system: by its name.
        sentence: its index in the test set.
        source, target: the pieces of both sides, each with `</s>` as the last.
        heads: by name, (target pieces, source pieces).
    """

    system: str
    sentence: int
    source: Sequence[str]
    target: Sequence[str]
    heads: Mapping[str, ArrayLike]


def words(pieces: Sequence[str], language: str) -> list[tuple[str, list[int]]]:
    """Each word with the numbers of its pieces; in languages without spaces, each piece. The end is a word, too."""
    unspaced = is_written_without_spaces(language)
    groups: list[list[int]] = []
    for number, piece in enumerate(pieces):
        before = pieces[number - 1] if number else _END
        within = _BYTE.fullmatch(piece) and _BYTE.fullmatch(before)  # bytes of one character, or of several
        begins = piece.startswith(_SPACE) or (unspaced and before != _SPACE)
        if _END in (piece, before) or (begins and not within):
            groups.append([])
        groups[-1].append(number)
    return [(_text([pieces[number] for number in group]), group) for group in groups]


def _text(pieces: Sequence[str]) -> str:
    if list(pieces) == [_END]:
        return "(end)"
    text = b"".join(
        bytes([int(found[1], 16)]) if (found := _BYTE.fullmatch(piece)) else piece.encode("utf-8", "replace")
        for piece in pieces
    )
    return text.decode("utf-8", "replace").replace(_SPACE, " ").strip() or "␣"


def packed(one: AttentionMap, source_language: str, target_language: str) -> dict[str, Any]:
    """A map for the page: words of both sides, and by head the weights in percent, row after row, as base64 of bytes.

    Raises:
        S2SError: the weights do not fit the pieces.
    """
    sides = words(one.source, source_language), words(one.target, target_language)
    heads = {_head(name): check_weights(weights, one.source, one.target) for name, weights in one.heads.items()}
    if len(heads) > 1:
        heads = {f"mean of {len(heads)} heads": np.mean(list(heads.values()), axis=0), **heads}
    return {
        "system": one.system,
        "sentence": one.sentence + 1,
        "source": [text for text, _ in sides[0]],
        "target": [text for text, _ in sides[1]],
        "heads": {name: _bytes(_joined(matrix, *sides)) for name, matrix in heads.items()},
    }


def _head(name: str) -> str:
    """`layer 1, head 2` of `layer1.head2`."""
    return re.sub(r"layer(\d+)\.head(\d+)", r"layer \1, head \2", name)


def _joined(
    matrix: np.ndarray, source: Sequence[tuple[str, list[int]]], target: Sequence[tuple[str, list[int]]]
) -> np.ndarray:
    columns = np.stack([matrix[:, group].sum(1) for _, group in source], axis=1)
    return np.stack([columns[group].mean(0) for _, group in target])


def _bytes(matrix: np.ndarray) -> str:
    percent = np.clip(np.rint(100 * matrix), 0, 100).astype(np.uint8)
    return base64.b64encode(percent.tobytes()).decode()
