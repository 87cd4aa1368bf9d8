"""Who maps one object, as its events come."""

from collections.abc import Mapping
from typing import Any

from tracer.model.args import is_shared, is_writable, vm_text
from tracer.model.words import Flag
from ui import cells
from ui.feed.groups import of_records
from ui.rows import Rows

_MOST = 1 << 16
"""Mappings that are known at a time."""
_SHOWN = 5


class Mapped:
    """The mappings that exist, by address space and address."""

    def __init__(self) -> None:
        self._found: dict[tuple[Any, int], dict[str, Any]] = {}

    def before(self, row: Mapping[str, Any]) -> None:
        """One from before the trace: its process is known, its address space is not."""
        self._add(row, ("before", row["pid"]))

    def begins(self, event: Mapping[str, Any]) -> None:
        """A mapping begins."""
        self._add(event, event["mm"])

    def ends(self, event: Mapping[str, Any]) -> None:
        """A mapping ends."""
        address = event["answer"]
        known = self._found.pop((event["mm"], address), None)
        if known is None and not event["flags"] & Flag.OTHER_MM:
            self._found.pop((("before", event["pid"]), address), None)

    def gone(self) -> None:
        """The object is no more: so is every mapping of it, though its end was not seen."""
        self._found.clear()

    def _add(self, event: Mapping[str, Any], space: Any) -> None:
        flags = event["arg"]
        if len(self._found) >= _MOST:
            self._found.pop(next(iter(self._found)))
        self._found[space, event["answer"]] = {
            "pid": event["pid"],
            "comm": event["comm"],
            "shared": is_shared(flags),
            "writable": is_writable(flags),
            "perms": vm_text(flags),
            "offset": event["offset"],
            "length": event["length"],
            "address": event["answer"],
            "first_ns": event["time_ns"],
        }

    def writers(self) -> str:
        """Who could write through a shared mapping now: ``a/1, b/2 and 3 more``."""
        mine = (one for one in self._found.values() if one["writable"])
        found = sorted({cells.who(one["comm"], one["pid"]) for one in mine})
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return ", ".join(found[:_SHOWN]) + more

    def rows(self, now_ns: int | None) -> Rows:
        """As a table: those that can write first."""
        found = sorted(
            self._found.values(),
            key=lambda one: (not one["writable"], not one["shared"], one["pid"], one["address"]),
        )
        ids = [hash((one["pid"], one["address"])) & 0x7FFFFFFFFFFF for one in found]
        return of_records("mappers", found, ids, now_ns)
