"""The record as numpy sees it: one dtype a record type, all of one size (``RECORD_SIZE`` bytes).

A batch from the ring or a recording's tail is an array of ``HEAD`` (any type) that is selected by
``type`` and then viewed as ``EVENT``, ``OBJECT``, … without a copy.
"""

import numpy as np

from tracer.model import layout
from tracer.model.words import Flag as Flag
from tracer.model.words import Hook as Hook
from tracer.model.words import Kind as Kind
from tracer.model.words import LossCause as LossCause
from tracer.model.words import Op as Op
from tracer.model.words import RecordType as RecordType
from tracer.model.words import words as words

_STRUCTS = layout.structs(layout.HEADER.read_text())


def _dtype(body: str) -> np.dtype:
    return np.dtype(_STRUCTS["record_head"] + _STRUCTS[body])


EVENT = _dtype("event_body")
OBJECT = _dtype("object_body")
NAME = _dtype("name_body")
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
