"""All requirements, in the order in which a reader should mend them, and what they add up to."""

from collections.abc import Iterable
from dataclasses import replace

from tracer.kernel.requirements.finding import Finding, Requirement
from tracer.kernel.requirements.host import Host
from tracer.kernel.requirements.kernel import ARCHITECTURE, BTF, JIT, RING_BUFFER, SYMBOLS
from tracer.kernel.requirements.lockdown import LOCKDOWN, SECURITYFS
from tracer.kernel.requirements.methods import KPROBES, TRAMPOLINES
from tracer.kernel.requirements.packages import BCC
from tracer.kernel.requirements.sources import SOURCES
from tracer.kernel.requirements.task import PID_NAMESPACE, PRIVILEGE
from tracer.kernel.requirements.tracefs import TRACEFS

REQUIREMENTS: tuple[Requirement, ...] = (
    ARCHITECTURE,
    PRIVILEGE,
    LOCKDOWN,
    BTF,
    SYMBOLS,
    KPROBES,
    TRAMPOLINES,
    JIT,
    RING_BUFFER,
    BCC,
    TRACEFS,
    SECURITYFS,
    PID_NAMESPACE,
)


_TRIED = frozenset({KPROBES.name, TRAMPOLINES.name, RING_BUFFER.name})
"""That the kernel has it does not tell that it lets somebody use it: loading a program does."""


def check(host: Host) -> list[Finding]:
    """All findings about a host, in the order of `REQUIREMENTS`."""
    found = [requirement.look(host) for requirement in REQUIREMENTS]
    if not any(one.name == PRIVILEGE.name and one.ok is False for one in found):
        return found
    return [_untried(one) if one.name in _TRIED and one.ok else one for one in found]


def _untried(one: Finding) -> Finding:
    return replace(
        one,
        ok=None,
        cause="not known without root: the kernel has it, and only loading a program tells if it "
        "may be used",
        remedy="run the doctor as root",
    )


def blocking(findings: Iterable[Finding], source: str = "bpf") -> list[Finding]:
    """Those findings that make live tracing by a source impossible; empty: it is worth a try.

    A missing attach method blocks only when there is no other: either kprobes or trampolines do.
    """
    wanted = next(one for one in SOURCES if one.name == source)
    failed = [finding for finding in findings if finding.ok is False]
    names = {finding.name for finding in failed}
    no_method = all(method.needs in names for method in wanted.methods)
    methods = {method.needs for method in wanted.methods}
    return [
        finding
        for finding in failed
        if finding.name in wanted.needs or (no_method and finding.name in methods)
    ]
