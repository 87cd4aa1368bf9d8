"""What a recording needs of attached hooks, wherever their events come from (BPF or ftrace)."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tracer.capture.processes import Identity
from tracer.capture.ring import Source
from tracer.kernel.plan import Plan


class Hooks(Protocol):
    """`tracer.capture.program.Program` and `tracer.capture.ftrace.program.FtraceProgram`."""

    @property
    def plan(self) -> Plan: ...

    def ring(self) -> Source:
        """Where records come from; the same one each time."""
        ...

    def tested_by(self, pid: int) -> AbstractContextManager[None]:
        """Sends what process ``pid`` does meanwhile, past the filters, before `enable`."""
        ...

    def follow(self, pid: int) -> None:
        """Adds a process to those that the pid filter lets through."""
        ...

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def counts(self) -> NDArray[np.void]:
        """One row of `tracer.capture.program.COUNTS` a CPU."""
        ...

    def missed(self) -> dict[str, int]:
        """``{hook: times}`` that the kernel skipped it since it was attached."""
        ...

    def in_flight(self) -> int: ...

    def show_mapped(self, fd: int, final: bool) -> None: ...

    def show_known_mapped(self, final: bool, shown: Collection[tuple[int, int]]) -> None: ...

    def identify(self, folder: int) -> Identity | None:
        """Of the process whose folder in /proc it is a descriptor of; None: not known."""
        ...

    def detach(self) -> None: ...

    def close(self) -> None: ...
