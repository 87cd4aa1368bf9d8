"""The pieces that the screens are made of."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rich.cells import cell_len

from tracer import labels
from tracer.escape import printable
from tracer.filter.mask import Coded
from tracer.live import cells
from tracer.live.cells import BARS, SYMBOLS, VIOLATIONS
from tracer.live.snapshot import (
    HISTORY,
    Alert,
    Coverage,
    Now,
    Rows,
    Snapshot,
    State,
    Taken,
    Verdicts,
    of_records,
)
from tracer.live.tables import COLUMNS, HOLDERS, MAPPERS, Column, decisions, fit, rank_of
from tracer.recording.manifest import Hook, Manifest, SelfTest, Unexplained
from tracer.rules.verdicts import Verdict
from tracer.words import Kind
from ui.app import ENDINGS
from ui.themes import check, rich_colour
from ui.widgets.grid import fitted
from ui.widgets.strips import chart, foremost, summary


@given(st.text(max_size=40), st.integers(1, 30), st.booleans())
def test_fitted_text_has_just_its_cells(text: str, width: int, right: bool) -> None:
    shown = fitted(printable(text), width, right)
    assert cell_len(shown) == width
    assert shown.isprintable()


@given(st.integers(20, 260))
def test_columns_fit(room: int) -> None:
    for columns in COLUMNS.values():
        placed = fit(columns, room)
        assert placed
        last = placed[-1]
        fixed = [column for column in columns if column.rank == 0]
        if len(placed) > len(fixed):
            assert last.start + last.width <= room
        for one, other in pairwise(placed):
            assert other.start == one.start + one.width + one.gap
        for one in placed:
            column = one.column
            assert column.width <= one.width <= max(column.width, column.most, column.wish)
            assert len(column.title) <= one.width, "titles are never cut"
        names = [one.column.name for one in placed]
        assert [column.name for column in columns if column.name in names] == names


def test_wider_terminals_show_no_less() -> None:
    for columns in COLUMNS.values():
        shown = [
            {placed.column.name for placed in fit(columns, room)} for room in (49, 79, 119, 149)
        ]
        for narrow, wide in pairwise(shown):
            assert narrow <= wide


@pytest.mark.parametrize(
    ("table", "order"),
    [
        ("objects", "error fds owner_uid blocked kind mappings decisions size worst_place"),
        ("fds", "kind ns_pid decisions seals place worst_last_ns"),
        ("processes", "uid fds objects ns_pid decisions worst_name place worst_last_ns"),
        ("events", "ns_pid duration_ns expected fd pid reason place time_ns arg"),
        ("hooks", "decided method self_test"),
        ("audit", "time_ns seals evidence"),
    ],
)  # fmt: skip
def test_what_matters_least_goes_first(table: str, order: str) -> None:
    shown = {
        room: {placed.column.name for placed in fit(COLUMNS[table], room)}
        for room in range(10, 301)
    }
    narrowest = {
        column.name: min(room for room, names in shown.items() if column.name in names)
        for column in COLUMNS[table]
    }
    going = sorted((name for name in narrowest if narrowest[name] > 10), key=narrowest.__getitem__)
    assert going[::-1] == order.split()


def test_how_a_holder_opened_it() -> None:
    """FMODE_READ is 1, FMODE_WRITE 2; a descriptor that the trace saw in use alone has neither."""
    modes = [1, 2, 3, 0, None]
    rows = of_records("holders", [{"fmode": mode} for mode in modes], range(len(modes)), None)
    [opened] = [column for column in HOLDERS if column.name == "fmode"]
    assert opened.style is not None
    shown = [
        (opened.text(rows.row(place)), opened.style(rows.row(place))) for place in range(len(modes))
    ]
    assert shown == [
        ("r-", "dim"), ("-w", "strong"), ("rw", "strong"), ("??", "dim"), ("??", "dim")
    ]  # fmt: skip


def test_errors_stand_out_among_answers() -> None:
    """An errno is -4095 to -1; an address in the upper half is as negative, and no error."""
    answers = [-1, -4095, 0, 100, -4096, -(1 << 46)]
    records = [{"op": "mmap", "answer": answer, "flags": 0} for answer in answers]
    rows = of_records("decisions", records, range(len(answers)), None)
    [column] = [column for column in decisions() if column.name == "answer"]
    assert column.style is not None
    styles = [column.style(rows.row(place)) for place in range(len(answers))]
    assert styles == ["strong", "strong", None, None, None, None]
    asked = [column.filter_of(rows.row(place)) for place in range(len(answers))]
    assert asked == [("ret", -1), ("ret", -4095), *[("ret", "ok")] * 4]


def test_who_maps_it_and_how() -> None:
    names = ("shared", "writable", "offset", "length", "address")
    values = [(True, True, 4096, 8192, 0x7F00), (False, False, 0, 4096, None)]
    records = [dict(zip(names, row, strict=True)) for row in values]
    rows = of_records("mappers", records, range(2), None)
    columns = {column.name: column for column in MAPPERS}
    shown = [[columns[name].text(rows.row(place)) for name in names] for place in range(2)]
    assert shown == [
        ["shared", "WRITABLE", "4K", "8K", "7f00"],
        ["private", "read", "0", "4K", "0"],
    ]
    style = columns["writable"].style
    assert style is not None
    assert [style(rows.row(place)) for place in range(2)] == ["unexplained", "dim"]


def test_every_table_shows_what_matters_at_80_columns() -> None:
    shown = {name: {p.column.name for p in fit(COLUMNS[name], 79)} for name in COLUMNS}
    answer = {"worst", "worst_op", "worst_count"}
    assert answer | {"name", "seals", "worst_comm", "worst_last_ns"} <= shown["objects"]
    assert answer | {"comm", "pid", "fd", "name"} <= shown["fds"]
    assert answer | {"comm", "pid", "worst_last_ns"} <= shown["processes"]
    assert {"time_ns", "comm", "op", "name", "seals", "arg", "answer"} <= shown["events"]
    assert {"state", "family", "symbol", "method", "note"} <= shown["hooks"]


@given(st.sampled_from([column for columns in COLUMNS.values() for column in columns]),
       st.integers(20, 260))  # fmt: skip
def test_the_arrow_never_covers_a_title(column: Column, room: int) -> None:
    for columns in COLUMNS.values():
        for one in fit(columns, room, column.name):
            if one.column.name == column.name and one.column.title:
                assert one.width >= len(one.column.title) + 2


def test_a_column_that_says_the_same_everywhere_is_dull() -> None:
    [maps] = [one for one in COLUMNS["objects"] if one.name == "mappings"]
    for values, dull in (([1, 1, 1], True), ([1, 2, 1], False), ([1], False), ([], False)):
        records = [{"mappings": value} for value in values]
        assert maps.is_dull(of_records("objects", records, range(len(values)), None)) is dull


@given(
    arrays.arrays(np.int64, (len(Verdict), HISTORY), elements=st.integers(0, 10**9)),
    st.integers(0, 150),
)
def test_charts(history: npt.NDArray[np.int64], width: int) -> None:
    bars = chart(history, width)
    assert len(bars) == width
    for place, (glyph, verdict) in enumerate(bars):
        first = place * HISTORY // width
        end = max(first + 1, (place + 1) * HISTORY // width)
        there = np.flatnonzero(history[:, first:end].sum(axis=1)).tolist()
        assert verdict == max(there, default=None)
        if verdict in VIOLATIONS:
            assert glyph == SYMBOLS[Verdict(verdict)]
        else:
            assert (glyph == " ") == (not there)
            assert glyph in BARS


@given(st.integers(-1, 10**19))
def test_short_numbers(value: int) -> None:
    assert len(labels.span(value)) <= 6 or value >= 10**18
    assert len(labels.size(max(0, value))) <= 5 or value >= 1024**6 * 9
    if value:
        assert len(cells.count(max(1, value), 7)) <= 8 or value >= 10**15


def test_texts() -> None:
    assert [labels.span(ns) for ns in (0, 999, 1000, 10**6, 10**9, 61 * 10**9, 3600 * 10**9)] == [
        "0ns", "999ns", "1µs", "1ms", "1.0s", "1m01", "1h00",
    ]  # fmt: skip
    assert [labels.size(n) for n in (0, 999, 1000, 4096, 1536, 10 << 20, None)] == [
        "0", "999", "1K", "4K", "1.5K", "10M", "?",
    ]  # fmt: skip
    assert cells.count(0) == "·"
    assert cells.count(1234567) == "1,234,567"
    assert cells.count(12345678, 7) == "12.3M"
    assert cells.clock(3725.5) == "1:02:05.500"
    assert labels.answer("mmap", 0x7F00) == "= 0x7f00"
    assert labels.answer("write", -1) == "EPERM"
    assert labels.answer("write", 0, 8) == "= ?"
    assert cells.name_of("memfd", "memfd:x", 1, 2) == "x"
    assert cells.name_of("memfd", None, 1 << 20 | 5, 2) == "<1:5/2>"
    assert cells.name_of("memfd", "memfd:", 1, 2) == "(empty name)"


def test_every_verdict_has_a_symbol_and_words() -> None:
    assert set(SYMBOLS) == set(Verdict)
    assert all(verdict.meaning for verdict in Verdict)
    assert len(set(SYMBOLS.values())) == len(Verdict)
    assert all(cell_len(symbol) == 1 for symbol in SYMBOLS.values())


def _shot(state: State = State.LIVE, lost: int = 0, **counts: int) -> Snapshot:
    verdicts = Verdicts()
    for word, count in counts.items():
        verdicts.counts[Verdict[word.upper()]] = count
    manifest = Manifest(hooks=(Hook(), Hook()), self_test=SelfTest(ran=True))
    return Snapshot(verdicts=verdicts, now=Now(state=state, lost=lost), manifest=manifest)


def test_one_sentence_says_whether_anything_is_wrong() -> None:
    assert summary(_shot(allowed=5, blocked=2)) == ("allowed", "✓ all as the seals demand")
    assert summary(_shot(allowed=5, breach=1)) == ("breach", "✗ 1 NEW BREACH")
    both = summary(_shot(breach=2, unexplained=1))
    assert both == ("breach", "✗ 2 NEW BREACHES, 1 UNEXPLAINED DENIAL")
    assert summary(_shot(unexplained=3, indeterminate=4)).style == "unexplained"
    lossy = summary(_shot(allowed=5, lost=3, indeterminate=1))
    assert lossy.style == "indeterminate"
    assert "not certain: 3 events lost; 1 indeterminate" in lossy.text
    assert summary(_shot()).style == "dim"
    assert "waiting" in summary(_shot()).text
    assert "no decision" in summary(_shot(State.ENDED)).text
    assert "recorder gone" in summary(_shot(State.GONE, allowed=1)).text


def test_news_come_before_known_holes() -> None:
    shot = _shot(breach=5)
    for holes, told in (
        (5, "✗ 5 breaches by known holes"),
        (4, "✗ 1 NEW BREACH, 4 breaches by known holes"),
        (0, "✗ 5 NEW BREACHES"),
    ):
        assert summary(replace(shot, verdicts=replace(shot.verdicts, in_holes=holes))).text == told
    new, known = Alert(1, "breach", "", {"hole": None}), Alert(2, "breach", "", {"hole": "x"})
    assert foremost([new, known]) is new
    assert foremost([known, new]) is new
    assert foremost([known, known]) is known


def test_a_blind_hook_and_a_failed_self_test_are_doubts() -> None:
    shot = replace(_shot(allowed=1), coverage=Coverage(blind=("mmap",)))
    assert summary(shot) == (
        "indeterminate",
        "~ no breach seen, not certain: not seen: mmap",
    )
    untested = replace(shot, coverage=Coverage(), manifest=Manifest(hooks=(Hook(),)))
    assert "self-test not run" in summary(untested).text
    odd = SelfTest(ran=True, unexplained=(Unexplained(),) * 3)
    failed = replace(shot, coverage=Coverage(), manifest=Manifest(self_test=odd))
    assert "self-test: 3 unexplained" in summary(failed).text


def test_colours_of_themes() -> None:
    assert rich_colour("#12345678") == "#123456"
    assert rich_colour("ansi_bright_red") == "bright_red"
    assert rich_colour("auto 87%") == "default"
    assert check("nord", ["nord", "dracula"]) == "nord"


def test_every_kind_of_file_has_room() -> None:
    for columns in COLUMNS.values():
        for column in columns:
            if column.name == "kind":
                assert column.most == max(len(kind.name) for kind in Kind)


def test_times_stand_under_each_other() -> None:
    for columns in COLUMNS.values():
        assert all(column.right for column in columns if column.name == "time_ns")


def test_columns_have_names_of_their_own() -> None:
    for columns in COLUMNS.values():
        names = [column.name for column in columns]
        assert len(set(names)) == len(names)
        assert all(isinstance(column, Column) for column in columns)
    assert len(ENDINGS) == 3


def test_values_that_are_looked_up_when_they_are_wanted() -> None:
    at = np.array([2, -1, 0])
    for column, values in (
        (np.array([5, 6, 7]), [7, None, 5]),
        (Coded(np.array([1, 0, -1]), ["a", "b"]), [None, None, "b"]),
    ):
        taken = Taken(column, at)
        rows = Rows("objects", {"x": taken}, np.arange(3), np.arange(3), 3)
        assert [rows.value("x", place) for place in range(3)] == values
        whole = Rows("objects", {"x": taken.whole()}, np.arange(3), np.arange(3), 3)
        assert [whole.value("x", place) for place in range(3)] == values
        assert rank_of(taken).tolist() == rank_of(taken.whole()).tolist()
