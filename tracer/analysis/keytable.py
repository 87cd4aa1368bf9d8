"""Small consecutive ids for keys of several 64-bit numbers, at memory speed and remembered.

Grouping events needs an id for each key (object, process, ...). Sorting or hashing a batch in
pandas costs more than everything else, and starts anew with each batch. Here a key goes to a slot
by multiplications, all rows at once; the few rows whose slot holds another key try the next one.
Keys are compared whole, so two never share an id.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracer.analysis.growing import Growing

U64 = npt.NDArray[np.uint64]
Array = npt.NDArray[Any]
Ids = npt.NDArray[np.int64]
Key = Sequence[U64]
Places = npt.NDArray[np.intp]

_FIRST_BITS = 12
_SHARE = 4  # slots for each key at least: most keys are in their first
_ROOM = 512  # keys; with less room than that the slots are made more
_BLOCK = 16384  # rows: what is worked out of them stays in the processor's cache
_HALF = np.uint64(32)
NONE = -1


class KeyTable:
    """Gives each key, ``width`` unsigned 64-bit numbers, an id from 0 on.

    Ids come in no particular order: nothing shown may depend on it.
    """

    def __init__(self, width: int) -> None:
        rng = np.random.default_rng()  # not guessable: keys chosen to share slots would be slow
        self._factors = rng.integers(1 << 63, 1 << 64, width + 2, np.uint64) | np.uint64(1)
        self._width = width
        # Each key in one piece, so that it comes in one cache line; of 2, 4, 8 numbers, as numpy
        # copies pieces of just these sizes fast.
        self._keys = Growing({"key": (np.uint64, 0, (1 << (width - 1).bit_length(),))})
        self._slots = np.full(1 << _FIRST_BITS, NONE, np.int32)

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, place: int) -> U64:
        """Number ``place`` of every key, in the order of ids; a view that is not to be changed."""
        return self._keys["key"][:, place]

    def find(self, *key: U64) -> Ids:
        """The id of each row's key, -1 where it was never given one."""
        ids, _, _ = self._look(key)
        return ids

    def ids(self, *key: U64) -> Ids:
        """The id of each row's key; new keys get the next ids."""
        ids, rows, slots = self._look(key)
        while len(rows):
            room = len(self._slots) // _SHARE - len(self)
            if room < _ROOM:
                self._grow()
                slots = self._home([part[rows] for part in key])
                room = len(self._slots) // _SHARE - len(self)
            part = rows[:room]
            ids[part] = self._insert([column[part] for column in key], slots[:room])
            rows, slots = rows[room:], slots[room:]
        return ids

    def _home(self, key: Key) -> Places:
        mixed: U64 = key[0] * self._factors[0]
        for part, factor in zip(key[1:], self._factors[1:-2], strict=True):
            mixed += part * factor
        for factor in self._factors[-2:]:
            mixed ^= mixed >> _HALF
            mixed *= factor
        mixed >>= np.uint64(64 - (len(self._slots).bit_length() - 1))
        return mixed.view(np.int64)

    def _is(self, ids: Array, key: Key) -> npt.NDArray[np.bool_]:
        """Where id and key belong together."""
        if not len(self):
            return np.zeros(len(ids), bool)
        known = self._keys["key"].take(ids, axis=0, mode="clip")
        different = known[:, 0] ^ key[0]
        for place in range(1, self._width):
            different |= known[:, place] ^ key[place]
        same: npt.NDArray[np.bool_] = different == 0
        same &= ids >= 0
        return same

    def _guess(self, key: Key) -> tuple[Ids, Places, Places]:
        """``(ids in the keys' own slots, rows where these are of other keys, the rows' slots)``."""
        count = len(key[0])
        # As wide as numpy wants places: it would convert them each time that they are used.
        ids: Ids = np.empty(count, np.int64)
        slots = np.empty(count, np.int64)
        same = np.empty(count, np.bool_)
        for start in range(0, count, _BLOCK):
            block = slice(start, start + _BLOCK)
            part = [column[block] for column in key]
            home = self._home(part)
            found = self._slots.take(home, mode="clip")
            ids[block], slots[block], same[block] = found, home, self._is(found, part)
        rows = (~same).nonzero()[0]
        return ids, rows, slots[rows]

    def _look(self, key: Key) -> tuple[Ids, Places, Places]:
        """``(ids, rows without one, the free slot where each of these rows would go)``."""
        ids, rows, slots = self._guess(key)
        absent: list[Places] = []
        free: list[Places] = []
        while len(rows):
            found = self._slots[slots]
            same = self._is(found, [part[rows] for part in key])
            ids[rows] = np.where(same, found, NONE)
            empty = found < 0
            if empty.any():
                absent.append(rows[empty])
                free.append(slots[empty])
                same |= empty
            onward = (~same).nonzero()[0]
            rows = rows[onward]
            slots = (slots[onward] + 1) & (len(self._slots) - 1)
        if not absent:
            return ids, rows, slots
        return ids, np.concatenate(absent), np.concatenate(free)

    def _insert(self, key: Key, slots: Places) -> Ids:
        """Ids of keys that may be new and may be there several times; there is room for all."""
        ids = np.full(len(slots), NONE)
        rows = np.arange(len(slots))
        while len(rows):
            empty = self._slots[slots] < 0
            claim, where = rows[empty], slots[empty]
            # One of those that claim a slot wins it; the others find its key there.
            self._slots[where] = claim
            won = self._slots[where] == claim
            claim, where = claim[won], where[won]
            new = np.arange(len(self), len(self) + len(claim), dtype=np.int32)
            self._keys.resize(len(self) + len(claim))
            for place, part in enumerate(key):
                self._keys["key"][new, place] = part[claim]
            self._slots[where] = new
            found = self._slots[slots]
            same = self._is(found, [part[rows] for part in key])
            ids[rows[same]] = found[same]
            rows, slots = rows[~same], (slots[~same] + 1) & (len(self._slots) - 1)
        return ids

    def _grow(self) -> None:
        self._slots = np.full(len(self._slots) * 4, NONE, np.int32)
        key = [self.key(place) for place in range(self._width)]
        ids = np.arange(len(self), dtype=np.int32)
        slots = self._home(key)
        while len(ids):
            free = self._slots[slots] < 0
            self._slots[slots[free]] = ids[free]
            placed = self._slots[slots] == ids
            ids, slots = ids[~placed], (slots[~placed] + 1) & (len(self._slots) - 1)
