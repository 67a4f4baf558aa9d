"""`scripts/train.py`: a training run, from a configuration to a run directory; the same command again resumes it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from s2s.commands.console import LineFormatter, overrides, plain
from s2s.commands.init_from import by_part, check_initial, initial_tokenizer, start_from
from s2s.commands.precision import decide_precision, warn_if_slow, with_stored_precision
from s2s.commands.run_names import default_run_dir, earlier_run_dir
from s2s.commands.validation import TranslationValidation, validation_of
from s2s.config import RunConfig, parse
from s2s.data.batching import TrainingData
from s2s.data.corpus import Corpus, load_corpus
from s2s.data.lengths import lengths_in_words
from s2s.data.objectives import batch_maker
from s2s.data.summary import digest_of, summarise
from s2s.data.tokenizer import Tokenizer, train_tokenizer
from s2s.devices import keep_freed_memory, pick_device, set_arithmetic
from s2s.errors import S2SError
from s2s.evaluation.bleu import bleu
from s2s.evaluation.by_length import check_scoring, tokenizer_of
from s2s.files import read_json, write_json
from s2s.models import build_model, check_model, count_parameters, outside_classes
from s2s.models.parts import freeze_parts, parameter_names
from s2s.nn.recurrent import set_recurrence
from s2s.schema import value_of
from s2s.training.callbacks import Callback, Progress, TensorBoard
from s2s.training.checkpoint import RunDirectory, config_differences
from s2s.training.distributed import ProcessGroup, join_process_group, leave_process_group
from s2s.training.interrupt import Interrupted
from s2s.training.step import Updater
from s2s.training.trainer import Result, Trainer

log = logging.getLogger(__name__)


def train(config: DictConfig) -> float:
    """Trains, or resumes, the run of the command line.

    Returns:
        `training.metric` on validation, of the exported weights: the objective of a sweeper.
    """
    values = plain(config)
    named = values.pop("run_dir")
    run = run_config(values)
    directory = RunDirectory(_usual_run_dir(run) if named is None else named)
    run = with_stored_precision(run, directory)
    check_start(run, directory)
    device = pick_device(run.device)
    if int(os.environ.get("RANK", "0")) == 0:
        warn_if_slow(run.training.precision, [run], device)
    if run.data.type == "grammar" and run.training.name == "default":
        log.info("data=grammar with training=default trains for long; experiment=grammar has settings for minutes")
    try:
        result = train_run(run, directory)
    except Interrupted as stopped:
        log.warning("%s", stopped)
        sys.exit(stopped.exit_code)
    return result.best_score if result.metric == run.training.metric else 0.0  # the BLEU of every translation


def _usual_run_dir(config: RunConfig) -> Path:
    """The default run directory; that of an earlier version, if it holds this very run."""
    earlier = RunDirectory(earlier_run_dir(config.to_dict(), overrides()))
    if earlier.config.exists():
        same = with_stored_precision(config, earlier)
        if not config_differences(earlier.load_config(), same.to_dict()):
            return earlier.path
    return default_run_dir(config.to_dict(), overrides())


def train_run(config: RunConfig, directory: RunDirectory) -> Result:
    """Trains the run in `directory`, or resumes it there.

    Raises:
        S2SError: see the message.
        Interrupted: by a signal; the state is saved.
    """
    config = with_stored_precision(config, directory)
    check_start(config, directory)
    device = pick_device(config.device)
    group = join_process_group(device)
    if not group.is_main:
        logging.getLogger().setLevel(logging.WARNING)
    with log_file(directory.log, group), directory.locked() if group.is_main else nullcontext():
        log.info("run directory: %s (%s)", directory.path, device)
        set_arithmetic(device, config.deterministic, config.tf32)
        if config.training.precision == "auto":
            bf16 = group.is_main and decide_precision([config], device)[0].training.precision == "bf16"
            config = config.with_precision("bf16" if group.from_main(float(bf16)) else "fp32")
        corpus = load_corpus(config.data)
        if group.is_main:
            prepare(config, directory, corpus)
        group.barrier()  # the others wait for the tokeniser
        tokenizer = Tokenizer.load(directory.tokenizer)
        torch.manual_seed(config.seed)
        sizes = tokenizer.source_size, tokenizer.target_size
        model = build_model(config.model, *sizes, config.objective.type)
        total, inner = count_parameters(model)
        set_recurrence(model, config.recurrence, device, config.layout)
        model.cuda_graphs = config.cuda_graphs
        log.info("model %s: %s parameters, %s without embeddings", config.model["name"], f"{total:,}", f"{inner:,}")
        begins, taken = directory.state_folder() is None, set[str]()
        if config.init_from is not None and begins:
            taken = start_from(RunDirectory(config.init_from), model, config.model, tokenizer)
        if config.freeze:
            tied = freeze_parts(model, config.freeze)
            frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
            names = ", ".join(config.freeze) + (f"; tied to it: {', '.join(tied)}" if tied else "")
            log.info("frozen: %s of %s parameters (%s)", f"{frozen:,}", f"{total:,}", names)
            random = [n[0] for p, n in parameter_names(model) if not p.requires_grad and taken.isdisjoint(n)]
            if begins and random:
                log.warning("frozen with random weights, not from init_from: %s", by_part(random, random))
        if group.is_main:
            directory.save_config(config.to_dict())  # last: it says that everything before it is there and fits
        make_batch = batch_maker(config.objective, tokenizer, config.data.target_language)
        training = config.training
        data = TrainingData(
            corpus.train, tokenizer, training.batch_tokens, config.seed, training.batch_sentences, make_batch
        )
        log.info(
            "batches: %d an epoch of up to %s tokens%s, %.1f %% padding",
            data.num_batches(0),
            f"{config.training.batch_tokens:,}",
            "" if config.training.batch_sentences is None else f" and {config.training.batch_sentences} sentences",
            100 * data.padding_waste(0),
        )
        for reason, count in data.filtered.items():
            log.warning("filtered %s training examples %s", f"{count:,}", reason)
        keep_freed_memory()
        callbacks: list[Callback] = [Progress()]
        if config.training.tensorboard:
            callbacks.append(TensorBoard(directory.tensorboard))
        graphed = config.cuda_graphs and config.layout != "packed" and device.type == "cuda"
        validation = validation_of(config, corpus.validation, tokenizer, make_batch)
        unmoved = isinstance(validation, TranslationValidation) and not validation.can_move
        if config.training.metric == "bleu" and unmoved:
            log.warning(
                "validation BLEU is 0 for every translation, as no reference has four words: the loss selects the "
                "weights, as with training.metric=loss"
            )
            config = replace(config, training=replace(config.training, metric="loss"))
        updater = Updater(model, directory, config.training, config.optim, config.seed, device, group, graphed)
        trainer = Trainer(updater, data, validation, callbacks)
        try:
            result = trainer.fit()
        finally:
            leave_process_group()
        if result.already_finished:
            log.info("%s is finished already (%s after %d updates)", directory.path, result.stopped_by, result.steps)
        else:
            log.info(
                "done after %d updates (%s): validation %s %.2f, %.0f s of training, %s target tokens/s, "
                "waiting for data in %.1f %% of the time; wrote %s",
                result.steps,
                result.stopped_by,
                result.metric,
                result.best_score,
                result.train_seconds,
                f"{result.tokens_per_s:,.0f}",
                100 * result.waiting,
                directory.weights,
            )
        return result


def run_config(values: dict[str, Any]) -> RunConfig:
    """The configuration of a run, after everything that can be found wrong before data is read.

    Raises:
        S2SError: naming every error.
    """
    # A module named on the command line is the user's own, also when the same command loads the run.
    model = values.get("model")
    named = [module for _, _, module in outside_classes(model if isinstance(model, dict) else {})]
    given = trusted if isinstance(trusted := values.get("trust"), list) else []
    trust = [*given, *dict.fromkeys(module for module in named if module not in given)]

    config = parse(values, lambda values: model_errors(values, trust))
    if config.objective.type == "translation":
        check_scoring(config.evaluation, config.data.target_language)
    return replace(config, trust=trust)


def model_errors(values: Mapping[str, Any], trust: Sequence[str]) -> list[str]:
    """Errors of a configuration's model and of settings about its parts; its sections were not checked yet."""
    joint, scale = value_of(values, "data", "tokenizer", "joint"), value_of(values, "optim", "scale")
    recurrence, freeze = values.get("recurrence", "auto"), values.get("freeze")
    objective = value_of(values, "objective", "type") or "translation"
    return check_model(values["model"], joint, trust, recurrence, objective, freeze, scale)


