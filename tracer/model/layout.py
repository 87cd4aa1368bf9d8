"""Derives numpy dtypes from the C structs in ``bpf/record.h``, the one place that defines them.

The header is written for this: one field a line, fixed-width types, no padding and no nesting.
``tests/unit/test_record.py`` compiles the header and compares every offset.
"""

import re
from pathlib import Path

import numpy as np

HEADER = Path(__file__).resolve().parents[2] / "bpf" / "record.h"

_NUMPY = {
    "u8": "u1",
    "u16": "<u2",
    "u32": "<u4",
    "u64": "<u8",
    "s32": "<i4",
    "s64": "<i8",
}
_STRUCT = re.compile(r"^struct (\w+) \{\n(.*?)^\};", re.S | re.M)
_FIELD = re.compile(r"^\t(u8|u16|u32|u64|s32|s64|char) (\w+)(?:\[(\d+)\])?;", re.M)
_ENUM = re.compile(r"^enum (\w+) \{\n(.*?)^\};", re.S | re.M)
_ENUMERATOR = re.compile(r"^\t([A-Z_0-9]+) = (\d+),", re.M)

Field = tuple[str, np.dtype]


def _numpy_type(c_type: str, count: str | None) -> np.dtype:
    if c_type == "char":
        # Not "S": numpy strips trailing NULs of S silently, and bytes of a
        # hostile comm must arrive as they are.
        return np.dtype(f"V{count or 1}")
    base = np.dtype(_NUMPY[c_type])
    return np.dtype((base, (int(count),))) if count else base


def structs(header: str) -> dict[str, list[Field]]:
    """``{struct name: [(field, dtype), …]}`` in the order of the header."""
    return {
        name: [(field, _numpy_type(c_type, count)) for c_type, field, count in _FIELD.findall(body)]
        for name, body in _STRUCT.findall(header)
    }


def enums(header: str) -> dict[str, dict[str, int]]:
    """``{enum name: {enumerator: value}}`` in the order of the header."""
    return {
        name: {key: int(value) for key, value in _ENUMERATOR.findall(body)}
        for name, body in _ENUM.findall(header)
    }
