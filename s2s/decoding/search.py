"""Greedy search, beam search and sampling, written once for every model.

Search sees a model only through `Translatable`: `start` encodes the source, `step` takes the last token of every
hypothesis and returns the logits of the next one. The `DecodeState` between them can be reordered and shrunk without
knowledge of its contents.

**Beam search** keeps the K most probable unfinished hypotheses of each sentence. One step:

1. Rank all extensions of the live hypotheses by log-probability and take the best 2K. At most K of them end in `</s>`,
   so at least K do not.
2. Those ending in `</s>` among the first K are finished and stored with their score. The K best of the others live.
3. A sentence is done when its first K extensions have all ended (its beam is empty), when no live hypothesis can
   improve its n best finished ones any more, or at its maximum length, where `</s>` is appended to every live
   hypothesis. The probability of this forced `</s>` counts in the score like that of any other token.

The score of a hypothesis is that of Wu et al. 2016 (arXiv:1609.08144, without the coverage term),

    score = log P(tokens, </s>) / lp(number of tokens + 1),    lp(n) = ((5 + n) / 6) ** alpha.

The second rule of 3 is exact: running to the maximum length L would return the same. The log-probability l <= 0 of a
live hypothesis can only fall, it ends with at most L + 1 tokens, and lp does not fall; so no extension of it scores
above l / lp(L + 1), for alpha = 0 (where lp = 1) as well. An equal score does not replace an earlier one. Finished
sentences leave the batch.

**Greedy** search is the same with K = 1: rules 2 and 3 make it take the most probable token each time and stop at the
first `</s>`. **Sampling** draws each token from softmax(logits / temperature). The random numbers of a sample depend
only on the seed, the key of its sentence and the number of the sample, not on the rest of the batch.

Ties are ordered by hypothesis, then by token, whatever the batch. `<pad>`, `<unk>` and `<s>` are never produced; their
probability is not redistributed, so the log-probability of a hypothesis equals that of scoring the translation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import pad

from s2s.config import DecodingConfig
from s2s.data.tokenizer import BOS, EOS
from s2s.decoding.expansion import DEAD, Candidates, beam_candidates, row_statistics, sample_candidates, uniform_numbers
from s2s.errors import S2SError
from s2s.models.interface import Translatable


@dataclass(frozen=True)
class Hypothesis:
    """One translation of one sentence."""

    tokens: list[int]  # target ids without </s>; may be empty
    log_prob: float  # natural logarithm of the probability of the tokens and </s>
    score: float  # ranking criterion: log_prob over the length penalty; log_prob itself when sampling


def beam_width(config: DecodingConfig) -> int:
    """Returns K, the number of hypotheses decoded in parallel for each sentence.

    Raises:
        S2SError: `n_best` is more than that.
    """
    width = {"greedy": 1, "beam": config.beam, "sample": config.n_best}[config.strategy]
    if config.n_best > width:
        raise S2SError(
            f"decoding.n_best={config.n_best} is more than the {width} that decoding.strategy={config.strategy} keeps: "
            "use beam search with a wider decoding.beam"
        )
    return width


def length_limit(source_tokens: int, config: DecodingConfig) -> int:
    """Maximum number of target tokens for so many source tokens, both without `</s>`."""
    return max(1, int(config.max_ratio * source_tokens + config.max_extra))


def length_penalty(length: int, alpha: float) -> float:
    """lp of Wu et al. 2016; `length` counts `</s>`."""
    return float(((5 + length) / 6) ** alpha)


@torch.no_grad()  # and not inference_mode, in which autocast would convert all weights in each step
def search(
    model: Translatable,
    source: Tensor,
    mask: Tensor,
    config: DecodingConfig,
    max_lengths: Tensor | Sequence[int],
    keys: Sequence[int] | None = None,
) -> list[list[Hypothesis]]:
    """Translates a batch with the strategy of `config`.

    Args:
        model: any model, on any device and in any dtype; scores are computed in fp32 at least.
        source, mask: (B, S) source tokens, each row ending with `</s>`, and their mask.
        max_lengths: (B,) maximum number of target tokens without `</s>`, at least 1; see `length_limit`.
        keys: sampling only: B numbers, such as line numbers, that with `config.seed` determine the random numbers of
            each sentence; None: the position in the batch.

    Returns:
        For each sentence its hypotheses, the best score first: `n_best` different ones, or all that exist within the
        maximum length if these are fewer. Sampling returns `n_best` independent draws, which may be equal.

    Raises:
        S2SError: `n_best` exceeds the beam width, or a sentence has no hypothesis of a probability above 0.
    """
    width = beam_width(config)
    limits = [int(limit) for limit in max_lengths]
    if len(limits) != source.size(0) or min(limits, default=1) < 1:
        raise ValueError(f"need a maximum length of at least 1 for each of {source.size(0)} sentences, got {limits}")
    results: list[list[Hypothesis]] = [[] for _ in limits]
    if not limits:
        return results

    alpha = 0.0 if config.strategy == "sample" else config.length_penalty
    penalties = [length_penalty(length, alpha) for length in range(max(limits) + 2)]
    beam = _Beam.start(limits, config.n_best, penalties, source.device)
    state = model.start(source, mask)
    if config.strategy == "sample":
        uniform = uniform_numbers(config.seed, range(len(limits)) if keys is None else keys, width, limits)
        beam.uniform = uniform.to(beam.log_prob)
        beam.log_prob, beam.history = beam.log_prob.expand(-1, width), beam.history.expand(-1, width, -1)
        state = state.reorder(torch.arange(len(limits), device=source.device).repeat_interleave(width))
    last = torch.full((beam.log_prob.numel(),), BOS, device=source.device)

    for length in itertools.count():  # tokens of the live hypotheses
        logits, state = model.step(last, state)
        logits = logits.reshape(*beam.log_prob.shape, -1)
        statistics = row_statistics(logits)
        if config.strategy == "sample":
            uniform = beam.uniform[:, :, length]
            candidates = sample_candidates(logits, statistics.logsumexp, beam.log_prob, uniform, config.temperature)
        else:
            candidates = beam_candidates(logits, statistics, beam.log_prob, width)

        at_limit = beam.limit == length
        final = beam.log_prob + (logits[..., EOS] - statistics.logsumexp)
        beam.finish(final.masked_fill(~(candidates.ends | at_limit.unsqueeze(1)), DEAD), penalties[length + 1])
        attainable = candidates.log_prob.amax(1) / beam.last_penalty
        done = at_limit | candidates.finished | (beam.best_score[:, -1] >= attainable)

        if bool(done.any()):
            for sentence, hypotheses in beam.select(done.nonzero().squeeze(1)).hypotheses():
                results[sentence] = hypotheses
            remaining = (~done).nonzero().squeeze(1)
            if not len(remaining):
                break
            beam, candidates, state = beam.select(remaining), candidates.select(remaining), state.select(remaining)
        if width > 1:
            first = torch.arange(len(candidates.parent), device=source.device).unsqueeze(1) * beam.log_prob.size(1)
            state = state.reorder((first + candidates.parent).flatten())
        beam.extend(candidates)
        last = candidates.token.flatten()

    if not all(results):
        raise S2SError(
            "the model gives no translation a probability above 0: its weights are probably not finite, "
            "because training diverged; use an earlier checkpoint or train with a lower optim.lr"
        )
    return results


@dataclass
class _Beam:
    """The unfinished sentences: W live hypotheses of each, and its `n_best` best finished ones, best first."""

    sentence: Tensor  # (B,) position in the caller's batch
    limit: Tensor  # (B,) maximum number of tokens without </s>
    last_penalty: Tensor  # (B,) lp(limit + 1)
    uniform: Tensor  # (B, K, longest limit + 1) random numbers of sampling in [0, 1)
    log_prob: Tensor  # (B, W)
    history: Tensor  # (B, W, T) tokens so far
    best_score: Tensor  # (B, n_best), DEAD where fewer have finished
    best_log_prob: Tensor  # (B, n_best)
    best_length: Tensor  # (B, n_best) tokens without </s>
    best_tokens: Tensor  # (B, n_best, T)

    @classmethod
    def start(cls, limits: list[int], n_best: int, penalties: list[float], device: torch.device) -> _Beam:
        """One empty hypothesis for each sentence. Log-probabilities are summed in fp64 where the device has it."""
        dtype = torch.float32 if device.type == "mps" else torch.float64
        size = len(limits)
        empty = torch.full((size, n_best), DEAD, dtype=dtype, device=device)
        return cls(
            sentence=torch.arange(size, device=device),
            limit=torch.tensor(limits, device=device),
            last_penalty=torch.tensor([penalties[limit + 1] for limit in limits], dtype=dtype, device=device),
            uniform=torch.zeros((size, 0, 0), dtype=dtype, device=device),
            log_prob=torch.zeros((size, 1), dtype=dtype, device=device),
            history=torch.zeros((size, 1, 0), dtype=torch.long, device=device),
            best_score=empty,
            best_log_prob=empty,
            best_length=torch.zeros((size, n_best), dtype=torch.long, device=device),
            best_tokens=torch.zeros((size, n_best, 0), dtype=torch.long, device=device),
        )

    def select(self, sentences: Tensor) -> _Beam:
        return _Beam(*(getattr(self, field.name).index_select(0, sentences) for field in fields(self)))

    def finish(self, log_prob: Tensor, penalty: float) -> None:
        """Stores the live hypotheses that end; (B, W) log-probability with `</s>`, DEAD for the others."""
        if not bool((log_prob > DEAD).any()):
            return
        scores = torch.cat([self.best_score, log_prob / penalty], 1)
        scores, order = scores.sort(dim=1, descending=True, stable=True)  # stable: earlier ones stay before equal ones
        count = self.best_score.size(1)
        self.best_score, order = scores[:, :count], order[:, :count]
        self.best_log_prob = torch.cat([self.best_log_prob, log_prob], 1).gather(1, order)
        lengths = torch.full_like(log_prob, self.history.size(2), dtype=torch.long)
        self.best_length = torch.cat([self.best_length, lengths], 1).gather(1, order)
        tokens = torch.cat([self.best_tokens, self.history], 1)
        self.best_tokens = tokens.gather(1, order.unsqueeze(2).expand(-1, -1, tokens.size(2)))

    def extend(self, candidates: Candidates) -> None:
        """Replaces the live hypotheses by the candidates, which are one token longer."""
        parent = candidates.parent.unsqueeze(2).expand(-1, -1, self.history.size(2))
        self.history = torch.cat([self.history.gather(1, parent), candidates.token.unsqueeze(2)], 2)
        self.log_prob = candidates.log_prob
        self.best_tokens = pad(self.best_tokens, (0, 1))

    def hypotheses(self) -> Iterator[tuple[int, list[Hypothesis]]]:
        """Yields each sentence with its finished hypotheses."""
        columns = self.best_tokens, self.best_length, self.best_log_prob, self.best_score
        for sentence, *lists in zip(self.sentence.tolist(), *(c.tolist() for c in columns), strict=True):
            rows = [row for row in zip(*lists, strict=True) if row[-1] > DEAD]
            yield sentence, [Hypothesis(tokens[:length], *numbers) for tokens, length, *numbers in rows]
