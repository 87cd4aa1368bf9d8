"""Virtual machines for the view: read while somebody looks at them, in a thread of its own.

The state of guest memory is made of all conversions of a recording, which takes seconds where it is
long; the tables must go on meanwhile. It is repeated when something came, and takes at most a fifth
of the time.
"""

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from tracer.analysis.grouping import BEFORE, NEVER
from tracer.errors import UserError
from tracer.labels import is_shared, vm_text
from tracer.live import cells
from tracer.live.snapshot import Guest, Guests, of_records
from tracer.recording.reader import Recording

if TYPE_CHECKING:
    from tracer.analysis.private import Privacy

LEAST_S = 2.0
"""Between two readings."""
_SHARE = 4
_WAIT_S = 0.05
"""What is known so soon is in the next snapshot already."""
MOST = 32
"""Machines of which all is known; the others are in the list alone."""
_ROWS = 500
"""Memslots, and mappings, of one machine."""
Names = Mapping[tuple[int, int], tuple[str | None, str | None]]
"""Kind and name by dev and ino."""


class GuestBook:
    """The newest reading of one recording's virtual machines."""

    def __init__(self, path: str) -> None:
        self.found = Guests()
        self._path = path
        self._version: object = None
        self._due_s = 0.0
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def look(self, version: object, until_ns: int | None) -> None:
        """Reads again if ``version`` is another one than before, and it was not just read.

        :param until_ns: how far a replay has come.
        """
        if version == self._version or self.busy or time.monotonic() < self._due_s:
            return
        self._version = version
        self._thread = threading.Thread(
            target=self._make, args=(until_ns,), name="guests", daemon=True
        )
        self._thread.start()
        self._thread.join(_WAIT_S)

    def settle(self) -> bool:
        """Waits for the end of a reading; False: there was none."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        self._due_s = 0.0
        return thread is not None

    def _make(self, until_ns: int | None) -> None:
        start_s = time.monotonic()
        try:
            with Recording.open(self._path) as recording:
                self.found = read(recording, until_ns)
        except (UserError, OSError) as error:
            self.found = Guests(made=True, problem=cells.text(str(error)))
        except Exception as error:
            # A thread that ends in silence would leave a page that looks new.
            text = f"the virtual machines could not be read ({type(error).__name__}: {error})"
            self.found = Guests(made=True, problem=cells.text(text))
            raise
        finally:
            now_s = time.monotonic()
            self._due_s = now_s + max(LEAST_S, _SHARE * (now_s - start_s))


def read(recording: Recording, until_ns: int | None = None) -> Guests:
    """The machines of a recording, as it is now or as it was then. StoreError."""
    from tracer.analysis import copies, private

    found = private.of(recording, until_ns)
    until = private.FOREVER if until_ns is None else until_ns
    told = found.machines().merge(copies.of(recording, found, until), on="vm", how="left")
    told = told.astype(object).where(told.notna(), None)
    records: list[dict[Any, Any]] = told.to_dict("records")
    for record in records:
        slots = found.memory(record["vm"])
        gone = int(slots["gone_ns"].max()) if len(slots) else private.FOREVER
        record["gone_ns"] = None if gone == private.FOREVER else gone
    vms = [int(record["vm"]) for record in records]
    last_ns = recording.last_ns() if until_ns is None else until_ns
    shown = _guests(recording, found, vms[:MOST], until, last_ns)
    return Guests(of_records("machines", records, vms, None), shown, made=True)


def _guests(
    recording: Recording, found: "Privacy", vms: list[int], until_ns: int, last_ns: int | None
) -> dict[int, Guest]:
    from tracer.analysis import copies, strip

    slots = pd.concat([found.there(vm) for vm in vms] or [found.slots[:0]])
    placed = slots[slots["address"] != 0][: copies.SLOTS]
    parts: dict[tuple[int, int], list[copies.Piece]] = {}
    for one in copies.pieces(placed, copies.mapped(recording, placed, until_ns)):
        parts.setdefault((one.vm, one.start), []).append(one)
    inodes = {*slots["ino"].tolist(), *(one.ino for some in parts.values() for one in some)} - {0}
    lives = copies.mappings(recording, inodes, until_ns) if inodes else None
    names = _names(recording)
    guests = {}
    for vm in vms:
        mine = slots[slots["vm"] == vm].sort_values("start")
        backing = [one for (of, _), some in parts.items() if of == vm for one in some if one.ino]
        files = frozenset({(one.dev, one.ino) for one in backing})
        files |= {(dev, ino) for dev, ino in zip(mine["dev"], mine["ino"], strict=True) if ino}
        told = [
            _slot(found, row, parts, names) for row in mine[:_ROWS].itertuples(index=False)
        ]  # fmt: skip
        mappers = [] if lives is None else _mappers(lives, files, names)
        guests[vm] = Guest(
            strip.of(found, vm, last_ns),
            of_records("slots", told, range(len(told)), None),
            of_records("mapped", mappers, range(len(mappers)), None),
            files,
        )
    return guests


def _names(recording: Recording) -> Names:
    known = recording.frame("objects", ["dev", "ino", "kind", "name"])
    known = known.astype(object).where(known.notna(), None)
    return {
        (dev, ino): (str(kind), name)
        for dev, ino, kind, name in known.itertuples(index=False, name=None)
    }


def _slot(found: "Privacy", row: Any, parts: Mapping[tuple[int, int], Any], names: Names) -> Any:
    from tracer.analysis.private import FOREVER, PRIVATE

    at_ns = min(row.gone_ns - 1, max(found.last_ns, row.set_ns))
    odd = found.odd_pages(row.vm, row.start, row.end, at_ns)
    odd = odd[odd["state"] == PRIVATE]
    shared = [one for (vm, start), some in parts.items() if vm == row.vm
              and row.start <= start < row.end for one in some]  # fmt: skip
    texts = [_file_name((one.dev, one.ino), names) if one.ino else "no memory file"
             for one in shared]  # fmt: skip
    kind, name = names.get((row.dev, row.ino), (None, None))
    return {
        "slot": row.slot,
        "start": row.start << 12,
        "length": (row.end - row.start) << 12,
        "private": int((odd["end"] - odd["start"]).sum()) << 12,
        "kind": kind, "name": name, "dev": row.dev, "ino": row.ino, "gen": row.gen,
        "shared_in": ", ".join(dict.fromkeys(texts)) or None,
        "first_ns": row.set_ns,
        "until_ns": None if row.gone_ns == FOREVER else row.gone_ns,
    }  # fmt: skip


def _file_name(key: tuple[int, int], names: Names) -> str:
    kind, name = names.get(key, (None, None))
    return cells.name_of(kind, name, *key)


def _mappers(lives: pd.DataFrame, files: frozenset[tuple[int, int]], names: Names) -> Any:
    """Who maps, or mapped, what backs it: those first that do so now, and can write."""
    keys = zip(lives["dev"].tolist(), lives["ino"].tolist(), strict=True)
    mine = lives[[key in files for key in keys]]
    mine = mine.assign(now=mine["end_ns"] == NEVER)
    mine = mine.sort_values(["now", "writable", "pid", "address"],
                            ascending=[False, False, True, True])[:_ROWS]  # fmt: skip
    told = []
    row: Any
    for row in mine.itertuples(index=False):
        kind, name = names.get((int(row.dev), int(row.ino)), (None, None))
        told.append({
            "kind": kind, "name": name, "dev": int(row.dev), "ino": int(row.ino),
            "gen": int(row.gen), "comm": row.comm, "pid": int(row.pid),
            "shared": is_shared(row.arg), "writable": bool(row.writable),
            "perms": vm_text(row.arg), "offset": int(row.offset), "length": int(row.length),
            "address": int(row.address),
            "first_ns": None if row.begin_ns == BEFORE else int(row.begin_ns),
            "until_ns": None if row.now else int(row.end_ns),
        })  # fmt: skip
    return told
