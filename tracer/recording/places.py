"""Which cgroup a number is: its path, and who runs there, from a recording's table ``cgroups``."""

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import pyarrow as pa

from tracer.cgroups import ROOT, Place, parse, roots_levels
from tracer.escape import escape_bytes
from tracer.recording.pieces import Known, Pieces, joined
from tracer.recording.tables import values

_DEEPEST = 256
"""Levels of a path that are followed: in a foreign recording they may go round in a circle."""


class _Folder(NamedTuple):
    parent: int
    named_by: int
    pieces: Pieces

    def name(self) -> bytes | None:
        """None: not all of it was recorded."""
        found, whole = joined(self.pieces)
        return found if found and whole else None


@dataclass(frozen=True, slots=True)
class Where:
    """A cgroup that a recording knows."""

    path: str
    """Escaped; starts with ``?`` where what is above is not known."""
    place: Place
    """Who runs there, as far as root named the levels; its texts are escaped, too."""

    @property
    def whole(self) -> bool:
        """All of its path is known."""
        return self.path.startswith("/")


NOWHERE = Where("", Place())
"""A cgroup of which nothing was recorded."""


def _escaped(place: Place) -> Place:
    texts = {
        one.name: escape_bytes(text.encode("utf-8", "surrogateescape"))
        for one in fields(place)
        if isinstance(text := getattr(place, one.name), str)
    }
    inner = _escaped(place.inner) if place.inner else None
    return replace(place, inner=inner, **texts)  # type: ignore[arg-type]


class Places(Known[int, Where]):
    """The cgroups of a recording, which may grow."""

    nothing = NOWHERE

    def __init__(self) -> None:
        super().__init__()
        self._folders: dict[int, _Folder] = {}

    def add(self, table: pa.Table) -> None:
        """Takes rows of the table ``cgroups``."""
        columns = ("cgroup", "parent", "named_by", "part", "more", "text")
        rows = zip(*(values(table, name) for name in columns), strict=True)
        for cgroup, parent, named_by, part, more, text in rows:
            folder = self._folders.setdefault(cgroup, _Folder(parent, named_by, {}))
            folder.pieces[part] = text, more
        if table.num_rows:
            self._known.clear()

    def _made(self, cgroup: int) -> Where:
        names: list[bytes] = []
        named_by: list[int] = []
        above = cgroup
        while above != ROOT and len(names) < _DEEPEST:
            folder = self._folders.get(above)
            name = folder.name() if folder else None
            if folder is None or name is None:
                break
            names.append(name)
            named_by.append(folder.named_by)
            above = folder.parent
        if above != ROOT and not names:
            return NOWHERE
        path = b"/" + b"/".join(reversed(names))
        believed = roots_levels(reversed(named_by)) if above == ROOT else 0
        place = parse(path.decode("utf-8", "surrogateescape"), believed)
        return Where(("" if above == ROOT else "?") + escape_bytes(path), _escaped(place))
