"""Gives the values of one 64-bit word of many records small codes, at memory speed.

Most of a record repeats: a handful of tasks, operations, sizes. Known values are found by one
multiplication and one look into a table (the factor is chosen so that no two of them meet), and the
table holds the whole value, so a new value is noticed and never taken for another.
"""

import numpy as np
import numpy.typing as npt

CODES = 256
"""More different values than this, and the word is kept as it is."""
_SLOT_BITS = 14
_SHIFT = np.uint64(64 - _SLOT_BITS)
_RAW_GROUPS = 64
_TRIES = 400

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]


class Coder:
    """One word of at most ``capacity`` records: codes and their values, or the values themselves.

    Values stay known from one group of records to the next, until there are too many.
    """

    def __init__(self, capacity: int, scratch: "Scratch") -> None:
        self.codes: U8 = np.zeros(capacity, np.uint8)
        self.values: U64 = np.zeros(CODES, np.uint64)
        """The value of each code."""
        self.count = 0
        """How many values are known."""
        self.raw: U64 | None = None
        """The values in order, where there are too many different ones for codes."""
        self._scratch = scratch
        self._capacity = capacity
        self._raw_groups = 0
        self._slots: U64 = np.zeros(1 << _SLOT_BITS, np.uint64)
        self._slot_codes: U8 = np.zeros(1 << _SLOT_BITS, np.uint8)
        self._factor = np.uint64(1)

    def add(self, words: U64, at: int) -> None:
        """Takes ``words`` (any stride, at most one scratch long) as rows ``at`` and following."""
        rows = slice(at, at + len(words))
        if self.raw is not None:
            self.raw[rows] = words
            return
        if self.count == 1 and bool((words == self.values[0]).all()):
            self.codes[rows] = 0
            return
        if not self._look_up(words, self.codes[rows]):
            self._learn(words)
            if self.count > CODES:
                self._go_raw(at)
                self.add(words, at)
            else:
                self._look_up(words, self.codes[rows])

    def _look_up(self, words: U64, codes: U8) -> bool:
        """Whether all are known; ``codes`` is filled then."""
        places, found, differ = self._scratch.of(len(words))
        np.multiply(words, self._factor, out=places)
        np.right_shift(places, _SHIFT, out=places)
        index = places.view(np.int64)
        np.take(self._slots, index, out=found, mode="clip")
        np.not_equal(found, words, out=differ)
        if differ.any():
            return False
        np.take(self._slot_codes, index, out=codes, mode="clip")
        return True

    def _learn(self, words: U64) -> None:
        fresh = np.setdiff1d(words, self.values[: self.count])
        count = self.count + len(fresh)
        if count <= CODES:
            self.values[self.count : count] = fresh
            if not self._spread(self.values[:count]):
                count = CODES + 1  # no factor keeps them apart: as if there were too many
        self.count = count

    def _spread(self, values: U64) -> bool:
        """Finds a factor by which no two values share a slot, and fills the table."""
        for _ in range(_TRIES):
            factor = np.uint64(int(self._scratch.random.integers(1 << 62, 1 << 63)) * 2 + 1)
            places = (values * factor) >> _SHIFT
            if len(np.unique(places)) == len(values):
                break
        else:
            return False
        # An empty slot must hold a value that does not belong there: 0 belongs to slot 0, and 1
        # does not, since the factor has its highest bit set.
        self._slots[:] = 0
        self._slots[0] = 1
        self._slots[places] = values
        self._slot_codes[places] = np.arange(len(values), dtype=np.uint8)
        self._factor = factor
        return True

    def _go_raw(self, at: int) -> None:
        codes = self.codes[:at]
        used = len(np.unique(codes))
        # Few in this group: only old values filled the table, and the next group starts clean.
        self._raw_groups = 1 if 0 < used < CODES // 2 else _RAW_GROUPS
        self.raw = np.empty(self._capacity, np.uint64)
        self.raw[:at] = self.values[codes]

    def next_group(self) -> None:
        """The rows so far are done with."""
        if self.raw is not None:
            self._raw_groups -= 1
            if self._raw_groups <= 0:
                self.raw = None
                self.count = 0


class Scratch:
    """Room for intermediate results, shared by the coders of one thread."""

    def __init__(self, rows: int) -> None:
        self.random = np.random.default_rng()
        self._places = np.empty(rows, np.uint64)
        self._found = np.empty(rows, np.uint64)
        self._differ = np.empty(rows, bool)

    def of(self, rows: int) -> tuple[U64, U64, npt.NDArray[np.bool_]]:
        """Three arrays of ``rows``."""
        return self._places[:rows], self._found[:rows], self._differ[:rows]
