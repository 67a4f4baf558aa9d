"""`scripts/translate.py`: one line out for each line in; scores, n-best and forced scoring on request."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import IO, Any

from omegaconf import DictConfig

from s2s.commands.console import overridden_section, plain
from s2s.data.reading import arrived_lines, read_lines
from s2s.decoding.output import Format, check_format, write_translations
from s2s.decoding.translator import WINDOW, Translator
from s2s.devices import set_arithmetic
from s2s.errors import S2SError
from s2s.files import check_output, is_stream, open_output, open_stdout, user_path
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
    if own.output is not None:
        check_output(user_path(own.output))
    run = load(own.run, own.device, own.trust)
    set_arithmetic(run.model.device, run.config.deterministic, run.config.tf32)
    translator = run.translator(**own.decoding)
    if own.reference is not None:
        score(translator, own, own.reference)
        return
    check_format(own.format, translator.config.n_best, own.attention)
    attention = (lambda t: translator.attention(t.source, t.hypotheses[0].tokens)) if own.attention else None
    progress = sys.stderr.isatty()
    with reading(own.input) as (stream, name), writing(own.output) as sink:
        if own.input is not None and not is_stream(user_path(own.input)):
            lines = list(read_lines(stream, name))  # a known number of lines has a known time left
            translations = translator.translations(lines, progress)
        else:
            translations = translator.translate_windows(arrived_lines(stream, name, WINDOW), progress=progress)
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
    """A file, or stdin, as bytes, and its name for messages.

    Raises:
        S2SError: it cannot be opened.
    """
    if path is None:
        if sys.stdin is None:  # Python's sign for a closed one
            raise S2SError("cannot read stdin: it is closed; name a file, input=FILE")
        yield sys.stdin.buffer, "stdin"
        return
    try:
        stream = user_path(path).open("rb")
    except OSError as error:
        raise S2SError(f"cannot read {path}: {error.strerror}") from error
    with stream:
        yield stream, path


def writing(path: str | None) -> AbstractContextManager[IO[bytes]]:
    """A file that appears when all is written, a pipe, or stdout."""
    return open_stdout() if path is None else open_output(user_path(path))
