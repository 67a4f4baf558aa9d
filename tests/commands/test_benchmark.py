"""`scripts/benchmark.py` at its smallest sizes: its tables and files.

The slow tests start processes, one per model, task and length.
"""

from __future__ import annotations

import importlib
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from s2s.benchmark import data_pipeline, gpu, scaling, toolkits
from s2s.benchmark.peers.worker import read_batches
from tests.commands.conftest import Done

Measure = Callable[..., tuple[dict[str, Any], Done]]
SIZES = ("embedding", "encoder", "decoder", "attention")
TINY = ["cells.batch=[3]", "cells.time=[4]", "cells.hidden=[8]", "cells.directions=[2]", "repetitions=1", "device=cpu"]


class InProcessProgram:
    """`Program` within this process, without a memory limit; a pass counts as 10 ms per token of a sentence."""

    def __init__(self, name: str, python: str, spec: Mapping[str, Any], folder: Path, batches: Path) -> None:
        peer = importlib.import_module(f"s2s.benchmark.peers.with_{name}")
        spec = json.loads(json.dumps({**spec, "memory": None}))
        arrays = read_batches(str(batches))
        self._pass, self.facts = getattr(peer, spec["task"])(spec, arrays)
        self._peer = peer
        self._seconds = 0.01 * sum(batch["source"].shape[1] for batch in arrays)

    def run(self) -> float:
        self._pass()
        return self._seconds

    def memory(self) -> float:
        self._pass()
        return 1.0

    def operations(self) -> int:
        return int(self._peer.operations(self._pass))

    def profile(self) -> list[dict[str, Any]]:
        return list(self._peer.profile(self._pass))

    def close(self) -> None:
        pass


class InProcessPool:
    """`ProcessPoolExecutor` without a process."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __enter__(self) -> InProcessPool:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, function: Callable[..., object], *arguments: object) -> Future[object]:
        future: Future[object] = Future()
        future.set_result(function(*pickle.loads(pickle.dumps(arguments))))
        return future


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the measured work within this process."""
    for module in (toolkits, scaling, gpu):
        monkeypatch.setattr(module, "Program", InProcessProgram)
    for module in (data_pipeline, gpu):
        monkeypatch.setattr(module, "ProcessPoolExecutor", InProcessPool)


@pytest.fixture(params=["in_process", pytest.param("processes", marks=pytest.mark.slow)])
def where(request: pytest.FixtureRequest) -> str:
    """Runs the measured work within this process, and in separate processes."""
    if request.param == "in_process":
        request.getfixturevalue("in_process")
    return str(request.param)


@pytest.fixture
def measure(inside: Callable[..., Done], tmp_path: Path) -> Measure:
    """Runs the command; returns the content of its file and its output."""

    def run(*arguments: str) -> tuple[dict[str, Any], Done]:
        done = inside("benchmark", *arguments, "output=out.json", cwd=tmp_path)
        assert done.code == 0, done.stderr
        return json.loads((tmp_path / "out.json").read_text()), done

    return run


def test_cells(measure: Measure) -> None:
    content, done = measure(*TINY)
    assert content["machine"]["torch"]
    assert content["config"]["cells"]["hidden"] == [8]
    assert [row["precision"] for row in content["rows"]] == ["fp32", "bf16"]
    both = ["rnn loop", "rnn bptt", "rnn torch", "lstm loop", "lstm bptt", "lstm torch", "gru loop", "gru bptt"]
    both += ["gru-after loop", "gru-after bptt", "gru-after torch", "mgu loop", "mgu bptt", "sru loop", "sru bptt"]
    both += [f"{cell} {backend}" for cell in ("ssru", "mingru", "minlstm") for backend in ("loop", "bptt", "scan")]
    for row in content["rows"]:
        assert list(row["seconds"]) == [*both, *(f"torch.nn.{name}" for name in ("LSTM", "GRU", "LSTMCell", "GRUCell"))]
        assert all(seconds > 0 for seconds in row["seconds"].values())
    assert all(f"\n  {name} " in done.stdout for name in both)
    assert "B=3 T=4 H=8 bf16 two directions" in done.stdout


TOOLKITS = [
    *("data.train_pairs=200", "data.test_pairs=12", "data.longest=24", "data.tokenizer.vocab_size=300"),
    *("repetitions=1", "device=cpu", "training.batch_tokens=400", "train.batches=2"),
    *("decode.sentences=3", "decode.batch=2", "decode.beam=2"),
    *(f"{task}.precision=[fp32]" for task in ("train", "decode")),
    *(f"{task}.models.lstm.{size}=8" for task in ("train", "decode") for size in SIZES),
    *(f"{task}.models.transformer.{size}=8" for task in ("train", "decode") for size in ("size", "feedforward")),
    *(f"{task}.models.transformer.layers=1" for task in ("train", "decode")),
    *(f"~{task}.models.{name}" for task in ("train", "decode") for name in ("lstm-parallel", "transformer-512")),
]


