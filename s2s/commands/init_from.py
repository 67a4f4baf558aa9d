"""Initialisation of a run from another one (`init_from`): its tokeniser, and the weights that fit by name and shape.

The two models need not be alike. An encoder may come from a masked language model and a decoder from a language model,
and a deeper model takes over the layers that the other one has. A tensor with one row for each piece of a vocabulary
(an embedding, the output layer) fits only if the vocabulary of its side, source or target, is the same.

A monolingual run has `data.language` and one tokeniser model. A run for translation takes over that model for the sides
in this language and trains a new one for the other side. A monolingual run takes over the model of its language.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from s2s.config import RunConfig
from s2s.data.corpus import Split
from s2s.data.languages import identify
from s2s.data.subwords import Subwords
from s2s.data.tokenizer import Tokenizer, train_subwords
from s2s.errors import S2SError
from s2s.models.interface import Seq2Seq
from s2s.models.seq2seq import TIED, VOCABULARY_SIDE, with_tied_names
from s2s.schema import value_of
from s2s.training.checkpoint import RunDirectory
from s2s.training.weights import model_tensors

log = logging.getLogger(__name__)

INNER_PARTS = ("encoder.", "decoder.")  # all but embeddings and output layers


def check_initial(config: RunConfig) -> None:
    """What the configurations of a new run and of the one it starts from tell before any data is read.

    Raises:
        S2SError: `init_from` is no run; the tokeniser that is to be taken over has other settings, or a model for
            neither language.
    """
    if config.init_from is None:
        return
    other = RunDirectory(config.init_from)
    try:
        theirs = other.load_config()
    except S2SError as error:
        raise S2SError(f"init_from: {error}") from error
    if config.data.tokenizer.path is None:
        _taken_over(config.to_dict(), theirs, other)


def initial_tokenizer(config: RunConfig, other: RunDirectory, train: Split) -> Tokenizer:
    """The tokeniser of a new run, from that of another run and, where that has no model for a side, from its own text.

    Raises:
        S2SError: as `check_initial`.
    """
    ours, theirs = config.to_dict(), other.load_config()
    taken, tokenizer = _taken_over(ours, theirs, other), Tokenizer.load(other.tokenizer)
    if taken is None:
        now, before = _languages(ours), _languages(theirs)
        if before != now:
            log.warning(
                "%s %s %s, and its tokeniser and weights are taken over for %s",
                *(other.path, "translates" if len(before) > 1 else "models", " to ".join(before), " to ".join(now)),
            )
        return tokenizer

    def model(side: str, text: Sequence[str], theirs: str | None) -> Subwords:
        log.info("%s tokeniser: %s", side, f"from {other.path}" if theirs else "trained on the text of this run")
        if theirs is None:
            return train_subwords(config.data.tokenizer, side, text)
        proto = (tokenizer.source if theirs == "source" else tokenizer.target).proto
        return Subwords(proto, str(other.tokenizer))  # a new object: one that both sides share is a joint model

    if config.data.tokenizer.joint:
        source = target = model("joint", train.source, taken[0])
    else:
        source, target = model("source", train.source, taken[0]), model("target", train.target, taken[1])
    return Tokenizer(source, target, tokenizer.type, tokenizer.sampling)


def _taken_over(ours: Mapping[str, Any], theirs: Mapping[str, Any], other: RunDirectory) -> list[str | None] | None:
    """For each side of a new run, the side of the other run whose tokeniser model it takes over, if any.

    None if the whole tokeniser is taken over.

    Raises:
        S2SError: settings differ, or no model is for a language of the new run.
    """
    now, before = _languages(ours), _languages(theirs)
    if len(now) == len(before):
        _check_settings(ours, theirs, other, ("path",))
        return None
    sides = {_identity(language): side for language, side in zip(before, ("source", "target"), strict=False)}
    taken = [sides.get(_identity(language)) for language in now]
    alone = f"{before[0]} alone" if len(before) == 1 else " and ".join(before)
    what = f"init_from={other.path}: its tokeniser is for {alone}, and the data is {' to '.join(now)}"
    if not any(taken):
        raise S2SError(f"{what}: name a run on text in one of these languages, or a tokeniser in data.tokenizer.path")
    if value_of(ours, "data", "tokenizer", "joint") and not all(taken):
        raise S2SError(
            f"{what}: set data.tokenizer.joint=false for a second one, or name a joint one in data.tokenizer.path"
        )
    _check_settings(ours, theirs, other, ("path", "joint"))
    return taken


def _check_settings(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], other: RunDirectory, but: Iterable[str]
) -> None:
    """Raises S2SError if tokeniser settings differ, those in `but` aside."""
    differences = [
        f"data.tokenizer.{key}={known} and not {value}"
        for key, value in value_of(ours, "data", "tokenizer").items()
        if key not in but and (known := value_of(theirs, "data", "tokenizer", key)) != value
    ]
    if differences:
        raise S2SError(
            f"init_from={other.path}: its tokeniser is taken over, which has {', '.join(differences)}: set the same"
        )


def _languages(config: Mapping[str, Any]) -> list[str]:
    """The language of a monolingual run, or source and target language."""
    if (language := value_of(config, "data", "language")) is not None:
        return [str(language)]
    return [
        str(value_of(config, "data", f"{side}_language") or value_of(config, "data", side))
        for side in ("source", "target")
    ]


def _identity(language: str) -> object:
    """What two codes of one language have in common, such as de and deu."""
    known = identify(language)
    return known if known.code else language


def start_from(other: RunDirectory, model: Seq2Seq, section: Mapping[str, Any], tokenizer: Tokenizer) -> set[str]:
    """Initialises all weights that fit from those of another run; the log says which ones.

    Args:
        section: the configuration's `model`.

    Returns:
        The names of these weights, all of them for tied ones.

    Raises:
        S2SError: the vocabularies of both sides differ, or no weight matrix of encoder or decoder fits.
    """
    vocabularies = zip(Tokenizer.load(other.tokenizer).vocabularies, tokenizer.vocabularies, strict=True)
    same = [theirs == ours for theirs, ours in vocabularies]
    if not any(same):
        raise S2SError(
            f"init_from={other.path}: its vocabulary differs; leave data.tokenizer.path out to take over its own"
        )
    tensors = other.weight_tensors()
    theirs = value_of(other.load_config(), "model")
    stored = with_tied_names(tensors, value_of(theirs, "tie_embeddings"))
    known = {name: t for name, t in stored.items() if name not in VOCABULARY_SIDE or same[VOCABULARY_SIDE[name]]}
    own = _own_tensors(model, section["tie_embeddings"])
    fitting = _fitting(own, known)
    misshapen = [
        f"{name} has the shape {tuple(known[name].shape)}, here {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in known and name not in fitting
    ]
    if not any(name.startswith(INNER_PARTS) and tensor.ndim > 1 for name, tensor in fitting.items()):
        why = (misshapen or [f"it has {by_part(stored, stored)}"])[0]
        raise S2SError(
            f"init_from={other.path}: no weight matrix of its encoder or decoder fits ({why}): set the model's options "
            "to those of that run"
        )
    with torch.no_grad():
        for name, tensor in fitting.items():
            own[name].copy_(tensor)
    taken = {_part(name) for name in fitting}
    new = by_part([name for name in own if _part(name) not in taken], own)
    log.info("initial weights: %s from %s; new: %s", by_part(fitting, own), other.path, new or "none")
    if misshapen:
        log.warning("%d weights of %s do not fit and stay new (%s)", len(misshapen), other.path, misshapen[0])
    if differences := _differences(section, theirs, taken):
        log.warning(
            "weights of %s were trained with %s: they compute something else now", other.path, ", ".join(differences)
        )
    if unused := by_part([name for name in tensors if name not in own], tensors):
        log.info("weights of %s that this model has no place for: %s", other.path, unused)
    return set(fitting)


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], parts: Iterable[str]) -> list[str]:
    """Options in which these parts differ, such as `model.encoder.norm=pre (here post)`."""
    pairs = {part: (_options(value_of(ours, part)), _options(value_of(theirs, part))) for part in sorted(parts)}
    return [
        f"model.{part}.{key}={before} (here {own[key]})"
        for part, (own, other) in pairs.items()
        for key, before in other.items()
        if key in own and own[key] != before and not {"dropout", "layers"} & {*key.split(".")}
    ]


def _options(section: Any, prefix: str = "") -> dict[str, Any]:
    """The options of a section and of those within it, by dotted key."""
    if not isinstance(section, Mapping):
        return {prefix[:-1]: section} if prefix else {}
    nested = [_options(value, f"{prefix}{key}.") for key, value in section.items()]
    return {key: value for one in nested for key, value in one.items()}


def _own_tensors(model: Seq2Seq, tie_embeddings: str) -> dict[str, Tensor]:
    """The model's tensors, each once as in a weight file, but tied embeddings under all of their names."""
    named, names = with_tied_names(model_tensors(model), tie_embeddings), model.state_dict().keys()
    return {name: tensor for name, tensor in named.items() if name in names}


def _fitting(own: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The known tensors that fit by name and shape; for a tied tensor, that of the first of its names that fits."""
    fitting = {}
    for name, tensor in own.items():
        names = [one for one in TIED["all"] if own.get(one) is tensor] or [name]
        candidates = [known[one] for one in names if one in known]
        if candidates := [one for one in candidates if one.shape == tensor.shape]:
            fitting[name] = candidates[0]
    return fitting


def _part(name: str) -> str:
    return name.split(".")[0]


def by_part(names: Iterable[str], all_names: Iterable[str]) -> str:
    """Names of tensors as a list of their top-level parts: `encoder (24 of 36 tensors), source_embedding`."""
    counts, totals = Counter(map(_part, names)), Counter(map(_part, all_names))
    sizes = {part: f"{n}" if n == totals[part] else f"{n} of {totals[part]}" for part, n in counts.items()}
    return ", ".join(part if totals[part] == 1 else f"{part} ({size} tensors)" for part, size in sizes.items())
