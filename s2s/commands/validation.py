"""Validation during training: the loss on the validation split, and what else the objective can be judged by."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from s2s.config import RunConfig
from s2s.data.batching import EvaluationBatches, MakeBatch, evaluation_batches
from s2s.data.corpus import Split
from s2s.data.tokenizer import Tokenizer
from s2s.decoding.translator import Translator
from s2s.evaluation.bleu import bleu
from s2s.evaluation.by_length import tokenizer_of
from s2s.models.interface import Seq2Seq
from s2s.models.masked import MaskedLanguageModel

Validation = Callable[[Seq2Seq], dict[str, float]]


def validation_of(config: RunConfig, split: Split, tokenizer: Tokenizer, make_batch: MakeBatch) -> Validation:
    """The validation of a run's objective."""
    kind = TranslationValidation if config.objective.type == "translation" else TextValidation
    return kind(config, split, tokenizer, make_batch)


class TextValidation:
    """The loss and perplexity of the objective; the share of right tokens where tokens are masked."""

    def __init__(self, config: RunConfig, split: Split, tokenizer: Tokenizer, make_batch: MakeBatch) -> None:
        assert config.training.precision != "auto"
        self.batches: EvaluationBatches = evaluation_batches(split, tokenizer, config.training.batch_tokens, make_batch)
        self.precision = config.training.precision

    def __call__(self, model: Seq2Seq) -> dict[str, float]:
        nll, tokens, correct = 0.0, 0, 0
        with torch.autocast(model.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            for batch in self.batches:
                moved = batch.to(model.device)
                nll, tokens = nll + model(moved).nll.item(), tokens + batch.tokens
                if isinstance(model, MaskedLanguageModel):
                    correct += int(model.correct(moved))
        metrics = {"valid_loss": nll / tokens, "valid_ppl": math.exp(min(nll / tokens, 700.0))}
        if isinstance(model, MaskedLanguageModel):
            metrics["valid_accuracy"] = correct / tokens
        return metrics


class TranslationValidation(TextValidation):
    """The loss, and BLEU of greedy translations."""

    def __init__(self, config: RunConfig, split: Split, tokenizer: Tokenizer, make_batch: MakeBatch) -> None:
        super().__init__(config, split, tokenizer, make_batch)
        self.tokenizer = tokenizer
        self.sources, self.references = list(split.source), list(split.target)
        self.decoding = replace(config.decoding, strategy="greedy", n_best=1, precision=self.precision)
        self.tokenize = tokenizer_of(config.data.target_language, config.evaluation)
        ceiling = bleu(self.references, self.references, self.tokenize).value
        self.can_move = bool(ceiling)  # whether BLEU tells translations apart
        self._translator: Translator | None = None  # of the model that is measured again and again

    def __call__(self, model: Seq2Seq) -> dict[str, float]:
        metrics = super().__call__(model)
        if self._translator is None or self._translator.model is not model:
            self._translator = Translator(model, self.tokenizer, self.decoding)
        score = bleu(self._translator.translate(self.sources), self.references, self.tokenize).value
        return metrics | {"valid_bleu": 0.0 if score is None else score}
