"""Lines of text: their ends, the byte order mark, other encodings."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2s.data.reading import read_lines
from s2s.errors import S2SError


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\r\nb\n\nc", ["a", "b", "", "c"]),
        (b"a\rb\r\r\nc\r", ["a\rb\r", "c\r"]),
        ("a\u2028b\u0085\x0b\x0c\x1c\n".encode(), ["a\u2028b\u0085\x0b\x0c\x1c"]),
    ],
)
def test_lines_end_at_newlines_only(data: bytes, lines: list[str]) -> None:
    assert list(read_lines(io.BytesIO(data), "in")) == lines


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"\xef\xbb\xbfa dog\r\nb\r\n", ["a dog", "b"]),
        (b"\xef\xbb\xbf", [""]),
        (b"\xef\xbb\xbf\n", [""]),
        (b"\xef\xbb\xbf\xef\xbb\xbfa\n", ["\ufeffa"]),  # only one, and only at the start
        (b"a\n\xef\xbb\xbfb\nc\xef\xbb\xbf", ["a", "\ufeffb", "c\ufeff"]),
    ],
)
def test_a_byte_order_mark_at_the_start_is_dropped(data: bytes, lines: list[str]) -> None:
    assert list(read_lines(io.BytesIO(data), "in")) == lines


text = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)


@given(lines=st.lists(text, min_size=1), end=st.sampled_from(["\n", "\r\n"]), bom=st.booleans(), last=st.booleans())
def test_every_text_arrives(lines: list[str], end: str, bom: bool, last: bool) -> None:
    whole = end.join(lines) + (end if last or not lines[-1] else "")
    data = b"\xef\xbb\xbf" * (bom or whole.startswith("\ufeff")) + whole.encode("utf-8")
    assert list(read_lines(io.BytesIO(data), "in")) == lines


def test_other_encodings_are_named() -> None:
    stream = read_lines(io.BytesIO(b"fine\nna\xefve\n"), "stdin")
    assert next(stream) == "fine"
    with pytest.raises(S2SError, match=r"stdin, line 2: not UTF-8 \(byte 0xef at position 3"):
        next(stream)
