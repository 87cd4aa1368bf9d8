"""Events for the tests of tracer.analysis: few values of everything, so that all of it meets.

And what the tables must say about them, counted one by one in plain Python.
"""

from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pandas as pd

from tracer.analysis.batches import Source
from tracer.labels import SEALS_UNKNOWN, errno_name
from tracer.record import USER_CPU
from tracer.recording.format import EVENTS, OBJECTS
from tracer.rules.verdicts import Verdict
from tracer.words import Op

Row = dict[str, Any]
Key = tuple[Any, ...]

VARIANTS = {"bit_0x20": "exec", "shared_read_of_write_sealed": "allowed"}
HOSTS = (
    Source("a.seal", "boot-a", "alpha", "6.1", VARIANTS),
    Source("b.seal", "boot-b", "beta", "7.3", {}),
)
WORDS = [verdict.word for verdict in Verdict]
_OPS = [
    "mmap",
    "write",
    "read",
    "truncate",
    "add_seals",
    "create",
    "map",
    "unmap",
    "evict",
    "op_77",
]
_FACTS = {"map", "unmap", "evict", "open"}
_ANSWERS = [0, 0, 4096, -1, -16, -12, 0x7F0000000000]


def frame_of(schema: Any, columns: dict[str, Any], count: int) -> pd.DataFrame:
    """A table with all columns of a schema; what is not given is 0 or empty."""
    made = {}
    for field in schema:
        if field.name in columns:
            made[field.name] = columns[field.name]
        elif field.name in ("name", "create_flags"):
            made[field.name] = [None] * count
        elif str(field.type).startswith("dictionary"):
            made[field.name] = [""] * count
        else:
            made[field.name] = np.zeros(count, field.type.to_pandas_dtype())
    return pd.DataFrame(made)


def events(seed: int, count: int) -> pd.DataFrame:
    """``count`` events in the order of arrival, which is not that of time."""
    rng = np.random.default_rng(seed)
    op = rng.choice(_OPS, count, p=[0.2, 0.2, 0.05, 0.1, 0.1, 0.05, 0.12, 0.12, 0.02, 0.04])
    seals = rng.choice([0, 6, 8, 15, 16, SEALS_UNKNOWN], count)
    more = rng.choice([0, 0, 1, 8], count)
    after = np.where(seals == SEALS_UNKNOWN, seals, seals | more)
    size = rng.choice([0, 4096, 8192], count)
    mapped = np.isin(op, ["map", "unmap"])
    answer = np.where(mapped, rng.choice([4096, 8192], count), rng.choice(_ANSWERS, count))
    ino = rng.integers(1, 4, count)
    ino[(op == "create") & (answer < 0)] = 0
    columns = {
        "time_ns": 10**9 + np.arange(count) * 3 * 10**5 + rng.integers(-3, 3, count) * 10**6,
        "pid": rng.integers(1, 4, count),
        "uid": rng.choice([0, 1000], count),
        "comm": rng.choice(["a", "b", "c"], count),
        "op": op,
        "kind": rng.choice(["memfd", "tmpfs"], count),
        "dev": rng.choice([1, 2], count),
        "ino": ino,
        "gen": rng.choice([0, 7, 9], count),
        "fd": rng.integers(-1, 3, count),
        "seals": seals,
        "seals_after": after,
        "size": size,
        "size_after": np.where(rng.random(count) < 0.2, 4096, size),
        "offset": rng.choice([0, 4096], count),
        "length": rng.choice([0, 100, 4096], count),
        "arg": rng.choice([0, 3 | 1 << 32, 8, 8 | 2, 8 | 0x20], count),
        "answer": answer,
        "duration_ns": rng.choice([0, 5 * 10**5, 2 * 10**8], count),
        "flags": rng.choice([0, 0, 0, 1, 8, 64], count),
        "mm": rng.integers(1, 4, count) * mapped,
        "writable": rng.integers(0, 2, count),
        "mode": 0o100777,
        "fmode": rng.choice([1, 3], count),
    }
    return frame_of(EVENTS, columns, count)


