from __future__ import annotations

import dataclasses
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from s2s.data.batching import Batch, collate
from s2s.errors import S2SError
from s2s.models.interface import LossSums, Seq2Seq
from s2s.training.checkpoint import RunDirectory
from s2s.training.interrupt import Interrupted
from s2s.training.step import Updater
from tests.training.toy import OPTIM, TRAINING, At, ToyData, ToyModel, assert_same_run, events, make_trainer, validate


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Python's own handlers, whatever the tests were started under."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def updater(path: Path, model: Seq2Seq, seed: int = 3) -> Updater:
    config = dataclasses.replace(OPTIM, clip_norm=None)
    return Updater(model, RunDirectory(path), TRAINING, config, seed, torch.device("cpu"))


def test_accumulated_gradients_are_those_of_one_large_batch(tmp_path: Path) -> None:
    small = {p: ToyData().batch(0, p) for p in range(4)}
    ids = [row[mask][:-1].tolist() for b in small.values() for row, mask in zip(b.target, b.target_mask, strict=True)]
    whole = collate(ids, ids, range(len(ids)))
    models = [ToyModel(dropout=0.0).double() for _ in range(2)]
    for model, batches in zip(models, [small, {0: whole}], strict=True):
        tokens, _ = updater(tmp_path, model.train()).update(1, 0, range(len(batches)), batches, False)
        assert tokens == sum(batch.tokens for batch in small.values())
    reference = ToyModel(dropout=0.0).double()
    sums = reference(whole, TRAINING.label_smoothing)
    (sums.loss / sums.tokens).backward()
    for a, b, c in zip(models[0].parameters(), models[1].parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(a.grad, c.grad, rtol=1e-12, atol=1e-14)


def test_dropout_follows_from_seed_epoch_and_position(tmp_path: Path) -> None:
    def gradient(seed: int, epoch: int, position: int) -> torch.Tensor:
        model = ToyModel(dropout=0.5).train()
        batches = {position: ToyData().batch(0, 0)}
        updater(tmp_path, model, seed).update(1, epoch, range(position, position + 1), batches, False)
        assert model.hidden.weight.grad is not None
        return model.hidden.weight.grad

    first, *others = (gradient(*key) for key in [(3, 0, 0), (4, 0, 0), (3, 1, 0), (3, 0, 1)])
    assert torch.equal(first, gradient(3, 0, 0))
    assert not any(torch.equal(first, other) for other in others)


def test_logged_numbers_are_means_over_tokens_since_the_previous_line(tmp_path: Path) -> None:
    recorded: list[tuple[float, float, int]] = []

    class Recording(ToyModel):
        def forward(self, batch: Batch, label_smoothing: float = 0.0) -> LossSums:
            sums = super().forward(batch, label_smoothing)
            if self.training:
                recorded.append((sums.loss.item(), sums.nll.item(), int(sums.tokens)))
            return sums

    make_trainer(tmp_path, model=Recording(), max_steps=5, log_every=2).fit()
    lines = [line for line in events(tmp_path, times=True) if line["event"] == "train"]
    assert [line["step"] for line in lines] == [2, 4, 5]  # the rest is logged at the end
    # Epochs of 5 micro-batches, 2 for each update: updates take 2, 2, 1, 2, 2 of them.
    assert [line["epoch"] for line in lines] == [1, 2, 2]
    for line, (start, stop) in zip(lines, [(0, 4), (4, 7), (7, 9)], strict=True):
        loss, nll, tokens = (sum(s[i] for s in recorded[start:stop]) for i in range(3))
        assert line["loss"] == pytest.approx(loss / tokens)
        assert line["nll"] == pytest.approx(nll / tokens)
        assert line["ppl"] == pytest.approx(math.exp(nll / tokens))
        assert line["tokens"] == sum(s[2] for s in recorded[:stop])
        assert line["lr"] == OPTIM.lr
        assert line["grad_norm"] > 0
        assert line["tokens_per_s"] > 0
    assert lines[0]["seconds"] < lines[1]["seconds"] < lines[2]["seconds"]


def test_a_log_line_has_the_waiting_time_of_all_its_updates(tmp_path: Path) -> None:
    class Slow(ToyData):
        def batch(self, epoch: int, position: int) -> Batch:
            time.sleep(0.02)
            return super().batch(epoch, position)

    result = make_trainer(tmp_path, data=Slow(), max_steps=4, log_every=4).fit()
    line = events(tmp_path, times=True)[0]
    assert line["waiting"] * line["seconds"] == pytest.approx(result.waiting * result.train_seconds)


def test_the_toy_is_learned_and_the_best_weights_are_kept(tmp_path: Path) -> None:
    model = ToyModel(dropout=0.0)
    result = make_trainer(tmp_path, model=model, max_steps=150, validate_every=15, metric="bleu", lr=0.05).fit()
    scores = {e["step"]: e["valid_bleu"] for e in events(tmp_path) if e["event"] == "valid"}
    assert list(scores) == list(range(15, 151, 15))
    assert scores[150] > 1.4 * scores[15]
    assert result.best_score == max(scores.values())
    assert result.from_steps == [max(scores, key=lambda step: scores[step])]
    assert result.stopped_by == "max_steps"
    other = ToyModel()
    RunDirectory(tmp_path).load_weights(other)
    assert validate(other.eval())["valid_bleu"] == result.best_score
    assert validate(model)["valid_bleu"] == result.best_score  # fit leaves them in the model, too


def test_epochs_end_training_and_bf16_runs(tmp_path: Path) -> None:
    result = make_trainer(tmp_path, max_steps=None, max_epochs=2, precision="bf16").fit()
    assert (result.steps, result.stopped_by) == (6, "max_epochs")  # 5 micro-batches, 2 for each update: 3 updates
    assert result.tokens == sum(ToyData().batch(epoch, p).tokens for epoch in range(2) for p in range(5))
    assert events(tmp_path)[-1]["step"] == 6  # validated at the end


def scripted(*losses: float) -> object:
    values = iter(losses)
    return lambda model: {"valid_loss": next(values)}


def test_early_stopping_counts_validations_without_improvement(tmp_path: Path) -> None:
    losses = scripted(5, 4, 4, 4.5, 3, 3.5, 3.5, 3.5, 1)
    result = make_trainer(tmp_path, validate=losses, validate_every=1, patience=3, max_steps=50).fit()
    assert (result.steps, result.stopped_by, result.best_score, result.from_steps) == (8, "patience", 3, [5])
    best = [e["best"] for e in events(tmp_path) if e["event"] == "valid"]
    assert best == [True, True, False, False, True, False, False, False]
    again = make_trainer(tmp_path, patience=3, max_steps=60).fit()
    assert again.already_finished
    assert again.best_score == 3
    again = make_trainer(tmp_path, validate=scripted(1, 2, 2, 2), validate_every=1, patience=4, max_steps=9).fit()
    assert again.steps == 9


def test_the_plateau_schedule_observes_validations(tmp_path: Path) -> None:
    losses = scripted(5, 6, 6, 6)
    schedule = {"type": "plateau", "factor": 0.1, "patience": 0}
    make_trainer(tmp_path, validate=losses, validate_every=1, max_steps=4, log_every=1, schedule=schedule).fit()
    rates = [e["lr"] for e in events(tmp_path) if e["event"] == "train"]
    assert rates == pytest.approx([0.02, 0.02, 0.002, 0.0002])


@pytest.mark.parametrize(
    ("average", "losses", "members", "kept"),
    [
        ("last", (5, 4, 3, 2), [3, 4], {3, 4}),
        ("last", (1, 4, 3, 2), [3, 4], {1, 3, 4}),  # the best one is kept beside the last ones
        ("best", (2, 4, 3, 5), [1, 3], {1, 3}),
    ],
)
def test_averaging(tmp_path: Path, average: str, losses: tuple[float, ...], members: list[int], kept: set[int]) -> None:
    model, scores = ToyModel(), scripted(*losses, 0.5)
    result = make_trainer(tmp_path, model=model, validate=scores, validate_every=1, max_steps=4, average=average).fit()
    files = {int(p.stem.split("-")[1]): p for p in (tmp_path / "training").glob("weights-*")}
    assert set(files) == kept
    assert result.from_steps == members
    assert result.best_score == 0.5
    exported = load_file(tmp_path / "model.safetensors")
    for name, tensor in exported.items():
        stack = np.stack([load_file(files[step])[name] for step in members])
        expected = stack[0] if name == "seen" else stack.astype(np.float64).mean(0).astype(np.float32)
        np.testing.assert_array_equal(tensor, expected)
    assert np.array_equal(model.hidden.weight.detach().numpy(), exported["hidden.weight"])
    line = events(tmp_path)[-1]
    assert (line["event"], line["steps"], line["best"], line["valid_loss"]) == ("average", members, True, 0.5)


def test_a_worse_average_is_not_exported_and_more_steps_continue_from_the_last_weights(tmp_path: Path) -> None:
    options = {"validate_every": 1, "average": "last"}
    result = make_trainer(tmp_path, validate=scripted(5, 4, 3, 3.5), max_steps=3, **options).fit()
    assert result.from_steps == [3]
    assert result.best_score == 3
    assert events(tmp_path)[-1]["best"] is False
    # The average at step 3 does not influence the weights at step 6.
    make_trainer(tmp_path, validate=scripted(2, 2, 2, 9), max_steps=6, **options).fit()
    make_trainer(tmp_path / "whole", validate=scripted(5, 4, 3, 2, 2, 2, 9), max_steps=6, **options).fit()
    first, second = (load_file(p / "training" / "weights-00000006.safetensors") for p in (tmp_path, tmp_path / "whole"))
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, second[name])


