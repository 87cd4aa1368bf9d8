"""Scenes in a guest that can run guests: KVM, guest memory, and every other way to its pages."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tests.kernel.guest_tools import (
    HERE,
    PROJECT,
    Recorder,
    Results,
    in_pairs,
    wait_for_end,
    wait_until,
)
from tests.kernel.scenes_decisions import METHODS, UNPREEMPTED

VMM = PROJECT / "samples" / "vmm" / "build" / "vmm"
PASSING = HERE / "programs" / "build" / "passing"
KVM_MODULES = ("kvm_amd", "kvm")

ALL_WAYS = (
    "--read", "--write", "--second-process", "--process-vm-readv", "--proc-mem", "--fork",
    "--pin-io-uring", "--userfaultfd", "--mprotect", "--punch",
)  # fmt: skip

MEMFD_GUESTS: dict[str, tuple[str, ...]] = {
    "good": (),
    "unsealed": ("--unsealed-window",),
    "ways": ALL_WAYS,
    "secret": ("--secret", "--no-run"),
}
GMEM_GUESTS: dict[str, tuple[str, ...]] = {
    "gmem-good": ("--guest-memfd",),
    "gmem-mapped": ("--guest-memfd", "--host-mmap"),
    "gmem-ways": ("--guest-memfd", *ALL_WAYS),
}
OLDER: dict[str, tuple[str, ...]] = {"older": (), "gmem-older": ("--guest-memfd",)}
"""Those that have all their memory before anything is recorded."""
_SETTLE_S = 3.0


def _start(results: Results, name: str, options: Sequence[str | Path]) -> "subprocess.Popen[bytes]":
    """A VMM of that name, whose memory is called so where it has a name."""
    command = [*UNPREEMPTED, VMM, "--name", name, "--out", results.out / f"vmm-{name}.jsonl"]
    with (results.out / f"vmm-{name}.stderr").open("wb") as err:
        process = subprocess.Popen([*map(str, command), *map(str, options)], stderr=err)
    results.tell(f"vmm-{name}", pid=process.pid)
    return process


def _run(results: Results, name: str, options: Sequence[str | Path]) -> None:
    results.tell(f"vmm-{name}", code=wait_for_end(_start(results, name, options), 60))


def _makers(results: Results, name: str, *options: str) -> list[Callable[[], Recorder]]:
    """One recorder for each method."""
    return [
        partial(Recorder, results, f"{name}-{method}", "--audit", "--method", method, *options)
        for method in METHODS
    ]


def has_gmem() -> bool:
    """Whether this kernel's KVM has guest_memfd."""
    return any(
        line.split()[2] == "kvm_gmem_create"
        for line in Path("/proc/kallsyms").read_text().splitlines()
    )


def _stays(log: Path) -> bool:
    return log.exists() and '"stay"' in log.read_text()


def guests(results: Results) -> None:
    """All guests under recorders of both methods; one mapped before, two alive at the end."""
    gmem = has_gmem()
    results.tell("guests", gmem=gmem)
    ready, go, stay = (Path(f"/tmp/vmm-{word}") for word in ("ready", "go", "stay"))
    before = _start(
        results, "before",
        ("--map-before", "--ready", ready, "--go", go, "--stay", stay),
    )  # fmt: skip
    staying = [before]
    for name in tuple(OLDER)[: 1 + gmem]:
        staying.append(_start(results, name, (*OLDER[name], "--stay", stay)))
        wait_until(name, partial(_stays, results.out / f"vmm-{name}.jsonl"))
    sent, take = Path("/tmp/passing-sent"), Path("/tmp/passing-take")
    try:
        with (results.out / "passing.jsonl").open("wb") as out:
            words = [*UNPREEMPTED, PASSING, sent, take]
            passing = subprocess.Popen([*map(str, words)], stdout=out)
        wait_until("the guest that maps before", ready.exists)
        wait_until("a message from before", sent.exists)
        # One after the other: while one sets a hook, QEMU may let the other's first call of the
        # same function run past its own, and the self-test's count is asked for to the last.
        recorders = []
        for make in _makers(results, "guests"):
            recorders.append(make())
            recorders[-1].wait_ready()
        for name, options in (MEMFD_GUESTS | (GMEM_GUESTS if gmem else {})).items():
            _run(results, name, options)
        if gmem:
            staying.append(_start(results, "gmem-stays", ("--guest-memfd", "--stay", stay)))
        go.touch()
        take.touch()
        results.tell("passing", code=wait_for_end(passing, 60))
        for name in ("before", "gmem-stays")[: 1 + gmem]:
            wait_until(name, partial(_stays, results.out / f"vmm-{name}.jsonl"))
        time.sleep(_SETTLE_S)
        for recorder in recorders:
            recorder.stop()
    finally:
        go.touch()
        stay.touch()
        for process in staying:
            wait_for_end(process, 60)


def kvm_comes_and_goes(results: Results) -> None:
    """KVM is loaded during a recording, unloaded and loaded again."""
    modprobe("-r", *KVM_MODULES)
    recorders = in_pairs(_makers(results, "kvm", "--ops", "memslot", "--no-baseline"))
    by_method = dict(zip(METHODS, recorders, strict=True))
    modprobe(KVM_MODULES[0])
    _wait_for_changes(recorders, 1)
    _run(results, "first-load", ())
    by_method["fexit"].stop()
    modprobe("-r", *KVM_MODULES)
    _wait_for_changes([by_method["kprobe"]], 2)
    modprobe(KVM_MODULES[0])
    _wait_for_changes([by_method["kprobe"]], 3)
    _run(results, "second-load", ())
    by_method["kprobe"].stop()


def kvm_changes(recording: Path) -> int:
    """How often KVM's hooks came, went or were refused, as far as the recording says."""
    from tracer.recording.reader import (
        Recording,  # takes long here, and the other scenes need it not
    )

    with Recording.open(recording) as found:
        rows = found.frame("mappings")
    # Several families are told of at each change, all at the same moment.
    changes = rows[(rows["op"] == "attach") & (rows["hook"] == "memslot")]
    return int(changes["time_ns"].nunique())


def _wait_for_changes(recorders: Sequence[Recorder], count: int) -> None:
    """Until each recording says that often that memslots are seen from now on, or not any more."""

    def said(recorder: Recorder) -> bool:
        recorder.check_alive()
        return kvm_changes(recorder.output) >= count

    for recorder in recorders:
        wait_until(f"change {count} of KVM in {recorder.name}", partial(said, recorder))


def modprobe(*arguments: str) -> None:
    done = subprocess.run(
        ["modprobe", *arguments], capture_output=True, text=True, check=False, env=os.environ
    )
    if done.returncode:
        raise RuntimeError(f"modprobe {' '.join(arguments)}: {done.stderr}")
