"""``sealsnoop doctor``: what this kernel offers, the hook plan, what is missing and what to do."""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tracer.cli import parsing

if TYPE_CHECKING:
    from tracer.capture.program import Program
    from tracer.kernel.plan import Plan
    from tracer.kernel.requirements import Finding
    from tracer.kernel.sources import Source
    from tracer.selftest.process import Examiner
    from tracer.selftest.run import SelfTest

EPILOG = """\
examples:
  sealsnoop doctor                  a report for people
  sealsnoop doctor --json           the same for programs
  sealsnoop doctor --method kprobe  the plan if trampolines are not to be used
  sealsnoop doctor --self-test      try every seal rule and every hook
  sealsnoop doctor --audit          the plan of record --audit

Loads at most one empty BPF program, attaches nothing and traces nothing; with --self-test it
attaches as a recording does, and makes some ten thousand calls on memory files of its own. The
calls need no root and work where nothing can be traced.

exit code: 0 recording would work and every hook has its place
           3 recording would work, but something would stay unseen, or the self-test met
             an answer that is not documented, or a hook that did not report
           1 this host cannot be traced; each reason has a remedy beside it
"""

_RING_BYTES = 8 << 20
_MARKS = {True: "ok     ", False: "MISSING", None: "unknown"}


def add_parser(subparsers: Any) -> None:
    parser = parsing.add_verb(
        subparsers, "doctor", "tell whether this host can be traced, and if not, why", EPILOG
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--method", choices=("auto", "fexit", "kprobe"), default="auto",
                        help="plan for this method (default: auto)")  # fmt: skip
    parser.add_argument("--self-test", action="store_true",
                        help="also try the seal rules and the hooks on scratch files")  # fmt: skip
    parser.add_argument("--audit", action="store_true",
                        help="plan for an audit: guest memory, pins, other processes")  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if not args.self_test:
        return _report(args, None)
    from tracer.selftest.process import prepared

    with prepared(thorough=True, prefix=b"") as examiner:
        return _report(args, examiner)


def _report(args: argparse.Namespace, examiner: "Examiner | None") -> int:
    from tracer.kernel import requirements, sources

    host = requirements.Host.live()
    findings = requirements.check(host)
    ways = sources.told(host, findings)
    blocking = requirements.blocking(findings)
    plan, obstacle = _plan(args.method, findings, args.audit)
    uncovered = plan.uncovered if plan else ()
    code = 1 if blocking or plan is None or not plan.live else 3 if uncovered else 0
    self_test = _self_test(examiner, args.method, traceable=code != 1) if examiner else None
    if self_test and not self_test.ok:
        code = code or 3
    if args.json:
        _print_json(findings, ways, plan, obstacle, self_test, code, args.audit)
    else:
        _print_text(findings, ways, plan, obstacle, self_test, code, args.audit)
    return code


def _self_test(examiner: "Examiner", method: Any, traceable: bool) -> "SelfTest":
    """With the hooks attached where that can be done, else without."""
    from dataclasses import replace

    from tracer.errors import UserError
    from tracer.selftest.run import run as self_test

    if not traceable:
        return replace(self_test(examiner, None), hooks_note="this host cannot be traced")
    try:
        program = _attached(method)
    except UserError as error:
        return replace(self_test(examiner, None), hooks_note=str(error))
    try:
        return self_test(examiner, program)
    finally:
        program.close()


def _attached(method: Any) -> "Program":
    from tracer.capture.attach import Kernel, attach
    from tracer.capture.filters import Filters

    def tell(text: str) -> None:
        print(f"sealsnoop: {text}", file=sys.stderr)

    return attach(Kernel.running(), method, None, Filters(), _RING_BYTES, tell)


