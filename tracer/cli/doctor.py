"""``sealsnoop doctor``: what this kernel offers, the hook plan, what is missing and what to do."""

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracer.cli.verb import Verb
from tracer.errors import Exit
from tracer.kernel.requirements.checks import SOURCES, Ability
from tracer.kernel.requirements.host import Finding
from tracer.output.console import tell
from tracer.words import HookState

if TYPE_CHECKING:
    from tracer.kernel.plan import Plan, Step
    from tracer.kernel.requirements.host import Host
    from tracer.selftest.run import Examiner, SelfTest

WIDTH = 100
_OTHER_METHOD = "→ try --method auto"
_OTHER_KERNEL = "→ no remedy on this kernel; docs/kernels.md says what others can do"
_MODULE = "→ nothing to do: its hooks are set when it is loaded, also while recording"
_MARKS = {HookState.LIVE: "can", HookState.WAITING: "waits", HookState.UNSUPPORTED: "absent"}
_CAN = {True: "can", False: "can't", None: "unclear"}


_RING_BYTES = 8 << 20


class Doctor(Verb):
    """Tell whether this host can be traced, and if not, why.

    examples:
      sealsnoop doctor                  a report for people, on one screen
      sealsnoop doctor --verbose        with all that was seen, and every prototype
      sealsnoop doctor --json           the same for programs
      sealsnoop doctor --method kprobe  the plan if trampolines are not to be used
      sealsnoop doctor --self-test      try every seal rule and every hook
      sealsnoop doctor --audit          the plan of record --audit

    Loads at most two empty BPF programs and an empty ring buffer, attaches one of them
    for an instant, drops them at once and traces nothing; with --self-test it attaches
    as a recording does, and makes some ten thousand calls on memory files of its own.
    The calls need no root and work where nothing can be traced.

    can      would be recorded here            waits    its module (kvm) is not loaded
    UNSEEN   this kernel has it, and nothing   absent   this kernel has no such function,
             can be attached                            and need not
    can't    as UNSEEN, but it only adds       MISSING  recording is impossible without it;
             detail to what is seen                     missing: it only helps

    exit code: 0 recording would work and every hook has its place
               3 recording would work, but something would stay unseen, or the self-test
                 met an answer that is not documented, or a hook that did not report
               2 this host cannot be traced by BPF; each reason has a remedy beside it, and
                 the last line says whether --source ftrace can do instead
               1 wrong option
    """

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
        parser.add_argument(
            "--method",
            choices=("auto", "fexit", "kprobe"),
            default="auto",
            help="plan for this method (default: auto)",
        )
        parser.add_argument(
            "--self-test",
            action="store_true",
            help="also try the seal rules and the hooks on scratch files",
        )
        parser.add_argument(
            "--audit",
            action="store_true",
            help="plan for an audit: guest memory, pins, other processes",
        )
        parser.add_argument(
            "-v",
            "--verbose",
            action="store_true",
            help="all that was seen, a line or more for each thing",
        )

    def run(self, args: argparse.Namespace) -> int:
        """Prints the report; the exit code is as in the help."""
        if not args.self_test:
            return _run(args, None)
        from tracer.selftest.run import prepared

        with prepared(thorough=True, prefix=b"") as examiner:
            return _run(args, examiner)


def _run(args: argparse.Namespace, examiner: "Examiner | None") -> int:
    from tracer.kernel.blind_spots import AUDIT_BLIND_SPOTS, BLIND_SPOTS
    from tracer.kernel.requirements.checks import abilities, by_source, check
    from tracer.kernel.requirements.host import Host

    host = Host.live()
    findings = check(host)
    ways = {str(source): missing for source, missing in by_source(host, findings).items()}
    blocking = ways["bpf"]
    plan, obstacle = _plan(args.method, host, findings, args.audit)
    uncovered = plan.uncovered if plan else ()
    code = Exit.UNCERTAIN if uncovered else Exit.FINE
    if blocking or plan is None or not plan.live:
        code = Exit.FINDING
    self_test = None
    if examiner:
        self_test = _self_test(examiner, args.method, traceable=code != Exit.FINDING)
    if self_test and not self_test.ok:
        code = code or Exit.UNCERTAIN
    machine = os.uname()
    report = Report(
        f"{machine.release} on {machine.machine}",
        args.method,
        findings,
        ways,
        abilities(findings),
        plan,
        obstacle,
        (*AUDIT_BLIND_SPOTS, *_unfollowed()) if args.audit else BLIND_SPOTS,
        self_test,
        code,
        host.elsewhere,
        _unwinder(),
    )
    if args.json:
        _print_json(report)
    else:
        for line in lines(report, args.verbose):
            print(line)
    return code


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
    code: Exit
    elsewhere: str
    """How another kernel can be traced."""
    unwinder: str | None = None
    """The version of drgn, which finds the callers for --stacks; None: it is not there."""

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
        from tracer.selftest.run import lines as table

        yield ""
        yield from table(report.self_test)
    yield f"\n{_verdict(report)}"


