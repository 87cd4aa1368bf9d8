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
from pathlib import Path

TREE = Path("/sys/fs/cgroup")


def mounted() -> Path:
    """The cgroup v2 tree, mounted if it is not."""
    if not (TREE / "cgroup.controllers").exists():
        subprocess.run(["mount", "-t", "cgroup2", "cgroup2", TREE], check=True)
    return TREE


def run_in(folder: Path, user: int) -> None:
    """A process that enters ``folder``, makes a memory file and ends."""
    child = os.fork()
    if child == 0:
        try:
            (folder / "cgroup.procs").write_text("0")
            if user:
                os.setuid(user)
            os.close(os.memfd_create(f"of-{folder.stat().st_ino}"))
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def make(folder: Path, user: int) -> None:
    """Makes a folder as ``user``."""
    if not user:
        folder.mkdir()
        return
    child = os.fork()
    if child == 0:
        os.setuid(user)
        folder.mkdir()
        os._exit(0)
    os.waitpid(child, 0)


def main() -> None:
    """Makes them one after the other."""
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
    for number in range(args.count):
        foreign = number % 10 == 9
        name = f"docker-{number:064x}.scope" if number % 3 else "long" * 60 + f"{number:04}.service"
        folder = (given if foreign else root) / name
        make(folder, args.user if foreign else 0)
        told[folder.stat().st_ino] = f"/{folder.relative_to(TREE)}"
        run_in(folder, args.user if foreign else 0)
        time.sleep(args.live)
        folder.rmdir()
    given.rmdir()
    args.out.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
