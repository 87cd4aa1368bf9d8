"""Options of ``record`` that become kernel-side filters, each checked before anything is traced."""

import argparse
import os
import pwd
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from tracer.capture.filters import Filters
from tracer.errors import UserError
from tracer.kernel.audit_families import AUDIT_FAMILIES
from tracer.kernel.families import FAMILIES
from tracer.model.seals import BY_NAME
from tracer.model.words import Op

_NAME_BYTES = 249
"""The longest name of a memfd: mm/memfd.c, MFD_NAME_MAX_LEN."""
_CGROUPS = "/sys/fs/cgroup"
_NO_UID = 0xFFFFFFFF
"""(uid_t)-1 is nobody's."""


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("filters (in the kernel; all must hold)")
    group.add_argument(
        "--pid",
        type=int,
        action="append",
        metavar="N",
        default=[],
        help="this process and the children it makes from now on; repeatable",
    )
    group.add_argument(
        "--uid",
        action="append",
        metavar="USER",
        default=[],
        help="processes of this user, by name or number; repeatable",
    )
    group.add_argument(
        "--cgroup",
        action="append",
        metavar="PATH",
        default=[],
        help="tasks in this cgroup v2 folder (not below it); repeatable",
    )
    group.add_argument(
        "--name",
        metavar="PREFIX",
        default="",
        help="files whose name begins so (a memfd's without 'memfd:')",
    )
    group.add_argument(
        "--seals",
        metavar="S,S",
        default="",
        help="files that carry all of these seals, e.g. write,grow",
    )
    group.add_argument(
        "--ops",
        metavar="OP,OP",
        default="",
        help="hook only these operations, e.g. mmap,write,add_seals",
    )
    group.add_argument("--denied", action="store_true", help="only operations that failed")
    group.add_argument(
        "--unsealable",
        action="store_true",
        help="also files that can never be sealed: tmpfs files, and memfds without "
        "MFD_ALLOW_SEALING (of these, creation is recorded in any case)",
    )


def _closest(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word, known, 1)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"


def _uid(user: str) -> int:
    if user.isdecimal():
        if int(user) >= _NO_UID:
            raise UserError(f"--uid: {user} is more than a user number can be", 2)
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):  # ValueError: a NUL in it
        near = get_close_matches(user, [one.pw_name for one in pwd.getpwall()], 1)
        hint = f"did you mean {near[0]}?" if near else "give its number"
        raise UserError(f"--uid: this host has no user {user!r}; {hint}", 2) from None


def _pid(pid: int) -> int:
    """Raises UserError for what is no process: a thread's own number would match nothing."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        raise UserError(f"--pid: there is no process {pid}", 2) from None
    found = re.search(r"^Tgid:\t(\d+)$", status, re.MULTILINE)
    if found and int(found[1]) != pid:
        raise UserError(f"--pid: {pid} is a thread; did you mean its process {found[1]}?", 2)
    return pid


def _cgroup(path: str) -> int:
    """A cgroup's id is the inode number of its folder (kernel/cgroup/cgroup.c)."""
    folder = Path(path) if path.startswith("/sys/") else Path(_CGROUPS, path.lstrip("/"))
    try:
        (folder / "cgroup.controllers").stat()  # cgroup v1 has none
        return folder.stat().st_ino
    except (OSError, ValueError):  # ValueError: a NUL in it
        why = f"{folder} is not a cgroup v2 folder; see /proc/PID/cgroup"
        raise UserError(f"--cgroup: {why}", 2) from None


def _seals(words: str) -> int:
    known = [name.lower() for name in BY_NAME]
    found = 0
    for name in (word.removeprefix("f_seal_") for word in _listed("--seals", words)):
        if name not in known:
            raise UserError(f"--seals: there is no seal {name!r}{_closest(name, known)}", 2)
        found |= BY_NAME[name.upper()]
    return found


def _listed(option: str, words: str) -> list[str]:
    """The words between commas. Raises UserError where there is nothing but commas."""
    found = [word for word in (part.strip().lower() for part in words.split(",")) if word]
    if words and not found:
        raise UserError(f"{option}: {words!r} names nothing", 2)
    return found


def families(words: str, audit: bool = False) -> frozenset[str] | None:
    """The hook families for ``--ops``; None for all. Raises UserError naming the bad word.

    ``audit``: of the families that only an audit needs, too.
    """
    if not words:
        return None
    there = (*FAMILIES, *AUDIT_FAMILIES) if audit else FAMILIES
    known = [op.name.lower() for op in Op if any(op in family.ops for family in there)]
    wanted = set()
    for word in _listed("--ops", words):
        if word not in known:
            raise UserError(f"--ops: there is no operation {word!r}{_closest(word, known)}", 2)
        wanted.add(Op[word.upper()])
    # Without evictions an inode that is used again would keep its forerunner's name.
    wanted.add(Op.EVICT)
    return frozenset(family.name for family in there if wanted.intersection(family.ops))


def filters(args: argparse.Namespace, follow_command: bool) -> Filters:
    """The filters that the options ask for. Raises UserError (exit code 2) for a bad value."""
    name = os.fsencode(args.name)
    if len(name) > _NAME_BYTES:
        raise UserError(f"--name: {len(name)} bytes, but a name has at most {_NAME_BYTES}", 2)
    return Filters(
        pids=tuple(_pid(pid) for pid in args.pid),
        uids=tuple(_uid(user) for user in args.uid),
        cgroups=tuple(_cgroup(path) for path in args.cgroup),
        name=name,
        seals=_seals(args.seals),
        denied=args.denied,
        unsealable=args.unsealable,
        follow_command=follow_command,
    )
