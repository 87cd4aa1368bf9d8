"""Scenes of guests with private memory, and of what the own kernel for them has besides."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.kernel.guest_tools import (
    HERE,
    PROJECT,
    Recorder,
    Results,
    Tool,
    python,
    wait_for_end,
    wait_until,
)
from tests.kernel.scenes_decisions import METHODS, UNPREEMPTED, by_both_methods
from tests.kernel.scenes_ftrace import BY_FTRACE

VMM = PROJECT / "samples" / "vmm" / "build" / "private"
FROZEN = HERE / "programs" / "build" / "frozen"
CONVERSIONS, FEW = 10_000, 400
TRACING = Path("/sys/kernel/tracing")
BREAK = Path("/sys/module/kvm/parameters/break_gmem_fault")
_HUGE = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")


def _vmm(results: Results, name: str, *options: str) -> list[str | Path]:
    return [*UNPREEMPTED, VMM, "--out", results.out / f"{name}.jsonl", *options]


def _play(results: Results, name: str, *options: str) -> None:
    """One VMM to its end; its own word is NAME.jsonl."""
    with (results.out / f"{name}.stderr").open("wb") as err:
        words = [str(word) for word in _vmm(results, name, *options)]
        process = subprocess.Popen(words, stderr=err)
    results.tell(name, pid=process.pid, code=wait_for_end(process, 300))


@contextlib.contextmanager
def _recorders(results: Results, name: str) -> Iterator[None]:
    """NAME-METHOD.seal of both methods, which record all that is done meanwhile."""
    recorders = []
    for method in METHODS:  # one after the other: see scenes_guest.guests
        recorders.append(Recorder(results, f"{name}-{method}", "--audit", "--method", method))
        recorders[-1].wait_ready()
    try:
        yield
    finally:
        for recorder in recorders:
            recorder.stop()


def private_doctor(results: Results) -> None:
    Tool(results, "doctor-audit", ["doctor", "--audit", "--json"]).wait()


@contextlib.contextmanager
def _lived_before(results: Results) -> Iterator[None]:
    """Guests that were converted before anybody recorded, and live on."""
    stay, log = Path("/tmp/private-stay"), results.out / "before.jsonl"
    options = ("--conversions", str(FEW), "--seed", "4", "--stay", str(stay))
    process = subprocess.Popen([str(word) for word in _vmm(results, "before", *options)])
    wait_until("guests that stay", lambda: log.exists() and '"stay"' in log.read_text())
    try:
        yield
    finally:
        stay.touch()
        results.tell("before", pid=process.pid, code=wait_for_end(process, 60))


@contextlib.contextmanager
def _broken() -> Iterator[None]:
    """A kernel that lets the host touch private pages: the breach that no healthy one can show."""
    BREAK.write_text("1")
    try:
        yield
    finally:
        BREAK.write_text("0")


@contextlib.contextmanager
def _tracepoint(out: Path) -> Iterator[None]:
    """The kernel's own word of each conversion that KVM takes, in a buffer that is nobody else's;
    times are of the boot clock."""
    instance = TRACING / "instances" / "conversions"
    instance.mkdir()
    try:
        (instance / "trace_clock").write_text("boot")
        switch = instance / "events" / "kvm" / "kvm_vm_set_mem_attributes" / "enable"
        switch.write_text("1")
        yield
        switch.write_text("0")
        out.write_text((instance / "trace").read_text())
    finally:
        instance.rmdir()


def _selftests(results: Results) -> None:
    """The kernel's own tests of what it promises, beside strace and the tracepoint of conversions.

    They have threads that spin, for which UNPREEMPTED would be the end.
    """
    script = HERE / "programs" / "selftests.sh"
    with (
        _tracepoint(results.out / "selftests.trace"),
        (results.out / "selftests.stderr").open("wb") as err,
    ):
        process = subprocess.Popen(["sh", str(script), str(results.out)], stderr=err)
        results.tell("selftests", code=wait_for_end(process, 600))


def private_memory(results: Results) -> None:
    """All guests with private memory in two recordings of the whole host: at a start of minutes
    each, and so that nobody is taken for another one."""
    with _lived_before(results), _recorders(results, "private"):
        # Random conversions, then each guest reads all its pages.
        _play(results, "conversions", "--conversions", str(CONVERSIONS), "--run", "--child")
        # Pages that have become private are given back from the shared copy, as good VMMs do.
        _play(results, "punched", "--conversions", str(FEW), "--seed", "2", "--punch")
        _selftests(results)
        with _broken():
            _play(results, "broken", "--conversions", str(FEW), "--seed", "3", "--child")


def stock_conversions(results: Results) -> None:
    """A kernel of Debian's: what it makes of the same calls."""
    with _recorders(results, "stock"):
        _play(results, "stock", "--conversions", str(FEW))


def frozen(results: Results) -> None:
    """Files that a live update has frozen, by each method; and why F_SEAL_WRITE says EBUSY.

    Not by ftrace: under QEMU this kernel dies of that source's probe on fd_install (RIP 0).
    """
    by_both_methods(results, "frozen", lambda name: [*UNPREEMPTED, FROZEN, "calls"])


def busy(results: Results) -> None:
    """F_SEAL_WRITE while pages are pinned, and while they are huge."""
    by_both_methods(results, "pinned", lambda name: [*UNPREEMPTED, FROZEN, "pinned"])
    if not _HUGE.exists():
        results.tell("huge", there=False)
        return
    before = _HUGE.read_text().partition("[")[2].partition("]")[0]
    _HUGE.write_text("always")
    try:
        by_both_methods(results, "huge", lambda name: [*UNPREEMPTED, FROZEN, "huge"])
    finally:
        _HUGE.write_text(before)
    results.tell("huge", there=True)


def conversions_by_ftrace(results: Results) -> None:
    """What KVM's own tracepoint tells of them."""
    command = _vmm(results, "by-ftrace", "--conversions", str(FEW), "--seed", "5")
    Recorder(results, "by-ftrace", *BY_FTRACE, command=command).wait()


def sev_commands(results: Results) -> None:
    """Debug commands for a guest that is none of SEV's: all that can be asked for here."""
    by_both_methods(results, "sev", lambda name: [*UNPREEMPTED, *python("sev_debug.py")])
