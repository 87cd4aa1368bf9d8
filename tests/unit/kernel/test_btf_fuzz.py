"""Whatever the bytes, the BTF reader answers or raises BtfError, and soon."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.kernel.btf import Btf
from tracer.kernel.btf_file import BtfError

KINDS = 19
# words after the three common ones: fixed part, and per item (include/uapi/linux/btf.h)
FIXED = {1: 1, 3: 3, 14: 1, 17: 1}
PER_ITEM = {4: 3, 5: 3, 6: 2, 13: 2, 15: 3, 19: 3}
STRINGS = b"\0a\0bb\0file\0f_inode\0"

# A single slow example would be a hang in the making; the files here are under 2 KB
bounded = settings(deadline=timedelta(seconds=5), max_examples=300)

word = st.one_of(st.integers(0, 24), st.integers(0, 0xFFFFFFFF))


@st.composite
def raw_type(draw: st.DrawFn) -> bytes:
    """One type with arbitrary references, names and offsets, but of the right length."""
    kind = draw(st.integers(1, KINDS))
    vlen = draw(st.integers(0, 4))
    info = kind << 24 | vlen | draw(st.integers(0, 1)) << 31
    length = FIXED.get(kind, 0) + PER_ITEM.get(kind, 0) * vlen
    rest = [draw(word) for _ in range(length)]
    words = (draw(st.integers(0, len(STRINGS) - 1)), info, draw(word), *rest)
    return struct.pack(f"<{len(words)}I", *words)


@st.composite
def blob(draw: st.DrawFn) -> bytes:
    """A file whose sections are sound and whose types refer to each other at random."""
    types = b"".join(draw(st.lists(raw_type(), max_size=20)))
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(STRINGS))
    return header + types + STRINGS


@st.composite
def damaged_blob(draw: st.DrawFn) -> bytes:
    """As `blob`, with bytes changed and perhaps the tail cut off."""
    data = bytearray(draw(blob()))
    for _ in range(draw(st.integers(1, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))])


def use(data: bytes, base: Btf | None = None) -> Btf | None:
    """Load and ask everything; BtfError is a proper answer, any other exception fails the test."""
    try:
        btf = Btf.from_bytes(data, base)
    except BtfError:
        return None
    questions: list[Callable[[str], object]] = [
        btf.size_of,
        btf.function,
        btf.function_id,
        btf.has_function,
        btf.find_enumerator,
        lambda name: btf.offset_of(name, "f_inode"),
        lambda name: btf.offset_of(name, "a.bb.file"),
        lambda name: btf.has_member(name, "bb"),
    ]
    for name in ("a", "bb", "file", "f_inode", "struct file", "enum a", "union bb", ""):
        for ask in questions:
            with suppress(BtfError):
                ask(name)
    return btf


@bounded
@given(st.binary(max_size=512))
def test_random_bytes(data: bytes) -> None:
    use(data)


@bounded
@given(st.binary(max_size=512))
def test_random_body(data: bytes) -> None:
    use(struct.pack("<HBB", 0xEB9F, 1, 0) + data)


@pytest.mark.slow
@bounded
@given(blob())
def test_random_types(data: bytes) -> None:
    assert use(data) is not None  # sections and lengths are sound, so it must load


@pytest.mark.slow
@bounded
@given(damaged_blob())
def test_damaged_file(data: bytes) -> None:
    use(data)


@pytest.mark.slow
@bounded
@given(blob(), damaged_blob())
def test_damaged_module_on_sound_base(lower: bytes, upper: bytes) -> None:
    use(upper, Btf.from_bytes(lower))


def test_every_cut() -> None:
    types = struct.pack("<3I3I", 7, 4 << 24 | 1, 8, 13, 1, 0)
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(STRINGS))
    whole = header + types + STRINGS
    assert Btf.from_bytes(whole).size_of("ile") == 8  # a name may be another one's tail
    assert [end for end in range(len(whole)) if use(whole[:end]) is not None] == []
