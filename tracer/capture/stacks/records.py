"""Records of what is known of callers: CALLER, FRAME and MODULE of ``bpf/record.h``."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tracer.capture.ledger import own_records
from tracer.capture.ring import Records
from tracer.record import (
    CALLER,
    FRAME,
    HEAD,
    MODULE,
    FrameWhat,
    MapsFrom,
    RecordType,
    StackState,
)

_PIECE: int = MODULE["text"].itemsize
_NAME: int = FRAME["name"].itemsize
_CUT = "…".encode()
_BUILD_ID: int = MODULE["build_id"].itemsize
_PATH = 4096
"""PATH_MAX."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, as the table ``stacks`` has it."""

    module: int
    offset: int
    what: FrameWhat
    interrupted: bool = False
    name: bytes = b""
    """Of its function, where that is known at once: the kernel's, or what a perf map says."""


@dataclass(frozen=True, slots=True)
class File:
    """A file: its inode as the kernel told it, and where it lies."""

    dev: int
    ino: int
    gen: int
    size: int = 0
    """0: not told."""
    path: bytes = b""
    mode: int = 0
    """0: not told; of code it never is."""


def caller_records(
    sample: int, stack: int, state: StackState, maps_from: MapsFrom, kernel_stack: int = 0
) -> Records:
    """What became of one sample."""
    rows = own_records(1, CALLER, RecordType.CALLER)
    rows["sample"], rows["stack"], rows["state"], rows["maps_from"] = (
        sample, stack, state, maps_from,
    )  # fmt: skip
    rows["kernel_stack"] = kernel_stack
    return rows.view(HEAD)


def frame_records(stack: int, frames: Sequence[Frame]) -> Records:
    """All frames of a stack, the innermost first."""
    rows = own_records(len(frames), FRAME, RecordType.FRAME)
    rows["stack"], rows["depth"] = stack, np.arange(len(frames))
    rows["module"] = [one.module for one in frames]
    rows["offset"] = [one.offset for one in frames]
    rows["what"] = [one.what for one in frames]
    rows["interrupted"] = [one.interrupted for one in frames]
    for row, one in enumerate(frames):
        if one.name:
            name = _fitting(one.name)
            rows["length"][row] = len(name)
            rows["name"][row] = np.void(name.ljust(_NAME, b"\0"))
    return rows.view(HEAD)


def _fitting(name: bytes) -> bytes:
    """What of it has room; that it goes on is said."""
    return name if len(name) <= _NAME else name[: _NAME - len(_CUT)] + _CUT


def module_records(module: int, file: File, build_id: bytes) -> Records:
    """A file, in as many records as its path needs. A build id that is too long is none."""
    path = file.path[:_PATH]
    pieces = [path[at : at + _PIECE] for at in range(0, max(1, len(path)), _PIECE)]
    known = build_id if len(build_id) <= _BUILD_ID else b""
    rows = own_records(len(pieces), MODULE, RecordType.MODULE)
    rows["dev"], rows["ino"], rows["gen"] = file.dev, file.ino, file.gen
    rows["module"], rows["size"], rows["part"] = module, file.size, np.arange(len(pieces))
    rows["more"] = rows["part"] < len(pieces) - 1
    rows["id_length"] = len(known)
    rows["build_id"] = np.void(known.ljust(_BUILD_ID, b"\0"))
    for row, piece in enumerate(pieces):
        rows["length"][row] = len(piece)
        rows["text"][row] = np.void(piece.ljust(_PIECE, b"\0"))
    return rows.view(HEAD)
