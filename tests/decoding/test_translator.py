"""Every line gets its translation, whatever stands around it; with a real tokenizer and a small model."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from s2s.config import TokenizerConfig
from s2s.data.batching import Batch, pad_with_eos
from s2s.data.tokenizer import Tokenizer, train_tokenizer
from s2s.decoding.search import length_limit, search
from s2s.decoding.translator import Translator
from s2s.errors import S2SError
from s2s.models import build_model
from s2s.models.interface import DecodeState, Seq2Seq
from tests.decoding import toy
from tests.models.contract import recurrent, section, transformer

CONFIG = dataclasses.replace(toy.CONFIG, beam=3, max_ratio=1.0, max_extra=3, max_source=30, batch_tokens=150)
TEXT = ["a dog runs .", "the cat sleeps on the mat", "two birds sing", "a man sees the dog", "I see 3 cats !"]
LINES = [
    "a dog",
    "",
    "the cat sings on the mat .",
    " \t ",
    "🐕 ñandú 狗",
    "a",
    "dogs\u2028run",
    "a dog",
    "   a  dog ",
    "on the mat",
]


class Toy(Seq2Seq):
    """A GRU with dot-product attention over source embeddings; dropout shows whether it is in evaluation mode."""

    def __init__(self, source_size: int, target_size: int, size: int = 12) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.source, self.target = nn.Embedding(source_size, size), nn.Embedding(target_size, size)
        self.cell, self.output = nn.GRUCell(size, size), nn.Linear(2 * size, target_size)
        self.dropout = nn.Dropout(0.5)
        self.shapes: list[tuple[int, int]] = []  # of each batch
        self.dtypes: set[torch.dtype] = set()

    def start(self, src: Tensor, mask: Tensor) -> DecodeState:
        assert bool(mask.any(1).all())
        self.shapes.append((src.size(0), src.size(1)))
        memory = self.dropout(self.source(src))
        mean = (memory * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)
        return DecodeState({"memory": memory, "mask": mask}, {"hidden": mean})

    def attend(self, tokens: Tensor, state: DecodeState) -> tuple[Tensor, Tensor, DecodeState]:
        hidden = self.cell(self.target(tokens), state.rows["hidden"])
        memory, mask = state.shared["memory"], state.shared["mask"]
        times = len(tokens) // len(memory)
        memory, mask = memory.repeat_interleave(times, 0), mask.repeat_interleave(times, 0)
        weights = torch.einsum("nd,nsd->ns", hidden, memory).masked_fill(~mask, -1e9).softmax(1)
        context = torch.einsum("ns,nsd->nd", weights, memory)
        output = self.output(self.dropout(torch.cat([hidden, context], 1)))
        self.dtypes.add(output.dtype)
        return output * 4, weights, DecodeState(state.shared, {"hidden": hidden})

    def step(self, tokens: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        logits, _, state = self.attend(tokens, state)
        return logits, state

    def log_probs(self, batch: Batch) -> Tensor:
        state, columns = self.start(batch.source, batch.source_mask), []
        for column, target in zip(batch.target_input.unbind(1), batch.target.unbind(1), strict=True):
            logits, state = self.step(column, state)
            columns.append(logits.log_softmax(1).gather(1, target.unsqueeze(1)))
        return torch.cat(columns, 1) * batch.target_mask

    def attention(self, batch: Batch) -> dict[str, Tensor]:
        state, columns = self.start(batch.source, batch.source_mask), []
        for column in batch.target_input.unbind(1):
            _, weights, state = self.attend(column, state)
            columns.append(weights)
        return {"attention": torch.stack(columns, 1)}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    config = TokenizerConfig(
        type="bpe",
        vocab_size=300,
        joint=False,
        byte_fallback=True,
        sampling=0.0,
        normalization="identity",
        path=None,
    )
    return train_tokenizer(config, TEXT * 3, [line.upper() for line in TEXT] * 3)


@pytest.fixture
def model(tokenizer: Tokenizer) -> Toy:
    return Toy(tokenizer.source_size, tokenizer.target_size).double()


def translator(model: Toy, tokenizer: Tokenizer, **changes: object) -> Translator:
    return Translator(model, tokenizer, dataclasses.replace(CONFIG, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", ["greedy", "beam"])
def test_a_line_has_the_same_translation_in_any_batch(model, tokenizer, strategy):
    alone = [translator(model, tokenizer, strategy=strategy).translate([line])[0] for line in LINES]
    assert len({text for text in alone if text}) > 3
    for batch_tokens in (1, 60, 10_000):
        assert translator(model, tokenizer, strategy=strategy, batch_tokens=batch_tokens).translate(LINES) == alone
    assert translator(model, tokenizer, strategy=strategy).translate(iter(LINES[::-1] * 5)) == alone[::-1] * 5


def test_a_translation_is_one_line_whatever_bytes_the_model_writes(model, tokenizer):
    breaks = ["a\nb", "\r\n", "\r", "\n\n"]
    outputs = iter(tokenizer.encode_target(breaks))

    def patched(*arguments):
        return [[dataclasses.replace(row[0], tokens=next(outputs))] for row in search(*arguments)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("s2s.decoding.translator.search", patched)
        assert translator(model, tokenizer).translate(["a dog"] * 4) == ["a b", " ", " ", "  "]


def test_lines_without_text_are_empty_and_need_no_model(model, tokenizer):
    first, second, third = translator(model, tokenizer, n_best=3).translations(["", " \t\u3000", "\r"])
    assert model.shapes == []
    assert first.text == second.text == third.text == ""
    assert (second.source, len(second.hypotheses), second.truncated) == (" \t\u3000", 1, False)
    assert translator(model, tokenizer).translate([]) == []


def test_n_best_of_each_line(model, tokenizer):
    for line, translation in zip(LINES, translator(model, tokenizer, n_best=3).translations(LINES), strict=True):
        assert translation.source == line
        if line.strip():
            assert len({tuple(h.tokens) for h in translation.hypotheses}) == 3
            assert (
                translation.text
                == translation.hypotheses[0].text
                == tokenizer.decode_target([translation.hypotheses[0].tokens])[0]
            )
            scores = [h.score for h in translation.hypotheses]
            assert scores == sorted(scores, reverse=True)


def test_long_lines_are_truncated_with_one_warning(model, tokenizer, caplog):
    long = "the cat sings on the mat . " * 20
    ids = tokenizer.encode_source([long])[0]
    with caplog.at_level(logging.WARNING):
        translations = list(translator(model, tokenizer).translations(["a dog", "", long, "a cat"], window=2))
    assert [t.truncated for t in translations] == [False, False, True, False]
    (message,) = [record.getMessage() for record in caplog.records]
    assert "line 3 " in message
    assert f" {len(ids)} source tokens" in message
    assert message.endswith("decoding.max_source=30")
    limit = length_limit(30, CONFIG)
    ((expected,),) = search(model.eval(), *pad_with_eos([ids[:30]]), CONFIG, [limit])
    assert translations[2].hypotheses[0].tokens == expected.tokens


def test_lines_are_read_lazily(model, tokenizer):
    read = []

    def lines() -> Iterator[str]:
        for line in LINES:
            read.append(line)
            yield line

    stream = translator(model, tokenizer).translations(lines(), window=4)
    assert read == []
    next(stream)
    assert len(read) == 4
    assert 1 + len(list(stream)) == len(LINES)


def test_batches_stay_within_the_budget(model, tokenizer):
    translator(model, tokenizer, beam=3, batch_tokens=90).translate(LINES * 4)
    assert all(sentences * length * 3 <= 90 or sentences == 1 for sentences, length in model.shapes)
    assert max(sentences for sentences, _ in model.shapes) > 4


def test_samples_belong_to_their_line(model, tokenizer):
    def tokens(window: int, batch_tokens: int) -> list[list[list[int]]]:
        sample = translator(model, tokenizer, strategy="sample", n_best=2, batch_tokens=batch_tokens)
        return [[h.tokens for h in translation.hypotheses] for translation in sample.translations(LINES, window=window)]

    expected = tokens(100, 150)
    assert tokens(3, 150) == tokens(100, 1) == expected
    assert expected[0] != expected[7]  # the same text on another line


def test_the_model_gets_its_mode_back(model, tokenizer):
    model.train()
    model.cell.eval()
    assert translator(model, tokenizer).translate(["a dog"] * 2) == translator(model, tokenizer).translate(
        ["a dog"] * 2
    )
    assert model.training
    assert model.dropout.training
    assert not model.cell.training
    model.output.weight.data.fill_(float("nan"))
    with pytest.raises(S2SError, match="not finite"):
        translator(model, tokenizer).translate(["a dog"])
    assert model.training


@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample"])
def test_scores_equal_those_of_search(model, tokenizer, strategy):
    lines = [line for line in LINES if line.strip()]
    tool = translator(model, tokenizer, strategy=strategy, batch_tokens=40)
    hypotheses = [t.hypotheses[0] for t in tool.translations(lines)]
    for hypothesis, score in zip(hypotheses, tool.score_ids(lines, [h.tokens for h in hypotheses]), strict=True):
        assert score.tokens == hypothesis.tokens
        assert score.log_prob == pytest.approx(hypothesis.log_prob, abs=1e-9)
        assert len(score.token_log_probs) == len(score.tokens) + 1
        assert sum(score.token_log_probs) == pytest.approx(score.log_prob)


def test_scores_of_texts_are_in_order_and_complete(model, tokenizer):
    tool, targets = translator(model, tokenizer, batch_tokens=40), [text.upper() for text in LINES]
    scores = tool.score(LINES, targets)
    assert [s.tokens for s in scores] == tokenizer.encode_target(targets)
    alone = [tool.score([line], [target])[0].log_prob for line, target in zip(LINES, targets, strict=True)]
    assert [s.log_prob for s in scores] == pytest.approx(alone, abs=1e-9)
    assert len(set(alone)) > 8
    with pytest.raises(S2SError, match="2 translations of 1 source"):
        tool.score(["a"], ["A", "B"])


def test_attention_belongs_to_its_pieces(model, tokenizer):
    tool = translator(model, tokenizer)
    by_text, by_ids = tool.attention("a dog", "A DOG"), tool.attention("a dog", tokenizer.encode_target(["A DOG"])[0])
    assert by_text.source == [*tokenizer.source_pieces("a dog"), "</s>"] == by_ids.source
    assert by_text.target == [*tokenizer.target_pieces("A DOG"), "</s>"] == by_ids.target
    (weights,) = by_text.weights.values()
    assert weights.shape == (len(by_text.target), len(by_text.source))
    assert weights.sum(1).tolist() == pytest.approx([1.0] * len(weights))
    assert torch.equal(weights, by_ids.weights["attention"])
    assert len(tool.attention("the cat sings on the mat . " * 20, "A").source) == CONFIG.max_source + 1


def test_bf16_is_used_if_configured(tokenizer):
    model = Toy(tokenizer.source_size, tokenizer.target_size)
    translator(model, tokenizer).translate(LINES)
    assert model.dtypes == {torch.float32}
    assert len(translator(model, tokenizer, precision="bf16").translate(LINES)) == len(LINES)
    assert model.dtypes == {torch.float32, torch.bfloat16}


@pytest.mark.parametrize("kind", ["gru", "transformer"])
def test_int8_translates_scores_and_shows_attention_alike(tokenizer, kind):
    encoder = transformer()["encoder"] if kind == "transformer" else recurrent("gru", "bahdanau")["encoder"]
    decoder = transformer()["decoder"] if kind == "transformer" else recurrent("gru", "bahdanau")["decoder"]
    torch.manual_seed(3)
    model = build_model(section(encoder, decoder), tokenizer.source_size, tokenizer.target_size).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.4 * torch.randn_like(parameter))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tool, exact = translator(model, tokenizer, precision="int8"), translator(model, tokenizer)
    lines = [line for line in LINES if line.strip()]
    hypotheses = [t.hypotheses[0] for t in tool.translations(lines)]
    alone = [translator(model, tokenizer, precision="int8").translate([line])[0] for line in lines]
    assert [h.text for h in hypotheses] == alone
    scores = [score.log_prob for score in tool.score_ids(lines, [h.tokens for h in hypotheses])]
    assert scores == pytest.approx([h.log_prob for h in hypotheses], abs=1e-9)
    in_full = [score.log_prob for score in exact.score_ids(lines, [h.tokens for h in hypotheses])]
    assert scores != pytest.approx(in_full, abs=1e-6)
    assert scores == pytest.approx(in_full, rel=0.1)
    for name, weights in tool.attention("a dog", "A DOG").weights.items():
        other = exact.attention("a dog", "A DOG").weights[name]
        assert not torch.equal(weights, other)
        torch.testing.assert_close(weights, other, atol=0.1, rtol=0)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_int8_leaves_a_model_of_other_modules_unchanged(model, tokenizer):
    model.train()
    texts = translator(model, tokenizer, precision="int8").translate(LINES)
    assert [bool(text) for text in texts] == [bool(line.strip()) for line in LINES]
    assert model.training
    assert model.shapes == []  # the copy was used


def test_int8_is_for_cpus(tokenizer):
    elsewhere = Toy(tokenizer.source_size, tokenizer.target_size).to("meta")
    with pytest.raises(S2SError, match=r"decoding\.precision=int8 needs a CPU, not meta: use device=cpu"):
        translator(elsewhere, tokenizer, precision="int8")


def test_progress_goes_to_stderr(model, tokenizer, capfd):
    translator(model, tokenizer).translate(LINES)
    assert capfd.readouterr() == ("", "")
    translator(model, tokenizer).translate(LINES, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert f"{len(LINES)}/{len(LINES)}" in err


def test_fewer_translations_than_n_best_are_logged(model, tokenizer, caplog):
    tool = translator(model, tokenizer, beam=400, n_best=400, max_ratio=0.01, max_extra=1, batch_tokens=10**6)
    first, _ = tool.translations(["a dog", ""])
    assert len(first.hypotheses) == tokenizer.target_size - 4 + 1
    assert "1 lines have fewer" in caplog.text


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([None], "line 1 is None, not text"),
        (["a", float("nan")], "line 2 is nan, not text"),
        (["a", "b", b"c"], "line 3 is b'c', not text"),
        (["a", "\ud800"], "line 2 holds half of a surrogate pair"),
        ("abc", "a list of lines is needed, not 'abc'"),
        (b"abc", "a list of lines is needed, not b'abc'"),
        (None, "a list of lines is needed, not None"),
        (3, "a list of lines is needed, not 3"),
        ({"a": 1}, "a list of lines is needed, not {'a': 1}"),
    ],
)
def test_items_that_are_no_text_are_named(model, tokenizer, items, message):
    one = translator(model, tokenizer)
    with pytest.raises(S2SError, match=re.escape(message)):
        one.translate(items)
    for calls in ((items, ["x"]), (["x"], items)):
        with pytest.raises(S2SError):
            one.score(*calls)


@pytest.mark.parametrize(
    "pair", [(["A"], "b"), ("a", ["B"]), ("a", [-1]), ("a", [10**9]), (None, "b"), ("a", "\ud800")]
)
def test_attention_is_of_a_line_and_its_translation(model, tokenizer, pair):
    with pytest.raises(S2SError):
        translator(model, tokenizer).attention(*pair)


def test_scoring_letter_by_letter_is_refused(model, tokenizer):
    with pytest.raises(S2SError, match="put one line in brackets"):
        translator(model, tokenizer).score("abc", "abc")


def test_misuse_is_named(model, tokenizer):
    with pytest.raises(S2SError, match="list of lines"):
        translator(model, tokenizer).translate("a dog")
    with pytest.raises(S2SError, match="n_best=4"):
        translator(model, tokenizer, n_best=4)
