"""What a run is made of, and the check that happens before any work starts.

A configuration is composed by Hydra from `conf/`, resolved, and checked here *as a whole*: every unknown key, wrong
type, value out of range and missing key is reported at once, with the key, the value and what is allowed. The schema of
a section is the signature of what it builds: a dataclass below for data, optimisation, training, decoding and
evaluation; the constructor itself for models and cells (`check_call`). Nothing is written down twice.

This module imports no other part of s2s but the error, so that everything may import it.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import itertools
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from s2s.errors import S2SError

T = TypeVar("T")


@dataclass(frozen=True)
class Bounds:
    """Closed range of a number; `below` is an exclusive upper end, `above` an exclusive lower one."""

    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high and self.above < value < self.below

    def __str__(self) -> str:
        parts = []
        if self.low > -math.inf:
            parts.append(f"at least {self.low:g}")
        if self.above > -math.inf:
            parts.append(f"more than {self.above:g}")
        if self.high < math.inf:
            parts.append(f"at most {self.high:g}")
        if self.below < math.inf:
            parts.append(f"less than {self.below:g}")
        return " and ".join(parts)


PositiveInt = Annotated[int, Bounds(low=1)]
NonNegativeInt = Annotated[int, Bounds(low=0)]
PositiveFloat = Annotated[float, Bounds(above=0)]
NonNegativeFloat = Annotated[float, Bounds(low=0)]
Probability = Annotated[float, Bounds(low=0, below=1)]
Share = Annotated[float, Bounds(low=0, high=1)]


# ---------------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True)
class TokenizerConfig:
    """The sentencepiece models of a run; see `s2s.data.tokenizer`."""

    type: Literal["bpe", "unigram", "char", "word"]
    vocab_size: PositiveInt  # of each model; special tokens and bytes included
    joint: bool  # one model for both languages (needed to tie all embeddings)
    byte_fallback: bool  # unseen characters become UTF-8 bytes instead of <unk>
    sampling: Probability  # subword regularisation in training: BPE-dropout rate, or unigram sampling; 0 is off
    normalization: Literal["identity", "nfkc", "nmt_nfkc", "nfkc_cf", "nmt_nfkc_cf"]
    path: str | None  # use these models (a tokenizer folder of s2s, or one .model file) instead of training


@dataclass(frozen=True)
class GrammarData:
    """The built-in corpus, `s2s.data.grammar`."""

    name: str
    type: Literal["grammar"]
    source: Literal["en"]
    target: Literal["de"]
    train_pairs: PositiveInt
    validation_pairs: PositiveInt
    test_pairs: PositiveInt  # a multiple of the number of length bins
    grammar_seed: NonNegativeInt
    max_length: PositiveInt | None
    tokenizer: TokenizerConfig
    longest: PositiveInt = 60  # words of the longest sentences, a multiple of 6: test has six bins of equal width
    lexicon: Literal["full", "basic"] = "full"  # see s2s.data.grammar.lexicons

    @property
    def source_language(self) -> str:
        return self.source

    @property
    def target_language(self) -> str:
        return self.target


@dataclass(frozen=True)
class HubData:
    """A data set of the hub, or a local folder in the same layout, read by `datasets.load_dataset`."""

    name: str
    type: Literal["hub"]
    path: str  # hub identifier or folder
    subset: str | None  # load_dataset's configuration name, such as "de-en"
    revision: str | None  # a tag or commit of the hub data set, for exact repetition
    source: str  # column, also as a key of the nested `translation` column
    target: str
    source_language: str
    target_language: str
    train: str  # split names
    validation: str
    tests: list[str]
    max_length: PositiveInt | None  # training pairs with more words (characters in zh, ja) on either side are left out
    max_train_pairs: PositiveInt | None  # the first so many training pairs only
    tokenizer: TokenizerConfig


@dataclass(frozen=True)
class FilesData:
    """Local text: two parallel files, a TSV or a JSONL file for each split."""

    name: str
    type: Literal["files"]
    source: str  # file suffix of parallel text, column of TSV and JSONL
    target: str
    source_language: str
    target_language: str
    train: str  # "FOLDER/train" stands for FOLDER/train.<source> and FOLDER/train.<target>; or a .tsv or .jsonl file
    validation: str
    tests: list[str]
    max_length: PositiveInt | None
    max_train_pairs: PositiveInt | None
    tokenizer: TokenizerConfig


DataConfig = GrammarData | HubData | FilesData


# ------------------------------------------------------------------------------------------------------ training


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate over updates; all of them rise linearly to the peak during `warmup` updates first."""

    type: Literal["constant", "inverse_sqrt", "cosine", "plateau"]
    warmup: NonNegativeInt  # updates
    final: Share  # cosine and plateau: the lowest rate, as a share of the peak
    factor: Annotated[float, Bounds(above=0, below=1)]  # plateau: multiply by this …
    patience: NonNegativeInt  # … after more than so many validations without improvement


