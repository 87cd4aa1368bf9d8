"""Batches of events as numpy columns, and the recording that they are from."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracer.labels import SEALS_UNKNOWN
from tracer.recording.format import EVENTS, TEXT
from tracer.recording.manifest import Manifest
from tracer.recording.places import Places
from tracer.recording.tables import plain
from tracer.recording.tasks import Tasks
from tracer.rules import DECISIONS
from tracer.rules.variants import UNEXPLAINED, doubt
from tracer.stacks.recorded import Stacks
from tracer.words import UNKNOWN, Bit5, Flag, Hook, Kind, Op, words

if TYPE_CHECKING:
    import pandas as pd

    from tracer.recording.reader import Recording


@dataclass(frozen=True, eq=False)
class Source:
    """One recording; two of the same boot have the same processes and objects."""

    path: str = ""
    boot_id: str = ""
    """Of the kernel that ran; the path where a manifest does not tell it."""
    host: str = ""
    release: str = ""
    """Of the kernel, as uname(2) gives it."""
    variants: Mapping[str, str] = field(default_factory=dict)
    """What the self-test found: question to choice (tracer.rules.variants)."""
    bit5: Bit5 = UNKNOWN
    """What the kernel calls seal 0x20."""
    holes: frozenset[str] | None = None
    """The known holes that the self-test found in it; None: it did not run. A breach that another
    one would explain is new on this kernel, and has none."""
    leaves_out: bool = False
    """Of a file that can never be sealed, only the creation was recorded (no ``--unsealable``)."""
    places: Places = field(default_factory=Places, compare=False, repr=False)
    """Its cgroups, as far as they have been read."""
    stacks: Stacks = field(default_factory=Stacks, compare=False, repr=False)
    """Its user stacks, likewise."""
    tasks: Tasks = field(default_factory=Tasks, compare=False, repr=False)
    """Who acted, likewise."""

    @classmethod
    def of(cls, recording: "Recording") -> "Source":
        """From the manifest; what it does not tell is empty."""
        manifest = recording.manifest
        return cls(
            path=recording.path,
            boot_id=manifest.boot_id or recording.path,
            host=manifest.host,
            release=manifest.kernel.release,
            variants=variants(manifest),
            bit5=manifest.bit5,
            holes=frozenset(manifest.tested.holes) if manifest.tested.ran else None,
            leaves_out=manifest.filters is not None and manifest.filters.unsealable is False,
        )


def variants(manifest: Manifest) -> dict[str, str]:
    """What the self-test chose and what it could not explain; ``{}`` where it did not run."""
    test = manifest.tested
    odd = {doubt(one.op, one.rule): UNEXPLAINED for one in test.unexplained}
    return {**test.variants, **odd}


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


# Arrow columns of a recording to numpy, whatever somebody wrote into the file

ENUMS: dict[str, type[IntEnum]] = {"op": Op, "kind": Kind, "hook": Hook}
_KNOWN = {
    name: {word: number for number, word in words(enum).items()} for name, enum in ENUMS.items()
}
_NUMBERED = re.compile(r"[a-z]+_([0-9]{1,3})", re.ASCII)
_UNKNOWN = {"seals": SEALS_UNKNOWN, "seals_after": SEALS_UNKNOWN, "uid": 0xFFFFFFFF, "fd": -1}
"""What stands for a number that is not there; elsewhere 0."""
_OF_RETURN = frozenset({"answer", "seals_after", "size_after", "duration_ns"})


def _as(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """``column`` as ``kind``; what does not fit is null."""
    if column.type == kind:
        return column
    try:
        return column.cast(kind)
    except pa.ArrowException:
        return pa.chunked_array([pa.nulls(len(column), kind)])


def _joined(parts: Sequence[Array], dtype: npt.DTypeLike) -> Array:
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])


def _numbers(
    column: pa.ChunkedArray, kind: pa.DataType, unknown: int
) -> tuple[Array, Array | None]:
    """Integers of type ``kind``, without a copy where possible, and where they were null.

    ``unknown`` stands for null; None for the mask where nothing is.
    """
    column = _as(column, kind)
    null = None
    if column.null_count:
        null = column.is_null().to_numpy()
        column = pc.fill_null(column, pa.scalar(unknown, kind))
    # By name, as both libraries call them: to_pandas_dtype() of an older pyarrow imports pandas.
    return _joined([plain(chunk) for chunk in column.chunks], np.dtype(str(kind))), null


def _dictionaries(column: pa.ChunkedArray) -> Iterable[tuple[list[str | None], Array]]:
    """Each chunk's texts, None as the last, and the place of each row's text among them."""
    if not pa.types.is_dictionary(column.type):
        column = _as(column, pa.string()).dictionary_encode()
    for chunk in column.chunks:
        texts = _as(pa.chunked_array([chunk.dictionary]), pa.string()).to_pylist()
        places = chunk.indices
        if places.null_count:
            places = pc.fill_null(places.cast(pa.int64()), len(texts))
        yield [*texts, None], plain(places)


def _number(name: str, word: str | None) -> int:
    """``op_77`` is how the store writes a number that has no word."""
    known = _KNOWN[name].get(word or "")
    if known is not None:
        return known
    match = _NUMBERED.fullmatch(word or "")
    return min(int(match[1]), 255) if match else 0


def codes(name: str, column: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """Words of the dictionary column ``name`` (op, kind) as numbers; 0 for what is no word."""
    parts = [
        np.array([_number(name, text) for text in texts], np.uint8)[places]
        for texts, places in _dictionaries(column)
    ]
    return _joined(parts, np.uint8)


def texts(column: pa.ChunkedArray, vocabulary: Vocabulary) -> npt.NDArray[np.int32]:
    """Texts as codes of ``vocabulary``; null is the empty text."""
    parts = [
        vocabulary.codes(text or "" for text in texts)[places]
        for texts, places in _dictionaries(column)
    ]
    return _joined(parts, np.int32)


def columns_of(table: pa.Table, names: Sequence[str], comms: Vocabulary) -> dict[str, Array]:
    """The columns ``names`` of an events table as a Batch has them.

    A value that is not there is unknown, and the row's ``flags`` say so: RETURN_MISSING for what
    is read at the return of an operation, else ENTRY_MISSING. Then no verdict will rest on it.
    """
    found: dict[str, Array] = {}
    missing: dict[Flag, Array] = {}
    for name in names:
        kind = EVENTS.field(name).type
        if name in table.column_names:
            column = table.column(name)
        else:
            column = pa.chunked_array([pa.nulls(table.num_rows, kind)])
        if name in ENUMS:
            found[name] = codes(name, column)
        elif kind == TEXT:
            found[name] = texts(column, comms)
        else:
            found[name], null = _numbers(column, kind, _UNKNOWN.get(name, 0))
            if null is not None:
                flag = Flag.RETURN_MISSING if name in _OF_RETURN else Flag.ENTRY_MISSING
                missing[flag] = missing.get(flag, False) | null
    for flag, rows in missing.items():
        if "flags" in found:
            found["flags"] = found["flags"] | np.where(rows, np.uint32(flag), np.uint32(0))
    return found
