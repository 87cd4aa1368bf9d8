"""The plan: which symbol and which method serve each hook family on this kernel, and why."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from tracer.kernel.audit_families import ALL_FAMILIES
from tracer.kernel.btf import Btf, Prototype
from tracer.kernel.btf_file import BtfMissing
from tracer.kernel.families import FAMILIES, STACK_FAMILIES, WAYS, Alternative, Family
from tracer.kernel.symbols import Symbols
from tracer.words import HookState

Method = Literal["fexit", "kprobe", "tracepoint"]
"""The last one by the source ftrace alone."""
MethodChoice = Literal["auto", "fexit", "kprobe"]

MOST_PARAMETERS = 6
"""In registers: arch/x86/include/asm/ptrace.h. Trampolines take as many everywhere, more only since
6.6 (commit 473e3150e30a)."""

PREEMPTED = (
    "this kernel preempts tasks inside trampoline programs, which it then skips for other tasks"
)
"""The guard of kernel/bpf/trampoline.c:__bpf_prog_enter_recur is per CPU and program, and
preemption stays on in it; a kprobe's program runs with preemption off (kernel/kprobes.c). Seen as
missed events on a booted 7.3."""


@dataclass(frozen=True, slots=True)
class Step:
    """How one family is served. ``symbol`` and ``method`` are None where it is not.

    A method without a symbol: it will be served when its module is loaded.
    """

    family: str
    program: str
    hook: str
    ops: tuple[str, ...]
    symbol: str | None
    method: Method | None
    reason: str
    unseen: str
    essential: bool
    module: str | None = None
    prototype: str | None = None
    parameters: int = 0
    defines: tuple[tuple[str, int], ...] = ()
    at_entry: bool = False
    at_return: bool = False
    way: int = 0
    """Put into the program when it is loaded (see ``bpf/access.h``)."""
    absent: bool = False
    """This kernel has no such function and need not: there is nothing that stays unseen."""

    @property
    def state(self) -> HookState:
        return HookState.of(self.method, self.symbol, self.absent)

    @property
    def live(self) -> bool:
        return self.state == HookState.LIVE

    def macros(self) -> dict[str, int]:
        """What ``bpf/programs.h`` must know to compile this step's program."""
        if self.method is None:
            return {}
        program = self.program.upper()
        found = dict(self.defines)
        found[f"WITH_{'FENTRY' if self.method == 'fexit' else 'KPROBE'}_{program}"] = 1
        if self.method == "fexit" and self.at_return and not self.way:
            found[f"NARGS_{program}"] = self.parameters  # the answer stands behind them
        if self.module:  # when it comes later it is hooked by kprobe (tracer.capture.attach)
            found[f"WITH_KPROBE_{program}"] = 1
        return found


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of `FAMILIES`, or for an audit of `ALL_FAMILIES`, in that order."""

    steps: tuple[Step, ...]

    @property
    def live(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.live)

    @property
    def uncovered(self) -> tuple[Step, ...]:
        """Families that this kernel should have and that are not served."""
        failed = (step for step in self.steps if step.state == HookState.FAILED)
        return tuple(step for step in failed if step.essential)

    def step(self, family: str) -> Step:
        return next(step for step in self.steps if step.family == family)

    def macros(self) -> dict[str, int]:
        """``-D`` macros for ``bpf/programs.h``: which programs to compile, and argument places."""
        found: dict[str, int] = {}
        for step in self.steps:
            found.update(step.macros())
        return found

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(step) for step in self.steps]


class Planner:
    """Chooses from what a kernel offers.

    Args: the kernel's BTF and symbols; whether it has trampolines and kprobes; ``preempts``: tasks
    are preempted in the kernel, so that ``auto`` prefers kprobes; ``modules``: BTF by module name.
    """

    def __init__(
        self,
        btf: Btf,
        symbols: Symbols,
        trampolines: bool = True,
        kprobes: bool = True,
        preempts: bool = False,
        modules: Mapping[str, Btf] | None = None,
    ) -> None:
        self._modules = modules or {}
        self._btf = btf
        self._symbols = symbols
        self._trampolines = trampolines
        self._kprobes = kprobes
        self._preempts = preempts
        self._answers = btf.find_enumerator("BPF_FUNC_get_func_ret") is not None

    def plan(
        self,
        method: MethodChoice = "auto",
        no_fexit: Collection[str] = (),
        families: Collection[str] | None = None,
        left_out: Mapping[str, str] | None = None,
        audit: bool = False,
        stacks: bool = False,
    ) -> Plan:
        """How each family is served, in the order of `ALL_FAMILIES`; raises nothing.

        ``no_fexit``: families whose trampoline the kernel refused. ``families``: the only ones
        wanted, None: all. ``left_out``: families that could not be attached at all, with the
        reason. ``audit``: those that only an audit needs, too; ``stacks``: those of user
        stacks, which have no operation that could be asked for.
        """
        left_out = left_out or {}
        steps: list[Step] = []
        taken: dict[str, int] = {}
        for family in (
            *(ALL_FAMILIES if audit else FAMILIES),
            *(STACK_FAMILIES if stacks else ()),
        ):
            if families is not None and family.ops and family.name not in families:
                steps.append(_off(family, "not asked for"))
                continue
            if family.name in left_out:
                steps.append(_off(family, left_out[family.name]))
                continue
            refusal = "the kernel refused a trampoline there" if family.name in no_fexit else None
            if method == "auto" and self._preempts and self._kprobes:
                refusal = refusal or PREEMPTED
            step = self._step(family, method, refusal or _no_begin(family, steps))
            if _contradiction(step, taken):
                step = self._apart(step, method, taken)
            taken.update(step.macros())
            steps.append(step)
        return Plan(tuple(steps))

    def _apart(self, step: Step, method: MethodChoice, taken: dict[str, int]) -> Step:
        """A step whose program another family uses as well, with other argument places.

        One program is compiled once. A kprobe finds the answer without them (7.3: shmem's mmap
        function takes one parameter, hugetlb's two).
        """
        clash = _contradiction(step, taken)
        why = f"another family's {step.program} has {clash[0]}={taken[clash[0]]}"
        if step.method == "fexit" and method == "auto" and self._kprobes:
            other = replace(step, method="kprobe", reason=f"kprobe because {why}")
            if not _contradiction(other, taken):
                return other
        return replace(step, method=None, reason=f"{step.method} would do, but {why}")

    def _step(self, family: Family, method: MethodChoice, refusal: str | None) -> Step:
        for struct, member in family.needs:
            if not self._btf.has_member(struct, member):
                return _off(family, f"this kernel has no {struct}.{member}")
        if family.module and self._absent(family.module):
            return self._await(family, method, refusal)
        for alternative in family.alternatives:
            if self._symbols.has(alternative.symbol):
                return self._serve(family, alternative, method, refusal)
        names = " nor ".join(alternative.symbol for alternative in family.alternatives)
        copies = [
            copy
            for alternative in family.alternatives
            for copy in self._symbols.suffixed(alternative.symbol)
        ]
        if copies:
            return _off(family, f"this kernel has only a changed copy: {', '.join(copies)}")
        step = _off(family, f"this kernel has no {names}")
        return replace(step, absent=not family.essential)

    def _serve(
        self, family: Family, alternative: Alternative, method: MethodChoice, refusal: str | None
    ) -> Step:
        prototype = self._prototype(alternative.symbol)
        try:
            defines = self._defines(family, alternative, prototype)
        except BtfMissing as error:
            return _off(family, str(error))
        obstacle = refusal or self._no_answer(family)
        obstacle = obstacle or self._fexit_obstacle(alternative, prototype)
        chosen: Method | None
        if method != "kprobe" and obstacle is None:
            chosen, reason = "fexit", "the kernel has trampolines and the prototype fits"
        elif method != "fexit" and not self._kprobes:
            wanted = "kprobe was asked for" if method == "kprobe" else obstacle
            chosen, reason = None, f"{wanted}, but this kernel has no kprobes"
        elif method == "kprobe":
            chosen, reason = "kprobe", "kprobe was asked for"
        elif method == "auto":
            chosen, reason = "kprobe", f"kprobe because {obstacle}"
        else:
            chosen, reason = None, f"fexit was asked for, but {obstacle}"
        return replace(
            _off(family, reason),
            symbol=alternative.symbol,
            method=chosen,
            module=self._symbols.module_of(alternative.symbol),
            prototype=str(prototype) if prototype else None,
            parameters=len(prototype.params) if prototype else 0,
            defines=defines,
            at_entry=family.at_entry and not (chosen == "fexit" and family.begun_by),
            at_return=family.at_return,
            way=WAYS[family.way],
        )

    def _absent(self, module: str) -> bool:
        """Neither loaded nor built into the kernel."""
        return not self._symbols.has_module(module) and not any(
            self._symbols.has(alternative.symbol)
            for family in ALL_FAMILIES
            if family.module == module
            for alternative in family.alternatives
        )

    def _await(self, family: Family, method: MethodChoice, refusal: str | None) -> Step:
        """A step for a module that may come: compiled now, compared with its BTF then."""
        obstacle = refusal or self._no_answer(family)
        obstacle = obstacle or (None if self._trampolines else "it has no trampolines")
        chosen: Method | None = "fexit" if method != "kprobe" and obstacle is None else "kprobe"
        if chosen == "kprobe" and (method == "fexit" or not self._kprobes):
            chosen = None
        one = family.alternatives[0]
        step = _off(family, f"waits for the module {family.module}, which is not loaded")
        return replace(
            step,
            method=chosen,
            module=family.module,
            parameters=one.parameters,
            defines=one.defines,
            at_entry=family.at_entry,
            at_return=family.at_return,
            way=WAYS[family.way],
        )

    def _no_answer(self, family: Family) -> str | None:
        """The program that all ways share asks for the answer, wherever it lies: since 5.17
        (commit f92c1e183604)."""
        if self._answers or not (family.way and family.at_return):
            return None
        return "this kernel's trampoline programs cannot ask for the answer"

    def _prototype(self, symbol: str) -> Prototype | None:
        module = self._symbols.module_of(symbol)
        btf = self._modules.get(module) if module else self._btf
        return btf.function(symbol) if btf is not None and btf.has_function(symbol) else None

    def _defines(
        self, family: Family, alternative: Alternative, prototype: Prototype | None
    ) -> tuple[tuple[str, int], ...]:
        found = list(alternative.defines)
        if alternative.takes and prototype is None:
            raise BtfMissing(f"BTF has no prototype of {alternative.symbol}")
        for place, wanted in enumerate(alternative.takes):
            params = prototype.params if prototype else ()
            if place >= len(params) or params[place].pointee_struct != wanted:
                raise BtfMissing(f"{prototype} does not take a struct {wanted} * there")
        for suffix, struct in alternative.pointers:
            if prototype is None:
                raise BtfMissing(f"BTF has no prototype of {alternative.symbol}")
            place = prototype.index_of_pointer(struct)
            if place >= MOST_PARAMETERS:
                raise BtfMissing(f"struct {struct} * of {prototype} is not in a register")
            found.append((f"ARG_{family.program.upper()}_{suffix}", place))
        for suffix, place in alternative.sizes:
            params = prototype.params if prototype else ()
            size = params[place].size if place < len(params) else None
            # What is above the lower half of a register may be anything, so that is the safe guess.
            found.append((f"BYTES_{family.program.upper()}_{suffix}", size or 4))
        return tuple(found)

    def _fexit_obstacle(self, alternative: Alternative, prototype: Prototype | None) -> str | None:
        if not self._trampolines:
            return "this kernel does not offer BPF trampolines"
        if prototype is None:
            return f"BTF has no prototype of {alternative.symbol}"
        if prototype.ambiguous:
            return f"BTF has several functions called {alternative.symbol}"
        if len(prototype.params) > MOST_PARAMETERS:
            return f"{len(prototype.params)} parameters are more than a trampoline surely takes"
        if self._symbols.traceable(alternative.symbol) is False:
            return f"{alternative.symbol} has no ftrace entry"
        return None


def _off(family: Family, reason: str) -> Step:
    """The family is not served."""
    return Step(
        family.name,
        family.program,
        family.hook.name.lower(),
        tuple(op.name.lower() for op in family.ops),
        None,
        None,
        reason,
        family.unseen,
        family.essential,
    )


def _no_begin(family: Family, steps: list[Step]) -> str | None:
    """Why a family whose calls begin in another one's program cannot use a trampoline."""
    if not family.begun_by:
        return None
    begin = next((step for step in steps if step.family == family.begun_by), None)
    if begin is not None and begin.method == "fexit":
        return None
    return f"{family.begun_by}, where its calls would begin, is on no trampoline"


def _contradiction(step: Step, taken: dict[str, int]) -> list[str]:
    """The macros that the step needs with another value than they have."""
    return [name for name, value in step.macros().items() if taken.get(name, value) != value]
