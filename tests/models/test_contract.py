"""Contract of every model: every cell × attention × search, in float64.

Most models are slow tests because there are many; see `contract.COVERING`.
"""

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from s2s.data.batching import pad_with_eos
from s2s.data.tokenizer import BOS, EOS
from s2s.decoding.search import length_limit, length_penalty, search
from s2s.models.interface import Seq2Seq
from s2s.models.parts import freeze_parts
from s2s.training.weights import load_weights, model_tensors, write_tensors
from tests.models.contract import VOCABULARY, batch, by_name, decoding, make, models, sentences, with_garbage

MODELS = models()
every_model = by_name()


@every_model
def test_padding_changes_nothing(name: str) -> None:
    model = make(MODELS[name])
    sources, targets = sentences(5, 6, 1), sentences(5, 6, 2)
    tight = batch(sources, targets)
    loose = with_garbage(tight, 3)
    torch.testing.assert_close(model(loose, 0.1).loss, model(tight, 0.1).loss, rtol=1e-12, atol=1e-12)
    assert model(loose).tokens == sum(len(t) + 1 for t in targets)
    scores = model.log_probs(tight)
    torch.testing.assert_close(model.log_probs(loose)[:, : scores.size(1)], scores, rtol=1e-12, atol=1e-12)
    tight_gradient = torch.autograd.grad(model(tight).loss, list(model.parameters()), allow_unused=True)
    loose_gradient = torch.autograd.grad(model(loose).loss, list(model.parameters()), allow_unused=True)
    for mine, other in zip(tight_gradient, loose_gradient, strict=True):
        assert mine is not None, "no gradient reaches a parameter"
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-10)


@every_model
def test_a_small_step_lowers_the_loss_and_weights_determine_the_model(name: str, tmp_path: Path) -> None:
    """A small step against the gradient lowers the loss to first order; loaded weights give the same model."""
    model = make(MODELS[name])
    whole = with_garbage(batch(sentences(5, 6, 15), sentences(5, 6, 16)), 2)
    before = model(whole, 0.1).loss
    gradients = torch.autograd.grad(before, list(model.parameters()))
    lower = 1e-6  # small, because with weights like these the loss is far from flat
    rate = lower / sum(float(g.square().sum()) for g in gradients)
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.sub_(rate * gradient)
        after = model(whole, 0.1).loss
    assert (before - after).item() == pytest.approx(lower, rel=0.01)

    write_tensors(tmp_path / "model.safetensors", model_tensors(model), {})
    again = make(MODELS[name], seed=17)
    load_weights(again, tmp_path / "model.safetensors")
    assert torch.equal(again.log_probs(whole), model.log_probs(whole))


@every_model
def test_a_frozen_part_changes_no_gradient_of_the_others(name: str) -> None:
    """Hand-derived backward passes meet inputs and weights that need no gradient."""
    model = make(MODELS[name])
    whole = batch(sentences(4, 5, 21), sentences(4, 5, 22))

    def gradients(frozen: list[str]) -> dict[str, Tensor | None]:
        """By all names of the parameters."""
        model.requires_grad_(True).zero_grad()
        freeze_parts(model, frozen)
        model(whole, 0.1).loss.backward()
        parameters = dict(model.named_parameters(remove_duplicate=False))
        assert all((p.grad is not None) == p.requires_grad for p in parameters.values())
        return {key: parameter.grad for key, parameter in parameters.items()}

    expected = gradients([])
    parts = sorted({key.split(".")[0] for key in expected})
    for frozen in [*([part] for part in parts), ["encoder", "source_embedding"], ["decoder", "encoder"]]:
        found = gradients(frozen)
        assert all(found[key] is None for key in found if key.split(".")[0] in frozen)
        for key, gradient in found.items():
            if gradient is not None:
                torch.testing.assert_close(gradient, expected[key], rtol=1e-9, atol=1e-9)


@every_model
def test_loss_is_minus_the_log_probability(name: str) -> None:
    model = make(MODELS[name])
    whole = batch(sentences(4, 5, 3), sentences(4, 5, 4))
    torch.testing.assert_close(model(whole).nll, -model.log_probs(whole).sum(), rtol=1e-12, atol=1e-12)


@every_model
def test_steps_equal_teacher_forcing(name: str) -> None:
    model = make(MODELS[name])
    whole = batch(sentences(5, 6, 5), sentences(5, 6, 6))
    state = model.start(whole.source, whole.source_mask)
    by_step = []
    for t in range(whole.target.size(1)):
        logits, state = model.step(whole.target_input[:, t], state)
        by_step.append(torch.log_softmax(logits, -1).gather(1, whole.target[:, t : t + 1]).squeeze(1))
    stepwise = torch.stack(by_step, 1).masked_fill(~whole.target_mask, 0.0)
    torch.testing.assert_close(stepwise, model.log_probs(whole), rtol=1e-11, atol=1e-11)


@every_model
def test_hypotheses_are_independent(name: str) -> None:
    """Repeated, reordered and dropped hypotheses give the same logits as each alone."""
    model = make(MODELS[name])
    source, mask = pad_with_eos(sentences(3, 5, 7))
    history = torch.randint(4, VOCABULARY, (6, 3), generator=torch.Generator().manual_seed(8))
    state = model.start(source, mask).reorder(torch.tensor([0, 0, 1, 1, 2, 2]))
    for t in range(3):
        logits, state = model.step(history[:, t], state)
    swapped = state.reorder(torch.tensor([1, 0, 3, 3, 4, 5]))
    selected = swapped.select(torch.tensor([1, 2]))
    after, _ = model.step(torch.full((4,), 5), selected)
    for row, (sentence, past) in enumerate([(1, 3), (1, 3), (2, 4), (2, 5)]):
        length = int(mask[sentence].sum())
        alone = model.start(source[sentence : sentence + 1, :length], mask[sentence : sentence + 1, :length])
        for token in [*history[past].tolist(), 5]:
            logits, alone = model.step(torch.tensor([token]), alone)
        torch.testing.assert_close(after[row], logits[0], rtol=1e-11, atol=1e-11)


