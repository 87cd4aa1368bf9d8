"""Memory files of a scan as a table for people, as tab-separated lines, as JSON."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tracer.model.args import seals_text, vm_text
from tracer.model.escape import escape_bytes

if TYPE_CHECKING:
    from rich.table import Table

    from tracer.capture.memoryfile import MemoryFile

HEADER = ("KIND", "SEALS", "SIZE", "MAPPINGS", "WRITABLE", "HOLDERS", "MAPPED BY", "NAME")
LEGEND = (
    "seals: S seal, s shrink, g grow, w write, f future write, X exec or inaccessible; "
    "?????? unreadable"
)
_SHOWN_HOLDERS = 3


def _holders(file: "MemoryFile", most: int | None) -> str:
    return _listed(
        [f"{holder.pid}/{escape_bytes(holder.who.comm)}:{holder.fd}" for holder in file.holders],
        most,
    )


def _mappers(file: "MemoryFile", most: int | None) -> str:
    """``pid/comm:rw-s`` once for each process and way of mapping it."""
    all_of = dict.fromkeys(
        f"{mapping.pid}/{escape_bytes(mapping.who.comm)}:{vm_text(mapping.line.vm_flags)}"
        for mapping in file.mappings
    )
    return _listed(list(all_of), most)


def _listed(texts: list[str], most: int | None) -> str:
    shown = texts[:most]
    more = len(texts) - len(shown)
    return " ".join([*shown, f"+{more} more"] if more else shown) or "-"


def human(size: int | None) -> str:
    """Bytes with a binary unit, ``2.0G``; ``?`` where unknown."""
    if size is None:
        return "?"
    for unit in ("", "K", "M", "G", "T"):
        if size < 1024 or unit == "T":
            break
        size /= 1024  # type: ignore[assignment]
    return f"{size:.1f}{unit}" if unit else str(size)


def table(files: list["MemoryFile"]) -> "Table":
    """A rich table. Names are plain text in it: ``[bold]`` in a name stays as it is."""
    from rich.table import Table
    from rich.text import Text

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
        size = human(file.stat.size if file.stat else None)
        cells = (
            file.kind.name.lower(),
            seals_text(file.seals),
            size,
            str(len(file.mappings)),
            str(file.shared_writable),
            _holders(file, _SHOWN_HOLDERS),
            _mappers(file, _SHOWN_HOLDERS),
            escape_bytes(file.shown_name),
        )
        shown.add_row(*(Text(cell) for cell in cells))
    return shown


def lines(files: list["MemoryFile"]) -> Iterator[str]:
    """A header and one line a file, separated by tabs (no field contains one); sizes in bytes."""
    yield "\t".join(HEADER)
    for file in files:
        cells = (
            file.kind.name.lower(),
            seals_text(file.seals),
            str(file.stat.size) if file.stat else "?",
            str(len(file.mappings)),
            str(file.shared_writable),
            _holders(file, None),
            _mappers(file, None),
            escape_bytes(file.shown_name),
        )
        yield "\t".join(cells)


def json_lines(files: list["MemoryFile"]) -> Iterator[str]:
    """One JSON object a file; column names as in recordings, null where not readable."""
    from tracer.model.args import SEALS_UNKNOWN

    for file in files:
        yield json.dumps(
            {
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
                        "address": mapping.line.start,
                        "length": mapping.line.end - mapping.line.start,
                        "offset": mapping.line.offset,
                        "perms": vm_text(mapping.line.vm_flags),
                    }
                    for mapping in file.mappings
                ],
            }
        )
