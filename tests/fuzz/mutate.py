"""Ways to change a recording, each by a seed: what accidents do, and what somebody does on purpose.

``change`` makes one mutant. What it did is in words, whether the chain was made to fit again, and
whether anything is different at all: of a mutant that was not made to fit, ``verify`` must say so.
"""

import hashlib
import io
import json
import os
import random
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tracer.record import RECORD_SIZE
from tracer.recording.format import TABLES
from tracer.recording.part import _options

EVIL = [
    "", "x", "\x1b[2J\r\n", "\u202e", "a" * 5000, "\ud800", "\x00", "../../etc/passwd", "²", "NaN",
    "2026-13-45", "'; --", "=1+1", "<script>", "%s%n", "memfd", "create", "write", "op_77", "-1",
]  # fmt: skip
NUMBERS = [
    0, 1, -1, 2, 7, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53 + 1,
    2**63 - 1, -(2**63), 2**63, 2**64 - 1, 2**64, 10**30, 0.5, 1e300, -0.0,
]  # fmt: skip


_LARGE = 1 << 24


@dataclass
class Mutant:
    """A changed recording."""

    path: Path
    said: list[str] = field(default_factory=list)
    """What was done."""
    fits: bool = False
    """The chain was made to fit."""
    differs: bool = True
    """Its content is not what it was."""


def contents(path: Path) -> dict[str, bytes | str]:
    """All that a reader may look at: names, and bytes of regular files. Locks say nothing."""
    found: dict[str, bytes | str] = {}
    for where, folders, files in os.walk(path):
        for name in [*folders, *files]:
            full = Path(where) / name
            inside = str(full.relative_to(path))
            if inside in ("lock", "reserve") or inside.endswith(".json.tmp"):
                continue
            if full.is_symlink() or not (full.is_file() or full.is_dir()):
                found[inside] = "special"
            elif full.is_dir():
                if name not in TABLES and name != "tail":  # an empty one says nothing
                    found[inside] = "folder"
            elif full.stat().st_size > _LARGE:
                found[inside] = f"{full.stat().st_size} bytes"
            else:
                found[inside] = full.read_bytes()
    return found


def change(base: Path, path: Path, seed: int) -> Mutant:
    """A mutant of ``base`` in ``path``, which is made."""
    rng = random.Random(seed)
    shutil.copytree(base, path)
    before = contents(path)
    mutant = Mutant(path)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        way = _bomb if rng.random() < _BOMBS else rng.choice(WAYS)
        mutant.said.append(f"{way.__name__.strip('_')}: {way(path, rng)}")
    if rng.random() < 0.5:
        mutant.fits = True
        mutant.said.append(f"made to fit: {fit(path, rng)}")
    mutant.differs = contents(path) != before
    return mutant


# ---- helpers ------------------------------------------------------------------------------------


def _files(path: Path, pattern: str = "**/*") -> list[Path]:
    return sorted(
        one for one in path.glob(pattern) if one.is_file() and not one.is_symlink()
        and one.stat().st_size <= _LARGE
        and one.name not in ("lock", "reserve")
    )  # fmt: skip


def _some(path: Path, rng: random.Random, pattern: str = "**/*") -> Path | None:
    found = _files(path, pattern)
    return rng.choice(found) if found else None


def _raw(file: Path) -> bytes:
    """What is in a file. OSError: too much, or it is none any more."""
    if file.is_symlink() or not file.is_file() or file.stat().st_size > _LARGE:
        raise OSError(27, "too large")
    return file.read_bytes()


def _bytes(data: bytes, rng: random.Random) -> bytes:
    """Other bytes, in one of the ways that bytes go wrong."""
    raw = bytearray(data)
    if not raw:
        return rng.randbytes(rng.randrange(1, 40))
    at = rng.randrange(len(raw))
    length = min(len(raw) - at, rng.choice([1, 1, 2, 4, 8, 64, 1000]))
    match rng.randrange(7):
        case 0:
            raw[at] ^= 1 << rng.randrange(8)
        case 1:
            raw[at : at + length] = rng.randbytes(length)
        case 2:
            raw[at : at + length] = bytes(length)
        case 3:
            raw[at : at + length] = b"\xff" * length
        case 4:
            del raw[at : at + length]
        case 5:
            raw[at:at] = rng.randbytes(length)
        case _:
            other = rng.randrange(len(raw))
            raw[at : at + length] = raw[other : other + length]
    return bytes(raw)


