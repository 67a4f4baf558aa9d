"""Output formats of translations; lines of UTF-8 that end at `\\n`.

- `text`: the best translation of each line, one line out for each line in;
- `tsv`: a row for each hypothesis: line number from 1, rank from 1, score, log-probability, text; no header;
- `json`: an object for each line, on one line, with `source`, `hypotheses` (`text`, `score`, `log_prob` of each),
  `truncated`, and optionally `attention` of the best hypothesis (`source`, `target`, `weights` by name).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import IO, Any, Literal, get_args

from s2s.decoding.translator import Attention, Translation
from s2s.errors import S2SError

Format = Literal["text", "tsv", "json"]


def check_format(form: str, n_best: int, attention: bool = False) -> None:
    """Checks, before any work, that a format can hold the output.

    Raises:
        S2SError: unknown format, more than one translation of a line as plain text, or attention outside of JSON.
    """
    if form not in get_args(Format):
        raise S2SError(f"output format {form!r} is not one of: {', '.join(get_args(Format))}")
    if form == "text" and n_best > 1:
        raise S2SError(
            f"output format text holds one translation of each line, but decoding.n_best={n_best}: use tsv or json"
        )
    if attention and form != "json":
        raise S2SError(f"output format {form} cannot hold attention weights: use json")


def write_translations(
    translations: Iterable[Translation],
    stream: IO[bytes],
    form: Format,
    n_best: int = 1,
    attention: Callable[[Translation], Attention] | None = None,
) -> None:
    """Writes each translation as soon as it is available.

    Args:
        translations: in the order of their lines.
        stream: binary.
        form: see the top of this module; tabs in the text become spaces in `tsv`.
        n_best: the configured number of hypotheses; only checked.
        attention: returns the attention of a translation.

    Raises:
        S2SError: as `check_format`, before the first translation is computed.
    """
    check_format(form, n_best, attention is not None)
    for number, translation in enumerate(translations, 1):
        if form == "text":
            rows = [translation.text]
        elif form == "tsv":
            rows = [
                "\t".join([str(number), str(rank), f"{h.score:.6f}", f"{h.log_prob:.6f}", h.text.replace("\t", " ")])
                for rank, h in enumerate(translation.hypotheses, 1)
            ]
        else:
            rows = [_json_row(translation, attention(translation) if attention else None)]
        stream.write("".join(f"{row}\n" for row in rows).encode("utf-8"))
        stream.flush()  # somebody may wait for it


def _json_row(translation: Translation, attention: Attention | None) -> str:
    row: dict[str, Any] = {
        "source": translation.source,
        "hypotheses": [{"text": h.text, "score": h.score, "log_prob": h.log_prob} for h in translation.hypotheses],
        "truncated": translation.truncated,
    }
    if attention is not None:
        weights = {name: [[round(w, 6) for w in line] for line in m.tolist()] for name, m in attention.weights.items()}
        row["attention"] = {"source": attention.source, "target": attention.target, "weights": weights}
    return json.dumps(row, ensure_ascii=False)
