"""The configuration of a run: the schemas of its sections, and the check of the whole before any work starts.

Hydra composes and resolves a configuration from `conf/`. `parse` checks it and returns a `RunConfig`, the one object
from there to the run directory.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from s2s.schema import (
    Bounds,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    Seed,
    Share,
    build,
    check_call,
    raise_all,
    value_of,
)

# ---------------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True)
class TokenizerConfig:
    """The sentencepiece models of a run; see `s2s.data.tokenizer`."""

    type: Literal["bpe", "unigram", "char", "word"]
    vocab_size: Annotated[int, Bounds(low=1, high=10_000_000)]  # of each model; special tokens and bytes included
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
    grammar_seed: Seed
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

    @property
    def tests(self) -> list[str]:
        return ["test"]


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

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that are read."""
        return self.source, self.target


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

    @property
    def columns(self) -> tuple[str, ...]:
        """Suffixes of the files, or names of the columns, that are read."""
        return self.source, self.target


class MonolingualData:
    """Text of one language, both the source and the target of its corpus; it has no test sets."""

    language: str

    @property
    def source_language(self) -> str:
        return self.language

    @property
    def target_language(self) -> str:
        return self.language

    @property
    def tests(self) -> list[str]:
        return []


@dataclass(frozen=True)
class GrammarTextData(MonolingualData):
    """Sentences of one language from the built-in grammar."""

    name: str
    type: Literal["grammar_text"]
    language: Literal["en", "de"]
    train_lines: PositiveInt
    validation_lines: PositiveInt
    grammar_seed: Seed
    max_length: PositiveInt | None
    tokenizer: TokenizerConfig
    longest: PositiveInt = 60  # words of the longest English sentences, as in GrammarData
    lexicon: Literal["full", "basic"] = "full"


@dataclass(frozen=True)
class TextData(MonolingualData):
    """Sentences of one language: local files, or a data set of the hub or a local folder in the same layout."""

    name: str
    type: Literal["text"]
    path: str | None  # as in HubData; None: train and validation are files
    subset: str | None
    revision: str | None
    column: str  # of tables
    language: str
    train: str  # a file with one sentence a line, or a table; with `path`, the name of a split
    validation: str
    max_length: PositiveInt | None
    max_train_lines: PositiveInt | None
    tokenizer: TokenizerConfig

    @property
    def columns(self) -> tuple[str, ...]:
        """The name of the column that is read."""
        return (self.column,)


DataConfig = GrammarData | HubData | FilesData | GrammarTextData | TextData
TEXT_TYPES = ("text", "grammar_text")  # of one language


# ----------------------------------------------------------------------------------------------------- objective


@dataclass(frozen=True)
class Translation:
    """The target of a pair, from its source."""

    name: str
    type: Literal["translation"]


@dataclass(frozen=True)
class CausalLanguageModelling:
    """Each token of a text, from those before it."""

    name: str
    type: Literal["causal_lm"]


@dataclass(frozen=True)
class MaskedLanguageModelling:
    """Masked tokens of a text, from both sides; see `s2s.data.objectives`."""

    name: str
    type: Literal["masked_lm"]
    share: Annotated[float, Bounds(above=0, high=1)]  # of the tokens that are predicted
    whole_words: bool


@dataclass(frozen=True)
class Denoising:
    """A text, from itself with masked spans; see `s2s.data.objectives`."""

    name: str
    type: Literal["denoising"]
    share: Annotated[float, Bounds(above=0, high=1)]  # of the words in masked spans
    span: Annotated[float, Bounds(low=1, high=100)]  # words, the mean of a Poisson distribution
    whole_words: bool


Objective = Translation | CausalLanguageModelling | MaskedLanguageModelling | Denoising


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
    scale: dict[str, PositiveFloat] | None = None  # factors of the learning rates of parts of the model


TrainingPrecision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class TrainingConfig:
    name: str
    max_steps: PositiveInt | None  # updates
    max_epochs: PositiveInt | None
    batch_tokens: PositiveInt  # sentences × longest side of a micro-batch, padding included
    batch_sentences: PositiveInt | None  # sentence pairs of a micro-batch, at most
    accumulate: PositiveInt  # micro-batches for each update
    precision: TrainingPrecision  # compute dtype; a run directory never holds auto: s2s.dtype_choice
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
    beam: Annotated[int, Bounds(low=1, high=10_000)]  # beam: hypotheses kept at each step
    length_penalty: Annotated[
        float, Bounds(low=0, high=100)
    ]  # alpha: score = log-probability / ((5 + length) / 6) ** alpha (Wu et al. 2016)
    n_best: PositiveInt  # translations of each line; sample: so many are drawn
    temperature: PositiveFloat  # sample: divides the logits
    max_ratio: Annotated[
        float, Bounds(above=0, high=1000)
    ]  # a translation has at most max_ratio × source tokens + max_extra tokens
    max_extra: Annotated[int, Bounds(low=0, high=1_000_000)]
    max_source: (
        PositiveInt  # source tokens; of a longer line the first are read (the last to be continued), with a warning
    )
    batch_tokens: PositiveInt  # source tokens, padding included, × hypotheses decoded together
    precision: Precision
    seed: Seed  # sample