@pytest.mark.slow
@pytest.mark.usefixtures("where")
def test_training_beside_plain_torch(measure: Measure) -> None:
    content, done = measure("task=train", "peer=torch", *TOOLKITS)
    rows = content["rows"]
    expected = [(model, program) for model in ("lstm", "transformer") for program in ("s2s", "torch")]
    assert [(row["model"], row["program"]) for row in rows] == expected
    for row in rows:
        assert row["tokens_per_s"] > 0
        assert row["product_gflops"] > 0
    # The two implementations are the same model except for biases and bridges.
    for ours, plain in (rows[:2], rows[2:]):
        assert 0.9 < ours["parameters"] / plain["parameters"] < 1.1
    assert "speedup of s2s" in done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_decoding_to_the_same_length(measure: Measure) -> None:
    content, _ = measure("task=decode", *TOOLKITS, "decode.precision=[int8,bf16]")
    rows = content["rows"]
    assert [(row["model"], row["program"], row["precision"]) for row in rows] == [
        (model, "s2s", precision) for model in ("lstm", "transformer") for precision in ("bf16", "int8")
    ]
    assert rows[0]["parameters"] == rows[1]["parameters"]
    for bf16, int8 in (rows[:2], rows[2:]):
        # Each of 2 hypotheses of each token goes at least through the output layer, (vocabulary, 8).
        steps = 2 * bf16["tokens_per_s"] * bf16["seconds"]
        assert 2 * steps * 8 * 250 < bf16["operations"] < 100 * steps * 8 * 250
        assert bf16["share"] == pytest.approx(bf16["operations"] / bf16["seconds"] / bf16["product_gflops"] / 1e9)
        assert int8["share"] == pytest.approx(bf16["operations"] / int8["seconds"] / int8["product_gflops"] / 1e9)


@pytest.mark.usefixtures("in_process")
def test_from_text_to_batches(measure: Measure) -> None:
    overrides = ["task=data", "loading.pairs=[40,200]", "loading.batches=5", "data.tokenizer.vocab_size=300"]
    content, done = measure(*overrides, "data.longest=24", "repetitions=1")
    rows = content["rows"]
    expected = [(pairs, cache) for pairs in (40, 200) for cache in ("empty", "full")]
    assert [(row["pairs"], row["cache"]) for row in rows] == expected
    for row in rows:
        assert row["seconds"] == pytest.approx(sum(row[step] for step in ("text", "tokenizer", "ids", "first_batch")))
        assert row["target_tokens"] > 5 * row["pairs"]
        assert row["tokens_per_s"] > row["batches_per_s"] > 0
    # The batches are the same with an empty and with a full cache.
    assert [row["target_tokens"] for row in rows[::2]] == [row["target_tokens"] for row in rows[1::2]]
    assert [line.split()[:2] for line in done.stdout.splitlines()[2:]] == [[str(n), cache] for n, cache in expected]


