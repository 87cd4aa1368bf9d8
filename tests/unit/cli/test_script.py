"""``sealsnoop script`` on recordings that the store's own writer made."""

import csv
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.cli.imported import HEAVY, imported
from tracer.analysis.decisions import summarize
from tracer.analysis.stream import Stream
from tracer.cli import script
from tracer.errors import UserError
from tracer.escape import cells, escape_bytes
from tracer.output.text import Lines, _marks
from tracer.record import CLOCK, EVENT, HEAD, LOSS, NAME, OBJECT, Flag, RecordType
from tracer.recording.identity import Identities
from tracer.recording.places import Places
from tracer.recording.reader import Recording
from tracer.recording.tasks import Tasks
from tracer.recording.writer import RecordingWriter
from tracer.walltime import WallClock
from tracer.words import EXEC, UNKNOWN
from ui.explain import fields as explained

pytestmark = pytest.mark.usefixtures("zone")
ROOT = Path(__file__).parents[3]
START = 5_000_000_000
WALL = 1_795_369_690 * 10**9  # 2026-11-22T17:48:10Z
HOSTILE = b"=cmd|\x1b[2J\n\xff" + "\u202e漢字漢字漢字".encode()
SHOWN = escape_bytes(HOSTILE)


def asked(**fields: Any) -> dict[str, Any]:
    """Fields of an event that are not as in all others."""
    return fields


FIELDS: list[dict[str, Any]] = [
    asked(op=10, arg=2, answer=3, fd=-1, ino=7),
    asked(op=1, arg=3 | 1 << 32, length=4096, answer=-1, fd=3, seals=0xB, ino=7),
    asked(op=1, arg=3 | 1 << 32, length=4096, answer=0x7F1234567000, fd=3, ino=8),
    asked(op=3, offset=12, length=34, answer=34, fd=3, ino=8, flags=16),
    asked(op=5, size=8192, length=4096, arg=0x2068, answer=0, fd=123456, ino=8, flags=3),
    asked(op=9, arg=0x48, answer=-16, fd=3, seals=0x1F, ino=8, comm=b'@evil\x1b\n,"x'),
    asked(op=8, arg=3, offset=1 << 60, length=1 << 60, answer=-1, fd=3, ino=9, kind=2, flags=8),
    asked(op=3, offset=0, length=1, answer=1, fd=-1, ino=8, flags=16 | 128, check_answer=-1),
]
GOLDEN = """\
17:48:10.000000 seal-writer/4242 allowed  create     memfd:=cmd|\\x1b[2J\\n\\xff\\u202e漢字漢字漢字 \
------ ALLOW_SEALING           = 3
17:48:10.001500 seal-writer/4242 unexplained mmap       memfd:=cmd|\\x1b[2J\\n\\xff\\u202e漢字漢字漢字 \
Ss-w-- SHARED rw- 0+4096 fd3   EPERM  no seal says so
17:48:10.003000 seal-writer/4242 allowed  mmap       memfd:plain      ------ SHARED rw- 0+4096 fd3   \
= 0x7f1234567000
17:48:10.004500 seal-writer/4242 allowed  write      memfd:plain      ------ 12+34 fd3               = 34
17:48:10.006000 seal-writer/4242 allowed  truncate   memfd:plain      ------ 8192→4096 fd123456      \
= 0 !raced !raced-size
17:48:10.007500 @evil\\x1b\\n,"x/4242 unexplained add_seals  memfd:plain      Ssgwf- \
WRITE|0x40 fd3          EBUSY  no seal says so
17:48:10.009000 seal-writer/4242 indeterminate punch_hole hugetlb:0:1/9    ------ \
KEEP_SIZE|PUNCH_HOLE 1152921504606846976+1152921504606846976 fd3 = ? !no-return  its return was not seen
17:48:10.010500 seal-writer/4242 allowed  write      memfd:plain      ------ 0+1                     \
= 1 kernel !check=EPERM
""".splitlines()  # noqa: E501


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (Flag.OTHER_MM, " other-mm"),
        (Flag.KERNEL_TASK | Flag.FINAL, " kernel final"),
        (Flag.COMPAT | Flag.RACED_SEALS, " !raced compat"),
        (Flag.RACED_SIZE | Flag.ENTRY_MISSING, " !raced-size !no-entry"),
        (Flag.RETURN_MISSING, " !no-return"),
        (0, ""),
    ],
)
def test_a_fact_is_no_doubt(flags: int, text: str) -> None:
    assert _marks(0, int(flags), 0, 0) == text
    evidence, besides = (
        {line.label: line.value for line in explained({"flags": int(flags)}, None, EXEC)}[label]
        for label in ("evidence", "besides")
    )
    assert (evidence == "complete") is ("!" not in text)
    assert (besides == "-") is not any(not word.startswith("!") for word in text.split())


