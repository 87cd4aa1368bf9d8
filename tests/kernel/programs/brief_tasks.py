"""Runs programs that live for a moment and write to a memory file, and says which they were.

Writes a JSON list to ``--out``, an object a program: what it was started as, and what its process
ids were. They are run by their path, from a copy that is gone by then, from another mount, out of a
memfd, and in pid namespaces of their own; with arguments of all kinds.
"""

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

Told = dict[str, Any]
NEWPID = 0x20000000
DD = Path("/usr/bin/dd").resolve()
ODD = "it's \x1b[31m\\ \u202e"
LONG = "x" * 3000
_libc = ctypes.CDLL(None, use_errno=True)


def unshared() -> None:
    """Our next child is the first process of a pid namespace."""
    if _libc.unshare(NEWPID):
        raise OSError(ctypes.get_errno(), "unshare")


def run(fd: int, name: str, exe: str, *, of: int | None = None, namespace: bool = False) -> Told:
    """``of``: a descriptor of the executable instead of its path. What is told of it."""
    argv = [name, "if=/dev/zero", f"of=/proc/self/fd/{fd}", "bs=8", "count=1", "status=none"]
    back, told = os.pipe()
    middle = os.fork()
    if not middle:
        if namespace:
            unshared()
            child = os.fork()
            if child:
                os.write(told, json.dumps([child, 1, os.getpid()]).encode())
                os.waitpid(child, 0)
                os._exit(0)
        else:
            os.write(told, json.dumps([os.getpid(), os.getpid(), os.getppid()]).encode())
        os.execve(exe if of is None else of, argv, {"NOBODYS": "business"})
    os.close(told)
    pid, own, parent = json.loads(os.read(back, 200))
    os.close(back)
    os.waitpid(middle, 0)
    return {"pid": pid, "ns_pid": own, "parent": parent, "argv": argv, "exe": exe}


def main() -> None:
    """Twenty, one after the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path("/dev/stdout"))
    args = parser.parse_args()
    fd = os.memfd_create("shared", os.MFD_ALLOW_SEALING)
    os.set_inheritable(fd, True)
    told = []
    for number in range(4):
        told.append(run(fd, "dd", str(DD)) | {"ino": DD.stat().st_ino})
        name = (ODD, LONG, " ", "d d")[number]
        told.append(run(fd, name, str(DD)) | {"ino": DD.stat().st_ino})
        told.append(run(fd, "dd", str(DD), namespace=True) | {"ino": DD.stat().st_ino})
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            if number == 1:
                subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
            copy = Path(folder, "a", "b", f"copy {number}")
            copy.parent.mkdir(parents=True)
            shutil.copy(DD, copy)
            ino, opened = copy.stat().st_ino, None
            if number == 2:
                opened = os.open(copy, os.O_PATH)
                copy.unlink()
            told.append(run(fd, "copy", str(copy), of=opened) | {"ino": ino})
            if number == 1:
                subprocess.run(["umount", folder], check=True)
        program = os.memfd_create(f"program {number}")
        os.write(program, DD.read_bytes())
        ino = os.fstat(program).st_ino
        told.append(run(fd, "mem", f"memfd:program {number}", of=program) | {"ino": ino})
        os.close(program)
    args.out.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
