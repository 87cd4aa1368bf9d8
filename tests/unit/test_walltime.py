"""Wall-clock time: texts, the clocks of a recording, and what --since and --until take."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tracer import walltime
from tracer.errors import UserError
from tracer.walltime import (
    Moment,
    Period,
    WallClock,
    date_and_time,
    iso,
    isos,
    moment,
    on_day_of,
    time_of_day,
)

BERLIN = pytest.mark.parametrize("zone", ["CET-1CEST,M3.5.0,M10.5.0/3"], indirect=True)
"""An hour ahead of UTC in November, without what this machine knows of zones."""
S = 10**9
WALL = 1_795_369_690 * S  # 2026-11-22T17:48:10Z
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


# ---- how a time reads ------------------------------------------------------------------------


@BERLIN
def test_local_time_for_people_and_utc_for_programs(zone: None) -> None:
    at = WALL + 123_456_789
    assert time_of_day(at) == "18:48:10.123"
    assert time_of_day(at, 0) == "18:48:10"
    assert date_and_time(at) == "2026-11-22 18:48:10.123"
    assert iso(at) == "2026-11-22T17:48:10.123456Z"
    assert iso(at, 0) == "2026-11-22T17:48:10Z"


@BERLIN
def test_a_time_has_its_date_where_that_is_another_one(zone: None) -> None:
    late = "2026-11-22T22:59:59.000001Z"  # a second before midnight there
    assert on_day_of(late, "2026-11-22T00:00:00.000Z") == "23:59:59.000001"
    assert on_day_of("2026-11-22T23:00:00Z", late) == "2026-11-23 00:00:00.000000"
    assert on_day_of(late, None) == "2026-11-22 23:59:59.000001"


@pytest.mark.parametrize("hostile", [None, -1, 1 << 63, 1 << 100, -(1 << 70)])
def test_what_is_no_time_is_unknown(hostile: int | None) -> None:
    assert (time_of_day(hostile), date_and_time(hostile), iso(hostile)) == ("?", "?", None)


@given(st.integers(0, (1 << 63) - 1))
def test_iso_is_the_time_to_a_microsecond(wall_ns: int) -> None:
    text = iso(wall_ns)
    assert text is not None
    passed = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    assert passed // timedelta(microseconds=1) == wall_ns // 1000


# ---- which time it was -----------------------------------------------------------------------

BOOTS = st.lists(st.tuples(INT64, INT64), max_size=5)


@given(BOOTS, st.lists(INT64, max_size=8))
def test_a_column_of_times_is_each_time(anchors: list[tuple[int, int]], times: list[int]) -> None:
    clock = WallClock(anchors)
    found = clock.all_at(np.array(times, np.int64))
    assert isos(found) == [iso(clock.at(one)) for one in times]
    assert [None if np.isnat(one) else int(one.astype(np.int64)) for one in found] == [
        wall if wall is not None and 0 <= wall < 1 << 63 else None for wall in map(clock.at, times)
    ]


def test_times_have_their_zone_in_a_data_frame() -> None:
    found = WallClock([(5, WALL + 5)]).column(np.array([5, 6]))
    assert str(found.dtype) == "datetime64[ns, UTC]"
    assert found[0].isoformat() == "2026-11-22T17:48:10.000000005+00:00"


def test_the_reading_before_counts() -> None:
    clock = WallClock([(200 * S, 1_160 * S), (100 * S, 1_000 * S)])  # set by a minute between
    assert (clock.jump_s, clock.start_ns) == (60, 100 * S)
    assert [clock.at(one * S) for one in (50, 100, 199, 200, 250)] == [
        950 * S, 1_000 * S, 1_099 * S, 1_160 * S, 1_210 * S,
    ]  # fmt: skip
    assert (WallClock().at(5), WallClock().jump_s, WallClock([(1, 1)]).at(None)) == (None, 0, None)


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)))))
def test_readings_may_come_in_any_pieces(pieces: list[list[tuple[int, int]]]) -> None:
    clock = WallClock()
    for piece in pieces:
        clock.extend(piece)
    # Of one moment the last that was given.
    wanted = dict(one for piece in pieces for one in piece)
    assert [tuple(one) for one in clock.anchors] == sorted(wanted.items())


NEAR = st.integers(0, 10**12)


@example([(0, 0), (0, 2), (0, 0)], 1)
@given(st.lists(st.tuples(NEAR, NEAR), min_size=1, max_size=5), NEAR)
def test_from_a_time_on_is_no_earlier_time(anchors: list[tuple[int, int]], wall_ns: int) -> None:
    clock = WallClock(anchors)
    boot_ns = clock.boot(wall_ns)
    assert boot_ns is not None
    shown, before = clock.at(boot_ns), clock.at(boot_ns - 1)
    assert shown is not None
    assert before is not None
    assert shown >= wall_ns > before


def test_a_clock_that_was_set_ahead_and_back() -> None:
    ahead = WallClock([(100, 1_000), (200, 5_000)])
    assert [ahead.boot(one) for one in (900, 1_050, 3_000, 5_001)] == [0, 150, 200, 201]
    back = WallClock([(100, 1_000), (200, 1_050)])
    assert [back.boot(one) for one in (1_060, 1_099, 1_100)] == [160, 199, 250]
    assert WallClock().boot(5) is None


# ---- how a time is given ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1.5", Moment("start", 1_500_000_000)),
        ("+2s", Moment("start", 2 * S)),
        ("0", Moment("start", 0)),
        (".25", Moment("start", S // 4)),
        ("3m", Moment("start", 180 * S)),
        ("3 min", Moment("start", 180 * S)),
        ("1h", Moment("start", 3600 * S)),
        ("2d", Moment("start", 2 * 86400 * S)),
        ("12ms", Moment("start", 12_000_000)),
        ("0.000000001", Moment("start", 1)),
        ("-10s", Moment("end", -10 * S)),
        ("-0.5", Moment("end", -S // 2)),
        ("@1795369690.25", Moment("wall", WALL + S // 4)),
        ("03:00", Moment("day", 3 * 3600 * S)),
        ("3:00:01.5", Moment("day", (3 * 3600 + 1) * S + S // 2)),
        ("23:59:59.999999999", Moment("day", 86400 * S - 1)),
        ("2026-11-22T17:48:10Z", Moment("wall", WALL)),
        ("2026-11-22 17:48:10 UTC", Moment("wall", WALL)),
        ("Sun 2026-11-22 17:48:10 UTC", Moment("wall", WALL)),
        ("2026-11-22T18:48:10.25+01:00", Moment("wall", WALL + S // 4)),
        ("2026-11-22T18:48:10.25", Moment("wall", WALL + S // 4)),
        ("2026-11-22 18:48", Moment("wall", WALL - 10 * S)),
        ("2026-11-22", Moment("wall", WALL - (18 * 3600 + 48 * 60 + 10) * S)),
        ("1969-12-31T23:59:59.5Z", Moment("wall", -S // 2)),
    ],
)
@BERLIN
def test_moments(text: str, wanted: Moment, zone: None) -> None:
    assert moment(text, "--since") == wanted
    assert moment(f"  {text} ", "--since").text == f"  {text} "


@BERLIN
def test_days_and_ages(zone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Now(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Now":
            return cls(2026, 11, 22, 17, 48, 10, tzinfo=UTC)

    class Today(date):
        @classmethod
        def today(cls) -> "Today":
            return cls(2026, 11, 22)

    monkeypatch.setattr(walltime, "datetime", Now)
    monkeypatch.setattr(walltime, "date", Today)
    midnight = WALL - (18 * 3600 + 48 * 60 + 10) * S
    day = 86400 * S
    for text, ns in (
        ("now", WALL),
        ("10m ago", WALL - 600 * S),
        ("1.5 h ago", WALL - 5400 * S),
        ("today", midnight),
        ("yesterday", midnight - day),
        ("yesterday 03:00", midnight - day + 3 * 3600 * S),
        ("Yesterday  03:00:00.25", midnight - day + 3 * 3600 * S + S // 4),
        ("Nov 21 03:00:00", midnight - day + 3 * 3600 * S),
        ("nov  3 03:00", midnight - 19 * day + 3 * 3600 * S),
        ("Dec 31 00:00", midnight - 326 * day),  # of last year
    ):
        assert moment(text, "--since") == Moment("wall", ns), text


@pytest.mark.parametrize(
    "text",
    [
        "", "soon", "1.5x", "--5", "1,5", "2026-13-01", "99999-01-01", "-10m ago", "@-5", "@5s",
        "25:00", "03:60", "yesterday noon", "Nov 31 03:00", "Foo 1 03:00", "٣",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused_by_name(text: str) -> None:
    with pytest.raises(UserError, match=r"--until .* is not a time") as error:
        moment(text, "--until")
    assert error.value.exit_code == 1


@given(st.integers(0, 10**15))
def test_no_nanosecond_is_lost(ns: int) -> None:
    assert moment(f"{ns // S}.{ns % S:09d}", "--since") == Moment("start", ns)


# ---- a part of a recording -------------------------------------------------------------------

DAY = 86400
HOUR = 3600
START_NS = 100 * S
MIDNIGHT = WALL - (18 * HOUR + 48 * 60 + 10) * S
"""Of November 22 in Berlin."""


def limits(
    since: str | None, until: str | None, first_h: float, last_h: float
) -> tuple[list[float | None], list[str]]:
    """In hours since midnight, of a recording from ``first_h`` to ``last_h``; what was told."""
    wall = MIDNIGHT + int(first_h * HOUR) * S
    clock = WallClock([(START_NS, wall)])
    end_ns = START_NS + int((last_h - first_h) * HOUR) * S
    given = [
        None if one is None else moment(one, option)
        for one, option in ((since, "--since"), (until, "--until"))
    ]
    told: list[str] = []
    found = Period(*given).limits("x.seal", clock, lambda: end_ns, told.append)
    return [
        None if one is None else (one - START_NS + wall - MIDNIGHT) / S / HOUR for one in found
    ], told


@pytest.mark.parametrize(
    ("since", "until", "first_h", "last_h", "wanted"),
    [
        ("03:00", None, -6, 8, [3, None]),  # last night at three
        ("03:00", "03:05", -6, 8, [3, 3 + 1 / 12]),
        ("03:00", "03:05", -30, 8, [3, 3 + 1 / 12]),  # of two such nights the last one
        ("23:00", "01:00", -6, 8, [-1, 1]),  # across midnight
        ("23:00", "23:00", -30, 8, [-1, 23]),
        ("03:00", "02:00", -6, 8, [3, 26]),  # the next 02:00 is tomorrow
        (None, "03:00", -30, 8, [None, 3]),
        ("+1h", "03:00", -30, 8, [-29, -21]),
        ("2026-11-22 03:00", "03:30", -30, 8, [3, 3.5]),
        ("-1h", None, -6, 8, [7, None]),
        ("1h", "-1h", -6, 8, [-5, 7]),
    ],
)
@BERLIN
def test_the_part_that_is_meant(
    since: str | None,
    until: str | None,
    first_h: float,
    last_h: float,
    wanted: list[float | None],
    zone: None,
) -> None:
    found, told = limits(since, until, first_h, last_h)
    assert found == [None if one is None else pytest.approx(one) for one in wanted]
    if "02:00" not in (until or "") and until != "23:00":
        assert told == []


@BERLIN
def test_what_lies_outside_is_said(zone: None) -> None:
    assert limits("21:00", None, 18, 20)[1] == [
        "x.seal has no 21:00: it is from 2026-11-22 18:00:00 to 2026-11-22 20:00:00"
    ]
    assert limits("30h", None, -6, 8)[1] == [
        "x.seal ended before --since: nothing in it is of that time"
    ]
    assert limits(None, "2020-01-01", -6, 8)[1] == [
        "x.seal started after --until: nothing in it is of that time"
    ]


@BERLIN
def test_a_period_without_anything_between_is_refused(zone: None) -> None:
    with pytest.raises(UserError, match="--since is not before --until") as error:
        limits("2h", "1h", -6, 8)
    assert error.value.exit_code == 1


def test_without_clock_readings_only_its_end_counts() -> None:
    def found(text: str, last_ns: int | None = 50 * S) -> tuple[int | None, int | None]:
        period = Period(moment(text, "--since"))
        return period.limits("x.seal", WallClock(), lambda: last_ns, pytest.fail)

    assert found("-10s") == (40 * S, None)
    for text in ("5", "03:00", "2026-11-22"):
        with pytest.raises(UserError, match=r"--since: x\.seal has no clock readings"):
            found(text)
        assert found(text, None) == (None, None)  # there is nothing in it at all


def test_a_clock_that_was_set_is_said_where_it_matters() -> None:
    clock = WallClock([(0, WALL), (100 * S, WALL + 160 * S)])
    for text, count in (("2026-11-22T17:48:20Z", 1), ("5", 0)):
        told: list[str] = []
        Period(moment(text, "--since")).limits("x", clock, lambda: 200 * S, told.append)
        assert len(told) == count
        assert all("set by 60 s" in sentence for sentence in told)


def test_nothing_is_read_for_no_limits() -> None:
    assert Period().limits("x", WallClock(), pytest.fail, pytest.fail) == (None, None)
    assert not Period()
