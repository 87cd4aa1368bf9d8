"""Scenes in the guest for the ftrace source: one recording, beside what must not be touched."""

import shlex
import signal
from pathlib import Path

from tests.kernel.guest_tools import HERE, Recorder, Results, python
from tests.kernel.scenes_decisions import HUGE_PAGES, workload_wide
from tests.kernel.scenes_judge import huge_pages
from tracer.capture.ftrace.tracefs import put

TRACEFS = Path("/sys/kernel/tracing")
COMPAT = {"32": ("-m32",), "64": ("-m64", "-mcmodel=small", "-mno-red-zone")}
"""Builds of programs/compat.c: a 32-bit process, and a 64-bit one that calls by int 0x80."""
FOREIGN = "sealsnoop-of-somebody-else"
"""Not a name that a recorder of ours gives."""
BY_FTRACE = ("--source", "ftrace")
_BARE = (*BY_FTRACE, "--no-self-test", "--no-baseline")


def _there() -> dict[str, list[str]]:
    return {
        "instances": sorted(one.name for one in (TRACEFS / "instances").iterdir()),
        "events": sorted((TRACEFS / "kprobe_events").read_text().splitlines()),
    }


def _foreign() -> None:
    """Somebody else's instance and probe, the probe switched on."""
    (TRACEFS / "instances" / FOREIGN).mkdir()
    put(TRACEFS / "kprobe_events", "p:sealsnoop_foreign/exit do_exit\n")
    events_folder = TRACEFS / "instances" / FOREIGN / "events"
    put(events_folder / "sealsnoop_foreign" / "exit" / "enable", "1")


def ftrace(results: Results) -> None:
    """One recorder is killed, one lives, and the one that matters records the workload."""
    _foreign()
    results.tell("ftrace", before=_there())
    killed = Recorder(results, "ftrace-killed", *_BARE)
    killed.wait_ready()
    killed.stop(signal.SIGKILL)
    results.tell("ftrace", after_kill=_there())
    living = Recorder(results, "ftrace-living", *_BARE, "--denied", "--ops", "mmap")
    living.wait_ready()
    results.tell("ftrace", cleared=_there())
    with huge_pages(results, "ftrace", HUGE_PAGES):
        workload_wide(
            results,
            lambda command: Recorder(
                results, "quick-ftrace", *BY_FTRACE, command=command("quick-ftrace")
            ).wait(),
        )
    results.tell("ftrace", beside=_there())
    living.stop()
    results.tell("ftrace", after=_there())


def ftrace_awkward(results: Results) -> None:
    """What is easily recorded wrongly: 32-bit system calls, nested ones, arguments of 64 bits."""
    build = HERE / "programs" / "build"
    commands: list[list[str | Path]] = [
        [build / f"compat-{bits}", results.out / f"compat-{bits}.jsonl"] for bits in COMPAT
    ]
    commands.append(python("awkward.py"))
    script = " && ".join(shlex.join(map(str, command)) for command in commands)
    Recorder(results, "ftrace-awkward", *BY_FTRACE, command=["sh", "-c", script]).wait()
