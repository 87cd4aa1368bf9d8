"""The BPF program in the kernel: compiled, loaded and attached with bcc, and asked for its counts.

The only module that imports bcc, and only when it is used: that import costs a second.
"""

import contextlib
import ctypes
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.capture import bpf_source
from tracer.capture.filters import Filters
from tracer.capture.ring import RingReader, map_ring
from tracer.errors import UserError
from tracer.kernel.btf import Btf, BtfError
from tracer.kernel.plan import Plan, Step
from tracer.model.layout import HEADER, enums

_LIMITS = {
    name: value
    for group in enums(HEADER.read_text()).values()
    for name, value in group.items()
    if name.endswith("_MAX")
}
HOOKS, CAUSES = _LIMITS["HOOK_MAX"], _LIMITS["LOSS_MAX"]

COUNTS = np.dtype(
    [
        ("cpu", "<u8"),
        ("seq", "<u8"),
        ("lost", "<u8", (HOOKS, CAUSES)),
        ("totals", [("decided", "<u8"), ("dropped", "<u8")], (HOOKS,)),
    ]
)
"""struct counts of ``bpf/state.h``."""


class AttachError(Exception):
    """One family could not be attached; ``kernel_log`` is what the verifier or bcc said."""

    def __init__(self, step: Step, kernel_log: str) -> None:
        super().__init__(f"{step.family}: {step.method} on {step.symbol} failed")
        self.step = step
        self.kernel_log = kernel_log


@dataclass(frozen=True, slots=True)
class Attached:
    """One BPF program on one function. ``fd`` is the program's."""

    family: str
    hook: str
    symbol: str
    fd: int


@contextlib.contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """libbcc and the verifier write to descriptor 2; what they say belongs into our message."""
    said: list[str] = []
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            said.append(file.read().decode(errors="replace"))


