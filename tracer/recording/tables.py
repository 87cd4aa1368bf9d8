"""From raw records to the tables of a recording: one rule for parts, tails and tests.

Built for speed, as all of it stands beside a capture. Arrow arrays are made by their buffers:
``pa.array`` imports pandas to ask whether it was given a Series, a fifth of a second and 30 MB.
An event has 224 bytes, so each column touches every cache line of the records: all columns of a few
thousand records are taken before the next ones, and the memory is read once instead of thirty
times. A task's name is 16 bytes that repeat without end: :class:`Comms` gives each a code.
"""

import itertools
from collections.abc import Collection, Iterator, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.escape import escape_bytes
from tracer.record import (
    CALLER,
    CGROUP,
    CLOCK,
    EVENT,
    FRAME,
    HEAD,
    LOSS,
    MODULE,
    NAME,
    OBJECT,
    RECORD_SIZE,
    TASK,
    TOTALS,
    FrameWhat,
    Hook,
    Kind,
    LossCause,
    MapsFrom,
    Op,
    RecordType,
    StackState,
    TaskText,
    words,
)
from tracer.recording.format import EVENTS, OBJECTS, TABLES

_ARROW = {
    "i1": pa.int8(),
    "i2": pa.int16(),
    "i4": pa.int32(),
    "i8": pa.int64(),
    "u1": pa.uint8(),
    "u2": pa.uint16(),
    "u4": pa.uint32(),
    "u8": pa.uint64(),
}


def _bits(values: npt.NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values, bitorder="little"))


def integers(
    values: npt.NDArray[np.generic], null: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """Integers, without a copy where they are contiguous; ``null`` marks those that are not."""
    values = np.ascontiguousarray(values)
    valid = None if null is None else _bits(~null)
    kind = _ARROW[values.dtype.str[1:]]
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(values)])


def booleans(values: npt.NDArray[np.bool_]) -> pa.Array:
    """Truth values."""
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, _bits(values)])


def binaries(values: Sequence[bytes | None], kind: pa.DataType | None = None) -> pa.Array:
    """Byte strings, or whatever ``kind`` has the same layout."""
    lengths = np.array([0, *(len(value or b"") for value in values)], np.int64)
    ends = np.cumsum(lengths)
    if ends[-1] > np.iinfo(np.int32).max:
        raise OverflowError("more than 2 GiB of text in one array")
    missing = np.array([value is None for value in values], bool)
    valid = _bits(~missing) if missing.any() else None
    data = pa.py_buffer(b"".join(value or b"" for value in values))
    offsets = pa.py_buffer(ends.astype(np.int32))
    return pa.Array.from_buffers(kind or pa.binary(), len(values), [valid, offsets, data])


def texts(values: Sequence[str | None]) -> pa.Array:
    """Strings."""
    return binaries([None if v is None else v.encode() for v in values], pa.string())


def coded(codes: npt.NDArray[np.signedinteger], dictionary: pa.Array) -> pa.DictionaryArray:
    """A dictionary column: entry ``codes[row]`` of ``dictionary`` in each row."""
    return pa.DictionaryArray.from_arrays(integers(codes), dictionary)


def plain(array: pa.Array) -> npt.NDArray[Any]:
    """Integers without nulls as numpy, read-only and without a copy.

    ``to_numpy`` imports pandas too. ValueError, TypeError: there are nulls, or no integers.
    """
    return np.from_dlpack(array)


def values(table: pa.Table, name: str, missing: object = None) -> list[Any]:
    """Column ``name`` as Python values, null as None; faster than ``to_pylist`` for long ones.

    :param missing: for each row where the table has no such column.
    """
    if name not in table.column_names:
        return [missing] * table.num_rows
    found: list[Any] = []
    for chunk in table.column(name).chunks:
        if chunk.null_count:
            found += chunk.to_pylist()
        elif pa.types.is_dictionary(chunk.type):
            entries = np.empty(len(chunk.dictionary), object)
            entries[:] = chunk.dictionary.to_pylist()
            found += entries[plain(chunk.indices)].tolist()
        else:
            found += plain(chunk).tolist() if pa.types.is_integer(chunk.type) else chunk.to_pylist()
    return found


def empty(schema: pa.Schema) -> pa.Table:
    """A table without rows; ``schema.empty_table()`` imports pandas as well."""
    return pa.Table.from_batches([], schema)


