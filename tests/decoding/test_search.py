"""Search against brute force, against a plain beam search on Python lists, and against itself in other batches."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from s2s.data.tokenizer import BOS, EOS, PAD, UNK
from s2s.decoding.search import Hypothesis, beam_width, length_limit, search
from s2s.errors import S2SError
from s2s.models.interface import DecodeState
from tests.decoding.toy import CONFIG, SIZE, RecurrentModel, TableModel, padded, penalty, run


def brute_force(model, source, content, limit, alpha) -> list[tuple[float, list[int]]]:
    """Every translation with its score, the best first."""
    words = range(EOS + 1, EOS + 1 + content)
    every = [list(t) for n in range(limit + 1) for t in itertools.product(words, repeat=n)]
    scored = [(model.log_prob(source, tokens) / penalty(len(tokens) + 1, alpha), tokens) for tokens in every]
    return sorted(scored, key=lambda pair: -pair[0])


def plain_beam(model, source, width, n_best, alpha, limit) -> list[tuple[float, list[int]]]:
    """Beam search on lists, one sentence at a time, always up to the maximum length."""
    live, finished = [(0.0, [])], []
    for length in range(limit + 1):
        extensions = []
        for log_prob, tokens in live:
            following = model.log_probs(source, tokens).tolist()
            if length == limit:
                finished.append(((log_prob + following[EOS]) / penalty(length + 1, alpha), tokens))
            extensions += [(log_prob + following[t], tokens, t) for t in range(EOS, len(following))]
        if length == limit:
            break
        extensions.sort(key=lambda e: -e[0])  # stable: by hypothesis, then by token
        first = extensions[:width]
        finished += [(score / penalty(length + 1, alpha), tokens) for score, tokens, t in first if t == EOS]
        if len(first) == width and all(t == EOS for *_, t in first):
            break
        live = [(score, [*tokens, t]) for score, tokens, t in extensions if t != EOS][:width]
    return sorted(finished, key=lambda pair: -pair[0])[:n_best]


def assert_same(hypotheses: list[Hypothesis], expected: list[tuple[float, list[int]]]) -> None:
    assert [h.tokens for h in hypotheses] == [tokens for _, tokens in expected]
    assert [h.score for h in hypotheses] == pytest.approx([score for score, _ in expected], abs=1e-9)


sources_of = st.lists(st.lists(st.integers(EOS + 1, 50), min_size=1, max_size=6), min_size=1, max_size=8)
alphas = st.sampled_from([0.0, 0.6, 1.0, 2.0])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), alphas, st.integers(0, 10**6), st.integers(1, 20))
def test_a_wide_beam_finds_the_best_of_all(content, limit, alpha, seed, n_best):
    model, source = TableModel(content, seed), [7, 5]
    width = max(n_best, content**limit + content ** (limit - 1))
    config = dataclasses.replace(CONFIG, beam=width, n_best=n_best, length_penalty=alpha)
    every = brute_force(model, source, content, limit, alpha)
    (hypotheses,) = run(model, [source], config, [limit])
    assert len(hypotheses) == min(n_best, len(every))
    assert_same(hypotheses, every[:n_best])


@settings(max_examples=40, deadline=None)
@given(
    sources_of,
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 9),
    alphas,
    st.sampled_from([0.5, 2.0, 6.0]),
    st.integers(0, 10**6),
    st.data(),
)
def test_early_finish_and_batching_change_nothing(sources, width, n_best, content, alpha, spread, seed, data):
    model, n_best = TableModel(content, seed, spread=spread), min(n_best, width)
    limits = data.draw(st.lists(st.integers(1, 7), min_size=len(sources), max_size=len(sources)))
    config = dataclasses.replace(CONFIG, beam=width, n_best=n_best, length_penalty=alpha)
    for source, limit, hypotheses in zip(sources, limits, run(model, sources, config, limits), strict=True):
        assert_same(hypotheses, plain_beam(model, source, width, n_best, alpha, limit))


def test_a_long_translation_may_overtake_a_finished_one():
    """Stopping at once has probability 0.6; going on has 0.4, and is certain from there to the end."""

    class Certain:
        def start(self, src: Tensor, mask: Tensor) -> DecodeState:
            return DecodeState({"mask": mask}, {"length": torch.zeros(len(src))})

        def step(self, tokens: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
            length = state.rows["length"]
            stop = torch.where(length == 0, 0.6, torch.where(length < 30, 1e-9, 1 - 1e-9))
            logits = torch.full((len(length), 6), -60.0)
            logits[:, EOS], logits[:, 5] = stop.log(), (1 - stop).log()
            return logits, DecodeState(state.shared, {"length": length + 1})

    for alpha, limit, expected in [
        (0.0, 40, 0),
        (0.2, 40, 0),
        (0.5, 40, 30),
        (1.0, 40, 30),
        (1.0, 30, 30),
        (1.0, 9, 0),
    ]:
        config = dataclasses.replace(CONFIG, beam=2, length_penalty=alpha)
        assert len(run(Certain(), [[4]], config, [limit])[0][0].tokens) == expected


@settings(max_examples=20, deadline=None)
@given(sources_of, st.integers(2, 5), st.integers(1, 2), st.integers(0, 10**6))
def test_ties_do_not_depend_on_the_batch(sources, width, levels, seed):
    model = TableModel(12, seed, levels=levels)
    config = dataclasses.replace(CONFIG, beam=width, n_best=width, length_penalty=1.0)
    together = run(model, sources, config, [6] * len(sources))
    for source, hypotheses in zip(sources, together, strict=True):
        assert run(model, [source], config, [6]) == [hypotheses]
        assert run(model, [[5], source, [6, 7]], config, [6] * 3)[1] == hypotheses


def test_equal_candidates_go_by_hypothesis_then_by_token():
    model = TableModel(20, 0)
    model.table.zero_()
    config = dataclasses.replace(CONFIG, beam=3, n_best=3, length_penalty=0.0)
    # Step 1 ends [] and keeps [4] [5] [6]; step 2 looks at </s>, 4, 5 after [4] first, and so on.
    assert [h.tokens for h in run(model, [[4]], config, [2])[0]] == [[], [4], [4, 4]]


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0])
@pytest.mark.parametrize(("strategy", "beam"), [("greedy", 4), ("beam", 1)])
def test_beam_of_one_is_argmax(alpha, strategy, beam):
    model, config = TableModel(9, 3), dataclasses.replace(CONFIG, strategy=strategy, beam=beam, length_penalty=alpha)
    sources = [[4 + i, 5 + i % 3] for i in range(40)]
    for source, (hypothesis,) in zip(sources, run(model, sources, config, [12] * 40), strict=True):
        tokens: list[int] = []
        while len(tokens) < 12 and (token := int(model.log_probs(source, tokens)[EOS:].argmax()) + EOS) != EOS:
            tokens.append(token)
        assert hypothesis.tokens == tokens
        assert hypothesis.log_prob == pytest.approx(model.log_prob(source, tokens))


def test_argmax_survives_rounding():
    """Logits one step of fp32 apart are still told apart after many improbable tokens."""
    model = TableModel(6, 0)
    low = torch.tensor(0.1)
    model.table = torch.full((SIZE, EOS + 7), 0.1)
    model.table[:, EOS + 4] = torch.nextafter(low, torch.tensor(1.0))
    (hypothesis,) = run(model, [[9]], dataclasses.replace(CONFIG, strategy="greedy"), [60])[0]
    assert hypothesis.tokens == [EOS + 4] * 60


@settings(max_examples=20, deadline=None)
@given(sources_of, st.integers(1, 5), st.sampled_from(["beam", "sample"]), st.integers(0, 10**6))
def test_every_hypothesis_is_consistent(sources, n_best, strategy, seed):
    model = TableModel(8, seed, spread=1.0)
    config = dataclasses.replace(CONFIG, strategy=strategy, beam=5, n_best=n_best)
    limits = [length_limit(len(source), config) for source in sources]
    for source, limit, hypotheses in zip(sources, limits, run(model, sources, config, limits), strict=True):
        assert len(hypotheses) == n_best
        assert [h.score for h in hypotheses] == sorted((h.score for h in hypotheses), reverse=True)
        for h in hypotheses:
            assert len(h.tokens) <= limit
            assert not {PAD, UNK, BOS, EOS} & set(h.tokens)
            assert h.log_prob == pytest.approx(model.log_prob(source, h.tokens), abs=1e-9)
            scale = penalty(len(h.tokens) + 1, CONFIG.length_penalty) if strategy == "beam" else 1
            assert h.score == pytest.approx(h.log_prob / scale)
        assert strategy == "sample" or len({tuple(h.tokens) for h in hypotheses}) == n_best


def test_fewer_translations_than_n_best():
    config = dataclasses.replace(CONFIG, beam=5, n_best=5)
    (hypotheses,) = run(TableModel(1, 0), [[4]], config, [1])
    assert sorted(h.tokens for h in hypotheses) == [[], [4]]


@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample"])
def test_gru_in_any_batch(strategy):
    model = RecurrentModel(60, 16, 0).double()
    config = dataclasses.replace(CONFIG, strategy=strategy, n_best=1 if strategy == "greedy" else 3)
    generator = torch.Generator().manual_seed(5)
    sources = [
        torch.randint(4, 60, (int(n),), generator=generator).tolist()
        for n in torch.randint(1, 15, (64,), generator=generator)
    ]
    limits = [length_limit(len(source), config) for source in sources]
    expected = [
        h for s, n, k in zip(sources, limits, range(64), strict=True) for h in run(model, [s], config, [n], [k])
    ]
    for size in (7, 64):
        order = torch.randperm(64, generator=generator).tolist()
        for start in range(0, 64, size):
            part = order[start : start + size]
            results = run(model, [sources[i] for i in part], config, [limits[i] for i in part], part)
            for i, hypotheses in zip(part, results, strict=True):
                assert [h.tokens for h in hypotheses] == [h.tokens for h in expected[i]]
                assert [h.score for h in hypotheses] == pytest.approx([h.score for h in expected[i]], abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_low_precision_logits_are_normalised_in_fp32(dtype):
    class Rounded(TableModel):
        def step(self, tokens: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
            logits, state = super().step(tokens, state)
            return logits.to(dtype), state

    model, exact = Rounded(300, 2), TableModel(300, 2)
    exact.table = exact.table.to(dtype).double()
    for hypotheses, source in zip(run(model, [[5], [6, 8]], CONFIG, [9, 9]), [[5], [6, 8]], strict=True):
        assert hypotheses[0].log_prob == pytest.approx(exact.log_prob(source, hypotheses[0].tokens), abs=1e-5)


def test_finished_sentences_cost_nothing():
    """Sentence i has i tokens and then </s>: the batch must shrink by one sentence a step."""

    class Counting:
        sizes: list[int]

        def __init__(self) -> None:
            self.sizes = []

        def start(self, src: Tensor, mask: Tensor) -> DecodeState:
            return DecodeState({"length": src[:, 0]}, {"done": torch.zeros(len(src))})

        def step(self, tokens: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
            self.sizes.append(len(tokens))
            length = state.shared["length"].repeat_interleave(len(tokens) // len(state.shared["length"]))
            logits = torch.full((len(tokens), 8), -20.0)
            logits[:, 5] = 0.0
            logits[state.rows["done"] >= length, EOS] = 20.0
            return logits, DecodeState(state.shared, {"done": state.rows["done"] + 1})

    model = Counting()
    results = run(model, [[i] for i in (4, 1, 3, 2)], CONFIG, [50] * 4)
    assert [len(best.tokens) for best, *_ in results] == [4, 1, 3, 2]
    assert model.sizes == [4, 16, 12, 8, 4]


def test_sampling_follows_the_distribution():
    model, source, draws = TableModel(5, 11, spread=1.0), [5, 9], 20_000
    config = dataclasses.replace(CONFIG, strategy="sample", n_best=draws, temperature=0.7)
    (hypotheses,) = run(model, [source], config, [1], [0])
    logits = model.log_probs(source, [])[EOS:]
    expected = (logits / 0.7).softmax(0) * draws
    counts = Counter(tuple(h.tokens) for h in hypotheses)
    observed = torch.tensor([counts[()]] + [counts[(EOS + 1 + i,)] for i in range(5)])
    assert int(observed.sum()) == draws
    chi_square = float(((observed - expected) ** 2 / expected).sum())
    assert chi_square < 20.5  # 5 degrees of freedom: 99.9 %


def test_samples_depend_on_seed_and_key_alone():
    model, config = TableModel(30, 4, spread=1.0), dataclasses.replace(CONFIG, strategy="sample", n_best=3)
    sources = [[4 + i] for i in range(20)]
    limits = [3 + i % 5 for i in range(20)]
    results = run(model, sources, config, limits, list(range(20)))
    back = run(model, sources[::-1], config, limits[::-1], list(range(20))[::-1])
    assert results == back[::-1]
    assert results[7] == run(model, [sources[7]], config, [limits[7]], [7])[0]
    assert results != run(model, sources, dataclasses.replace(config, seed=2), limits, list(range(20)))
    twins = run(model, [[5], [5]], config, [9, 9], [0, 1])
    assert twins[0] != twins[1]
    more = run(model, [sources[7]], dataclasses.replace(config, n_best=6), [limits[7]], [7])[0]
    assert all(h in more for h in results[7])


def test_cold_samples_are_greedy():
    model, sources = TableModel(9, 6), [[4, 6], [7]]
    cold = dataclasses.replace(CONFIG, strategy="sample", temperature=1e-6)
    greedy = dataclasses.replace(CONFIG, strategy="greedy", length_penalty=0.0)
    assert [h[0].tokens for h in run(model, sources, cold, [8, 8])] == [
        h[0].tokens for h in run(model, sources, greedy, [8, 8])
    ]


def test_impossible_tokens_are_never_produced():
    """</s> at once is impossible, and so is all but one word: one translation, one token."""
    model = TableModel(4, 0)
    model.table[:, EOS + 2 :] = -math.inf
    start = (0 * 31 + BOS * 17 + 3 + int(model.start(*padded([[4]])).shared["source"])) % SIZE
    model.table[start, EOS] = -math.inf
    config = dataclasses.replace(CONFIG, beam=4, n_best=4)
    assert [h.tokens for h in run(model, [[4]], config, [1])[0]] == [[EOS + 1]]
    sampled = run(model, [[4]], dataclasses.replace(config, strategy="sample"), [1])[0]
    assert [h.tokens for h in sampled] == [[EOS + 1]] * 4


@pytest.mark.parametrize("strategy", ["greedy", "beam", "sample"])
def test_broken_weights_are_named(strategy):
    model = TableModel(4, 0)
    model.table[:] = math.nan
    with pytest.raises(S2SError, match="not finite"):
        run(model, [[4]], dataclasses.replace(CONFIG, strategy=strategy), [3])


def test_limits_and_widths():
    config = dataclasses.replace(CONFIG, max_ratio=1.5, max_extra=2)
    assert [length_limit(n, config) for n in (1, 2, 7)] == [3, 5, 12]
    assert length_limit(1, dataclasses.replace(config, max_ratio=0.1, max_extra=0)) == 1
    assert beam_width(dataclasses.replace(config, strategy="greedy")) == 1
    with pytest.raises(S2SError, match=r"n_best=5 .* beam"):
        run(TableModel(3, 0), [[4]], dataclasses.replace(config, n_best=5), [3])
    with pytest.raises(ValueError, match="maximum length"):
        run(TableModel(3, 0), [[4]], config, [0])
    assert search(TableModel(3, 0), torch.zeros(0, 1).long(), torch.zeros(0, 1).bool(), config, []) == []
