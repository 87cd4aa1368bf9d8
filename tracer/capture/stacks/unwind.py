"""Finds the callers in the bytes of a stack. Runs in the process without privileges (`zygote`).

It has descriptors, and bytes, and nothing else. Whatever happens to it is one stack lost.
"""

import json
import os
import struct
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tracer.capture.stacks.samples import IP, PAGE, REGISTERS
from tracer.stacks import elf

MOST_FRAMES = 256
"""Of one stack; five pages hold no more that make sense."""
MOST_RANGES = 1024
"""Of one address space."""
_PROGRAMS = 16
"""Address spaces whose files stay loaded."""
WHOLE, CUT, UNKNOWN, NO_UNWINDER = "whole", "cut", "unknown", "no_unwinder"
NO_FILE = -1
REQUEST = struct.Struct("<QI168s")
"""Address of the first page, which pages are there, registers; before pages and ranges."""

Range = tuple[int, int, int, int]
"""Start, end, place in the file (bytes), and number of the file (:data:`NO_FILE`: none)."""


@dataclass(slots=True)
class _Loaded:
    """An address space: its files as drgn has them, and the stack that is looked at now."""

    program: Any
    biases: dict[int, int]
    """By the place of a range: of those whose file could be read."""
    pages: dict[int, bytes]