@dataclass(frozen=True)
class OptimConfig:
    name: str
    optimizer: Literal["adam", "adamw", "sgd"]
    lr: PositiveFloat  # the peak
    betas: tuple[Probability, Probability]  # adam, adamw
    eps: PositiveFloat  # adam, adamw
    momentum: Probability  # sgd
    weight_decay: NonNegativeFloat
    clip_norm: PositiveFloat | None  # scale the whole gradient down to this Euclidean norm
    clip_value: PositiveFloat | None  # cut each component to [-value, value]
    schedule: ScheduleConfig


TrainingPrecision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class TrainingConfig:
    name: str
    max_steps: PositiveInt | None  # updates
    max_epochs: PositiveInt | None
    batch_tokens: PositiveInt  # sentences × longest side of a micro-batch, padding included
    batch_sentences: PositiveInt | None  # sentence pairs of a micro-batch, at most
    accumulate: PositiveInt  # micro-batches for each update
    precision: TrainingPrecision  # compute dtype; a run directory never holds auto: s2s.precision
    label_smoothing: Probability
    dropout: Probability  # what conf/model takes for model.dropout
    validate_every: PositiveInt  # updates
    metric: Literal["bleu", "loss"]  # decides the best checkpoint and early stopping
    patience: PositiveInt | None  # stop after so many validations without improvement
    average: Literal["none", "last", "best"]  # which checkpoints the final weights are the mean of
    average_checkpoints: PositiveInt
    save_every: PositiveInt  # updates; what is lost at most when the machine dies
    log_every: PositiveInt  # updates
    tensorboard: bool


# ------------------------------------------------------------------------------------------ decoding, evaluation


Precision = Literal["fp32", "bf16", "int8"]


@dataclass(frozen=True)
class DecodingConfig:
    name: str
    strategy: Literal["greedy", "beam", "sample"]
    beam: PositiveInt  # beam: hypotheses kept at each step
    length_penalty: NonNegativeFloat  # alpha: score = log-probability / ((5 + length) / 6) ** alpha (Wu et al. 2016)
    n_best: PositiveInt  # translations of each line; sample: so many are drawn
    temperature: PositiveFloat  # sample: divides the logits
    max_ratio: PositiveFloat  # a translation has at most max_ratio × source tokens + max_extra tokens
    max_extra: NonNegativeInt
    max_source: PositiveInt  # source tokens; a longer line is cut there, with a warning
    batch_tokens: PositiveInt  # source tokens, padding included, × hypotheses decoded together
    precision: Precision
    seed: NonNegativeInt  # sample


@dataclass(frozen=True)
class EvaluationConfig:
    bins: list[PositiveInt]  # inclusive upper edges in source words (characters in zh, ja); the rest is the last bin
    bootstrap: PositiveInt  # resamples for the intervals
    confidence: Annotated[float, Bounds(above=0, below=1)]
    tokenize: str | None  # sacrebleu's tokeniser; null takes the right one for the target language
    force: bool  # accept a tokeniser that does not fit the target language
    seed: NonNegativeInt


