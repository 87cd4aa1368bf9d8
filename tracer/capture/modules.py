"""KVM comes and goes: its hooks are set when it is loaded, and given up when it is not any more.

By kprobe, a module can be unloaded while it is hooked; by fexit the kernel keeps it loaded for as
long as the program is attached (kernel/bpf/trampoline.c takes a reference).
"""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracer.capture.attach import Kernel, kvm_gmem_iops
from tracer.capture.program import AttachError, Program
from tracer.errors import UserError
from tracer.kernel.audit_families import KVM
from tracer.kernel.plan import MethodChoice, Step
from tracer.model.record import BASELINE, HEAD, NO_SYSCALL, USER_CPU, Hook, Op, RecordType

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


def attach_records(steps: list[Step], answer: int, since_ns: int) -> NDArray[np.void]:
    """One BASELINE record a family: from now on its hooks are there, or not any more, or the
    module is and they could not be set (`REFUSED`).

    ``duration_ns``: how long the module had been there before (unseen), as far as is known.
    """
    rows = np.zeros(len(steps), BASELINE)
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    rows["time_ns"], rows["duration_ns"] = now_ns, now_ns - since_ns
    rows["cpu"], rows["nr"], rows["fd"] = USER_CPU, NO_SYSCALL, -1
    rows["type"], rows["op"] = RecordType.BASELINE, Op.ATTACH
    rows["hook"] = [Hook[step.hook.upper()] for step in steps]
    rows["arg"] = [step.way for step in steps]
    rows["answer"] = answer
    return rows.view(HEAD)


class ModuleWatch:
    """Keeps a program's hooks in KVM in step with KVM. Ask it often: a look costs microseconds."""

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
        self._steps = [step for step in program.plan.live if step.module == KVM]
        self._now = identify(KVM) if self._steps else 0

    def poll(self) -> NDArray[np.void] | None:
        """Records of what changed since the last look, None: nothing."""
        found, before_ns = self._identify(KVM), self._looked_ns
        self._looked_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if found == self._now:
            return None
        gone = self._steps
        if gone:
            self._program.detach_module(KVM)
        self._steps, refused = self._attach() if found else ([], [])
        self._now = found
        records = [
            attach_records(steps, answer, before_ns)
            for steps, answer in ((gone, OFF), (self._steps, ON), (refused, REFUSED))
            if steps
        ]
        return np.concatenate(records) if records else None

    def _attach(self) -> tuple[list[Step], list[Step]]:
        """Hooks what the module has, as far as it is as it was thought to be; what it could not.

        What it does not have cannot happen there.
        """
        planned = {
            step.family: step
            for step in self._program.plan.steps
            if step.module == KVM and step.method is not None
        }
        try:
            kernel = self._kernel.only_kvm()
        except UserError as error:
            self._tell(f"module {KVM} came, and cannot be looked at: {error}")
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
        iops = kvm_gmem_iops()  # takes longer, and only kernels until 6.18 need it
        if iops:
            self._program.learn_kvm(kernel.modules, iops)
        return done, refused
