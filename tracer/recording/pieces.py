"""What tables tell in pieces of something with a number: put together when it is asked for.

A recording may still grow, and several recordings of one boot know different things.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, Self, TypeVar

import pyarrow as pa

Pieces = dict[int, tuple[bytes, bool]]
"""By number from 0: a piece of a text, and whether it goes on."""
Key = TypeVar("Key", bound=Hashable)
Told = TypeVar("Told")


def joined(pieces: Pieces) -> tuple[bytes, bool]:
    """What is there from the first piece on, and whether that is all."""
    found, part, more = b"", 0, True
    while more and part in pieces:
        text, more = pieces[part]
        found += text
        part += 1
    return found, not more


class Known(ABC, Generic[Key, Told]):
    """What a recording tells of each key."""

    nothing: Told
    """What is told of a key of which nothing was recorded."""

    def __init__(self) -> None:
        self._known: dict[Key, Told] = {}

    @classmethod
    def of_tables(cls, tables: Iterable[pa.Table]) -> Self:
        """All that is in some tables."""
        found = cls()
        for table in tables:
            found.add(table)
        return found

    @abstractmethod
    def add(self, table: pa.Table) -> None:
        """Takes rows."""

    def of(self, key: Key) -> Told:
        """What is told of it."""
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._made(key)
        return found

    @abstractmethod
    def _made(self, key: Key) -> Told: ...


class Together(Generic[Key, Told]):
    """Several recordings of one boot: what the first tells that knows it."""

    def __init__(
        self, kind: type[Known[Key, Told]], recordings: Sequence[Known[Key, Told]]
    ) -> None:
        self._recordings, self._nothing = recordings, kind.nothing

    def of(self, key: Key) -> Told:
        """What is told of it."""
        known = (one.of(key) for one in self._recordings)
        return next((one for one in known if one is not self._nothing), self._nothing)
