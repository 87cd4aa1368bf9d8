"""From pages of the ring to rows: each event's fields by its format, each file's name once."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracer.capture.ftrace import formats, pages, userregs
from tracer.capture.ftrace.fetch import HUGETLBFS_MAGIC, KIND_OF_MAGIC
from tracer.capture.ftrace.formats import Format
from tracer.capture.ftrace.probes import Probe
from tracer.capture.ftrace.request import fill_request
from tracer.capture.ftrace.rows import NAME_BYTES, NO_SYSCALL, ROW, SEEN, THREAD_BIT, Rows
from tracer.capture.ftrace.what import What
from tracer.model.words import Flag

_FORKED = "map_after"
"""mm/mmap.c:dup_mmap alone puts a mapping behind another one's: it is in the child's space."""
_CLONE_THREAD = 0x10000
_BOUND = {4: Flag.APPEND_ONLY, 8: Flag.IMMUTABLE}
"""S_* of include/linux/fs.h: what refuses calls whatever the seals."""


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
        events = pages.cut(raw)
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
            part["comm"] = formats.strings(flat, starts, data["comm"], 16)
        if "cuid" in names:
            part["number"] = data["cuid"]
        if "sp" in names:
            part["sp"] = data["sp"]
        _fill_identity(part, data, names)
        fill_request(part, data, names)
        userregs.fill(part, data)
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
        text = formats.strings(flat, starts, data["name"], NAME_BYTES)
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


def _fill_tracepoint(part: Rows, data: Rows, what: What) -> None:
    if what == What.NEWTASK:
        thread = (data["clone_flags"].astype(np.uint64) & np.uint64(_CLONE_THREAD)) != 0
        part["number"] = data["pid"].astype(np.uint64) | np.where(thread, THREAD_BIT, 0).astype(
            np.uint64
        )
    elif what == What.CGROUP:
        # Only of the default hierarchy (kernel/cgroup/cgroup.c: its root has the number 1).
        part["what"][data["dst_root"] != 1] = What.NONE
        part["number"] = data["dst_id"]
        part["tid"] = data["pid"]


def _fill_identity(part: Rows, data: Rows, names: Iterable[str]) -> None:
    for mine, theirs in (
        ("ino", "ino"), ("dev", "dev"), ("gen", "gen"), ("size", "isize"),
        ("mode", "imode"), ("writable", "writable"),
    ):  # fmt: skip
        if theirs in names:
            part[mine] = data[theirs]
    if "iflags" in names:
        for bit, flag in _BOUND.items():
            part["bound"][data["iflags"] & bit != 0] |= np.uint32(flag)
    if "inode" in names:
        part["inode"] = data["inode"]
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
