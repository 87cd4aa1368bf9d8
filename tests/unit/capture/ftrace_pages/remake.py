"""Makes a sample of ring pages anew, in a booted kernel.

``tests/vm/boot --kernel 6.1 --rw DIR -- python -m tests.unit.capture.ftrace_pages.remake DIR``,
then copy ``DIR/RELEASE.json.gz`` here. The pages are what `sealsnoop record --source ftrace` read
while one small program ran; ``calls`` is what that program says of itself.
"""

import gzip
import json
import os
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

from tracer.capture.attach import Kernel
from tracer.capture.bpf_source import Filters
from tracer.capture.ftrace import pages as formats
from tracer.capture.ftrace.program import attach
from tracer.kernel.requirements.host import Host

PROGRAM = """
import ctypes, fcntl, json, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
def call(function, *arguments):
    answer = function(*arguments)
    return -ctypes.get_errno() if answer == -1 else answer
libc.mmap.restype = ctypes.c_long
fd = os.memfd_create("sample", os.MFD_ALLOW_SEALING)
ino = os.fstat(fd).st_ino
said = [("create", fd, fd)]
def tell(op, answer):
    said.append((op, fd, answer))
tell("truncate", call(libc.ftruncate, fd, 8192))
tell("write", call(libc.write, fd, b"abc", 3))
tell("mmap", call(libc.mmap, None, 4096, 1, 2, fd, ctypes.c_long(4096)))
tell("add_seals", call(libc.fcntl, fd, fcntl.F_ADD_SEALS, 0x0a))
tell("write", call(libc.pwrite, fd, b"abcd", 4, ctypes.c_long(100)))
tell("mmap", call(libc.mmap, None, 4096, 3, 1, fd, ctypes.c_long(0)))
tell("truncate", call(libc.ftruncate, fd, 4096))
tell("read", call(libc.pread, fd, ctypes.create_string_buffer(9), 9, ctypes.c_long(1)))
tell("punch_hole", call(libc.fallocate, fd, 3, ctypes.c_long(0), ctypes.c_long(4096)))
tell("chmod", call(libc.fchmod, fd, 0o4777))
os.seteuid(65534)
refused = call(libc.write, fd, b"abc", 3)
if not os.fstat(fd).st_mode & 0o4000:
    said.append(("chmod", -1, 0))  # by the kernel, inside the write
tell("write", refused)
print(json.dumps({"pid": os.getpid(), "ino": ino, "calls": said}))
"""


def main(out: Path) -> None:
    assert Host.live().euid == 0
    kernel = Kernel.running("ftrace")
    program = attach(kernel, None, Filters(), 8 << 20, print)
    try:
        instance = program._instance
        size = formats.page_size((instance.tracefs / "events" / "header_page").read_text())
        for cpu in instance.cpus:
            while instance.read(cpu, size):
                pass
        ran = subprocess.run(
            [sys.executable, "-I", "-S", "-c", PROGRAM], stdout=subprocess.PIPE, check=True
        )
        events: dict[str, Any] = {}
        for kind in program._kinds:
            probe = kind.probe
            events[str(kind.format.number)] = {
                "what": int(kind.what),
                "probe": probe
                and [probe.event, probe.family, int(probe.hook), probe.op, probe.narrow],
            }
        for group in (instance.group, "task", "sched", "cgroup"):
            for path in (instance.folder / "events" / group).glob("*/format"):
                text = path.read_text()
                number = str(formats.parse(text).number)
                if number in events:
                    # What the fields are, not how tracefs would print them.
                    events[number]["format"] = text.partition("\nprint fmt")[0] + "\n"
        pages = []
        for cpu in instance.cpus:
            while page := instance.read(cpu, size):
                used = 16 + (int.from_bytes(page[8:16], "little") & 0xFFFFF)
                pages.append([cpu, b64encode(page[:used]).decode()])
    finally:
        program.close()
    sample = {
        "release": os.uname().release,
        "page_bytes": size,
        "alias": kernel.layout["OFF_DENTRY_ALIAS"],
        "events": events,
        "pages": pages,
        **json.loads(ran.stdout),
    }
    packed = gzip.compress(json.dumps(sample).encode(), mtime=0)
    (out / f"{os.uname().release}.json.gz").write_bytes(packed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
