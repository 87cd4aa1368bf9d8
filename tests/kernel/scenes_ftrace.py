"""Scenes in the guest for the ftrace source: one recording, beside what must not be touched."""

import signal
from pathlib import Path

from tests.kernel.guest_tools import Recorder, Results
from tests.kernel.scenes_decisions import HUGE_PAGES, awkward_command, workload_wide
from tests.kernel.scenes_judge import huge_pages
from tracer.capture.ftrace.tracefs import put

TRACEFS = Path("/sys/kernel/tracing")
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
    """As scenes_decisions.awkward, by ftrace."""
    name = "awkward-ftrace"
    Recorder(results, name, *BY_FTRACE, command=awkward_command(results, name)).wait()
