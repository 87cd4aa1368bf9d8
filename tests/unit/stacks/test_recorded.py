"""From numbers to frames, whatever is in the tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.unit.recording import stack_records
from tests.unit.recording.stack_records import LIBC, LONG, PROGRAM
from tracer.analysis.callers import read
from tracer.recording.format import TABLES
from tracer.recording.reader import Recording
from tracer.stacks import recorded
from tracer.stacks.names import Names
from tracer.stacks.recorded import DEEPEST, Frame, Module, Stacks
from tracer.stacks.shown import LEFT_OUT, Callers


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Stacks:
    path = stack_records.write_stacks(tmp_path_factory.mktemp("stacks") / "s.seal")
    with Recording.open(path) as recording:
        return read(recording)


def made(**tables: dict[str, list[Any]]) -> Stacks:
    """Of tables as somebody may have written them: columns of any types."""
    return Stacks.of_tables((name, pa.table(columns)) for name, columns in tables.items())


def test_an_event_has_the_frames_of_its_stack(stacks: Stacks) -> None:
    found = stacks.of(1)
    assert found is not None
    assert (found.number, found.state, found.maps_from) == (1, "whole", "kernel")
    assert [one.where for one in found.frames] == [
        "libc.so.6+0x1018ad",
        "map_ring+0x1234",
        "map_ring+0x1400",
        "libc.so.6+0x2724a",
        "map_ring+0x10a5",
    ]
    first, second, *_ = found.frames
    assert first.module is not None
    assert (first.module.raw, first.module.size) == (LIBC.path, LIBC.size)
    assert second.module is not None
    assert second.module.path == PROGRAM.path.decode()
    assert second.module.build_id.startswith("00112233")
    assert (first.address, second.address) == (0x1018AD, 0x1233)


def test_what_is_no_code_of_a_file_says_so(stacks: Stacks) -> None:
    found = {number: stacks.of(number) for number in range(3, 8)}
    text = {number: [frame.where for frame in one.frames] for number, one in found.items() if one}
    assert text == {
        3: ["libc.so.6+0x1018ad", "map_ring+0x1299", "[jit]"],
        4: ["evil\\x1b[2J+0x55 [gone]", "[vdso]+0x90"],
        5: ["[unknown]"],
        6: [],
    }
    assert stacks.of(0) is None
    assert stacks.of(7) is None
    assert stacks.of(1 << 31) is None


def test_a_long_path_is_whole(stacks: Stacks) -> None:
    found = stacks.of(4)
    assert found is not None
    assert found.frames[0].module is not None
    assert found.frames[0].module.raw == LONG.path


def test_numbers_of_many_samples_at_once(stacks: Stacks) -> None:
    samples = np.array([0, 1, 2, 3, 4, 5, 6, 7, 4294967295], np.uint32)
    assert stacks.numbers(samples).tolist() == [0, 1, 1, 2, 3, 4, 0, 0, 0]
    assert Stacks().numbers(samples).tolist() == [0] * 9


def test_tables_may_come_in_any_order_and_pieces(tmp_path: Path, stacks: Stacks) -> None:
    path = stack_records.write_stacks(tmp_path / "s.seal")
    with Recording.open(path) as recording:
        tables = {name: list(recording.tables(name)) for name in ("callers", "stacks", "modules")}
    found = Stacks()
    for name in ("callers", "stacks", "modules"):
        for table in tables[name]:
            for row in reversed(range(table.num_rows)):
                found.take(name, table.slice(row, 1))
                found.of(1)
    assert [found.of(number) for number in range(8)] == [stacks.of(number) for number in range(8)]
    assert not Stacks()
    assert found


# ---- hostile tables ---------------------------------------------------------------------------


def test_a_stack_is_not_deeper_than_the_limit() -> None:
    depth = 1 << 16
    stacks = made(
        callers={"sample": [1], "stack": [1], "state": ["whole"], "maps_from": ["kernel"]},
        stacks={
            "stack": [1] * depth,
            "depth": list(range(depth)),
            "module": [0] * depth,
            "offset": [1] * depth,
            "what": ["jit"] * depth,
            "interrupted": [False] * depth,
        },
    )
    found = stacks.of(1)
    assert found is not None
    assert len(found.frames) == DEEPEST


def test_behind_a_frame_that_is_missing_nothing_is_believed() -> None:
    stacks = made(
        callers={"sample": [1], "stack": [1], "state": ["whole"], "maps_from": ["kernel"]},
        stacks={"stack": [1, 1], "depth": [0, 2], "module": [0, 0], "offset": [1, 2]},
    )
    found = stacks.of(1)
    assert found is not None
    assert [frame.offset for frame in found.frames] == [1]


def test_what_comes_twice_counts_once() -> None:
    stacks = made(
        callers={"sample": [1, 1], "stack": [1, 2], "state": ["whole", "cut"]},
        stacks={"stack": [1, 1], "depth": [0, 0], "module": [1, 0], "offset": [16, 32]},
        modules={"module": [1, 1], "part": [0, 0], "more": [False, False], "text": [b"/a", b"/b"]},
    )
    found = stacks.of(1)
    assert found is not None
    assert (found.number, found.state, found.maps_from) == (1, "whole", "?")
    assert [frame.where for frame in found.frames] == ["a+0x10 [?]"]


def test_nulls_and_words_that_paint() -> None:
    evil = "\x1b[2J\n"
    stacks = made(
        callers={"sample": [1, None], "stack": [1, None], "state": [evil, None]},
        stacks={
            "stack": [1, None],
            "depth": [0, None],
            "module": [None, 1],
            "offset": [None, 1],
            "what": [evil, None],
            "interrupted": [None, None],
        },
        modules={"module": [None], "part": [None], "more": [None], "text": [None]},
    )
    found = stacks.of(1)
    assert found is not None
    assert found.state.isprintable()
    assert all(frame.where.isprintable() for frame in found.frames)


def test_half_a_path_is_none() -> None:
    """It would lead to another file."""
    stacks = made(
        callers={"sample": [1], "stack": [1]},
        stacks={"stack": [1], "depth": [0], "module": [1], "offset": [1], "what": ["code"]},
        modules={
            "module": [1, 1],
            "part": [0, 2],
            "more": [True, False],
            "text": [b"/usr", b"/b"],
            "build_id": ["XYZ", "00"],
        },
    )
    found = stacks.of(1)
    assert found is not None
    module = found.frames[0].module
    assert module == Module(1, b"")
    assert found.frames[0].where == "?+0x1"


def test_a_path_without_an_end_is_none() -> None:
    parts = 1 << 15
    stacks = made(
        callers={"sample": [1], "stack": [1]},
        stacks={"stack": [1], "depth": [0], "module": [1], "offset": [1]},
        modules={
            "module": [1] * parts,
            "part": list(range(parts)),
            "more": [True] * parts,
            "text": [b"/x"] * parts,
        },
    )
    found = stacks.of(1)
    assert found is not None
    assert found.frames[0].module == Module(1, b"")


def test_an_address_is_never_negative() -> None:
    assert Frame(None, 0).address == 0
    assert Frame(Module(1, b"/x"), 1).address == 0


def test_the_tables_are_the_recordings() -> None:
    assert set(recorded.TABLES) < set(TABLES)


def test_more_than_is_kept_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "_FRAMES", 10)
    count = 40
    stacks = made(
        callers={"sample": [*range(1, count)], "stack": [*range(1, count)]},
        stacks={"stack": [*range(1, count)], "depth": [0] * (count - 1)},
    )
    assert stacks.left_out
    assert [bool(one.frames) for n in range(1, count) if (one := stacks.of(n))].count(True) == 10
    assert list(Callers(stacks, Names()).notes()) == [LEFT_OUT]


def test_a_deep_stack_has_not_more_lines_than_can_be_read() -> None:
    depth = DEEPEST
    stacks = made(
        callers={"sample": [1], "stack": [1], "state": ["cut"], "maps_from": ["kernel"]},
        stacks={"stack": [1] * depth, "depth": [*range(depth)], "what": ["jit"] * depth},
    )
    lines = list(Callers(stacks, Names()).lines(1))
    assert lines[100:] == ["… 156 more", "… and more: the stack is deeper than what was looked at"]
    assert len(Callers(stacks, Names()).data(1)["stack"]) == depth
