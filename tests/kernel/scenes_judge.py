"""Scenes in the guest whose recordings are judged: the known holes, the kernel's own selftest."""

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.kernel.guest_tools import HERE, PROJECT, Recorder, Results, python
from tests.kernel.scenes_decisions import UNPREEMPTED, by_both_methods

HOLES = PROJECT / "samples" / "holes" / "build" / "holes"
MEMFD_TEST = "memfd_test"
"""In the results' folder, compiled there before the boot: each kernel has its own release's."""

TRACED = (
    "memfd_create,fcntl,mmap,read,pread64,write,pwrite64,ftruncate,truncate,fallocate,open,openat,"
    "chmod,fchmod,madvise,dup,close,clone,clone3,fork,vfork"
)
"""What strace writes down: every call of memfd_test that may decide something, and what becomes of
descriptors."""


@contextlib.contextmanager
def huge_pages(results: Results, name: str, wanted: int) -> Iterator[None]:
    """Reserves huge pages (of 2 MB on x86-64); the result tells how many there really were."""
    reserve = Path("/proc/sys/vm/nr_hugepages")
    reserve.write_text(str(wanted))
    results.tell(name, huge_pages=int(reserve.read_text()))
    try:
        yield
    finally:
        reserve.write_text("0")


def holes(results: Results) -> None:
    """Every known hole and its controls, by both methods."""
    with huge_pages(results, "holes", 16):
        by_both_methods(
            results,
            "holes",
            lambda name: [*UNPREEMPTED, HOLES, "--out", results.out / f"{name}.jsonl"],
        )


def security_module(results: Results) -> None:
    """What a security module forbids."""
    by_both_methods(
        results,
        "security_module",
        lambda name: python("security_module.py", results.out / f"{name}.json"),
        attempts=1,
        options=("--ops", "create", "--no-self-test", "--no-baseline"),
    )


def memfd_test(results: Results) -> None:
    """The selftest on memfds, then on hugetlb memfds, each watched by strace at the same time.

    One recording: the selftest has a System V semaphore, so two of it cannot run at once.
    """
    runs = "; ".join(memfd_test_runs(results))
    with huge_pages(results, "memfd_test", 32):
        Recorder(results, MEMFD_TEST, command=["sh", "-c", runs]).wait(900)


def strangers(results: Results) -> None:
    """stress-ng, and QEMU with a disk by vhost-user: one recording, beside strace."""
    script = HERE / "programs" / "strangers.sh"
    Recorder(results, "strangers", command=["sh", script, results.out, TRACED]).wait(900)


def memfd_test_runs(results: Results) -> list[str]:
    """Shell commands: it on memfds, then on hugetlb memfds."""
    program = results.out / MEMFD_TEST
    return [
        _watched(results, MEMFD_TEST, program),
        _watched(results, f"{MEMFD_TEST}-hugetlb", program, "hugetlbfs"),
    ]


def _watched(results: Results, name: str, *command: str | Path) -> str:
    """A shell command that runs one under strace; its exit code goes into NAME.code."""
    out = results.out / name
    strace = ["strace", "-f", "-y", "-qq", "-s", "0", "-o", f"{out}.strace"]
    strace += ["-e", "signal=none", "-e", f"trace={TRACED}", *map(str, command)]
    return f"{shlex.join(strace)} >{out}.said 2>&1; echo $? >{out}.code"
