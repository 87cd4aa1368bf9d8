"""Gathers events as codes of their 64-bit words and turns them into the columns of a row group.

A record is 22 words. Those that repeat (task, operation, object, seals, sizes) become one byte each
while the record is in the processor's cache, and all columns that lie in such a word come from that
byte. What does not repeat (time, offset, duration) is stored by its differences.
"""

import struct as bits
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tracer.model.record import EVENT, RECORD_SIZE
from tracer.store.coder import U8, Coder, Scratch
from tracer.store.comms import Comms
from tracer.store.delta import number_chunk
from tracer.store.events import WORDS
from tracer.store.pages import PLAIN, RLE, RLE_DICTIONARY, Chunk, dictionary_chunk, recode
from tracer.store.schema import EVENTS

_BLOCK = 32768  # records: numpy's cost of a call is spread, and the records are still near
_WORD = 8  # bytes
_ENCODINGS = {"PLAIN": PLAIN, "RLE": RLE, "RLE_DICTIONARY": RLE_DICTIONARY}
_OUTCOME = ("flags", "seals_after", "file_answer", "checks")
"""Fields whose words share a code: what a decision may look like."""

Records = npt.NDArray[np.void]
_FIELDS: dict[str, tuple[np.dtype[Any], int]] = {
    name: (field[0], field[1]) for name, field in (EVENT.fields or {}).items()
}
_WORDS_OF_RECORD = np.dtype([(f"w{word}", "<u8") for word in range(RECORD_SIZE // _WORD)])


def _groups() -> list[list[int]]:
    """The words of a record, those that share a code together."""
    word = {name: offset // _WORD for name, (_, offset) in _FIELDS.items()}
    task = [word["tid"], word["comm"], word["comm"] + 1, word["cgroup"], word["mm"]]
    outcome = list(dict.fromkeys(word[name] for name in _OUTCOME))
    sizes = [word["size"], word["size_after"]]
    alone = sorted({*word.values()} - {*task, *outcome, *sizes})
    return [task, outcome, sizes, *([one] for one in alone)]


def _in_word(name: str) -> np.dtype[np.void]:
    """A word as a record of the one field ``name``."""
    kind, offset = _FIELDS[name]
    return np.dtype(
        {"names": [name], "formats": [kind], "offsets": [offset % _WORD], "itemsize": _WORD}
    )


def _plain(values: npt.NDArray[Any], kind: pa.DataType) -> bytes:
    """Integers as Parquet stores them: in 4 or 8 bytes."""
    if kind.bit_width < 32:
        values = values.astype(np.uint32)
    return values.tobytes()


def _plain_texts(texts: list[str]) -> bytes:
    raw = [text.encode() for text in texts]
    return b"".join(bits.pack("<I", len(text)) + text for text in raw)


def _places(groups: list[list[int]]) -> dict[str, tuple[int, int]]:
    """Field → its group, and which word of that."""
    where = {word: (g, w) for g, group in enumerate(groups) for w, word in enumerate(group)}
    return {name: where[offset // _WORD] for name, (_, offset) in _FIELDS.items()}


class _Dictionary(NamedTuple):
    """A column's dictionary page, as long as its coder knows no other values."""

    version: int
    plain: bytes
    size: int
    """How many values."""
    recode: U8 | None
    """The coder's code → the column's, where several codes have one value."""


class EventGroup:
    """At most ``capacity`` events; memory is used again and again."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.rows = 0
        groups = _groups()
        scratch = Scratch(_BLOCK)
        self._where = _places(groups)
        self._coders = [
            (Coder(len(group), capacity, scratch), [f"w{word}" for word in group])
            for group in groups
        ]
        self._comms = Comms()
        self._known: dict[str, _Dictionary] = {}

    def add(self, records: Records) -> int:
        """Takes as many of ``records`` (EVENT) as there is room for, and says how many."""
        count = min(len(records), self.capacity - self.rows)
        words = records[:count].view(_WORDS_OF_RECORD)
        for start in range(0, count, _BLOCK):
            block = words[start : start + _BLOCK]
            for coder, names in self._coders:
                coder.add([block[name] for name in names], self.rows)
            self.rows += len(block)
        return count

    def chunks(self) -> list[Chunk]:
        """The columns of EVENTS, in that order."""
        found: dict[str, Chunk] = {}
        others: dict[str, pa.Array] = {}
        for column in EVENTS:
            chunk = self._chunk(column)
            if isinstance(chunk, Chunk):
                found[column.name] = chunk
            else:
                others[column.name] = chunk
        found |= _by_arrow(others)
        return [found[name] for name in EVENTS.names]

    def time_range(self) -> tuple[int, int]:
        """Lowest and highest ``time_ns``."""
        group, _ = self._where["time_ns"]
        coder = self._coders[group][0]
        times = self._values("time_ns")
        if coder.raw is None:
            times = times[np.unique(coder.codes[: self.rows])]  # not those of groups before
        return int(times.min()), int(times.max())

    def clear(self) -> None:
        """Begins anew."""
        self.rows = 0
        self._comms.renew()
        for coder, _ in self._coders:
            coder.next_group()

    def _values(self, name: str) -> npt.NDArray[Any]:
        """The field's value of each code, or (``raw``) in each row."""
        group, word = self._where[name]
        values = self._coders[group][0].values(word, self.rows).view(_in_word(name))[name]
        return values.view("<i8") if name.endswith("_ns") else values

    def _chunk(self, column: pa.Field) -> Chunk | pa.Array:
        group, _ = self._where[column.name]
        coder = self._coders[group][0]
        if coder.raw is not None:
            return self._raw_chunk(column.name)
        known = self._known.get(column.name)
        if known is None or known.version != coder.version:
            known = self._known[column.name] = self._dictionary(column, coder.version)
        codes = coder.codes[: self.rows]
        if known.recode is not None:
            codes = recode(codes, known.recode)
        return dictionary_chunk(known.plain, known.size, codes, self.rows)

    def _raw_chunk(self, name: str) -> Chunk | pa.Array:
        if name == "comm":
            return self._comms.array(self._texts())
        values = self._values(name)
        return WORDS[name].array(values) if name in WORDS else number_chunk(values)

    def _texts(self) -> npt.NDArray[np.int32]:
        """As :meth:`_values`, for the comm: places in the list of its texts."""
        group, word = self._where["comm"]
        low, high = (self._coders[group][0].values(word + n, self.rows) for n in range(2))
        texts = np.empty(len(low), np.int32)
        self._comms.codes(low, high, texts)
        return texts

    def _dictionary(self, column: pa.Field, version: int) -> "_Dictionary":
        values = self._texts() if column.name == "comm" else self._values(column.name)
        distinct, new = np.unique(values, return_inverse=True)
        one_each = len(distinct) == len(values)
        if one_each:
            distinct = values  # in the order of the codes, which need no change then
        merged = None if one_each or len(distinct) == 1 else new.astype(np.uint8)
        if column.name == "comm":
            plain = _plain_texts([self._comms.texts[number] for number in distinct])
        elif column.name in WORDS:
            words = WORDS[column.name]
            plain = _plain_texts([words.word(int(number)) for number in distinct])
        else:
            plain = _plain(distinct, column.type)
        return _Dictionary(version, plain, len(distinct), merged)


def _by_arrow(columns: dict[str, pa.Array]) -> dict[str, Chunk]:
    """Columns of many texts: the chunks that Arrow's writer makes, cut out of a file in memory."""
    if not columns:
        return {}
    schema = pa.schema([EVENTS.field(name) for name in columns])
    out = pa.BufferOutputStream()
    options = {"compression": "none", "write_statistics": False, "store_schema": False}
    with pq.ParquetWriter(out, schema, **options) as writer:
        writer.write_table(pa.Table.from_arrays([*columns.values()], schema=schema))
    buffer = out.getvalue()
    group = pq.read_metadata(pa.BufferReader(buffer)).row_group(0)
    return dict(_cut_out(buffer, group))


def _cut_out(buffer: pa.Buffer, group: pq.RowGroupMetaData) -> Iterator[tuple[str, Chunk]]:
    data = memoryview(buffer)
    for index in range(group.num_columns):
        column = group.column(index)
        begin = column.data_page_offset
        dictionary = 0
        if column.has_dictionary_page:
            dictionary = begin - column.dictionary_page_offset
            begin = column.dictionary_page_offset
        yield (
            column.path_in_schema,
            Chunk(
                bytes(data[begin : begin + column.total_compressed_size]),
                dictionary,
                column.total_uncompressed_size,
                0,
                [_ENCODINGS[name] for name in column.encodings],
            ),
        )
