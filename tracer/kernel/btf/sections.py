"""The two sections of a BTF file, cut out and bounds-checked."""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass

from tracer.kernel.btf.errors import BtfError
from tracer.kernel.btf.format import HEADER, MAGIC, MAGIC_SWAPPED


@dataclass(frozen=True, slots=True)
class Sections:
    """The two sections of a BTF file, cut out and bounds-checked."""

    words: array[int]
    strings: bytes


def cut(data: bytes, split: bool) -> Sections:
    """Check the header and cut out both sections. Raises BtfError."""
    if len(data) < 4:
        raise BtfError(f"truncated: {len(data)} bytes, no BTF header")
    magic = int.from_bytes(data[:2], "little")
    if magic == MAGIC_SWAPPED:
        raise BtfError("big-endian BTF; only little-endian kernels are supported")
    if magic != MAGIC:
        raise BtfError(f"not BTF: it begins with {magic:#06x} instead of {MAGIC:#06x}")
    if len(data) < HEADER.size:
        raise BtfError(f"truncated: {len(data)} bytes, the header alone takes {HEADER.size}")
    _, version, _, header, type_off, type_len, str_off, str_len = HEADER.unpack_from(data)
    if version != 1:
        raise BtfError(f"BTF version {version}; only version 1 is known")
    # A longer header is fine: fields are only ever added at its end
    if not HEADER.size <= header <= len(data):
        raise BtfError(f"header length {header} does not fit a file of {len(data)} bytes")
    body = len(data) - header
    for what, start, length in (("type", type_off, type_len), ("string", str_off, str_len)):
        if start + length > body:
            raise BtfError(
                f"truncated: the {what} section needs bytes {start} to {start + length} after the "
                f"header, {body} are there"
            )
    if type_off % 4 or type_len % 4:
        raise BtfError("the type section is not aligned to 4 bytes")
    strings = data[header + str_off : header + str_off + str_len]
    if not strings and not split:
        raise BtfError("there are no strings")
    if strings and strings[-1]:
        raise BtfError("the string section does not end with a NUL")
    if strings and strings[0] and not split:
        raise BtfError("the string section does not begin with the empty string")
    words = array("I")
    assert words.itemsize == 4
    words.frombytes(data[header + type_off : header + type_off + type_len])
    if sys.byteorder == "big":
        words.byteswap()
    return Sections(words, strings)
