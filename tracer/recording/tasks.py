"""Who acted: executable, command line and parent, from a recording's table ``tasks``.

None of it is evidence: the command line is the process's own memory, and what its executable is the
owner of a user namespace can set (prctl PR_SET_MM_EXE_FILE). So the name of a virtual machine from
there, QEMU's ``-name`` and ``-uuid``, is a claim: it is shown as one, nothing is permitted by it,
and where the cgroup names the machine (tracer.cgroups) it counts for nothing.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from tracer.escape import escape_bytes, printable
from tracer.recording.pieces import Known, Pieces, joined
from tracer.recording.tables import values

CUT = "..."
"""Behind a command line of which not all is known."""
NAME_BYTES = 128
"""Bytes of a machine's name that are kept."""
_PROGRAM = re.compile(rb"qemu-system-[\w-]+|qemu-kvm|qemu|kvm", re.ASCII)
_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_IMPLIED = b"guest"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+/.,:@%^~[]{}")


class Actor(NamedTuple):
    """A process, and the program that it ran then."""

    pid: int
    start_ns: int
    exec_id: int


@dataclass(frozen=True, slots=True)
class Task:
    """What a recording knows of an actor; its texts are escaped."""

    exe: str = ""
    """Path of the executable; starts with ``?`` where what is above is not known."""
    dev: int = 0
    ino: int = 0
    """Of the executable; 0: it has none, or it is not known."""
    gen: int = 0
    cmdline: str = ""
    """As a shell would take it; ends with :data:`CUT` where more of it is not known."""
    parent: int = 0
    parent_start_ns: int = 0
    ns_pid: int = 0
    """Its own process id, as its own pid namespace counts; 0: not known."""
    vm: str = ""
    """The virtual machine that its command line claims to be (:func:`claimed`)."""
    build_id: str = ""
    """Of the executable, in hex; empty: it has none, or it is not known."""


NOBODY = Task()
"""An actor of which nothing was recorded."""


class _Rows(NamedTuple):
    facts: tuple[int, int, int, int, int, int]
    cut: bool
    exe: Pieces
    cmdline: Pieces
    build_id: list[str]


def quoted(text: str) -> str:
    """As a shell would take it."""
    if text and _PLAIN.issuperset(text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"


def _arguments(raw: bytes) -> list[bytes]:
    return raw.removesuffix(b"\0").split(b"\0") if raw else []


def _command(arguments: Sequence[bytes], whole: bool) -> str:
    words = [quoted(escape_bytes(one)) for one in arguments]
    return " ".join([*words, CUT] if words and not whole else words)


def claimed(exe: bytes, arguments: Sequence[bytes]) -> bytes:
    """The name that a command line claims, else its uuid; empty: none, or it is not QEMU's.

    A word is taken for what it says wherever it stands: which options take a value is not known
    here, so that ``-append -name`` is misread.

    :param exe: path of the executable.
    :param arguments: the words that are wholly known.
    """
    if not is_qemu(exe):
        return b""
    name = uuid = b""
    for option, value in itertools.pairwise(arguments):
        # Two dashes are as good as one, and of several the last counts (system/vl.c: lookup_opt,
        # qemu_name_opts with merge_lists).
        word = option.removeprefix(b"-") if option.startswith(b"--") else option
        if word == b"-name":
            name = _guest(value) or name
        elif word == b"-uuid" and _UUID.fullmatch(value):
            uuid = value.lower()
    return (name or uuid)[:NAME_BYTES]


def is_qemu(exe: bytes) -> bool:
    """Whether an executable is called as QEMU's programs are."""
    return _PROGRAM.fullmatch(exe.rpartition(b"/")[2]) is not None


def _guest(value: bytes) -> bytes:
    """``web`` of ``web,process=x`` and of ``debug-threads=on,guest=web``."""
    found = b""
    for place, part in enumerate(_parts(value)):
        key, sign, text = part.partition(b"=")
        if not place and not sign:
            key, text = _IMPLIED, part
        if key == _IMPLIED:
            found = text
    return found


def _parts(value: bytes) -> Iterator[bytes]:
    """What stands between commas; two of them are one that is meant (util/qemu-option.c)."""
    for part in re.findall(rb"(?:[^,]|,,)+", value):
        yield part.replace(b",,", b",")


_COLUMNS = (
    "pid", "start_ns", "exec_id", "of_exe", "part", "more", "cut", "exe", "cmdline", "build_id",
)  # fmt: skip
_FACTS = ("dev", "ino", "gen", "parent", "parent_start_ns", "ns_pid")


class Tasks(Known[Actor, Task]):
    """The actors of a recording, which may grow."""

    nothing = NOBODY

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[Actor, _Rows] = {}

    def add(self, table: pa.Table) -> None:
        """Takes rows of the table ``tasks``; of an actor that is told again, the first one counts
        that had an executable: who exits has none any more."""
        rows = zip(*(values(table, name) for name in (*_COLUMNS, *_FACTS)), strict=True)
        for pid, start, exec_id, of_exe, part, more, cut, exe, cmdline, build_id, *facts in rows:
            actor = Actor(pid, start, exec_id)
            known = self._rows.get(actor)
            if known is None or (not known.facts[1] and facts[1]):
                known = self._rows[actor] = _Rows(tuple(facts), cut, {}, {}, [])
            if build_id is not None:
                known.build_id.append(printable(build_id))
            elif of_exe:
                known.exe.setdefault(part, (exe, more))
            else:
                known.cmdline.setdefault(part, (cmdline, more))
            self._known.pop(actor, None)

    def keep_newest(self, most: int) -> None:
        """Forgets those that came first, if there are more: for who runs for months."""
        for actor in [*self._rows][: max(0, len(self._rows) - most)]:
            del self._rows[actor]
            self._known.pop(actor, None)

    def _made(self, actor: Actor) -> Task:
        rows = self._rows.get(actor)
        if rows is None:
            return NOBODY
        (exe, whole), facts = joined(rows.exe), dict(zip(_FACTS, rows.facts, strict=True))
        unknown = rows.cut or (rows.exe and not whole)
        raw, all_ = joined(rows.cmdline)
        arguments = _arguments(raw)
        return Task(
            exe=("?" if exe and unknown else "") + escape_bytes(exe),
            cmdline=_command(arguments, all_),
            vm=escape_bytes(claimed(exe, arguments if all_ else arguments[:-1])),
            build_id=rows.build_id[0] if rows.build_id else "",
            **facts,
        )
