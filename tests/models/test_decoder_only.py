"""Decoder-only models: the mask of the prefix by brute force, the loss of the source, language models."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from s2s.data.batching import pad_with_eos
from s2s.data.subwords import BOS, EOS
from s2s.decoding.search import search
from s2s.models import build_model, check_model
from s2s.models.blocks import Block, BlockDecoder
from s2s.models.decoder_only import DecoderOnly, LanguageModel
from s2s.nn.positions import rotary_positions, rotate, sinusoidal_positions
from tests.models.contract import VOCABULARY, batch, decoder_only, decoding, make, sentences


def _dense(decoder: BlockDecoder, x: Tensor, seen: Tensor, rotary: bool) -> Tensor:
    """A pre-norm stack over one whole sequence (T, D), in which `seen` (T, T) says who sees whom; torch's attention."""
    x = x if rotary else x + sinusoidal_positions(0, len(x), x)
    for block in decoder.layers:
        assert isinstance(block, Block)
        attention = block.mixer.attention
        inner = block.around_mixer.norm(x)
        keys, values = attention.key_value(inner).chunk(2, dim=-1)
        heads = [part.unflatten(-1, (2, -1)).transpose(0, 1) for part in (attention.query(inner), keys, values)]
        if rotary:
            cos_sin = rotary_positions(0, len(x), heads[0].size(-1), x)
            heads[:2] = [rotate(part, cos_sin) for part in heads[:2]]
        mixed = F.scaled_dot_product_attention(*heads, attn_mask=seen)
        x = x + attention.output(mixed.transpose(0, 1).flatten(1))
        feedforward, around = block.feedforward, block.around_feedforward
        assert feedforward is not None
        assert around is not None
        x = x + feedforward.outer(torch.relu(feedforward.inner(around.norm(x))))
    return decoder.final(x)


@pytest.mark.parametrize("prefix", ["causal", "full"])
@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
def test_who_sees_whom(prefix: str, positions: str) -> None:
    """Each pair in a batch gives what one sequence without padding does, under a mask written position by position."""
    model = make(decoder_only("attention", positions=positions, prefix=prefix))
    assert isinstance(model, DecoderOnly)
    sources, targets = sentences(4, 6, 1), sentences(4, 6, 2)
    log_probs = model.log_probs(batch(sources, targets))
    for row, (source, target) in enumerate(zip(sources, targets, strict=True)):
        read, written = [*source, EOS], [BOS, *target]
        seen = torch.zeros(len(read) + len(written), len(read) + len(written), dtype=torch.bool)
        for query in range(len(seen)):
            for key in range(len(seen)):
                both_read = query < len(read) and key < len(read)
                seen[query, key] = key <= query or (prefix == "full" and both_read)
        embedded = torch.cat(
            [model.source_embedding(torch.tensor(read)), model.target_embedding(torch.tensor(written))]
        )
        hidden = _dense(model.decoder, embedded * model.scale, seen, positions == "rotary")[len(read) :]
        logits = F.linear(hidden, model.output_weight, model.output_bias)
        expected = torch.log_softmax(logits, -1)[torch.arange(len(written)), torch.tensor([*target, EOS])]
        torch.testing.assert_close(log_probs[row, : len(written)], expected, rtol=1e-11, atol=1e-11)


def test_the_loss_of_the_source_is_that_of_a_text() -> None:
    """`source_loss` adds the cross-entropy of x_2 … x_n </s>, each given the tokens before it."""
    section = decoder_only("attention", tie="all")
    plain, weighted = make(section), make(section | {"source_loss": 0.5})
    sources, targets = sentences(4, 6, 3), sentences(4, 6, 4)
    pairs = batch(sources, targets)
    expected = 0.0
    for source in sources:
        read = torch.tensor([[*source, EOS]])
        embedded = plain.source_embedding(read) * plain.scale  # type: ignore[operator]
        hidden, _ = plain.decoder.prefix(embedded, torch.ones_like(read, dtype=torch.bool))  # type: ignore[union-attr, operator]
        logits = F.linear(hidden[0, :-1], plain.output_weight, plain.output_bias)  # type: ignore[arg-type]
        expected += F.cross_entropy(logits, read[0, 1:], reduction="sum").item()
    assert weighted(pairs).loss.item() == pytest.approx(plain(pairs).loss.item() + 0.5 * expected, rel=1e-12)
    assert weighted(pairs).nll.item() == pytest.approx(plain(pairs).nll.item(), rel=1e-12)
    assert weighted(pairs).tokens == plain(pairs).tokens


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"prefix": "full", "source_loss": 1.0, "tie_embeddings": "all"},
            "and with model.prefix=full it would be seen",
        ),
        ({"source_loss": 1.0}, "set model.tie_embeddings=all"),
        ({"mixer": "lstm", "prefix": "full"}, "this mixer cannot: use model.prefix=causal"),
        ({"encoder": {}}, "unknown key model.encoder"),
        ({"prefix": "none"}, "model.prefix='none' is not one of"),
        ({"decoder": {"type": "recurrent"}}, "set model.decoder.type=blocks"),
        ({"type": "encoder_only"}, "model.type='encoder_only' is not one of: "),
    ],
)
def test_what_does_not_fit_is_one_line(changes: dict[str, Any], words: str) -> None:
    mixer = changes.pop("mixer", "attention")
    errors = check_model(decoder_only(mixer, positions="none") | changes, True, [])
    assert words in errors[0]


