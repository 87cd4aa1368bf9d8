"""A file system that never answers: FUSE by hand. Mounts it, opens and maps a file of it, waits.

``silent.py FOLDER READY``: answers what it takes to open and map FOLDER/file, then nothing more.
Linux, x86-64; root.
"""

import ctypes
import mmap
import os
import struct
import sys
import threading
import time
from pathlib import Path

_INIT, _LOOKUP, _GETATTR, _OPEN, _READ = 26, 1, 3, 14, 15
_ENOSYS = 38
_INODE = 4711
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 1 << 14, 1 << 18
libc = ctypes.CDLL(None, use_errno=True)
silent = threading.Event()


def attributes(number: int, mode: int) -> bytes:
    """struct fuse_attr of the ABI 7.9 and later (include/uapi/linux/fuse.h)."""
    numbers = struct.pack("=QQQQQQ", number, 1 << 20, 2048, 0, 0, 0)
    return numbers + struct.pack("=IIIIIIIIII", 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode: int) -> bytes | int:
    """What belongs to a request, or an error number. Nothing is ever valid for longer than now."""
    file = attributes(_INODE, 0o100644)
    if opcode == _INIT:
        return struct.pack("=IIIIHHIIHH28x", 7, 23, 4096, 0, 12, 9, 4096, 1, 0, 0)[:24]
    if opcode == _LOOKUP:
        return struct.pack("=QQQQII", _INODE, 1, 0, 0, 0, 0) + file
    if opcode == _GETATTR:
        return struct.pack("=QII", 0, 0, 0) + file
    if opcode == _OPEN:
        return struct.pack("=QII", 1, 0, 0)
    if opcode == _READ:
        return b"x" * 4096
    return _ENOSYS


def serve(device: int) -> None:
    while True:
        request = os.read(device, 1 << 20)
        _, opcode, unique = struct.unpack_from("=IIQ", request)
        if silent.is_set():
            continue  # taken, and never answered: whoever asks waits where no signal reaches
        told = answer(opcode)
        number, body = (-told, b"") if isinstance(told, int) else (0, told)
        os.write(device, struct.pack("=IiQ", 16 + len(body), number, unique) + body)


def main() -> None:
    folder, ready = sys.argv[1:]
    # In a mount namespace of its own, as of a container: our mount table does not have it.
    if libc.unshare(_CLONE_NEWNS) or libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "unshare")
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if libc.mount(b"silent", os.fsencode(folder), b"fuse.silent", 6, options):
        raise OSError(ctypes.get_errno(), "mount")
    threading.Thread(target=serve, args=(device,), daemon=True).start()
    holder = os.fork()
    if holder == 0:
        os.close(device)
        fd = os.open(f"{folder}/file", os.O_RDWR)
        mapped = mmap.mmap(fd, 4096, mmap.MAP_PRIVATE)
        memory = os.memfd_create("beside", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        Path(ready).write_text(f"{os.getpid()} {os.fstat(memory).st_ino} {mapped[0]}")
        time.sleep(3600)
        os._exit(0)
    while not Path(ready).exists():
        time.sleep(0.05)
    silent.set()
    os.waitpid(holder, 0)


if __name__ == "__main__":
    main()