def announcements(found: pd.DataFrame, seed: int, share: float = 0.7) -> pd.DataFrame:
    """Announcements of ``share`` of the objects of some events, some twice, some by the scan."""
    rng = np.random.default_rng(seed)
    known = found.loc[found["ino"] > 0, ["dev", "ino", "gen"]].drop_duplicates()
    known = known[rng.random(len(known)) < share]
    known = pd.concat([known, known[rng.random(len(known)) < 0.3]], ignore_index=True)
    count = len(known)
    columns = {
        "time_ns": 10**9 + rng.permutation(count) * 1000,
        "cpu": rng.choice([0, 1, USER_CPU], count),
        "seq": np.arange(count),
        "kind": rng.choice(["memfd", "hugetlb"], count),
        **{name: known[name].to_numpy() for name in ("dev", "ino", "gen")},
        "name": rng.choice(np.array(["memfd:x", "memfd:y", None], object), count),
        "owner_uid": rng.choice([0, 1000], count),
        "create_flags": rng.choice(np.array([None, 2], object), count),
        "mode": rng.choice([0, 0o100777], count),
        "size": rng.choice([0, 12288], count),
        "seals": rng.choice([0, 2, SEALS_UNKNOWN], count),
        "folio_order_max": rng.choice([0, 9], count),
    }
    return frame_of(OBJECTS, columns, count)


def baseline(seed: int, count: int) -> pd.DataFrame:
    """What a scan of /proc may have found."""
    rng = np.random.default_rng(seed)
    columns = {
        "time_ns": 10**9,
        "cpu": USER_CPU,
        "pid": rng.integers(1, 4, count),
        "op": rng.choice(["open", "map", "map"], count),
        "kind": "memfd",
        "dev": rng.choice([1, 2], count),
        "ino": rng.integers(1, 4, count),
        "gen": rng.choice([0, 7, 9], count),
        "fd": -1,
        "seals": SEALS_UNKNOWN,
        "seals_after": SEALS_UNKNOWN,
        "arg": rng.choice([0, 8, 8 | 2], count),
        "answer": rng.choice([4096, 8192], count),
    }
    return frame_of(EVENTS, columns, count)


class Counted:
    """Decisions counted one by one: of each key the verdicts, times and the last decision."""

    def __init__(self) -> None:
        self.verdicts: dict[Key, Counter[str]] = defaultdict(Counter)
        self.first: dict[Key, int] = {}
        self.last: dict[Key, tuple[int, int, Row]] = {}

    def add(self, key: Key, row: Row, place: int) -> None:
        when = row["time_ns"]
        self.verdicts[key][row["verdict"]] += 1
        self.first[key] = min(when, self.first.get(key, when))
        self.last[key] = max(self.last.get(key, (when, -1, row)), (when, place, row),
                             key=lambda one: one[:2])  # fmt: skip

    def rows(self, last: bool = True) -> dict[Key, Row]:
        """What a table must have in the columns that count, by key."""
        return {key: self._row(key, last) for key in self.verdicts}

    def _row(self, key: Key, last: bool) -> Row:
        counts = self.verdicts[key]
        when, _, row = self.last[key]
        found: Row = {word: counts[word] for word in WORDS}
        found |= {
            "decisions": counts.total(),
            "worst": max(counts, key=WORDS.index),
            "first_ns": self.first[key],
            "last_ns": when,
        }
        if last:
            answer = row["answer"]
            found |= {
                "last_op": row["op"],
                "last_answer": answer,
                "last_errno": errno_name(answer),
            }
        return found


def rows_of(
    frame: pd.DataFrame, key: list[str], columns: list[str] | None = None
) -> dict[Key, Row]:
    """A table as plain Python values by key; NA is None. No key may be there twice."""
    found: dict[Key, Row] = {}
    for values in frame.astype(object).to_dict("records"):
        row = {str(name): None if pd.isna(value) else value for name, value in values.items()}
        place = tuple(row[name] for name in key)
        assert place not in found, f"{place} is there twice"
        found[place] = {name: row[name] for name in (columns or row) if name not in key}
    return found


def decided(found: pd.DataFrame) -> "pd.Series[bool]":
    """Which events are decisions."""
    return ~found["op"].isin(_FACTS)


def numbers(ops: list[str]) -> set[Op]:
    """Ops by their words."""
    return {Op[op.upper()] for op in ops}
