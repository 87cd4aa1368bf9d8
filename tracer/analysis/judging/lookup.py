"""A map from 64-bit keys to small numbers for whole arrays at once, filled as keys appear."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]
Codes = npt.NDArray[np.int32]

_BITS = 14
_SHIFT = np.uint64(64 - _BITS)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: Fibonacci hashing
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_FIRST = 4096
"""Rows that are looked at for new keys in one go: most keys show up early."""
_MOST = 1 << 18
"""So many keys are remembered; real recordings have some hundred, forged ones any number."""


def _slot(key: int) -> int:
    return (key * int(_MULTIPLIER) & 0xFFFFFFFFFFFFFFFF) >> int(_SHIFT)


class Lookup:
    """One slot a key, found by one multiplication; the few keys whose slot was taken are sorted."""

    def __init__(self, code: Callable[[int], int]) -> None:
        self._code = code
        self._forget()

    def _forget(self) -> None:
        self._keys = np.full(1 << _BITS, _EMPTY)
        self._keys[_slot(int(_EMPTY))] = 0  # whose own slot is the first: nothing is found here
        self._codes = np.zeros(1 << _BITS, np.int32)
        self._others: dict[int, int] = {}
        self._sort()

    def _sort(self) -> None:
        self._other_keys = np.array(sorted(self._others), np.uint64)
        self._other_codes = np.array([self._others[int(key)] for key in self._other_keys], np.int32)

    def codes(self, keys: U64) -> Codes:
        """``code(key)`` for each key; each distinct key is asked for once."""
        slots = keys * _MULTIPLIER
        slots >>= _SHIFT
        places = slots.view(np.int64)  # below 2^14: the same bits
        codes = self._codes.take(places)
        missed = np.flatnonzero(self._keys.take(places) != keys)
        first = _FIRST
        while len(missed):
            self._learn(np.unique(keys[missed[:first]]))
            first *= 4
            codes[missed], found = self._find(keys[missed])
            missed = missed[~found]
        return codes

    def _find(self, keys: U64) -> tuple[Codes, npt.NDArray[np.bool_]]:
        places = ((keys * _MULTIPLIER) >> _SHIFT).view(np.int64)
        codes = self._codes.take(places)
        found = self._keys.take(places) == keys
        if len(self._other_keys):
            near = np.searchsorted(self._other_keys, keys).clip(0, len(self._other_keys) - 1)
            other = self._other_keys[near] == keys
            codes[other] = self._other_codes[near[other]]
            found |= other
        return codes, found

    def _learn(self, keys: U64) -> None:
        if len(self._others) > _MOST:
            self._forget()
        _, found = self._find(keys)
        for key in keys[~found].tolist():
            slot = _slot(key)
            if self._keys[slot] == _EMPTY:
                self._keys[slot], self._codes[slot] = key, self._code(key)
            else:
                self._others[key] = self._code(key)
        self._sort()