def check_start(config: RunConfig, directory: RunDirectory) -> None:
    """Raises S2SError if the directory holds a run of another configuration; for a new run, as `check_initial`."""
    if not directory.config.exists():
        check_initial(config)
    elif differences := config_differences(directory.load_config(), config.to_dict()):
        raise S2SError(
            f"{directory.path} is a run of another configuration ({'; '.join(differences)}): choose another "
            "run_dir, or take back these changes to resume"
        )


def prepare(config: RunConfig, directory: RunDirectory, corpus: Corpus) -> None:
    """Writes tokeniser and corpus summary at the first start; later, checks that the text is the same."""
    if directory.config.exists():
        check_text(corpus, directory)
        return
    if config.init_from is not None and config.data.tokenizer.path is None:
        tokenizer = initial_tokenizer(config, RunDirectory(config.init_from), corpus.train)
    else:
        tokenizer = train_tokenizer(config.data.tokenizer, corpus.train.source, corpus.train.target)
    if config.objective.type == "translation":
        tokenize = tokenizer_of(config.data.target_language, config.evaluation)
        summary = summarise(corpus, tokenizer, tokenize, lambda hyp, ref: bleu(hyp, ref, tokenize).value)
    else:
        summary = summarise(corpus, tokenizer, None, None)
    for line in summary.lines():
        log.info("%s", line)
    for line in summary.warnings():
        log.warning("%s", line)
    limit = int(lengths_in_words(corpus.train.source, config.data.source_language).max())
    write_json(directory.path / "corpus.json", {"training_limit": limit, **summary.to_json()})
    tokenizer.save(directory.tokenizer)


def check_text(corpus: Corpus, directory: RunDirectory) -> None:
    """Raises S2SError if training or validation text is not that of the run; warns if the run does not know."""
    path = directory.path / "corpus.json"
    if not path.exists():
        log.warning("%s is missing, so it cannot be checked whether the text is that of the run so far", path)
        return
    known = value_of(read_json(path), "splits")
    if not isinstance(known, Mapping):
        raise S2SError(f"{path} is damaged: put it back, or choose another run_dir")
    for split in (corpus.train, corpus.validation):
        before, digest = value_of(known, split.name, "pairs"), value_of(known, split.name, "digest")
        if digest is not None and digest != digest_of(split):
            numbers = f"{before} {split.rows_name}, and there are {len(split)} now"
            how = "other text" if before == len(split) else numbers
            raise S2SError(
                f"{directory.path} was begun with {how} in the {split.name} split: put the data back to resume, or "
                "choose another run_dir"
            )


@contextmanager
def log_file(path: Path, group: ProcessGroup) -> Iterator[None]:
    """Appends the log of rank 0 to this file."""
    if not group.is_main:
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise S2SError(f"cannot write {path}: {error.strerror}; choose another run_dir") from error
    handler.setFormatter(LineFormatter())
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
