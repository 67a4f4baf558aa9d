"""`scripts/translate.py`: one line out for each line in; scores, n-best and forced scoring on request."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from omegaconf import DictConfig

from s2s.commands.console import overridden_section, plain
from s2s.data.reading import read_lines
from s2s.decoding.output import Format, check_format, write_translations
from s2s.decoding.translator import Translator
from s2s.devices import set_arithmetic
from s2s.errors import S2SError
from s2s.files import atomic_write
from s2s.runs import load
from s2s.schema import checked


@dataclass(frozen=True)
class TranslateConfig:
    """conf/translate.yaml; see there for the meaning."""

    run: str
    input: str | None
    output: str | None
    format: Format
    attention: bool
    reference: str | None
    device: str
    trust: list[str]
    decoding: dict[str, Any]


def translate(config: DictConfig) -> None:
    """Translates `input` into `output`."""
    own = checked(TranslateConfig, plain(config) | {"decoding": overridden_section(config, "decoding")})
    if own.reference is not None and own.format == "json":
        raise S2SError("config: reference=… scores translations, as text or tsv; format=json is for translating")
    run = load(own.run, own.device, own.trust)
    set_arithmetic(run.model.device, run.config.deterministic, run.config.tf32)
    translator = run.translator(**own.decoding)
    if own.reference is not None:
        score(translator, own, own.reference)
        return
    check_format(own.format, translator.config.n_best, own.attention)
    attention = (lambda t: translator.attention(t.source, t.hypotheses[0].tokens)) if own.attention else None
    with reading(own.input) as (stream, name), writing(own.output) as sink:
        lines: Any = read_lines(stream, name)
        if own.input is not None:
            lines = list(lines)  # a known number of lines has a known time left
        translations = translator.translations(lines, progress=sys.stderr.isatty())
        write_translations(translations, sink, own.format, translator.config.n_best, attention)


def score(translator: Translator, own: TranslateConfig, reference: str) -> None:
    """Writes the log-probability of each line of `reference` as translation of the same line of `input`."""
    with reading(own.input) as (stream, name):
        sources = list(read_lines(stream, name))
    with reading(reference) as (stream, name):
        targets = list(read_lines(stream, name))
    if len(sources) != len(targets):
        where = own.input or "stdin"
        raise S2SError(f"{where} has {len(sources)} lines, {reference} has {len(targets)}: they must match")
    scores = translator.score(sources, targets)
    with writing(own.output) as sink:
        for number, one in enumerate(scores, 1):
            row = f"{one.log_prob:.6f}"
            if own.format == "tsv":
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
