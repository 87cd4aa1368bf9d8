"""Two recordings compared: classes of requests, and what differs between two sides."""

import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.unit.output.report_sample import HOSTILE, counts, coverage
from tracer.output import diff as request
from tracer.output import tables as cells
from tracer.output.coverage import SelfTest
from tracer.output.diff import (
    Diff,
    DiffTerminal,
    Tally,
    change,
    common_bit5,
    compare,
    diff_csv,
    diff_json,
    diff_page,
    objects,
    variants,
)
from tracer.output.report import Question
from tracer.rules.verdicts import Verdict
from tracer.words import EXEC, INACCESSIBLE, UNKNOWN, Kind, Op

TYPES = {
    "op": np.uint8, "kind": np.uint8, "arg": np.uint64, "offset": np.int64, "length": np.uint64,
    "size": np.uint64, "mode": np.uint16, "fmode": np.uint16, "seals": np.uint32,
    "answer": np.int64,
}  # fmt: skip


def columns(*rows: dict[str, int]) -> dict[str, Any]:
    usual = {"kind": int(Kind.MEMFD), "size": 8192, "fmode": 3}
    return {
        name: np.array([(usual | row).get(name, 0) for row in rows], kind)
        for name, kind in TYPES.items()
    }


def said(**row: int) -> str:
    [one] = request.classes(columns(row)).to_numpy().tolist()
    return " ".join(request.described(one, EXEC))


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"op": Op.MMAP, "arg": 3 | 1 << 32}, "mmap memfd SHARED rw-"),
        ({"op": Op.MMAP, "arg": 3 | 0x11 << 32}, "mmap memfd SHARED rw-"),  # MAP_FIXED
        ({"op": Op.MMAP, "arg": 1 | 2 << 32, "fmode": 1},
         "mmap memfd PRIVATE r-- by a read-only fd"),
        ({"op": Op.MMAP, "arg": 3 | 1 << 32, "offset": 8192, "length": 1}, "mmap memfd SHARED rw-"),
        ({"op": Op.MMAP, "arg": 3 | 1 << 32, "kind": Kind.HUGETLB, "offset": 8192, "length": 1},
         "mmap hugetlb SHARED rw-, past the end"),
        ({"op": Op.MREMAP, "arg": 1 | 0x8B << 8 | 1 << 16, "length": 4097},
         "mremap memfd rw-s MAYMOVE, grows"),
        ({"op": Op.MREMAP, "arg": 0x89 << 8 | 2 << 16, "length": 8192},
         "mremap memfd r--s, same length"),
        ({"op": Op.MREMAP, "arg": 3 << 8 | 2 << 16, "length": 8191, "size": 1},
         "mremap memfd rw-p, shrinks"),
        ({"op": Op.MPROTECT, "arg": 5}, "mprotect memfd r-x"),
        ({"op": Op.WRITE, "offset": 8191, "length": 1}, "write memfd within the file"),
        ({"op": Op.WRITE, "offset": 8191, "length": 2}, "write memfd past the end"),
        ({"op": Op.WRITE, "offset": 1 << 62, "length": 2**64 - 1}, "write memfd past the end"),
        ({"op": Op.WRITE, "offset": 9000, "length": 0}, "write memfd of nothing"),
        ({"op": Op.WRITE, "offset": -1, "length": 1}, "write memfd within the file"),
        ({"op": Op.READ, "length": 5}, "read memfd any"),
        ({"op": Op.TRUNCATE, "length": 8191}, "truncate memfd smaller"),
        ({"op": Op.TRUNCATE, "length": 8193}, "truncate memfd larger"),
        ({"op": Op.TRUNCATE, "length": 8192}, "truncate memfd same size"),
        ({"op": Op.CHMOD, "arg": 1 | 0o755 << 32, "mode": 0o100644}, "chmod memfd x bits changed"),
        ({"op": Op.CHMOD, "arg": 1 | 0o600 << 32, "mode": 0o100644}, "chmod memfd x bits kept"),
        ({"op": Op.CHMOD, "arg": 2}, "chmod memfd no mode"),
        ({"op": Op.ALLOCATE, "arg": 1, "offset": 8192, "length": 1},
         "allocate memfd KEEP_SIZE, past the end"),
        ({"op": Op.PUNCH_HOLE, "arg": 3}, "punch_hole memfd any"),
        ({"op": Op.ADD_SEALS, "arg": 0x18}, "add_seals memfd WRITE|FUTURE_WRITE"),
        ({"op": Op.CREATE, "arg": 3, "fmode": 0}, "create memfd CLOEXEC|ALLOW_SEALING"),
        ({"op": Op.CREATE, "arg": 5, "fmode": 0, "kind": 0}, "create hugetlb CLOEXEC|HUGETLB"),
        ({"op": Op.CREATE, "arg": 8, "fmode": 0, "kind": 0}, "create memfd NOEXEC_SEAL"),
        ({"op": 77, "kind": 15}, "op_77 kind_15 any"),
    ],
)  # fmt: skip
def test_request_classes(row: dict[str, int], text: str) -> None:
    assert said(**row) == text


