"""The comparison accepts what agrees with the truth, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.kernel.ground_truth import (
    HOOKS,
    Comparison,
    Truth,
    compare,
    compare_mappings,
    expected_calls,
    expected_mappings,
    load_truth,
)
from tracer.record import Flag, Hook, Kind, Op

Row = dict[str, Any]

EPERM, EBUSY = 1, 16
WRITE = 8
PAGE = 4096


def call(op: str, **fields: Any) -> Row:
    row: Row = {
        "type": "call", "worker": 0, "pid": 100, "tid": 100, "op": op, "call": op,
        "variant": "v", "set": "none", "setup": False, "object": "memfd", "name": "n",
        "dev": 1, "ino": 7, "gen": 12345, "fd": 3, "seals": 0, "seals_after": 0,
        "size": PAGE, "size_after": PAGE, "offset": 0, "length": 0, "arg": 0,
        "answer": 0, "returned": 0, "errno": None, "reaches_kernel_hook": True, "why_not": None,
    }  # fmt: skip
    return row | fields


def mapping(began: int, ended: int, address: int, pages: int, **fields: Any) -> Row:
    row: Row = {
        "type": "mapping", "worker": 0, "pid": 100, "tid": 100, "cause": "mmap",
        "object": "memfd", "name": "n", "dev": 1, "ino": 7, "gen": 12345, "seals": 0,
        "seals_after": 0, "address": address, "length": pages * PAGE, "offset": 0,
        "shared": True, "writable": True, "reinserted": False, "began": began, "ended": ended,
    }  # fmt: skip
    return row | fields


CALLS = [
    call("create", ino=7, answer=3, arg=2, size=0, size_after=0, fd=-1),
    call("create", ino=0, dev=0, gen=None, answer=-22, arg=0x4000, object="none", fd=-1,
         size=0, size_after=0, errno="EINVAL"),
    call("truncate", length=2 * PAGE, size_after=2 * PAGE),
    call("chmod", arg=0o755),
    call("write", length=100, answer=100, offset=50),
    call("write", length=100, answer=-9, offset=50, errno="EBADF", reaches_kernel_hook=False),
    call("add_seals", arg=WRITE, seals_after=WRITE),
    call("write", length=100, answer=-EPERM, offset=50, seals=WRITE, seals_after=WRITE),
    call("write", length=100, answer=-EPERM, offset=51, seals=WRITE, seals_after=WRITE),
    call("mmap", arg=3 | 1 << 32, length=PAGE, answer=-EPERM, seals=WRITE, seals_after=WRITE),
    call("mmap", arg=3 | 2 << 32, length=PAGE, answer=0x7F0000000000, seals=WRITE,
         seals_after=WRITE),
    call("punch_hole", arg=3, length=PAGE, answer=-EPERM, seals=WRITE, seals_after=WRITE, fd=-1),
    call("allocate", arg=1, length=PAGE, seals=WRITE, seals_after=WRITE),
    call("read", length=9, answer=9, tid=101, ino=8),
    call("add_seals", arg=WRITE, answer=-EBUSY, tid=101, ino=8),
    call("write", object="tmpfs", ino=9, seals=1, seals_after=1),
    call("write", ino=10, seals=1, seals_after=1),
    call("add_seals", object="pipe", ino=11, answer=-22),
]  # fmt: skip

MAPPINGS = [
    mapping(0, 4, 0x10000, 1, cause="merge", reinserted=True),
    mapping(1, 3, 0x11000, 1, cause="merge", reinserted=True, offset=PAGE),
    mapping(5, 7, 0x20000, 2),
    mapping(6, 8, 0x30000, 2, cause="mremap"),
    mapping(9, 12, 0x40000, 2),
    mapping(10, 11, 0x40000, 2, cause="fork", pid=200, tid=200),
    mapping(13, 14, 0x50000, 1, shared=False, writable=False, ino=8),
    mapping(15, 16, 0x50000, 1, shared=False, writable=False, ino=8),
    mapping(17, 18, 0x60000, 1, object="tmpfs", ino=9, seals=1, seals_after=1),
]


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    path = tmp_path / "truth.jsonl"
    run = {"type": "run", "version": 1, "pid": 100}
    numbered = [{"i": i} | row for i, row in enumerate(CALLS + MAPPINGS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in [run, *numbered]))
    return load_truth(path)


def events_of(truth: Truth, **select: Any) -> list[Row]:
    """What a recorder that misses nothing and adds nothing would hold."""
    rows = []
    for want in expected_calls(truth, **select):
        op, arg = want["op"], want["arg"]
        if op == "chmod":
            arg = 0x2041 | (0o100000 | arg) << 32
        elif op == "truncate":
            arg = 0x2068
        names = ("pid", "tid", "fd", "dev", "ino", "seals", "seals_after", "size", "size_after",
                 "offset", "length", "answer")  # fmt: skip
        row = {name: want[name] for name in names}
        if op == "create":  # no file at the call's entry: the event has what it was born with
            row["seals"] = want["seals_after"]
        row["gen"] = want["gen"] or 0
        row["op"], row["hook"] = int(Op[op.upper()]), int(Hook[HOOKS[op].upper()])
        row["kind"] = int(Kind.MEMFD if want["object"] == "none" else Kind[want["object"].upper()])
        row["flags"] = int(Flag.CHECK_REACHED | (Flag.RACED_SEALS if op == "add_seals" else 0))
        rows.append(row | {"arg": arg, "mm": 1})
    return rows


def told(truth: Truth, events: list[Row], **select: Any) -> Comparison:
    return compare(truth, pd.DataFrame(events), **select)


def told_maps(truth: Truth, events: list[Row]) -> Comparison:
    return compare_mappings(truth, pd.DataFrame(events))


def map_event(what: str, address: int, pages: int, **fields: Any) -> Row:
    row: Row = {
        "op": Op[what.upper()].value, "pid": 100, "tid": 100, "fd": -1, "dev": 1, "ino": 7,
        "gen": 12345, "seals": 0, "seals_after": 0, "size": 0, "offset": 0,
        "length": pages * PAGE, "arg": 0xFB, "answer": address, "flags": 0,
        "kind": Kind.MEMFD.value, "hook": Hook[what.upper()].value, "mm": 1,
    }  # fmt: skip
    return row | fields


MAP_EVENTS = [
    map_event("map", 0x10000, 1),
    map_event("unmap", 0x10000, 1),  # the merge takes it out and puts the larger one in
    map_event("map", 0x10000, 2),
    map_event("map", 0x11000, 1, offset=PAGE),  # the split: on 6.1 first in, then out
    map_event("unmap", 0x10000, 2),
    map_event("map", 0x10000, 1),
    map_event("unmap", 0x11000, 1, offset=PAGE),
    map_event("unmap", 0x10000, 1),
    map_event("map", 0x20000, 2),
    map_event("map", 0x30000, 2),
    map_event("unmap", 0x20000, 2),
    map_event("unmap", 0x30000, 2),
    map_event("map", 0x40000, 2),
    map_event("map", 0x40000, 2, flags=int(Flag.OTHER_MM), mm=2),
    map_event("unmap", 0x40000, 2, pid=200, tid=200, flags=int(Flag.OTHER_MM), mm=2),
    map_event("unmap", 0x40000, 2),
    *[map_event(w, 0x50000, 1, ino=8, arg=0x71) for w in ("map", "unmap", "map", "unmap")],
]


def test_accepts_an_exact_recording(truth: Truth) -> None:
    result = told(truth, events_of(truth))
    assert result.ok, str(result)
    assert result.expected == result.events == 14


def test_words_for_numbers_and_other_processes_are_fine(truth: Truth) -> None:
    events = [
        row
        | {
            "op": Op(row["op"]).name.lower(),
            "kind": Kind(row["kind"]).name.lower(),
            "hook": Hook(row["hook"]).name.lower(),
        }
        for row in events_of(truth)
    ]
    other = [row | {"pid": 5, "tid": 5} for row in events]
    assert told(truth, other + events + other).ok


def test_each_lost_event_is_told(truth: Truth) -> None:
    events = events_of(truth)
    for row in range(len(events)):
        result = told(truth, events[:row] + events[row + 1 :])
        assert result.total == 1, str(result)
        assert "missing" in result.differences[0]


def test_each_doubled_event_is_told(truth: Truth) -> None:
    events = events_of(truth)
    for row in range(len(events)):
        result = told(truth, events[: row + 1] + events[row:])
        assert result.total == 1, str(result)
        assert "too many" in result.differences[0]


def test_each_swap_within_a_thread_is_told(truth: Truth) -> None:
    events = events_of(truth)
    for row in range(len(events) - 1):
        swapped = [*events[:row], events[row + 1], events[row], *events[row + 2 :]]
        same_thread = events[row]["tid"] == events[row + 1]["tid"]
        assert told(truth, swapped).ok != same_thread


# What may be changed in an event of each op without anybody being able to know better.
FREE: dict[str, set[str]] = {
    "create": {"fd", "offset", "length"},
    "truncate": set(),
    "chmod": {"offset", "length"},
    "write": {"arg"},
    "read": {"arg"},
    "add_seals": {"offset", "length"},
    "mmap": set(),
    "allocate": set(),
    "punch_hole": set(),
}


@pytest.mark.parametrize(
    "field",
    ["op", "pid", "tid", "fd", "dev", "ino", "gen", "seals", "seals_after", "size", "size_after",
     "offset", "length", "arg", "answer", "kind", "hook"],
)  # fmt: skip
def test_each_wrong_field_is_told(truth: Truth, field: str) -> None:
    events = events_of(truth)
    for number, event in enumerate(events):
        op, value = Op(event["op"]).name.lower(), event[field]
        if field == "arg" and op == "truncate":
            value &= ~8  # ia_valid without a size
        elif field == "arg" and op == "chmod":
            value ^= 0o100 << 32
        else:
            value += 1
        changed = [*events[:number], event | {field: value}, *events[number + 1 :]]
        no_file = event["ino"] == 0 and field in ("gen", "kind")
        result = told(truth, changed)
        assert result.ok == (field in FREE[op] or no_file), (op, str(result))


@pytest.mark.parametrize(
    "flag",
    [Flag.ENTRY_MISSING, Flag.RETURN_MISSING, Flag.RACED_SIZE, Flag.RACED_SEALS, Flag.KERNEL_TASK],
)
def test_incomplete_evidence_is_told(truth: Truth, flag: Flag) -> None:
    """Seals may change during F_ADD_SEALS (``events_of`` says so), not during a write."""
    events = events_of(truth)
    events[4]["flags"] |= int(flag)
    assert told(truth, events).total == 1


@pytest.mark.parametrize("number", [5, 15, 16, 17])
def test_what_must_not_be_recorded_is_told(truth: Truth, number: int) -> None:
    """A call refused early, an ordinary tmpfs file, an unsealable memfd, a pipe."""
    events = events_of(truth)
    extra = events[4] | {name: CALLS[number][name] for name in ("ino", "seals", "answer")}
    result = told(truth, [*events, extra])
    assert result.total == 1
    assert "too many" in result.differences[0]


def test_unsealable_files_where_they_were_asked_for(truth: Truth) -> None:
    asked = {"unsealable_ops": {"write"}, "tmpfs_ops": {"write"}}
    events = events_of(truth, **asked)
    assert told(truth, events, **asked).ok
    assert told(truth, events).total == 2
    assert told(truth, events_of(truth), **asked).total == 2


def test_an_op_that_was_not_recorded(truth: Truth) -> None:
    ops = set(HOOKS) - {"read"}
    assert told(truth, events_of(truth, ops=ops), ops=ops).ok
    assert not told(truth, events_of(truth, ops=ops)).ok


def test_at_most_twenty_differences_are_spelled_out(truth: Truth) -> None:
    events = events_of(truth)
    result = told(truth, [events[4]] * 50 + events)
    assert len(result.differences) == 20
    assert result.total == 50
    assert "... and 30 more" in str(result)


def test_a_missing_column_is_an_error(truth: Truth) -> None:
    events = pd.DataFrame(events_of(truth)).drop(columns="seals_after")
    with pytest.raises(ValueError, match="seals_after"):
        compare(truth, events)


def test_a_cut_truth_is_an_error(truth: Truth, tmp_path: Path) -> None:
    lines = (tmp_path / "truth.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "cut.jsonl").write_text("".join(lines[:5] + lines[6:]))
    with pytest.raises(ValueError, match="missing"):
        load_truth(tmp_path / "cut.jsonl")


def test_accepts_exact_mappings(truth: Truth) -> None:
    result = told_maps(truth, MAP_EVENTS)
    assert result.ok, str(result)
    assert result.expected == len(expected_mappings(truth)) == 8
    without_mm = pd.DataFrame(MAP_EVENTS).drop(columns="mm")
    assert compare_mappings(truth, without_mm).ok


def test_each_lost_doubled_or_displaced_mapping_event_is_told(truth: Truth) -> None:
    for number, event in enumerate(MAP_EVENTS):
        before, after = MAP_EVENTS[:number], MAP_EVENTS[number + 1 :]
        assert not told_maps(truth, before + after).ok, number
        assert not told_maps(truth, [*before, event, event, *after]).ok, number
        elsewhere = event | {"answer": event["answer"] + 0x100000}
        assert not told_maps(truth, [*before, elsewhere, *after]).ok, number


@pytest.mark.parametrize(
    ("number", "field", "value"),
    [
        (8, "arg", 0xF9),  # not writable
        (8, "arg", 0x7B),  # not shared
        (9, "offset", PAGE),
        (8, "length", PAGE),
        (8, "dev", 2),
        (13, "flags", 0),  # the fork's mapping taken for the parent's own
        (14, "pid", 100),
        (15, "mm", 2),
    ],
)
def test_wrong_mapping_fields_are_told(truth: Truth, number: int, field: str, value: int) -> None:
    events = [row | ({field: value} if i == number else {}) for i, row in enumerate(MAP_EVENTS)]
    assert not told_maps(truth, events).ok


def test_mapping_steps_out_of_order_are_told(truth: Truth) -> None:
    """Within one address the turns tell; across addresses only the order of steps does."""
    move = [MAP_EVENTS[i] for i in (9, 8, 10, 11)]
    result = told_maps(truth, MAP_EVENTS[:8] + move + MAP_EVENTS[12:])
    assert any("comes too early" in text for text in result.differences), str(result)