def events(fields: list[dict[str, Any]], first: int = 0) -> np.ndarray[Any, Any]:
    rows = np.zeros(len(fields), EVENT)
    rows["type"], rows["dev"], rows["kind"], rows["pid"] = RecordType.EVENT, 1, 1, 4242
    rows["comm"] = np.void(b"seal-writer".ljust(16, b"\0"))
    for place, values in enumerate(fields):
        rows["time_ns"][place] = START + (first + place) * 1_500_000
        rows["seq"][place] = 10 + first + place
        for name, value in values.items():
            raw = np.void(value.ljust(16, b"\0")) if name == "comm" else value
            rows[name][place] = raw
    return rows


def announcement(ino: int, name: bytes, seq: int) -> list[np.ndarray[Any, Any]]:
    thing, piece = np.zeros(1, OBJECT), np.zeros(1, NAME)
    for row in (thing, piece):
        row["dev"], row["ino"], row["kind"] = 1, ino, 1
    thing["type"], thing["seq"], thing["name_len"] = RecordType.OBJECT, seq, len(name)
    piece["type"], piece["seq"], piece["length"] = RecordType.NAME, seq + 1, len(name)
    piece["text"] = np.void(name.ljust(NAME["text"].itemsize, b"\0"))
    return [thing, piece]


def clock() -> np.ndarray[Any, Any]:
    row = np.zeros(1, CLOCK)
    row["type"], row["cpu"], row["time_ns"] = RecordType.CLOCK, 0xFFFF, START
    row["realtime_ns"] = WALL
    return row


def loss(count: int) -> np.ndarray[Any, Any]:
    row = np.zeros(1, LOSS)
    row["type"], row["cpu"], row["seq"], row["cause"] = RecordType.LOSS, 0xFFFF, 1, 1
    row["count"] = row["total"] = count
    return row


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "x.seal"
    writer = RecordingWriter(path, {})
    parts = [clock(), *announcement(7, b"memfd:" + HOSTILE, 0), *announcement(8, b"memfd:plain", 2)]
    for rows in [*parts, events(FIELDS), loss(5)]:
        writer.append(rows)
    writer.close("test")
    return path


def call(*argv: str) -> int:
    verb = script.Script()
    return verb.run(verb.parser().parse_args(argv))


def test_text(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(str(recording)) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == GOLDEN
    assert all(line.isprintable() for line in GOLDEN)
    assert err.count("LOST 5 events: 5 no room in the ring buffer") == 2


@pytest.mark.parametrize("width", [80, 100, 133, 200])
def test_width_holds(recording: Path, capsys: pytest.CaptureFixture[str], width: int) -> None:
    call(str(recording), "--width", str(width))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(FIELDS)
    assert max(map(cells, lines)) <= width
    if width == 200:
        assert "0+4096 fd3" in lines[2]
        assert SHOWN[:20] in lines[0]


SELF_TESTS = {
    "exec": ("SEAL|EXEC", "CLOEXEC|NOEXEC_SEAL"),
    "none": ("SEAL|EXEC", "CLOEXEC|NOEXEC_SEAL"),
    "inaccessible": ("SEAL|INACCESSIBLE", "CLOEXEC|INACCESSIBLE"),
    "unknown": ("SEAL|0x20", "CLOEXEC|0x8"),
    None: ("SEAL|0x20", "CLOEXEC|0x8"),
}
"""What bit 0x20 was found to mean (None: the self-test did not run): a seal's name, a flag's."""


@pytest.mark.parametrize(("meaning", "words"), SELF_TESTS.items())
def test_bit_0x20_has_the_name_that_the_recorded_kernel_gives_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], meaning: str | None, words: tuple[str, str]
) -> None:
    path = tmp_path / "bit.seal"
    ran = meaning is not None
    told = {"bit_0x20": meaning} if ran else {}
    writer = RecordingWriter(path, {"self_test": {"ran": ran} | told})
    fields = [
        asked(op=9, arg=0x21, fd=3, seals_after=0x21, ino=8),
        asked(op=10, arg=9, answer=4, fd=-1, seals=0x20, seals_after=0x21, ino=9),
    ]
    for rows in (clock(), events(fields)):
        writer.append(rows)
    writer.close("test")

    def printed(*options: str) -> list[str]:
        assert call(str(path), *options) == 0
        return capsys.readouterr().out.splitlines()

    sealing, creation = (line.split() for line in printed())
    assert sealing[3:10] == ["add_seals", "memfd:0:1/8", "------", words[0], "fd3", "=", "0"]
    assert creation[3:9] == ["create", "memfd:0:1/9", "-----X", words[1], "=", "4"]

    # To programs they are numbers, whatever their names are.
    numbers = [[0x21, 0, 0x21], [9, 0x20, 0x21]]
    names = ("arg", "seals", "seals_after")
    lines = [json.loads(line) for line in printed("--json")]
    assert [[line[name] for name in names] for line in lines] == numbers
    table = list(csv.DictReader(printed("--csv")))
    assert [[int(row[name]) for name in names] for row in table] == numbers

    # A filter is written before anybody knows which recording it is for.
    for name in ("EXEC", "INACCESSIBLE", "F_SEAL_INACCESSIBLE", "X", "0x20"):
        assert len(printed("--filter", f"seals:+{name}")) == 1
        assert len(printed("--filter", f"seals_after:=SEAL|{name}")) == 2


