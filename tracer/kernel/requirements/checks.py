"""The sources that can record, and what each needs: add a source here and doctor shows it.

All requirements, in the order in which a reader should mend them, and what they add up to.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tracer.kernel.requirements.host import BCC_IMPORT, Finding, Host, Requirement
from tracer.kernel.requirements.kernel import (
    ARCHITECTURE,
    BTF,
    JIT,
    LOCKDOWN,
    PID_NAMESPACE,
    PRIVILEGE,
    RING_BUFFER,
    SECURITYFS,
    SYMBOLS,
)
from tracer.kernel.requirements.methods import KPROBES, TRACEFS, TRAMPOLINES


@dataclass(frozen=True, slots=True)
class Method:
    """A way in which a source attaches."""

    name: str
    needs: str
    """The requirement that must be met beside the source's own."""
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where events come from."""

    name: str
    text: str
    needs: tuple[str, ...]
    """Requirements without which it cannot work at all."""
    methods: tuple[Method, ...]
    """One of these must work; empty: there is one way alone."""


SOURCES = (
    Source(
        "bpf",
        "BPF programs, loaded by bcc",
        ("architecture", "privilege", "lockdown", "btf", "symbols", "ring_buffer", "bcc"),
        (
            Method("fexit", "trampolines", "BPF trampolines"),
            Method("kprobe", "kprobes", "kprobe and kretprobe"),
        ),
    ),
    Source(
        "ftrace",
        "kprobe events in tracefs, no BPF",
        ("architecture", "lockdown", "btf", "symbols", "kprobe_events", "trace_instances"),
        (),
    ),
)


@dataclass(frozen=True, slots=True)
class Ability:
    """Whether a source can record here by a method. ``ok`` is None when that is not certain."""

    source: str
    method: str
    ok: bool | None
    because: tuple[str, ...]
    """Names of the findings that forbid it, or that leave it open."""

    def to_json(self) -> dict[str, Any]:
        """``can`` and ``because`` as JSON values."""
        return {"can": self.ok, "because": list(self.because)}


def abilities(findings: Iterable[Finding]) -> list[Ability]:
    """What each source can do by each of its methods, in the order of `SOURCES`."""
    known = {finding.name: finding.ok for finding in findings}
    found = []
    for source in SOURCES:
        for method in source.methods:
            needs = (*source.needs, method.needs)
            refused = tuple(name for name in needs if known.get(name, True) is False)
            unknown = tuple(name for name in needs if known.get(name, True) is None)
            ok = False if refused else None if unknown else True
            found.append(Ability(source.name, method.name, ok, refused or unknown))
    return found


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
    BCC_IMPORT,
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
