"""trace-cmd around the load, by kprobe events: a bare pair, and nearly all that we record."""

import contextlib
import os
import subprocess
from pathlib import Path

from tests.bench.capture.load import MEMFD, Load, tell, wait_for
from tests.bench.capture.tracers import HOOK
from tracer.capture.ftrace.probes import Fetch
from tracer.kernel.btf import running_btf
from tracer.kernel.offsets import macros

TRACEFS = Path("/sys/kernel/tracing")
GROUP = "bench"
PAIR = (f"p:{GROUP}/wb {HOOK} pos=%dx:s64 len=%cx:u32", f"r:{GROUP}/wr {HOOK} ret=$retval:s32")


def same_facts(call: str) -> tuple[tuple[str, ...], str]:
    """Events on the same functions as ours, and the condition of the first.

    Of our facts they lack the descriptor, uid, cgroup, and all that is looked at again at the
    return; the rest fetches what our own ftrace source does.
    """
    fetch = Fetch(macros(running_btf()))
    file = fetch.file("%di")
    asked = [
        f"pos={fetch.at('KIOCB_POS', '%di')}:s64",
        f"length={fetch.at('IOV_COUNT', '%si')}:u64",
        f"fmode={fetch.at('FILE_MODE', file)}:u32",
        *fetch.identity(fetch.inode(file)),
        "comm=$comm:string",
    ]
    entry = f"p:{GROUP}/we {call} {' '.join(asked)}"
    events = (entry, f"r:{GROUP}/wd {call} ret=$retval:s64", PAIR[1])
    return events, fetch.sealable(False)


def trace_cmd(
    load: Load, work: Path, name: str, events: tuple[str, ...], condition: str = ""
) -> None:
    names = [event.split()[0].split("/")[1] for event in events]
    for event in events:
        _kprobe_event(event)
    try:
        if condition:
            (TRACEFS / "events" / GROUP / names[0] / "filter").write_text(condition)
        data = str(work / "trace.dat")
        recorder = subprocess.Popen(
            ["trace-cmd", "record", "-q", "-e", GROUP, "-o", data, "sleep", "1000"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        enabled = [TRACEFS / "events" / GROUP / name / "enable" for name in names]
        wait_for(lambda: all(one.read_text()[0] == "1" for one in enabled), recorder)
        times = load.run(MEMFD)
        subprocess.run(["pkill", "-INT", "-x", "sleep"], check=False)
        recorder.wait()
        report = subprocess.run(
            ["trace-cmd", "report", "-i", data, "-F", f"{GROUP}/wr"],
            capture_output=True,
            check=True,
        )
        tell(name, times, report.stdout.count(b" wr:") / load.writes)
    finally:
        for one in names:
            with contextlib.suppress(OSError):
                _kprobe_event(f"-:{GROUP}/{one}")


def _kprobe_event(text: str) -> None:
    # Python's own append mode seeks to the end, which tracefs refuses.
    fd = os.open(TRACEFS / "kprobe_events", os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, f"{text}\n".encode())
    finally:
        os.close(fd)
