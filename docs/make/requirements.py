"""``docs/requirements.md`` from `tracer.kernel.requirements`."""

from collections.abc import Iterator
from pathlib import Path

from docs.make.markdown import code, filled, table, wrapped
from tracer.kernel.privileges import (
    COMMAND,
    LATE_BY_ADMIN,
    LATE_HOOKS,
    LEAST,
    READS_MAPS,
    SWEEPS,
    Cap,
)
from tracer.kernel.requirements.checks import OF_FTRACE, REQUIREMENTS, SOURCES, Source
from tracer.kernel.requirements.host import FAMILIES, NEEDS, Host, Obstacle, Requirement

LOOKED_AT = (*REQUIREMENTS, *OF_FTRACE)


def document() -> str:
    """The whole file."""
    needed = {name for source in SOURCES for name in source.needs}
    needed |= {method.needs for source in SOURCES for method in source.methods}
    return filled(
        "requirements",
        packages=_packages(),
        sources="\n\n".join(_source(source) for source in SOURCES),
        requirements="\n\n".join(_requirement(one, one.name in needed) for one in LOOKED_AT),
        kept="\n".join(_kept()),
        least="\n".join(f"| {_cap(cap)} | {without} |" for cap, without in LEAST.items()),
        words=",".join(f"+{cap.name.lower()}" for cap in LEAST),
    )


def _kept() -> Iterator[str]:
    groups = (
        (READS_MAPS, "the end, by source bpf"),
        (SWEEPS, "the baseline is read; with --audit or --stacks the end"),
        (LATE_HOOKS, "the end, with --audit"),
        (LATE_BY_ADMIN, "the end, with --audit"),
        (COMMAND, "the end"),
    )
    for group, until in groups:
        for cap, why in group.items():
            yield f"| {_cap(cap)} | {until} | {why} |"


def _cap(cap: Cap) -> str:
    return f"CAP_{cap.name}"


def _packages() -> str:
    families = FAMILIES.values()
    rows = (
        (one.what, *(", ".join(map(code, one.packages(family))) for family in families))
        for one in NEEDS
    )
    return table(("what", *(family.text for family in families)), rows)


def _source(source: Source) -> str:
    needs = ", ".join(code(name) for name in source.needs)
    if not source.methods:
        return wrapped(f"`{source.name}` ({source.text}) needs {needs}.")
    text = wrapped(f"`{source.name}` ({source.text}) needs {needs}; and one of:")
    rows = ((code(one.name), one.text, code(one.needs)) for one in source.methods)
    return f"{text}\n\n{table(('method', 'what it is', 'needs'), rows)}"


def _requirement(one: Requirement, needed: bool) -> str:
    helps = "" if needed else " Recording works without it."
    rows = ((_cause(obstacle), _remedy(obstacle)) for obstacle in one.obstacles)
    causes = table(("cause", "remedy"), rows)
    return f"### {one.name}\n\n{wrapped(one.purpose + helps)}\n\n{causes}"


def _cause(obstacle: Obstacle) -> str:
    return f"{obstacle.cause}{' (doctor says `unknown`)' if obstacle.unknown else ''}"


def _remedy(obstacle: Obstacle) -> str:
    """In the words for a host of which nothing is known."""
    text = obstacle.remedy
    for word, meaning in Host(Path("/nowhere")).words.items():
        text = text.replace(f"{{{word}}}", meaning)
    return text