@pytest.mark.parametrize("op", [Op.READ, Op.ADD_SEALS, Op.PUNCH_HOLE, Op.CHMOD])
def test_where_it_was_does_not_matter(op: Op) -> None:
    usual = {"op": int(op), "kind": int(Kind.HUGETLB), "length": 1}
    within, past = request.classes(columns(usual, usual | {"offset": 8192})).to_numpy().tolist()
    assert within == past


numbers = st.integers(0, 2**64 - 1)


@given(st.lists(st.fixed_dictionaries({
    "op": st.integers(0, 255), "kind": st.integers(0, 5), "arg": numbers, "length": numbers,
    "size": numbers, "offset": st.integers(-(2**63), 2**63 - 1), "mode": st.integers(0, 65535),
    "fmode": st.integers(0, 65535)}), min_size=1, max_size=20))  # fmt: skip
def test_every_request_has_a_text(rows: list[dict[str, int]]) -> None:
    for one in request.classes(columns(*rows)).to_numpy().tolist():
        assert all(text.isprintable() for text in request.described(one, EXEC))


def tally(*rows: dict[str, int]) -> pd.DataFrame:
    found = Tally()
    for row in rows:  # one batch each: what is counted must not depend on the cuts
        found.add(columns(row), np.array([row["verdict"]], np.int8))
    return found.frame()


SHARED = {"op": int(Op.MMAP), "arg": 3 | 1 << 32, "seals": 0x10}
HOLE = SHARED | {"verdict": int(Verdict.BREACH), "answer": 0x7F0000000000}
DENIED = SHARED | {"verdict": int(Verdict.BLOCKED), "answer": -1}
WRITE = {"op": int(Op.WRITE), "length": 1, "verdict": int(Verdict.ALLOWED), "answer": 1}
MAP = {"op": int(Op.MAP), "verdict": -1}


def test_other_answers_come_first() -> None:
    a = tally(HOLE, DENIED, WRITE, WRITE, MAP)
    b = tally(DENIED, DENIED, WRITE, WRITE, WRITE, WRITE | {"seals": 4})
    found, same = compare(a, b)
    assert same == 0
    assert found["change"].tolist() == ["answer", "only B", "count"]
    first = found.iloc[0]
    assert (first["op"], first["seals"], first["request"]) == ("mmap", 0x10, "SHARED rw-")
    assert first["a"] == [
        {"verdict": "breach", "answer": "ok", "count": 1},
        {"verdict": "blocked", "answer": "EPERM", "count": 1},
    ]
    assert first["b"] == [{"verdict": "blocked", "answer": "EPERM", "count": 2}]
    assert found.iloc[1]["a"] == []


def test_a_creation_that_one_kernel_does_not_know() -> None:
    flags = {"op": int(Op.CREATE), "arg": 8, "fmode": 0}
    a = tally(flags | {"kind": 0, "answer": -22, "verdict": int(Verdict.ERROR)})
    b = tally(flags | {"seals": 0x20, "answer": 3, "verdict": int(Verdict.ALLOWED)})
    found, _ = compare(a, b)
    assert found["change"].tolist() == ["answer"]


@pytest.mark.parametrize(
    ("a", "b", "bit5", "request_"),
    [
        ("exec", "exec", EXEC, "CLOEXEC|NOEXEC_SEAL"),
        ("none", "exec", EXEC, "CLOEXEC|NOEXEC_SEAL"),
        ("inaccessible", "inaccessible", INACCESSIBLE, "CLOEXEC|INACCESSIBLE"),
        ("exec", "inaccessible", UNKNOWN, "CLOEXEC|0x8"),
        ("exec", None, UNKNOWN, "CLOEXEC|0x8"),
    ],
)
def test_a_flag_that_two_kernels_may_call_differently(
    a: str, b: str | None, bit5: object, request_: str
) -> None:
    sides = [coverage(self_test=SelfTest(True, 9, bit_0x20=one)) for one in (a, b)]
    assert common_bit5(*sides) == bit5
    made = {"op": int(Op.CREATE), "arg": 9, "answer": 3, "verdict": int(Verdict.ALLOWED)}
    found, _ = compare(tally(made), tally(), common_bit5(*sides))
    assert found["request"].tolist() == [request_]


