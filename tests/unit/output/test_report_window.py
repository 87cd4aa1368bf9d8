"""--since and --until: words to boot-clock times."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.errors import UserError
from tracer.output.coverage import Anchor, wall_jump_s
from tracer.output.report import Moment, boot_ns, moment

S = 10**9


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1.5", Moment("start", 1_500_000_000)),
        ("+2s", Moment("start", 2 * S)),
        ("0", Moment("start", 0)),
        (".25", Moment("start", S // 4)),
        ("3m", Moment("start", 180 * S)),
        ("1h", Moment("start", 3600 * S)),
        ("12ms", Moment("start", 12_000_000)),
        ("0.000000001", Moment("start", 1)),
        ("-10s", Moment("end", -10 * S)),
        ("-0.5", Moment("end", -S // 2)),
        ("2026-11-22T17:48:10Z", Moment("wall", 1_795_369_690 * S)),
        ("2026-11-22T18:48:10.25+01:00", Moment("wall", 1_795_369_690 * S + S // 4)),
    ],
)
def test_moments(text: str, wanted: Moment) -> None:
    assert moment(text, "--since") == wanted


def test_a_time_without_offset_is_local() -> None:
    local = datetime(2026, 11, 22, 17, 48, 10).astimezone()
    assert moment("2026-11-22T17:48:10", "--since").ns == int(local.timestamp()) * S


@pytest.mark.parametrize("text", ["", "soon", "1.5x", "--5", "1,5", "2026-13-01", "99999-01-01"])
def test_what_is_no_moment_is_refused_by_name(text: str) -> None:
    with pytest.raises(UserError, match="--until") as error:
        moment(text, "--until")
    assert error.value.exit_code == 1


@given(st.integers(0, 10**15))
def test_no_nanosecond_is_lost(ns: int) -> None:
    assert moment(f"{ns // S}.{ns % S:09d}", "--since") == Moment("start", ns)


def test_boot_times() -> None:
    anchors = [Anchor(100 * S, 1_000 * S), Anchor(200 * S, 1_160 * S)]  # set by a minute between
    assert wall_jump_s(anchors) == 60
    assert boot_ns(Moment("start", 5), anchors, 100 * S, 200 * S) == 100 * S + 5
    assert boot_ns(Moment("end", -5), anchors, 100 * S, 200 * S) == 200 * S - 5
    assert boot_ns(Moment("wall", 1_010 * S), anchors, None, None) == 110 * S
    assert boot_ns(Moment("wall", 1_150 * S), anchors, None, None) == 190 * S
    assert boot_ns(Moment("wall", 1_010 * S), [], 100 * S, 200 * S) is None
    assert boot_ns(Moment("start", 5), [], None, None) is None
    assert wall_jump_s([]) == 0


def test_iso_text_round_trip() -> None:
    text = datetime(2026, 11, 22, 17, 48, 10, 123456, UTC).isoformat()
    assert moment(text, "--since") == Moment("wall", 1_795_369_690 * S + 123_456_000)
