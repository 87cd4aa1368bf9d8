"""Values as text, and how wide the columns of a table may be."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from tracer.escape import cells as width_of
from tracer.output import tables as cells
from tracer.output.names import shortened
from tracer.output.tables import GAP, Column, derived, value, widths


def test_rows_have_plain_values() -> None:
    frame = pd.DataFrame(
        {
            "big": np.array([2**64 - 1, 7], np.uint64),
            "float": [3.0, np.nan],
            "real": [0.5, 1.5],
            "text": pd.Categorical(["a", None]),
            "nullable": pd.array([1, None], "Int64"),
        }
    )
    assert cells.rows(frame) == [
        {"big": 2**64 - 1, "float": 3, "real": 0.5, "text": "a", "nullable": 1},
        {"big": 7, "float": None, "real": 1.5, "text": None, "nullable": None},
    ]
    assert cells.rows(frame, 0) == []
    assert cells.rows(pd.DataFrame({"a": []})) == []


def test_answers() -> None:
    assert cells.answer("write", -1) == "EPERM"
    assert cells.answer("write", 4096) == "4096"
    assert cells.answer("mmap", 0x7F0000000000) == "ok"
    assert cells.answer("add_seals", 0) == "ok"
    assert cells.answer("write", 0, 8) == "?"
    assert cells.answer("write", None) == "?"


def test_the_file_that_a_refused_creation_asked_for() -> None:
    asked = {"kind": "unknown", "name": "memfd:wanted\x1b", "dev": 0, "ino": 0}
    assert cells.file(asked) == "memfd:wanted\\x1b"
    assert cells.file(asked | {"name": "x"}) == "unknown:x"


def test_files_and_processes() -> None:
    memfd = {"kind": "memfd", "name": "memfd:a\x1b[2J", "dev": 1, "ino": 2}
    assert cells.file(memfd) == "memfd:a\\x1b[2J"
    assert cells.file(memfd | {"name": None}) == "memfd:0:1/2"
    assert cells.file({"kind": "tmpfs", "name": "x", "dev": 1, "ino": 2}) == "tmpfs:x"
    assert cells.file({"name": None}) == "-"
    assert cells.who({"pid": 7, "comm": "a\nb"}) == "a\\nb/7"
    assert cells.who({}) == "?/?"
    assert cells.seals(None) == "??????"
    assert cells.seals(0x0B) == "Ss-w--"


texts = st.text("ab漢", max_size=30)


@given(
    st.lists(st.tuples(texts, texts, texts), max_size=4),
    st.integers(10, 120),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_columns_fit(
    grid: list[tuple[str, str, str]], room: int, flexible: tuple[bool, ...]
) -> None:
    columns = [
        Column(str(place), str, str, rank=place, least=10 if loose else 0)
        for place, loose in enumerate(flexible)
    ]
    given = widths(columns, grid, room)
    kept = [width for width in given if width is not None]
    want = [max([1, *(width_of(line[place]) for line in grid)]) for place in range(3)]
    assert given[0] is not None  # rank 0 stays
    for place, width in enumerate(given):
        assert width is None or width <= want[place]
        assert width is None or flexible[place] or width == want[place]
    total = sum(kept) + GAP * (len(kept) - 1)
    assert total <= room or len(kept) == 1
    if sum(want) + GAP * 2 <= room:
        assert given == want


def test_the_highest_rank_goes_first() -> None:
    columns = [value("a", "a"), value("b", "b", rank=2), value("c", "c", rank=1)]
    grid = [["x" * 10, "x" * 10, "x" * 10]]
    assert widths(columns, grid, 34) == [10, 10, 10]
    assert widths(columns, grid, 33) == [10, None, 10]
    assert widths(columns, grid, 10) == [10, None, None]
    assert widths([derived("a", str), *columns[1:]], [["x" * 40, "y", "z"]], 20) == [14, 1, 1]
    assert widths([derived("a", str), columns[0]], [["x" * 40, "y" * 10]], 15) == [8, 10]


def test_names_are_cut_in_the_middle() -> None:
    assert shortened("memfd:w0-mmap-all_four-33", 16) == "memfd:w0…four-33"
    assert shortened("short", 16) == "short"
    assert shortened("a" * 20 + "\\x1b\\x1b", 10) == "aaaaa…\\x1b"


@given(st.text("ab漢\\x1", max_size=40), st.integers(4, 30))
def test_cut_names_fit(text: str, width: int) -> None:
    assert width_of(shortened(text, width)) <= width


def test_what_was_requested_and_by_which_descriptor() -> None:
    add = {"op": "add_seals", "kind": "memfd", "arg": 8}
    assert cells.request(add) == "WRITE"
    assert cells.request(add | {"fd": 0}) == "WRITE fd0"
    assert cells.request(add | {"fd": -1}) == "WRITE"
    nothing = {"op": "chmod", "kind": "memfd", "arg": 0}
    assert cells.request(nothing) == "-"
    assert cells.request(nothing | {"fd": 5}) == "fd5"
