"""Attention weights for the page: pieces merged into words, weights in whole percent, one byte each.

The weights of the source pieces of a word are summed, and those of its target pieces are averaged, so rows still sum to
1, or to the share of the source in a decoder-only model. Languages written without spaces keep their pieces. Several
heads are preceded by their mean.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from s2s.data.languages import is_written_without_spaces
from s2s.errors import S2SError

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_END = "</s>"
_SPACE = "▁"  # sentencepiece's


@dataclass(frozen=True)
class AttentionMap:
    """Attention weights of one translation."""

    system: str
    sentence: int  # index in the test set
    source: Sequence[str]  # pieces, the last is `</s>`
    target: Sequence[str]
    heads: Mapping[str, ArrayLike]  # by name, weights (target pieces, source pieces)


def merge_pieces(pieces: Sequence[str], language: str) -> list[tuple[str, list[int]]]:
    """Returns each word, `</s>` included, with the indices of its pieces; pieces in languages without spaces."""
    no_spaces = is_written_without_spaces(language)
    groups: list[list[int]] = []
    for index, piece in enumerate(pieces):
        before = pieces[index - 1] if index else _END
        within = _BYTE.fullmatch(piece) and _BYTE.fullmatch(before)  # bytes of one character, or of several
        begins = piece.startswith(_SPACE) or (no_spaces and before != _SPACE)
        if _END in (piece, before) or (begins and not within):
            groups.append([])
        groups[-1].append(index)
    return [(_text([pieces[index] for index in group]), group) for group in groups]


def _text(pieces: Sequence[str]) -> str:
    if list(pieces) == [_END]:
        return "(end)"
    text = b"".join(
        bytes([int(byte[1], 16)]) if (byte := _BYTE.fullmatch(piece)) else piece.encode("utf-8", "replace")
        for piece in pieces
    )
    return text.decode("utf-8", "replace").replace(_SPACE, " ").strip() or "␣"


def encode_map(one: AttentionMap, source_language: str, target_language: str) -> dict[str, Any]:
    """Returns a map as JSON for the page: words of both sides, and by head the weights (target, source) as base64.

    Raises:
        S2SError: the shape of the weights does not match the pieces.
    """
    source, target = merge_pieces(one.source, source_language), merge_pieces(one.target, target_language)
    heads = {}
    for name, weights in one.heads.items():
        matrix, shape = np.asarray(weights, dtype=np.float64), (len(one.target), len(one.source))
        if matrix.shape != shape or not matrix.size:
            raise S2SError(
                f"attention weights of shape {matrix.shape} do not fit {shape[0]} target × {shape[1]} source pieces"
            )
        heads[re.sub(r"layer(\d+)\.head(\d+)", r"layer \1, head \2", name)] = matrix
    if len(heads) > 1:
        heads = {f"mean of {len(heads)} heads": np.mean(list(heads.values()), axis=0), **heads}
    encoded = {}
    for name, matrix in heads.items():
        columns = np.stack([matrix[:, group].sum(1) for _, group in source], axis=1)
        words = np.stack([columns[group].mean(0) for _, group in target])
        percent = np.clip(np.rint(100 * words), 0, 100).astype(np.uint8)
        encoded[name] = base64.b64encode(percent.tobytes()).decode()
    return {
        "system": one.system,
        "sentence": one.sentence + 1,
        "source": [text for text, _ in source],
        "target": [text for text, _ in target],
        "heads": encoded,
    }