def test_equal_recordings_differ_in_nothing() -> None:
    a = tally(HOLE, WRITE)
    found, same = compare(a, tally(WRITE, HOLE))
    assert found.empty
    assert same == 2
    assert compare(tally(), tally())[1] == 0


def test_tally_counts_the_same_however_it_is_cut() -> None:
    rows = [HOLE, DENIED, WRITE] * 15
    one = Tally()
    one.add(columns(*rows), np.array([row["verdict"] for row in rows], np.int8))
    pd.testing.assert_frame_equal(one.frame(), tally(*rows))


def test_change() -> None:
    one = [{"verdict": "allowed", "answer": "ok", "count": 1}]
    assert change(one, one) is None
    assert change(one, []) == "only A"
    assert change([], one) == "only B"
    assert change(one, [one[0] | {"count": 2}]) == "count"
    assert change(one, [one[0] | {"answer": "EPERM"}]) == "answer"


def table(*rows: tuple[str | None, dict[str, int]]) -> pd.DataFrame:
    return pd.DataFrame(
        [{"kind": "memfd", "name": name, **counts(**given)} for name, given in rows]
    )


def test_objects_by_name() -> None:
    a = table(("x", {"allowed": 2}), ("x", {"breach": 1}), ("gone", {"allowed": 1}), (None, {}))
    b = table(("new", {"allowed": 1}), ("x", {"allowed": 3}), ("same", {}), (None, {"breach": 9}))
    found = objects(a, b)
    assert found[["change", "name"]].to_numpy().tolist() == [
        ["answer", "x"], ["only A", "gone"], ["only B", "new"], ["only B", "same"]
    ]  # fmt: skip
    assert found.iloc[0]["a"] == {"allowed": 2, "breach": 1}
    assert objects(b, b).empty
    assert objects(a.head(0), b.head(0)).empty


def sample() -> Diff:
    a, b = tally(HOLE, WRITE), tally(DENIED, WRITE, WRITE)
    decisions, same = compare(a, b)
    sides = (
        coverage(self_test=SelfTest(True, 9, {"x": "old", "y": "z"})),
        coverage(path="b.seal", kernel="7.3.4", self_test=SelfTest(True, 9, {"x": "new"})),
    )
    named = objects(
        table((f"memfd:{HOSTILE}", {"breach": 1})), table((f"memfd:{HOSTILE}", {"blocked": 1}))
    )
    totals = (counts(breach=1, allowed=1), counts(blocked=1, allowed=2))
    a_side, b_side = sides
    chosen = variants(a_side, b_side)
    return Diff(Question(), a_side, b_side, totals, same, chosen, decisions, named)


def test_variants() -> None:
    assert cells.rows(sample().variants) == [
        {"question": "x", "a": "old", "b": "new"}, {"question": "y", "a": "z", "b": None}
    ]  # fmt: skip


def test_text() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, highlight=False, color_system=None)
    DiffTerminal(console, 10).show_diff(sample())
    text = out.getvalue()
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line.isprintable() for line in lines)
    where = lines.index("Answered differently: 1")
    assert lines[where + 1 : where + 4] == [
        "  mmap memfd ----f- SHARED rw-", "      A: 1 breach", "      B: 1 blocked EPERM"
    ]  # fmt: skip
    assert "  x: A old, B new" in lines
    assert "  y: A z, B not known" in lines
    assert "The same answers, not as often: 1" in lines
    assert text.split("; ")[0].replace("\n", " ") == (
        "The kernels differ (A 6.1.0-56-amd64, B 7.3.4) in 1 class of calls (mmap 1) and in what "
        "the self-tests found (x)"
    )
    where = next(at for at, line in enumerate(lines) if line.startswith("A: w.seal"))
    assert where < lines.index("Verdicts")


def test_programs() -> None:
    body = json.loads("".join(diff_json(sample())))
    assert body["format"] == "sealsnoop report diff"
    assert [one["path"] for one in body["recordings"]] == ["w.seal", "b.seal"]
    assert body["decisions"][0]["a"] == [{"verdict": "breach", "answer": "ok", "count": 1}]
    assert body["variants"][1] == {"question": "y", "a": "z", "b": None}
    assert list(diff_csv(sample()))[:2] == [
        "change,op,kind,seals,request,a,b",
        '"answer","mmap","memfd",16,"SHARED rw-","1 breach","1 blocked EPERM"',
    ]


def test_page() -> None:
    text = "".join(diff_page(sample(), 10))
    assert "<script>alert" not in text
    assert "1 blocked EPERM" in text
    assert "A: w.seal" in text
