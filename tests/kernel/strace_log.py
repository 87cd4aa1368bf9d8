"""What strace saw of a program's calls on memory files: a second witness beside the recording.

Only ``strace -f -y`` output is understood, and only as far as the tests need it: which operation
each call on a memfd was, and what it answered.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_LINE = re.compile(r"(\d+) +(.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_UNFINISHED = " <unfinished ...>"
_CALL = re.compile(r"(\w+)\((.*)\) += (0x[0-9a-f]+|-?\d+)(.*)", re.DOTALL)
_ERRNO = re.compile(r" ([A-Z0-9]+) \(")
_MEMFD = re.compile(r"(\d+)</memfd:([^>]*)>")
_BY_PATH = re.compile(r'"/proc/self/fd/(\d+)"')

_OPS = {
    "memfd_create": "create",
    "mmap": "mmap",
    "read": "read",
    "pread64": "read",
    "write": "write",
    "pwrite64": "write",
    "ftruncate": "truncate",
    "fchmod": "chmod",
}


@dataclass(frozen=True)
class Call:
    pid: int
    """The thread, as strace names it."""
    op: str
    name: str
    """Of the memfd, without ``memfd:``; empty for creations and opens by path."""
    answer: int
    errno: str | None
    text: str
    read_only: bool
    """Through a descriptor that was opened O_RDONLY, as far as the log shows."""


class Finished(NamedTuple):
    pid: int
    name: str
    arguments: str
    answer: str
    rest: str


def calls(lines: Iterable[str]) -> Iterator[Call]:
    """The calls that may decide something about a memory file, in the order of the log."""
    # Descriptor and file: threads may share a table of descriptors.
    read_only: set[tuple[str | None, ...]] = set()
    for pid, name, arguments, answer, rest in finished(lines):
        op = _op(name, arguments)
        file = _MEMFD.search(arguments)
        if name in ("open", "openat") and (opened := _MEMFD.match(f"{answer}{rest}")):
            if "O_RDONLY" in arguments:
                read_only.add(opened.group(1, 2))
        elif name == "close" and file:
            read_only.discard(file.group(1, 2))
        if op and (file or op == "create" or name == "openat"):
            errno = _ERRNO.match(rest)
            yield Call(
                pid,
                op,
                file.group(2) if file else "",
                int(answer, 0),
                errno.group(1) if errno else None,
                f"{name}({arguments}) = {answer}{rest}",
                file is not None and file.group(1, 2) in read_only,
            )


def read(path: Path) -> list[Call]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        return list(calls(lines))


def finished(lines: Iterable[str]) -> Iterator[Finished]:
    """Whole calls; one that another thread interrupted is put together where it ended."""
    begun: dict[str, str] = {}
    for line in lines:
        found = _LINE.match(line)
        if not found:
            continue
        pid, text = found.groups()
        if text.endswith(_UNFINISHED):
            begun[pid] = text.removesuffix(_UNFINISHED)
            continue
        if resumed := _RESUMED.match(text):
            text = begun.pop(pid) + resumed.group(1)
        if call := _CALL.match(text):
            name, arguments, answer, rest = call.groups()
            yield Finished(int(pid), name, arguments, answer, rest)


def _op(name: str, arguments: str) -> str | None:
    if name == "fcntl":
        return "add_seals" if "F_ADD_SEALS" in arguments else None
    if name == "fallocate":
        return "punch_hole" if "PUNCH_HOLE" in arguments else "allocate"
    if name in ("open", "openat"):  # truncates, if it gets to that
        return "truncate" if "O_TRUNC" in arguments and _BY_PATH.search(arguments) else None
    return _OPS.get(name)
