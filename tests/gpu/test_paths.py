"""What a GPU takes in place of a CPU computes the same, on a CPU: layouts, torch's functions, batches of fixed shape.

And CUDA graphs, with a stand-in that does again what it recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s import cuda_graphs, devices
from s2s.data.batching import Batch
from s2s.decoding.graphs import GraphedDecoder
from s2s.decoding.search import search
from s2s.models.interface import Seq2Seq
from s2s.nn.kernels import fused
from s2s.nn.recurrent import lay_out as laid_out
from s2s.training.graphs import GraphedStep
from tests.gpu.rules import by_name, lay_out
from tests.models.contract import batch, decoding, make, models, sentences
from tests.training.toy import ToyModel, events, make_trainer

CPU = torch.device("cpu")
PATHS = [("padded", "auto"), ("packed", "torch"), ("padded", "torch"), ("padded", "loop")]


@pytest.fixture
def as_on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "on_gpu", lambda tensor: True)
    monkeypatch.setattr(fused, "in_cudnn", lambda dtype, device: True)


def _data(seed: int = 1) -> Batch:
    return batch(sentences(5, 7, seed), sentences(5, 7, seed + 1))


def _loss_and_gradients(model: Seq2Seq, data: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    model.zero_grad()
    sums = model(data, 0.1)
    sums.loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return torch.stack([sums.loss.detach(), sums.nll, sums.tokens.double()]), gradients


def _assert_same(one: tuple[Tensor, dict[str, Tensor]], other: tuple[Tensor, dict[str, Tensor]]) -> None:
    torch.testing.assert_close(one[0], other[0])
    assert one[1].keys() == other[1].keys()
    for name in one[1]:
        torch.testing.assert_close(one[1][name], other[1][name], msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(("layout", "recurrence"), PATHS)
@by_name
def test_loss_gradients_and_translations(
    name: str, layout: str, recurrence: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    model, data = make(models()[name]), _data()
    expected = _loss_and_gradients(model, data)
    hypotheses = search(model, data.source, data.source_mask, decoding(), [6] * 5)
    request.getfixturevalue("as_on_gpu")
    lay_out(model, layout, recurrence)
    _assert_same(_loss_and_gradients(model, data), expected)
    _assert_same(_loss_and_gradients(model, data.pad_to_multiple(8)), expected)
    found = search(model, data.source, data.source_mask, decoding(), [6] * 5)
    assert [[h.tokens for h in row] for row in found] == [[h.tokens for h in row] for row in hypotheses]


def test_padding_is_not_read_in_any_layout() -> None:
    model, data = make(models()["lstm-fixed-bi-1"]), _data()
    expected = _loss_and_gradients(model, data)
    for layout, recurrence in PATHS:
        lay_out(model, layout, recurrence)
        stack = model.encoder.stack  # type: ignore[union-attr]
        x = torch.randn(*data.source.shape, 8, dtype=torch.float64)
        clean, states = stack(x.masked_fill(~data.source_mask.unsqueeze(2), 0.0), data.source_mask)
        found, others = stack(x.masked_fill(~data.source_mask.unsqueeze(2), torch.nan), data.source_mask)
        torch.testing.assert_close(clean, found)
        torch.testing.assert_close(states, others)
        _assert_same(_loss_and_gradients(model, data), expected)


@pytest.mark.parametrize("training", [True, False])
def test_torch_is_told_whether_there_is_a_backward_pass(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it cuDNN keeps nothing for one."""
    told, lstm = [], torch.lstm

    def watched(*args: Any) -> Any:
        told.append(args[6] if isinstance(args[3], bool) else args[7])
        return lstm(*args)

    monkeypatch.setattr(torch, "lstm", watched)
    model = make(models()["lstm-fixed-bi-1"])
    lay_out(model, "packed", "torch")
    with torch.set_grad_enabled(training):
        model(_data())
    assert told == [training] * len(told) != []


def test_weights_are_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """One behind the other in memory, as cuDNN wants them: it copies them at each call if not."""
    seen, gru = [], torch.gru

    def watched(*args: Any) -> Any:
        seen.extend(args[2:4] if isinstance(args[3], list) else [args[2]])
        return gru(*args)

    monkeypatch.setattr(torch, "gru", watched)
    model = make(models()["gru-after-fixed-uni-2"])
    lay_out(model, "packed", "torch")
    model(_data())
    lists = [one for one in seen if isinstance(one, list)]
    for weights in lists:
        ends = [w.data_ptr() + w.numel() * w.element_size() for w in weights]
        assert all(w.is_contiguous() for w in weights)
        assert [w.data_ptr() for w in weights[1:]] == ends[:-1]
    assert lists


