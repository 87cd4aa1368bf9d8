"""From pages of the ring to rows: one for whatever it tells, and each file's name once.

What was requested is put in the terms of a record (bpf/record.h: enum op). The user's registers,
with which a task entered the kernel, stand at the top of its kernel stack
(arch/x86/include/asm/processor.h: task_pt_regs), which a probe cannot name, but it can fetch what
stands above its own stack pointer. A stack is THREAD_SIZE long and begins at a multiple of that;
kernels built for FRED leave two words free at the top.

Whether a system call is a 32-bit one says thread_info.status. Where a probe cannot fetch that, the
registers must do: a 64-bit process that calls by int 0x80 has its own rcx and r11 there, where the
syscall instruction puts the instruction and the flags to return to. (A process that takes care to
have just these values in them for a write hides nothing but that write's number and descriptor.)
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.capture.ftrace.execs import fill_file
from tracer.capture.ftrace.pages import Format, Rows, What, cut, strings
from tracer.capture.ftrace.probes import KIND_OF_MAGIC, Probe
from tracer.capture.memory_files import HUGETLBFS_MAGIC
from tracer.kernel.offsets import THREAD_SIZE
from tracer.record import EVENT, NO_SYSCALL
from tracer.words import EXEC_CHECK, Flag, Hook, Op

NAME_BYTES = 256

_AS_IN_EVENTS = (
    "time_ns", "cpu", "hook", "op", "kind", "tid", "ino", "dev", "gen", "seals", "size", "mode",
    "fmode", "writable", "offset", "length", "arg", "fd", "nr", "flags", "mm", "comm",
)  # fmt: skip
ROW = np.dtype(
    [(name, EVENT[name]) for name in _AS_IN_EVENTS]
    + [
        ("what", "u1"),
        ("recorded", "u1"),  # a fact whose record was made already
        ("later", "u1"),  # a return that has seals and size of its own
        ("inode", "<u8"),  # the kernel's address of it, 0: not told
        ("ret", "<i8"),
        ("bound", "<u4"),  # the flags that explain a refusal: APPEND_ONLY, IMMUTABLE
        ("number", "<u8"),  # NEWTASK, EXIT, CREDS, CGROUP: its one fact
        ("sp", "<u8"),  # ENTRY, RETURN: the kernel stack's pointer
        ("key", "<u8"),  # of the object: its inode, device and generation mixed
    ]
)

SEEN = np.dtype(
    [
        ("key", "<u8"),
        ("uid", "<u4"),
        ("gid", "<u4"),
        ("mapping_flags", "<u8"),
        ("is_memfd", "u1"),
        ("name", f"V{NAME_BYTES}"),
    ]
)
"""What an announcement has besides an event's own facts."""

THREAD_BIT = 1 << 32
"""In ``number`` of NEWTASK: it is a thread of the same process."""

_PUNCH_HOLE = 2  # FALLOC_FL_PUNCH_HOLE
_MODE, _SIZE = 1, 8  # ATTR_*


def _copy(part: Rows, data: Rows, names: Iterable[str], pairs: Iterable[tuple[str, str]]) -> None:
    """Sets the first of each pair by the event's field of the second name, if it has that."""
    for mine, theirs in pairs:
        if theirs in names:
            part[mine] = data[theirs]


def fill_request(part: Rows, data: Rows, names: Iterable[str]) -> None:
    """Sets offset, length, arg and the like of rows by their events' own fields."""
    _copy(part, data, names, (("offset", "pos"), ("length", "length")))
    if "fmode" in names:
        part["fmode"] = data["fmode"] & 3
    if "prot" in names:
        part["offset"] = data["pgoff"] << np.uint64(12)
        part["arg"] = (data["prot"] & np.uint64(0xFFFFFFFF)) | data["mflag"] << np.uint64(32)
    elif "valid" in names:
        valid = data["valid"].astype(np.uint64)
        sized, moded = (valid & np.uint64(_SIZE)) != 0, (valid & np.uint64(_MODE)) != 0
        part["op"] = np.where(sized, Op.TRUNCATE, Op.CHMOD)
        part["length"] = np.where(sized, data["asize"], 0)
        part["arg"] = valid | np.where(moded, data["amode"].astype(np.uint64), 0) << np.uint64(32)
    elif "fmask" in names:
        part["arg"] = data["fmask"]
        punch = (data["fmask"] & _PUNCH_HOLE) != 0
        part["op"] = np.where(punch, Op.PUNCH_HOLE, Op.ALLOCATE)
    elif "sarg" in names:
        part["arg"] = data["sarg"]
    elif "cflags" in names:
        part["arg"] = data["cflags"]
        part["nr"] = data["snr"]
    elif "compat_cflags" in names:
        part["arg"] = data["compat_cflags"]
        part["flags"] |= np.uint32(Flag.COMPAT)
    elif "vstart" in names:
        part["offset"] = data["pgoff"] << np.uint64(12)
        part["length"] = data["vend"] - data["vstart"]
        part["arg"] = data["vflags"]
        part["ret"] = data["vstart"]
        part["mm"] = data["mm"]


