"""``python -m tests.bench.ui.feeder OUT RATE OBJECTS``: a recorder of so many events a second.

The events are made beforehand and only numbered and dated anew, so that this process leaves the
other core to the view. Ends with SIGINT or SIGTERM.
"""

import signal
import sys
import time

import numpy as np

from tests.bench.analysis import synthetic
from tests.tty.writer import manifest
from tracer.record import HEAD, RECORD_SIZE
from tracer.recording.writer import RecordingWriter

_MADE = 1 << 19
_TICK_S = 0.02


def main() -> int:
    out, rate, objects = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, frame: stopped.append(got))
    rng = np.random.default_rng(1)
    seals = rng.choice(np.array(synthetic.SEALS, np.uint32), objects, p=synthetic.SEAL_SHARES)
    made = synthetic.events(rng, 0, _MADE, seals)
    with RecordingWriter(out, manifest(), force=True) as writer:
        writer.append(synthetic.announcements(seals))
        done, began = 0, time.monotonic()
        while not stopped:
            now_s = time.monotonic()
            count = min(int((now_s - began) * rate) - done, _MADE)
            if count > 0:
                numbers = np.arange(done, done + count)
                rows = made[numbers % _MADE]
                rows["cpu"], rows["seq"] = numbers % synthetic.CPUS, numbers // synthetic.CPUS
                now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
                rows["time_ns"] = now_ns - (done + count - numbers) * (10**9 // rate)
                writer.append(rows.view(f"V{RECORD_SIZE}").view(HEAD))
                done += count
            writer.tick(now_s)
            time.sleep(_TICK_S)
        seconds = time.monotonic() - began
        writer.close("done")
    print(f"{done / seconds:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
