"""Scenes of guests with private memory, and of what the own kernel for them has besides."""

import subprocess
from collections.abc import Sequence
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
BREAK = Path("/sys/module/kvm/parameters/break_gmem_fault")
_HUGE = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")


def _vmm(results: Results, name: str, *options: str) -> list[str | Path]:
    return [*UNPREEMPTED, VMM, "--out", results.out / f"{name}.jsonl", *options]


def _recorded(results: Results, name: str, options: Sequence[str]) -> None:
    """One VMM under recorders of both methods; the VMM's own word is NAME.jsonl."""
    recorders = []
    for method in METHODS:  # one after the other: see scenes_guest.guests
        recorders.append(Recorder(results, f"{name}-{method}", "--audit", "--method", method))
        recorders[-1].wait_ready()
    with (results.out / f"{name}.stderr").open("wb") as err:
        words = [str(word) for word in _vmm(results, name, *options)]
        process = subprocess.Popen(words, stderr=err)
    results.tell(name, pid=process.pid, code=wait_for_end(process, 300))
    for recorder in recorders:
        recorder.stop()


def private_doctor(results: Results) -> None:
    Tool(results, "doctor-audit", ["doctor", "--audit", "--json"]).wait()


def conversions(results: Results) -> None:
    """Guests with private memory: random conversions, then each guest reads all its pages."""
    _recorded(results, "conversions", ("--conversions", str(CONVERSIONS), "--run", "--child"))


def conversions_before(results: Results) -> None:
    """Guests that were converted before anybody recorded, and live on."""
    stay, log = Path("/tmp/private-stay"), results.out / "before.jsonl"
    options = ("--conversions", str(FEW), "--seed", "4", "--stay", str(stay))
    process = subprocess.Popen([str(word) for word in _vmm(results, "before", *options)])
    wait_until("guests that stay", lambda: log.exists() and '"stay"' in log.read_text())
    try:
        for method in METHODS:
            recorder = Recorder(results, f"before-{method}", "--audit", "--method", method)
            recorder.wait_ready()
            recorder.stop()
    finally:
        stay.touch()
        results.tell("before", pid=process.pid, code=wait_for_end(process, 60))


def conversions_punched(results: Results) -> None:
    """Pages that have become private are given back from the shared copy, as good VMMs do."""
    _recorded(results, "punched", ("--conversions", str(FEW), "--seed", "2", "--punch"))


def conversions_broken(results: Results) -> None:
    """A kernel that lets the host touch private pages: the breach that no healthy one can show."""
    BREAK.write_text("1")
    try:
        _recorded(results, "broken", ("--conversions", str(FEW), "--seed", "3", "--child"))
    finally:
        BREAK.write_text("0")


def stock_conversions(results: Results) -> None:
    """A kernel of Debian's: what it makes of the same calls."""
    _recorded(results, "stock", ("--conversions", str(FEW)))


def frozen(results: Results) -> None:
    """Files that a live update has frozen, by each method; and why F_SEAL_WRITE says EBUSY."""
    by_both_methods(results, "frozen", lambda name: [*UNPREEMPTED, FROZEN, "calls"])
    Recorder(results, "frozen-ftrace", *BY_FTRACE, command=[FROZEN, "calls"]).wait()


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


def kvm_selftests(results: Results) -> None:
    """The kernel's own tests of what it promises, each under a recorder."""
    for program in sorted((results.out / "selftests").iterdir()):
        name = f"selftest-{program.name}"
        Recorder(results, name, "--audit", command=[program]).wait()
