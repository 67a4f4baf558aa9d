"""Models from configuration: `check_model` lists the errors of a `model` section, `build_model` builds it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from s2s.errors import S2SError
from s2s.models import blocks, recurrent  # noqa: F401  (they register themselves)
from s2s.models.decoder_only import DecoderOnly, LanguageModel, Prefix
from s2s.models.interface import DECODERS, ENCODERS, Seq2Seq
from s2s.models.masked import MaskedLanguageModel
from s2s.models.parts import check_parts
from s2s.models.seq2seq import EncoderDecoder, Tie
from s2s.nn.cells import CELLS
from s2s.nn.mixers import MIXERS
from s2s.nn.recurrent import Recurrence, check_recurrence
from s2s.schema import NonNegativeFloat, PositiveInt, Probability, build, check_call, nearest


@dataclass(frozen=True)
class EncoderDecoderConfig:
    """The `model` section; `encoder` and `decoder` are checked against the constructors named by their `type`."""

    name: str
    embedding_size: PositiveInt
    tie_embeddings: Tie
    dropout: Probability
    encoder: dict[str, Any]
    decoder: dict[str, Any]
    cell: str | None = None  # default of encoder and decoder
    cell_options: dict[str, Any] | None = None
    encoder_size: PositiveInt | None = None  # default hidden size of a recurrent encoder
    decoder_size: PositiveInt | None = None
    type: Literal["encoder_decoder"] = "encoder_decoder"


@dataclass(frozen=True)
class DecoderOnlyConfig:
    """The `model` section of a decoder-only model; see `s2s.models.decoder_only`."""

    name: str
    type: Literal["decoder_only"]
    embedding_size: PositiveInt
    tie_embeddings: Tie
    dropout: Probability
    prefix: Prefix
    source_loss: NonNegativeFloat  # weight of the source's tokens in the loss
    decoder: dict[str, Any]  # a stack of blocks
    cell: str | None = None  # default of the decoder
    cell_options: dict[str, Any] | None = None


CONFIGS: dict[str, type[Any]] = {"encoder_decoder": EncoderDecoderConfig, "decoder_only": DecoderOnlyConfig}


def check_model(
    model: Mapping[str, Any],
    joint: bool | None,
    trust: Sequence[str],
    recurrence: Recurrence = "auto",
    objective: str = "translation",
    freeze: Any = (),
    scale: Any = None,
) -> list[str]:
    """Errors of a `model` section, and of settings about its parts, found without allocating weights.

    Args:
        joint: whether both languages share one tokeniser; None when not known yet.
        trust: modules outside of s2s that the section may name.
        recurrence: the configured backend of recurrent layers.
        objective: the type of what it is trained for, see `s2s.data.objectives`.
        freeze, scale: `freeze` and `optim.scale`, whose types may be wrong.
    """
    kind = str(model.get("type", "encoder_decoder"))
    if kind not in CONFIGS:
        return [f"model.type={kind!r} is not one of: {nearest(kind, list(CONFIGS))}"]
    errors = check_call(CONFIGS[kind], model, "model")
    if objective == "causal_lm" and kind != "decoder_only":
        errors.append("objective=causal_lm predicts text without a source: use a decoder-only model, model=gpt")
    if objective == "causal_lm" and kind == "decoder_only":
        errors += [
            f"model.{key}={model[key]} is about a source, and a text of objective=causal_lm has none: leave it out"
            for key, none in (("prefix", "causal"), ("source_loss", 0))
            if model.get(key, none) != none
        ]
    if objective == "masked_lm" and kind == "decoder_only":
        errors.append("objective=masked_lm trains an encoder: use a model that has one, such as model=transformer")
    if not errors:
        errors += [
            f"{key}={name} is a class outside of s2s: add trust=[{module}] if you trust it"
            for key, name, module in outside_classes(model)
            if module not in trust
        ]
    if errors:
        return errors
    if kind == "encoder_decoder":
        errors += _check_side(ENCODERS, model["encoder"], "model.encoder", ("input_size",))
    elif model["decoder"].get("type") != "blocks":
        errors.append("a decoder-only model is a stack of blocks: set model.decoder.type=blocks")
    errors += _check_side(DECODERS, model["decoder"], "model.decoder", ("input_size", "memory_size", "summary_size"))
    if joint is False and model["tie_embeddings"] == "all":
        errors.append("model.tie_embeddings=all needs data.tokenizer.joint=true: one vocabulary for both languages")
    if not errors:
        try:  # errors raised by constructors
            with shapes_only():
                built = build_model(model, 8, 8, objective)
                errors += check_recurrence(built, recurrence) + check_parts(built, str(model["name"]), freeze, scale)
        except S2SError as error:
            errors.append(str(error).removeprefix("config: "))
        except (RuntimeError, OverflowError) as error:  # sizes that no tensor can have
            errors.append(f"model cannot be built: {str(error).splitlines()[0]}")
    return errors


def build_model(
    model: Mapping[str, Any], source_size: int, target_size: int, objective: str = "translation"
) -> Seq2Seq:
    """The model of a checked `model` section for an objective, from the vocabulary sizes.

    Raises:
        S2SError: its parts do not fit each other, or the memory.
    """
    try:
        return _built(model, source_size, target_size, objective)
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise S2SError("config: the model needs more memory than there is: make it smaller") from error


def _built(model: Mapping[str, Any], source_size: int, target_size: int, objective: str) -> Seq2Seq:
    width, tie, dropout = model["embedding_size"], model["tie_embeddings"], model["dropout"]
    if model.get("type") == "decoder_only":
        stack = build(
            blocks.BlockDecoder,
            {"input_size": width, "memory_size": None, "summary_size": None, **_options(model["decoder"])},
        )
        if objective == "causal_lm":
            return LanguageModel(stack, target_size, width, tie, dropout)
        options = {"prefix": model["prefix"], "source_loss": model["source_loss"]}
        return DecoderOnly(stack, source_size, target_size, width, tie, dropout, **options)
    encoder = build(ENCODERS[model["encoder"]["type"]], {"input_size": width, **_options(model["encoder"])})
    if objective == "masked_lm":
        return MaskedLanguageModel(encoder, source_size, width, dropout)
    sizes = {"input_size": width, "memory_size": encoder.output_size, "summary_size": encoder.summary_size}
    decoder = build(DECODERS[model["decoder"]["type"]], {**sizes, **_options(model["decoder"])})
    if tie != "none" and decoder.output_size != width:
        raise S2SError(
            f"config: model.tie_embeddings={tie} needs a decoder whose output is as wide as an "
            f"embedding ({width}), but {model['decoder']['type']} has {decoder.output_size}: use none"
        )
    return EncoderDecoder(encoder, decoder, source_size, target_size, width, tie, dropout)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Context in which new tensors have a shape and no storage, and initialisation does nothing.

    torch's `meta` device alone does the same, but imports its compiler for initialisation, which takes seconds.
    """
    with torch.device("meta"), _NoInitialisation():
        yield