_REGS_WORDS = 21
_R11, _R8, _CX, _ORIG_AX, _IP, _CS, _FLAGS, _SS = 6, 9, 11, 15, 16, 17, 18, 20
_USER_CS, _USER32_CS, _USER_SS = 0x33, 0x23, 0x2B
_PADDING_WORDS = (0, 2)
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


_FD_REGISTER = np.zeros((max(Op) + 1, 512), np.uint8)
for _op, _registers in _FD_IN.items():
    for _number, _register in _registers.items():
        _FD_REGISTER[_op, _number] = _register


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
    _set_check(rows, places[called], regs[called], compat[called])
    plain = called & ~compat & (number < NO_SYSCALL)
    places, regs, number = places[plain], regs[plain], number[plain].astype(np.int64)
    rows["nr"][places] = number
    small = number < _FD_REGISTER.shape[1]
    register = np.zeros(len(number), np.int64)
    register[small] = _FD_REGISTER[rows["op"][places[small]], number[small]]
    has = np.flatnonzero(register)
    value: Any = regs[has, register[has]].astype(np.uint32).view(np.int32)
    rows["fd"][places[has]] = value


_EXECVEAT, _COMPAT_EXECVEAT = 322, 358


def _set_check(
    rows: Rows, places: NDArray[np.intp], regs: NDArray[np.uint64], compat: NDArray[np.bool_]
) -> None:
    """Whether an execveat only asks: its flags are the fifth argument."""
    asks = regs[:, _ORIG_AX] == np.where(compat, _COMPAT_EXECVEAT, _EXECVEAT)
    asks &= np.where(compat, regs[:, _DI], regs[:, _R8]) & np.uint64(EXEC_CHECK) != 0
    asks &= rows["op"][places] == Op.EXEC
    rows["arg"][places[asks]] |= np.uint64(EXEC_CHECK)


_FORKED = "map_after"
"""mm/mmap.c:dup_mmap alone puts a mapping behind another one's: it is in the child's space."""
_CLONE_THREAD = 0x10000
_BOUND = {4: Flag.APPEND_ONLY, 8: Flag.IMMUTABLE}
"""S_* of include/linux/fs.h: what refuses calls whatever the seals."""
_MAPPING_FROZEN = 4
"""SHMEM_F_* of include/linux/shmem_fs.h; before there were any, nothing stood in this place."""


@dataclass(frozen=True, slots=True)
class Kinded:
    """An event's format and the probe behind it; tracepoints have none."""

    format: Format
    what: What
    probe: Probe | None


class Decoder:
    """From pages to rows."""

    def __init__(self, kinds: Iterable[Kinded], alias: int) -> None:
        """``alias``: OFF_DENTRY_ALIAS."""
        self._kinds = {one.format.number: one for one in kinds}
        self._alias = np.uint64(alias)

    def rows(self, raw: NDArray[np.uint8], cpus: NDArray[np.uint16]) -> tuple[Rows, Rows]:
        """Rows in the order of their time, and what they saw of objects (`SEEN`), by ``key``.

        ``raw`` has a page a row, each CPU's in its order; ``cpus`` is whose page it is.
        """
        events = cut(raw)
        flat = raw.reshape(-1)
        number = flat[events.start].astype(np.int64) | flat[events.start + 1].astype(np.int64) << 8
        rows = np.zeros(len(number), ROW)
        rows["time_ns"] = events.time_ns
        rows["cpu"] = cpus[events.page]
        seen: list[Rows] = []
        for kind in np.unique(number):
            known = self._kinds.get(int(kind))
            if known is None:
                continue
            places = np.flatnonzero(number == kind)
            size = known.format.dtype.itemsize
            places = places[events.length[places] >= size]
            starts = events.start[places]
            data = np.ascontiguousarray(flat[starts[:, None] + np.arange(size)])
            data = data.view(known.format.dtype).ravel()
            part, objects = self._fill(known, data, flat, starts)
            if objects is not None:
                seen.append(objects)
            for name in ("time_ns", "cpu"):
                part[name] = rows[name][places]
            rows[places] = part
        rows = rows[np.argsort(rows["time_ns"], kind="stable")]
        return rows[rows["what"] != What.NONE], (
            np.concatenate(seen) if seen else np.zeros(0, SEEN)
        )

    def _fill(
        self, known: Kinded, data: Rows, flat: NDArray[np.uint8], starts: NDArray[np.int64]
    ) -> tuple[Rows, Rows | None]:
        part = np.zeros(len(data), ROW)
        part["what"] = known.what
        part["tid"] = data["common_pid"]
        part["fd"], part["nr"] = -1, NO_SYSCALL
        probe, names = known.probe, data.dtype.names or ()
        if probe is None:
            _fill_tracepoint(part, data, known.what)
            return part, None
        part["hook"] = probe.hook
        if probe.op is not None:
            part["op"] = probe.op
        if probe.family == _FORKED:
            part["flags"] = Flag.OTHER_MM
        if "ret" in names:
            ret = data["ret"]
            part["ret"] = ret.astype(np.int32) if probe.narrow else ret
        if "comm" in names:
            part["comm"] = strings(flat, starts, data["comm"], 16)
        _copy(part, data, names, (("number", "cuid"), ("sp", "sp")))
        fill_identity(part, data, names)
        fill_request(part, data, names)
        if probe.hook == Hook.EXEC:
            fill_file(part, data, names, probe.family)
        fill(part, data)
        if "ino" in names:
            part["key"] = _key(part)
        if "name" not in names:
            return part, None
        objects = self._seen(data, flat, starts)
        objects["key"] = part["key"]
        # Each file once: its name is long.
        return part, objects[np.unique(objects["key"], return_index=True)[1]]

    def _seen(self, data: Rows, flat: NDArray[np.uint8], starts: NDArray[np.int64]) -> Rows:
        objects = np.zeros(len(data), SEEN)
        objects["uid"], objects["gid"] = data["iuid"], data["igid"]
        objects["mapping_flags"] = data["mflags"]
        # Without a dentry there is nothing behind the fields: they are what lay there before.
        has = data["alias"] != 0
        text = strings(flat, starts, data["name"], NAME_BYTES)
        text[~has] = np.void(bytes(NAME_BYTES))
        objects["name"] = text
        # mm/memfd.c: a memfd's dentry has no parent but itself, and its name begins so.
        letters = np.ascontiguousarray(text).view("u1").reshape(-1, NAME_BYTES)
        memfd = (letters[:, :6] == np.frombuffer(b"memfd:", "u1")).all(axis=1)
        objects["is_memfd"] = has & memfd & (data["parent"] == data["alias"] - self._alias)
        return objects


