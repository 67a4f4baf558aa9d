"""`scripts/translate.py`: one line out for each line in; scores, n-best and forced scoring on request."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from omegaconf import DictConfig

from s2s.commands.console import plain
from s2s.config import check_call, raise_all
from s2s.data.reading import read_lines
from s2s.decoding.output import Format, check_format, write_translations
from s2s.errors import S2SError
from s2s.files import atomic_write
from s2s.runs import Run, load


def options(
    *,
    run: str,
    input: str | None,
    output: str | None,
    format: Format,
    attention: bool,
    reference: str | None,
    device: str,
    trust: list[str],
    decoding: dict[str, Any],
) -> None:
    """The schema of conf/translate.yaml; see there for the meaning."""


def translate(config: DictConfig) -> None:
    """Translates `input` into `output`."""
    values = plain(config)
    raise_all(check_call(options, values, ""))
    if values["reference"] is not None and values["format"] == "json":
        raise S2SError("config: reference=… scores given translations, as text or tsv; format=json is for translating")
    run = load(values["run"], values["device"], values["trust"])
    if values["reference"] is not None:
        score(run, values)
        return
    translator = run.translator(**values["decoding"])
    check_format(values["format"], translator.config.n_best, values["attention"])
    look = (lambda t: translator.attention(t.source, t.hypotheses[0].tokens)) if values["attention"] else None
    with reading(values["input"]) as (stream, name), writing(values["output"]) as sink:
        lines: Any = read_lines(stream, name)
        if values["input"] is not None:
            lines = list(lines)  # a known number of lines has a known time left
        found = translator.translations(lines, progress=sys.stderr.isatty())
        write_translations(found, sink, values["format"], translator.config.n_best, look)


def score(run: Run, values: dict[str, Any]) -> None:
    """Writes the log-probability of each line of `reference` as translation of the same line of `input`."""
    with reading(values["input"]) as (stream, name):
        sources = list(read_lines(stream, name))
    with reading(values["reference"]) as (stream, name):
        targets = list(read_lines(stream, name))
    if len(sources) != len(targets):
        where = values["input"] or "stdin"
        raise S2SError(f"{where} has {len(sources)} lines, {values['reference']} has {len(targets)}: they must match")
    scores = run.translator(**values["decoding"]).score(sources, targets)
    with writing(values["output"]) as sink:
        for number, one in enumerate(scores, 1):
            row = f"{one.log_prob:.6f}"
            if values["format"] == "tsv":
                row = "\t".join([str(number), row, str(len(one.tokens) + 1), targets[number - 1].replace("\t", " ")])
            sink.write(f"{row}\n".encode())


@contextmanager
def reading(path: str | None) -> Iterator[tuple[IO[bytes], str]]:
    """A file, or stdin, as bytes, and its name for messages."""
    if path is None:
        yield sys.stdin.buffer, "stdin"
        return
    try:
        with Path(path).open("rb") as stream:
            yield stream, path
    except OSError as error:
        if error.filename != path:  # of another file, in the body of the with statement
            raise
        raise S2SError(f"cannot read {path}: {error.strerror}") from error


@contextmanager
def writing(path: str | None) -> Iterator[IO[bytes]]:
    """A file that appears when all is written, or stdout."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with atomic_write(Path(path), "wb") as file:
        yield file