@dataclass(frozen=True)
class RunConfig:
    """A whole training run: the contents of `config.yaml` in a run directory."""

    data: DataConfig
    model: dict[str, Any]  # checked by s2s.models against the constructors it names
    optim: OptimConfig
    training: TrainingConfig
    decoding: DecodingConfig
    evaluation: EvaluationConfig
    seed: NonNegativeInt
    device: str  # auto, cpu, cuda, cuda:1 …
    init_from: str | None  # run directory whose weights this run starts from
    trust: list[str]  # modules of the user's that the model may name
    recurrence: Literal["auto", "loop", "bptt", "torch"] = "auto"  # see s2s.nn.recurrent
    layout: Literal["auto", "packed", "padded"] = "auto"  # of batches in recurrent layers, see s2s.nn.recurrent
    cuda_graphs: bool = True  # on a GPU, see s2s.graphs
    deterministic: bool = False  # on a GPU, see s2s.devices.set_arithmetic
    tf32: bool = False


# ------------------------------------------------------------------------------------------------- the mechanism


def nearest(word: str, known: Sequence[str]) -> str:
    """Known names, nearest to `word` first, as the end of an error message."""
    ordered = sorted(known, key=lambda name: (-difflib.SequenceMatcher(None, word, name).ratio(), name))
    return ", ".join(ordered)


def check_call(
    target: Callable[..., Any], values: Mapping[str, Any], where: str, skip: Sequence[str] = ()
) -> list[str]:
    """Errors that calling `target(**values)` would meet, each as one clause with its key.

    `target` is a dataclass or any callable with annotated keyword parameters; `skip` names parameters that the caller
    supplies itself. Defaults make a key optional. `where` is the key of the section ("" for the top).
    """
    init = target.__init__ if inspect.isclass(target) else target
    hints = typing.get_type_hints(init, include_extras=True)
    parameters = [
        p
        for name, p in inspect.signature(target).parameters.items()
        if name not in skip and p.kind is not p.VAR_KEYWORD
    ]
    names = [p.name for p in parameters]
    errors = [
        f"unknown key {_join(where, key)} (known, nearest first: {nearest(str(key), names)})"
        for key in values
        if key not in names
    ]
    for parameter in parameters:
        key = _join(where, parameter.name)
        if parameter.name in values:
            errors += _check_value(hints.get(parameter.name, Any), values[parameter.name], key)
        elif parameter.default is parameter.empty:
            errors.append(f"missing key {key}")
    return errors


def build(target: Callable[..., T], values: Mapping[str, Any]) -> T:
    """Calls `target` with checked values, turning nested sections into their dataclasses."""
    hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    return target(**{key: _convert(hints.get(key, Any), value) for key, value in values.items()})


def parse(values: Mapping[str, Any], more: Callable[[Mapping[str, Any]], list[str]] | None = None) -> RunConfig:
    """The checked configuration of a run.

    Args:
        values: the resolved configuration as plain Python values.
        more: further checks on the same values, such as those of the model section; their errors are reported together.

    Raises:
        S2SError: naming every error found.
    """
    errors = check_call(RunConfig, values, "")
    errors += _check_relations(values, errors)
    if more is not None and isinstance(values.get("model"), Mapping):
        errors += more(values)
    raise_all(errors)
    return build(RunConfig, values)


def raise_all(errors: Sequence[str]) -> None:
    """Raises one `S2SError` for all errors, if there are any."""
    if len(errors) == 1:
        raise S2SError(f"config: {errors[0]}")
    if errors:
        raise S2SError(f"config: {len(errors)} errors: " + "; ".join(f"({i}) {e}" for i, e in enumerate(errors, 1)))


