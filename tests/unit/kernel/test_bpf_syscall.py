"""bpf(2) by hand: what any kernel answers to nonsense (the rest is shown on booted kernels)."""

import errno
import os

import pytest

from tracer.kernel import bpf_syscall

_EXIT = bytes.fromhex("b700000000000000 9500000000000000")  # r0 = 0; exit
_REFUSED = {errno.EPERM, errno.EACCES, errno.EINVAL, errno.EBADF, errno.ENOENT}


def test_a_program_that_is_none_is_not_run() -> None:
    with pytest.raises(OSError, match=r"\w") as caught:
        bpf_syscall.run_raw(-1, (1, 2, 3))
    assert caught.value.errno in _REFUSED


def test_a_file_that_is_no_program_is_not_run() -> None:
    fd = os.memfd_create("no program")
    try:
        with pytest.raises(OSError, match=r"\w") as caught:
            bpf_syscall.run_raw(fd, ())
        assert caught.value.errno in _REFUSED
    finally:
        os.close(fd)


def test_no_such_module() -> None:
    with pytest.raises(OSError, match=r"\w") as caught:
        os.close(bpf_syscall.module_btf("no such module"))
    assert caught.value.errno in {errno.ENOENT, errno.EPERM}


def test_a_refusal_says_why() -> None:
    with pytest.raises(OSError, match=r"\w") as caught:
        os.close(
            bpf_syscall.load(
                _EXIT,
                "x" * 100,
                bpf_syscall.TRACING,
                attach_type=bpf_syscall.FEXIT,
                function_id=0x7FFFFFFF,
            )
        )
    assert caught.value.errno in _REFUSED
    assert caught.value.strerror


def test_what_is_no_program_is_not_attached() -> None:
    with pytest.raises(OSError, match=r"\w") as caught:
        os.close(bpf_syscall.attach(-1, "sched_process_exit"))
    assert caught.value.errno in _REFUSED
