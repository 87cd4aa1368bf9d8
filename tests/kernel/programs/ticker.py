"""Writes one byte after the other into a memfd and remembers when, until SIGTERM (or SIGINT).

ticker.py LOG [--ignore-interrupts]: LOG.pid appears after the first write; LOG, at the end, is
JSON: pid, and the boot clock after each write (the offset is the number of the write).
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

stopped = False


def stop(number: int, frame: FrameType | None) -> None:
    global stopped
    stopped = True


def main() -> None:
    log = Path(sys.argv[1])
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN if "--ignore-interrupts" in sys.argv else stop)
    fd = os.memfd_create("ticker", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    times: list[int] = []
    while not stopped:
        os.pwrite(fd, b"x", len(times))
        times.append(time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        if len(times) == 1:
            Path(f"{log}.pid").write_text(str(os.getpid()))
        time.sleep(0.002)
    log.write_text(json.dumps({"pid": os.getpid(), "times_ns": times}))
    sys.exit(5)


main()
