"""Gives the values of some 64-bit words of many records small codes, at memory speed.

Most of a record repeats: a handful of tasks, operations, sizes. Known values are found by a
multiplication and a look into a table (the factors are chosen so that no two of them meet), and the
table holds the whole values, so a new one is noticed and never taken for another. Words that depend
on each other (the process behind a thread, its comm) share one code.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

CODES = 256
"""More different values than this, and the words are kept as they are."""
_SLOT_BITS = 14
_SHIFT = np.uint64(64 - _SLOT_BITS)
_RAW_GROUPS = 64
_TRIES = 400

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]


class Scratch:
    """Room for intermediate results, shared by the coders of one thread."""

    def __init__(self, rows: int) -> None:
        self.random = np.random.default_rng()  # not guessable: see Coder._spread
        self._words = np.empty((3, rows), np.uint64)
        self._differ = np.empty((2, rows), bool)

    def of(self, rows: int) -> tuple[U64, U64, U64]:
        """Three arrays of ``rows`` words."""
        return self._words[0, :rows], self._words[1, :rows], self._words[2, :rows]

    def flags(self, rows: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Two arrays of ``rows`` truth values."""
        return self._differ[0, :rows], self._differ[1, :rows]


class Coder:
    """``width`` words of at most ``capacity`` records: codes and their values, or all values.

    Values stay known from one group of records to the next, until there are too many.
    """

    def __init__(self, width: int, capacity: int, scratch: Scratch) -> None:
        self.codes: U8 = np.zeros(capacity, np.uint8)
        self.count = 0
        """How many values are known."""
        self.version = 0
        """Changes with the values of the codes."""
        self.raw: U64 | None = None
        """The words in order, one row a word, where there are too many values for codes."""
        self._known: U64 = np.zeros((width, CODES), np.uint64)
        self._scratch = scratch
        self._capacity = capacity
        self._raw_groups = 0
        self._slots: U64 = np.zeros((width, 1 << _SLOT_BITS), np.uint64)
        self._slot_codes: U8 = np.zeros(1 << _SLOT_BITS, np.uint8)
        self._factors: list[np.uint64] = []

    def values(self, word: int, rows: int) -> U64:
        """Of one word: the value of each code, or (``raw``) of each of the first ``rows``."""
        return self._known[word, : self.count] if self.raw is None else self.raw[word, :rows]

    def add(self, words: Sequence[U64], at: int) -> None:
        """Takes ``words`` (any stride, at most one scratch long) as rows ``at`` and following."""
        rows = slice(at, at + len(words[0]))
        if self.raw is not None:
            for kept, word in zip(self.raw, words, strict=True):
                kept[rows] = word
        elif self.count == 1 and self._same(words):
            self.codes[rows] = 0
        elif self.count == 0 or not self._look_up(words, self.codes[rows]):
            self._learn(words)
            if self.count > CODES:
                self._go_raw(at)
                self.add(words, at)
            else:
                self._look_up(words, self.codes[rows])

    def _same(self, words: Sequence[U64]) -> bool:
        return all(
            bool((word == known[0]).all()) for word, known in zip(words, self._known, strict=True)
        )

    def _look_up(self, words: Sequence[U64], codes: U8) -> bool:
        """Whether all are known; ``codes`` is filled then."""
        places, product, found = self._scratch.of(len(codes))
        differ, more = self._scratch.flags(len(codes))
        np.multiply(words[0], self._factors[0], out=places)
        for word, factor in zip(words[1:], self._factors[1:], strict=False):
            np.multiply(word, factor, out=product)
            np.add(places, product, out=places)
        np.right_shift(places, _SHIFT, out=places)
        index = places.view(np.int64)
        self._slots[0].take(index, out=found, mode="clip")
        np.not_equal(found, words[0], out=differ)
        for word, slots in zip(words[1:], self._slots[1:], strict=True):
            slots.take(index, out=found, mode="clip")
            np.not_equal(found, word, out=more)
            np.logical_or(differ, more, out=differ)
        if differ.any():
            return False
        self._slot_codes.take(index, out=codes, mode="clip")
        return True

    def _learn(self, words: Sequence[U64]) -> None:
        self.version += 1
        rows = np.stack([*words], axis=1)
        if len(rows[0]) == 1:
            rows = np.unique(rows)[:, np.newaxis]
        else:
            # As bytes: numpy's own unique rows are many times slower.
            whole = np.unique(rows.view(f"V{rows.shape[1] * 8}").ravel())
            rows = whole.view(np.uint64).reshape(-1, rows.shape[1])
        old = set(map(tuple, self._known[:, : self.count].T.tolist()))
        if len(rows) + self.count > 2 * CODES:
            self.count = CODES + 1
            return
        fresh = [row for row in map(tuple, rows.tolist()) if row not in old]
        count = self.count + len(fresh)
        if count <= CODES:
            self._known[:, self.count : count] = np.array(fresh, np.uint64).T
            if not self._spread(self._known[:, :count]):
                count = CODES + 1  # no factors keep them apart: as if there were too many
        self.count = count

    def _spread(self, known: U64) -> bool:
        """Finds factors by which no two values share a slot, and fills the table."""
        count = known.shape[1]
        # The first word will do where it tells all values apart, as the thread does a task's.
        needed = 1 if len(np.unique(known[0])) == count else len(known)
        for _ in range(_TRIES):
            factors = self._scratch.random.integers(1 << 62, 1 << 63, needed, np.uint64) * 2 + 1
            places = (known[:needed] * factors[:, np.newaxis]).sum(axis=0) >> _SHIFT
            if len(np.unique(places)) == count:
                break
        else:
            return False
        # An empty slot must hold a value that does not belong there. 0 belongs to slot 0; a 1 in
        # the first word belongs elsewhere, since its factor has the highest bit set.
        self._slots[:] = 0
        self._slots[0, 0] = 1
        self._slots[:, places] = known
        self._slot_codes[places] = np.arange(count, dtype=np.uint8)
        self._factors = [*factors]
        return True

    def _go_raw(self, at: int) -> None:
        codes = self.codes[:at]
        used = len(np.unique(codes))
        # Few in this group: only old values filled the table, and the next group starts clean.
        self._raw_groups = 1 if 0 < used < CODES // 2 else _RAW_GROUPS
        self.raw = np.empty((len(self._known), self._capacity), np.uint64)
        self.raw[:, :at] = self._known[:, codes]

    def next_group(self) -> None:
        """The rows so far are done with."""
        if self.raw is not None:
            self._raw_groups -= 1
            if self._raw_groups <= 0:
                self.raw = None
                self.count = 0