def test_json(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(str(recording), "--json")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == len(FIELDS)
    for row, wanted in zip(rows, FIELDS, strict=True):
        for name in ("arg", "answer", "fd", "offset", "length", "flags", "check_answer"):
            assert row[name] == wanted.get(name, 0)
    assert list(rows[0])[:4] == ["time", "time_ns", "cpu", "seq"]
    assert rows[1]["time"] == "2026-11-22T17:48:10.001500Z"
    assert [row["verdict"] for row in rows[:2]] == ["allowed", "unexplained"]
    assert (rows[1]["request"], rows[1]["prot"]) == ("SHARED rw- 0+4096", ["READ", "WRITE"])
    assert (rows[1]["seals"], rows[1]["seal_list"]) == (11, ["SEAL", "SHRINK", "WRITE"])
    assert (rows[5]["add_seals"], "prot" in rows[5]) == (["WRITE", "0x40"], False)
    assert rows[4]["flag_list"] == ["raced", "raced-size"]
    assert rows[0]["name"] == "memfd:" + SHOWN
    assert [row["errno"] for row in rows[:3]] == [None, "EPERM", None]
    assert (rows[1]["op"], rows[1]["kind"], rows[1]["seals"]) == ("mmap", "memfd", 11)
    assert rows[6]["name"] is None


def test_events_out_of_order_are_told(
    recording: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call(str(recording))
    assert "too late" not in capsys.readouterr().err
    monkeypatch.setattr(Stream, "late", property(lambda _: 2, lambda *_: None), raising=False)
    call(str(recording))
    assert "2 events came too late to stand in the order of time" in capsys.readouterr().err


def test_csv_round_trip(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(str(recording), "--json")
    wanted = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    call(str(recording), "--csv")
    text = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(wanted)
    for row, want in zip(rows, wanted, strict=True):
        for name, value in want.items():
            if isinstance(value, list):
                assert name not in row
            elif isinstance(value, str):
                assert row[name].removeprefix("'") == value
                assert not row[name].startswith(("=", "+", "-", "@"))
            else:
                assert row[name] == ("" if value is None else str(value))
    assert rows[5]["comm"].startswith("'@evil")


def test_ops_and_limit(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(str(recording), "--ops", "mmap,write", "--limit", "3")
    assert capsys.readouterr().out.splitlines() == [GOLDEN[1], GOLDEN[2], GOLDEN[3]]
    call(str(recording), "--limit", "0")
    assert capsys.readouterr().out == ""
    with pytest.raises(UserError, match="mapp"):
        call(str(recording), "--ops", "mapp")
    with pytest.raises(UserError):
        call(str(recording), "--width", "10")
    with pytest.raises(UserError):
        call(str(recording), "--limit", "-1")
    with pytest.raises(UserError):
        call(str(recording / "no-such"))


# Filters over FIELDS and the places of the events they take.
FILTERS = {
    "op:mmap,write": [1, 2, 3, 7],
    "op:mmap,write ret:ok": [2, 3, 7],
    "!op:mmap,write": [0, 4, 5, 6],
    "ret:EPERM": [1],
    "ret:unknown": [6],
    "seals:+w": [1, 5],
    "seals:=Ss-w--": [1],
    "name:plain": [2, 3, 4, 5, 7],
    "plain seals:-f": [2, 3, 4, 7],
    f'name:"{SHOWN}"': [0, 1],
    f"name:memfd:{SHOWN[:6]}*": [0, 1],
    "!name:*": [6],
    r'comm:"@evil\x1b\n,""x"': [5],
    "EVIL": [5],
    "size:>=8K": [4],
    "length:34..4K fd:>2": [1, 2, 3, 4],
    "flag:raced": [4],
    "uid:0 cpu:0 duration:0 object:1:7": [0, 1],
    "pid:1": [],
    "verdict:unexplained": [1, 5],
    "op:mmap verdict:allowed,breach": [2],
    "!verdict:allowed reason:~return": [6],
    "severity:>=2 name:plain": [5],
}


@pytest.mark.parametrize(("text", "places"), FILTERS.items())
def test_filter(
    recording: Path, capsys: pytest.CaptureFixture[str], text: str, places: list[int]
) -> None:
    assert call(str(recording), "--filter", text) == 0
    assert capsys.readouterr().out.splitlines() == [GOLDEN[place] for place in places]
    call(str(recording), "--filter", text, "--json")
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["seq"] - 10 for row in rows] == places
    call(str(recording), "--filter", text, "--csv")
    lines = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert [int(line["seq"]) - 10 for line in lines] == places
    call(str(recording), "--filter", text, "--follow")
    assert capsys.readouterr().out.splitlines() == [GOLDEN[place] for place in places]


def test_filter_with_other_options(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(str(recording), "--filter", "plain", "--ops", "write,mmap", "--limit", "2")
    assert capsys.readouterr().out.splitlines() == [GOLDEN[2], GOLDEN[3]]
    call(str(recording), "--filter", "plain", "--filter", "!op:write")
    assert capsys.readouterr().out.splitlines() == [GOLDEN[2], GOLDEN[4], GOLDEN[5]]
    with pytest.raises(UserError, match="did you mean op"):
        call(str(recording / "no-such"), "--filter", "opp:mmap")


def test_filter_asks_for_each_name_once() -> None:
    """Objects are told apart by all three parts of the key, in tables of several chunks too."""
    import pyarrow as pa

    from tracer.filter.mask import matching
    from tracer.filter.query import parse

    keys = [(dev, ino, gen) for dev in (1, 2) for ino in (1, 1 << 40) for gen in (0, 5)]
    asked_for: list[int] = []

    class Counting(Identities):
        def names(self, table: pa.Table) -> list[str | None]:
            asked_for.append(table.num_rows)
            return super().names(table)

    names = Counting()
    names.announce(pa.table({**columns_of(keys), "name": [f"n{place}" for place in range(8)]}))
    many = pa.concat_tables([pa.table(columns_of([key] * 100)) for key in [*keys, *keys[::-1]]])
    many = many.append_column("place", pa.array(range(1600)))
    for place in range(8):
        [found] = matching(
            [many, many.slice(0, 0)], parse(f"name:n{place}"), names, Places(), Tasks()
        )
        wanted = [*range(place * 100, place * 100 + 100)]
        wanted += range(1500 - place * 100, 1600 - place * 100)
        assert found["place"].to_pylist() == wanted
    assert asked_for == [8, 0] * 8


def columns_of(keys: list[tuple[int, int, int]]) -> dict[str, list[int]]:
    return dict(zip(("dev", "ino", "gen"), map(list, zip(*keys, strict=True)), strict=True))


def test_follow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "live.seal"
    writer = RecordingWriter(path, {})
    writer.append(clock())

    def write() -> None:
        for place, values in enumerate(FIELDS):
            if place == 0:
                for row in announcement(7, b"memfd:late", 0):
                    writer.append(row)
            writer.append(events([values], place))
            writer.tick(time.monotonic())
            time.sleep(0.05)
        writer.close("test")

    thread = threading.Thread(target=write)
    thread.start()
    assert call(str(path), "--follow") == 0
    thread.join()
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line[:15] for line in lines] == [line[:15] for line in GOLDEN]
    assert "memfd:late" in lines[0]
    assert "still being written" in err


@pytest.mark.slow
def test_closed_pipe_is_quiet(recording: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "tracer.cli.main", "script", str(recording), "--json"]
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=root)
    os.close(writer)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


def test_help_needs_nothing_heavy() -> None:
    code = "from tracer.cli import script, ls; script.Script().parser(), ls.Ls().parser()"
    assert imported(code) & HEAVY == set()


def test_forged_text_cannot_reach_the_terminal() -> None:
    import pyarrow as pa

    names = Identities()
    names.announce(pa.table({"dev": [1], "ino": [2], "gen": [3], "name": ["\x1b]0;owned\x07"]}))
    words = pa.array(["mm\x1bap"]).dictionary_encode()
    table = pa.table({"op": words, "comm": words, "dev": [1], "ino": [2], "gen": [3]})
    [line] = Lines(names, WallClock(), UNKNOWN).of(table)
    assert line.isprintable()


def test_record_sizes_are_equal() -> None:
    assert HEAD.itemsize == EVENT.itemsize == NAME.itemsize


@pytest.mark.parametrize(
    ("width", "who", "object_"), [(40, 10, 9), (100, 15, 16), (132, 23, 26), (9999, 23, 80)]
)
def test_columns_grow_with_the_room_and_have_ends(width: int, who: int, object_: int) -> None:
    header = Lines(Identities(), WallClock(), UNKNOWN, width).header()
    assert (header.index("verdict") - header.index("process") - 1) == who
    assert (header.index("seals") - header.index("object") - 1) == object_


# ---- which events, in which order ------------------------------------------------------------


def made(path: Path, fields: list[dict[str, Any]]) -> str:
    writer = RecordingWriter(path, {})
    for rows in (clock(), *announcement(8, b"memfd:plain", 2), events(fields)):
        writer.append(rows)
    writer.close("test")
    return str(path)


def operations(capsys: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert call(*argv, "--json") == 0
    return [json.loads(line)["op"] for line in capsys.readouterr().out.splitlines()]


def test_mappings_and_evictions_only_with_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ops = {"create": 10, "map": 12, "unmap": 13, "mmap": 1, "evict": 14}
    path = made(tmp_path / "x.seal", [asked(op=op, ino=8) for op in ops.values()])
    assert operations(capsys, path) == ["create", "mmap"]
    assert operations(capsys, path, "--all") == [*ops]
    for asked_for in (["--ops", "map,evict"], ["--filter", "op:map,evict"]):
        assert operations(capsys, path, *asked_for) == ["map", "evict"]
    assert operations(capsys, path, "--filter", "!op:create") == ["mmap"]


def test_the_order_of_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A call that takes long arrives behind those that were made meanwhile."""
    times = [5, 9, 7, 1, 3]
    fields = [asked(op=3, ino=8, time_ns=START + ms * 10**6) for ms in times]
    path = made(tmp_path / "x.seal", fields)
    assert call(path) == 0
    shown = [line[9:12] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["001", "003", "005", "007", "009"]
    call(path, "--limit", "2")
    assert [line[9:12] for line in capsys.readouterr().out.splitlines()] == ["001", "003"]


@pytest.mark.parametrize(
    ("given", "places"),
    [
        (["--since", "0.0045"], [3, 4, 5, 6, 7]),
        (["--until", "0.0045"], [0, 1, 2]),
        (["--since", "17:48:10.003", "--until", "17:48:10.006"], [2, 3]),
        (["--since", "2026-11-22T17:48:10.009Z"], [6, 7]),
        (["--since", "-0.001"], [7]),
    ],
)
def test_a_part_of_it(
    recording: Path, capsys: pytest.CaptureFixture[str], given: list[str], places: list[int]
) -> None:
    assert call(str(recording), *given) == 0
    assert capsys.readouterr().out.splitlines() == [GOLDEN[place] for place in places]


def test_a_long_name_is_found_in_a_pipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.seal"
    name = b"ring-" + b"x" * 90
    writer = RecordingWriter(path, {})
    for rows in (clock(), *announcement(8, name, 2), events([asked(op=3, ino=8)])):
        writer.append(rows)
    writer.close("test")
    call(str(path))
    assert f"memfd:{name.decode()} " in capsys.readouterr().out
    call(str(path), "--width", "120")
    assert "memfd:ring-xx" in (line := capsys.readouterr().out)
    assert name.decode() not in line


def test_days_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    later = clock()
    later["time_ns"] += 10 * 3600 * 10**9
    later["realtime_ns"] += 10 * 3600 * 10**9
    later["seq"] = 1
    path = tmp_path / "x.seal"
    writer = RecordingWriter(path, {})
    for rows in (clock(), events([asked(op=3, ino=8)]), later):
        writer.append(rows)
    writer.close("test")
    call(str(path))
    assert capsys.readouterr().out.startswith("2026-11-22 17:48:10.000000 ")


@pytest.mark.parametrize("name", ["debian-6.1", "debian-7.3"])
def test_verdicts_are_those_of_the_report(name: str) -> None:
    """Both by the one driver, one without sums."""
    path = ROOT / "samples" / "recordings" / f"{name}.seal"
    with Recording.open(path) as found:
        shown = Counter(
            verdict
            for table in Stream(found).tables()
            for verdict in table.column("verdict").to_pylist()
        )
        counted = summarize([found]).verdicts
    del shown[None]
    assert shown == Counter({word: count for word, count in counted.items() if count})
    assert shown["breach"] > 0