def _key(rows: Rows) -> NDArray[np.uint64]:
    found: NDArray[np.uint64] = (
        rows["inode"]
        ^ rows["ino"] * np.uint64(0x9E3779B97F4A7C15)
        ^ rows["gen"].astype(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
        ^ rows["dev"].astype(np.uint64) << np.uint64(40)
    )
    return found


_DEFAULT_HIERARCHY = 0


def _fill_tracepoint(part: Rows, data: Rows, what: What) -> None:
    if what == What.NEWTASK:
        thread = (data["clone_flags"].astype(np.uint64) & np.uint64(_CLONE_THREAD)) != 0
        part["number"] = data["pid"].astype(np.uint64) | np.where(thread, THREAD_BIT, 0).astype(
            np.uint64
        )
    elif what == What.CGROUP:
        # Only of v2's hierarchy, which is the first (kernel/cgroup/cgroup.c:cgroup_init).
        part["what"][data["dst_root"] != _DEFAULT_HIERARCHY] = What.NONE
        part["number"] = data["dst_id"]
        part["tid"] = data["pid"]
    elif what == What.CONVERT:
        # KVM has the range in hand, and has not begun: what comes of it is not told.
        part["what"], part["op"], part["hook"] = What.FACT, Op.CONVERT, Hook.CONVERT
        part["offset"] = data["start"] << np.uint64(12)
        part["length"] = (data["end"] - data["start"]) << np.uint64(12)
        part["arg"] = data["attr"]
        part["flags"] = Flag.RETURN_MISSING


_IDENTITY = (
    ("inode", "inode"), ("ino", "ino"), ("dev", "dev"), ("gen", "gen"), ("size", "isize"),
    ("mode", "imode"), ("writable", "writable"),
)  # fmt: skip


def fill_identity(part: Rows, data: Rows, names: Iterable[str]) -> None:
    _copy(part, data, names, _IDENTITY)
    if "iflags" in names:
        for bit, flag in _BOUND.items():
            part["bound"][data["iflags"] & bit != 0] |= np.uint32(flag)
    if "sflags" in names:
        frozen = data["sflags"] & _MAPPING_FROZEN != 0
        part["bound"][frozen] |= np.uint32(Flag.FROZEN)
    if "held" in names:
        # Without a file there is nothing behind the fields that hang on it.
        part["inode"][data["held"] == 0] = 0
        part["later"] = 1
    if "magic" in names:
        for magic, kind in KIND_OF_MAGIC.items():
            part["kind"][data["magic"] == magic] = kind
        huge = data["magic"] == HUGETLBFS_MAGIC
    else:
        huge = np.zeros(len(data), bool)
    if "sseals" in names:
        part["seals"] = data["sseals"]
        if "hseals" in names:
            part["seals"][huge] = data["hseals"][huge]
            if "held" in names:  # whose kind the entry knows: both are kept until then
                part["number"] = data["hseals"]
