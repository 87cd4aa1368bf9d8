"""Numbers of op, kind, hook and cause as dictionary columns of words."""

from enum import IntEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.model.record import Hook, Kind, LossCause, Op, words
from tracer.store.arrays import coded, texts


class Words:
    """Turns the numbers of one enum into words; a number without a word becomes ``op_77``."""

    def __init__(self, enum: type[IntEnum], label: str) -> None:
        known = words(enum)
        self._label = label
        self._first = min(known)
        self._last = max(known)
        self._words = [known.get(n, f"{label}_{n}") for n in range(self._first, self._last + 1)]
        self._dictionary = texts(self._words)

    def array(self, numbers: npt.NDArray[np.unsignedinteger]) -> pa.DictionaryArray:
        """One word per number."""
        if not len(numbers) or (numbers.min() >= self._first and numbers.max() <= self._last):
            codes = (numbers - numbers.dtype.type(self._first)).astype(np.int16)
            return coded(codes, self._dictionary)
        found, codes = np.unique(numbers, return_inverse=True)
        return coded(codes.astype(np.int16), texts([self.word(int(number)) for number in found]))

    def word(self, number: int) -> str:
        """The word of one number."""
        place = number - self._first
        return self._words[place] if 0 <= place < len(self._words) else f"{self._label}_{number}"


OPS = Words(Op, "op")
KINDS = Words(Kind, "kind")
HOOKS = Words(Hook, "hook")
CAUSES = Words(LossCause, "cause")
