"""The BPF program's text and macros, and the filters. No bcc: this can be looked at anywhere.

Nothing that a user typed ever becomes part of the text: filters switch code on by a macro whose
value is 0 or 1, and their values go through maps.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntFlag
from pathlib import Path
from typing import Any

from tracer.words import (
    EXEC_CHECK,
    Device,
    ExecForm,
    ExecRole,
    Fill,
    Flag,
    Hook,
    Kind,
    LossCause,
    Op,
    Receipt,
    RecordType,
    TaskText,
)

BPF_DIR = Path(__file__).resolve().parents[2] / "bpf"
HEADERS = BPF_DIR / "include"
"""What bcc reads instead of kernel headers (its BCC_KERNEL_SOURCE)."""

_OWN_INCLUDE = re.compile(r'^#include "([a-z_]+\.h)"$', re.M)


HOOKS, CAUSES = 32, 32
"""Room in the BPF side's counts, as powers of two (``HOOK_MAX``, ``LOSS_MAX``)."""
_PREFIXES = {
    "TYPE": RecordType,
    "OP": Op,
    "HOOK": Hook,
    "KIND": Kind,
    "FLAG": Flag,
    "LOSS": LossCause,
    "FILL": Fill,
    "RECEIPT": Receipt,
    "DEVICE": Device,
    "FORM": ExecForm,
    "ROLE": ExecRole,
    "TASK": TaskText,
}


def enumerators() -> dict[str, int]:
    """The numbers of `tracer.words` by their names in C: ``OP_MMAP``."""
    found = {
        f"{prefix}_{one.name}": one.value for prefix, enum in _PREFIXES.items() for one in enum
    }
    return found | {"HOOK_MAX": HOOKS, "LOSS_MAX": CAUSES, "EXEC_CHECK": EXEC_CHECK}


def text() -> str:
    """The one source, with the numbers of `tracer.words` and its own includes put in place.

    bcc rewrites map operations in its main file alone, so they cannot stay includes.
    """

    def put_in_place(found: re.Match[str]) -> str:
        name = found.group(1)
        return f'#line 1 "{name}"\n{(BPF_DIR / name).read_text("utf-8")}'

    numbers = "".join(f"\t{name} = {number},\n" for name, number in enumerators().items())
    main = _OWN_INCLUDE.sub(put_in_place, (BPF_DIR / "sealsnoop.c").read_text("utf-8"))
    return f"enum {{\n{numbers}}};\n{main}"


_C_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def flags(*macros: Mapping[str, int | str]) -> list[str]:
    """Compiler flags; refuses a value that is neither a whole number nor a plain C name."""
    found = []
    for group in macros:
        for name, value in group.items():
            if not _C_NAME.match(name):
                raise ValueError(f"{name!r} is not the name of a macro")
            if isinstance(value, int):
                found.append(f"-D{name}={int(value)}")  # int: True is 1
            elif isinstance(value, str) and _C_NAME.match(value):
                found.append(f"-D{name}={value}")
            else:
                raise ValueError(f"{name}: {value!r} is neither a number nor a C name")
    return found


_WAY_MARK = 0x5EA150FB
"""WAY_MARK of ``bpf/access.h``."""
_MOVE = 0xB7
"""Opcode of rN = a number of 32 bits (BPF_ALU64 | BPF_MOV | BPF_K)."""


def with_way(code: bytes, way: int) -> bytes:
    """A program's instructions (8 bytes each) with ``way`` where the source has WAY_MARK.

    ValueError where that is not exactly once: the compiler did something else with it.
    """
    mark = _WAY_MARK.to_bytes(4, "little")
    places = [
        place
        for place in range(0, len(code), 8)
        if code[place] == _MOVE and code[place + 4 : place + 8] == mark
    ]
    if len(places) != 1 or code.count(mark) != 1:
        raise ValueError(f"WAY_MARK is {len(places)} times in the program, not once")
    at = places[0] + 4
    return code[:at] + way.to_bytes(4, "little") + code[at + 4 :]


class Stacks(IntFlag):
    """Of which decisions the user stacks are taken: ``STACKS`` of ``bpf/stacks.h``; and whether
    the kernel's stack is taken with it."""

    OFF = 0
    DENIED = 1
    BREACH = 2
    ALL = 4
    KERNEL = 8

    @property
    def of(self) -> "Stacks":
        """Of which decisions."""
        return self & ~Stacks.KERNEL

    @property
    def words(self) -> str:
        """As ``--stacks`` has it."""
        found = [one.name.lower() for one in Stacks if one & self and one.name]
        return ",".join(found) or "off"


STACK_RING_BYTES, CODE_RING_BYTES = 8 << 20, 4 << 20
"""Room for 390 stacks, and for 3000 mappings with code."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions that must all hold; an empty one always does."""

    pids: tuple[int, ...] = ()
    """Thread group ids; their children are followed."""
    uids: tuple[int, ...] = ()
    cgroups: tuple[int, ...] = ()
    """cgroup ids: the inode number of the folder in the cgroup v2 tree; also all below them."""
    name: bytes = b""
    """What the file's name begins with (a memfd's without ``memfd:``), at most 249 bytes."""
    seals: int = 0
    """All of these F_SEAL_* are set."""
    denied: bool = False
    """Only operations that failed."""
    unsealable: bool = False
    """Also files that can never be sealed."""
    follow_command: bool = False
    """The pid filter is on, though its first pid is not known yet; the files that those processes
    have to do with are followed, whoever else does something to them."""
    no_cmdline: bool = False
    """Command lines of who acts are not read."""
    actors: str = ""
    """Only events of these: units, containers, pods, machines and programs, as ``--filter`` has
    them (`tracer.capture.actors`)."""
    files: tuple[str, ...] = ()
    """Only these (`tracer.capture.named_files.NamedFile.key`), whoever does something to them."""

    def macros(
        self,
        ring_bytes: int,
        audit: bool = False,
        page_size: int = 4096,
        stacks: Stacks = Stacks.OFF,
        tasks: bool = True,
    ) -> dict[str, int]:
        """What of the program is compiled in, and how large its maps are."""
        return {
            "FILTER_PID": bool(self.pids) or self.follow_command,
            "FOLLOW_FILES": self.follow_command,
            "FILTER_FILE": bool(self.files),
            "FILTER_UID": bool(self.uids),
            "FILTER_CGROUP": bool(self.cgroups),
            "FILTER_NAME": bool(self.name),
            "FILTER_SEALS": bool(self.seals),
            "FILTER_DENIED": self.denied,
            "FILTER_UNSEALABLE": not self.unsealable,
            "TASKS": tasks,
            "CMDLINE": not self.no_cmdline,
            "AUDIT": audit,
            "RING_PAGES": ring_bytes // page_size,
            "MAX_TASKS": 16384,
            "MAX_OUTER": 4096,  # calls at once that wait for one inside of them
            "MAX_OBJECTS": 65536,
            "MAX_EXECS": 4096,  # executions of memory files at the same time
            "MAX_CGROUPS": 65536,
            "STACKS": int(stacks.of),
            "KERNEL_STACKS": bool(stacks & Stacks.KERNEL),
            "STACK_RING_PAGES": STACK_RING_BYTES // page_size,
            "CODE_RING_PAGES": CODE_RING_BYTES // page_size,
        }

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"name": self.name.decode("utf-8", "backslashreplace")}
