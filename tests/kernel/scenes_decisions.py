"""Scenes in the guest: the workload under every method and filter, the baseline, and races."""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tests.kernel.guest_tools import (
    HERE,
    NOBODY,
    PROJECT,
    WORKLOAD,
    Recorder,
    Results,
    Tool,
    in_pairs,
    preemption,
    preempts,
    python,
)

METHODS = ("fexit", "kprobe")
HUGE_PAGES = 64  # of 2 MB; two workloads at once use a few each
RACES = 500
NUMBERS_TAKEN = 3
UNPREEMPTED = ("chrt", "--fifo", "1")
"""A kernel that preempts a task inside a trampoline's program skips it for other tasks on that CPU
(kernel/bpf/trampoline.c:__bpf_prog_enter_recur), and no BPF program can prevent that. So where
fexit must lose nothing, the workload runs in a class that is not preempted."""


@contextlib.contextmanager
def tmpfs() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tmpfs-", dir="/tmp"))
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=False)


def doctor(results: Results) -> None:
    doctors = [
        Tool(results, f"doctor-{method}", ["doctor", "--json", "--method", method])
        for method in ("auto", *METHODS)
    ]
    for one in doctors:
        one.wait()


def _workload(results: Results, name: str, *options: str | Path) -> list[str | Path]:
    return [WORKLOAD, "--out", results.out / f"{name}.jsonl", *options]