def test_an_average_as_good_as_the_best_checkpoint_is_the_result(tmp_path: Path) -> None:
    result = make_trainer(tmp_path, validate=scripted(4, 3, 3), validate_every=1, max_steps=2, average="last").fit()
    assert result.from_steps == [1, 2]
    assert events(tmp_path)[-1]["best"] is True


def test_raised_limits_continue_a_finished_average_from_its_last_step(tmp_path: Path) -> None:
    options = {"validate_every": 2, "average": "last"}
    assert make_trainer(tmp_path, validate=scripted(5, 4, 1), max_steps=4, **options).fit().from_steps == [2, 4]
    # The best single checkpoint (4) is the result again when nothing later is better.
    result = make_trainer(tmp_path, validate=scripted(7, 7, 7), max_steps=8, **options).fit()
    assert result.from_steps == [4]
    assert result.best_score == 4
    names = load_file(tmp_path / "model.safetensors")
    for name, tensor in load_file(tmp_path / "training" / "weights-00000004.safetensors").items():
        np.testing.assert_array_equal(tensor, names[name])


class Breaking(ToyModel):
    """A model whose loss is NaN in training update 7, with two micro-batches per update of a long epoch."""

    def forward(self, batch: Batch, label_smoothing: float = 0.0) -> LossSums:
        sums = super().forward(batch, label_smoothing)
        if self.training and int(self.seen) == 13:
            return LossSums(sums.loss * math.nan, sums.nll, sums.tokens)
        return sums


