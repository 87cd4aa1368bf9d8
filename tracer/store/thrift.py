"""Thrift's compact protocol, as much of it as a Parquet footer and page headers need.

A struct is a dict of field number → value, whose Python type says how it is written: ``I32`` and
``I64`` for integers, ``bytes``, ``str``, ``list`` (of values of one type) and ``dict``.
"""

from typing import TypeAlias


class I32(int):
    """A 32-bit integer."""


class I64(int):
    """A 64-bit integer."""


Value: TypeAlias = "I32 | I64 | bytes | str | list[Value] | dict[int, Value]"
Struct: TypeAlias = dict[int, Value]

_I32, _I64, _BINARY, _LIST, _STRUCT = 5, 6, 8, 9, 12


def varint(number: int) -> bytes:
    """``number`` (not negative) in groups of seven bits, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _type(value: Value) -> int:
    if isinstance(value, I32):
        return _I32
    if isinstance(value, I64):
        return _I64
    if isinstance(value, bytes | str):
        return _BINARY
    return _LIST if isinstance(value, list) else _STRUCT


def _body(value: Value) -> bytes:
    if isinstance(value, int):
        return varint(value << 1 if value >= 0 else (-value << 1) - 1)
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return varint(len(value)) + value
    if isinstance(value, dict):
        return struct(value)
    kind = _type(value[0]) if value else _STRUCT
    few = len(value) < 15
    head = bytes([len(value) << 4 | kind]) if few else bytes([0xF0 | kind]) + varint(len(value))
    return head + b"".join(map(_body, value))


def struct(fields: Struct) -> bytes:
    """The bytes of a struct; its field numbers must rise by less than 16 at a time."""
    out = []
    last = 0
    for number, value in fields.items():
        out += [bytes([(number - last) << 4 | _type(value)]), _body(value)]
        last = number
    return b"".join(out) + b"\0"
