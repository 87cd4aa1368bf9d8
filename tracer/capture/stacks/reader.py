"""Samples of user stacks become records: each stack once, and who called by its number.

A thread of its own does it: neither a file system that is slow nor a stack that takes long keeps
the ring of decisions waiting. The bytes of a stack are given to a process without privileges
(`tracer.capture.stacks.zygote`), and go no further.
"""

import json
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from tracer.capture.ring import Records, RingReader
from tracer.capture.stacks import unwind
from tracer.capture.stacks.files import Files
from tracer.capture.stacks.jit import PerfMaps
from tracer.capture.stacks.kernel import KernelSymbols
from tracer.capture.stacks.maps import Range, Space, Spaces, vdso
from tracer.capture.stacks.records import (
    File,
    Frame,
    caller_records,
    frame_records,
    module_records,
)
from tracer.capture.stacks.samples import CODE_FILE, CODE_VDSO, CS, USER_CS
from tracer.capture.stacks.zygote import Zygote
from tracer.record import FrameWhat, MapsFrom, StackState
from tracer.stacks.elf import functions

_AT_ONCE = 32
"""Samples that are copied out of the ring before they are looked at: 20 KB each."""
_NAP_S = 0.005
_ANSWER_S = 10.0
_ANSWER_BYTES = 1 << 16
_MOST_STACKS = 1 << 16
"""Different ones that are told apart; then they are told anew, by new numbers."""
_MOST_MODULES = 1 << 14
_LAST_S = 10.0
"""How long what is left is looked at in the end."""
_STATES = {
    unwind.WHOLE: StackState.WHOLE,
    unwind.CUT: StackState.CUT,
    unwind.UNKNOWN: StackState.UNKNOWN,
    unwind.NO_UNWINDER: StackState.NO_UNWINDER,
}
_UNKNOWN = Frame(0, 0, FrameWhat.UNKNOWN, True)


class Lost(Exception):
    """A worker died, or did not answer."""


