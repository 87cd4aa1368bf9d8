"""Which file a row of the sweep is about, when the kernel did not tell its generation."""

import pyarrow as pa
import pytest

from tracer.record import USER_CPU
from tracer.recording.identity import Certainty, Identities, Life, swept

START, END = 100, 120


@pytest.mark.parametrize(
    ("lives", "gen"),
    [
        ([], None),
        ([Life(7, 90)], 7),
        ([Life(7, 200)], 7),  # nothing says that it was made later
        ([Life(7, 110, created_ns=110)], 7),  # while the sweep went on
        ([Life(7, 121, created_ns=121)], None),
        ([Life(7, 50, evicted_ns=99), Life(9, 110, created_ns=110)], 9),
        ([Life(7, 50, evicted_ns=99), Life(9, 130, created_ns=130)], None),
        ([Life(7, 150, evicted_ns=150), Life(9, 160)], 7),
        ([Life(9, 160), Life(7, 150)], 7),
    ],
)
def test_the_file_that_was_swept(lives: list[Life], gen: int | None) -> None:
    assert swept(lives, START, END) == gen


def announced(gen: int, name: str, when: int, cpu: int = USER_CPU) -> pa.Table:
    row = {"dev": 1, "ino": 5, "gen": gen, "name": name, "time_ns": when, "cpu": cpu}
    return pa.Table.from_pylist([row | {"create_flags": None}])


def events(*rows: tuple[int, int, str, int]) -> pa.Table:
    names = ("gen", "time_ns", "op", "answer")
    found = [{"dev": 1, "ino": 5} | dict(zip(names, row, strict=True)) for row in rows]
    return pa.Table.from_pylist(found).cast(
        pa.schema(
            {
                "dev": pa.uint32(),
                "ino": pa.uint64(),
                "gen": pa.uint32(),
                "time_ns": pa.int64(),
                "op": pa.string(),
                "answer": pa.int64(),
            }
        )
    )


def test_the_name_goes_to_the_file_that_is_meant() -> None:
    known = Identities()
    known.announce(announced(0, "old", START))
    assert known.of(1, 5, 0) == (0, Certainty.UNKNOWN)
    known.observe(events((7, 130, "evict", 0), (9, 140, "create", 3), (9, 150, "write", 1)))
    assert known.of(1, 5, 0) == (7, Certainty.INFERRED)
    assert known.of(1, 5, 9) == (9, Certainty.EXACT)
    keys = {"dev": [1, 1, 1, 2], "ino": [5, 5, 5, 5], "gen": [7, 9, 0, 7]}
    assert known.names(pa.table(keys)) == ["old", None, "old", None]
    assert known.of(1, 5, 0, when=145).gen == 9, "the last sweep came upon another file"


def test_a_refused_creation_makes_nothing() -> None:
    known = Identities()
    known.announce(announced(0, "old", START))
    known.observe(events((7, 130, "create", -1)))
    assert known.of(1, 5, 0).gen == 7


def test_a_generation_that_is_0_is_one() -> None:
    """Where the kernel says so itself, no other file gets the name."""
    known = Identities()
    known.announce(announced(0, "huge", START, cpu=1))
    known.observe(events((7, 130, "write", 1)))
    assert known.of(1, 5, 0) == (0, Certainty.EXACT)
    assert known.names(pa.table({"dev": [1, 1], "ino": [5, 5], "gen": [0, 7]})) == ["huge", None]


def test_a_name_of_its_own_counts_more() -> None:
    known = Identities()
    known.announce(announced(0, "old", START))
    known.announce(announced(7, "mine\x1b", 130, cpu=1))
    assert known.names(pa.table({"dev": [1], "ino": [5], "gen": [7]})) == ["mine\\x1b"]
