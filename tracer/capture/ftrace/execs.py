"""Executions of memory files, paired by process.

The thread that executes may go on under another number (fs/exec.c:de_thread), so its files and its
return are not paired by that. But of a process one thread at a time is that far
(fs/exec.c:prepare_bprm_creds takes cred_guard_mutex until the end), and the process stays.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.capture.ftrace.calls import After, races
from tracer.capture.ftrace.pages import Rows, What
from tracer.words import ExecForm, ExecRole, Flag, Hook

_ROLES = {
    "exec_begin": ExecRole.PROGRAM,
    "exec_check": ExecRole.INTERPRETER,
    "exec_open": ExecRole.LOADER,
}
"""Of a family's file, unless it is one that the call has already."""
_FD_FOLDERS = (b"/proc/self/fd/", b"/proc/thread-self/fd/", b"/dev/fd/")
_DIGITS = 7


def fill_file(part: Rows, data: Rows, names: Collection[str], family: str) -> None:
    """Sets ``fd`` and ``arg`` of rows: as what the file is executed, and how it was named.

    ``data`` of the program has the beginning of its path as the kernel has it, where an empty one
    has become /dev/fd/N (fs/exec.c:alloc_bprm).
    """
    role = _ROLES.get(family)
    if role is None:
        return
    part["arg"] = role << 8
    if "path" not in names:
        return
    part["arg"] |= np.uint64(ExecForm.PATH)
    for place, path in enumerate(np.ascontiguousarray(data["path"]).view("S32").reshape(-1)):
        fd = _fd_in(bytes(path))
        if fd >= 0:
            form = ExecForm.EMPTY_PATH if data["fdpath"][place] else ExecForm.PROC_FD
            part["fd"][place] = fd
            part["arg"][place] = role << 8 | form


def _fd_in(path: bytes) -> int:
    """The caller's own descriptor that a path stands for, -1: none."""
    path = path.split(b"\0", 1)[0]
    for folder in _FD_FOLDERS:
        number = path.removeprefix(folder)
        if number != path and number.isdigit() and len(number) <= _DIGITS:
            return int(number)
    return -1


class Over(NamedTuple):
    """Files of calls that are over, each with who executed it and the call's return."""

    files: Rows
    exits: Rows
    who: Rows


class _Call(NamedTuple):
    files: list[np.void]
    who: list[np.void]


class Executions:
    """Those whose return did not come yet, by process."""

    def __init__(self) -> None:
        self._open: dict[int, _Call] = {}

    def rows(self, ready: Rows) -> Rows:
        """Those of a batch that are about memory files, or may be."""
        found: Rows = ready[ready["hook"] == Hook.EXEC]
        if not self._open and not (found["what"] == What.IN_HAND).any():
            found = found[:0]  # ordinary programs
        return found

    @property
    def begun_ns(self) -> int | None:
        """When the oldest began, None: there is none."""
        return min((int(one.files[0]["time_ns"]) for one in self._open.values()), default=None)

    @property
    def wanted_since(self) -> NDArray[np.uint64]:
        """When each that is wanted began."""
        calls = self._open.values()
        found = [one.files[0]["time_ns"] for one in calls if one.who[0]["wanted"]]
        return np.array(found, np.uint64)

    def take(self, rows: Rows, who: Rows) -> tuple[Over, tuple[Rows, Rows]]:
        """``rows``: of :meth:`rows`; ``who`` did each.

        :return: what is over, and what is known to have lost its return: a file and who.
        """
        over: list[tuple[np.void, np.void, np.void]] = []
        lost: list[_Call] = []
        for row, one in zip(rows, who, strict=True):
            pid = int(one["pid"])
            if row["what"] == What.EXECUTED:
                call = self._open.pop(pid, None)
                if call is not None:
                    over += [(file, row, it) for file, it in zip(*call, strict=True)]
                continue
            begins = int(row["arg"]) >> 8 & 0xFF == ExecRole.PROGRAM
            if begins and pid in self._open:
                lost.append(self._open.pop(pid))
            self._add(self._open.setdefault(pid, _Call([], [])), row.copy(), one.copy())
        files, exits, executors = zip(*over, strict=True) if over else ((), (), ())
        return (
            Over(_rows(files, rows), _rows(exits, rows), _rows(executors, who)),
            (_rows([one.files[0] for one in lost], rows), _rows([one.who[0] for one in lost], who)),
        )

    @staticmethod
    def _add(call: _Call, row: np.void, who: np.void) -> None:
        """One more file, if it is none of those that the call has (bpf/exec.h:add_exec_file)."""
        for file in call.files:
            if file["key"] == row["key"]:
                if int(file["arg"]) >> 8 & 0xFF == ExecRole.LOADER:
                    file["arg"] = int(file["arg"]) & ~0xFF00 | int(row["arg"]) & 0xFF00
                return
        if call.files:
            row["time_ns"] = call.files[0]["time_ns"]
        call.files.append(row)
        call.who.append(who)


def _rows(found: Sequence[np.void], like: Rows) -> Rows:
    return np.array([*found], like.dtype) if found else like[:0]


def state_after(over: Over, sealings: Rows) -> After:
    """What others changed meanwhile: an execution itself changes no file."""
    files = over.files
    found = After(
        files["seals"].copy(),
        files["size"].copy(),
        np.zeros(len(files), np.int64),
        files["flags"].copy(),
        files["writable"].copy(),
    )
    races(found, files, over.exits, sealings, np.zeros(len(files), bool))
    found.flags[found.seals != files["seals"]] |= np.uint32(Flag.RACED_SEALS)
    return found