def _plan(method: Any, findings: "list[Finding]", audit: bool) -> "tuple[Plan | None, str | None]":
    """The plan is worth seeing even where other things forbid tracing: BTF is often readable."""
    from tracer.kernel import offsets
    from tracer.kernel.audit_families import KVM
    from tracer.kernel.btf import Btf, BtfError, module_btfs
    from tracer.kernel.plan import Planner
    from tracer.kernel.requirements import Host, preempts
    from tracer.kernel.symbols import Symbols, SymbolsError

    offered = {one.name: one.ok is not False for one in findings}
    try:
        btf = Btf.from_file("/sys/kernel/btf/vmlinux")
        offsets.macros(btf)
        planner = Planner(
            btf,
            Symbols.load(),
            offered["trampolines"],
            offered["kprobes"],
            preempts(Host.live()),
            module_btfs(btf, [KVM]) if audit else None,
        )
        return planner.plan(method, audit=audit), None
    except (BtfError, SymbolsError) as error:
        return None, str(error)


def _blind_spots(audit: bool) -> tuple[str, ...]:
    from tracer.kernel.audit_families import AUDIT_BLIND_SPOTS
    from tracer.kernel.families import BLIND_SPOTS

    return AUDIT_BLIND_SPOTS if audit else BLIND_SPOTS


def _print_json(
    findings: "list[Finding]",
    ways: "Mapping[Source, list[Finding]]",
    plan: "Plan | None",
    obstacle: str | None,
    self_test: "SelfTest | None",
    code: int,
    audit: bool,
) -> None:
    from tracer.capture import host
    from tracer.kernel.requirements import blocking

    report = {
        "kernel": host.facts()["kernel"],
        "can_record": code != 1,
        "complete": code == 0,
        "findings": [finding.to_json() for finding in findings],
        "blocking": [finding.name for finding in blocking(findings)],
        "sources": {
            source: {"can": not missing, "blocking": [one.to_json() for one in missing]}
            for source, missing in ways.items()
        },
        "hooks": plan.to_json() if plan else None,
        "no_plan_because": obstacle,
        "blind_spots": list(_blind_spots(audit)),
        "self_test": self_test.to_json() if self_test else None,
    }
    json.dump(report, sys.stdout, indent=2)
    print()


def _print_text(
    findings: "list[Finding]",
    ways: "Mapping[Source, list[Finding]]",
    plan: "Plan | None",
    obstacle: str | None,
    self_test: "SelfTest | None",
    code: int,
    audit: bool,
) -> None:
    import os

    print(f"kernel {os.uname().release} on {os.uname().machine}")
    for finding in findings:
        print(f"  {_MARKS[finding.ok]} {finding.name}: {finding.detail}")
        if finding.ok is not True:
            print(f"          {finding.cause}\n          → {finding.remedy}")
    print("\nsources of events (record --source)")
    for source, missing in ways.items():
        print(f"  {source:<8}{'can record' if not missing else 'CANNOT'}")
        for one in missing:
            print(f"          {one.cause}\n          → {one.remedy}")
    print("\nhook plan")
    if plan is None:
        print(f"  none: {obstacle}")
    for step in plan.steps if plan else ():
        if step.waiting:
            print(f"  {step.family:<18} by {step.method}: {step.reason}")
        elif step.live:
            print(f"  {step.family:<18} {step.symbol} by {step.method}: {step.reason}")
        else:
            mark = "UNSEEN" if step.essential else "absent"
            print(f"  {step.family:<18} {mark}: {step.reason}")
            print(f"  {'':<18} {step.unseen}")
    print("\nnever seen, on any kernel, by this version")
    for spot in _blind_spots(audit):
        print(f"  {spot}")
    if self_test:
        from tracer.selftest.table import lines

        print()
        for line in lines(self_test):
            print(line)
    print(f"\n{_verdict(code, plan, self_test)}")


def _verdict(code: int, plan: "Plan | None", self_test: "SelfTest | None") -> str:
    if code == 1:
        return "this host cannot be traced; 'make live' traces a real kernel in QEMU instead"
    said = ["recording would work here"]
    if plan and plan.uncovered:
        said.append("with the gaps marked UNSEEN")
    if self_test and not self_test.ok:
        said.append("but the self-test found something amiss")
    return ", ".join(said)
