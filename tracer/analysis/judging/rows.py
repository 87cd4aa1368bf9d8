"""Some rows of a batch, and facts about them as bits."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.rules.rule import Fact
from tracer.words import Kind

U64 = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]


class Rows:
    """Some rows of a batch."""

    def __init__(
        self,
        columns: Mapping[str, npt.NDArray[Any]],
        places: npt.NDArray[np.intp],
        seals: npt.NDArray[np.uint8],
    ) -> None:
        self.places = places
        self._columns = columns
        self._seals = seals

    def get(self, name: str, kind: type[np.generic]) -> npt.NDArray[Any]:
        """These rows of a column."""
        return self._columns[name].take(self.places).astype(kind, copy=False)

    def unsigned(self, name: str) -> U64:
        """As 64 bits without sign: sizes, offsets and lengths add up to no more."""
        return self.get(name, np.uint64)

    def sealed(self, seals: int) -> Bools:
        """Which have one of these seals, be it only at return."""
        chosen: Bools = self._seals.take(self.places) & np.uint8(seals) != 0
        return chosen

    def of_kind(self, kind: Kind) -> Bools:
        chosen: Bools = self._columns["kind"].take(self.places) == kind
        return chosen

    def where(self, chosen: Bools) -> "Rows":
        """Some of them."""
        return Rows(self._columns, self.places[chosen], self._seals)


def bit(holds: npt.NDArray[Any], fact: Fact) -> U64:
    """The fact in each row where it holds, else 0."""
    bits: U64 = np.left_shift(holds.astype(bool), int(fact).bit_length() - 1, dtype=np.uint64)
    return bits


def on(rows: Rows, chosen: Bools, detail: Callable[[Rows], U64]) -> U64:
    """``detail`` of the chosen rows, 0 for the others."""
    facts = np.zeros(len(chosen), np.uint64)
    if chosen.any():
        facts[chosen] = detail(rows.where(chosen))
    return facts
