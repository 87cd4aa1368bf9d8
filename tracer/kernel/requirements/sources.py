"""The sources that can record, and what each needs: add a source here and doctor shows it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tracer.kernel.requirements.finding import Finding


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
    """One of these must work."""


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
