"""A trained run as an object: what `s2s.load` returns and what all commands work with.

A run directory says how its model is made (`config.yaml`), what its weights are (`model.safetensors`) and how text
becomes ids (`tokenizer/`). Loading one runs no code of whoever made it: a model that names a class outside of s2s is
refused until its module is listed in `trust`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from s2s.config import DecodingConfig, EvaluationConfig, RunConfig, parse
from s2s.data.tokenizer import Tokenizer
from s2s.decoding.translator import Attention, Score, Translation, Translator
from s2s.devices import pick_device
from s2s.errors import S2SError
from s2s.models import build_model, check_model
from s2s.models.interface import Seq2Seq
from s2s.schema import build, check_call, raise_all, value_of
from s2s.training.checkpoint import RunDirectory


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained model with everything that belongs to it.

    Attributes:
        directory: where it lives.
        config: the configuration it was trained with.
        tokenizer: of both languages.
        model: in evaluation mode, on its device.
    """

    directory: RunDirectory
    config: RunConfig
    tokenizer: Tokenizer
    model: Seq2Seq

    def translator(self, **decoding: Any) -> Translator:
        """A translator with the run's decoding settings, some of them changed: `translator(beam=1)`."""
        return Translator(self.model, self.tokenizer, changed(self.config.decoding, decoding, "decoding"))

    def translate(self, lines: Iterable[str], **decoding: Any) -> list[str]:
        """The best translation of each line, in order."""
        return self.translator(**decoding).translate(lines)

    def translations(self, lines: Iterable[str], **decoding: Any) -> Iterator[Translation]:
        """As `translate`, with n-best lists, scores and probabilities."""
        return self.translator(**decoding).translations(lines)

    def score(self, sources: Sequence[str], targets: Sequence[str]) -> list[Score]:
        """Log-probabilities of given translations."""
        return self.translator().score(sources, targets)

    def attention(self, source: str, target: str) -> Attention:
        """What the decoder looks at while it writes `target`."""
        return self.translator().attention(source, target)


def load(path: str | Path, device: str = "auto", trust: Sequence[str] = ()) -> Run:
    """The run in a run directory.

    Args:
        path: the directory.
        device: `auto`, `cpu`, `cuda` …
        trust: modules that the model may name; they are imported, so list only what you would run.

    Raises:
        S2SError: not a run directory, damaged, of another version, or it names an untrusted module.
    """
    listed = isinstance(trust, Sequence) and not isinstance(trust, (str, bytes))
    if not listed or not all(isinstance(module, str) for module in trust):
        raise S2SError(f"trust={trust!r} must be a list of module names")
    directory = RunDirectory(path)
    values = directory.load_config()
    try:
        objective = value_of(values, "objective", "type") or "translation"  # the key is younger than some runs
        config = parse(values, extra_checks=lambda v: check_model(v["model"], None, trust, objective=objective))
    except S2SError as error:
        raise S2SError(f"{directory.config}: {error}") from error
    tokenizer = Tokenizer.load(directory.tokenizer)
    with torch.random.fork_rng(devices=[]):  # building draws weights; the caller's random numbers are not touched
        sizes = tokenizer.source_size, tokenizer.target_size
        model = build_model(config.model, *sizes, config.objective.type)
    directory.load_weights(model)
    model.cuda_graphs = config.cuda_graphs
    return Run(directory, config, tokenizer, model.to(pick_device(device)).eval())


def changed(section: Any, values: Mapping[str, Any], name: str) -> Any:
    """A config section with some values replaced; None means unchanged.

    Raises:
        S2SError: an unknown key or a value that is not allowed.
    """
    assert isinstance(section, (DecodingConfig, EvaluationConfig))
    merged = {**dataclasses.asdict(section), **{key: value for key, value in values.items() if value is not None}}
    raise_all(check_call(type(section), merged, name))
    return build(type(section), merged)