class _NoInitialisation(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        draws = func in (Tensor.normal_, Tensor.uniform_)
        if draws or getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def outside_classes(model: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Key, name and module of each cell and mixer of a `model` section that is named `module.Class`."""
    for side in ("encoder", "decoder"):
        section = model.get(side)
        section = section if isinstance(section, Mapping) else {}
        mixer = section.get("mixer")
        mixer = mixer if isinstance(mixer, Mapping) else {}
        names = {"cell": section.get("cell"), "mixer.type": mixer.get("type"), "mixer.cell": mixer.get("cell")}
        for key, name in names.items():
            if isinstance(name, str) and "." in name:
                yield f"model.{side}.{key}", name, name.rpartition(".")[0]


def _options(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != "type"}


def _check_side(registry: Mapping[str, Any], section: Mapping[str, Any], where: str, sizes: Sequence[str]) -> list[str]:
    kind = str(section.get("type"))
    if kind not in registry:
        return [f"{where}.type={kind!r} is not one of: {nearest(kind, list(registry))}"]
    errors = check_call(registry[kind], _options(section), where, skip=("self", *sizes))
    errors += _check_cell(registry[kind], section, where)
    mixer = section.get("mixer")
    if "mixer" in inspect.signature(registry[kind]).parameters and isinstance(mixer, Mapping):
        errors += _check_mixer(mixer, f"{where}.mixer")
    return errors


def _check_mixer(section: Mapping[str, Any], where: str) -> list[str]:
    try:
        mixer = MIXERS.find(str(section.get("type")))
    except S2SError as error:
        return [f"{where}.type: {error}"]
    from_side = ("size", "causal", "rotary", *(() if "heads" in section else ("heads",)))
    errors = check_call(mixer, _options(section), where, skip=from_side)
    return errors + _check_cell(mixer, section, where)


def _check_cell(owner: type[Any], section: Mapping[str, Any], where: str) -> list[str]:
    """Errors of a cell and its options in the section of an encoder, decoder or mixer."""
    if "cell" not in inspect.signature(owner).parameters or not isinstance(section.get("cell"), str):
        return []
    try:
        cell = CELLS.find(section["cell"])
    except S2SError as error:
        return [f"{where}.cell: {error}"]
    options = section.get("cell_options") or {}
    if not isinstance(options, Mapping):  # reported with the owner's options
        return []
    return check_call(cell, options, f"{where}.cell_options", skip=("input_size", "hidden_size"))


def count_parameters(model: Seq2Seq) -> tuple[int, int]:
    """Number of parameters, with and without embeddings and output layer."""
    embeddings = {id(p) for name, p in model.named_parameters() if "embedding" in name or name.startswith("output_")}
    total = sum(p.numel() for p in model.parameters())
    return total, sum(p.numel() for p in model.parameters() if id(p) not in embeddings)
