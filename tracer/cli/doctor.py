"""``sealsnoop doctor``: what this kernel offers, the hook plan, what is missing and what to do."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from tracer.cli import parsing

if TYPE_CHECKING:
    from tracer.kernel.plan import Plan
    from tracer.kernel.requirements import Finding

EPILOG = """\
examples:
  sealsnoop doctor                  a report for people
  sealsnoop doctor --json           the same for programs
  sealsnoop doctor --method kprobe  the plan if trampolines are not to be used
  sealsnoop doctor --audit          the plan of record --audit

Loads at most one empty BPF program, attaches nothing and traces nothing.

exit code: 0 recording would work and every hook has its place
           3 recording would work, but something would stay unseen
           1 this host cannot be traced; each reason has a remedy beside it
"""

_MARKS = {True: "ok     ", False: "MISSING", None: "unknown"}


def add_parser(subparsers: Any) -> None:
    parser = parsing.add_verb(
        subparsers, "doctor", "tell whether this host can be traced, and if not, why", EPILOG
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--method", choices=("auto", "fexit", "kprobe"), default="auto",
                        help="plan for this method (default: auto)")  # fmt: skip
    parser.add_argument("--audit", action="store_true",
                        help="plan for an audit: guest memory, pins, other processes")  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from tracer.kernel import requirements

    findings = requirements.check(requirements.Host.live())
    blocking = requirements.blocking(findings)
    plan, obstacle = _plan(args.method, findings, args.audit)
    uncovered = plan.uncovered if plan else ()
    code = 1 if blocking or plan is None or not plan.live else 3 if uncovered else 0
    if args.json:
        _print_json(findings, plan, obstacle, code, args.audit)
    else:
        _print_text(findings, plan, obstacle, code, args.audit)
    return code


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
    findings: "list[Finding]", plan: "Plan | None", obstacle: str | None, code: int, audit: bool
) -> None:
    from tracer.capture import host
    from tracer.kernel.requirements import blocking

    report = {
        "kernel": host.facts()["kernel"],
        "can_record": code != 1,
        "complete": code == 0,
        "findings": [finding.to_json() for finding in findings],
        "blocking": [finding.name for finding in blocking(findings)],
        "hooks": plan.to_json() if plan else None,
        "no_plan_because": obstacle,
        "blind_spots": list(_blind_spots(audit)),
    }
    json.dump(report, sys.stdout, indent=2)
    print()


def _print_text(
    findings: "list[Finding]", plan: "Plan | None", obstacle: str | None, code: int, audit: bool
) -> None:
    import os

    print(f"kernel {os.uname().release} on {os.uname().machine}")
    for finding in findings:
        print(f"  {_MARKS[finding.ok]} {finding.name}: {finding.detail}")
        if finding.ok is not True:
            print(f"          {finding.cause}\n          → {finding.remedy}")
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
    verdict = {
        0: "recording would work here",
        3: "recording would work here, with the gaps marked UNSEEN",
        1: "this host cannot be traced; 'make live' traces a real kernel in QEMU instead",
    }
    print(f"\n{verdict[code]}")
