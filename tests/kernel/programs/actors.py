"""Who acts, under names that filters know, and says who they were: see scenes_names.py.

Each writes ten times to a memory file of its own: a program that is called as QEMU's are and says
``-name``, an ordinary one, and one in the cgroup of a unit. What they are goes to ``--out``.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
from tracer.stacks import elf

WRITES = 10
_WRITER = f"""
import os, sys, time
open("/sys/fs/cgroup" + sys.argv[1] + "/cgroup.procs", "w").write("0")
fd = os.memfd_create("own", os.MFD_ALLOW_SEALING)
for _ in range({WRITES}):
    os.write(fd, b"x")
print(flush=True)
input()
"""


def main() -> None:
    """One after the other; each lives until it has been looked at."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("/dev/stdout"))
    parser.add_argument("--live", type=float, default=1, help="so many seconds, each of them")
    args = parser.parse_args()
    python = Path(sys.executable).resolve()
    qemu = Path("/run/qemu-system-test")
    shutil.copy(python, qemu)
    Path("/sys/fs/cgroup/asked.service").mkdir(exist_ok=True)
    Path("/sys/fs/cgroup/machine.slice").mkdir(exist_ok=True)
    libvirts = Path("/sys/fs/cgroup/machine.slice/machine-qemu\\x2d1\\x2dbank.scope")
    libvirts.mkdir(exist_ok=True)
    bank = f"/machine.slice/{libvirts.name}"
    with python.open("rb") as file:
        build_id = elf.read(file.fileno()).build_id
    told = []
    for name, exe, cgroup, more in (
        ("claims", qemu, "", ["-name", "guest=web,debug-threads=on"]),
        ("ordinary", python, "", ["-name", "web"]),
        ("unit", python, "/asked.service", []),
        ("outranked", qemu, bank, ["-name", "web"]),
    ):
        with subprocess.Popen(
            [exe, "-c", _WRITER, cgroup, *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHOME": sys.base_prefix},
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(args.live)
            child.communicate(b"\n")
        told.append(
            {"name": name, "pid": child.pid, "exe": str(exe), "build_id": build_id}
            | {"code": child.returncode}
        )
    qemu.unlink()
    args.out.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
