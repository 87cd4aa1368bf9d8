"""Makes cgroups that live for a moment, with one memory file each, and says which they were.

Writes a JSON object to ``--out``: path in the cgroup v2 tree by number of the cgroup. Each is there
for ``--live`` seconds; a tenth of them is made by ``--user``, in a folder that root gave away. They
lie below ``brief.slice``, which may be there; one file is made outside of all.
"""

import argparse
import json
import os
import subprocess
import time
from collections import deque
from pathlib import Path

TREE = Path("/sys/fs/cgroup")


def mounted() -> Path:
    """The cgroup v2 tree, mounted if it is not."""
    if not (TREE / "cgroup.controllers").exists():
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", TREE], check=True)
    return TREE


def enter(folder: Path) -> None:
    """We run there from now on. (A child would cost a fork of Python, in an emulated guest.)"""
    (folder / "cgroup.procs").write_text("0")


def run_in(folder: Path) -> None:
    """Makes a memory file in ``folder``, and comes out again."""
    enter(folder)
    os.close(os.memfd_create(f"of-{folder.stat().st_ino}"))
    enter(TREE)


def make(folder: Path, user: int) -> None:
    """Makes a folder as ``user``."""
    os.seteuid(user)
    try:
        folder.mkdir()
    finally:
        os.seteuid(0)


def main() -> None:
    """Makes them one after the other, some at once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--live", type=float, default=0.2)
    parser.add_argument("--user", type=int, default=65534)
    parser.add_argument("--out", type=Path, default=Path("/dev/stdout"))
    args = parser.parse_args()
    root = mounted() / "brief.slice"
    root.mkdir(exist_ok=True)
    os.close(os.memfd_create("outside"))
    given = root / "given.service"
    given.mkdir()
    os.chown(given, args.user, args.user)
    told: dict[int, str] = {}
    there: deque[tuple[float, Path]] = deque()
    for number in range(args.count):
        foreign = number % 10 == 9
        name = f"docker-{number:064x}.scope" if number % 3 else "long" * 60 + f"{number:04}.service"
        folder = (given if foreign else root) / name
        make(folder, args.user if foreign else 0)
        told[folder.stat().st_ino] = f"/{folder.relative_to(TREE)}"
        run_in(folder)
        there.append((time.monotonic() + args.live, folder))
        while there and there[0][0] <= time.monotonic():
            there.popleft()[1].rmdir()
    for until, folder in there:
        time.sleep(max(0.0, until - time.monotonic()))
        folder.rmdir()
    given.rmdir()
    args.out.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
