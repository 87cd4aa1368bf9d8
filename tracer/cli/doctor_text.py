"""Doctor's report for people: one screen, and with ``verbose`` all that was seen."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracer.kernel.requirements import SOURCES, Ability, Finding

if TYPE_CHECKING:
    from tracer.kernel.plan import Plan, Step
    from tracer.selftest.run import SelfTest

WIDTH = 100
_OTHER_METHOD = "→ try --method auto"
_OTHER_KERNEL = "→ no remedy on this kernel; docs/kernels.md says what others can do"
_MODULE = "→ nothing to do: its hooks are set when it is loaded, also while recording"
_CAN = {True: "can", False: "can't", None: "unclear"}


@dataclass(frozen=True, slots=True)
class Report:
    """All that doctor found out. ``obstacle`` says why there is no plan."""

    kernel: str
    method: str
    findings: Sequence[Finding]
    sources: Mapping[str, Sequence[Finding]]
    """What makes recording impossible, for each source of events."""
    abilities: Sequence[Ability]
    plan: "Plan | None"
    obstacle: str | None
    blind_spots: Sequence[str]
    self_test: "SelfTest | None"
    code: int
    elsewhere: str
    """How another kernel can be traced."""

    @property
    def blocking(self) -> Sequence[Finding]:
        """What makes recording by BPF impossible."""
        return self.sources["bpf"]


def lines(report: Report, verbose: bool = False) -> Iterator[str]:
    """The report's lines, the verdict last."""
    yield f"kernel {report.kernel}"
    yield "\nhost"
    yield from _host(report, verbose)
    yield "\nsources"
    for name, missing in report.sources.items():
        yield from _source(name, missing, report)
    guess = any(one.name == "privilege" and one.ok is False for one in report.findings)
    yield "\nhook families" + (" (a guess: not known without root)" if guess else "")
    if report.plan is None:
        yield from _wrapped("none", f"no plan: {report.obstacle}")
        if not report.blocking:  # else its remedy stands above
            yield _row("", f"→ {report.elsewhere}")
    elif verbose:
        for step in report.plan.steps:
            yield from _step(step, report)
    else:
        yield from _families(report.plan, report.method)
    yield "\nnever seen, on any kernel, by this version"
    for spot in report.blind_spots:
        yield from textwrap.wrap(
            spot, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
        )
    if report.self_test:
        from tracer.selftest.table import lines as table

        yield ""
        yield from table(report.self_test)
    yield f"\n{_verdict(report)}"


def _host(report: Report, verbose: bool) -> Iterator[str]:
    """What is well takes one line together; what is not, three lines each."""
    if verbose:
        for one in report.findings:
            yield from _finding(one, report)
        return
    well = [one.name for one in report.findings if one.ok]
    if well:
        yield from _wrapped("ok", ", ".join(well))
    for one in report.findings:
        if not one.ok:
            yield from _finding(one, report)


def _finding(one: Finding, report: Report) -> Iterator[str]:
    blocks = any(one in missing for missing in report.sources.values())
    missing = "MISSING" if blocks else "missing"
    mark = {True: "ok", False: missing, None: "unknown"}[one.ok]
    yield _row(mark, f"{one.name}: {one.detail}")
    if one.ok is not True:
        yield from _wrapped("", one.cause)
        yield from _wrapped("", f"→ {one.remedy}")


def _source(name: str, missing: Sequence[Finding], report: Report) -> Iterator[str]:
    source = next(one for one in SOURCES if one.name == name)
    texts = {method.name: method.text for method in source.methods}
    yield _row(_CAN[not missing], f"{name} ({source.text}){_because(one.name for one in missing)}")
    for one in missing:
        if one not in report.findings:  # else it is told above
            yield from _finding(one, report)
    for can in report.abilities:
        if can.source == name:
            text = f"  by {can.method} ({texts[can.method]}){_because(can.because)}"
            yield _row(_CAN[can.ok], text)


def _because(names: Iterable[str]) -> str:
    found = ", ".join(names)
    return f": {found}" if found else ""


def _families(plan: "Plan", method: str) -> Iterator[str]:
    """Families that fare alike stand together."""
    groups: dict[tuple[str, str], list[Step]] = {}
    for step in plan.steps:
        groups.setdefault((_mark(step), step.reason), []).append(step)
    for (mark, reason), members in groups.items():
        by = f"by {members[0].method}: " if members[0].method else ""
        yield from _wrapped(mark, by + reason)
        # A symbol stays in one piece with its family when lines are broken
        names = [f"{one.family}\0{one.symbol}" if one.live else one.family for one in members]
        yield from _wrapped("", ", ".join(names))
        # Where nothing is seen, it need not be told what in particular
        if mark in ("UNSEEN", "can't") and plan.live:
            unseen = dict.fromkeys(one.unseen for one in members)
            yield from _wrapped("", f"unseen: {'; '.join(unseen)}")
        if plan.live:
            yield from _remedy(mark, reason, method)


def _mark(step: "Step") -> str:
    if step.waiting:
        return "waits"
    if step.live:
        return "can"
    if step.absent:
        return "absent"
    return "UNSEEN" if step.essential else "can't"


def _remedy(mark: str, reason: str, method: str) -> Iterator[str]:
    if mark == "waits":
        yield _row("", _MODULE)
    if mark in ("UNSEEN", "can't"):
        asked = method != "auto" and "was asked for" in reason
        yield _row("", _OTHER_METHOD if asked else _OTHER_KERNEL)


def _step(step: "Step", report: Report) -> Iterator[str]:
    where = f" {step.symbol} by {step.method}" if step.live else ""
    yield _row(_mark(step), f"{step.family}{where}: {step.reason}")
    if step.prototype:
        yield _row("", step.prototype)
    if step.method is None and not step.absent:
        yield _row("", f"unseen: {step.unseen}")
    if report.plan and report.plan.live:
        yield from _remedy(_mark(step), step.reason, report.method)


def _row(mark: str, text: str) -> str:
    return f"  {mark:<7} {text}"


def _wrapped(mark: str, text: str) -> Iterator[str]:
    first, *rest = textwrap.wrap(text, WIDTH - 10, break_on_hyphens=False) or [""]
    yield _row(mark, first.replace("\0", " "))
    for line in rest:
        yield _row("", line.replace("\0", " "))


def _verdict(report: Report) -> str:
    if report.code == 1:
        why = ", ".join(one.name for one in report.blocking)
        if why == "privilege":
            return "this user cannot trace; what root can do is not known: run the doctor with sudo"
        why = why or ("no hook plan" if report.plan is None else "no hook can be attached")
        others = [name for name, missing in report.sources.items() if not missing]
        if others and report.blocking:
            return f"BPF cannot trace this host ({why}); 'record --source {others[0]}' can"
        return f"this host cannot be traced ({why}); {report.elsewhere}"
    said = ["recording would work here"]
    if report.plan and report.plan.uncovered:
        said.append("with the gaps marked UNSEEN")
    if report.self_test and not report.self_test.ok:
        said.append("but the self-test found something amiss")
    return ", ".join(said)
