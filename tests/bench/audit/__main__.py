"""``python -m tests.bench.audit``: how long the sweep takes on a host with 2,000 processes.

The sweep is what an audit does when it begins and when it ends: it looks at every process, who
holds or maps which memory file. Every fourth of the processes here holds a memfd, every eighth has
it mapped. Needs root to look at processes of others.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time

_HOLD = "import mmap, os, sys, time\nm = sys.argv[1:] and mmap.mmap(int(sys.argv[1]), 4096)\n"
_HOLD += "print(flush=True)\ntime.sleep(3600)\n"


def _start(count: int, fd: int) -> list["subprocess.Popen[bytes]"]:
    """``count`` processes; those that map the file are interpreters and have 60 mappings more."""
    found = []
    for place in range(count):
        if place % 8 == 0:
            command = [sys.executable, "-S", "-E", "-c", _HOLD, str(fd)]
            found.append(subprocess.Popen(command, pass_fds=[fd], stdout=subprocess.PIPE))
        else:
            held = [fd] if place % 4 == 0 else []
            found.append(subprocess.Popen(["sleep", "3600"], pass_fds=held))
    for one in found:
        if one.stdout is not None:
            one.stdout.readline()  # it has mapped it
    return found


def _measure(times: int) -> None:
    from tracer.capture.procfs import Scanner

    walls, cpus = [], []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        scan = Scanner().scan()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    users = sum(len(file.holders) + len(file.mappings) for file in scan.files)
    print(
        f"| {scan.processes:,} | {len(scan.files)} | {users:,} | {statistics.median(walls):.2f} "
        f"| {min(walls):.2f} | {statistics.median(cpus):.2f} |"
    )


def _peer() -> None:
    """lsof lists every open and mapped file of the host as well."""
    if shutil.which("lsof") is None:
        print("lsof is not installed")
        return
    before = time.perf_counter()
    done = subprocess.run(["lsof", "-n", "-w"], capture_output=True, check=False)
    print(f"lsof -n -w: {time.perf_counter() - before:.2f} s, {done.stdout.count(b'memfd:')} lines")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--processes", type=int, default=2000)
    parser.add_argument("--times", type=int, default=5)
    args = parser.parse_args()
    print("| processes | memory files | holders and mappings | median s | best s | CPU s |")
    print("|---|---|---|---|---|---|")
    _measure(args.times)
    fd = os.memfd_create("shared", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4096)
    started = _start(args.processes, fd)
    try:
        _measure(args.times)
        _peer()
    finally:
        for one in started:
            one.kill()
        for one in started:
            one.wait()


if __name__ == "__main__":
    main()
