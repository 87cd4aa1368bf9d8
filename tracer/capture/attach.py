"""From what this kernel offers to an attached program: plan, try, fall back, or say why not.

KVM comes and goes: its hooks are set when it is loaded, and given up when it is not any more. By
kprobe, a module can be unloaded while it is hooked; by fexit the kernel keeps it loaded for as
long as the program is attached (kernel/bpf/trampoline.c takes a reference).
"""

import errno
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from tracer.capture.bpf_source import Filters, Stacks
from tracer.capture.ledger import own_records
from tracer.capture.named_files import NamedFile
from tracer.capture.processes import Identity
from tracer.capture.program import AttachError, Program
from tracer.capture.ring import Records, Source
from tracer.capture.virtual_machines import Walked
from tracer.errors import UserError
from tracer.kernel import offsets
from tracer.kernel.audit_families import KVM, KVM_FUNCTIONS, MODULES
from tracer.kernel.btf import Btf, module_btfs, running_btf
from tracer.kernel.btf_file import BtfError
from tracer.kernel.plan import MethodChoice, Plan, Planner, Step
from tracer.kernel.requirements.checks import SourceName, blocking, check, check_ftrace
from tracer.kernel.requirements.host import Host
from tracer.kernel.requirements.methods import preempts
from tracer.kernel.symbols import Symbols, SymbolsError, data_address
from tracer.record import BASELINE, HEAD, Hook, Op, RecordType
from tracer.steps import OnStep, StartStep