def test_a_gpu_takes_similar_lengths_padded(as_on_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    x, lengths = torch.zeros(2, 8, 1), {(8, 4): "padded", (8, 3): "packed", (8, 8): "even"}
    for each, expected in lengths.items():
        mask = torch.arange(8) < torch.tensor(each).unsqueeze(1)
        packing = laid_out(x, mask, "auto", each)
        kind = "padded" if packing.padding is not None else "even" if packing.lengths is None else "packed"
        assert kind == expected
    assert laid_out(x, mask, "auto").padding is not None  # only the GPU knows the lengths
    assert laid_out(x, mask, "packed").padding is None
    monkeypatch.setattr(devices, "on_gpu", lambda tensor: False)
    assert laid_out(x, mask, "auto", (8, 7)).padding is None


def test_attention_plans_no_kernel_for_each_shape(as_on_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As cuDNN does, for longer than the batch takes."""
    allowed, attention = [], F.scaled_dot_product_attention

    def watched(*args: Any, **options: Any) -> Tensor:
        allowed.append(torch.backends.cuda.cudnn_sdp_enabled())
        return attention(*args, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    before = torch.backends.cuda.cudnn_sdp_enabled()
    make(models()["gpt-attention-pre-rotary"])(_data())
    assert allowed
    assert not any(allowed)
    assert torch.backends.cuda.cudnn_sdp_enabled() == before


class _Recorder:
    """Stands for CUDA: runs what it was given once to record, and again at each replay into the same memory.

    Args:
        parameters: whose gradients a recording leaves as they are.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, parameters: Sequence[nn.Parameter] = ()) -> None:
        self.parameters, self.recorded, self.replayed = parameters, 0, 0
        monkeypatch.setattr(cuda_graphs, "memory_pool", object)
        for module in ("s2s.training.graphs", "s2s.decoding.graphs"):
            monkeypatch.setattr(f"{module}.capture", self.record)

    def record(self, run: Callable[[], Any], pool: object) -> tuple[Callable[[], None], Any]:
        self.recorded += 1
        result = self._without_effect(run)

        def replay() -> None:
            self.replayed += 1
            for old, new in zip(_tensors(result), _tensors(run()), strict=True):
                old.copy_(new)

        return replay, result

    def _without_effect(self, run: Callable[[], Any]) -> Any:
        """To record computes nothing."""
        before = [(p, None if p.grad is None else p.grad.clone()) for p in self.parameters]
        state = torch.get_rng_state()
        result = run()
        torch.set_rng_state(state)
        for parameter, grad in before:
            parameter.grad = grad if parameter.grad is None or grad is None else parameter.grad.copy_(grad)
        return result


def _tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    values = result.values() if isinstance(result, dict) else result
    return [tensor for value in values for tensor in _tensors(value)]


@by_name
def test_recorded_training_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(models()[name]).train()
    recorder = _Recorder(monkeypatch, list(model.parameters()))

    def step(data: Batch, tokens: Tensor) -> Tensor:
        sums = model(data, 0.1)
        (sums.loss / tokens).backward()
        return torch.stack([sums.loss.detach(), sums.nll])

    graphed = GraphedStep(step, CPU)
    for number, seed in enumerate([1, 3, 5, 7]):
        data = _data(seed)
        for tokens in (3.0, 7.0):
            model.zero_grad(set_to_none=False)
            torch.manual_seed(seed)
            expected = step(data.pad_to_multiple(8), torch.tensor(tokens, dtype=torch.float64))
            gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
            model.zero_grad(set_to_none=False)
            torch.manual_seed(seed)
            torch.testing.assert_close(graphed(data.pad_to_multiple(8), tokens), expected)
            for p, gradient in zip((p for p in model.parameters() if p.grad is not None), gradients, strict=True):
                torch.testing.assert_close(p.grad, gradient)
        assert recorder.recorded == 1
        assert recorder.replayed == 2 * number + 1


def test_a_whole_training_of_recorded_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Batches of several shapes, some recorded; gradients accumulate over micro-batches; the run is resumed."""
    losses = []
    for graphed in (False, True):
        model = ToyModel(dropout=0.0)
        recorder = _Recorder(monkeypatch, list(model.parameters()))
        folder = tmp_path / str(graphed)
        make_trainer(folder, model=model, graphed=graphed, max_steps=9).fit()
        make_trainer(folder, model=model, graphed=graphed, max_steps=14).fit()
        losses.append([line["loss"] for line in events(folder) if line["event"] == "train"])
        assert (recorder.replayed > 5) == graphed
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample"])
@by_name
def test_recorded_steps_of_search(name: str, strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder, model = _Recorder(monkeypatch), make(models()[name])
    graphed = GraphedDecoder(model)
    for seed, limits in [(1, [2, 3, 4, 5, 6]), (3, [6, 2, 6, 1, 5]), (5, [4] * 5)]:
        data, config = _data(seed), decoding(strategy=strategy, n_best=1 if strategy == "greedy" else 2)
        expected = search(model, data.source, data.source_mask, config, limits)
        found = search(graphed, data.source, data.source_mask, config, limits)
        for row, others in zip(found, expected, strict=True):
            assert [h.tokens for h in row] == [h.tokens for h in others]
            assert [h.score for h in row] == pytest.approx([h.score for h in others])
    assert (recorder.replayed > 0) == (model.mixes[1] != "self-attention")  # whose state grows


def test_what_cannot_be_recorded_goes_step_by_step(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(run: Callable[[], Any], pool: object) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    _Recorder(monkeypatch)
    monkeypatch.setattr("s2s.training.graphs.capture", refuse)
    graphed = GraphedStep(lambda data, tokens: data.source.sum() / tokens, CPU)
    with caplog.at_level(logging.WARNING):
        sums = [graphed(_data().pad_to_multiple(8), 2.0) for _ in range(4)]
    assert len({float(one) for one in sums}) == 1
    assert [record.message for record in caplog.records] == [
        "CUDA graphs are off for training: operation not permitted when stream is capturing"
    ]
