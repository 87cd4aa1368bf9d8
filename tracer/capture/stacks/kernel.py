"""The kernel's own functions below a system call: addresses become names, which are no secret.

Where the kernel lies differs from boot to boot, and whoever may not know it (kernel.kptr_restrict)
shall not learn it from a recording: function and offset alone go further than this. /proc/kallsyms
is opened while we have the privilege; who opened it may read it again.
"""

import bisect
import operator
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracer.capture.stacks.records import Frame
from tracer.errors import UserError
from tracer.record import FrameWhat

_CHUNK = 1 << 20
_BYTES = 1 << 26
_LARGEST = 1 << 16
"""No function is larger: what lies further behind one belongs to nobody who is listed."""
_FRESH_S = 1.0
_KEPT = 1 << 14
_SYMBOL = re.compile(rb"([0-9a-f]+) [tTwW] (\S+?)(?:[\t ]+\[(\S+?)\])?")
_SHOWN = re.compile(rb"^0*[1-9a-f][0-9a-f]* [tT] ", re.MULTILINE)
_ADDRESS = operator.itemgetter(slice(0, 16))
_BETWEEN = 64
"""Symbols of data between a function's start and a place in it."""
_OURS = re.compile(
    rb"(?:trace_call_bpf|bpf_trace_run\d+|__bpf_trace_|__traceiter_|k(?:ret)?probe_|__kretprobe_"
    rb"|aggr_|opt(?:imized)?_|arch_rethook_|rethook_|__?fprobe_|fprobe_|ftrace_|arch_ftrace_"
    rb"|asm_exc_int3|exc_int3|do_int3|notify_die|atomic_notifier_call|notifier_call)"
)
"""Between a BPF program and what it is hooked to: how the kernel calls it by a kprobe, a function's
return (kretprobe, rethook) or a tracepoint."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """Where an address is."""

    name: bytes
    module: bytes
    offset: int

    @property
    def is_bpf(self) -> bool:
        """Code that the kernel made of BPF programs: ours, or another tracer's."""
        return self.module.startswith(b"bpf")

    @property
    def text(self) -> bytes:
        """As a record has it, and as the kernel itself writes it."""
        return self.name + (b" [" + self.module + b"]" if self.module else b"")


class KernelSymbols:
    """/proc/kallsyms, read when it is needed, and again when other modules are there."""

    def __init__(self, root: Path = Path("/")) -> None:
        """UserError: it shows no addresses."""
        self._modules_path = root / "proc/modules"
        path = root / "proc/kallsyms"
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise UserError(f"--stacks kernel: cannot read {path}: {error.strerror}") from error
        # Hidden, all are 0; else those are that lie in each CPU's own part.
        if not _SHOWN.search(self._text(_CHUNK)) and not _SHOWN.search(self._text()):
            os.close(self._fd)
            raise UserError(
                f"--stacks kernel: {path} shows no addresses (sysctl kernel.kptr_restrict is 2, or "
                "CAP_SYSLOG is missing)"
            )
        self._lines: list[bytes] = []
        """Sorted, which is by address: they begin with it, and all as long."""
        self._modules = b""
        self._looked_s = 0.0
        self._known: dict[bytes, tuple[Frame, ...]] = {}

    def close(self) -> None:
        """Gives the file back."""
        os.close(self._fd)

    def _text(self, most: int = _BYTES) -> bytes:
        """The file, which has no size, or its beginning."""
        pieces, size = [], 0
        os.lseek(self._fd, 0, os.SEEK_SET)
        while size < most and (piece := os.read(self._fd, _CHUNK)):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)

    def look(self) -> None:
        """Reads it, if modules came or went since. To be called first when our programs are there:
        who they are it tells, too."""
        now = time.monotonic()
        if self._lines and now - self._looked_s < _FRESH_S:
            return
        self._looked_s = now
        modules = b""
        with suppress(OSError):  # not there: a kernel that takes none
            modules = self._modules_path.read_bytes()
        if not self._lines or modules != self._modules:
            self._modules = modules
            self._lines = sorted(self._text().splitlines(), key=_ADDRESS)
            self._known.clear()

    def at(self, address: int) -> Symbol | None:
        """The function that an address is in; None: in none that is listed."""
        place = bisect.bisect_right(self._lines, b"%016x" % address, key=_ADDRESS)
        best = None
        for line in reversed(self._lines[max(place - _BETWEEN, 0) : place]):
            found = _SYMBOL.fullmatch(line)
            if best is not None and _ADDRESS(line) != best[1]:
                break
            best = found or best  # of several the first listed: so the kernel itself does
        start = int(best[1], 16) if best else 0
        if best is None or not start or address - start >= _LARGEST:
            return None
        return Symbol(best[2], best[3] or b"", address - start)

    def frames(self, addresses: bytes) -> tuple[Frame, ...]:
        """From 64-bit return addresses, the innermost first, to frames without our own."""
        self.look()
        found = self._known.get(addresses)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[addresses] = tuple(
                _frame(one) for one in without_ours(self._symbols(addresses))
            )
        return found

    def _symbols(self, addresses: bytes) -> list[Symbol | None]:
        found: list[Symbol | None] = []
        for address in np.frombuffer(addresses, "<u8").tolist():
            one = self.at(address - 1)  # a call's own instruction is before where it returns to
            found.append(one and Symbol(one.name, one.module, one.offset + 1))
        return found


def _frame(one: Symbol | None) -> Frame:
    if one is None:
        return Frame(0, 0, FrameWhat.KERNEL)
    return Frame(0, one.offset, FrameWhat.KERNEL, name=one.text)


def without_ours(symbols: list[Symbol | None]) -> list[Symbol | None]:
    """What is left when our own frames on top are gone.

    The kernel lists the code of BPF programs as such; where it does not (net.core.bpf_jit_kallsyms
    is 0), that is code of nobody's. Above the first of it are the helper that copies the stack and
    what it calls; it itself is our program and its trampoline; below may be how a kprobe calls.
    What is further out is not ours, even if it is BPF.
    """
    at = next((at for at, one in enumerate(symbols) if one is None or one.is_bpf), None)
    if at is None:
        return symbols
    while at < len(symbols) and ((one := symbols[at]) is None or one.is_bpf):
        at += 1
    while at < len(symbols) and (one := symbols[at]) is not None and _is_machinery(one):
        at += 1
    return symbols[at:]


def _is_machinery(one: Symbol) -> bool:
    return bool(_OURS.match(one.name)) or one.module.startswith((b"bpf", b"__builtin__"))
