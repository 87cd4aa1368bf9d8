"""How user stacks read: as lines below an event, as values for programs, as one name a frame."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tracer.escape import printable
from tracer.stacks.names import Names, Place
from tracer.stacks.recorded import Frame, Stack, Stacks

_ENDS = {
    "whole": "",
    "cut": "… and more: the stack is deeper than what was looked at",
    "unknown": "… and more: how it goes on from there is not known",
    "lost": "… the stack was lost",
    "no_unwinder": "… and more: the recorder had no drgn to unwind with",
}
"""What stands behind the frames, by how far a stack is known."""
_BELOW = "in the kernel:"
"""Stands between a program's functions and those of the kernel that they called."""
_SAID_BY = {"jit": "perf map"}
"""Whose word a name is, where that is not where the code lies."""
_FROM_PROC = "(which file lay where was read from /proc, after the call)"
_LIBRARIES = (
    "libc.so", "libc-", "ld-linux", "ld-", "libpthread", "libm.so", "libc.musl", "ld-musl",
    "libstdc++", "libgcc_s",
)  # fmt: skip
"""What every program goes through on its way into the kernel."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function on a stack; of an inlined one the frame is its caller's."""

    frame: Frame
    place: Place
    inlined: bool = False

    @property
    def label(self) -> str:
        """Its name in one word: the function's, or where its code lies; the kernel's are marked
        as perf marks them."""
        if self.frame.what == "kernel":
            return f"{printable(self.place.function) or '[kernel]'}_[k]"
        return printable(self.place.function) or self.frame.where

    @property
    def origin(self) -> str:
        """``map_ring (ring.c:88) in prog``; ``prog+0x1139`` where it has no name."""
        module, place = self.frame.module, self.place
        if (not place.function and not place.source) or self.frame.what == "kernel":
            return self.frame.where
        if module is None:
            return f"{self.label} [{_SAID_BY.get(self.frame.what, self.frame.what)}]"
        source = f" ({printable(place.source)})" if place.source else ""
        return f"{self.label}{source}" + (f" in {module.name}" if module else "")

    @property
    def text(self) -> str:
        """The same among others: of an inlined function the next one says which file it is in."""
        if not self.inlined:
            return self.origin
        source = f" ({printable(self.place.source)})" if self.place.source else ""
        return f"{self.label}{source} inlined"

    def data(self) -> dict[str, Any]:
        """For programs: what is not known is null."""
        module, place = self.frame.module, self.place
        return {
            "module": module.path or None if module else None,
            "offset": self.frame.offset,
            "build_id": module.build_id or None if module else None,
            "what": self.frame.what,
            "function": place.function or None,
            "file": place.file or None,
            "line": place.line or None,
            "inlined": self.inlined,
        }


_NOWHERE = Place("")
_CALLS = 512
"""Functions of a stack that are named."""
_KEPT = 1 << 12
"""Stacks whose lines are kept."""
_LINES = 100
"""Lines below an event: who was traced chose how deep its stack is."""
LATE = "… who called was not known in time"
"""Of a sample that was taken, and had not been looked at."""
LEFT_OUT = "the recording has more stacks than are read: some end too early, or have no files"


class Callers:
    """The stacks of one recording with their names."""

    def __init__(self, stacks: Stacks, names: Names) -> None:
        self.stacks, self.names = stacks, names
        self._lines: dict[tuple[object, ...], tuple[Stack, tuple[str, ...]]] = {}

    def ask(self, samples: Iterable[int]) -> None:
        """Looks all names up that stacks of these samples need: at once it is faster."""
        known = (self.stacks.of(sample) for sample in dict.fromkeys(samples))
        self.names.ask(frame for stack in known if stack is not None for frame in stack.frames)

    def calls(self, stack: Stack, *, ask: bool = True) -> list[Call]:
        """Who called, innermost first; without ``ask`` with the names that are known already."""
        if ask:
            self.names.ask(stack.frames)
        return self._calls_of(stack.frames)

    def kernel_calls(self, stack: Stack) -> list[Call]:
        """The kernel's own functions below them, innermost first."""
        return self._calls_of(stack.kernel)

    def _calls_of(self, frames: Sequence[Frame]) -> list[Call]:
        found: list[Call] = []
        for frame in frames:
            places = self.names.known(frame) or (_NOWHERE,)
            last = len(places) - 1
            found += [Call(frame, place, at < last) for at, place in enumerate(places)]
            if len(found) >= _CALLS:
                break
        return found[:_CALLS]

    def lines(self, sample: int, *, ask: bool = True) -> Iterator[str]:
        """What stands below an event with this ``user_stack``; nothing where none was taken."""
        stack = self.stacks.of(sample)
        if stack is None:
            if sample:
                yield LATE
            return
        key = stack.number, stack.state, stack.maps_from, stack.kernel
        before, lines = self._lines.get(key, (None, ()))
        # A growing recording may tell more of a stack.
        if before is None or before.frames is not stack.frames or not ask:
            lines = tuple(self._made(stack, ask))
            if len(self._lines) > _KEPT:
                self._lines.clear()
            if ask:
                self._lines[key] = stack, lines
        yield from lines

    def _made(self, stack: Stack, ask: bool) -> Iterator[str]:
        calls = self.calls(stack, ask=ask)
        yield from (call.text for call in calls[:_LINES])
        if len(calls) > _LINES:
            yield f"… {len(calls) - _LINES} more"
        end = _ENDS.get(stack.state, f"… {stack.state}")
        if end:
            yield end
        if stack.maps_from == "proc" and stack.frames:
            yield _FROM_PROC
        if stack.kernel:
            yield _BELOW
            yield from (call.text for call in self.kernel_calls(stack)[:_LINES])

    def notes(self) -> Iterator[str]:
        """What is missing, in sentences."""
        yield from self.names.notes()
        if self.stacks.left_out:
            yield LEFT_OUT

    def data(self, sample: int) -> dict[str, Any]:
        """For programs: ``stack``, a list, and ``stack_state``; nothing where none was taken."""
        stack = self.stacks.of(sample)
        if stack is None:
            return {}
        calls = [call.data() for call in self.calls(stack)]
        found = {"stack": calls, "stack_state": stack.state, "stack_maps": stack.maps_from or None}
        if stack.kernel:
            found["kernel_stack"] = [call.data() for call in self.kernel_calls(stack)]
        return found

    @staticmethod
    def origin_of(calls: Sequence[Call]) -> Call | None:
        """The innermost function of the application: not one of the C library."""
        own = (call for call in calls if not _everybodys(call.frame))
        return next(own, calls[0] if calls else None)


def _everybodys(frame: Frame) -> bool:
    if frame.module is None:
        return frame.what in ("vdso", "kernel")
    return frame.module.name.startswith(_LIBRARIES)