@dataclass(frozen=True)
class EvaluationConfig:
    bins: list[PositiveInt]  # inclusive upper edges in source words (characters in zh, ja); the rest is the last bin
    bootstrap: PositiveInt  # resamples for the intervals
    confidence: Annotated[float, Bounds(above=0, below=1)]
    tokenize: str | None  # sacrebleu's tokeniser; null takes the right one for the target language
    force: bool  # accept a tokeniser that does not fit the target language
    seed: Seed


@dataclass(frozen=True)
class RunConfig:
    """A whole training run: the contents of `config.yaml` in a run directory."""

    data: DataConfig
    model: dict[str, Any]  # checked by s2s.models against the constructors it names
    optim: OptimConfig
    training: TrainingConfig
    decoding: DecodingConfig
    evaluation: EvaluationConfig
    seed: Seed
    device: str  # auto, cpu, cuda, cuda:1 …
    init_from: str | None  # run directory whose tokeniser and weights this run starts from, as far as they fit
    trust: list[str]  # modules of the user's that the model may name
    objective: Objective = Translation("translation", "translation")
    recurrence: Literal["auto", "loop", "bptt", "scan", "torch"] = "auto"  # see s2s.nn.recurrent
    layout: Literal["auto", "packed", "padded"] = "auto"  # of batches in recurrent layers, see s2s.nn.recurrent
    cuda_graphs: bool = True  # on a GPU, see s2s.cuda_graphs
    deterministic: bool = False  # on a GPU, see s2s.devices.set_arithmetic
    tf32: bool = False
    freeze: list[str] = dataclasses.field(default_factory=list)  # parts of the model that are not trained

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `config.yaml` holds them."""
        values: dict[str, Any] = _plain(dataclasses.asdict(self))
        return values

    def with_precision(self, precision: TrainingPrecision) -> RunConfig:
        """The same run with another compute dtype of training."""
        return dataclasses.replace(self, training=dataclasses.replace(self.training, precision=precision))


def parse(values: Mapping[str, Any], extra_checks: Callable[[Mapping[str, Any]], list[str]] | None = None) -> RunConfig:
    """The checked configuration of a run.

    Args:
        values: the resolved configuration as plain Python values.
        extra_checks: of the same values, such as those of the model section; all errors are reported together.

    Raises:
        S2SError: naming every error found.
    """
    errors = check_call(RunConfig, values, "")
    errors += _check_relations(values, errors)
    if extra_checks is not None and isinstance(values.get("model"), Mapping):
        errors += extra_checks(values)
    raise_all(errors)
    return build(RunConfig, values)


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
    if (pair := get("data.type", "data.tokenizer")) and pair[0] in TEXT_TYPES and not pair[1]["joint"]:
        found.append("data.tokenizer.joint=false is for two languages: text of one language needs joint=true")
    if (pair := get("optim.schedule", "training.max_steps")) and pair[0]["type"] == "cosine" and pair[1] is None:
        found.append("optim.schedule.type=cosine needs training.max_steps, the length of the cosine")
    objective, data = value_of(values, "objective", "type") or "translation", value_of(values, "data", "type")
    if data in TEXT_TYPES and objective == "translation":
        found.append(
            "objective=translation needs pairs of sentences, and this data set has one language: choose "
            "objective=causal_lm, masked_lm or denoising"
        )
    if data not in TEXT_TYPES and objective in ("causal_lm", "masked_lm", "denoising"):
        found.append(f"objective={objective} learns from text of one language: use data=text or data=grammar_text")
    if objective != "translation" and get("training.metric") == ["bleu"]:
        found.append(f"training.metric=bleu scores translations, and objective={objective} has none: use loss")
    if search := get("decoding.strategy", "decoding.n_best", "decoding.beam"):
        strategy, n_best, beam = search
        if strategy == "greedy" and n_best > 1:
            found.append("decoding.n_best is more than 1, but decoding.strategy=greedy finds one translation: use beam")
        if strategy == "beam" and n_best > beam:
            found.append(f"decoding.n_best={n_best} is more than decoding.beam={beam}")
    if (one := get("evaluation.bins")) and any(b <= a for a, b in itertools.pairwise(one[0])):
        found.append(f"evaluation.bins={list(one[0])} must rise")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
