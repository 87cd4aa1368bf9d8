"""The user's registers, with which a task entered the kernel, out of its kernel stack.

They stand at the stack's top (arch/x86/include/asm/processor.h: task_pt_regs), which a probe
cannot name, but it can fetch what stands above its own stack pointer. A stack is THREAD_SIZE long
and begins at a multiple of that; kernels built for FRED leave two words free at the top.

Whether a system call is a 32-bit one says thread_info.status. Where a probe cannot fetch that, the
registers must do: a 64-bit process that calls by int 0x80 has its own rcx and r11 there, where the
syscall instruction puts the instruction and the flags to return to. (A process that takes care to
have just these values in them for a write hides nothing but that write's number and descriptor.)
"""

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.capture.ftrace.fetch import THREAD_SIZE
from tracer.model.words import Flag, Op

Rows = NDArray[np.void]

_REGS_WORDS = 21
_R11, _R8, _CX, _ORIG_AX, _IP, _CS, _FLAGS, _SS = 6, 9, 11, 15, 16, 17, 18, 20
_USER_CS, _USER32_CS, _USER_SS = 0x33, 0x23, 0x2B
_PADDING_WORDS = (0, 2)
_NO_SYSCALL = 0xFFFF
_NONE = 0xFFFFFFFF
_WORD = re.compile(r"w\d+")
_TS_COMPAT = 2  # arch/x86/include/asm/thread_info.h
_FRED_VECTOR, _INT_80 = 32, 0x80
"""Place in the stack segment's word (struct fred_ss), which has nothing but 0 there without FRED;
with it a system call leaves rcx and r11 alone."""

# From bpf/emit.h:syscall_fd; register numbers within struct pt_regs (words).
_DX, _SI, _DI = 12, 13, 14
_WRITES = {1: _DI, 18: _DI, 20: _DI, 296: _DI, 328: _DI, 40: _DI, 275: _DX, 326: _DX}
_READS = {0: _DI, 17: _DI, 19: _DI, 295: _DI, 327: _DI, 275: _DI, 326: _DI, 40: _SI}
_FD_IN = {
    Op.MMAP: {9: _R8},
    Op.WRITE: _WRITES,
    Op.READ: _READS,
    Op.TRUNCATE: {77: _DI},
    Op.CHMOD: {91: _DI},
    Op.ALLOCATE: {285: _DI},
    Op.PUNCH_HOLE: {285: _DI},
    Op.ADD_SEALS: {72: _DI},
}


def _lookup() -> NDArray[np.uint8]:
    table = np.zeros((max(Op) + 1, 512), np.uint8)
    for op, registers in _FD_IN.items():
        for number, register in registers.items():
            table[op, number] = register
    return table


_FD_REGISTER = _lookup()


def fill(rows: Rows, data: Rows) -> None:
    """Sets ``fd``, ``nr`` and ``flags`` of rows by their events' fields.

    ``regs`` are the stack's last words; else ``stk0``, ``stk1`` … are what lies behind ``sp``, or
    ``w8``, ``w9`` … words from there on.
    Where the registers are not within reach, fd stays -1 and nr 0xffff.
    """
    names = data.dtype.names or ()
    first = 0
    if "regs" in names:
        words = data["regs"]
        left = np.full(len(rows), words.shape[1], np.int64)
    elif "sp" in names:
        single = [name for name in names if _WORD.fullmatch(name)]
        if single:
            first = int(single[0][1:])
            words = np.stack([data[name] for name in single], axis=1)
        else:
            parts = [data[name] for name in names if name.startswith("stk")]
            if not parts:
                return
            words = np.concatenate(parts, axis=1)
        pointer = data["sp"].astype(np.uint64)
        top = (pointer | np.uint64(THREAD_SIZE - 1)) + np.uint64(1)
        left = ((top - pointer) // np.uint64(8)).astype(np.int64) - first
    else:
        return
    status = data["status"] if "status" in names else None
    done = np.zeros(len(rows), bool)
    for padding in _PADDING_WORDS:
        start = left - padding - _REGS_WORDS
        # Only the registers from r11 on are needed, so the first ones may be out of reach.
        near = (start + _R11 >= 0) & (start + _REGS_WORDS <= words.shape[1]) & ~done
        places = np.flatnonzero(near)
        regs = words[places[:, None], np.maximum(start[places, None] + np.arange(_REGS_WORDS), 0)]
        good = _is_user(regs)
        places, regs = places[good], regs[good]
        compat = _by_int_80(regs) if status is None else status[places] & _TS_COMPAT != 0
        _set(rows, places, regs, compat)
        done[places] = True


def _is_user(regs: NDArray[np.uint64]) -> NDArray[np.bool_]:
    segment = regs[:, _CS] & np.uint64(0xFFFF)
    user = (segment == _USER_CS) | (segment == _USER32_CS)
    found: NDArray[np.bool_] = user & (regs[:, _SS] & np.uint64(0xFFFF) == _USER_SS)
    return found


def _by_int_80(regs: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Of 64-bit processes; of 32-bit ones it does not matter."""
    vector = regs[:, _SS] >> np.uint64(_FRED_VECTOR) & np.uint64(0xFF)
    by_syscall = (regs[:, _CX] == regs[:, _IP]) & (regs[:, _R11] == regs[:, _FLAGS])
    found: NDArray[np.bool_] = np.where(vector != 0, vector == _INT_80, ~by_syscall)
    return found


def _set(
    rows: Rows, places: NDArray[np.intp], regs: NDArray[np.uint64], compat: NDArray[np.bool_]
) -> None:
    number = regs[:, _ORIG_AX]
    # An io_uring worker has a copy of its maker's, without a place to return to.
    worker = regs[:, _IP] == 0
    # What an exception interrupted is no system call, and says -1 there.
    called = ~worker & (number.astype(np.uint32) != _NONE)
    compat = called & (compat | (regs[:, _CS] & np.uint64(0xFFFF) == _USER32_CS))
    rows["flags"][places[worker]] |= np.uint32(Flag.KERNEL_TASK)
    rows["flags"][places[compat]] |= np.uint32(Flag.COMPAT)
    plain = called & ~compat & (number < _NO_SYSCALL)
    places, regs, number = places[plain], regs[plain], number[plain].astype(np.int64)
    rows["nr"][places] = number
    small = number < _FD_REGISTER.shape[1]
    register = np.zeros(len(number), np.int64)
    register[small] = _FD_REGISTER[rows["op"][places[small]], number[small]]
    has = np.flatnonzero(register)
    value: Any = regs[has, register[has]].astype(np.uint32).view(np.int32)
    rows["fd"][places[has]] = value
