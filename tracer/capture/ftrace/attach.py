"""From a kernel's plan to attached kprobe events."""

from collections.abc import Callable, Collection

from tracer.capture.attach import Kernel
from tracer.capture.filters import Filters
from tracer.capture.ftrace.program import FtraceProgram
from tracer.capture.ftrace.tracefs import find_tracefs
from tracer.errors import UserError


def attach(
    kernel: Kernel,
    families: Collection[str] | None,
    filters: Filters,
    ring_bytes: int,
    tell: Callable[[str], None],
) -> FtraceProgram:
    """An attached program that does not send yet. Raises UserError where that cannot be."""
    tracefs = find_tracefs()
    if tracefs is None:
        raise UserError(
            "tracefs is not there; mount -t tracefs tracefs /sys/kernel/tracing, as root"
        )
    plan = kernel.plan("kprobe", families=families)
    return FtraceProgram(tracefs, plan, kernel.layout, filters, ring_bytes, tell)
