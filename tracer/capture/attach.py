"""From what this kernel offers to an attached program: plan, try, fall back, or say why not."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from tracer.capture.filters import Filters
from tracer.capture.program import AttachError, Program
from tracer.errors import UserError
from tracer.kernel import offsets, requirements, sources
from tracer.kernel.audit_families import AUDIT_FAMILIES, KVM
from tracer.kernel.btf import Btf, BtfError, module_btfs, running_btf
from tracer.kernel.plan import MethodChoice, Plan, Planner
from tracer.kernel.symbols import Symbols, SymbolsError, data_address


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
    def running(cls, source: sources.Source = "bpf") -> "Kernel":
        """Raises UserError naming cause and remedy where this kernel cannot be traced that way."""
        host = requirements.Host.live()
        findings = requirements.check(host)
        blocking = sources.blocking(source, host, findings)
        if blocking:
            reasons = "\n".join(
                f"  {one.name}: {one.cause}\n    → {one.remedy}" for one in blocking
            )
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
                requirements.preempts(host),
            )
        except (BtfError, SymbolsError) as error:
            raise UserError(str(error)) from error

    def with_kvm(self) -> "Kernel":
        """The same with what an audit asks of KVM, if it is there. Raises UserError."""
        try:
            modules = module_btfs(self.btf, [KVM])
        except BtfError as error:
            raise UserError(str(error)) from error
        return replace(self, modules=modules, gmem_iops=kvm_gmem_iops())

    def only_kvm(self) -> "Kernel":
        """As if there were no function but KVM's own, as its BTF lists them. Raises UserError.

        For when it comes while we record: nothing is read that takes long, since until its hooks
        are set it is not seen.
        """
        try:
            modules = module_btfs(self.btf, [KVM])
        except BtfError as error:
            raise UserError(str(error)) from error
        names = [
            alternative.symbol
            for family in AUDIT_FAMILIES
            if family.module == KVM
            for alternative in family.alternatives
            if KVM in modules and modules[KVM].has_function(alternative.symbol)
        ]
        symbols = Symbols((name.encode(), KVM.encode()) for name in names)
        symbols.assume_traceable()
        return replace(self, symbols=symbols, modules=modules, gmem_iops=0)

    def plan(
        self,
        method: MethodChoice = "auto",
        no_fexit: Collection[str] = (),
        families: Collection[str] | None = None,
        left_out: Mapping[str, str] | None = None,
        audit: bool = False,
    ) -> Plan:
        planner = Planner(
            self.btf, self.symbols, self.trampolines, self.kprobes, self.preempts, self.modules
        )
        return planner.plan(method, no_fexit, families, left_out, audit)


def kvm_gmem_iops() -> int:
    """Address of the inode operations of guest_memfds, 0: there are none."""
    return data_address("kvm_gmem_iops", KVM)


def _verdict(kernel_log: str) -> str:
    """What the verifier or libbcc said in the end; statistics are not it."""
    said = [line for line in kernel_log.strip().splitlines() if not line.startswith("processed ")]
    return f": {said[-1].strip()}" if said else ""


def attach(
    kernel: Kernel,
    method: MethodChoice,
    families: Collection[str] | None,
    filters: Filters,
    ring_bytes: int,
    tell: Callable[[str], None],
    audit: bool = False,
) -> Program:
    """An attached program that does not send yet; ``audit``: with the hooks that audits need.

    A family that cannot be attached as planned is tried by kprobe where ``method`` allows it, and
    left out otherwise: what stays unseen then stands in ``program.plan`` and was told.
    Raises UserError when nothing at all could be attached.
    """
    no_fexit: set[str] = set()
    left_out: dict[str, str] = {}
    while True:
        plan = kernel.plan(method, no_fexit, families, left_out, audit)
        if not plan.live:
            reasons = "\n".join(f"  {step.family}: {step.reason}" for step in plan.uncovered)
            raise UserError(f"no hook could be attached:\n{reasons}")
        shape = filters.shape(ring_bytes, audit)
        program = Program(plan, kernel.layout, shape, filters, kernel.btf, kernel.modules)
        try:
            program.learn_kvm(kernel.modules, kernel.gmem_iops)
            program.attach()
        except AttachError as error:
            program.close()
            family = error.step.family
            reason = f"{error}{_verdict(error.kernel_log)}"
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
            return program