class Program:
    """Our BPF program for one plan. Close it to detach everything."""

    def __init__(
        self, plan: Plan, layout: dict[str, int], shape: bpf_source.Shape, filters: Filters
    ) -> None:
        os.environ["BCC_KERNEL_SOURCE"] = str(bpf_source.HEADERS)
        from bcc import BPF, libbcc

        class Unattached(BPF):  # type: ignore[misc]
            """bcc attaches by function name as it compiles; the order is ours to choose."""

            def _trace_autoload(self) -> None:
                pass

        self._lib: Any = libbcc.lib
        self._types = {"kprobe": BPF.KPROBE, "tracing": BPF.TRACING, "raw": BPF.RAW_TRACEPOINT}
        self._links: list[int] = []
        self._ring_bytes = shape.ring_bytes
        self.plan = plan
        self.attached: list[Attached] = []
        macros = bpf_source.flags(layout, plan.macros(), shape.macros())
        with _captured_stderr() as said:
            try:
                self._bpf: Any = Unattached(text=bpf_source.text().encode(), cflags=macros)
            except Exception as error:  # bcc raises nothing narrower
                failure: Exception | None = error
            else:
                failure = None
        if failure is not None:
            raise UserError(f"the BPF program did not compile or its maps were refused: {said[0]}")
        self._configure(filters)

    def _configure(self, filters: Filters) -> None:
        config = self._bpf["config"]
        leaf = config.Leaf()
        leaf.own_tgid = os.getpid()
        leaf.seals = filters.seals
        leaf.name_len = len(filters.name)
        leaf.name = filters.name
        config[ctypes.c_int(0)] = leaf
        self._forget_counts()
        for table, values in (
            ("pids", filters.pids),
            ("uids", filters.uids),
            ("cgroups", filters.cgroups),
        ):
            for value in values:
                self._add(table, value)

    def _forget_counts(self) -> None:
        counts = np.zeros_like(self.counts())
        counts["cpu"] = np.arange(len(counts))
        table = self._bpf["counts"]
        table[ctypes.c_int(0)] = type(table[ctypes.c_int(0)]).from_buffer(counts)

    def _add(self, table: str, value: int) -> None:
        keys = self._bpf[table]
        keys[keys.Key(value)] = keys.Leaf(1)

    def follow(self, pid: int) -> None:
        """Adds a process to those that the pid filter lets through."""
        self._add("pids", pid)

    def attach(self) -> None:
        """Attaches every step of the plan: returns after entries, so that no return comes alone.

        Raises AttachError at the first one that fails; close the program then.
        """
        for step in self.plan.live:
            if step.at_entry:
                self._attach(step, at_return=False)
            if step.at_return:
                self._attach(step, at_return=True)
        tracepoints = [("sched_process_exit", "on_exit")]
        if self._lib.bpf_function_start(self._bpf.module, b"on_fork"):
            tracepoints += [("sched_process_fork", "on_fork"), ("sched_process_free", "on_free")]
        for tracepoint, function in tracepoints:
            with _captured_stderr() as said:
                try:
                    self._bpf.attach_raw_tracepoint(tp=tracepoint, fn_name=function)
                    failed = False
                except Exception:  # bcc raises nothing narrower
                    failed = True
            if failed:
                raise UserError(f"cannot attach to the tracepoint {tracepoint}: {said[0]}")

    def _attach(self, step: Step, at_return: bool) -> None:
        symbol = step.symbol or ""
        with _captured_stderr() as said:
            if step.method == "fexit":
                kind = "fexit" if at_return else "fentry"
                # libbcc takes the attach point from the program's name, so one function serves
                # several attach points by being loaded under several names.
                name = f"{'kretfunc__' if at_return else 'kfunc__'}{symbol}"
                fd = self._load(f"{kind}_{step.program}", "tracing", name)
                link = self._lib.bpf_attach_kfunc(fd) if fd >= 0 else -1
            else:
                kind = "kretprobe" if at_return else "kprobe"
                function = f"{kind}_{step.program}"
                fd = self._load(function, "kprobe", function)
                event = f"{kind[0]}_{symbol}".encode()
                link = (
                    self._lib.bpf_attach_kprobe(fd, int(at_return), event, symbol.encode(), 0, 0)
                    if fd >= 0
                    else -1
                )
        if link < 0:
            if fd >= 0:
                os.close(fd)
            raise AttachError(step, said[0])
        self._links.append(link)
        self.attached.append(Attached(step.family, step.hook, symbol, fd))

    def _load(self, function: str, kind: str, name: str) -> int:
        module, start = self._bpf.module, function.encode()
        fd: int = self._lib.bcc_func_load(
            module,
            self._types[kind],
            name.encode(),
            self._lib.bpf_function_start(module, start),
            self._lib.bpf_function_size(module, start),
            self._lib.bpf_module_license(module),
            self._lib.bpf_module_kern_version(module),
            0,
            None,
            0,
            None,
            -1,
        )
        return fd

    @contextlib.contextmanager
    def tested_by(self, pid: int) -> Iterator[None]:
        """Sends what process ``pid`` does meanwhile, whoever and whatever seals are asked for.

        For the self-test, before `enable`: nobody else is sent or counted then, so the counts can
        go back to zero in the end. The ring has to be emptied before that.
        """
        config = self._bpf["config"]
        leaf = config[ctypes.c_int(0)]
        seals = leaf.seals
        leaf.test_tgid, leaf.seals = pid, 0
        config[ctypes.c_int(0)] = leaf
        try:
            yield
        finally:
            leaf.test_tgid, leaf.seals = 0, seals
            config[ctypes.c_int(0)] = leaf
            self._forget_counts()

    def enable(self) -> None:
        """From now on events are sent: every hook is in place."""
        config = self._bpf["config"]
        leaf = config[ctypes.c_int(0)]
        leaf.enabled = 1
        config[ctypes.c_int(0)] = leaf

    def disable(self) -> None:
        """From now on no call is begun; those that began before are still told."""
        config = self._bpf["config"]
        leaf = config[ctypes.c_int(0)]
        leaf.enabled = 0
        config[ctypes.c_int(0)] = leaf

    def ring(self) -> RingReader:
        return map_ring(self._bpf["ring"].map_fd, self._ring_bytes)

    def counts(self) -> NDArray[np.void]:
        """One row of `COUNTS` for each possible CPU, as they stand now."""
        table = self._bpf["counts"]
        leaf = table[ctypes.c_int(0)]
        return np.frombuffer(bytes(leaf), COUNTS).copy()

    def missed(self, btf: Btf) -> dict[str, int]:
        """``{hook: times that the kernel skipped a program of it}``, as far as it tells.

        ``bpf_prog_info.recursion_misses``: for trampolines since 5.12 (commit 9ed9e9ba2337),
        for kprobes since 6.7 (commit dd8657894c11).
        """
        try:
            offset = btf.offset_of("bpf_prog_info", "recursion_misses")
            size = btf.size_of("bpf_prog_info")
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
        calls = self._bpf["calls"].values()
        return sum(1 for call in calls if call.op and not call.before_enabled)

    def detach(self) -> None:
        """Takes every hook off; maps and counts stay readable."""
        for link in self._links:
            os.close(link)
        self._links.clear()
        for tracepoint in (b"sched_process_exit", b"sched_process_fork", b"sched_process_free"):
            with contextlib.suppress(Exception):  # was not attached
                self._bpf.detach_raw_tracepoint(tp=tracepoint)

    def close(self) -> None:
        self.detach()
        for one in self.attached:
            os.close(one.fd)
        self.attached.clear()
        self._bpf.cleanup()
