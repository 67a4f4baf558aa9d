"""Text in and translations out, line by line, as UTF-8.

A line ends at `\\n` (`\\r\\n` is accepted) and nowhere else. Three formats of output:

- `text`: the best translation of each line, one line out for each line in;
- `tsv`: a row for each hypothesis: line number from 1, rank from 1, score, log-probability, text; no heading;
- `json`: an object for each line, on one line, with `source`, `hypotheses` (`text`, `score`, `log_prob` of each),
  `truncated`, and, if asked for, `attention` of the best hypothesis (`source`, `target`, `weights` by name).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, Literal, get_args

from s2s.decoding.translator import Attention, Translation
from s2s.errors import S2SError

Format = Literal["text", "tsv", "json"]


def read_lines(stream: IO[bytes], name: str) -> Iterator[str]:
    """The lines of a binary stream, without their ends; text after the last end is a line too.

    Args:
        stream: read as far as asked for.
        name: of the stream, in errors.

    Raises:
        S2SError: a line is not UTF-8; names the line.
    """
    for number, line in enumerate(stream, 1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise S2SError(
                f"{name}, line {number}: not UTF-8 (byte 0x{line[error.start]:02x} at position {error.start + 1}): "
                "convert it first"
            ) from error
        yield text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")


def check_format(form: str, n_best: int, attention: bool = False) -> None:
    """Before any work: can this format hold what is asked for?

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
    """Writes each translation as soon as it is there.

    Args:
        translations: in the order of their lines.
        stream: takes UTF-8 bytes.
        form: see the top of this module.
        n_best: how many hypotheses were asked for; only checked.
        attention: gives the attention of a translation.

    Raises:
        S2SError: see `check_format`; raised before the first translation is asked for.
    """
    check_format(form, n_best, attention is not None)
    for number, translation in enumerate(translations, 1):
        if form == "text":
            rows = [translation.text]
        elif form == "tsv":
            rows = tsv_rows(number, translation)
        else:
            rows = [json_row(translation, attention(translation) if attention else None)]
        stream.write("".join(f"{row}\n" for row in rows).encode("utf-8"))


def tsv_rows(number: int, translation: Translation) -> list[str]:
    """A row for each hypothesis; tabs in the text become spaces."""
    return [
        "\t".join([str(number), str(rank), f"{h.score:.6f}", f"{h.log_prob:.6f}", h.text.replace("\t", " ")])
        for rank, h in enumerate(translation.hypotheses, 1)
    ]


def json_row(translation: Translation, attention: Attention | None = None) -> str:
    """The translation as one JSON object on one line."""
    row: dict[str, Any] = {
        "source": translation.source,
        "hypotheses": [{"text": h.text, "score": h.score, "log_prob": h.log_prob} for h in translation.hypotheses],
        "truncated": translation.truncated,
    }
    if attention is not None:
        weights = {name: [[round(w, 6) for w in line] for line in m.tolist()] for name, m in attention.weights.items()}
        row["attention"] = {"source": attention.source, "target": attention.target, "weights": weights}
    return json.dumps(row, ensure_ascii=False)
