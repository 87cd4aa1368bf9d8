"""Gives every record the place of its comm in a short list of texts, at memory speed.

A task name is 16 bytes that repeat without end, so sorting or hashing each in Python or Arrow would
cost more than everything else. Here each name goes to a slot by a multiplication, the slot is
compared with the whole name (so a slot shared by chance is noticed, never believed), and only names
that are not in their slot take the slow way.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.model.escape import escape_bytes
from tracer.store.arrays import coded, texts

_SLOT_BITS = 15
_SHIFT = np.uint64(64 - _SLOT_BITS)
_KEEP = 4096  # texts; beyond that somebody renames threads for a hobby, and we begin anew

U64 = npt.NDArray[np.uint64]


class Comms:
    """Hands out codes of comms, and the dictionary column that belongs to them."""

    def __init__(self) -> None:
        rng = np.random.default_rng()  # not guessable: names chosen to share slots would be slow
        self._factors = rng.integers(1 << 63, 1 << 64, 2, np.uint64) | np.uint64(1)
        self._clear()

    def _clear(self) -> None:
        self._low = np.zeros(1 << _SLOT_BITS, np.uint64)
        self._high = np.zeros(1 << _SLOT_BITS, np.uint64)
        self._code = np.zeros(1 << _SLOT_BITS, np.int32)
        # An empty slot looks as if it held the empty name, so code 0 is that.
        self.texts = [""]
        self._by_text = {"": 0}
        self._dictionary: pa.Array | None = None

    def _slots(self, low: U64, high: U64) -> npt.NDArray[np.intp]:
        mixed: U64 = low * self._factors[0]
        mixed += high * self._factors[1]
        mixed >>= _SHIFT
        return mixed.astype(np.intp)

    def codes(self, low: U64, high: U64, out: npt.NDArray[np.int32]) -> None:
        """Fills ``out`` with the code of each name, given as two little-endian halves."""
        slots = self._slots(low, high)
        np.take(self._code, slots, out=out, mode="clip")
        other = np.take(self._low, slots, mode="clip") != low
        other |= np.take(self._high, slots, mode="clip") != high
        if other.any():
            places = np.flatnonzero(other)
            out[places] = self._learn(low[places], high[places])

    def _learn(self, low: U64, high: U64) -> npt.NDArray[np.int32]:
        pairs = np.empty((len(low), 2), np.uint64)
        pairs[:, 0] = low
        pairs[:, 1] = high
        found, back = np.unique(pairs.view("V16").ravel(), return_inverse=True)
        codes = np.array([self._text(name.tobytes()) for name in found], np.int32)
        halves = np.frombuffer(found.tobytes(), np.uint64).reshape(-1, 2)
        slots = self._slots(halves[:, 0], halves[:, 1])
        self._low[slots] = halves[:, 0]
        self._high[slots] = halves[:, 1]
        self._code[slots] = codes
        return codes[back]

    def _text(self, raw: bytes) -> int:
        text = escape_bytes(raw.split(b"\0", 1)[0])
        code = self._by_text.setdefault(text, len(self.texts))
        if code == len(self.texts):
            self.texts.append(text)
            self._dictionary = None
        return code

    def array(self, codes: npt.NDArray[np.int32]) -> pa.DictionaryArray:
        """The column for ``codes``, all of which were handed out since the last :meth:`renew`."""
        if self._dictionary is None:
            self._dictionary = texts(self.texts)
        return coded(codes, self._dictionary)

    def renew(self) -> None:
        """Forgets the texts if there are too many; codes handed out before lose their meaning."""
        if len(self.texts) > _KEEP:
            self._clear()
