"""A recording with user stacks, told step by step, as the recorder writes them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.audit.audit_story import Story
from tracer.capture.stacks.records import (
    File,
    Frame,
    caller_records,
    frame_records,
    module_records,
)
from tracer.record import USER_CPU, FrameWhat, MapsFrom, RecordType, StackState

PROGRAM = File(dev=0x800001, ino=71, gen=5, size=20_000, path=b"/usr/bin/map_ring")
LIBC = File(0x800001, 72, 5, 2_000_000, b"/usr/lib/x86_64-linux-gnu/libc.so.6")
LONG = File(0x800001, 73, 5, 4_000, b"/" + b"d" * 200 + b"/evil\x1b[2J")


@dataclass
class StackStory(Story):
    """A :class:`Story` whose events may have callers."""

    modules: dict[int, tuple[File, bytes]] = field(default_factory=dict)
    samples: int = 0

    def own(self, rows: Any) -> None:
        """Records as the recorder makes them."""
        for row in rows:
            one = np.array([row], rows.dtype)
            self._add(one, USER_CPU)

    def module(self, number: int, file: File, build_id: bytes = b"") -> None:
        """A file with code."""
        self.modules[number] = file, build_id
        self.own(module_records(number, file, build_id))

    def stack(self, number: int, frames: Sequence[Frame]) -> None:
        """A stack, the innermost frame first."""
        self.own(frame_records(number, frames))

    def called(
        self,
        stack: int,
        *event: Any,
        state: StackState = StackState.WHOLE,
        maps_from: MapsFrom = MapsFrom.KERNEL,
        kernel: int = 0,
        **more: Any,
    ) -> int:
        """An event (as for :meth:`Story.event`) and its callers; the sample's number."""
        self.samples += 1
        below = self.samples if kernel else 0
        self.event(*event, user_stack=self.samples, kernel_stack=below, **more)
        self.own(caller_records(self.samples, stack, state, maps_from, kernel))
        return self.samples


def code(module: int, offset: int, interrupted: bool = False) -> Frame:
    """A frame in a file."""
    return Frame(module, offset, FrameWhat.CODE, interrupted)


FRAMES = {
    1: [
        code(2, 0x1018AD, True), code(1, 0x1234), code(1, 0x1400), code(2, 0x2724A),
        code(1, 0x10A5),
    ],
    2: [code(2, 0x1018AD, True), code(1, 0x1299), Frame(0, 0, FrameWhat.JIT)],
    3: [Frame(3, 0x55, FrameWhat.GONE, True), Frame(0, 0x90, FrameWhat.VDSO)],
    4: [Frame(0, 0, FrameWhat.UNKNOWN, True)],
}  # fmt: skip
"""Stacks of the fake story."""


def stack_story() -> StackStory:
    """Refused writes of one file with callers of each kind, and one event without."""
    story = StackStory()
    story.object(5, "ring")
    story.module(1, PROGRAM, bytes.fromhex("00112233445566778899aabbccddeeff00112233"))
    story.module(2, LIBC, bytes.fromhex("ffeeddccbbaa99887766554433221100ffeeddcc"))
    story.module(3, LONG)
    for number, frames in FRAMES.items():
        story.stack(number, frames)
    refused: dict[str, Any] = {"answer": -1, "length": 8, "seals": 8, "seals_after": 8}
    story.called(1, "write", 5, **refused)
    story.called(1, "write", 5, **refused)
    story.called(2, "write", 5, state=StackState.UNKNOWN, **refused)
    story.called(3, "write", 5, state=StackState.CUT, maps_from=MapsFrom.PROC, **refused)
    story.called(4, "write", 5, state=StackState.NO_UNWINDER, **refused)
    story.called(0, "write", 5, state=StackState.LOST, maps_from=MapsFrom.NONE, **refused)
    story.event("write", 5, answer=8, length=8)
    return story


def write_stacks(path: Path) -> Path:
    """The recording of :func:`stack_story`."""
    return stack_story().write(path)


STACK_TYPES = (RecordType.CALLER, RecordType.FRAME, RecordType.MODULE)
