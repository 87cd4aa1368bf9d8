"""Where code lies in which address space, as the kernel tells it; else as /proc has it.

An address space is known as a whole when it was seen from its start: what a known process executes,
and what is forked from a known one. Of others /proc/PID/maps is read at the first stack, which is
too late for what has come in between: those parts are left out, and the rest is marked. What is
unmapped is not told: no code runs there, and what comes to lie there then is told.
"""

import itertools
import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from tracer.capture.stacks.records import File
from tracer.capture.stacks.samples import (
    CODE_ANONYMOUS,
    CODE_FILE,
    CODE_FORK,
    CODE_VDSO,
    PAGE,
    path_of,
)
from tracer.record import PROC_TICK_NS, MapsFrom

MOST_SPACES = 4096
MOST_RANGES = 1024
"""Of one address space; of more the oldest are forgotten."""
_PROC_BYTES = 1 << 22
_LINE = re.compile(
    rb"([0-9a-f]+)-([0-9a-f]+) ..x. ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+) *([^\n]*)\n"
)
_VDSO = b"[vdso]"
_KEYS = itertools.count(1)
_OCTAL = re.compile(rb"\\([0-7]{3})")


class Range(NamedTuple):
    """A mapping with code. ``file`` is None where there is none."""

    start: int
    end: int
    pgoff: int
    """In bytes."""
    kind: int
    file: File | None


@dataclass
class Space:
    """An address space."""

    pid: int
    start_ns: int
    ranges: tuple[Range, ...] = ()
    whole: bool = False
    """Seen from its start."""
    read: bool = False
    """/proc was read instead."""
    key: int = 0
    """Another one whenever the ranges are others."""

    @property
    def told_by(self) -> MapsFrom:
        """Who told the ranges. What the kernel told of a part is right, of that part."""
        if self.whole or not self.read:
            return MapsFrom.KERNEL if self.ranges else MapsFrom.NONE
        return MapsFrom.PROC