def by_both_methods(
    results: Results,
    name: str,
    command: Callable[[str], list[str | Path]],
    attempts: int = 3,
    options: Sequence[str] = (),
) -> None:
    """Two recorders at once, each with a command of its own: neither may see the other's.

    ``attempts``: what is not ours (the recorders' helpers, other commands) is preempted even where
    the workload is not, and fexit then declares that the workload was missed. The tests judge what
    is whole, so that is recorded once more; how often stands in the results.
    """
    for attempt in range(1, attempts + 1):
        fexit, _ = _at_once(results, name, command, options)
        results.tell(f"{name}-fexit", attempt=attempt)
        if not (preempts(preemption()) and attempt < attempts and fexit.misses):
            return
        for file in results.out.glob(f"{name}-*"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()


def _at_once(
    results: Results,
    name: str,
    command: Callable[[str], list[str | Path]],
    options: Sequence[str],
) -> list[Recorder]:
    """Both have ended; in the order of `METHODS`."""
    recorders = []
    for mine, other in (METHODS, METHODS[::-1]):
        gate: list[str | Path] = [
            "sh",
            HERE / "programs" / "together.sh",
            results.out,
            f"{name}-{mine}",
        ]
        recorders.append(
            Recorder(
                results,
                f"{name}-{mine}",
                *("--method", mine, *options),
                command=[*gate, f"{name}-{other}", *command(f"{name}-{mine}")],
            )
        )
    for recorder in recorders:
        recorder.wait()
    return recorders


def truth_default(results: Results) -> None:
    by_both_methods(results, "default", lambda name: [*UNPREEMPTED, *_workload(results, name)])


def live_without_apt(results: Results) -> None:
    """`make live` where nothing is left of apt; then where there is no bcc either.

    The guest's files are its own: what is taken away here is back in the next one.
    """
    for tool in Path("/usr/bin").glob("apt*"), Path("/usr/bin").glob("dpkg*"):
        for file in tool:
            file.unlink()
    Path("/etc/os-release").unlink()
    Path("/etc/os-release").write_text("ID=fedora\n")
    _make_live(results, "live-without-apt")
    shutil.rmtree("/usr/lib/python3/dist-packages/bcc")
    _make_live(results, "live-without-bcc")


def _make_live(results: Results, name: str) -> None:
    with (
        (results.out / f"{name}.stdout").open("wb") as out,
        (results.out / f"{name}.stderr").open("wb") as err,
    ):
        done = subprocess.run(["make", "live"], cwd=PROJECT, stdout=out, stderr=err, check=False)
    results.tell(name, code=done.returncode)


def truth_quick(results: Results) -> None:
    huge = Path("/proc/sys/vm/nr_hugepages")
    huge.write_text(str(HUGE_PAGES))
    reserved = int(huge.read_text())
    results.tell("quick", huge_pages=reserved)
    with tmpfs() as folder:
        options = _wide(folder, reserved)
        by_both_methods(
            results, "quick", lambda name: [*UNPREEMPTED, *_workload(results, name, *options)]
        )
        _preempted(results, options)
    huge.write_text("0")


def awkward_command(results: Results, name: str) -> list[str | Path]:
    """All programs of what is easily recorded wrongly; the truth goes by ``name``."""
    return ["sh", HERE / "programs" / "awkward.sh", results.out, name, sys.executable]


def awkward(results: Results) -> None:
    by_both_methods(
        results, "awkward", lambda name: [*UNPREEMPTED, *awkward_command(results, name)]
    )


def _wide(folder: Path, huge_pages: int) -> list[str | Path]:
    options: list[str | Path] = ["--quick", "--fork", "--threads", "--tmpfs", folder]
    return [*options, *(["--hugetlb"] if huge_pages else [])]


def workload_wide(
    results: Results, run: Callable[[Callable[[str], list[str | Path]]], object]
) -> None:
    """``run`` gets what makes the command of truth_quick, whose truth goes by the given name."""
    reserved = int(Path("/proc/sys/vm/nr_hugepages").read_text())
    with tmpfs() as folder:
        options = _wide(folder, reserved)
        run(lambda name: _workload(results, name, *options))


def _preempted(results: Results, options: list[str | Path]) -> None:
    """Many at once, as the scheduler likes: what fexit then misses has to be declared."""
    command = _workload(results, "preempted", *options)
    Recorder(results, "preempted", "--method", "fexit", command=command).wait()


FILTERS: dict[str, tuple[str, ...]] = {
    "pid": ("--method", "kprobe"),  # and --pid, known only when its process runs
    "uid": ("--uid", str(NOBODY)),
    "name": ("--name", "w0-mmap", "--method", "kprobe", "--no-self-test"),
    "seals": ("--seals", "grow,write", "--no-self-test"),
    "denied": ("--denied", "--method", "kprobe", "--no-self-test"),
    "ops": ("--ops", "mmap,add_seals", "--no-self-test"),
    "unsealable": ("--unsealable", "--no-self-test"),
}
"""Recordings of one and the same moment, through different filters. One recorder's self-test is
another program to the others, so those that see the whole host begin when none is to come."""


def filters(results: Results) -> None:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tmpfs())
        holder = stack.enter_context(
            subprocess.Popen(python("holder.py"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        )
        assert holder.stdout
        results.tell("holder", **json.loads(holder.stdout.readline()))
        # The process that is followed is the workload's parent: its children must be seen.
        inside = _workload(results, "inside", "--quick", "--fork", "--threads", "--tmpfs", folder)
        parent = stack.enter_context(
            subprocess.Popen(
                ["sh", "-c", 'read go; "$@"; exit $?', "sh", *inside], stdin=subprocess.PIPE
            )
        )
        options = FILTERS | {"pid": (*FILTERS["pid"], "--pid", str(parent.pid))}
        recorders = in_pairs(
            [partial(_filtered, results, name, folder, words) for name, words in options.items()]
        )
        # Writing over a recording that is being written.
        Tool(results, "busy", ["record", "--force", "-o", recorders[0].output, "--", "true"]).wait()
        outside = _as_nobody()
        parent.communicate(b"go\n")
        with outside:
            pass
        results.tell("filters", inside=parent.returncode, outside=outside.returncode)
        time.sleep(1)
        for recorder in recorders:
            recorder.stop()
        shutil.copy("/tmp/outside/truth.jsonl", results.out / "outside.jsonl")
        shutil.copytree(folder / "unsealable.seal", results.out / "filter-unsealable.seal")
        holder.communicate()


def _filtered(results: Results, name: str, folder: Path, options: tuple[str, ...]) -> Recorder:
    # On a tmpfs the recorder's own writing would be events, were it not left out.
    output = folder / "unsealable.seal" if name == "unsealable" else None
    return Recorder(results, f"filter-{name}", *options, output=output)


def _as_nobody() -> subprocess.Popen[bytes]:
    folder = Path("/tmp/outside")
    folder.mkdir()
    folder.chmod(0o777)
    return subprocess.Popen(
        [WORKLOAD, "--quick", "--out", folder / "truth.jsonl"],
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
    )


def race(results: Results) -> None:
    """One program races with itself, another's processes compete for one slot, and one makes memfds
    whose numbers another thread takes."""
    Path("/proc/sys/kernel/pid_max").write_text("4194304")
    build = HERE / "programs" / "build"
    first = {f"race-{method}": 100_000 * place for place, method in enumerate(METHODS, 1)}

    def command(name: str) -> list[str | Path]:
        slots = " ".join(map(str, [*UNPREEMPTED, build / "slots", first[name]]))
        creators = f"{build}/creators {NUMBERS_TAKEN}"
        return ["sh", "-c", f"{build}/race {RACES} && {slots} && {creators}"]

    by_both_methods(results, "race", command, attempts=1)  # there is always something preempted
