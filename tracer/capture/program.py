"""The BPF program in the kernel: compiled, loaded and attached with bcc, and asked for its counts.

The only module that imports bcc, and only when it is used: that import costs a second.
"""

import contextlib
import ctypes
import locale
import mmap
import os
import struct
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tracer.capture import bpf_source, cgroups
from tracer.capture.bpf_source import (
    CAUSES,
    CODE_RING_BYTES,
    HOOKS,
    STACK_RING_BYTES,
    Filters,
    Stacks,
)
from tracer.capture.named_files import NamedFile
from tracer.capture.processes import Identity
from tracer.capture.ring import Records, RingReader, map_ring
from tracer.capture.stacks.samples import CODE_MAP, SAMPLE
from tracer.capture.virtual_machines import VM_LIST, Layout, Numbers, Walk, Walked
from tracer.errors import UserError
from tracer.escape import printable
from tracer.kernel import bpf_syscall
from tracer.kernel.audit_families import KVM, PROC_PIDS
from tracer.kernel.btf import Btf
from tracer.kernel.btf_file import BtfError
from tracer.kernel.plan import Plan, Step
from tracer.kernel.symbols import data_address
from tracer.steps import OnStep, StartStep
from tracer.words import Flag, Hook

COUNTS = np.dtype(
    [
        ("cpu", "<u8"),
        ("seq", "<u8"),
        ("lost", "<u8", (HOOKS, CAUSES)),
        ("totals", [("decided", "<u8"), ("dropped", "<u8")], (HOOKS,)),
    ]
)
"""struct counts of ``bpf/state.h``."""
SOMEONE = np.dtype([("mm", "<u8"), ("start_ns", "<u8"), ("pid", "<u4"), ("exec_id", "<u4")])
"""struct someone of ``bpf/ways.h``."""

_KVM_LOADED = f"/sys/module/{KVM}"
_UNOPTIMISED = ("-Xclang", "-disable-llvm-passes")


class AttachError(Exception):
    """One family could not be attached; ``kernel_log`` is what the verifier or bcc said.

    ``refused``: the kernel did not even take the program.
    """

    def __init__(self, step: Step, kernel_log: str, refused: bool = False) -> None:
        super().__init__(f"{step.family}: {step.method} on {step.symbol} failed")
        self.step = step
        self.kernel_log = kernel_log
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Attached:
    """One BPF program on one function. ``fd`` is the program's."""

    family: str
    hook: str
    symbol: str
    fd: int
    link: int
    module: str | None


@contextlib.contextmanager
def _plain_letters() -> Iterator[None]:
    """clang looks its options up in a table sorted without regard to case, by the C library's rule
    for this host's language: in Turkish, whose small I is another, it finds none of them."""
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    try:
        yield
    finally:
        locale.setlocale(locale.LC_CTYPE, before)


@contextlib.contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """libbcc and the verifier write to descriptor 2; what they say belongs into our message."""
    messages: list[str] = []
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield messages
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            messages.append(file.read().decode(errors="replace"))


class _KernelMemory:
    """The kernel's memory, read by a BPF program that is run once a piece."""

    def __init__(self, program: "Program") -> None:
        self._mapped = mmap.mmap(
            program._bpf["memory"].map_fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ
        )
        self._read = program._load("show_memory", bpf_syscall.RAW_TRACEPOINT)
        self._vm = program._load("show_vm", bpf_syscall.RAW_TRACEPOINT)

    def read(self, address: int, size: int) -> bytes:
        """A page at most, zero where it cannot be read. OSError."""
        bpf_syscall.run_raw(self._read, (address, size))
        return self._mapped[:size]

    def numbers(self, kvm: int, mm: int) -> Numbers:
        """Of a machine, by its address and its VMM's mm_struct's; 0: no room. OSError."""
        bpf_syscall.run_raw(self._vm, (kvm, mm))
        return Numbers(*struct.unpack_from("<3Q", self._mapped))

    def close(self) -> None:
        self._mapped.close()
        for program in (self._read, self._vm):
            os.close(program)