class Hooks(Protocol):
    """`tracer.capture.program.Program` and `tracer.capture.ftrace.program.FtraceProgram`."""

    @property
    def plan(self) -> Plan: ...

    @property
    def stacks(self) -> Stacks:
        """Of which decisions user stacks are taken."""
        ...

    def ring(self) -> Source:
        """Where records come from; the same one each time."""
        ...

    def tested_by(self, pid: int) -> AbstractContextManager[None]:
        """Sends what process ``pid`` does meanwhile, past the filters, before `enable`."""
        ...

    def follow(self, pid: int) -> None:
        """Adds a process to those that the pid filter lets through."""
        ...

    def follow_files(self, files: Sequence[NamedFile]) -> None:
        """From now on what anybody does to these files is wanted. UserError."""
        ...

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def counts(self) -> Records:
        """One row of `tracer.capture.program.COUNTS` a CPU."""
        ...

    def missed(self) -> dict[str, int]:
        """``{hook: times}`` that the kernel skipped it since it was attached."""
        ...

    def in_flight(self) -> int: ...

    def show_mapped(self, fd: int, final: bool) -> None: ...

    def show_known_mapped(self, final: bool, shown: Collection[tuple[int, int]]) -> None: ...

    def virtual_machines(self) -> Walked:
        """Those that exist now, with their memslots. OSError: they cannot be read here."""
        ...

    def identify(self, folder: int) -> Identity | None:
        """Of the process whose folder in /proc it is a descriptor of; None: not known."""
        ...

    def detach(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Kernel:
    """What the running kernel told about itself."""

    btf: Btf
    symbols: Symbols
    layout: dict[str, int]
    trampolines: bool
    kprobes: bool
    preempts: bool
    modules: dict[str, Btf] = field(default_factory=dict)
    """BTF of the modules that have functions to hook, where they are loaded."""
    gmem_iops: int = 0
    """Address of kvm_gmem_iops, 0: unknown."""

    @classmethod
    def running(cls, source: SourceName = "bpf") -> "Kernel":
        """Raises UserError naming cause and remedy where this kernel cannot be traced that way."""
        host = Host.live()
        findings = check(host)
        if source == "ftrace":
            findings += check_ftrace(host)
        missing = blocking(findings, source)
        if missing:
            reasons = "\n".join(f"  {one.name}: {one.cause}\n    → {one.remedy}" for one in missing)
            by = "" if source == "bpf" else f" by {source}"
            raise UserError(f"this kernel cannot be traced{by}:\n{reasons}")
        offered = {one.name: one.ok is not False for one in findings}
        try:
            btf = running_btf()
            layout = offsets.macros(btf)
            return cls(
                btf,
                host.symbols or Symbols.load(),
                layout,
                offered["trampolines"],
                offered["kprobes"] or source == "ftrace",
                preempts(host),
            )
        except (BtfError, SymbolsError) as error:
            raise UserError(str(error)) from error

    def with_kvm(self) -> "Kernel":
        """The same with what an audit asks of KVM, if it is there. Raises UserError."""
        return replace(self, modules=self._kvm(), gmem_iops=kvm_gmem_iops())

    def only_kvm(self) -> "Kernel":
        """As if there were no function but KVM's own, as its BTF lists them. Raises UserError.

        For when it comes while we record: nothing is read that takes long, since until its hooks
        are set it is not seen.
        """
        modules = self._kvm()
        symbols = Symbols(
            (name.encode(), module.encode())
            for module, btf in modules.items()
            for name in KVM_FUNCTIONS[module]
            if btf.has_function(name)
        )
        symbols.assume_traceable()
        return replace(self, symbols=symbols, modules=modules, gmem_iops=0)

    def _kvm(self) -> dict[str, Btf]:
        try:
            return module_btfs(self.btf, MODULES)
        except BtfError as error:
            raise UserError(str(error)) from error

    def plan(
        self,
        method: MethodChoice = "auto",
        no_fexit: Collection[str] = (),
        families: Collection[str] | None = None,
        left_out: Mapping[str, str] | None = None,
        audit: bool = False,
        stacks: bool = False,
    ) -> Plan:
        planner = Planner(
            self.btf, self.symbols, self.trampolines, self.kprobes, self.preempts, self.modules
        )
        return planner.plan(method, no_fexit, families, left_out, audit, stacks)


def kvm_gmem_iops() -> int:
    """Address of the inode operations of guest_memfds, 0: there are none."""
    return data_address("kvm_gmem_iops", KVM)


def _verdict(kernel_log: str) -> str:
    """What the verifier or libbcc said in the end; statistics are not it."""
    lines = [line for line in kernel_log.strip().splitlines() if not line.startswith("processed ")]
    return f": {lines[-1].strip()}" if lines else ""


def _said(error: AttachError) -> str:
    return f"{error}{_verdict(error.kernel_log)}"


_STACKS = "no user stacks"
_TASKS = "programs and command lines of who acts are not recorded"


def attach(
    kernel: Kernel,
    method: MethodChoice,
    families: Collection[str] | None,
    filters: Filters,
    ring_bytes: int,
    tell: Callable[[str], None],
    audit: bool = False,
    on_step: OnStep = lambda step: None,
    stacks: Stacks = Stacks.OFF,
) -> Program:
    """An attached program that does not send yet; ``audit``: with the hooks that audits need.

    A family that cannot be attached as planned is tried by kprobe where ``method`` allows it, and
    left out otherwise: what stays unseen then stands in ``program.plan`` and was told. Where the
    kernel refuses a program that takes ``stacks``, nothing is tried but without them: a decision
    is worth more than who made it.
    Raises UserError when nothing at all could be attached.
    """
    no_fexit: set[str] = set()
    left_out: dict[str, str] = {}
    wanted, tasks = stacks, True
    # What programs tell beside decisions may be too much for the verifier: left out in this order
    # when it refuses one, with what it said; families that it refuses without that, too.
    without: dict[str, AttachError] = {}
    innocent: set[str] = set()
    while True:
        plan = kernel.plan(method, no_fexit, families, left_out, audit, bool(stacks))
        if not plan.live:
            reasons = "\n".join(f"  {step.family}: {step.reason}" for step in plan.uncovered)
            raise UserError(f"no hook could be attached:\n{reasons}")
        on_step(StartStep("compiling the BPF programs"))
        program = Program(
            plan, kernel.layout, filters, kernel.btf, ring_bytes, audit, kernel.modules, stacks,
            tasks,
        )  # fmt: skip
        try:
            program.learn_kvm(kernel.modules, kernel.gmem_iops)
            program.attach(on_step)
        except AttachError as error:
            program.close()
            family = error.step.family
            suspect = error.refused and error.step.hook != _CODE and family not in innocent
            if suspect and stacks:
                without[_STACKS], stacks = error, Stacks.OFF
                continue
            if suspect and tasks:
                without[_TASKS], tasks = error, False
                continue
            if any(one.step.family == family for one in without.values()):
                innocent.add(family)
                without.clear()
                stacks, tasks = wanted, True
            reason = _said(error)
            if error.step.method == "fexit" and method == "auto" and kernel.kprobes:
                no_fexit.add(family)
                tell(f"{reason}; trying a kprobe")
            else:
                left_out[family] = reason
                tell(f"{reason}; unseen from now on: {error.step.unseen}")
        except BaseException:
            program.close()
            raise
        else:
            for what, first in without.items():
                tell(f"{what}: {_said(first)}")
            return program


_CODE = Hook.CODE.name.lower()
_LIVE = b"live"
ON, OFF, REFUSED = 0, -errno.ENOENT, -errno.EOPNOTSUPP


def identity(module: str, root: Path = Path("/")) -> int:
    """A number that stays for as long as this very load of the module lives, 0: not loaded.

    A new load has a new folder in sysfs.
    """
    folder = root / "sys/module" / module
    try:
        with (folder / "initstate").open("rb") as file:
            state = file.read(8).strip()
        return os.stat(folder).st_ino if state == _LIVE else 0
    except OSError:
        return 0


def attach_records(steps: list[Step], answer: int, since_ns: int) -> Records:
    """One BASELINE record a family: from now on its hooks are there, or not any more, or the
    module is and they could not be set (`REFUSED`).

    ``duration_ns``: how long the module had been there before (unseen), as far as is known.
    """
    rows = own_records(len(steps), BASELINE, RecordType.BASELINE)
    rows["duration_ns"] = rows["time_ns"] - np.uint64(since_ns)
    rows["fd"], rows["op"] = -1, Op.ATTACH
    rows["hook"] = [Hook[step.hook.upper()] for step in steps]
    rows["arg"] = [step.way for step in steps]
    rows["answer"] = answer
    return rows.view(HEAD)


class ModuleWatch:
    """Keeps a program's hooks in KVM's modules in step with them. Ask it often: a look costs
    microseconds."""

    def __init__(
        self,
        program: Program,
        kernel: Kernel,
        method: MethodChoice,
        tell: Callable[[str], None],
        identify: Callable[[str], int] = identity,
    ) -> None:
        self._program = program
        self._kernel = kernel
        # For a trampoline the module's BTF is asked for by its id, which takes CAP_SYS_ADMIN.
        self._method: MethodChoice = "kprobe" if kernel.kprobes else method
        self._tell = tell
        self._identify = identify
        self._looked_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._steps = {
            module: [step for step in program.plan.live if step.module == module]
            for module in MODULES
        }
        self._now = {module: identify(module) if on else 0 for module, on in self._steps.items()}

    def poll(self) -> Records | None:
        """Records of what changed since the last look, None: nothing."""
        before_ns = self._looked_ns
        self._looked_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        records: list[Records] = []
        for module in MODULES:
            found = self._identify(module)
            if found != self._now[module]:
                records += self._changed(module, found, before_ns)
        return np.concatenate(records) if records else None

    def _changed(self, module: str, found: int, before_ns: int) -> list[Records]:
        """It came, went, or did both: what that means to its hooks."""
        gone = self._steps[module]
        if gone:
            self._program.detach_module(module)
        on, refused = self._attach(module) if found else ([], [])
        self._steps[module], self._now[module] = on, found
        return [
            attach_records(steps, answer, before_ns)
            for steps, answer in ((gone, OFF), (on, ON), (refused, REFUSED))
            if steps
        ]

    def _attach(self, module: str) -> tuple[list[Step], list[Step]]:
        """Hooks what the module has, as far as it is as it was thought to be; what it could not.

        What it does not have cannot happen there.
        """
        planned = {
            step.family: step
            for step in self._program.plan.steps
            if step.module == module and step.method is not None
        }
        try:
            kernel = self._kernel.only_kvm()
        except UserError as error:
            self._tell(f"module {module} came, and cannot be looked at: {error}")
            return [], list(planned.values())
        self._program.learn_kvm(kernel.modules, 0)
        compiled = self._program.plan.macros()
        wanted = set(planned)
        done, refused = [], []
        for step in kernel.plan(self._method, families=wanted, audit=True).steps:
            if step.family not in wanted:
                continue
            if not step.live:
                reason = step.reason
            elif step.macros().items() - compiled.items():
                reason = f"{step.prototype} was not expected"
            else:
                try:
                    self._program.attach_step(step)
                except AttachError as error:
                    reason = f"{error}: {error.kernel_log.strip()}"
                else:
                    done.append(step)
                    continue
            if not step.absent:
                refused.append(planned[step.family])
            if planned[step.family].essential:
                self._tell(f"unseen: {step.unseen} ({reason})")
        # Takes longer, and only kernels until 6.18 need it.
        if module == KVM and (iops := kvm_gmem_iops()):
            self._program.learn_kvm(kernel.modules, iops)
        return done, refused
