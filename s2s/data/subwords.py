"""Subword model of sentencepiece: text to ids, ids to text, and its coverage of a text.

In addition to sentencepiece it restores spaces that went through byte pieces, and its errors name the text at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import sentencepiece

from s2s.data.sampling import Sampler
from s2s.errors import S2SError

T = TypeVar("T")

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPACE = "\u2581"  # sentencepiece's sign for a space


class Subwords:
    """One sentencepiece model.

    Args:
        proto: the serialised model.
        where: names the model in error messages.

    Raises:
        S2SError: `proto` is no sentencepiece model, or its special ids are not those of s2s.
    """

    def __init__(self, proto: bytes, where: str) -> None:
        self.proto = proto
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=proto)
            self.size: int = self._model.vocab_size()
            pieces = [self._model.id_to_piece(i) for i in range(self.size)]
        except (RuntimeError, UnicodeError) as error:
            raise S2SError(f"{where} is not a sentencepiece model, or it is damaged: make it again") from error
        model = self._model
        special = (model.pad_id(), model.unk_id(), model.bos_id(), model.eos_id())
        if special != (PAD, UNK, BOS, EOS):
            raise S2SError(
                f"{where} has pad, unk, bos, eos = {special}, but s2s needs {(PAD, UNK, BOS, EOS)}: train it with "
                "--pad_id=0 --unk_id=1 --bos_id=2 --eos_id=3, or let s2s train one (data.tokenizer.path=null)"
            )
        self.is_byte = np.array([model.is_byte(i) for i in range(self.size)])
        self._is_special = self.is_byte | np.array(
            [model.is_unknown(i) or model.is_control(i) for i in range(self.size)]
        )
        self._characters = np.where(self._is_special, 0, [len(piece.replace(SPACE, "")) for piece in pieces])
        self.is_foreign = self.is_byte.copy()  # ids of text outside of the vocabulary
        self.is_foreign[UNK] = True

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without special tokens."""
        return self._checked(texts, lambda: self._model.encode(list(texts), out_type=int))

    def sampler(self, kind: str, rate: float) -> Sampler:
        """Returns a sampler of this model's segmentations; see `s2s.data.sampling`."""
        text = [i for i in range(self.size) if not self._is_special[i]]
        pieces = [self._model.id_to_piece(i) for i in text]
        return Sampler(
            scores={piece: self._model.get_score(i) for piece, i in zip(pieces, text, strict=True)},
            ids=dict(zip(pieces, text, strict=True)),
            byte_ids=[self._model.piece_to_id(f"<0x{b:02X}>") for b in range(256)] if self.is_byte.any() else [],
            unknown=UNK,
            kind=kind,
            rate=rate,
        )

    def normalize(self, texts: Sequence[str]) -> list[str]:
        """The normalised texts, the input of the model, with "▁" for a space."""
        return self._checked(texts, lambda: [self._model.normalize(text) for text in texts])

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """The text of each id sequence, without padding, start and end of sentence."""
        real = [[int(i) for i in row if i not in (PAD, BOS, EOS)] for row in ids]
        texts: list[str] = self._model.decode(real) if real else []
        return [self._spaces(text, row) if SPACE in text else text for text, row in zip(texts, real, strict=True)]

    def _spaces(self, text: str, ids: Sequence[int]) -> str:
        # A space that went through byte pieces comes back as its sign, also the one added before the first word.
        if self.is_byte[ids[0]] and text.startswith(SPACE):
            text = text[1:]
        return text.replace(SPACE, " ")

    def pieces(self, text: str) -> list[str]:
        """The subwords of a text in sentencepiece's spelling, "▁" for a space."""
        return self.pieces_of(self.encode([text])[0])

    def pieces_of(self, ids: Sequence[int]) -> list[str]:
        """The spelling of each id."""
        return [self._model.id_to_piece(int(i)) for i in ids]

    def unknown_share(self, texts: Sequence[str]) -> float:
        """Share of the characters of `texts`, except spaces, that become <unk> or bytes."""
        known = sum(int(self._characters[row].sum()) for row in self.encode(texts) if row)
        normal = [text.replace(SPACE, "") for text in self.normalize(texts)]
        total = sum(map(len, normal))
        return 1 - known / total if total else 0.0

    def _checked(self, texts: Sequence[str], call: Callable[[], T]) -> T:
        try:
            return call()
        except (RuntimeError, UnicodeError, TypeError) as error:
            for text in texts:
                try:
                    text.encode("utf-8")
                except UnicodeError:
                    raise S2SError(f"not Unicode text (it holds half of a surrogate pair): {text[:60]!r}") from error
            raise
