"""The BTF reader on broken files: each is told, none is an endless loop."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.kernel.btf_builder import ARRAY, CONST, FUNC, PTR, STRUCT, TYPEDEF, Builder, sample
from tracer.kernel.btf import Btf
from tracer.kernel.btf_file import BtfError


def patched(place: int, code: str, value: int) -> bytes:
    data = bytearray(sample().build())
    struct.pack_into(code, data, place, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated: 0 bytes, no BTF header"),
        (b"\x9f\xeb\x01\x00\x18", "truncated: 5 bytes, the header alone takes 24"),
        (b"\xeb\x9f\x01\x00" + bytes(20), "big-endian BTF"),
        (b"\x7fELF" + bytes(40), "not BTF: it begins with 0x457f"),
        (patched(2, "<B", 2), "BTF version 2"),
        (patched(4, "<I", 8), "header length 8 does not fit"),
        (patched(4, "<I", 0xFFFFFFFF), "header length 4294967295 does not fit"),
        (patched(12, "<I", 0xFFFFFFFC), "the type section needs bytes 0 to 4294967292"),
        (patched(16, "<I", 0xFFFFFFFF), "the string section needs bytes 4294967295"),
        (patched(12, "<I", 14), "not aligned to 4 bytes"),
        (patched(12, "<I", 12), "ends in the middle of a type"),
        (patched(20, "<I", 0), "there are no strings"),
        (sample().build()[:-1], "the string section needs"),
        (patched(28, "<I", 20 << 24), "type 1 is of unknown kind 20"),
        (patched(28, "<I", 0), "type 1 is of unknown kind 0"),
        (patched(28, "<I", STRUCT << 24 | 0xFFFF), "ends in the middle of a type"),
        (patched(24, "<I", 0xFFFFFF), "string offset 16777215 is out of bounds"),
    ],
)
def test_broken_file(data: bytes, message: str) -> None:
    with pytest.raises(BtfError, match=re.escape(message)):
        Btf.from_bytes(data)


def test_string_section_ends() -> None:
    for strings, message in (
        (b"\0abc", "does not end with a NUL"),
        (b"a\0", "does not begin with"),
    ):
        b = Builder()
        b.strings = strings
        with pytest.raises(BtfError, match=message):
            b.load()


def test_endless_name() -> None:
    b = Builder()
    b.integer("x" * 512, 4)
    with pytest.raises(BtfError, match="over 512 bytes long"):
        b.load()


def cyclic_typedef(b: Builder) -> Callable[[Btf], object]:
    b.add(TYPEDEF, "loop", b.next_id + 1)
    b.add(CONST, "", b.next_id - 1)
    return lambda btf: btf.size_of("loop")


def cyclic_array(b: Builder) -> Callable[[Btf], object]:
    b.add(TYPEDEF, "loop", b.next_id + 1)
    b.add(ARRAY, rest=[b.next_id - 1, 0, 0xFFFFFFFF])
    return lambda btf: btf.size_of("loop")


def struct_in_itself(b: Builder) -> Callable[[Btf], object]:
    b.composite("self", 8, [("", b.next_id, 0), ("", b.next_id, 64)])
    return lambda btf: btf.offset_of("self", "x")


def cyclic_pointer(b: Builder) -> Callable[[Btf], object]:
    loop = b.add(PTR, "", b.next_id)
    b.function("f", loop, [("a", loop)])
    return lambda btf: btf.function("f")


def type_out_of_range(b: Builder) -> Callable[[Btf], object]:
    b.composite("s", 8, [("a", 0x7FFFFFFF, 0)])
    return lambda btf: btf.offset_of("s", "a")


def function_without_prototype(b: Builder) -> Callable[[Btf], object]:
    b.add(FUNC, "f", b.integer("int", 4))
    return lambda btf: btf.function("f")


def too_many_params(b: Builder) -> Callable[[Btf], object]:
    b.function("f", 0, [("", 0)] * 65)
    return lambda btf: btf.function("f")


def member_past_the_end(b: Builder) -> Callable[[Btf], object]:
    b.composite("s", 4, [("a", b.integer("int", 4), 0x10000)])
    return lambda btf: btf.offset_of("s", "a")


def member_name_out_of_bounds(b: Builder) -> Callable[[Btf], object]:
    b.add(STRUCT, "s", 4, vlen=1, rest=[0xFFFFFF, 1, 0])
    return lambda btf: btf.offset_of("s", "a")


@pytest.mark.parametrize(
    "make",
    [
        cyclic_typedef,
        cyclic_array,
        struct_in_itself,
        cyclic_pointer,
        type_out_of_range,
        function_without_prototype,
        too_many_params,
        member_past_the_end,
        member_name_out_of_bounds,
    ],
)
def test_broken_types(make: Callable[[Builder], Callable[[Btf], object]]) -> None:
    b = Builder()
    ask = make(b)
    btf = b.load()
    with pytest.raises(BtfError):
        ask(btf)


def test_prototype_in_itself_is_cut_short() -> None:
    b = Builder()
    b.function("f", b.next_id, [("a", b.next_id)])
    assert b.load().function("f").returns == "... ()(...) ()(... ()(...))"


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(BtfError, match="nowhere: No such file"):
        Btf.from_file(tmp_path / "nowhere")
    with pytest.raises(BtfError, match="Is a directory"):
        Btf.from_file(tmp_path)
    (tmp_path / "short").write_bytes(b"\x9f\xeb")
    with pytest.raises(BtfError, match="short: truncated: 2 bytes"):
        Btf.from_file(tmp_path / "short")
