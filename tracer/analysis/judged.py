"""Judged columns of a batch, by name, made when they are asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tracer.analysis.batch import Array, Batch
from tracer.analysis.keys import Keys
from tracer.analysis.source import Source

if TYPE_CHECKING:
    from tracer.filter.mask import Coded


class Judged(Mapping[str, Any]):
    """Columns of decisions as tracer.filter takes them: numpy arrays, and texts as ``Coded``.

    All that the batch has, plus ``name``, ``expected``, ``reason``, ``rule``, ``hole`` (texts),
    ``verdict`` (numbers of tracer.rules.verdicts.Verdict) and ``severity``.
    """

    def __init__(self, keys: Keys, batch: Batch, group: Array, outcome: Array) -> None:
        self._batch, self._outcome, self._keys = batch, outcome, keys
        self._made: dict[str, Callable[[], Any]] = {
            "comm": lambda: _coded(batch["comm"], batch.comms.texts),
            "name": lambda: _coded(keys.objects_of[group], keys.objects.names),
            "verdict": lambda: keys.verdicts[outcome],
            "severity": lambda: self._of_outcome("severity"),
        }
        for name in ("expected", "reason", "rule", "hole"):
            self._made[name] = partial(self._text_of_outcome, name)

    def _text_of_outcome(self, name: str) -> "Coded":
        return _coded(self._outcome, [getattr(one, name) for one in self._keys.outcomes])

    @property
    def source(self) -> Source:
        """The recording that the rows are from."""
        return self._batch.source

    @property
    def rows(self) -> int:
        return len(self._batch)

    def _of_outcome(self, name: str) -> npt.NDArray[np.int8]:
        return np.array([getattr(one, name) for one in self._keys.outcomes], np.int8)[self._outcome]

    def __getitem__(self, name: str) -> Any:
        return self._made[name]() if name in self._made else self._batch[name]

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self._batch.columns, *self._made])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _coded(codes: Array, words: Sequence[str | None]) -> "Coded":
    from tracer.filter.mask import Coded  # a tenth of a second that only filters need

    return Coded(codes, words)