class Unwinder:
    """Keeps files, and the address spaces that were asked about last."""

    def __init__(self) -> None:
        try:
            import drgn
        except ImportError:
            self._drgn: Any = None
        else:
            self._drgn = drgn
        self._files: dict[int, int] = {}
        self._elfs: dict[int, elf.Elf | None] = {}
        self._spaces: OrderedDict[int, _Loaded] = OrderedDict()

    @property
    def there(self) -> bool:
        """Whether there is something that can unwind."""
        return self._drgn is not None

    def keep(self, number: int, fd: int) -> None:
        """A file that ranges will name."""
        self._files[number] = fd
        try:
            self._elfs[number] = elf.read(fd)
        except (OSError, elf.NotElf):
            self._elfs[number] = None

    def drop(self, number: int) -> None:
        """It will not be named any more."""
        os.close(self._files.pop(number))
        self._elfs.pop(number, None)

    def build_id(self, number: int) -> str:
        """In hex, empty: none."""
        found = self._elfs.get(number)
        return found.build_id if found else ""

    def frames(
        self, key: int, ranges: list[Range], base: int, present: int, registers: bytes, pages: bytes
    ) -> dict[str, Any]:
        """Frames, how they ended, and the files' build ids.

        A frame is the place of its range (-1: none), the address, whether that is of the next
        instruction, and whether it is the file's own: else bytes from the range's start.
        ``key``: the same for the same ranges.
        """
        values = struct.unpack("<21Q", registers)
        space = self._space(key, ranges)
        space.pages.clear()
        for number in range(len(pages) // PAGE):
            if present >> number & 1:
                at = number * PAGE
                space.pages[base // PAGE + number] = pages[at : at + PAGE]
        found, state = [], UNKNOWN
        if space.program is None:
            state = NO_UNWINDER
            found = [self._frame(space, ranges, values[IP], True)]
        else:
            state = self._walk(space, ranges, registers, found)
            if not found:
                found = [self._frame(space, ranges, values[IP], True)]
        used = {ranges[place][3] for place, *_ in found if place >= 0}
        ids = {str(number): self.build_id(number) for number in used if number != NO_FILE}
        return {"frames": found, "state": state, "ids": ids}

    def _walk(
        self, space: _Loaded, ranges: list[Range], registers: bytes, found: list[list[Any]]
    ) -> str:
        try:
            trace = self._trace(space.program, registers)
        except (ValueError, LookupError, self._drgn.FaultError):
            return UNKNOWN
        last = min(len(trace), MOST_FRAMES) - 1
        for depth in range(last + 1):
            frame = trace[depth]
            try:
                pc, exact = int(frame.pc), depth == 0 or bool(frame.interrupted)
            except LookupError:  # the outermost frame's caller has none
                return WHOLE if found else UNKNOWN
            found.append(self._frame(space, ranges, pc, exact))
            if not found[-1][3]:
                return UNKNOWN  # drgn goes on by guesses from here
        return CUT

    def _frame(self, space: _Loaded, ranges: list[Range], pc: int, exact: bool) -> list[Any]:
        at = pc if exact else pc - 1  # what follows a call that never returns may be another's
        for place, (start, end, _, _) in enumerate(ranges):
            if start <= at < end:
                bias = space.biases.get(place)
                known = bias is not None
                return [place, (pc - (start if bias is None else bias)) % (1 << 64), exact, known]
        return [-1, 0, exact, False]

    def _space(self, key: int, ranges: list[Range]) -> _Loaded:
        space = self._spaces.get(key)
        if space is None:
            space = self._load(ranges)
            self._spaces[key] = space
            while len(self._spaces) > _PROGRAMS:
                self._spaces.popitem(last=False)
        self._spaces.move_to_end(key)
        return space

    def _load(self, ranges: list[Range]) -> _Loaded:
        pages: dict[int, bytes] = {}
        program = self._program(pages) if self._drgn else None
        biases: dict[int, int] = {}
        modules: set[tuple[int, int]] = set()
        for place, (start, _, pgoff, number) in enumerate(ranges):
            found = self._elfs.get(number)
            if found is None:
                continue
            try:
                bias = found.bias(start, pgoff)
            except elf.NotElf:
                continue
            if program is not None and (number, bias) not in modules:
                modules.add((number, bias))  # one file may have several executable mappings
                if not self._add_module(program, found, number, bias):
                    continue
            biases[place] = bias
        return _Loaded(program, biases, pages)

    def _program(self, pages: dict[int, bytes]) -> Any:
        drgn = self._drgn
        program = drgn.Program(drgn.Platform(drgn.Architecture.X86_64))
        program.set_enabled_debug_info_finders([])

        def read(address: int, count: int, offset: int, physical: bool) -> bytes:
            got = b""
            while count > 0:
                page = pages.get(address // PAGE)
                if page is None:
                    raise drgn.FaultError("not copied", address)
                piece: bytes = page[address % PAGE :][:count]
                got, address, count = got + piece, address + len(piece), count - len(piece)
            return got

        program.add_memory_segment(0, (1 << 64) - 1, read)
        return program

    def _add_module(self, program: Any, found: elf.Elf, number: int, bias: int) -> bool:
        """Whether drgn takes it, and where we take it to be."""
        low, high = found.span
        try:
            module = program.extra_module(f"file{number}", bias, create=True)
            if isinstance(module, tuple):
                module = module[0]
            module.address_ranges = [((low + bias) % (1 << 64), (high + bias) % (1 << 64))]
            module.try_file(f"file{number}", fd=os.dup(self._files[number]), force=True)
            return module.loaded_file_bias is None or module.loaded_file_bias == bias
        except (ValueError, LookupError, OverflowError, OSError, self._drgn.FaultError):
            return False

    def _trace(self, program: Any, registers: bytes) -> Any:
        drgn = self._drgn
        word = program.int_type("unsigned long", 8, False)
        members = tuple(
            drgn.TypeMember(word, name, place * 64) for place, name in enumerate(REGISTERS)
        )
        kind = program.struct_type("pt_regs", len(REGISTERS) * 8, members)
        return program.stack_trace(drgn.Object.from_bytes_(program, kind, registers))


def serve(unwinder: Unwinder, sock: Any) -> None:
    """Answers until the other side is gone."""
    import socket

    while True:
        data, fds, _, _ = socket.recv_fds(sock, 1 << 18, 1)
        if not data:
            return
        kind, body = data[:1], data[1:]
        if kind == b"F" and len(fds) == 1:
            unwinder.keep(struct.unpack("<I", body)[0], fds[0])
        elif kind == b"D":
            unwinder.drop(struct.unpack("<I", body)[0])
        elif kind == b"U":
            sock.send(json.dumps(answer(unwinder, body)).encode())


def question(key: int, ranges: list[Range], sample: Any) -> bytes:
    """What `answer` is asked: ``sample`` is a `tracer.capture.stacks.samples.SAMPLE`."""
    head = REQUEST.pack(int(sample["base"]), int(sample["present"]), sample["regs"].tobytes())
    pages: bytes = sample["pages"].tobytes()
    return b"U" + head + pages + json.dumps([key, ranges]).encode()


_PAGES = 5 * PAGE


def answer(unwinder: Unwinder, body: bytes) -> dict[str, Any]:
    """The answer to :func:`question`."""
    base, present, registers = REQUEST.unpack_from(body)
    pages = body[REQUEST.size : REQUEST.size + _PAGES]
    key, ranges = json.loads(body[REQUEST.size + _PAGES :])
    with suppress(RecursionError):
        return unwinder.frames(key, ranges, base, present, registers, pages)
    return {"frames": [], "state": UNKNOWN, "ids": {}}
