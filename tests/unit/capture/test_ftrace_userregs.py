"""The user's registers out of the kernel's stack: who called, by which number, on what."""

from typing import Any

import numpy as np
import pytest

from tracer.capture.ftrace.decode import ROW, fill, fill_identity, fill_request
from tracer.capture.ftrace.pages import Rows
from tracer.record import NO_SYSCALL
from tracer.words import Flag, Op

TOP = 0x4000
WORDS = ("r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si",
         "di", "orig_ax", "ip", "cs", "flags", "sp", "ss")  # fmt: skip
SYSCALL = {"orig_ax": 18, "di": 5, "ip": 0x401000, "cx": 0x401000, "flags": 0x246, "r11": 0x246,
           "cs": 0x33, "ss": 0x2B}  # fmt: skip
"""pwrite64(5, ...) by the syscall instruction."""
INT_80 = SYSCALL | {"orig_ax": 4, "cx": 0x402000, "r11": 0}
BY_32_BIT = SYSCALL | {"orig_ax": 4, "cs": 0x23, "cx": 0}
WORKER = SYSCALL | {"ip": 0}
INTERRUPTED = SYSCALL | {"orig_ax": 2**64 - 1, "cx": 7}
FRED = {"ss": 7 << 48 | 1 << 32 | 0x2B}
"""An event of type "other", vector 1; rcx and r11 stay the program's."""
FRED_INT_80 = {"ss": 4 << 48 | 0x80 << 32 | 0x2B}


def filled(
    regs: dict[str, int], how: str, padding: int = 0, status: int = 0, op: Op = Op.WRITE
) -> Any:
    """One row, as an event would give it that fetches the registers in one of three ways."""
    stack = np.zeros(TOP // 8, "<u8")
    begin = len(stack) - padding - len(WORDS)
    stack[begin : begin + len(WORDS)] = [regs.get(word, 0) for word in WORDS]
    if how == "regs":
        data = np.zeros(1, [("sp", "<u8"), ("status", "<u4"), ("regs", "<u8", 23)])
        data["regs"], data["status"] = stack[-23:], status
    else:
        sp = TOP - 480
        after = np.append(stack[sp // 8 :], np.full(256, 0xBAD, "<u8"))
        if how == "arrays":
            data = np.zeros(1, [("sp", "<u8"), ("stk0", "<u8", 64), ("stk1", "<u8", 64)])
            data["stk0"], data["stk1"] = after[:64], after[64:128]
        else:
            names = [f"w{number}" for number in range(43, 90)]  # the first registers are not there
            data = np.zeros(1, [("sp", "<u8"), *((name, "<u8") for name in names)])
            for name in names:
                data[name] = after[int(name[1:])]
        data["sp"] = sp + 0xFFFF000000000000
    rows: Rows = np.zeros(1, ROW)
    rows["op"], rows["fd"], rows["nr"] = op, -1, NO_SYSCALL
    fill(rows, data)
    return rows[0]


@pytest.mark.parametrize("how", ["regs", "arrays", "words"])
@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize(
    ("regs", "nr", "fd", "flags"),
    [
        (SYSCALL, 18, 5, 0),
        (BY_32_BIT, NO_SYSCALL, -1, Flag.COMPAT),
        (WORKER, NO_SYSCALL, -1, Flag.KERNEL_TASK),
        (INTERRUPTED, NO_SYSCALL, -1, 0),
    ],
)
def test_who_called(
    how: str, padding: int, regs: dict[str, int], nr: int, fd: int, flags: int
) -> None:
    row = filled(regs, how, padding)
    assert (row["nr"], row["fd"], row["flags"]) == (nr, fd, flags)


@pytest.mark.parametrize("how", ["arrays", "words"])
@pytest.mark.parametrize(
    ("regs", "compat"),
    [
        (INT_80, True),
        (SYSCALL | {"cx": 1}, True),
        (SYSCALL | {"r11": 1}, True),
        (SYSCALL | FRED | {"cx": 1, "r11": 2}, False),
        (INT_80 | FRED_INT_80, True),
    ],
)
def test_int_0x80_of_a_64_bit_process(how: str, regs: dict[str, int], compat: bool) -> None:
    row = filled(regs, how)
    assert bool(row["flags"] & Flag.COMPAT) == compat
    assert (row["nr"] == NO_SYSCALL) == compat


def test_the_thread_s_status_says_it_where_it_can_be_fetched() -> None:
    for regs in (SYSCALL, INT_80):
        assert filled(regs, "regs", status=2)["flags"] == Flag.COMPAT
        assert filled(regs, "regs", status=0)["flags"] == 0


def test_what_is_out_of_reach_is_not_guessed() -> None:
    stack = {f"w{number}": 0 for number in range(43, 50)}
    data = np.zeros(1, [("sp", "<u8"), *((name, "<u8") for name in stack)])
    data["sp"] = TOP - 480
    rows = np.zeros(1, ROW)
    rows["fd"], rows["nr"] = -1, NO_SYSCALL
    fill(rows, data)
    assert (rows["fd"][0], rows["nr"][0], rows["flags"][0]) == (-1, NO_SYSCALL, 0)


def test_a_compat_memfd_create_says_so() -> None:
    data = np.zeros(1, [("compat_cflags", "<u4"), ("snr", "<u8")])
    data["compat_cflags"], data["snr"] = 3, 356
    row = np.zeros(1, ROW)
    row["nr"] = NO_SYSCALL
    fill_request(row, data, data.dtype.names or ())
    assert (row["arg"][0], row["nr"][0], row["flags"][0]) == (3, NO_SYSCALL, Flag.COMPAT)


def identified(**fields: int) -> Any:
    """One row, as an event fills it that fetches these fields of an inode."""
    data = np.zeros(1, [(name, "<u8") for name in fields])
    for name, value in fields.items():
        data[name] = value
    rows: Rows = np.zeros(1, ROW)
    fill_identity(rows, data, data.dtype.names or ())
    return rows[0]


def test_what_refuses_whatever_the_seals_is_kept() -> None:
    """S_APPEND 4 and S_IMMUTABLE 8 of include/linux/fs.h."""
    assert [identified(iflags=flags)["bound"] for flags in (0, 4, 8, 12, 3)] == [
        0, Flag.APPEND_ONLY, Flag.IMMUTABLE, Flag.APPEND_ONLY | Flag.IMMUTABLE, 0,
    ]  # fmt: skip


def test_a_frozen_file_says_so() -> None:
    """SHMEM_F_MAPPING_FROZEN 4 of include/linux/shmem_fs.h; a fetch from before has none of it."""
    assert [identified(iflags=0, sflags=flags)["bound"] for flags in (0, 3, 4, 0x200004)] == [
        0, 0, Flag.FROZEN, Flag.FROZEN,
    ]  # fmt: skip


def test_a_return_without_its_file_has_no_inode() -> None:
    """Behind a null pointer there is nothing: what was fetched there is of no file."""
    kept, gone = identified(held=1, inode=7), identified(held=0, inode=7)
    assert (kept["inode"], gone["inode"]) == (7, 0)
    assert kept["later"] == gone["later"] == 1
