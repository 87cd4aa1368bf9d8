"""The record as numpy sees it: one dtype a record type, all of one size (``RECORD_SIZE`` bytes).

The dtypes are derived from the C structs in ``bpf/record.h``, the one place that defines them. The
header is written for this: one field a line, fixed-width types, no padding and no nesting.
``tests/unit/cli/test_record.py`` compiles it and compares every offset.

A batch from the ring or a recording's tail is an array of ``HEAD`` (any type) that is selected by
``type`` and then viewed as ``EVENT``, ``OBJECT``, … without a copy.
"""

import re
from pathlib import Path

import numpy as np

from tracer.words import Flag as Flag
from tracer.words import FrameWhat as FrameWhat
from tracer.words import Hook as Hook
from tracer.words import Kind as Kind
from tracer.words import LossCause as LossCause
from tracer.words import MapsFrom as MapsFrom
from tracer.words import Op as Op
from tracer.words import RecordType as RecordType
from tracer.words import StackState as StackState
from tracer.words import TaskText as TaskText
from tracer.words import words as words

HEADER = Path(__file__).resolve().parents[1] / "bpf" / "record.h"

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


_STRUCTS = structs(HEADER.read_text())


def _dtype(body: str) -> np.dtype:
    return np.dtype(_STRUCTS["record_head"] + _STRUCTS[body])


EVENT = _dtype("event_body")
OBJECT = _dtype("object_body")
NAME = _dtype("name_body")
CGROUP = _dtype("cgroup_body")
CALLER = _dtype("caller_body")
FRAME = _dtype("frame_body")
MODULE = _dtype("module_body")
TASK = _dtype("task_body")
LOSS = _dtype("loss_body")
CLOCK = _dtype("clock_body")
TOTALS = _dtype("totals_body")
BASELINE = EVENT

RECORD_SIZE: int = EVENT.itemsize
_HEAD_SIZE = np.dtype(_STRUCTS["record_head"]).itemsize
HEAD = np.dtype([*_STRUCTS["record_head"], ("body", f"V{RECORD_SIZE - _HEAD_SIZE}")])
"""Any record. The body is a field, as numpy copies fields alone and would leave it behind."""

USER_CPU = 0xFFFF
"""``cpu`` of records that user space wrote: losses, clocks, baseline, totals."""
NO_SYSCALL = 0xFFFF
PROC_TICK_NS = 10_000_000
"""Steps of a ``start_ns`` that /proc told: USER_HZ is 100 (include/asm-generic/param.h)."""
