from __future__ import annotations

import base64

import numpy as np
import pytest

from s2s.errors import S2SError
from s2s.evaluation.report.attention import AttentionMap, encode_map, merge_pieces


@pytest.mark.parametrize(
    ("pieces", "language", "expected"),
    [
        (["▁The", "▁dog", "s", "</s>"], "en", ["The", "dogs", "(end)"]),
        (["▁", "T", "he", "▁", "dog", "</s>"], "en", ["The", "dog", "(end)"]),
        (["▁Stra", "<0xC3>", "<0x9F>", "e", "</s>"], "de", ["Straße", "(end)"]),
        (["▁我们", "去", "<0xE5>", "<0x8C>", "<0x97>", "京", "</s>"], "zh", ["我们", "去", "北", "京", "(end)"]),
        (["▁", "我", "</s>"], "zh", ["我", "(end)"]),
        (["▁", "</s>"], "en", ["␣", "(end)"]),
        (["</s>"], "en", ["(end)"]),
    ],
)
def test_pieces_become_words(pieces: list[str], language: str, expected: list[str]) -> None:
    words = merge_pieces(pieces, language)
    assert [text for text, _ in words] == expected
    assert [number for _, group in words for number in group] == list(range(len(pieces)))


def decoded_weights(one: dict[str, object], head: str) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(one["heads"][head]), dtype=np.uint8)  # type: ignore[index]
    return values.reshape(len(one["target"]), len(one["source"]))  # type: ignore[arg-type]


def test_weights_are_summed_over_source_pieces_and_averaged_over_target_pieces() -> None:
    source, target = ["▁dog", "s", "▁run", "</s>"], ["▁Hun", "de", "</s>"]
    first = np.array([[0.5, 0.3, 0.2, 0.0], [0.1, 0.1, 0.8, 0.0], [0, 0, 0, 1.0]])
    second = np.array([[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0, 0, 0, 1.0]])
    heads = {"layer1.head1": first, "layer1.head2": second}
    one = encode_map(AttentionMap("transformer", 4, source, target, heads), "en", "de")
    assert (one["system"], one["sentence"]) == ("transformer", 5)
    assert (one["source"], one["target"]) == (["dogs", "run", "(end)"], ["Hunde", "(end)"])
    assert list(one["heads"]) == ["mean of 2 heads", "layer 1, head 1", "layer 1, head 2"]
    assert decoded_weights(one, "layer 1, head 1").tolist() == [[50, 50, 0], [0, 0, 100]]
    assert decoded_weights(one, "mean of 2 heads").tolist() == [[25, 75, 0], [0, 0, 100]]


def test_a_single_head_is_not_averaged_and_its_shape_is_checked() -> None:
    weights = {"attention": np.array([[0.994, 0.006]])}
    one = encode_map(AttentionMap("gru", 0, ["▁a", "</s>"], ["</s>"], weights), "en", "de")
    assert list(one["heads"]) == ["attention"]
    assert decoded_weights(one, "attention").tolist() == [[99, 1]]
    with pytest.raises(S2SError, match="1 target × 1 source"):
        encode_map(AttentionMap("gru", 0, ["</s>"], ["</s>"], weights), "en", "de")