# -------------------------------------------------------------------------------------------------- language models


def _language_model(mixer: str, positions: str = "sinusoidal") -> LanguageModel:
    torch.manual_seed(0)
    model = (
        build_model(decoder_only(mixer, positions=positions, tie="none"), VOCABULARY, VOCABULARY, "causal_lm")
        .double()
        .eval()
    )
    assert isinstance(model, LanguageModel)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.6 * torch.randn_like(parameter))
        model.target_embedding.weight.mul_(8)  # other lines, other words
        model.output_weight.sub_(model.output_weight.mean(0)).mul_(4)
        model.output_bias.zero_()[EOS] = -8
    return model


LANGUAGE_MODELS = [("attention", "sinusoidal"), ("attention", "rotary"), ("lstm", "none"), ("convolution", "none")]


@pytest.mark.parametrize(("mixer", "positions"), LANGUAGE_MODELS)
def test_a_line_is_continued_as_text_is_predicted(mixer: str, positions: str) -> None:
    """Steps from a line give the probabilities that teacher forcing gives the rest of a text that begins with it."""
    model = _language_model(mixer, positions)
    texts = [[*text, 5] for text in sentences(5, 7, 5)]
    begun = [text[: 1 + n % len(text)] for n, text in enumerate(texts)]
    expected = model.log_probs(batch([[]] * len(texts), texts))
    torch.testing.assert_close(expected, model.log_probs(batch(sentences(5, 4, 6), texts)))  # no source is read
    source, mask = pad_with_eos(begun)
    state = model.start(source, mask).reorder(torch.arange(len(texts)).repeat_interleave(2))
    tokens = torch.full((2 * len(texts),), BOS)
    for t in range(max(map(len, texts))):
        logits, state = model.step(tokens, state)
        scores = torch.log_softmax(logits, -1)
        for row, (text, line) in enumerate(zip(texts, begun, strict=True)):
            following = [*text, EOS][len(line) + t : len(line) + t + 1]
            for token in following:
                torch.testing.assert_close(scores[2 * row + 1, token], expected[row, len(line) + t])
        rest = [([*text, EOS] + [5] * 20)[len(line) + t] for text, line in zip(texts, begun, strict=True)]
        tokens = torch.tensor(rest).repeat_interleave(2)


@pytest.mark.parametrize(("mixer", "positions"), LANGUAGE_MODELS)
@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample"])
def test_a_continuation_does_not_depend_on_the_batch(mixer: str, positions: str, strategy: str) -> None:
    model, lines = _language_model(mixer, positions), sentences(9, 6, 7)
    config, limits = decoding(strategy=strategy), [8] * len(lines)
    together = search(model, *pad_with_eos(lines), config, limits, list(range(len(lines))))
    alone = [search(model, *pad_with_eos([line]), config, [8], [n])[0] for n, line in enumerate(lines)]
    assert [row[0].tokens for row in together] == [row[0].tokens for row in alone]
    assert len({tuple(row[0].tokens) for row in alone}) > 2, "all are the same: the test shows nothing"


def test_a_language_model_has_the_probabilities_of_all_short_texts() -> None:
    """The probabilities of all texts up to a length, and of a longer one, are 1 together."""
    model, total = _language_model("attention"), 0.0
    with torch.no_grad():
        model.output_bias[:EOS] = -math.inf  # no special tokens
        texts: list[list[int]] = [[]]
        for length in range(4):
            scores = model.log_probs(batch([[]] * len(texts), texts))
            total += scores.sum(1).exp().sum().item()
            going_on = scores[:, :length].sum(1).exp().sum().item()
            assert going_on <= 1 + 1e-12
            longer = [[*text, token] for text in texts for token in range(4, VOCABULARY)]
            after = model.log_probs(batch([[]] * len(longer), longer))[:, : length + 1].sum(1).exp().sum().item()
            assert total + after == pytest.approx(1, rel=1e-12)
            texts = longer
