"""Which frames an event's ``user_stack`` stands for, from the tables callers, stacks and modules.

Nothing of it is believed: who made a recording by hand may have frames as deep as there are
numbers, stacks that nobody called, modules without a path, and texts that paint on a terminal.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.escape import escape_bytes, printable
from tracer.recording.tables import values

DEEPEST = 256
"""Frames of a stack that are taken; a recorder writes no more than half of them."""
_FRAMES = 1 << 21
"""Frames that are kept of one recording; each is stored once for all samples that have it."""
_MODULES = 1 << 16
_NAME = 1 << 8
"""Bytes of a function's name."""
_PIECES = 1 << 7
"""Of a path: longer ones are no path of a kernel's (PATH_MAX)."""
TABLES = ("modules", "stacks", "callers")

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Module:
    """A file with code."""

    number: int
    raw: bytes
    """Its path, as the kernel has it."""
    build_id: str = ""
    """In hex; empty: it has none, or it could not be read."""
    dev: int = 0
    ino: int = 0
    size: int = 0

    @property
    def path(self) -> str:
        """Escaped; empty: not known."""
        return escape_bytes(self.raw)

    @property
    def name(self) -> str:
        """The last part of the path, escaped; ``?`` where it is not known."""
        return escape_bytes(self.raw.rpartition(b"/")[2]) or "?"


@dataclass(frozen=True, slots=True)
class Frame:
    """One function's place on a stack."""

    module: Module | None
    offset: int
    """Address as the ELF file has it; without a module 0, or bytes into the vdso."""
    what: str = "code"
    """``code``, ``jit``, ``vdso``, ``gone``, ``kernel`` … (printable)."""
    interrupted: bool = False
    """The offset is that of the next instruction; else it is a return address."""
    name: str = ""
    """Escaped: what the recorder knew it by, as only it could."""

    @property
    def address(self) -> int:
        """What is to be looked up: a call's own instruction is before where it returns to."""
        return self.offset if self.interrupted or not self.offset else self.offset - 1

    @property
    def where(self) -> str:
        """``ring.so+0x1139``; ``[jit]`` where it lies in no file."""
        if self.what == "kernel" and self.name:
            function, _, module = self.name.partition(" [")
            return f"{function}+{self.offset:#x} [{module or 'kernel]'}"
        if self.module is None:
            return f"[{self.what}]" + (f"+{self.offset:#x}" if self.offset else "")
        gone = f" [{self.what}]" if self.what != "code" else ""
        return f"{self.module.name}+{self.offset:#x}{gone}"


@dataclass(frozen=True, slots=True)
class Stack:
    """Who called, innermost first."""

    number: int
    """Equal stacks of a recording have one; 0: nothing of it is known."""
    frames: tuple[Frame, ...]
    state: str
    """``whole``, ``cut``, ``lost``, ``unknown``, ``no_unwinder`` … (printable)."""
    maps_from: str = ""
    """``kernel`` or ``proc``: who told which file lay where."""
    kernel: tuple[Frame, ...] = ()
    """The kernel's own functions, the innermost first; empty: they were not asked for."""


class _Words:
    """Words of a column as small numbers, whatever somebody wrote there."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._codes: dict[str, int] = {}

    def codes(self, table: pa.Table, name: str) -> npt.NDArray[np.int32]:
        """The code of each row."""
        found = [printable(str(one or "?")) for one in values(table, name, "?")]
        known = [self._codes.setdefault(one, len(self._codes)) for one in found]
        self.words.extend(list(self._codes)[len(self.words) :])
        return np.array(known, np.int32)


def _numbers(table: pa.Table, name: str) -> list[int]:
    """Integers of a column; null, and what is no integer, is 0."""
    return [one if type(one) is int else 0 for one in values(table, name, 0)]


_Codes = npt.NDArray[np.int32]
_Rows = tuple[Numbers, Numbers, Numbers, _Codes, _Codes]
"""Sample, stack, the kernel's stack, state, and who told which file lay where."""


@dataclass
class _Calls:
    """Rows of the table callers, by their sample."""

    parts: list[_Rows] = field(default_factory=list)

    def sorted(self) -> _Rows:
        """As one; of two rows about one sample the first counts."""
        if len(self.parts) != 1:
            empty = np.empty(0, np.int64), np.empty(0, np.int32)
            start = empty[0], empty[0], empty[0], empty[1], empty[1]
            sample, *others = (
                np.concatenate(columns) for columns in zip(start, *self.parts, strict=True)
            )
            sample, at = np.unique(sample, return_index=True)
            stack, kernel, state, maps = (one[at] for one in others)
            self.parts = [(sample, stack, kernel, state, maps)]
        return self.parts[0]


