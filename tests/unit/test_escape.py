"""Escaping of hostile names: lossless, one line, nothing invisible."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.escape import cells, clip, escape_bytes, pad, unescape

HOSTILE = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.text(alphabet="\\xuUntr0aF\u0301\u202e漢\n\x1b", max_size=30).map(str.encode),
)


@given(HOSTILE)
def test_every_byte_comes_back(raw: bytes) -> None:
    assert unescape(escape_bytes(raw)) == raw


@given(HOSTILE)
def test_text_is_printable_and_one_line(raw: bytes) -> None:
    text = escape_bytes(raw)
    assert text.isprintable()
    assert len(text.splitlines()) <= 1
    assert not text or unicodedata.category(text[0])[0] != "M"


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_different_bytes_have_different_text(one: bytes, other: bytes) -> None:
    assert (one == other) == (escape_bytes(one) == escape_bytes(other))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        (b"plain name", "plain name"),
        ("größe 漢字".encode(), "größe 漢字"),
        (b"a\\b", "a\\\\b"),
        (b"a\nb\tc\rd", "a\\nb\\tc\\rd"),
        (b"\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        (b"\xff\xc3", "\\xff\\xc3"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),  # a surrogate is not valid UTF-8
        ("\u202eexe".encode(), "\\u202eexe"),
        ("a\u200bb\u2028".encode(), "a\\u200bb\\u2028"),
        ("\x85".encode(), "\\u0085"),
        ("\u0301x".encode(), "\\u0301x"),
        ("e\u0301".encode(), "e\u0301"),
        (("e" + "\u0301" * 4).encode(), "e\u0301\u0301\\u0301\\u0301"),
        ("\u3164\ue000\U0010ffff".encode(), "\\u3164\\ue000\\U0010ffff"),
        (b"[bold]x[/bold]", "[bold]x[/bold]"),
    ],
)
def test_examples(raw: bytes, text: str) -> None:
    assert escape_bytes(raw) == text
    assert unescape(text) == raw


@pytest.mark.parametrize("text", ["\\", "\\q", "\\x1", "\\u12", "\\U00110000", "\\ud800"])
def test_bad_escape_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"escape|surrogate"):
        unescape(text)


@given(HOSTILE, st.integers(min_value=0, max_value=40))
def test_clip_fits_and_cuts_between_escapes(raw: bytes, width: int) -> None:
    text = escape_bytes(raw)
    shown = clip(text, width)
    assert cells(shown) <= width
    if shown != text and width:
        assert shown.endswith("…")
        unescape(shown[:-1])  # whole escapes only
        assert text.startswith(shown[:-1])
    assert cells(pad(text, width)) == width


def test_clip_counts_wide_characters() -> None:
    assert clip("漢字漢字", 8) == "漢字漢字"
    assert clip("漢字漢字", 7) == "漢字漢…"
    assert clip("漢字漢字", 6) == "漢字…"
    assert clip("abc\\x1bdef", 6) == "abc…"
    assert clip("abc", 0) == ""