@dataclass
class Spaces:
    """All that are known; the ones that nobody asked about for long are forgotten."""

    proc: Path = Path("/proc")
    live: bool = True
    """Whether the kernel tells mappings at all."""
    _spaces: OrderedDict[int, Space] = field(default_factory=OrderedDict)
    _pids: OrderedDict[int, tuple[int, int]] = field(default_factory=OrderedDict)
    """Of processes: when they began, and the address space that was seen last."""
    _lost: int = 0
    _followed: int = 0

    def follow(self, pid: int) -> None:
        """A process that waits to execute: its next address space is seen from its start."""
        self._followed = pid

    def add(self, row: Any) -> None:
        """A `tracer.capture.stacks.samples.CODE_MAP`."""
        mm, pid, start_ns = int(row["mm"]), int(row["pid"]), int(row["start_ns"])
        kind = int(row["kind"])
        if kind == CODE_FORK:
            parent = self._spaces.get(int(row["from_mm"]))
            if mm == int(row["from_mm"]):
                pass  # until it executes something
            elif parent is not None:
                self._put(mm, replace(parent, pid=pid, start_ns=start_ns))
            else:
                self._put(mm, Space(pid, start_ns))
        else:
            known = self._spaces.get(mm)
            if known is None:
                before = self._pids.get(pid)
                executed = before is not None and before[0] == start_ns and before[1] != mm
                known = Space(pid, start_ns, whole=executed or pid == self._followed)
                self._put(mm, known)
            known.pid = pid
            file = None
            if kind == CODE_FILE:
                path = path_of(row["path"].tobytes(), int(row["length"]))
                file = File(
                    int(row["dev"]), int(row["ino"]), int(row["gen"]), int(row["size"]), path
                )
            start, end = int(row["start"]), int(row["end"])
            one = Range(start, end, int(row["pgoff"]) * PAGE, kind, file)
            known.ranges = (*_without(known.ranges, start, end), one)[-MOST_RANGES:]
            known.key = next(_KEYS)
            self._spaces.move_to_end(mm)
        self._pids[pid] = start_ns, mm
        self._pids.move_to_end(pid)
        while len(self._pids) > MOST_SPACES:
            self._pids.popitem(last=False)

    def _put(self, mm: int, space: Space) -> None:
        self._spaces[mm] = space
        self._spaces.move_to_end(mm)
        while len(self._spaces) > MOST_SPACES:
            self._spaces.popitem(last=False)

    def of(self, sample: Any) -> tuple[Space, MapsFrom]:
        """The address space of a `tracer.capture.stacks.samples.SAMPLE`."""
        mm, lost = int(sample["mm"]), int(sample["maps_lost"])
        if lost > self._lost:  # whose mappings they were nobody knows
            self._lost = lost
            self._spaces.clear()
            self._pids.clear()
        space = self._spaces.get(mm)
        if space is None:
            space = Space(int(sample["pid"]), int(sample["start_ns"]))
            if mm:
                self._put(mm, space)
        elif mm in self._spaces:
            self._spaces.move_to_end(mm)
        if space.whole:
            return space, MapsFrom.KERNEL
        if not space.read or not self.live:
            self._read(space)
        return space, space.told_by

    def _read(self, space: Space) -> None:
        """What /proc has, if that is still the same process; else what it had stays."""
        folder = self.proc / str(space.pid)
        with suppress(OSError, ValueError, IndexError):
            with (folder / "maps").open("rb") as file:
                text = file.read(_PROC_BYTES)
            if abs(started(folder) - space.start_ns) > PROC_TICK_NS:
                return
            told = {(one.start, one.end, one.pgoff): one for one in space.ranges}
            found = [told.get((one.start, one.end, one.pgoff), one) for one in _ranges(text)]
            space.ranges = tuple(found[:MOST_RANGES])
            space.key = next(_KEYS)
            space.read = True

    def came_late(self, sample: Any, row: Any) -> None:
        """A row that came behind a sample whose space was read from /proc: what it covers was not
        there, or was another thing. An execution takes all of it away."""
        mm = int(sample["mm"])
        space = self._spaces.get(mm)
        if space is None or not space.read or int(row["kind"]) == CODE_FORK:
            return
        if int(row["mm"]) == mm:
            space.ranges = tuple(_without(space.ranges, int(row["start"]), int(row["end"])))
            space.key = next(_KEYS)
        elif int(row["pid"]) == space.pid:
            space.ranges, space.read = (), False


def _without(ranges: tuple[Range, ...], start: int, end: int) -> Iterator[Range]:
    """What is left of them beside a part."""
    for one in ranges:
        if one.end <= start or one.start >= end:
            yield one
            continue
        if one.start < start:
            yield one._replace(end=start)
        if one.end > end:
            yield one._replace(start=end, pgoff=one.pgoff + end - one.start)


def started(folder: Path) -> int:
    """When the process of a folder in /proc began, boot clock, ns."""
    text = (folder / "stat").read_bytes()
    return int(text[text.rindex(b")") + 2 :].split()[19]) * PROC_TICK_NS


def _ranges(text: bytes) -> Iterator[Range]:
    for found in _LINE.finditer(text):
        start, end, pgoff, major, minor = (int(number, 16) for number in found.groups()[:5])
        ino, path = int(found[6]), _OCTAL.sub(lambda one: bytes([int(one[1], 8) & 255]), found[7])
        if path == _VDSO:
            yield Range(start, end, 0, CODE_VDSO, None)
        elif not ino:
            yield Range(start, end, 0, CODE_ANONYMOUS, None)
        else:
            file = File(major << 20 | minor, ino, 0, 0, path)
            yield Range(start, end, pgoff, CODE_FILE, file)


def vdso() -> bytes:
    """This kernel's, as each 64-bit process has it. OSError, ValueError: it cannot be read."""
    with Path("/proc/self/maps").open("rb") as file:
        text = file.read(_PROC_BYTES)
    [(start, end)] = [(one.start, one.end) for one in _ranges(text) if one.kind == CODE_VDSO]
    fd = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, end - start, start)
    finally:
        os.close(fd)
