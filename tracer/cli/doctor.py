"""``sealsnoop doctor``: what this kernel offers, the hook plan, what is missing and what to do."""

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from tracer.cli import parsing
from tracer.text.outlet import tell

if TYPE_CHECKING:
    from tracer.capture.program import Program
    from tracer.cli.doctor_text import Report
    from tracer.kernel.plan import Plan
    from tracer.kernel.requirements import Finding, Host
    from tracer.selftest.process import Examiner
    from tracer.selftest.run import SelfTest

EPILOG = """\
examples:
  sealsnoop doctor                  a report for people, on one screen
  sealsnoop doctor --verbose        with all that was seen, and every prototype
  sealsnoop doctor --json           the same for programs
  sealsnoop doctor --method kprobe  the plan if trampolines are not to be used
  sealsnoop doctor --self-test      try every seal rule and every hook
  sealsnoop doctor --audit          the plan of record --audit

Loads at most two empty BPF programs and an empty ring buffer, attaches one of them for an
instant, drops them at once and traces nothing; with --self-test it attaches as a recording does,
and makes some ten thousand calls on memory files of its own. The calls need no root and work where
nothing can be traced.

can      would be recorded here            waits    its module (kvm) is not loaded
UNSEEN   this kernel has it, and nothing   absent   this kernel has no such function,
         can be attached                            and need not
can't    as UNSEEN, but it only adds       MISSING  recording is impossible without it;
         detail to what is seen                     missing: it only helps

exit code: 0 recording would work and every hook has its place
           3 recording would work, but something would stay unseen, or the self-test met
             an answer that is not documented, or a hook that did not report
           1 this host cannot be traced by BPF; each reason has a remedy beside it, and the
             last line says whether --source ftrace can do instead
"""

_RING_BYTES = 8 << 20


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
    parser.add_argument("-v", "--verbose", action="store_true",
                        help="all that was seen, a line or more for each thing")  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if not args.self_test:
        return _report(args, None)
    from tracer.selftest.process import prepared

    with prepared(thorough=True, prefix=b"") as examiner:
        return _report(args, examiner)


def _report(args: argparse.Namespace, examiner: "Examiner | None") -> int:
    from tracer.cli.doctor_text import Report
    from tracer.kernel import requirements, sources

    host = requirements.Host.live()
    findings = requirements.check(host)
    ways = {str(source): missing for source, missing in sources.told(host, findings).items()}
    blocking = ways["bpf"]
    plan, obstacle = _plan(args.method, host, findings, args.audit)
    uncovered = plan.uncovered if plan else ()
    code = 1 if blocking or plan is None or not plan.live else 3 if uncovered else 0
    self_test = _self_test(examiner, args.method, traceable=code != 1) if examiner else None
    if self_test and not self_test.ok:
        code = code or 3
    machine = os.uname()
    report = Report(
        f"{machine.release} on {machine.machine}",
        args.method,
        findings,
        ways,
        requirements.abilities(findings),
        plan,
        obstacle,
        _blind_spots(args.audit),
        self_test,
        code,
        host.elsewhere,
    )
    if args.json:
        _print_json(report)
    else:
        _print_text(report, args.verbose)
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

    return attach(Kernel.running(), method, None, Filters(), _RING_BYTES, tell)


def _plan(
    method: Any, host: "Host", findings: "list[Finding]", audit: bool
) -> "tuple[Plan | None, str | None]":
    """The plan is worth seeing even where other things forbid tracing: BTF is often readable."""
    from tracer.kernel import offsets
    from tracer.kernel.audit_families import KVM
    from tracer.kernel.btf import BtfError, module_btfs, running_btf
    from tracer.kernel.plan import Planner
    from tracer.kernel.requirements import preempts
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
            module_btfs(btf, [KVM]) if audit else None,
        )
        return planner.plan(method, audit=audit), None
    except (BtfError, SymbolsError) as error:
        return None, str(error)


def _blind_spots(audit: bool) -> tuple[str, ...]:
    from tracer.kernel.audit_families import AUDIT_BLIND_SPOTS
    from tracer.kernel.families import BLIND_SPOTS

    return AUDIT_BLIND_SPOTS if audit else BLIND_SPOTS


def _print_json(report: "Report") -> None:
    from tracer.capture import host

    document = {
        "kernel": host.facts()["kernel"],
        "can_record": report.code != 1,
        "complete": report.code == 0,
        "findings": [finding.to_json() for finding in report.findings],
        "blocking": [finding.name for finding in report.blocking],
        "sources": {name: _source_json(report, name) for name in report.sources},
        "hooks": report.plan.to_json() if report.plan else None,
        "no_plan_because": report.obstacle,
        "blind_spots": list(report.blind_spots),
        "self_test": report.self_test.to_json() if report.self_test else None,
    }
    json.dump(document, sys.stdout, indent=2)
    print()


def _source_json(report: "Report", source: str) -> dict[str, Any]:
    missing = report.sources[source]
    return {
        "can": not missing,
        "blocking": [finding.to_json() for finding in missing],
        "methods": {one.method: one.to_json() for one in report.abilities if one.source == source},
    }


def _print_text(report: "Report", verbose: bool) -> None:
    from tracer.cli.doctor_text import lines

    for line in lines(report, verbose):
        print(line)