def _check_relations(values: Mapping[str, Any], errors: Sequence[str]) -> list[str]:
    """Values that do not fit each other; only those that are right by themselves are compared."""
    flat = {
        f"{section}.{key}": v
        for section in values
        if isinstance(values[section], Mapping)
        for key, v in values[section].items()
    }

    def get(*keys: str) -> list[Any] | None:
        sound = all(key in flat and not any(key in error for error in errors) for key in keys)
        return [flat[key] for key in keys] if sound else None

    found = []
    if get("training.max_steps", "training.max_epochs") == [None, None]:
        found.append("training.max_steps and training.max_epochs are both null: set one, or training never ends")
    if (pair := get("optim.schedule", "training.max_steps")) and pair[0]["type"] == "cosine" and pair[1] is None:
        found.append("optim.schedule.type=cosine needs training.max_steps, the length of the cosine")
    if search := get("decoding.strategy", "decoding.n_best", "decoding.beam"):
        strategy, n_best, beam = search
        if strategy == "greedy" and n_best > 1:
            found.append("decoding.n_best is more than 1, but decoding.strategy=greedy finds one translation: use beam")
        if strategy == "beam" and n_best > beam:
            found.append(f"decoding.n_best={n_best} is more than decoding.beam={beam}")
    if (one := get("evaluation.bins")) and any(b <= a for a, b in itertools.pairwise(one[0])):
        found.append(f"evaluation.bins={list(one[0])} must rise")
    return found


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _check_value(hint: Any, value: Any, key: str) -> list[str]:
    if hint is Any:
        return []
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        errors = _check_value(arguments[0], value, key)
        broken = [m for m in arguments[1:] if isinstance(m, Bounds) and not errors and not m.holds(value)]
        return errors + [f"{key}={value!r} must be {bounds}" for bounds in broken]
    if origin in (Union, types.UnionType):
        return _check_union(arguments, value, key)
    if origin is Literal:
        if value in arguments and type(value) in {type(a) for a in arguments}:
            return []
        return [f"{key}={value!r} is not one of: {nearest(str(value), [str(a) for a in arguments])}"]
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            return [f"{key}={value!r} must be a section with keys"]
        return check_call(typing.cast(Any, hint), value, key)
    if origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            return [f"{key}={value!r} must be a list"]
        if origin is tuple and len(arguments) != len(value):
            return [f"{key}={value!r} must have {len(arguments)} items"]
        kinds = arguments if origin is tuple else arguments * len(value)
        return [
            e
            for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
            for e in _check_value(kind, item, f"{key}[{i}]")
        ]
    if origin in (dict, Mapping) or hint is dict:
        if not isinstance(value, Mapping):
            return [f"{key}={value!r} must be a section with keys"]
        return [e for name, item in value.items() for e in _check_value(arguments[1], item, _join(key, name))]
    return _check_scalar(hint, value, key)


def _check_union(arguments: Sequence[Any], value: Any, key: str) -> list[str]:
    if value is None and type(None) in arguments:
        return []
    kinds = [a for a in arguments if a is not type(None)]
    sections = {get_args(typing.get_type_hints(k)["type"])[0]: k for k in kinds if dataclasses.is_dataclass(k)}
    if sections:  # told apart by their `type`
        chosen = value.get("type") if isinstance(value, Mapping) else None
        if chosen not in sections:
            return [f"{key}.type={chosen!r} is not one of: {nearest(str(chosen), list(sections))}"]
        return _check_value(sections[chosen], value, key)
    attempts = [_check_value(kind, value, key) for kind in kinds]
    return [] if any(not errors for errors in attempts) else attempts[0]


def _check_scalar(hint: Any, value: Any, key: str) -> list[str]:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    if hint not in words:
        return []
    fits = {
        int: isinstance(value, int) and not isinstance(value, bool),
        float: isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value),
        bool: isinstance(value, bool),
        str: isinstance(value, str),
    }[hint]
    return [] if fits else [f"{key}={value!r} must be {words[hint]}"]


def _convert(hint: Any, value: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _convert(arguments[0], value)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        sections = [a for a in arguments if dataclasses.is_dataclass(a)]
        if sections:
            hint = next(a for a in sections if value["type"] in get_args(typing.get_type_hints(a)["type"]))
            return build(typing.cast(Any, hint), value)
        return next(
            (_convert(a, value) for a in arguments if a is not type(None) and not _check_value(a, value, "")), value
        )
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(Any, hint), value)
    if hint is float:
        return float(value)
    if origin is dict:
        return {name: _convert(arguments[1], item) for name, item in value.items()}
    if origin is tuple:
        return tuple(_convert(a, v) for a, v in zip(arguments, value, strict=True))
    return value
