"""Finding a translation: greedy, beam search and sampling, written once for every model.

A model says how probable each next token is; search decides which tokens to try. It sees the model only through
`Translatable`: `start` reads the source, `step` takes the last token of every hypothesis and gives the logits of the
next one, and the `DecodeState` between them can be reordered and cut without knowing what is in it.

**Beam search** keeps the K most probable unfinished hypotheses of each sentence. One step:

1. Rank all extensions of the live hypotheses by log-probability and take the best 2K. At most K of them end in `</s>`,
   so at least K do not.
2. Those ending in `</s>` among the first K are finished and set aside with their score. The K best of the others live.
3. A sentence is over when its first K extensions have all ended (nothing is left in its beam), or when no live
   hypothesis can improve its n best finished ones any more, or at its maximum length, where every live hypothesis is
   ended by force: `</s>` is appended whatever its probability, which counts in the score like that of any other token.

The score of a hypothesis is that of Wu et al. 2016 (arXiv:1609.08144, without the coverage term),

    score = log P(tokens, </s>) / lp(number of tokens + 1),    lp(n) = ((5 + n) / 6) ** alpha.

The second rule of 3 is exact: it returns what running to the maximum length L would return. A live hypothesis of
log-probability l can only lose probability, and ends with at most L + 1 tokens. As l <= 0 and lp does not fall, nothing
that grows from it scores above l / lp(L + 1), for alpha = 0 (where lp = 1) as well. An equal score does not replace one
that was there before. Sentences that are over leave the batch, so that a step costs what the remaining ones need.

**Greedy** search is the same with K = 1: rule 2 and the first rule of 3 make it take the most probable token each time
and stop at the first `</s>`.

**Sampling** draws each token from softmax(logits / temperature). The random numbers of a sample depend on the seed, the
key of its sentence and the number of the sample, and not on what else is in the batch.

Equal candidates are ordered by hypothesis, then by token, whatever the batch. `<pad>`, `<unk>` and `<s>` are never
produced. Their probability is not shared out, so a log-probability found here is what scoring the translation gives.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import pad

from s2s.config import DecodingConfig
from s2s.data.tokenizer import BOS, EOS
from s2s.decoding import expansion
from s2s.decoding.expansion import DEAD, Choice
from s2s.errors import S2SError
from s2s.models.interface import Translatable


@dataclass(frozen=True)
class Hypothesis:
    """One translation of one sentence.

    Attributes:
        tokens: target ids without `</s>`; may be empty.
        log_prob: natural logarithm of the probability of the tokens and `</s>`.
        score: what hypotheses are ranked by: log_prob over the length penalty; log_prob itself when sampling.
    """

    tokens: list[int]
    log_prob: float
    score: float


def beam_width(config: DecodingConfig) -> int:
    """K: how many hypotheses of each sentence are decoded side by side.

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
    """The most target tokens, without `</s>`, for so many source tokens, without `</s>`."""
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
    """Translations of a batch, by the strategy that `config` names.

    Args:
        model: any model, on any device and in any dtype; arithmetic here is fp32 at least.
        source, mask: (B, S) source tokens, each row ending with `</s>`, and their mask.
        max_lengths: (B,) the most target tokens for each sentence, without `</s>`, at least 1; see `length_limit`.
        keys: sampling only: B numbers that, with `config.seed`, decide the random numbers of each sentence, such as its
            line number; the position in the batch if not given.

    Returns:
        For each sentence its hypotheses, the best score first: `n_best` different ones, or as many as there are within
        the maximum length if these are fewer. Sampling returns `n_best` independent draws, which may be equal.

    Raises:
        S2SError: more hypotheses asked for than are kept, or the model gives none of a sentence's a probability.
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
    beam = _start_beam(limits, config.n_best, penalties, source.device)
    state = model.start(source, mask)
    if config.strategy == "sample":
        draws = expansion.draw(config.seed, range(len(limits)) if keys is None else keys, width, limits)
        beam.draws = draws.to(beam.log_prob)
        beam.log_prob, beam.history = beam.log_prob.expand(-1, width), beam.history.expand(-1, width, -1)
        state = state.reorder(torch.arange(len(limits), device=source.device).repeat_interleave(width))
    last = torch.full((beam.log_prob.numel(),), BOS, device=source.device)

    for length in itertools.count():  # tokens of the live hypotheses
        logits, state = model.step(last, state)
        logits = logits.reshape(*beam.log_prob.shape, -1)
        seen = expansion.survey(logits)
        if config.strategy == "sample":
            choice = expansion.sample(logits, seen.total, beam.log_prob, beam.draws[:, :, length], config.temperature)
        else:
            choice = expansion.best(logits, seen, beam.log_prob, width)

        at_limit = beam.limit == length
        ended = beam.log_prob + (logits[..., EOS] - seen.total)
        ended = ended.masked_fill(~(choice.ending | at_limit.unsqueeze(1)), DEAD)
        beam.finish(ended, penalties[length + 1])
        attainable = choice.log_prob.amax(1) / beam.last_penalty
        over = at_limit | choice.closed | (beam.best_score[:, -1] >= attainable)

        if bool(over.any()):
            for sentence, hypotheses in beam.select(over.nonzero().squeeze(1)).finished():
                results[sentence] = hypotheses
            remaining = (~over).nonzero().squeeze(1)
            if not len(remaining):
                break
            beam, choice, state = beam.select(remaining), choice.select(remaining), state.select(remaining)
        if width > 1:
            first = torch.arange(len(choice.parent), device=source.device).unsqueeze(1) * beam.log_prob.size(1)
            state = state.reorder((first + choice.parent).flatten())
        beam.extend(choice)
        last = choice.token.flatten()

    if not all(results):
        raise S2SError(
            "the model gives no translation a probability above 0: its weights are probably not finite, "
            "because training diverged; use an earlier checkpoint or train with a lower optim.lr"
        )
    return results


@dataclass
class _Beam:
    """The sentences that go on: W live hypotheses of each, and the `n_best` best finished ones, the best first."""

    sentence: Tensor  # (B,) position in the caller's batch
    limit: Tensor  # (B,) the most tokens without </s>
    last_penalty: Tensor  # (B,) lp(limit + 1)
    draws: Tensor  # (B, K, longest limit + 1) random numbers of sampling, uniform in [0, 1)
    log_prob: Tensor  # (B, W)
    history: Tensor  # (B, W, T) tokens so far
    best_score: Tensor  # (B, n_best), DEAD where fewer have finished
    best_log_prob: Tensor  # (B, n_best)
    best_length: Tensor  # (B, n_best) tokens without </s>
    best_tokens: Tensor  # (B, n_best, T)

    def select(self, sentences: Tensor) -> _Beam:
        return _Beam(*(getattr(self, field.name).index_select(0, sentences) for field in fields(self)))

    def finish(self, log_prob: Tensor, penalty: float) -> None:
        """Enters the live hypotheses that end now; (B, W) their log-probability with `</s>`, DEAD for the others."""
        if not bool((log_prob > DEAD).any()):
            return
        count = self.best_score.size(1)
        scores = torch.cat([self.best_score, log_prob / penalty], 1)
        scores, order = scores.sort(dim=1, descending=True, stable=True)  # stable: earlier ones stay before equal ones
        order = order[:, :count]
        self.best_score = scores[:, :count]
        self.best_log_prob = torch.cat([self.best_log_prob, log_prob], 1).gather(1, order)
        lengths = torch.full_like(log_prob, self.history.size(2), dtype=torch.long)
        self.best_length = torch.cat([self.best_length, lengths], 1).gather(1, order)
        tokens = torch.cat([self.best_tokens, self.history], 1)
        self.best_tokens = tokens.gather(1, order.unsqueeze(2).expand(-1, -1, tokens.size(2)))

    def extend(self, choice: Choice) -> None:
        """The live hypotheses become the chosen ones, one token longer."""
        parent = choice.parent.unsqueeze(2).expand(-1, -1, self.history.size(2))
        self.history = torch.cat([self.history.gather(1, parent), choice.token.unsqueeze(2)], 2)
        self.log_prob = choice.log_prob
        self.best_tokens = pad(self.best_tokens, (0, 1))

    def finished(self) -> list[tuple[int, list[Hypothesis]]]:
        """Each sentence with its finished hypotheses."""
        columns = self.best_tokens, self.best_length, self.best_log_prob, self.best_score
        found = []
        for sentence, *hypotheses in zip(self.sentence.tolist(), *(c.tolist() for c in columns), strict=True):
            rows = [row for row in zip(*hypotheses, strict=True) if row[-1] > DEAD]
            found.append((sentence, [Hypothesis(tokens[:length], *numbers) for tokens, length, *numbers in rows]))
        return found


def _start_beam(limits: list[int], n_best: int, penalties: list[float], device: torch.device) -> _Beam:
    """One empty hypothesis for each sentence. Log-probabilities are summed in fp64 where the device has it."""
    number = torch.float32 if device.type == "mps" else torch.float64
    size = len(limits)
    nothing = torch.full((size, n_best), DEAD, dtype=number, device=device)
    return _Beam(
        sentence=torch.arange(size, device=device),
        limit=torch.tensor(limits, device=device),
        last_penalty=torch.tensor([penalties[limit + 1] for limit in limits], dtype=number, device=device),
        draws=torch.zeros((size, 0, 0), dtype=number, device=device),
        log_prob=torch.zeros((size, 1), dtype=number, device=device),
        history=torch.zeros((size, 1, 0), dtype=torch.long, device=device),
        best_score=nothing,
        best_log_prob=nothing,
        best_length=torch.zeros((size, n_best), dtype=torch.long, device=device),
        best_tokens=torch.zeros((size, n_best, 0), dtype=torch.long, device=device),
    )