class Program:
    """Our BPF program for one plan. Close it to detach everything."""

    def __init__(
        self,
        plan: Plan,
        layout: dict[str, int],
        filters: Filters,
        btf: Btf,
        ring_bytes: int,
        audit: bool = False,
        modules: Mapping[str, Btf] | None = None,
        stacks: Stacks = Stacks.OFF,
        tasks: bool = True,
    ) -> None:
        """``tasks``: who acts is told, too, by code in each program."""
        os.environ["BCC_KERNEL_SOURCE"] = str(bpf_source.HEADERS)
        from bcc import BPF, libbcc, utils

        class Unattached(BPF):  # type: ignore[misc]
            """bcc attaches by function name as it compiles; the order is ours to choose."""

            def _trace_autoload(self) -> None:
                pass

        self._lib: Any = libbcc.lib
        self._btf = btf
        self._modules = dict(modules or {})
        self._audit = audit
        self._show_mapped = self._show_process = -1
        self._shown: Records | None = None
        self._identifying = threading.Lock()
        self._tracepoints: list[int] = []
        self._ring_bytes = ring_bytes
        self.stacks = stacks
        """Of which decisions user stacks are taken."""
        self.plan = plan
        self.attached: list[Attached] = []
        # bcc asks for debug information, which nobody reads and which takes a fifth of the time;
        # and it optimises by itself what clang would optimise first, for another fifth.
        cpus = {"CPUS": 1 + max(utils.get_possible_cpus())}
        chosen = filters.macros(ring_bytes, audit, stacks=stacks, tasks=tasks)
        flags = [*bpf_source.flags(layout, plan.macros(), chosen, cpus), "-g0", *_UNOPTIMISED]
        text = bpf_source.text().encode()
        with _captured_stderr() as messages, _plain_letters():
            try:
                self._bpf: Any = Unattached(text=text, cflags=flags)
            except Exception as error:  # bcc raises nothing narrower
                failure: Exception | None = error
            else:
                failure = None
        if failure is not None:
            raise UserError(
                f"the BPF program did not compile or its maps were refused: {messages[0]}"
            )
        self._counts = self._map_counts(cpus["CPUS"])
        self._forget_counts()
        self._configure(filters)

    def _configure(self, filters: Filters) -> None:
        with self._changed("config") as config:
            config.own_tgid = os.getpid()
            config.seals = filters.seals
            config.name_len = len(filters.name)
            config.name = filters.name
        for table in ("pids", "uids", "cgroups"):
            for value in getattr(filters, table):
                self._add(table, value)
        self._below = filters.cgroups

    @contextlib.contextmanager
    def _changed(self, table: str) -> Iterator[Any]:
        """The one entry of an array, which is put back as it is changed."""
        entries = self._bpf[table]
        entry = entries[ctypes.c_int(0)]
        yield entry
        entries[ctypes.c_int(0)] = entry

    def _map_counts(self, cpus: int) -> Records:
        size = -(-cpus * COUNTS.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
        shared = mmap.mmap(self._bpf["counts"].map_fd, size)
        return np.frombuffer(shared, COUNTS, cpus)

    def _forget_counts(self) -> None:
        self._counts[:] = 0
        self._counts["cpu"] = np.arange(len(self._counts))

    def _add(self, table: str, value: int) -> None:
        keys = self._bpf[table]
        keys[keys.Key(value)] = keys.Leaf(0)

    def follow(self, pid: int) -> None:
        """Adds a process to those that the pid filter lets through."""
        self._add("pids", pid)

    def follow_files(self, files: Sequence[NamedFile]) -> None:
        """From now on what anybody does to these files is wanted. They are held open meanwhile.

        UserError: this kernel cannot be told, or a file is of a kind that is not recorded.
        """
        if not files:
            return
        program = -1
        try:
            program = self._load("follow_descriptor", bpf_syscall.RAW_TRACEPOINT)
            for file in files:
                bpf_syscall.run_raw(program, (file.fd,))
        except OSError as error:
            raise UserError(f"--file: this kernel cannot be told of a file: {error}") from error
        finally:
            if program >= 0:
                os.close(program)
        known = {(one.dev, one.ino) for one in self._bpf["objects"].values() if one.followed}
        for file in files:
            if (file.dev, file.ino) not in known:
                kind = "guest_memfd and secretmem are recorded with --audit alone"
                raise UserError(f"--file: {printable(file.text)} cannot be followed; {kind}")

    def attach(self, on_step: OnStep = lambda step: None) -> None:
        """Attaches every step of the plan: returns after entries, so that no return comes alone.

        Raises AttachError at the first one that fails; close the program then.
        """
        for number, step in enumerate(self.plan.live, 1):
            on_step(StartStep("attaching hooks", number, len(self.plan.live)))
            self.attach_step(step)
        tracepoints = [("sched_process_exit", "on_exit")]
        if self._lib.bpf_function_start(self._bpf.module, b"on_fork"):
            tracepoints += [("sched_process_fork", "on_fork"), ("sched_process_free", "on_free")]
        if self._lib.bpf_function_start(self._bpf.module, b"on_copy"):
            tracepoints.append(("sched_process_fork", "on_copy"))
        if self._lib.bpf_function_start(self._bpf.module, b"on_mkdir"):
            tracepoints.append(("cgroup_mkdir", "on_mkdir"))
        if self._lib.bpf_function_start(self._bpf.module, b"on_rmdir"):
            tracepoints.append(("cgroup_rmdir", "on_rmdir"))
        for tracepoint, function in tracepoints:
            try:
                fd = self._load(function, bpf_syscall.RAW_TRACEPOINT)
                self._tracepoints.append(fd)
                self._tracepoints.append(bpf_syscall.attach(fd, tracepoint))
            except OSError as error:
                raise UserError(f"cannot attach to the tracepoint {tracepoint}: {error}") from error
        # New ones are seen by now, below those that the kernel side knows.
        known = set(self._below)
        while fresh := cgroups.below(known) - known:
            for cgroup in fresh:
                self._add("cgroups", cgroup)
            known |= fresh

    def attach_step(self, step: Step) -> None:
        """Attaches one step. Raises AttachError."""
        if step.at_entry:
            self._attach(step, at_return=False)
        if step.at_return:
            self._attach(step, at_return=True)

    def _attach(self, step: Step, at_return: bool) -> None:
        symbol = step.symbol or ""
        fd, refusal = -1, ""
        try:
            if step.method == "fexit":
                fd = self._load_trampoline(step, at_return)
                link = bpf_syscall.attach(fd)
            else:
                fd = self._load(
                    f"{'kretprobe' if at_return else 'kprobe'}_{step.program}",
                    bpf_syscall.KPROBE,
                    step.way,
                )
                link, refusal = self._attach_kprobe(fd, symbol, at_return)
        except (OSError, BtfError) as error:
            link, refusal = -1, str(error)
        if link < 0:
            if fd >= 0:
                os.close(fd)
            raise AttachError(step, refusal, refused=fd < 0)
        self.attached.append(Attached(step.family, step.hook, symbol, fd, link, step.module))

    def _attach_kprobe(self, fd: int, symbol: str, at_return: bool) -> tuple[int, str]:
        """The link, or -1 and what libbcc said."""
        event = f"{'r' if at_return else 'p'}_{symbol}".encode()
        with _captured_stderr() as messages:
            link = self._lib.bpf_attach_kprobe(fd, int(at_return), event, symbol.encode(), 0, 0)
        return link, messages[0]

    def _load_trampoline(self, step: Step, at_return: bool) -> int:
        """As `_load`, for a function of the kernel or of a module. OSError, BtfError."""
        symbol = step.symbol or ""
        btf = self._modules[step.module] if step.module else self._btf
        function = btf.function_id(symbol)
        btf_fd = bpf_syscall.module_btf(step.module) if step.module else 0
        try:
            return self._load(
                f"{'fexit' if at_return else 'fentry'}_{step.program}",
                bpf_syscall.TRACING,
                step.way,
                attach_type=bpf_syscall.FEXIT if at_return else bpf_syscall.FENTRY,
                function_id=function,
                btf_fd=btf_fd,
            )
        finally:
            if btf_fd:
                os.close(btf_fd)

    def _code(self, function: str, way: int) -> bytes:
        """A program's instructions, with ``way`` where the source has WAY_MARK (if it has)."""
        module, start = self._bpf.module, function.encode()
        code = ctypes.string_at(
            self._lib.bpf_function_start(module, start), self._lib.bpf_function_size(module, start)
        )
        return bpf_source.with_way(code, way) if way else code

    def _load(self, function: str, kind: int, way: int = 0, **target: int) -> int:
        """A program that bcc compiled, in the kernel; its descriptor. OSError."""
        return bpf_syscall.load(self._code(function, way), function, kind, **target)

    @contextlib.contextmanager
    def tested_by(self, pid: int) -> Iterator[None]:
        """Sends what process ``pid`` does meanwhile, whoever and whatever seals are asked for.

        For the self-test, before `enable`: nobody else is sent or counted then, so the counts can
        go back to zero in the end. The ring has to be emptied before that.
        """
        with self._changed("config") as config:
            seals = config.seals
            config.test_tgid, config.seals = pid, 0
        try:
            yield
        finally:
            with self._changed("config") as config:
                config.test_tgid, config.seals = 0, seals
            self._forget_counts()

    def enable(self) -> None:
        """From now on events are sent: every hook is in place."""
        with self._changed("config") as config:
            config.enabled = 1

    def disable(self) -> None:
        """From now on no call is begun; those that began before are still told."""
        with self._changed("config") as config:
            config.enabled = 0

    def ring(self) -> RingReader:
        return map_ring(self._bpf["ring"].map_fd, self._ring_bytes)

    def stack_rings(self) -> tuple[RingReader, RingReader]:
        """Of user stacks: the samples, and where code lies. Only with :attr:`stacks`."""
        return (
            map_ring(self._bpf["stack_samples"].map_fd, STACK_RING_BYTES, SAMPLE),
            map_ring(self._bpf["code_maps"].map_fd, CODE_RING_BYTES, CODE_MAP),
        )

    def counts(self) -> Records:
        """One row of `COUNTS` for each possible CPU, as they stand now."""
        return self._counts.copy()

    def missed(self) -> dict[str, int]:
        """``{hook: times that the kernel skipped a program of it}`` so far, if it tells.

        ``bpf_prog_info.recursion_misses``: for trampolines since 5.12 (commit 9ed9e9ba2337),
        for kprobes since 6.7 (commit dd8657894c11).
        """
        try:
            offset = self._btf.offset_of("bpf_prog_info", "recursion_misses")
            size = self._btf.size_of("bpf_prog_info")
        except BtfError:
            return {}
        found: dict[str, int] = {}
        for one in self.attached:
            info = ctypes.create_string_buffer(size)
            length = ctypes.c_uint32(size)
            if self._lib.bpf_obj_get_info(one.fd, info, ctypes.byref(length)) == 0:
                misses = int.from_bytes(info.raw[offset : offset + 8], "little")
                found[one.hook] = found.get(one.hook, 0) + misses
        return found

    def in_flight(self) -> int:
        """Calls whose entry was seen and whose return did not come yet."""
        slots = self._bpf["slots"]
        taken = [slots[ctypes.c_int(key.value)] for key in self._bpf["owners"]]
        taken += self._bpf["calls"].values()
        calls = [slot.call for slot in taken] + self._bpf["outer_calls"].values()
        count = sum(1 for call in calls if call.op and not call.before_enabled)
        count += sum(not one.told for one in self._bpf["execs"].values())
        return count + (len(self._bpf["accesses"].values()) if self._audit else 0)

    def learn_kvm(self, modules: Mapping[str, Btf], gmem_iops: int) -> None:
        """What the BPF side has to know about KVM, which may have come only now.

        ``gmem_iops``: address of kvm_gmem_iops, 0 where there is none.
        """
        if not self._audit:
            return
        self._modules = dict(modules)
        with self._changed("kvm_facts") as facts:
            facts.gmem_iops = gmem_iops
            known = [*modules.values(), self._btf]  # which has them where KVM is built in
            facts.has_gmem = any(
                btf.has_member("struct kvm_userspace_memory_region2", "guest_memfd")
                for btf in known
            )
            for btf in known:
                if btf.has_member("struct kvm", "mm"):
                    facts.vm_mm = btf.offset_of("kvm", "mm")
                if btf.has_member("struct kvm_memory_slot", "gmem.file"):
                    facts.slot_file = btf.offset_of("kvm_memory_slot", "gmem.file")
                    facts.slot_page = btf.offset_of("kvm_memory_slot", "gmem.pgoff")

    def show_mapped(self, fd: int, final: bool) -> None:
        """Sends whether anybody maps the file behind our descriptor now. Only for audits.

        OSError where the kernel does not run BPF programs at will.
        """
        bpf_syscall.run_raw(self._mapped_program(), (fd, 0, int(Flag.FINAL) if final else 0))

    def show_known_mapped(self, final: bool, shown: Collection[tuple[int, int]]) -> None:
        """The same for every object that was announced, still lives, and is not in ``shown``.

        ``shown``: by device and inode number.
        """
        flags = int(Flag.FINAL) if final else 0
        for inode, known in self._bpf["objects"].items():
            if (known.dev, known.ino) not in shown:
                bpf_syscall.run_raw(self._mapped_program(), (0, inode.value, flags))

    def _mapped_program(self) -> int:
        if self._show_mapped < 0:
            self._show_mapped = self._load("show_mapped", bpf_syscall.RAW_TRACEPOINT)
        return self._show_mapped

    def identify(self, folder: int) -> Identity | None:
        """Of the process whose folder in /proc our descriptor ``folder`` is on; None: it is gone,
        or this kernel does not tell. Only for audits.

        OSError where the kernel does not run BPF programs at will. By any thread.
        """
        if not self._audit or not all(self._btf.has_member(*one) for one in PROC_PIDS):
            return None
        with self._identifying:
            if self._shown is None:
                self._show_process = self._load("show_process", bpf_syscall.RAW_TRACEPOINT)
                shared = mmap.mmap(self._bpf["shown"].map_fd, mmap.PAGESIZE)
                self._shown = np.frombuffer(shared, SOMEONE, 1)
            bpf_syscall.run_raw(self._show_process, (folder,))
            row = self._shown[0]
            if not row["pid"]:
                return None
            return Identity(int(row["start_ns"]), int(row["exec_id"]), int(row["mm"]))

    def virtual_machines(self) -> Walked:
        """Those that exist now, with their memslots. Only for audits.

        OSError where the kernel does not run BPF programs at will.
        """
        if not os.path.isdir(_KVM_LOADED):
            return Walked()
        btf = self._modules.get(KVM, self._btf)
        head = data_address(VM_LIST, KVM)
        if not head:
            return Walked(why=f"/proc/kallsyms does not tell where {VM_LIST} is")
        try:
            layout = Layout.of(btf, self._btf)
        except BtfError as error:
            return Walked(why=str(error))
        with contextlib.closing(_KernelMemory(self)) as memory:
            return Walk(memory, layout, head, self._setting).walk(memory.numbers)

    def _setting(self) -> bool:
        """Whether a call that sets a memslot, or converts, has begun and not returned."""
        hooks = {Hook.MEMSLOT.value, Hook.CONVERT.value}
        return any(key.hook in hooks for key in self._bpf["accesses"])

    def detach_module(self, module: str) -> None:
        """Takes the hooks in a module off, which may be gone already."""
        for one in [one for one in self.attached if one.module == module]:
            os.close(one.link)
            os.close(one.fd)
            self.attached.remove(one)

    def detach(self) -> None:
        """Takes every hook off; maps and counts stay readable."""
        for place, one in enumerate(self.attached):
            if one.link >= 0:
                os.close(one.link)
                self.attached[place] = replace(one, link=-1)
        while self._tracepoints:
            os.close(self._tracepoints.pop())

    def close(self) -> None:
        self.detach()
        for one in self.attached:
            os.close(one.fd)
        self.attached.clear()
        for fd in (self._show_mapped, self._show_process):
            if fd >= 0:
                os.close(fd)
        self._bpf.cleanup()