def _host(report: Report, verbose: bool) -> Iterator[str]:
    """What is well takes one line together; what is not, three lines each."""
    well = [one for one in report.findings if one.ok and not verbose]
    if well:
        yield from _wrapped("ok", ", ".join(one.name for one in well))
    for one in report.findings:
        if one not in well:
            yield from _finding(one, report)
    if report.unwinder and verbose:
        yield _row("ok", f"drgn: {report.unwinder}, finds the callers for --stacks")
    elif not report.unwinder:
        yield from _wrapped("missing", "drgn: --stacks finds the innermost frame alone")
        yield _row("", "→ pip install drgn, into the environment of sealsnoop")


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
        if one not in report.findings:  # else it stands above
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
        # Where nothing is seen, there is no need to say what in particular
        if mark in ("UNSEEN", "can't") and plan.live:
            unseen = dict.fromkeys(one.unseen for one in members)
            yield from _wrapped("", f"unseen: {'; '.join(unseen)}")
        if plan.live:
            yield from _remedy(mark, reason, method)


def _mark(step: "Step") -> str:
    failed = "UNSEEN" if step.essential else "can't"
    return _MARKS.get(step.state, failed)


def _remedy(mark: str, reason: str, method: str) -> Iterator[str]:
    if mark == "waits":
        yield _row("", _MODULE)
    if mark in ("UNSEEN", "can't"):
        chosen = method != "auto" and "was asked for" in reason
        yield _row("", _OTHER_METHOD if chosen else _OTHER_KERNEL)


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
    if report.code == Exit.FINDING:
        why = ", ".join(one.name for one in report.blocking)
        if why == "privilege":
            return "this user cannot trace; what root can do is not known: run the doctor with sudo"
        why = why or ("no hook plan" if report.plan is None else "no hook can be attached")
        others = [name for name, missing in report.sources.items() if not missing]
        if others and report.blocking:
            return f"BPF cannot trace this host ({why}); 'record --source {others[0]}' can"
        return f"this host cannot be traced ({why}); {report.elsewhere}"
    parts = ["recording would work here"]
    if report.plan and report.plan.uncovered:
        parts.append("with the gaps marked UNSEEN")
    if report.self_test and not report.self_test.ok:
        parts.append("but the self-test found something wrong")
    return ", ".join(parts)


def _self_test(examiner: "Examiner", method: Any, traceable: bool) -> "SelfTest":
    """With the hooks attached where that can be done, else without."""
    from dataclasses import replace

    from tracer.errors import UserError
    from tracer.selftest.run import run as self_test

    if not traceable:
        return replace(self_test(examiner, None), hooks_note="this host cannot be traced")
    from tracer.capture.attach import Kernel, attach
    from tracer.capture.bpf_source import Filters

    try:
        program = attach(Kernel.running(), method, None, Filters(), _RING_BYTES, tell)
    except UserError as error:
        return replace(self_test(examiner, None), hooks_note=str(error))
    try:
        return self_test(examiner, program)
    finally:
        program.close()


def _unwinder() -> str | None:
    """Found, not imported: that takes a while."""
    from importlib import metadata

    try:
        return metadata.version("drgn")
    except metadata.PackageNotFoundError:
        return None


def _plan(
    method: Any, host: "Host", findings: "list[Finding]", audit: bool
) -> "tuple[Plan | None, str | None]":
    """The plan is worth seeing even where other things forbid tracing: BTF is often readable."""
    from tracer.kernel import offsets
    from tracer.kernel.audit_families import MODULES
    from tracer.kernel.btf import module_btfs, running_btf
    from tracer.kernel.btf_file import BtfError
    from tracer.kernel.plan import Planner
    from tracer.kernel.requirements.methods import preempts
    from tracer.kernel.symbols import Symbols, SymbolsError

    offered = {one.name: one.ok is not False for one in findings}
    try:
        btf = running_btf()
        offsets.macros(btf)
        planner = Planner(
            btf,
            host.symbols or Symbols.load(),
            offered["trampolines"],
            offered["kprobes"],
            preempts(host),
            module_btfs(btf, MODULES) if audit else None,
        )
        return planner.plan(method, audit=audit), None
    except (BtfError, SymbolsError) as error:
        return None, str(error)


def _unfollowed() -> tuple[str, ...]:
    """What an audit does not see of what this kernel has; what is not known is in the plan."""
    from tracer.kernel.audit_families import MODULES
    from tracer.kernel.blind_spots import of_kernel
    from tracer.kernel.btf import module_btfs, running_btf
    from tracer.kernel.btf_file import BtfError

    try:
        btf = running_btf()
        return of_kernel([btf, *module_btfs(btf, MODULES).values()])
    except BtfError:
        return ()


def _print_json(report: "Report") -> None:
    from tracer.capture import host

    document = {
        "kernel": host.facts()["kernel"],
        "can_record": report.code != Exit.FINDING,
        "complete": report.code == Exit.FINE,
        "findings": [finding.to_json() for finding in report.findings],
        "blocking": [finding.name for finding in report.blocking],
        "sources": {
            name: {
                "can": not missing,
                "blocking": [finding.to_json() for finding in missing],
                "methods": {
                    one.method: one.to_json() for one in report.abilities if one.source == name
                },
            }
            for name, missing in report.sources.items()
        },
        "hooks": report.plan.to_json() if report.plan else None,
        "no_plan_because": report.obstacle,
        "drgn": report.unwinder,
        "blind_spots": list(report.blind_spots),
        "self_test": report.self_test.to_json() if report.self_test else None,
    }
    json.dump(document, sys.stdout, indent=2)
    print()
