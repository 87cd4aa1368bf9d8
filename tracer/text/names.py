"""Finds the name of the object that an event is about: events carry only the object's key."""

import pyarrow as pa

from tracer.text.columns import column


class Names:
    """``(dev, ino, gen)`` → escaped name, filled from ``objects`` tables as they come."""

    def __init__(self) -> None:
        self._exact: dict[tuple[int, int, int], str] = {}
        self._loose: dict[tuple[int, int], str] = {}

    def add(self, objects: pa.Table) -> None:
        """Takes the objects of a table (columns ``dev``, ``ino``, ``gen``, ``name``)."""
        keys = (column(objects, key, 0) for key in ("dev", "ino", "gen"))
        for dev, ino, gen, name in zip(*keys, column(objects, "name", None), strict=True):
            if name is None:
                continue
            self._exact[dev, ino, gen] = name
            if not gen:
                # A scan of /proc could not read the generation: any will do.
                self._loose[dev, ino] = name

    def of(self, table: pa.Table) -> list[str | None]:
        """The name of each row's object, None where it was never announced."""
        if "name" in table.column_names:
            return column(table, "name", None)
        keys = zip(*(column(table, key, 0) for key in ("dev", "ino", "gen")), strict=True)
        exact = self._exact.get
        found = [exact(key) for key in keys]
        if self._loose and None in found:
            places = zip(*(column(table, key, 0) for key in ("dev", "ino")), strict=True)
            loose = self._loose.get
            found = [
                loose(place) if name is None else name
                for name, place in zip(found, places, strict=True)
            ]
        return found
