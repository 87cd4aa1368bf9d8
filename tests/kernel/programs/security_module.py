"""A security module that forbids this process new anonymous inodes, a few memfds under each answer.

``security_module.py OUT``: writes who it was and what each memfd_create returned. The module
is a BPF program of `BPF_PROG_TYPE_LSM` (5.7, commit fc611f47f218): on a kernel that asks no module
about memfds, or that does not run BPF ones, each call succeeds, which is as true.
"""

import ctypes
import errno
import json
import os
import struct
import sys
from pathlib import Path

from tracer.kernel import bpf_syscall
from tracer.kernel.btf import running_btf

LSM, LSM_MAC = 29, 27
HOOK = "bpf_lsm_inode_init_security_anon"
FLAGS = (0x0, 0x2, 0x3, 0x8)
"""MFD_ALLOW_SEALING, MFD_CLOEXEC, MFD_NOEXEC_SEAL."""
ANSWERS = (-errno.EACCES, -errno.EPERM, 0)


def instruction(code: int, *, offset: int = 0, value: int = 0) -> bytes:
    """One that is about r0 and a number (include/uapi/linux/bpf.h)."""
    return struct.pack("<BBhi", code, 0, offset, value)


def module(answer: int) -> bytes:
    """r0 = answer for this process, 0 for others."""
    return b"".join(
        (
            instruction(0x85, value=14),  # bpf_get_current_pid_tgid
            instruction(0x77, value=32),
            instruction(0x55, offset=2, value=os.getpid()),  # another: two further
            instruction(0xB7, value=answer),
            instruction(0x95),
            instruction(0xB7, value=0),
            instruction(0x95),
        )
    )


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    function = running_btf().function_id(HOOK)
    told = []
    for answer in ANSWERS:
        program = bpf_syscall.load(
            module(answer), "forbids", LSM, attach_type=LSM_MAC, function_id=function
        )
        link = bpf_syscall.attach(program)
        for flags in FLAGS:
            fd = libc.memfd_create(b"asked", flags)
            told.append({"flags": flags, "errno": ctypes.get_errno() if fd < 0 else 0})
            if fd >= 0:
                os.close(fd)
        os.close(link)
        os.close(program)
    Path(sys.argv[1]).write_text(json.dumps({"pid": os.getpid(), "calls": told}))


if __name__ == "__main__":
    main()
