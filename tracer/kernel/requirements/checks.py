"""All requirements in the order in which a reader should mend them, and what each source needs.

A source of events stands here once, with its methods; doctor, `blocking` and the document follow.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from tracer.kernel.requirements import kernel, methods
from tracer.kernel.requirements.host import Finding, Host, Requirement, bcc

REQUIREMENTS: tuple[Requirement, ...] = (
    kernel.architecture,
    kernel.privilege,
    kernel.lockdown,
    kernel.btf,
    kernel.symbols,
    methods.kprobes,
    methods.trampolines,
    kernel.jit,
    kernel.ring_buffer,
    bcc,
    methods.tracefs,
    kernel.securityfs,
    kernel.pid_namespace,
)
OF_FTRACE = (methods.kprobe_events, methods.trace_instances)
"""What the source ftrace alone needs."""

SourceName = Literal["bpf", "ftrace"]


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

    name: SourceName
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

_TRIED = frozenset({methods.kprobes.name, methods.trampolines.name, kernel.ring_buffer.name})
"""That the kernel has it does not tell that it lets somebody use it: loading a program does."""


def check(host: Host) -> list[Finding]:
    """All findings about a host, in the order of `REQUIREMENTS`."""
    found = [one.look(host) for one in REQUIREMENTS]
    if not any(one.name == kernel.privilege.name and one.ok is False for one in found):
        return found
    return [_untried(one) if one.name in _TRIED and one.ok else one for one in found]


def check_ftrace(host: Host) -> list[Finding]:
    """What ftrace needs besides: tracefs that may be written, instances, kprobe events, a clock."""
    events, instances = (one.look(host) for one in OF_FTRACE)
    # Without a tracefs there is no more to be said of it.
    return [events] if instances.detail == events.detail else [events, instances]


def _untried(one: Finding) -> Finding:
    return replace(
        one,
        ok=None,
        cause="not known without root: the kernel has it, and only loading a program tells if it "
        "may be used",
        remedy="run the doctor as root",
    )


def blocking(findings: Iterable[Finding], source: SourceName = "bpf") -> list[Finding]:
    """Those findings that make recording by a source impossible; empty: it is worth a try.

    ``findings``: of `check`, and for ftrace of `check_ftrace` behind them. A missing method blocks
    only when there is no other: either kprobes or trampolines do.
    """
    wanted = next(one for one in SOURCES if one.name == source)
    failed = {finding.name: finding for finding in findings if finding.ok is False}
    names, either = set(wanted.needs), {method.needs for method in wanted.methods}
    if either <= failed.keys():
        names |= either
    if source == "ftrace":
        tracefs = {one.name for one in OF_FTRACE}
        if kernel.lockdown.name in failed:
            names -= tracefs  # it is then empty, which is no news
        elif methods.kprobes.name in failed and tracefs & failed.keys():
            # A kernel without kprobes has no use for a tracefs.
            names = names - tracefs | {methods.kprobes.name}
    return [finding for name, finding in failed.items() if name in names]


def by_source(host: Host, findings: Iterable[Finding]) -> dict[SourceName, list[Finding]]:
    """`blocking` of each source; ``findings``: of `check` for the same host."""
    found = [*findings, *check_ftrace(host)]
    return {source.name: blocking(found, source.name) for source in SOURCES}


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
