"""What was asked, in the terms of a record, from the fields of an entry (bpf/record.h: enum op)."""

from collections.abc import Iterable

import numpy as np

from tracer.capture.ftrace.rows import Rows
from tracer.model.words import Flag, Op

_PUNCH_HOLE = 2  # FALLOC_FL_PUNCH_HOLE
_MODE, _SIZE = 1, 8  # ATTR_*


def fill_request(part: Rows, data: Rows, names: Iterable[str]) -> None:
    """Sets offset, length, arg and the like of rows by their events' own fields."""
    if "pos" in names:
        part["offset"] = data["pos"]
    if "length" in names:
        part["length"] = data["length"]
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
