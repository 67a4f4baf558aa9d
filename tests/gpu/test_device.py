"""What only a GPU can show; skipped without one."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from s2s.data.batching import Batch
from s2s.decoding.graphs import GraphedDecoder
from s2s.decoding.search import search
from s2s.devices import set_arithmetic
from s2s.models.interface import Seq2Seq
from s2s.nn.kernels.attention import StoredScores
from s2s.nn.kernels.triton_modules import triton_module
from s2s.training.graphs import GraphedStep, pad_to_captured_shape
from tests.gpu.rules import lay_out
from tests.models.contract import COVERING, batch, decoding, make, models, sentences
from tests.training.toy import OPTIM, TRAINING

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
by_name = pytest.mark.parametrize("name", COVERING)
PRECISIONS = [None, torch.bfloat16]


@pytest.fixture(autouse=True)
def _exact() -> None:
    set_arithmetic(torch.device("cuda"), deterministic=False, tf32=False)


def _data(seed: int = 1) -> Batch:
    return batch(sentences(5, 9, seed), sentences(5, 9, seed + 1))


def _step(model: Seq2Seq, dtype: torch.dtype | None, data: Batch, tokens: Tensor) -> Tensor:
    with torch.autocast("cuda", dtype or torch.bfloat16, enabled=dtype is not None):
        sums = model(data, 0.1)
    (sums.loss / tokens).backward()
    return torch.stack([sums.loss.detach().float(), sums.nll.float()])


def _gradients(model: Seq2Seq) -> list[Tensor]:
    return [p.grad.cpu().clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize(("layout", "recurrence"), [("packed", "auto"), ("padded", "auto"), ("padded", "bptt")])
@by_name
def test_the_same_as_on_a_cpu(name: str, layout: str, recurrence: str) -> None:
    model = make(models()[name]).float()
    expected = _step(model, None, _data(), torch.tensor(7.0))
    gradients = _gradients(model)
    hypotheses = search(model, _data().source, _data().source_mask, decoding(), [6] * 5)
    model.zero_grad()
    model.cuda()
    lay_out(model, layout, recurrence)
    data = _data().to("cuda")
    torch.testing.assert_close(_step(model, None, data, torch.tensor(7.0).cuda()).cpu(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(_gradients(model), gradients, rtol=1e-2, atol=1e-3)
    found = search(model, data.source, data.source_mask, decoding(), [6] * 5)
    assert [[h.tokens for h in row] for row in found] == [[h.tokens for h in row] for row in hypotheses]


@by_name
def test_a_training_step_waits_for_nothing(name: str) -> None:
    model = make(models()[name]).float().train().cuda()
    data = _data().pinned()
    tokens = torch.tensor(7.0, device="cuda")
    _step(model, torch.bfloat16, data.to("cuda"), tokens)  # libraries start
    torch.cuda.set_sync_debug_mode("error")
    try:
        _step(model, torch.bfloat16, data.to("cuda"), tokens)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", PRECISIONS)
@by_name
def test_graphs_of_training_steps(name: str, dtype: torch.dtype | None, caplog: pytest.LogCaptureFixture) -> None:
    """The same numbers, dropout included; all four calls are of one shape: the second one records."""
    model = make(models()[name]).float().train().cuda()
    graphed = GraphedStep(lambda data, tokens: _step(model, dtype, data, tokens), torch.device("cuda"))
    for seed in (1, 3, 5, 7):
        data = pad_to_captured_shape(_data(seed))
        results = []
        for run in (
            lambda data=data: graphed(data.pinned(), 7.0),
            lambda data=data: _step(model, dtype, data.to("cuda"), torch.tensor(7.0, device="cuda")),
        ):
            model.zero_grad(set_to_none=False)
            torch.manual_seed(seed)
            results.append((run().cpu(), _gradients(model)))
        torch.testing.assert_close(*results, rtol=2e-2 if dtype else 1e-4, atol=2e-2 if dtype else 1e-4)
    assert not caplog.records


def test_batches_are_built_while_a_step_is_captured(caplog: pytest.LogCaptureFixture) -> None:
    """Another thread pins memory at every moment of the captures."""
    model = make(models()["lstm-fixed-bi-1"]).float().train().cuda()
    graphed = GraphedStep(lambda data, tokens: _step(model, None, data, tokens), torch.device("cuda"))
    captured, errors = threading.Event(), []

    def build() -> None:
        size = 1 << 10
        try:
            while not captured.is_set():
                torch.empty(size).pin_memory()
                size += 1 << 10
        except RuntimeError as error:
            errors.append(error)

    builder = threading.Thread(target=build)
    builder.start()
    try:
        for length in (7, 15, 23, 31):
            data = pad_to_captured_shape(batch(sentences(5, length, 1), sentences(5, length, 2)))
            for _ in range(3):
                graphed(data.pinned(), 7.0)
    finally:
        captured.set()
        builder.join()
    assert not errors
    assert not caplog.records


def test_what_cannot_be_captured_is_computed_eagerly(caplog: pytest.LogCaptureFixture) -> None:
    """Also with the random numbers of a seed, which a failed capture had its hands on; captured shapes are, too."""
    model = make(models()["lstm-fixed-bi-1"]).float().train().cuda()
    waits = [False]

    def step(data: Batch, tokens: Tensor) -> Tensor:
        sums = _step(model, None, data, tokens)
        if waits[0]:
            sums.tolist()
        return sums

    graphed, stream = GraphedStep(step, torch.device("cuda")), torch.cuda.current_stream()
    good, bad = (pad_to_captured_shape(batch(sentences(5, n, 1), sentences(5, n, 2))) for n in (7, 15))
    for data, waiting in ((good, False), (bad, True)):
        waits[0] = waiting
        for _ in range(3):
            graphed(data.pinned(), 7.0)
    assert [record.message.startswith("CUDA graphs are off for training: ") for record in caplog.records] == [True]
    assert torch.cuda.current_stream() == stream
    for data in (bad, good):
        torch.manual_seed(1)
        found = graphed(data.pinned(), 7.0).cpu()
        torch.manual_seed(1)
        torch.testing.assert_close(found, step(data.to("cuda"), torch.tensor(7.0, device="cuda")).cpu())


@by_name
def test_graphs_of_search(name: str, caplog: pytest.LogCaptureFixture) -> None:
    model = make(models()[name]).float().cuda()
    graphed = GraphedDecoder(model)
    for seed in (1, 3, 5):
        data = _data(seed).to("cuda")
        found = [search(m, data.source, data.source_mask, decoding(), [6, 3, 5, 6, 4]) for m in (model, graphed)]
        assert [[h.tokens for h in row] for row in found[1]] == [[h.tokens for h in row] for row in found[0]]
    assert not caplog.records


@by_name
def test_deterministic_repetitions(name: str) -> None:
    set_arithmetic(torch.device("cuda"), deterministic=True, tf32=False)
    try:
        model = make(models()[name]).float().train().cuda()
        found = []
        for _ in range(3):
            model.zero_grad()
            torch.manual_seed(1)
            sums = _step(model, torch.bfloat16, _data().to("cuda"), torch.tensor(7.0, device="cuda"))
            found.append([sums.cpu(), *_gradients(model)])
        assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))
    finally:
        set_arithmetic(torch.device("cuda"), deterministic=False, tf32=False)


def test_an_update_that_is_not_finite_leaves_the_weights(tmp_path: Path) -> None:
    """It is seen later; until then nothing may have been applied."""
    from s2s.training.checkpoint import RunDirectory
    from s2s.training.step import Updater

    model = make(models()["lstm-fixed-bi-1"]).float().cuda()
    with torch.no_grad():
        model.get_parameter("output_bias")[4] = torch.inf
    before = [p.detach().clone() for p in model.parameters()]
    cuda = torch.device("cuda")
    updater = Updater(model, RunDirectory(tmp_path), TRAINING, OPTIM, 1, cuda)
    updater.update(1, 0, range(1), {0: _data().pinned()}, stop=False)
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    with pytest.raises(Exception, match="not finite at update 1"):
        updater.flush_metrics({})


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (3, 2, 5, 7), (2, 3, 17, 130), (4, 5, 40, 256)])
@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_fused_scores(sizes: tuple[int, ...], compute: torch.dtype) -> None:
    """Those of torch's functions, and their gradients, for sizes that fill no block, one, and several."""
    steps, sentences, positions, width = sizes
    torch.manual_seed(1)
    v, des = torch.randn(width, device="cuda"), torch.randn(steps, sentences, positions, device="cuda")
    keys, queries = (torch.randn(n, sentences, width, device="cuda", dtype=compute) for n in (positions, steps))
    module, results = triton_module("triton_scores", v), []
    if module is None:
        pytest.skip("Triton does not run here")
    for scores in (module.FusedScores, StoredScores):
        forward, backward = scores(v, compute), scores(v, compute)
        backward.begin_backward(*forward.begin_forward(keys.transpose(0, 1), steps))
        found = torch.stack([forward.forward(t, queries[t]) for t in range(steps)])
        dqueries = torch.stack(
            [backward.backward(t, des[t], queries.new_empty(queries.shape[1:])) for t in range(steps)]
        )
        results.append((found, dqueries.float(), *(d.float() for d in backward.gradients(des))))
    for one, other in zip(*results, strict=True):
        assert (one - other).norm() <= (2e-2 if compute is torch.bfloat16 else 1e-5) * other.norm()


@pytest.mark.parametrize("classes", [1, 5, 2048, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_softmax(classes: int, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    logits, weights = 9 * torch.randn(7, classes, device="cuda"), torch.rand(7, device="cuda")
    logits, log_sums = logits.to(dtype), torch.empty(7, device="cuda")
    module = triton_module("triton_softmax", logits)
    if module is None:
        pytest.skip("Triton does not run here")
    expected = logits.float().softmax(dim=1) * weights.unsqueeze(1), logits.float().logsumexp(dim=1)
    found = module.softmax_(logits, log_sums, weights)
    torch.testing.assert_close(found, expected[0].to(dtype), rtol=1e-5 if dtype is torch.float32 else 1e-2, atol=1e-6)
    torch.testing.assert_close(log_sums, expected[1])
