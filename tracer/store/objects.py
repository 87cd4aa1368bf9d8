"""Object announcements with their names, which come in pieces of their own behind them."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracer.model.escape import escape_bytes
from tracer.model.record import NAME, OBJECT, RECORD_SIZE, RecordType
from tracer.store.arrays import binaries, booleans, integers, texts
from tracer.store.comms import Comms
from tracer.store.schema import NAMES, OBJECTS
from tracer.store.words import HOOKS, KINDS, OPS

Records = npt.NDArray[np.void]
Key = tuple[int, int, int, int]
_ORDER_MIN, _ORDER_MAX, _ORDER_MASK = 16, 21, 0x1F  # AS_FOLIO_ORDER_MIN/MAX, 5 bits each


def comm_column(records: Records) -> pa.DictionaryArray:
    """The escaped comms of records that have a field ``comm``."""
    halves = np.ascontiguousarray(records["comm"]).view("<u8").reshape(-1, 2)
    codes = np.empty(len(records), np.int32)
    comms = Comms()
    comms.codes(halves[:, 0].copy(), halves[:, 1].copy(), codes)
    return comms.array(codes)


def field_array(records: Records, name: str, kind: pa.DataType) -> pa.Array:
    """Field ``name`` as an Arrow array; signed and unsigned of one width are the same bits."""
    values = integers(records[name])
    return values if values.type == kind else values.view(kind)


def _arrays(schema: pa.Schema, columns: dict[str, pa.Array], records: Records) -> list[pa.Array]:
    return [
        columns[field.name]
        if field.name in columns
        else field_array(records, field.name, field.type)
        for field in schema
    ]


def names_table(records: Records) -> pa.Table:
    """NAME records as a table of NAMES."""
    pieces = [
        text.tobytes()[:length]
        for text, length in zip(records["text"], records["length"].tolist(), strict=True)
    ]
    columns = {
        "kind": KINDS.array(records["kind"]),
        "text": binaries(pieces),
    }
    return pa.Table.from_arrays(_arrays(NAMES, columns, records), schema=NAMES)


class Pieces:
    """Pieces of names by object and CPU: pieces follow their announcement on the same CPU."""

    def __init__(self, names: pa.Table) -> None:
        self._found: dict[Key, list[tuple[int, int, bytes]]] = {}
        columns = (names.column(c).to_pylist() for c in ("cpu", "dev", "ino", "gen"))
        rest = (names.column(c).to_pylist() for c in ("seq", "part", "text"))
        for *key, seq, part, text in zip(*columns, *rest, strict=True):
            cpu, dev, ino, gen = key
            self._found.setdefault((cpu, dev, ino, gen), []).append((seq, part, text))
        for pieces in self._found.values():
            pieces.sort()

    def join(self, key: Key, seq: int, until: float, length: int) -> tuple[str | None, bool]:
        """The escaped name announced as ``seq``, and whether all its ``length`` bytes are there.

        ``until`` is the sequence number of the same object's next announcement on the CPU.
        """
        parts: dict[int, bytes] = {}
        for at, part, text in self._found.get(key, ()):
            if seq < at < until:
                parts.setdefault(part, text)
        name = b""
        for part in range(len(parts)):
            if part not in parts:
                break
            name += parts[part]
        complete = len(name) >= length
        return (escape_bytes(name[:length]) if name or complete else None), complete


def joined(objects: pa.Table, names: pa.Table) -> pa.Table:
    """``objects`` with ``name`` and ``name_complete`` filled from the pieces in ``names``."""
    pieces = Pieces(names)
    columns = (objects.column(c).to_pylist() for c in ("cpu", "dev", "ino", "gen", "seq"))
    rows = list(zip(*columns, strict=True))
    nexts: dict[Key, float] = {}
    until = [float("inf")] * len(rows)
    for place in sorted(range(len(rows)), key=lambda p: rows[p][4], reverse=True):
        *key, seq = rows[place]
        cpu, dev, ino, gen = key
        until[place] = nexts.get((cpu, dev, ino, gen), float("inf"))
        nexts[cpu, dev, ino, gen] = seq
    found = [
        pieces.join((row[0], row[1], row[2], row[3]), row[4], limit, length)
        for row, limit, length in zip(
            rows, until, objects.column("name_len").to_pylist(), strict=True
        )
    ]
    values = {
        "name": texts([name for name, _ in found]),
        "name_complete": booleans(np.array([whole for _, whole in found], bool)),
    }
    for name, value in values.items():
        objects = objects.set_column(
            objects.schema.get_field_index(name), OBJECTS.field(name), value
        )
    return objects


def objects_tables(records: Records) -> tuple[pa.Table, pa.Table]:
    """OBJECT and NAME records in the order of arrival as tables of OBJECTS and of NAMES."""
    # As one field: numpy would copy each field by itself.
    whole = records.view(f"V{RECORD_SIZE}")
    names = names_table(whole[records["type"] == RecordType.NAME].view(NAME))
    rows = whole[records["type"] == RecordType.OBJECT].view(OBJECT)
    orders = rows["mapping_flags"]
    unknown = rows["create_flags_known"] == 0
    columns: dict[str, pa.Array] = {
        "kind": KINDS.array(rows["kind"]),
        "hook": HOOKS.array(rows["hook"]),
        "seen_by": OPS.array(rows["op"]),
        "comm": comm_column(rows),
        "name": pa.nulls(len(rows), pa.string()),
        "name_complete": booleans(np.zeros(len(rows), bool)),
        "create_flags": integers(rows["create_flags"], unknown),
        "folio_order_min": integers((orders >> _ORDER_MIN & _ORDER_MASK).astype("u1")),
        "folio_order_max": integers((orders >> _ORDER_MAX & _ORDER_MASK).astype("u1")),
    }
    objects = pa.Table.from_arrays(_arrays(OBJECTS, columns, rows), schema=OBJECTS)
    return joined(objects, names), names
