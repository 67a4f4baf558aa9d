from __future__ import annotations

import builtins
import errno
import json
import logging
import math
from pathlib import Path

import pytest

from s2s.errors import S2SError
from s2s.training.callbacks import Callback, Metrics, MetricsFile, Progress, TensorBoard
from tests.training.toy import At, events, make_trainer

LINE: Metrics = {"event": "train", "step": 1, "epoch": 1, "loss": 2.0, "ppl": 7.4, "tokens_per_s": 1234.5}


class Recorder(Callback):
    def __init__(self) -> None:
        self.calls: list[object] = []

    def on_start(self, step: int, total: int | None) -> None:
        self.calls.append(("start", step, total))

    def on_step(self, step: int) -> None:
        self.calls.append(step)

    def on_log(self, metrics: Metrics) -> None:
        self.calls.append("log")

    def on_validation(self, metrics: Metrics) -> None:
        self.calls.append(metrics["event"])

    def on_end(self) -> None:
        self.calls.append("end")


def test_callbacks_are_called_in_order(tmp_path: Path) -> None:
    recorder = Recorder()
    make_trainer(tmp_path, callbacks=[recorder], max_steps=4, validate_every=2, average="last").fit()
    assert recorder.calls == [("start", 0, 4), 1, 2, "log", "valid", 3, 4, "log", "valid", "average", "end"]


def test_every_log_line_has_the_peak_memory_so_far(tmp_path: Path) -> None:
    make_trainer(tmp_path, max_steps=6, log_every=2).fit()
    peaks = [line["memory"] for line in events(tmp_path, times=True) if line["event"] == "train"]
    assert len(peaks) == 3
    assert peaks[0] > 20  # MiB: Python and torch alone take more
    assert peaks == sorted(peaks)


@pytest.mark.parametrize(("limits", "total"), [((12, None), 12), ((None, 3), 9), ((12, 3), 9), ((7, 3), 7)])
def test_the_number_of_updates_is_estimated_from_epochs(
    tmp_path: Path, limits: tuple[int | None, int | None], total: int
) -> None:
    steps, epochs = limits
    first, second = Recorder(), Recorder()
    with pytest.raises(ZeroDivisionError):
        make_trainer(tmp_path, max_steps=5, save_every=1, callbacks=[first, At(4, lambda: 1 / 0)]).fit()
    assert first.calls[-1] == "end"  # called even after a failure
    result = make_trainer(tmp_path, max_steps=steps, max_epochs=epochs, callbacks=[second]).fit()
    assert second.calls[0] == ("start", 3, total)
    assert result.steps == total


def test_metrics_file_truncates_and_appends_whole_lines(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for step in range(3):
        file.on_log({**LINE, "step": step, "ppl": math.inf})
    with file.path.open("ab") as raw:
        raw.write(b'{"half')
    again = MetricsFile(file.path)
    again.truncate(2)
    again.on_validation({"event": "valid", "step": 9})
    assert [line["step"] for line in events(tmp_path)] == [0, 1, 9]
    assert again.lines == 3
    assert json.loads(file.path.read_text().splitlines()[0])["ppl"] is None  # strict JSON has no Infinity


def test_a_line_that_does_not_fit_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.on_log(LINE)
    before = file.path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(S2SError, match=r"cannot write .*metrics\.jsonl: No space left"):
        file.on_log(LINE)
    assert file.path.read_bytes() == before


def test_progress_without_a_terminal_is_plain_lines_at_intervals(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress = Progress(interval=3600, terminal=False)
    progress.on_start(0, 10)
    for step in (1, 2, 3):
        progress.on_step(step)
        progress.on_log({**LINE, "step": step})
    progress.on_end()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("update 1/10, epoch 1: loss 2.000, ppl 7.40, 1,234 tokens/s, ")
    assert line.endswith("left")


def test_the_time_left_follows_from_the_updates_since_the_start(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    progress = Progress(terminal=False)
    progress.on_start(90, 115)  # a run that is resumed
    now += 60
    progress.on_log({**LINE, "step": 100})
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith(", 01:30 left")


def test_progress_on_a_terminal_is_a_bar_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(terminal=True)
    progress.on_start(5, 10)
    progress.on_log(LINE)
    for step in range(6, 11):
        progress.on_step(step)
    progress.on_end()
    progress.on_end()  # nothing is left open
    out, err = capsys.readouterr()
    assert out == ""
    assert "10/10" in err
    assert "loss 2.000, ppl 7.40" in err


def test_tensorboard_writes_events_and_hides_those_of_a_killed_run(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def scalars() -> dict[str, list[int]]:
        read = accumulator.EventAccumulator(str(tmp_path / "board"))
        read.Reload()
        return {tag: [event.step for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}

    callbacks = [TensorBoard(tmp_path / "board"), At(9, lambda: 1 / 0)]
    with pytest.raises(ZeroDivisionError):
        make_trainer(tmp_path / "run", callbacks=callbacks, save_every=5, log_every=1).fit()
    assert scalars()["train/loss"] == list(range(1, 9))
    make_trainer(tmp_path / "run", callbacks=[TensorBoard(tmp_path / "board")], log_every=1).fit()
    tags = scalars()
    assert tags["train/loss"] == list(range(1, 13))
    assert tags["valid/valid_loss"] == [4, 8, 12]
    assert "valid/best" not in tags


def test_without_tensorboard_the_error_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: object, **kwargs: object) -> object:
        if name.startswith(("torch.utils.tensorboard", "tensorboard")):
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(S2SError, match=r"pip install 's2s\[tensorboard\]'"):
        TensorBoard(tmp_path)