@pytest.mark.parametrize("deferred", [False, True])  # as on a GPU: the update is skipped, and reported at the flush
def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(tmp_path: Path, deferred: bool) -> None:
    weights: list[torch.Tensor] = []
    breaking = Breaking()
    trainer = make_trainer(tmp_path, model=breaking, data=ToyData(batches=50), log_every=4)
    trainer.updater._deferred_check = deferred
    trainer._callbacks += [At(step, lambda: weights.append(breaking.hidden.weight.detach().clone())) for step in (6, 7)]
    with pytest.raises(
        S2SError, match=r"loss is not finite at update 7 \(epoch 1, micro-batches 13 to 14\).*optim\.lr"
    ):
        trainer.fit()
    if deferred:
        assert torch.equal(weights[0], weights[1])  # update 7 was not applied
    good = ToyModel()
    trainer = make_trainer(tmp_path, model=good, data=ToyData(batches=50))
    state = trainer.run.load_state(good, trainer.updater.optimizer)
    assert state is not None
    assert state.step == 6
    assert all(tensor.isfinite().all() for tensor in good.state_dict().values())
    assert torch.equal(good.hidden.weight, weights[0])
    assert all(math.isfinite(v) for e in events(tmp_path) for v in e.values() if isinstance(v, float))


def test_a_score_that_is_not_finite_stops_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(S2SError, match="valid_loss is not finite at update 4"):
        make_trainer(tmp_path, validate=scripted(math.nan)).fit()


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(S2SError, match="nothing to train on"):
        make_trainer(tmp_path, data=ToyData(batches=0)).fit()


def interrupt(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("step", [3, 5, 8])  # a step that saves, an ordinary one, one that validates
def test_a_signal_saves_and_the_same_command_resumes(tmp_path: Path, number: int, code: int, step: int) -> None:
    make_trainer(tmp_path / "whole").fit()
    handler = signal.getsignal(number)
    stopping = At(step, lambda: interrupt(number))
    with pytest.raises(Interrupted, match=f"stopped at update {step}; the same command resumes") as stopped:
        make_trainer(tmp_path / "cut", callbacks=[stopping]).fit()
    assert (stopped.value.step, stopped.value.exit_code) == (step, code)
    assert signal.getsignal(number) == handler
    make_trainer(tmp_path / "cut").fit()
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


def test_a_signal_cuts_validation_short(tmp_path: Path) -> None:
    make_trainer(tmp_path / "whole").fit()
    calls: list[int] = []

    def slow(model: Seq2Seq) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 2:
            interrupt(signal.SIGTERM)
            time.sleep(60)
        return validate(model)

    with pytest.raises(Interrupted):
        make_trainer(tmp_path / "cut", validate=slow).fit()
    make_trainer(tmp_path / "cut").fit()
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path) -> None:
    def twice() -> None:
        interrupt(signal.SIGINT)
        interrupt(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        make_trainer(tmp_path, callbacks=[At(2, twice)]).fit()
    assert make_trainer(tmp_path).fit().steps == 12


def test_training_outside_the_main_thread(tmp_path: Path) -> None:
    steps: list[int] = []
    thread = threading.Thread(target=lambda: steps.append(make_trainer(tmp_path).fit().steps))
    thread.start()
    thread.join()
    assert steps == [12]