class Stacks:
    """The user stacks of a recording, which may grow."""

    def __init__(self) -> None:
        self._calls = _Calls()
        self._states, self._sources = _Words(), _Words()
        self._frames: dict[int, dict[int, tuple[int, int, str, bool, bytes]]] = {}
        self._modules: dict[int, tuple[dict[str, Any], dict[int, tuple[bytes, bool]]]] = {}
        self._known: dict[int, tuple[Frame, ...]] = {}
        self._named: dict[int, Module] = {}
        self._count = 0  # frames
        self.left_out = False
        """There is more than is kept: some stacks end too early, or have no files."""

    @classmethod
    def of_tables(cls, tables: Iterable[tuple[str, pa.Table]]) -> Self:
        """All that is in some tables, each with its name."""
        found = cls()
        for name, table in tables:
            found.take(name, table)
        return found

    def __bool__(self) -> bool:
        return bool(self._calls.parts)

    def take(self, name: str, table: pa.Table) -> None:
        """Takes rows of one of :data:`TABLES`; others are no stacks."""
        if not table.num_rows:
            return
        if name == "callers":
            self._take_callers(table)
        elif name == "stacks":
            self._take_stacks(table)
        elif name == "modules":
            self._take_modules(table)

    def _take_callers(self, table: pa.Table) -> None:
        sample, stack, kernel = (
            np.array(_numbers(table, one), np.int64) for one in ("sample", "stack", "kernel_stack")
        )
        state, maps = self._states.codes(table, "state"), self._sources.codes(table, "maps_from")
        order = np.argsort(sample, kind="stable")
        first = np.ones(len(order), bool)
        first[1:] = sample[order][1:] != sample[order][:-1]
        order = order[first]
        self._calls.parts.append(
            (sample[order], stack[order], kernel[order], state[order], maps[order])
        )

    def _take_stacks(self, table: pa.Table) -> None:
        columns = (_numbers(table, one) for one in ("stack", "depth", "module", "offset"))
        names = values(table, "function", b"")
        more = values(table, "what", "?"), values(table, "interrupted", False), names
        for stack, depth, module, offset, what, interrupted, name in zip(
            *columns, *more, strict=True
        ):
            if self._count >= _FRAMES:
                self.left_out = True
                break
            frames = self._frames.setdefault(stack, {})
            if depth < DEEPEST and depth not in frames:
                text = name[:_NAME] if isinstance(name, bytes) else b""
                frames[depth] = module, offset, str(what or "?"), bool(interrupted), text
                self._count += 1
        self._known.clear()

    def _take_modules(self, table: pa.Table) -> None:
        names = ("module", "dev", "ino", "size", "part")
        columns = (_numbers(table, one) for one in names)
        more = (values(table, one) for one in ("build_id", "more", "text"))
        for module, dev, ino, size, part, build_id, goes_on, text in zip(
            *columns, *more, strict=True
        ):
            if module not in self._modules and len(self._modules) >= _MODULES:
                self.left_out = True
                break
            about = {"build_id": _hex(build_id), "dev": dev, "ino": ino, "size": size}
            _, pieces = self._modules.setdefault(module, (about, {}))
            if part < _PIECES:
                pieces.setdefault(part, (bytes(text or b""), bool(goes_on)))
        self._known.clear()
        self._named.clear()

    # What is known

    def of(self, sample: int) -> Stack | None:
        """Who called when an event with this ``user_stack`` was made; None: not known (yet)."""
        if not sample or not self._calls.parts:
            return None
        samples, stacks, kernels, states, sources = self._calls.sorted()
        place = int(np.searchsorted(samples, sample))
        if place == len(samples) or samples[place] != sample:
            return None
        state = self._states.words[states[place]]
        number = int(stacks[place])
        maps_from, kernel = self._sources.words[sources[place]], int(kernels[place])
        below = self.frames(kernel) if kernel else ()
        return Stack(number, self.frames(number), state, maps_from, below)

    def numbers(self, samples: npt.NDArray[Any], *, kernel: bool = False) -> Numbers:
        """The stack (or the kernel's) of each sample; 0: it has none that is known."""
        known, *both = self._calls.sorted()[:3]
        stacks = both[kernel]
        if not len(known):
            return np.zeros(len(samples), np.int64)
        samples = samples.astype(np.int64)
        places = np.minimum(np.searchsorted(known, samples), len(known) - 1)
        return np.where((known[places] == samples) & (samples != 0), stacks[places], 0)

    def samples(self) -> dict[str, Any]:
        """All samples as columns."""
        sample, stack, kernel, state, maps = self._calls.sorted()
        words, sources = np.array(self._states.words, object), np.array(self._sources.words, object)
        empty = np.empty(0, object)
        return {
            "user_stack": sample,
            "stack": stack,
            "state": words[state] if len(state) else empty,
            "maps_from": sources[maps] if len(maps) else empty,
            "kernel_stack": kernel,
        }

    def known(self) -> list[int]:
        """The numbers of all stacks of which there are frames."""
        return sorted(self._frames)

    def frames(self, stack: int) -> tuple[Frame, ...]:
        """The frames of a stack as far as no one between is missing."""
        found = self._known.get(stack)
        if found is None:
            found = self._known[stack] = tuple(self._made(stack))
        return found

    def _made(self, stack: int) -> Iterator[Frame]:
        frames = self._frames.get(stack, {})
        for depth in range(DEEPEST):
            if depth not in frames:
                return
            module, offset, what, interrupted, name = frames[depth]
            text = escape_bytes(name)
            yield Frame(self._module(module), offset, printable(what), interrupted, text)

    def _module(self, number: int) -> Module | None:
        if number not in self._named:
            if not number or number not in self._modules:
                return None
            about, pieces = self._modules[number]
            path, part, goes_on = b"", 0, True
            while goes_on and part in pieces:
                text, goes_on = pieces[part]
                path += text
                part += 1
            # Half a path leads to another file, if to any.
            path = b"" if goes_on else path
            self._named[number] = Module(number, path, **about)
        return self._named[number]


def _hex(text: object) -> str:
    """A build id, or empty where it is none."""
    digits = text.lower() if isinstance(text, str) and len(text) <= 128 else ""
    whole = len(digits) % 2 == 0 and all(one in "0123456789abcdef" for one in digits)
    return digits if whole else ""