SCALING = [
    *("task=scaling", "repetitions=2", "device=cpu", "scaling.vocabulary=120", "scaling.precision=fp32"),
    *("scaling.length=[4,16]", "scaling.batch=[3,1]", "scaling.batch_tokens=20", "scaling.beam=2"),
    "~scaling.models.lstm_attention",
    *(f"scaling.models.rnn.{size}=8" for size in SIZES[:-1]),
    *(f"scaling.models.transformer.{size}=8" for size in ("size", "feedforward")),
]


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_cost_by_length(measure: Measure, tmp_path: Path) -> None:
    content, done = measure(*SCALING)
    rows = content["rows"]
    models = {"rnn": "fixed", "transformer": "self-attention"}
    assert {row["model"]: row["family"] for row in rows} == models
    settings = [(1, 4), (1, 16), (3, 4)]  # three sentences of 16 tokens are more than batch_tokens
    keys = [(row["batch"], row["length"], row["model"], row["task"]) for row in rows]
    assert keys == [(*size, model, task) for size in settings for model in models for task in ("train", "decode")]
    by_key = dict(zip(keys, rows, strict=True))
    for (batch, length, model, task), row in by_key.items():
        assert row["missing"] is None
        # Seconds of one of the batches of a pass; each sentence ends with </s>.
        assert row["seconds"] == pytest.approx(0.01 * (length + 1))
        assert row["memory"] > 0
        assert row["parameters"] == by_key[batch, length, model, "train"]["parameters"]
        assert row["tokens_per_s"] == pytest.approx(batch * length / row["seconds"])
        assert row["seconds_per_step"] == pytest.approx(row["seconds"] / length)
        if length == 16:
            before = by_key[batch, 4, model, task]["seconds"]
            assert before * 4 ** row["exponent"] == pytest.approx(row["seconds"])
        else:
            assert row["exponent"] is None
    assert len({row["parameters"] for row in rows}) == 2
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["tokens", "4", "16"]
    at = lines.index(next(line for line in lines if line.startswith("decoding, batch of 3: tokens/s")))
    assert [line.split()[0] for line in lines[at + 1 : at + 3]] == list(models)
    rate = by_key[3, 4, "rnn", "decode"]["tokens_per_s"]
    assert lines[at + 1].split()[1:] == [f"{rate:,.0f}"]  # empty where nothing was measured
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert "transformer" in (tmp_path / "out.svg").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_setting_out_of_memory_is_a_gap(measure: Measure) -> None:
    sizes = ["~scaling.models.rnn", "scaling.batch=[1,6000]", "scaling.length=[8]", "scaling.batch_tokens=48000"]
    content, done = measure(*SCALING, *sizes, "scaling.models.transformer.feedforward=4000", "scaling.memory=400")
    small, large = ([row for row in content["rows"] if row["batch"] == batch] for batch in (1, 6000))
    assert all(row["seconds"] > 0 and row["memory"] < 400 for row in small)
    minimum = 4 * 4 * small[0]["parameters"] / 2**20  # weights, gradient and Adam's two moments, in fp32
    assert small[0]["memory"] > max(minimum, small[1]["memory"])  # decoding needs only the weights
    train = large[0]
    assert [train[key] for key in ("seconds", "memory", "exponent")] == [None, None, None]
    assert train["missing"] == "needs more than 400 MiB"
    warning = "warning: transformer, training update, 6000 × 8 tokens: not measured, it needs more than 400 MiB"
    assert [line for line in done.stderr.splitlines() if "transformer, training update" in line] == [warning]
    assert "n/a" in done.stdout


ONE_SIZE = [*SCALING, "scaling.length=[4]", "scaling.batch=[1]", "output=scaling.json"]
TRAIN = [*TOOLKITS, "task=train"]
SMALL_MEMORY = [*ONE_SIZE, "scaling.memory=1", "~scaling.models.rnn"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*ONE_SIZE, "scaling.batch_tokens=3"], "nothing to measure"),
        ([*ONE_SIZE, "scaling.models.transformer.heads=3"], "scaling.models.transformer cannot be built"),
        ([*ONE_SIZE, "scaling.models.rnn.cell=rnnn"], "scaling.models.rnn cannot be built: model.encoder.cell"),
        ([*ONE_SIZE, "scaling.vocabulary=4"], "scaling.vocabulary=4 must be at least 100"),
        pytest.param(SMALL_MEMORY, "nothing could be measured: needs more than 1 MiB", marks=pytest.mark.slow),
        ([*ONE_SIZE, "output=scaling.svg"], "output=scaling.svg must be a JSON file"),
        ([*ONE_SIZE, "peer=torch"], "peer=torch does not do task=scaling"),
        ([*TRAIN, "peer=fairseq"], "peer=fairseq is unknown; known: torch, joeynmt"),
        (
            [*TOOLKITS, "task=train", "peer=ctranslate2"],
            "peer=ctranslate2 does not do task=train; these do: torch, joey",
        ),
        ([*TOOLKITS, "task=cells", "peer=torch"], "peer=torch does not do task=cells; these do: none"),
        (["task=speed", "cells.batch=[0]"], "task"),
        (
            ["task=decode", "data=grammar_text", "device=cpu"],
            "data grammar_text is text of one language, without test sets: task=decode",
        ),
    ],
)
def test_bad_input_is_one_line(inside: Callable[..., Done], tmp_path: Path, arguments: list[str], words: str) -> None:
    done = inside("benchmark", *arguments, cwd=tmp_path)
    assert done.code == 2
    assert len(done.errors) == 1, done.stderr
    assert words in done.errors[0]
    assert not list(tmp_path.glob("scaling.*"))