class Words:
    """Turns the numbers of one enum into words; a number without a word becomes ``op_77``."""

    def __init__(self, enum: type[IntEnum], label: str) -> None:
        known = words(enum)
        self._label = label
        self._first = min(known)
        self._last = max(known)
        every = range(self._first, self._last + 1)
        self._dictionary = texts([known.get(number, f"{label}_{number}") for number in every])
        self._known = known
        self.label = label
        self.known = frozenset(known.values())

    def array(self, numbers: npt.NDArray[np.unsignedinteger]) -> pa.DictionaryArray:
        """One word per number."""
        if not len(numbers) or (numbers.min() >= self._first and numbers.max() <= self._last):
            codes = (numbers - numbers.dtype.type(self._first)).astype(np.int16)
            return coded(codes, self._dictionary)
        found, codes = np.unique(numbers, return_inverse=True)
        found_words = [self._known.get(n, f"{self._label}_{n}") for n in found.tolist()]
        return coded(codes.astype(np.int16), texts(found_words))


OPS = Words(Op, "op")
KINDS = Words(Kind, "kind")
HOOKS = Words(Hook, "hook")
CAUSES = Words(LossCause, "cause")
STATES = Words(StackState, "state")
MAPS_FROM = Words(MapsFrom, "maps_from")
FRAMES = Words(FrameWhat, "what")

_SLOT_BITS = 15
_SHIFT = np.uint64(64 - _SLOT_BITS)
_KEEP = 4096  # texts; a program that renames its threads all the time makes more

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


Records = npt.NDArray[np.void]
_ORDER_MIN, _ORDER_MAX, _ORDER_MASK = 16, 21, 0x1F  # AS_FOLIO_ORDER_MIN/MAX, 5 bits each


def comm_column(records: Records) -> pa.DictionaryArray:
    """The escaped comms of records that have a field ``comm``."""
    halves = np.ascontiguousarray(records["comm"]).view("<u8").reshape(-1, 2)
    codes = np.empty(len(records), np.int32)
    comms = Comms()
    comms.codes(halves[:, 0].copy(), halves[:, 1].copy(), codes)
    return comms.array(codes)


_WORDS = {
    "op": OPS,
    "seen_by": OPS,
    "kind": KINDS,
    "hook": HOOKS,
    "cause": CAUSES,
    "state": STATES,
    "maps_from": MAPS_FROM,
    "what": FRAMES,
}


def words_of(column: str) -> Words:
    """The words that a column of the type `tracer.recording.format.WORD` may have."""
    return _WORDS[column]


def _table(name: str, records: Records, /, **special: pa.Array) -> pa.Table:
    """Records of one type as table ``name``: ``special`` columns, and fields of the same name."""
    arrays = []
    for field in TABLES[name]:
        if field.name in special:
            found = special[field.name]
        elif field.name in _WORDS:
            found = _WORDS[field.name].array(records[field.name])
        else:
            found = integers(records[field.name])
        # Signed and unsigned of one width are the same bits.
        arrays.append(found if found.type == field.type else found.view(field.type))
    return pa.Table.from_arrays(arrays, schema=TABLES[name])


def joined(objects: pa.Table, names: pa.Table) -> pa.Table:
    """``objects`` with ``name`` and ``name_complete`` filled from the pieces in ``names``.

    Pieces follow their object's announcement on the same CPU.
    """
    found: dict[tuple[int, ...], list[tuple[int, int, bytes]]] = {}
    key = ("cpu", "dev", "ino", "gen")
    columns = (names.column(c).to_pylist() for c in (*key, "seq", "part", "text"))
    for *where, seq, part, text in zip(*columns, strict=True):
        found.setdefault(tuple(where), []).append((seq, part, text))
    columns = (objects.column(c).to_pylist() for c in (*key, "seq"))
    for row, (*where, seq) in enumerate(zip(*columns, strict=True)):
        found.setdefault(tuple(where), []).append((seq, -1 - row, b""))
    parts: list[dict[int, bytes]] = [{} for _ in range(objects.num_rows)]
    for one in found.values():
        announced: dict[int, bytes] = {}  # what comes before any announcement belongs to none
        for _, part, text in sorted(one):
            if part < 0:
                announced = parts[-1 - part]
            else:
                announced.setdefault(part, text)
    texts_: list[str | None] = []
    whole = np.zeros(objects.num_rows, bool)
    for row, length in enumerate(objects.column("name_len").to_pylist()):
        run = itertools.takewhile(parts[row].__contains__, itertools.count())
        name = b"".join(parts[row][part] for part in run)
        whole[row] = len(name) >= length
        texts_.append(escape_bytes(name[:length]) if name or whole[row] else None)
    for column, value in (("name", texts(texts_)), ("name_complete", booleans(whole))):
        place = objects.schema.get_field_index(column)
        objects = objects.set_column(place, OBJECTS.field(column), value)
    return objects


def _texts(rows: Records, name: str = "text") -> list[bytes]:
    lengths = zip(rows[name], rows["length"].tolist(), strict=True)
    return [text.tobytes()[:length] for text, length in lengths]


