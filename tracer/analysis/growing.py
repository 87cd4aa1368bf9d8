"""Named numpy columns of one length that grows without copying each time."""

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Kind = tuple[npt.DTypeLike, int] | tuple[npt.DTypeLike, int, tuple[int, ...]]


class Growing:
    """Columns by name; each kind is ``(dtype, value of new rows)``, or with a row's shape."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self._fill = {name: kind[1] for name, kind in kinds.items()}
        self._room = {
            name: np.empty((0, *(kind[2] if len(kind) > 2 else ())), kind[0])
            for name, kind in kinds.items()
        }
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    @property
    def names(self) -> Iterator[str]:
        return iter(self._room)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """The column as a view: changing it changes what is kept, until the next resize."""
        return self._room[name][: self._rows]

    def resize(self, rows: int) -> None:
        """Makes it ``rows`` long; never shorter."""
        if rows <= self._rows:
            return
        for name, old in self._room.items():
            if len(old) < rows:
                new = np.empty((max(rows, 2 * len(old), 64), *old.shape[1:]), old.dtype)
                new[: self._rows] = old[: self._rows]
                self._room[name] = new
            self._room[name][self._rows : rows] = self._fill[name]
        self._rows = rows

    def copy(self) -> Self:
        """One that shares nothing with this."""
        other = type(self).__new__(type(self))
        other._fill = self._fill
        other._room = {name: column[: self._rows].copy() for name, column in self._room.items()}
        other._rows = self._rows
        return other