def _translations(model: Seq2Seq, sources: list[list[int]], size: int, **options: object) -> list[list[int]]:
    config = decoding(**options)
    translations = []
    for start in range(0, len(sources), size):
        part = sources[start : start + size]
        limits = [length_limit(len(s), config) for s in part]
        keys = list(range(start, start + len(part)))
        translations += [row[0].tokens for row in search(model, *pad_with_eos(part), config, limits, keys)]
    return translations


@every_model
@pytest.mark.parametrize(
    "strategy", ["beam", *(pytest.param(name, marks=pytest.mark.slow) for name in ("greedy", "sample"))]
)
def test_batch_size_changes_no_translation(name: str, strategy: str) -> None:
    model = make(MODELS[name])
    sources = sentences(12, 6, 9)
    alone = _translations(model, sources, 1, strategy=strategy)
    assert _translations(model, sources, 5, strategy=strategy) == alone
    assert _translations(model, sources, 12, strategy=strategy) == alone
    assert len({tuple(t) for t in alone}) > 3, "all translations are the same: the test shows nothing"


@every_model
def test_beam_of_one_is_greedy(name: str) -> None:
    model = make(MODELS[name])
    sources = sentences(8, 6, 10)
    greedy = _translations(model, sources, 8, strategy="greedy")
    assert _translations(model, sources, 8, beam=1) == greedy
    for ids, translation in zip(sources, greedy, strict=True):
        state = model.start(*pad_with_eos([ids]))
        last, reference = BOS, []
        while len(reference) < length_limit(len(ids), decoding()):
            logits, state = model.step(torch.tensor([last]), state)
            logits[:, [0, 1, 2]] = -math.inf
            last = int(logits.argmax())
            if last == EOS:
                break
            reference.append(last)
        assert translation == reference


def _exhaustive_search(model: Seq2Seq, ids: list[int], longest: int, alpha: float) -> tuple[list[int], float]:
    tokens = [EOS, *range(4, VOCABULARY)]
    source, mask = pad_with_eos([ids])

    def walk(state: object, last: int, past: list[int], score: float) -> list[tuple[list[int], float]]:
        logits, after = model.step(torch.tensor([last]), state)  # type: ignore[arg-type]
        scores: Tensor = torch.log_softmax(logits[0], -1)
        ended = [(past, (score + scores[EOS].item()) / length_penalty(len(past) + 1, alpha))]
        if len(past) == longest:
            return ended
        following = [walk(after, t, [*past, t], score + scores[t].item()) for t in tokens[1:]]
        return ended + list(itertools.chain.from_iterable(following))

    return max(walk(model.start(source, mask), BOS, [], 0.0), key=lambda scored: scored[1])


@pytest.mark.parametrize("alpha", [0.6, *(pytest.param(alpha, marks=pytest.mark.slow) for alpha in (0.0, 1.0))])
@pytest.mark.parametrize(
    "name",
    [
        "lstm-fixed-bi-1",
        "gru-bahdanau-uni-3",
        "rnn-none-uni-1",
        "transformer-pre",
        "attention-into-ssru-post-none",
        "ssru-into-convolution-none-sinusoidal",
        "gpt-full-sinusoidal",
    ],
)
def test_a_wide_beam_finds_the_best_translation_of_all(name: str, alpha: float) -> None:
    model = make(MODELS[name], seed=3)
    for ids in sentences(2, 4, 11):
        expected, score = _exhaustive_search(model, ids, 3, alpha)
        config = decoding(beam=5**3, length_penalty=alpha)
        (best,) = search(model, *pad_with_eos([ids]), config, [3])[0]
        assert best.tokens == expected
        assert best.score == pytest.approx(score, rel=1e-12)


@every_model
def test_attention_weights_are_distributions_over_real_source_tokens(name: str) -> None:
    model = make(MODELS[name])
    whole = batch(sentences(4, 6, 12), sentences(4, 6, 13))
    attention = model.attention(whole)
    assert bool(attention) == (model.reads != "fixed")
    for weights in attention.values():
        assert weights.shape == (4, whole.target.size(1), whole.source.size(1))
        shares = weights.sum(-1)
        if name.startswith("gpt"):  # the rest is that of the target, of which the first token sees none but itself
            assert ((shares > 0) & (shares < 1 + 1e-12)).all()
            assert (shares < 0.99).any()
        else:
            torch.testing.assert_close(shares, torch.ones_like(shares))
        assert weights.masked_select(~whole.source_mask.unsqueeze(1)).eq(0).all()


@by_name(("lstm", "transformer"))
def test_the_state_has_the_memory_only_with_attention(name: str) -> None:
    """A decoder with a fixed-length context vector has no access to the memory."""
    model = make(MODELS[name])
    source, mask = pad_with_eos(sentences(2, 5, 14))
    state = model.start(source, mask)
    assert ("values" in state.shared or "0.key" in state.shared) == (model.reads == "attention")