def _pieces(rows: Records) -> pa.Array:
    return binaries(_texts(rows))


def _tasks_table(rows: Records) -> pa.Table:
    """Each row has a piece of one of the two texts, or a build id."""
    pieces = _texts(rows)
    is_exe, is_id = rows["what"] == TaskText.EXE, rows["what"] == TaskText.BUILD_ID
    both = {
        name: binaries([text if mine else b"" for text, mine in zip(pieces, which, strict=True)])
        for name, which in (("exe", is_exe), ("cmdline", ~is_exe & ~is_id))
    }
    ids = [piece.hex() if mine else None for piece, mine in zip(pieces, is_id, strict=True)]
    truths = {name: booleans(rows[name] != 0) for name in ("more", "cut", "unlinked")}
    return _table(
        "tasks", rows, **both, **truths, of_exe=booleans(is_exe | is_id), build_id=texts(ids)
    )


def _build_ids(rows: Records) -> list[str]:
    lengths = zip(rows["build_id"], rows["id_length"].tolist(), strict=True)
    return [whole.tobytes()[:length].hex() for whole, length in lengths]


def objects_tables(records: Records) -> tuple[pa.Table, pa.Table]:
    """OBJECT and NAME records in the order of arrival as tables of OBJECTS and of NAMES."""
    # As one field: numpy would copy each field by itself.
    whole = records.view(f"V{RECORD_SIZE}")
    pieces = whole[records["type"] == RecordType.NAME].view(NAME)
    names = _table("names", pieces, text=_pieces(pieces))
    rows = whole[records["type"] == RecordType.OBJECT].view(OBJECT)
    orders = rows["mapping_flags"]
    halves = np.ascontiguousarray(rows["comm"]).view("<u8").reshape(-1, 2)
    codes, comms = np.empty(len(rows), np.int32), Comms()
    comms.codes(halves[:, 0].copy(), halves[:, 1].copy(), codes)
    objects = _table(
        "objects",
        rows,
        seen_by=OPS.array(rows["op"]),
        comm=comms.array(codes),
        name=pa.nulls(len(rows), pa.string()),
        name_complete=booleans(np.zeros(len(rows), bool)),
        create_flags=integers(rows["create_flags"], rows["create_flags_known"] == 0),
        folio_order_min=integers((orders >> _ORDER_MIN & _ORDER_MASK).astype("u1")),
        folio_order_max=integers((orders >> _ORDER_MAX & _ORDER_MASK).astype("u1")),
    )
    return joined(objects, names), names


_BLOCK = 4096


def _halves() -> np.dtype[np.void]:
    """EVENT with the comm as two integers."""
    fields = dict(EVENT.fields or {})
    offset = fields.pop("comm")[1]
    return np.dtype(
        {
            "names": [*fields, "comm_low", "comm_high"],
            "formats": [*(field[0] for field in fields.values()), "<u8", "<u8"],
            "offsets": [*(field[1] for field in fields.values()), offset, offset + 8],
            "itemsize": EVENT.itemsize,
        }
    )


_HALVES = _halves()


def _column_type(name: str) -> np.dtype[np.generic]:
    return np.dtype("<i8") if name.endswith("_ns") else EVENT[name]


