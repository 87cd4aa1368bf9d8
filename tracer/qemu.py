"""What a virtual machine is called by who runs it: QEMU's ``-name`` and ``-uuid``.

A command line is its process's own memory, so a name from there is a claim: it is shown as one,
nothing is permitted by it, and where the cgroup names the machine (tracer.cgroups) it counts for
nothing. A word is taken for what it says wherever it stands: which options take a value is not
known here, so that ``-append -name`` is misread.
"""

import itertools
import re
from collections.abc import Iterator, Sequence

ROOM = 128
"""Bytes of a name that are kept."""
_PROGRAM = re.compile(rb"qemu-system-[\w-]+|qemu-kvm|qemu|kvm", re.ASCII)
_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_IMPLIED = b"guest"


def claimed(exe: bytes, arguments: Sequence[bytes]) -> bytes:
    """The name that a command line claims, else its uuid; empty: none, or it is not QEMU's.

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
    return (name or uuid)[:ROOM]


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