def _value(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON value."""
    match rng.randrange(8 if depth < 3 else 5):
        case 0:
            return rng.choice(EVIL)
        case 1 | 2:
            return rng.choice(NUMBERS)
        case 3:
            return rng.choice([None, True, False])
        case 4:
            return rng.choice([[], {}])
        case 5:
            return [_value(rng, depth + 1) for _ in range(rng.randrange(4))]
        case 6:
            return {rng.choice(EVIL): _value(rng, depth + 1) for _ in range(rng.randrange(4))}
        case _:
            nested: Any = 0
            for _ in range(rng.choice([5, 50, 500, 5000])):
                nested = [nested]
            return nested


def _edit(value: Any, rng: random.Random) -> str:
    """Changes something somewhere in a JSON value; where."""
    where = []
    while isinstance(value, dict | list) and value:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = rng.choice(keys)
        where.append(str(key)[:20])
        deeper = value[key]
        if isinstance(deeper, dict | list) and deeper and rng.random() < 0.8:
            value = deeper
            continue
        what = rng.randrange(5)
        if what == 0:
            del value[key]
        elif what == 1 and isinstance(value, dict):
            value[rng.choice(EVIL)] = value.pop(key)
        elif what == 2 and type(deeper) is int:
            value[key] = deeper + rng.choice([1, -1, 1000, -1000])
        else:
            value[key] = _value(rng)
        break
    return ".".join(where)


def _dump(value: Any, rng: random.Random) -> bytes:
    try:
        text = json.dumps(value, indent=rng.choice([None, 2]))
    except (RecursionError, ValueError):  # deeper than Python writes: by hand
        text = "[" * 100_000
    return text.encode("utf-8", "surrogatepass")


# ---- ways ---------------------------------------------------------------------------------------


def _other_bytes(path: Path, rng: random.Random) -> str:
    if (file := _some(path, rng)) is None:
        return "nothing there"
    file.write_bytes(_bytes(file.read_bytes(), rng))
    return file.name


def _cut(path: Path, rng: random.Random) -> str:
    if (file := _some(path, rng)) is None:
        return "nothing there"
    size = file.stat().st_size
    to = rng.choice([0, rng.randrange(size + 1), max(0, size - 1), size + 1, size * 2 + 100])
    os.truncate(file, rng.choice([to, to, to, 30 << 30]))
    return f"{file.name} to {file.stat().st_size}"


def _moved(path: Path, rng: random.Random) -> str:
    """Swapped, renamed, copied, added, removed, or something else in its place."""
    one, two = _some(path, rng), _some(path, rng)
    if one is None or two is None:
        return "nothing there"
    stem, _, suffix = one.name.partition(".")
    names = [
        f"0{one.name}", f"{one.name}~", f"000009.{suffix}", f".{one.name}.tmp", one.name.upper(),
        f"{stem}1.{suffix}", "\x1b[2J", "000001.parquet", "000000.records",
    ]  # fmt: skip
    new = one.with_name(rng.choice(names))
    what = rng.randrange(8)
    if what == 0 and one != two:
        first, second = one.read_bytes(), two.read_bytes()
        one.write_bytes(second)
        two.write_bytes(first)
    elif what == 1:
        one.rename(new)
    elif what == 2 and new != one and not new.exists():
        shutil.copy(one, new)
    elif what == 3:
        folder = path / rng.choice(["events", "tail", "mappings", "strange", "names", "."])
        folder.mkdir(exist_ok=True)
        (folder / new.name).write_bytes(rng.choice([b"", b"x", one.read_bytes()]))
    elif what == 4:
        one.unlink()
    elif what == 5:
        one.unlink()
        one.symlink_to(rng.choice(["/etc/passwd", "/dev/zero", str(two), one.name]))
    elif what == 6:
        one.unlink()
        rng.choice([os.mkdir, os.mkfifo])(one)
    else:
        one.write_bytes(two.read_bytes())
    return f"{one.name} ({what})"


def _json(path: Path, rng: random.Random) -> str:
    file = path / rng.choice(["manifest.json", "end.json"])
    try:
        value = json.loads(_raw(file))
    except (OSError, ValueError, RecursionError):
        return "no JSON there"
    said = _edit(value, rng)
    file.write_bytes(_dump(value, rng))
    return f"{file.name} {said}"


def _chain_line(path: Path, rng: random.Random) -> str:
    file = path / "chain.jsonl"
    try:
        lines = _raw(file).splitlines(keepends=True)
    except OSError:
        return "no chain"
    if not lines:
        return "an empty chain"
    at = rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            del lines[at]
        case 1:
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        case 2:
            rng.shuffle(lines)
        case _:
            try:
                value = json.loads(lines[at])
            except (ValueError, RecursionError):
                return "no line"
            _edit(value, rng)
            lines[at] = _dump(value, rng).replace(b"\n", b"") + b"\n"
    file.write_bytes(b"".join(lines))
    return f"line {at}"


def _numbers(values: Any, rng: random.Random, count: int) -> Any:
    """Some numbers of a column are others that its type has."""
    limits = np.iinfo(values.dtype)
    for place in rng.sample(range(len(values)), min(len(values), count)):
        others = [int(values[rng.randrange(len(values))]), int(values[place]) + rng.choice([-1, 1]),
                  rng.choice([n for n in NUMBERS if isinstance(n, int)]), 0]  # fmt: skip
        values[place] = min(limits.max, max(limits.min, rng.choice(others)))
    return values


def _rows(path: Path, rng: random.Random) -> str:
    """Values in rows, rows taken out, doubled or in another order; written as our recorder does."""
    if (file := _some(path, rng, "*/*.parquet")) is None:
        return "no part"
    try:
        table = pq.read_table(file, use_threads=False)
    except (pa.ArrowException, OSError, ValueError):
        return "no part that can be read"
    if not table.num_rows or not table.num_columns:
        return "no rows"
    what = rng.randrange(6)
    if what == 0:
        order = [rng.randrange(table.num_rows) for _ in range(rng.randrange(table.num_rows + 1))]
        table = table.take(pa.array(order, pa.int64()))
    elif what == 1:
        table = pa.concat_tables([table] * rng.choice([2, 50]))
    else:
        for _ in range(rng.choice([1, 1, 3])):
            table = _column(table, rng)
    options = _options(file.parent.name) if file.parent.name == "events" else {}
    try:
        pq.write_table(table, file, **options)
    except (pa.ArrowException, OSError, ValueError, KeyError):
        pq.write_table(table, file)
    return f"{file.parent.name} ({what})"


def _column(table: pa.Table, rng: random.Random) -> pa.Table:
    place = rng.randrange(table.num_columns)
    name, kind = table.column_names[place], table.schema.types[place]
    if rng.random() < 0.1:  # another type, nulls, or not there
        others = [pa.array([rng.choice(EVIL[:5])] * table.num_rows), pa.nulls(table.num_rows),
                  pa.array([0.5] * table.num_rows), pa.array([[1]] * table.num_rows),
                  pa.nulls(table.num_rows, kind)]  # fmt: skip
        if rng.random() < 0.3:
            return table.remove_column(place)
        return table.set_column(place, name, rng.choice(others))
    values: pa.Array
    if pa.types.is_integer(kind) and table.column(place).null_count == 0:
        numbers = np.array(table.column(place).to_numpy())
        values = pa.array(_numbers(numbers, rng, rng.choice([1, 3, 1000])), kind)
    elif pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_binary(kind):
        some = [one for one in EVIL if one.isprintable()] if rng.random() < 0.7 else EVIL
        texts = table.column(place).to_pylist()
        for at in rng.sample(range(len(texts)), min(len(texts), rng.choice([1, 3]))):
            word = rng.choice([*some, texts[rng.randrange(len(texts))]])
            texts[at] = word
        raw = [t.encode("utf-8", "surrogatepass") if isinstance(t, str) else t for t in texts]
        values = pa.array(raw, pa.binary())
        if not pa.types.is_binary(kind):
            values = values.view(pa.string())
        if pa.types.is_dictionary(kind):
            values = values.dictionary_encode()
    else:
        flags = [rng.choice([True, False]) for _ in range(table.num_rows)]
        values = pa.array(flags) if pa.types.is_boolean(kind) else pa.nulls(table.num_rows, kind)
    return table.set_column(place, name, values)


def _encoded(path: Path, rng: random.Random) -> str:
    """The same rows, as another program would write them."""
    if (file := _some(path, rng, "*/*.parquet")) is None:
        return "no part"
    return f"{file.parent.name} {encode(file, rng)}"


def encode(file: Path, rng: random.Random) -> str:
    """Writes a part anew; with what."""
    try:
        table = pq.read_table(file, use_threads=False)
    except (pa.ArrowException, OSError, ValueError):
        return "cannot be read"
    options: dict[str, Any] = {
        "compression": rng.choice(["none", "zstd", "gzip", "lz4", "snappy", "brotli"]),
        "use_dictionary": rng.choice([True, False]),
        "data_page_version": rng.choice(["1.0", "2.0"]),
        "row_group_size": rng.choice([5, 1000, 1 << 20]),
        "data_page_size": rng.choice([64, 1 << 20]),
        "write_statistics": rng.choice([True, False]),
        "store_schema": rng.choice([True, False]),
    }
    pq.write_table(table, file, **options)
    return str(options)


def _bomb(path: Path, rng: random.Random) -> str:
    """Few bytes that become many."""
    if (file := _some(path, rng, "*/*.parquet")) is None:
        return "no part"
    try:
        table = pq.read_table(file, use_threads=False)
    except (pa.ArrowException, OSError, ValueError):
        return "cannot be read"
    count = rng.choice([100_000, 524_288, 524_289, 2_000_000])
    if not table.num_rows:
        return "no rows"
    table = table.slice(0, 1)
    texts = [n for n, t in enumerate(table.schema.types) if not pa.types.is_integer(t)]
    if texts and rng.random() < 0.5:
        place = rng.choice(texts)
        long = ["a" * rng.choice([50, 1000, 1_000_000])]
        kind = table.schema.types[place]
        values = pa.array(long, pa.string())
        if pa.types.is_dictionary(kind):
            values = values.dictionary_encode()
        if not pa.types.is_boolean(kind):
            name = table.column_names[place]
            table = table.set_column(place, name, values)
            if pa.types.is_string(kind):
                table = table.set_column(place, name, values.dictionary_encode())
    many = table.take(pa.array(np.zeros(count, np.int64)))
    pq.write_table(many, file, compression="zstd")
    return f"{file.parent.name} {count} rows, {file.stat().st_size} bytes"


def _tail(path: Path, rng: random.Random) -> str:
    """Other bytes in a tail, with checksums that are right."""
    if (file := _some(path, rng, "tail/*")) is None:
        return "no tail"
    data = file.read_bytes()
    blocks, place = [], 0
    while place + 32 <= len(data):
        (rows,) = struct.unpack_from("<I", data, place + 8)
        end = place + 32 + rows * RECORD_SIZE
        blocks.append(bytearray(data[place:end]))
        place = end
    if not blocks:
        return "no block"
    for _ in range(rng.choice([1, 5, 50])):
        block = rng.choice(blocks)
        at = rng.randrange(len(block)) if rng.random() < 0.2 else rng.randrange(32, len(block) + 1)
        if at < len(block):
            block[at] = rng.randrange(256)
    if rng.random() < 0.2:
        rng.shuffle(blocks)
    for block in blocks:
        if len(block) >= 32:
            head = bytes(block[:12]) + bytes(4) + bytes(block[16:32])
            struct.pack_into("<I", block, 12, zlib.crc32(block[32:], zlib.crc32(head)))
    file.write_bytes(b"".join(blocks))
    return file.name


WAYS: list[Callable[[Path, random.Random], str]] = [
    _other_bytes, _other_bytes, _cut, _moved, _moved, _json, _json, _chain_line, _rows, _rows,
    _rows, _encoded, _tail,
]  # fmt: skip
_BOMBS = 0.004
"""A second or two each."""


# ---- the chain ----------------------------------------------------------------------------------


def fit(path: Path, rng: random.Random) -> str:
    """Makes the chain fit what is there, as well as somebody can who knows how it is made."""
    file = path / "chain.jsonl"
    try:
        lines = _raw(file).splitlines()
    except OSError:
        return "no chain"
    last, made = "", []
    for text in lines:
        try:
            value = json.loads(text)
            for name, said in value["files"].items():
                _fit_file(path / name, said)
            value["previous"] = last
            value.pop("digest", None)
            value["cpus"] = _cpus(path, value) or value["cpus"]
            body = json.dumps(value, separators=(",", ":")).encode()
            last = value["digest"] = hashlib.sha256(body).hexdigest()
            made.append(json.dumps(value, separators=(",", ":")).encode())
        except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError):
            made.append(text)
    file.write_bytes(b"".join(line + b"\n" for line in made))
    return f"{len(made)} lines"


def _fit_file(file: Path, said: dict[str, Any]) -> None:
    if file.is_symlink() or not file.is_file() or file.stat().st_size > 1 << 26:
        return
    data = file.read_bytes()
    said["sha256"], said["bytes"] = hashlib.sha256(data).hexdigest(), len(data)
    if file.suffix == ".parquet":
        try:
            said["rows"] = pq.ParquetFile(io.BytesIO(data)).metadata.num_rows
        except (pa.ArrowException, OSError, ValueError):
            return


def _cpus(path: Path, value: dict[str, Any]) -> dict[str, list[int]]:
    """What a line says of the sequence numbers in its parts."""
    counts: dict[int, list[int]] = {}
    for name in value["files"]:
        if not name.endswith(".parquet") or not (path / name).is_file():
            continue
        try:
            table = pq.read_table(path / name, columns=["cpu", "seq"], use_threads=False)
            pairs = zip(table["cpu"].to_pylist(), table["seq"].to_pylist(), strict=True)
        except (pa.ArrowException, OSError, ValueError, KeyError):
            return {}
        for cpu, seq in pairs:
            if type(cpu) is not int or type(seq) is not int:
                return {}
            low, high, count = counts.setdefault(cpu, [seq, seq, 0])
            counts[cpu] = [min(low, seq), max(high, seq), count + 1]
    return {str(cpu): found for cpu, found in sorted(counts.items())}