class EventColumns:
    """Gathers at most ``capacity`` events as columns; their memory is used again and again."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.rows = 0
        names = [name for name in EVENTS.names if name != "comm"]
        self._columns = {name: np.empty(capacity, _column_type(name)) for name in names}
        self._comm = np.empty(capacity, np.int32)
        self._comms = Comms()

    def add(self, records: npt.NDArray[np.void]) -> int:
        """Takes as many of ``records`` (EVENT or BASELINE) as there is room for; how many."""
        count = min(len(records), self.capacity - self.rows)
        rows = records.view(_HALVES)
        for start in range(0, count, _BLOCK):
            block = rows[start : min(start + _BLOCK, count)]
            part = slice(self.rows, self.rows + len(block))
            for name, column in self._columns.items():
                column[part] = block[name]
            self._comms.codes(block["comm_low"], block["comm_high"], self._comm[part])
            self.rows += len(block)
        return count

    def sequence(self) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint64]]:
        """``cpu`` and ``seq`` of what was taken, without a copy."""
        return self._columns["cpu"][: self.rows], self._columns["seq"][: self.rows]

    def table(self) -> pa.Table:
        """What was taken, without a copy: it holds until the next :meth:`add`."""
        return pa.Table.from_arrays([self._array(name) for name in EVENTS.names], schema=EVENTS)

    def clear(self) -> None:
        """Makes room for the next rows."""
        self.rows = 0
        self._comms.renew()

    def _array(self, name: str) -> pa.Array:
        if name == "comm":
            return self._comms.array(self._comm[: self.rows])
        column = self._columns[name][: self.rows]
        return _WORDS[name].array(column) if name in _WORDS else integers(column)


def event_table(records: npt.NDArray[np.void]) -> pa.Table:
    """``records`` (EVENT or BASELINE) as a table of EVENTS with memory of its own."""
    columns = EventColumns(len(records))
    columns.add(records)
    return columns.table()


_PATIENCE = 4
"""Batches or segments in which the rest of a name is waited for."""


class Naming:
    """Takes the tables ``objects`` and ``names`` as they come; gives objects, named."""

    def __init__(self) -> None:
        # No empty tables: to make one, pyarrow imports pandas.
        self._unnamed: pa.Table | None = None
        self._pieces: list[pa.Table] = []
        self._patience = _PATIENCE

    def names(self, table: pa.Table) -> Iterator[pa.Table]:
        """Pieces of names; objects that waited for them come again."""
        self._pieces.append(table)
        if self._unnamed is not None:
            waiting, self._unnamed = self._unnamed, None
            yield self.objects(waiting)

    def objects(self, table: pa.Table) -> pa.Table:
        """Objects with as much of their names as has come."""
        if table.column("name_complete").to_pylist().count(False):
            table = joined(table, pa.concat_tables(self._pieces or [empty(TABLES["names"])]))
            whole = table.column("name_complete").to_pylist()
            late = [at for at, done in enumerate(whole) if not done]
            rest = table.take(pa.array(late, pa.int64()))
            if rest.num_rows:
                known = [] if self._unnamed is None else [self._unnamed]
                self._unnamed = pa.concat_tables([*known, rest])
        return table

    def next(self) -> None:
        """To be called behind a batch or a segment: the pieces of most names came with it."""
        self._patience = self._patience - 1 if self._unnamed is not None else _PATIENCE
        if not self._patience or self._unnamed is None:
            self._unnamed = None
            self._pieces.clear()
            self._patience = _PATIENCE


_OF_TYPE = {
    RecordType.EVENT: ("events", EVENT),
    RecordType.BASELINE: ("mappings", EVENT),
    RecordType.CGROUP: ("cgroups", CGROUP),
    RecordType.CALLER: ("callers", CALLER),
    RecordType.FRAME: ("stacks", FRAME),
    RecordType.MODULE: ("modules", MODULE),
    RecordType.TASK: ("tasks", TASK),
    RecordType.LOSS: ("losses", LOSS),
    RecordType.CLOCK: ("clocks", CLOCK),
    RecordType.TOTALS: ("totals", TOTALS),
}
OBJECT_TYPES = (RecordType.OBJECT, RecordType.NAME)


def all_events(records: Records) -> bool:
    """Whether there is nothing but events, as it nearly always is when there is much."""
    return bool((records["type"] == RecordType.EVENT).all())


def split(records: Records) -> tuple[dict[str, Records], Records, int]:
    """``(rows by table, OBJECT and NAME rows together, how many of unknown type)``.

    The order of arrival is kept; only tables that have rows are there.
    """
    types = records["type"].copy()
    raw = records.view(f"V{RECORD_SIZE}")  # numpy copies a record of one field in one go
    found: dict[str, Records] = {}
    rest = len(records)
    for kind, (name, dtype) in _OF_TYPE.items():
        rows = raw[types == kind]
        if len(rows):
            found[name] = rows.view(dtype)
            rest -= len(rows)
    objects = raw[np.isin(types, OBJECT_TYPES)].view(HEAD)
    return found, objects, rest - len(objects)


def build(name: str, rows: Records) -> pa.Table:
    """A table (not ``objects`` or ``names``) from its rows, as :func:`split` gives them."""
    if name in ("events", "mappings"):
        return event_table(rows)
    if name == "cgroups":
        return _table(name, rows, text=_pieces(rows), more=booleans(rows["more"] != 0))
    if name == "stacks":
        names = binaries(_texts(rows, "name"))
        return _table(name, rows, interrupted=booleans(rows["interrupted"] != 0), function=names)
    if name == "modules":
        more, build_id = booleans(rows["more"] != 0), texts(_build_ids(rows))
        return _table(name, rows, text=_pieces(rows), more=more, build_id=build_id)
    if name == "tasks":
        return _tasks_table(rows)
    return _table(name, rows)


def tables(records: Records, wanted: Collection[str] = TABLES) -> dict[str, pa.Table]:
    """Every table of ``wanted`` that ``records`` (HEAD, any types) have rows for.

    Objects are not wanted without their names.
    """
    found, objects, _ = split(records)
    built = {name: build(name, rows) for name, rows in found.items() if name in wanted}
    if len(objects) and "objects" in wanted:
        built["objects"], built["names"] = objects_tables(objects)
    return {name: table for name, table in built.items() if table.num_rows}
