"""A batch of events as numpy columns: what judging and counting work on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from tracer.analysis.source import Source
from tracer.rules import DECISIONS
from tracer.words import Op

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]

FACTS = tuple(op for op in Op if op not in DECISIONS)
"""Ops that no rule judges; of the others, too, some are facts on some kinds of file."""
IS_FACT = np.isin(np.arange(256), FACTS)


class Vocabulary:
    """Texts and their codes, which stay what they are while it grows."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts: list[str] = []
        self._codes: dict[str, int] = {}
        self.codes(texts)

    def codes(self, texts: Iterable[str]) -> npt.NDArray[np.int32]:
        """The code of each text; new ones get the next."""
        codes = self._codes
        found = [codes.setdefault(text, len(codes)) for text in texts]
        self.texts.extend(list(codes)[len(self.texts) :])
        return np.array(found, np.int32)


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows in the order of arrival; all columns are equally long.

    Columns have the names and widths of tracer.recording.format.EVENTS, but ``op`` and ``kind`` are
    numbers of tracer.words (uint8), ``comm`` is a code of ``comms`` (int32), and ``row``
    (int64) counts the events of the source from 0. Arrays may be read-only.
    """

    source: Source
    columns: Mapping[str, Array]
    comms: Vocabulary

    def __len__(self) -> int:
        return len(self.columns["row"])

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def take(self, rows: Array) -> Self:
        """Some rows, by a mask or by their places."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        return type(self)(self.source, columns, self.comms)

    def frame(self, columns: Iterable[str] | None = None) -> "pd.DataFrame":
        """As a DataFrame with words instead of numbers, and ``errno`` behind ``answer``."""
        from tracer.analysis.frames import frame_of

        return frame_of(self, columns)


def joined(parts: Sequence[Batch]) -> Batch:
    """Batches of one source and one vocabulary as one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    columns = {name: np.concatenate([part[name] for part in parts]) for name in first.columns}
    return Batch(first.source, columns, first.comms)