class Workers:
    """The worker that is asked, and the next one when it dies."""

    def __init__(self, zygote: Zygote) -> None:
        self._zygote = zygote
        self._sock: socket.socket | None = None
        self._pid = 0
        self._has: set[int] = set()
        """Files that it was given."""
        self.died = 0

    def drop(self, number: int) -> None:
        """A file that will not be named any more."""
        if number in self._has and self._sock is not None:
            self._has.discard(number)
            with suppress(OSError):
                self._sock.send(b"D" + struct.pack("<I", number))

    def ask(self, question: bytes, files: dict[int, int]) -> Any:
        """The answer, as JSON has it. ``files``: descriptors by number. Lost."""
        try:
            if self._sock is None:
                self._sock, self._pid = self._zygote.worker()
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
                self._sock.settimeout(_ANSWER_S)
                self._has = set()
            for number, fd in files.items():
                if number not in self._has:
                    socket.send_fds(self._sock, [b"F" + struct.pack("<I", number)], [fd])
                    self._has.add(number)
            self._sock.send(question)
            data = self._sock.recv(_ANSWER_BYTES)
            if not data:
                raise ConnectionError("it is gone")
            return json.loads(data)
        except (OSError, ValueError, RecursionError) as error:
            self.close()
            self.died += 1
            raise Lost(str(error)) from None

    def close(self) -> None:
        """Ends the one that is there."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
            self._zygote.kill(self._pid)


class StackReader:
    """From the rings of user stacks to records."""

    def __init__(
        self,
        samples: RingReader,
        maps: RingReader,
        ask: Callable[[bytes, dict[int, int]], Any],
        *,
        live: bool,
        files: Files | None = None,
        spaces: Spaces | None = None,
        close: Callable[[], None] = lambda: None,
        drop: Callable[[int], None] = lambda number: None,
        kernel: KernelSymbols | None = None,
    ) -> None:
        """``ask`` as :meth:`Workers.ask`; ``live``: whether the kernel tells mappings; ``kernel``:
        names its functions, None: they are not asked for."""
        self._kernel = kernel
        self._samples, self._maps, self._ask, self._close = samples, maps, ask, close
        self._files = files or Files()
        self._files.dropped = drop
        self.spaces = spaces or Spaces(live=live)
        self._perf_maps = PerfMaps()
        self._vdso: tuple[int, int] | None = None
        self._vdso_names: list[tuple[int, int, bytes]] = []
        with suppress(OSError, ValueError):
            self._vdso = self._files.add(vdso())
            # The plain names of its functions are aliases.
            self._vdso_names = sorted(functions(self._vdso[1]), key=lambda one: one[2])
        self._stacks: dict[tuple[Frame, ...], int] = {}
        self._modules: dict[tuple[File, bytes], int] = {}
        self._numbers = {"stack": 0, "module": 0}
        self._deadly: set[int] = set()
        self._out: deque[Records] = deque()
        self._ending = threading.Event()
        self._deadline_s = float("inf")
        self._thread: threading.Thread | None = None
        self.failure: BaseException | None = None

    @classmethod
    def of(
        cls,
        rings: tuple[RingReader, RingReader],
        zygote: Zygote,
        live: bool,
        kernel: KernelSymbols | None = None,
    ) -> "StackReader":
        """For the rings of a program."""
        ask = Workers(zygote)
        return cls(*rings, ask.ask, live=live, close=ask.close, drop=ask.drop, kernel=kernel)

    def start(self) -> None:
        """Begins."""
        self._thread = threading.Thread(target=self._run, name="stacks", daemon=True)
        self._thread.start()

    def take(self) -> Records | None:
        """Records that are ready, None: there are none."""
        ready = []
        while self._out:
            ready.append(self._out.popleft())
        return np.concatenate(ready) if ready else None

    def finish(self) -> Records | None:
        """The last ones: nothing is sent any more. What cannot be looked at in time is lost."""
        self._deadline_s = time.monotonic() + _LAST_S
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_LAST_S + _ANSWER_S)
        self._close()
        return self.take()

    def _run(self) -> None:
        try:
            while True:
                ending = self._ending.is_set()
                if self.step():
                    continue
                if ending:
                    break
                time.sleep(_NAP_S)
        except BaseException as error:  # told by who asks for the records
            self.failure = error

    def step(self) -> bool:
        """Looks at what is in the rings; whether there was a sample."""
        samples = self._samples.poll(_AT_ONCE).copy()
        self._samples.release()
        rows = self._drain()
        place = 0
        for sample in samples:
            while place < len(rows) and rows[place]["time_ns"] <= sample["time_ns"]:
                self.spaces.add(rows[place])
                place += 1
            space, maps_from = self.spaces.of(sample)
            if maps_from is MapsFrom.PROC:
                late = self._drain()
                rows = np.concatenate([rows[place:], late]) if len(late) else rows[place:]
                place = 0
                for row in rows:
                    self.spaces.came_late(sample, row)
                maps_from = space.told_by
            self._out.append(self._told(sample, space, maps_from))
        for row in rows[place:]:
            self.spaces.add(row)
        return len(samples) > 0

    def _drain(self) -> Records:
        found = []
        while len(rows := self._maps.poll()):
            found.append(rows.copy())
            self._maps.release()
        self._maps.release()
        return np.concatenate(found) if found else rows

    def _told(self, sample: Any, space: Space, maps_from: MapsFrom) -> Records:
        number, mm = int(sample["sample"]), int(sample["mm"])
        told = list[Records]()
        below = self._kernels(sample, told)
        lost = [*told, caller_records(number, 0, StackState.LOST, maps_from, below)]
        if time.monotonic() > self._deadline_s or mm in self._deadly:
            return np.concatenate(lost)
        try:
            frames, state, modules = self._unwound(sample, space)
        except Lost:
            if mm:
                if len(self._deadly) > _MOST_MODULES:
                    self._deadly.clear()
                self._deadly.add(mm)
            return np.concatenate(lost)
        told += modules
        known = self._numbered(frames, told)
        return np.concatenate([*told, caller_records(number, known, state, maps_from, below)])

    def _numbered(self, frames: tuple[Frame, ...], told: list[Records]) -> int:
        """The number of a stack; one that is new is told."""
        known = self._stacks.get(frames)
        if known is None:
            if len(self._stacks) >= _MOST_STACKS:
                self._stacks.clear()
            known = self._stacks[frames] = self._count("stack")
            told.append(frame_records(known, frames))
        return known

    def _kernels(self, sample: Any, told: list[Records]) -> int:
        """The number of the kernel's own stack, 0: there is none."""
        count = min(int(sample["kernel_frames"]), len(sample["kernel"]))
        if self._kernel is None or not count:
            return 0
        frames = self._kernel.frames(sample["kernel"][:count].tobytes())
        if count == len(sample["kernel"]):  # there may be more
            frames = (*frames, Frame(0, 0, FrameWhat.UNKNOWN))
        return self._numbered(frames, told) if frames else 0

    def _count(self, what: str) -> int:
        self._numbers[what] += 1
        return self._numbers[what]

    def _unwound(
        self, sample: Any, space: Space
    ) -> tuple[tuple[Frame, ...], StackState, list[Records]]:
        """Lost."""
        ranges = space.ranges[-unwind.MOST_RANGES :]
        files: dict[int, int] = {}
        wanted: list[unwind.Range] = []
        for one in ranges:
            number = self._opened(one, space, files)
            wanted.append((one.start, one.end, one.pgoff, number))
        if int(sample["regs"][CS]) != USER_CS:  # of 32 bits
            return (_UNKNOWN,), StackState.UNKNOWN, []
        # A file that could be read when it was asked for last, and now cannot, makes another one.
        key = hash((space.key, tuple(number for *_, number in wanted))) & (1 << 62) - 1
        question = unwind.question(key, wanted, sample)
        try:
            return self._read(self._ask(question, files), ranges, wanted, space)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise Lost(str(error)) from None

    def _opened(self, one: Range, space: Space, files: dict[int, int]) -> int:
        found = None
        if one.kind == CODE_VDSO:
            found = self._vdso
        elif one.kind == CODE_FILE and one.file is not None:
            found = self._files.get(one.file, space.pid, one.start, one.end)
        if found is None:
            return unwind.NO_FILE
        files[found[0]] = found[1]
        return found[0]

    def _read(
        self, answer: Any, ranges: tuple[Range, ...], wanted: list[unwind.Range], space: Space
    ) -> tuple[tuple[Frame, ...], StackState, list[Records]]:
        """What a worker says, who may lie: only what fits the records. ValueError and the like."""
        state, told = _STATES[answer["state"]], list[Records]()
        frames = []
        for place, address, exact, known in answer["frames"][: unwind.MOST_FRAMES]:
            if not (type(place) is type(address) is int and type(exact) is type(known) is bool):
                raise ValueError("no frame")
            if not (-1 <= place < len(ranges) and 0 <= address < 1 << 64):
                raise ValueError("no frame of these ranges")
            if place < 0:
                frames.append(Frame(0, 0, FrameWhat.UNKNOWN, exact))
                continue
            one, number = ranges[place], wanted[place][3]
            if one.kind == CODE_VDSO:
                at = address if exact else address - 1
                name = next((name for start, size, name in self._vdso_names
                             if known and start <= at < start + size), b"")  # fmt: skip
                frames.append(Frame(0, address, FrameWhat.VDSO, exact, name))
            elif one.file is None:
                name = self._perf_maps.name(space, (one.start + address - (not exact)) % (1 << 64))
                frames.append(Frame(0, 0, FrameWhat.JIT, exact, name))
            else:
                build_id = bytes.fromhex(str(answer["ids"].get(str(number), ""))[:64])
                module = self._module(one.file, build_id, told)
                where = address if known else (one.pgoff + address) % (1 << 64)
                what = FrameWhat.CODE if known else FrameWhat.GONE
                frames.append(Frame(module, where, what, exact))
        if not frames:
            raise ValueError("no frames")
        return tuple(frames), state, told

    def _module(self, file: File, build_id: bytes, told: list[Records]) -> int:
        key = file, build_id
        number = self._modules.get(key)
        if number is None:
            if len(self._modules) >= _MOST_MODULES:
                self._modules.clear()
                self._stacks.clear()
            number = self._modules[key] = self._count("module")
            told.append(module_records(number, file, build_id))
        return number


def prepared() -> unwind.Unwinder:
    """What the zygote makes ready while it still may read files."""
    os.environ["OMP_NUM_THREADS"] = "1"
    return unwind.Unwinder()
