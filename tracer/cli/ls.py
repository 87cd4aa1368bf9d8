"""``sealsnoop ls``: the memory files on this host now, with their seals and who has them."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer.cgroups import label
from tracer.cli.verb import Verb, filter_option, filter_query
from tracer.errors import Exit, UserError
from tracer.escape import escape_bytes
from tracer.labels import SEALS_UNKNOWN, seals_text, size, vm_text
from tracer.output.console import console, tell

if TYPE_CHECKING:
    from rich.table import Table

    from tracer.capture.memory_files import MemoryFile
    from tracer.filter.query import Query
    from tracer.recording.places import Places


class Ls(Verb):
    """List the memory files on this host now, with their seals.

    Lists memfds, hugetlb files, guest_memfds and secret memory in use now. Reads
    /proc; traces nothing and needs no kernel support. Without root, the processes of
    other users cannot be read: stderr says how many. On a terminal a table is shown,
    in a pipe tab-separated lines with sizes in bytes.

    examples:
      sealsnoop ls
      sealsnoop ls --name 'frame-*'
      sealsnoop ls --pid 4242 --json | jq .seals
      sealsnoop ls --filter 'seals:-WRITE comm:qemu* size:>1M'
      sealsnoop ls --filter 'unit:nginx.service'

    exit code: 0; 1 wrong option; 3 when nothing was found, and something could not be read
    """

    def options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object per line")
        parser.add_argument(
            "--all", action="store_true", help="also tmpfs files, which can never be sealed"
        )
        parser.add_argument(
            "--name",
            metavar="GLOB",
            help="only files with such a name (of a memfd: without memfd:)",
        )
        parser.add_argument("--pid", type=int, metavar="PID", help="only files this process has")
        filter_option(
            parser,
            "only files that match, for example 'seals:-WRITE comm:qemu* size:>1M': kind, name, "
            "seals, size, writable, object, dev, ino, gen, and pid, comm, uid, fd, cgroup, unit, "
            "container, pod, vm, exe of who has it (open or mapped); see 'sealsnoop script --help'",
        )

    def run(self, args: argparse.Namespace) -> int:
        """Lists the files; an empty list of what could not all be read is not certain."""
        if args.pid is not None and not Path(f"/proc/{args.pid}").is_dir():
            raise UserError(f"--pid: there is no process {args.pid}")
        from tracer.filter.mask import PLACES

        query = filter_query(args, FILTERED | {*PLACES, "vm_claimed"})
        from tracer.capture.procfs import Scanner

        try:
            scan = Scanner(all_tmpfs=args.all).scan()
        except OSError as error:
            raise UserError(f"/proc cannot be read: {error.strerror}; is it mounted?") from error
        files = [file for file in scan.files if _wanted(file, args)]
        named = _places() if args.json or not query.columns().isdisjoint(PLACES) else None
        files = matching(files, query, named) if query else files
        for problem in scan.problems:
            tell(str(problem))
        if args.json:
            for file in files:
                print(json.dumps(as_dict(file, named)))
        elif not sys.stdout.isatty():
            for line in lines(files):
                print(line)
        elif files:
            console().print(table(files))
        if not files:
            tell("no memory file found")
        return Exit.UNCERTAIN if scan.problems and not files else Exit.FINE


def _wanted(file: "MemoryFile", args: argparse.Namespace) -> bool:
    if args.pid is not None:
        users = {holder.pid for holder in file.holders}
        if args.pid not in users | {mapping.pid for mapping in file.mappings}:
            return False
    return args.name is None or fnmatchcase(escape_bytes(file.shown_name), args.name)


def _places() -> "Places":
    """What cgroups are called now."""
    from tracer.capture.cgroups import cgroup_records
    from tracer.recording.places import Places
    from tracer.recording.tables import tables

    return Places.of_tables(tables(cgroup_records(), ("cgroups",)).values())


FILTERED = frozenset(
    ["kind", "name", "seals", "size", "writable", "dev", "ino", "gen", "pid", "comm", "uid", "fd",
     "cgroup", "exe"]
)  # fmt: skip
"""What a filter can ask for, beside what a cgroup tells."""


def matching(
    files: list["MemoryFile"], query: "Query", named: "Places | None" = None
) -> list["MemoryFile"]:
    """The files that a filter takes: one of those who have it is as all its words say.

    A word with ``!`` takes the other files: those that nobody has who is so. ``named``: what
    cgroups are called, where the filter asks.
    """
    import numpy as np

    from tracer.capture.tasks import Claims
    from tracer.filter.mask import Coded, placed
    from tracer.filter.query import Query

    rows = [(place, file, one) for place, file in enumerate(files) for one in _having(file)]

    def numbers(found: list[int | None]) -> Any:
        return np.array([np.nan if one is None else one for one in found], np.float64)

    def texts(found: list[str | None]) -> Coded:
        return Coded(np.arange(len(found)), found)

    columns: dict[str, Any] = {
        "kind": texts([file.kind.name.lower() for _, file, _ in rows]),
        "name": texts([escape_bytes(file.kernel_name) for _, file, _ in rows]),
        "size": numbers([file.stat.size if file.stat else None for _, file, _ in rows]),
        "writable": np.array([file.shared_writable for _, file, _ in rows], np.int64),
        "comm": texts([one and escape_bytes(one[1]) for _, _, one in rows]),
        "pid": numbers([one and one[0] for _, _, one in rows]),
        "uid": numbers([one and one[2] for _, _, one in rows]),
        "fd": numbers([one and one[3] for _, _, one in rows]),
        "cgroup": np.array([one[4] if one else 0 for _, _, one in rows], np.uint64),
    }
    if "exe" in query.columns():
        columns["exe"] = texts([one and _executable(one[0]) for _, _, one in rows])
    if named is not None:
        columns |= placed(columns["cgroup"], named)
        if "vm_claimed" in query.columns():
            places = columns["vm_name"]
            claims = Claims()
            columns["vm_claimed"] = texts([
                None if one is None or places.words[code] else claims.of(one[0]) or None
                for (_, _, one), code in zip(rows, places.codes.tolist(), strict=True)
            ])  # fmt: skip
    for name in ("dev", "ino", "gen", "seals"):
        columns[name] = np.array([getattr(file, name) for _, file, _ in rows], np.uint64)
    places = np.array([place for place, _, _ in rows], np.int64)
    found = np.ones(len(files), bool)
    plain = Query(tuple(term for term in query.terms if not term.negated))
    others = [Query((replace(term, negated=False),)) for term in query.terms if term.negated]
    for one, takes in ((plain, True), *((one, False) for one in others)):
        matched = np.zeros(len(files), bool)
        matched[places[one.mask(columns)]] = True
        found &= matched == takes
    return [file for file, wanted in zip(files, found, strict=True) if wanted]


def _executable(pid: int) -> str | None:
    """The path of what a process runs now; None: it is gone, or it has none."""
    try:
        link = os.readlink(f"/proc/{pid}/exe".encode())
    except OSError:
        return None
    return escape_bytes(link.removesuffix(b" (deleted)"))


def _having(file: "MemoryFile") -> Iterator[tuple[int, bytes, int, int, int] | None]:
    """Pid, comm, uid, descriptor (-1: mapped) and cgroup of each who has it; None for nobody."""
    nobody = True
    for holder in file.holders:
        nobody = False
        yield holder.pid, holder.who.comm, holder.who.uid, holder.fd, holder.who.cgroup
    for mapping in file.mappings:
        nobody = False
        yield mapping.pid, mapping.who.comm, mapping.who.uid, -1, mapping.who.cgroup
    if nobody:
        yield None


HEADER = ("KIND", "SEALS", "SIZE", "MAPPINGS", "WRITABLE", "HOLDERS", "MAPPED BY", "NAME")
_SHOWN_HOLDERS = 3


def _cells(file: "MemoryFile", shown_size: str, most: int | None) -> tuple[str, ...]:
    """One text for each of :data:`HEADER`; ``most`` holders and mappers."""
    holders = [f"{one.pid}/{escape_bytes(one.who.comm)}:{one.fd}" for one in file.holders]
    # Once for each process and way of mapping it.
    mappers = dict.fromkeys(
        f"{one.pid}/{escape_bytes(one.who.comm)}:{vm_text(one.line.vm_flags)}"
        for one in file.mappings
    )
    return (
        file.kind.name.lower(),
        seals_text(file.seals),
        shown_size,
        str(len(file.mappings)),
        str(file.shared_writable),
        _listed(holders, most),
        _listed(list(mappers), most),
        escape_bytes(file.shown_name),
    )


def _listed(texts: list[str], most: int | None) -> str:
    shown = texts[:most]
    more = len(texts) - len(shown)
    return " ".join([*shown, f"+{more} more"] if more else shown) or "-"


def table(files: list["MemoryFile"]) -> "Table":
    """A rich table. Names are plain text in it: ``[bold]`` in a name stays as it is."""
    from rich.table import Table
    from rich.text import Text

    from tracer.output.tables import LEGEND

    shown = Table(box=None, pad_edge=False, caption=LEGEND, caption_justify="left")
    for title in HEADER:
        right = title in ("SIZE", "MAPPINGS", "WRITABLE")
        shown.add_column(
            Text(title),
            justify="right" if right else "left",
            no_wrap=title not in ("HOLDERS", "MAPPED BY", "NAME"),
            overflow="fold",
        )
    for file in files:
        shown_size = size(file.stat.size if file.stat else None)
        shown.add_row(*(Text(cell) for cell in _cells(file, shown_size, _SHOWN_HOLDERS)))
    return shown


def lines(files: list["MemoryFile"]) -> Iterator[str]:
    """A header and one line a file, separated by tabs (no field contains one); sizes in bytes."""
    yield "\t".join(HEADER)
    for file in files:
        yield "\t".join(_cells(file, str(file.stat.size) if file.stat else "?", None))


def as_dict(file: "MemoryFile", named: "Places | None" = None) -> dict[str, Any]:
    """The JSON object of a file; names as in recordings, null where it could not be read.

    ``named``: what cgroups are called.
    """

    def place(cgroup: int) -> str | None:
        return (named and label(named.of(cgroup).place)) or None

    return {
        "kind": file.kind.name.lower(),
        "name": escape_bytes(file.kernel_name),
        "path": escape_bytes(file.name),
        "dev": file.dev,
        "ino": file.ino,
        "gen": file.gen,
        "seals": None if file.seals == SEALS_UNKNOWN else file.seals,
        "size": file.stat.size if file.stat else None,
        "owner_uid": file.stat.uid if file.stat else None,
        "mode": file.stat.mode if file.stat else None,
        "holders": [
            {
                "pid": holder.pid,
                "comm": escape_bytes(holder.who.comm),
                "uid": holder.who.uid,
                "place": place(holder.who.cgroup),
                "fd": holder.fd,
                "readable": bool(holder.fmode & 1),
                "writable": bool(holder.fmode & 2),
            }
            for holder in file.holders
        ],
        "mappings": [
            {
                "pid": mapping.pid,
                "comm": escape_bytes(mapping.who.comm),
                "uid": mapping.who.uid,
                "place": place(mapping.who.cgroup),
                "address": mapping.line.start,
                "length": mapping.line.end - mapping.line.start,
                "offset": mapping.line.offset,
                "perms": vm_text(mapping.line.vm_flags),
            }
            for mapping in file.mappings
        ],
    }
