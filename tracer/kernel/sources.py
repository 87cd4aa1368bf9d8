"""Which of the two sources of events a host allows: BPF, or kprobe events in tracefs (ftrace)."""

from collections.abc import Iterable
from typing import Literal

from tracer.kernel.blind_spots import FTRACE_BLIND_SPOTS as FTRACE_BLIND_SPOTS
from tracer.kernel.requirements.checks import blocking as bpf_blocking
from tracer.kernel.requirements.host import Finding, Host
from tracer.kernel.requirements.methods import KPROBE_EVENTS, TRACE_INSTANCES

Source = Literal["bpf", "ftrace"]
SOURCES: tuple[Source, ...] = ("bpf", "ftrace")

_SHARED = frozenset({"architecture", "lockdown", "btf", "symbols"})
"""Findings of `tracer.kernel.requirements.check` that ftrace needs as well."""


def ftrace(host: Host) -> list[Finding]:
    """What ftrace needs besides: tracefs that may be written, instances, kprobe events, a clock."""
    events, instances = KPROBE_EVENTS.look(host), TRACE_INSTANCES.look(host)
    # Without a tracefs there is no more to be said of it.
    return [events] if instances.detail == events.detail else [events, instances]


def blocking(source: Source, host: Host, findings: Iterable[Finding]) -> list[Finding]:
    """What makes recording by that source impossible; empty: it is worth a try.

    ``findings``: of `tracer.kernel.requirements.check` for the same host.
    """
    if source == "bpf":
        return bpf_blocking(findings)
    failed = [one for one in findings if one.ok is False]
    shared = [one for one in failed if one.name in _SHARED]
    if any(one.name == "lockdown" for one in shared):
        return shared  # tracefs is then empty, which is no news
    own = [one for one in ftrace(host) if one.ok is False]
    # A kernel without kprobes has no use for a tracefs.
    missing = [one for one in failed if one.name == "kprobes"] if own else []
    return shared + (missing or own)


def told(host: Host, findings: Iterable[Finding]) -> dict[Source, list[Finding]]:
    """`blocking` of each source."""
    findings = list(findings)
    return {source: blocking(source, host, findings) for source in SOURCES}