GPU_DATA = ["data.train_pairs=200", "data.validation_pairs=6", "data.test_pairs=12", "data.longest=18"]
GPU_DATA += ["data.tokenizer.vocab_size=300", "training.batch_tokens=400"]
GPU = [
    *(
        "device=cpu",
        "repetitions=1",
        "task=gpu",
        "gpu.models=[gru]",
        "gpu.lines=2",
        "gpu.tests=false",
        "gpu.precision=fp32",
    ),
    *("gpu.vocabulary=50", "gpu.longest=8", "gpu.batch_tokens=[64]", "gpu.batches=2", "gpu.matmul=32"),
    f"gpu.small={json.dumps([*GPU_DATA, 'training.max_steps=4', 'training.validate_every=4'])}",
    *("gpu.cells.batch=[3]", "gpu.cells.time=[4]", "gpu.cells.hidden=[8]"),
    "gpu.deterministic=[gru]",
    *("gpu.decode_batch=[2]", "gpu.decode_batches=1", "gpu.beam=[2]"),
    *(f"gpu.shapes.lstm_feeding.{size}=8" for size in SIZES),
    *(f"gpu.shapes.transformer_base.{size}" for size in ("size=8", "layers=1", "heads=2", "feedforward=8")),
    "~gpu.shapes.lstm_parallel",
    f"gpu.compare={json.dumps([*GPU_DATA, 'models=[lstm]', 'training.max_steps=4', 'evaluation.bootstrap=20'])}",
]


def _gpu_rows(folder: Path, parts: Sequence[str]) -> dict[str, Any]:
    """The rows of parts that came to their end."""
    files = {part: json.loads((folder / "gpu" / f"{part}.json").read_text()) for part in parts}
    assert {part: content["ended_early"] for part, content in files.items()} == dict.fromkeys(parts)
    assert all(content["machine"]["torch"] for content in files.values())
    return {part: content["rows"] for part, content in files.items()}


@pytest.mark.slow
def test_gpu_parts_that_run_scripts(root: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """At a toy size on a CPU; an unknown model ends no part."""
    parts = ("models", "compare", "deterministic")
    command = [sys.executable, str(root / "scripts" / "benchmark.py"), *GPU, "gpu.models=[gru,nosuch]", "output=gpu"]
    command.append(f"gpu.parts=[{','.join(parts)}]")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "device=cpu is no GPU" in done.stderr
    rows = _gpu_rows(tmp_path, parts)
    codes = {(row["model"], row["cuda_graphs"]): row["code"] for row in rows["models"]}
    assert codes == {("gru", False): 0, ("nosuch", False): 2}
    assert all(row["translate_code"] == 0 for row in rows["models"] if not row["code"])
    assert all("nosuch" in row["said"] for row in rows["models"] if row["code"])
    assert rows["compare"][0]["code"] == 0
    assert 0 < rows["compare"][0]["first_page_seconds"] < rows["compare"][0]["seconds"]
    assert all(row["repeated_equal"] and row["resumed_equal"] for row in rows["deterministic"])
    assert all(f"\n{part} " in done.stdout for part in parts)


@pytest.mark.slow
@pytest.mark.usefixtures("in_process")
def test_gpu_parts_that_run_programs(inside: Callable[..., Done], tmp_path: Path) -> None:
    parts = ("train", "cells", "decode")
    done = inside("benchmark", *GPU, f"gpu.parts=[{','.join(parts)}]", "output=gpu", cwd=tmp_path)
    assert done.code == 0, done.stderr
    rows = _gpu_rows(tmp_path, parts)
    trained = {(row["model"], row["program"]): row for row in rows["train"][1:]}
    assert set(trained) == {(m, p) for m in ("lstm_feeding", "transformer_base") for p in ("s2s steps", "torch")}
    assert all(row["share"] > 0 and row["tokens_per_s"] > 0 for row in trained.values())
    profiles = {key: row["profile"] for key, row in trained.items() if "profile" in row}
    assert set(profiles) == {key for key in trained if key[1] == "s2s steps"}
    assert all(operation["ms"] > 0 and operation["calls"] > 0 for row in profiles.values() for operation in row)
    assert all(any(operation["name"].startswith("aten::") for operation in row) for row in profiles.values())
    assert {"lstm bptt packed", "lstm bptt padded", "lstm torch padded"} < set(rows["cells"][0]["seconds"])
    assert all(row["sentences_per_s"] > 0 for row in rows["decode"])
    assert all(f"\n{part} " in done.stdout for part in parts)


def test_gpu_goes_on_after_a_part_that_fails(
    inside: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(bench: object) -> Iterator[dict[str, Any]]:
        yield {"model": "first"}
        raise RuntimeError("CUDA error: an illegal memory access\nmore")

    monkeypatch.setattr(gpu, "PARTS", {"train": failing, "decode": lambda bench: iter([{"model": "second"}])})
    done = inside("benchmark", *GPU, "gpu.parts=[train,decode]", "output=gpu", cwd=tmp_path)
    assert done.code == 0, done.stderr
    train, decode = (json.loads((tmp_path / "gpu" / f"{part}.json").read_text()) for part in ("train", "decode"))
    assert train["rows"] == [{"model": "first"}]
    assert train["ended_early"] == "RuntimeError: CUDA error: an illegal memory access"
    assert (decode["rows"], decode["ended_early"]) == ([{"model": "second"}], None)
    assert "part train ended early: RuntimeError: CUDA error" in done.stderr
