"""``sealsnoop report`` from recordings to every form: right numbers, or a clear word."""

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.imported import HEAVY, imported
from tests.unit.output.report_recordings import (
    ALLOWED,
    BLOCKED,
    BREACH,
    ERROR,
    START,
    UNEXPLAINED,
    WALL,
    announcement,
    clock,
    events,
    loss,
    write,
)
from tests.unit.recording.store_records import killed, mixed
from tracer.cli.main import main
from tracer.output.console import Reading
from tracer.output.report import TABLES
from tracer.output.tables import WORST_FIRST
from tracer.recording.writer import RecordingWriter
from tracer.walltime import time_of_day
from tracer.words import Hook

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = sorted((ROOT / "samples" / "recordings").glob("*.seal"))
ROWS = [ALLOWED, ALLOWED, BREACH, BLOCKED, BLOCKED, ERROR, UNEXPLAINED, ALLOWED, BLOCKED, ALLOWED]
COUNTS = {"breach": 1, "unexplained": 1, "indeterminate": 0, "blocked": 3, "error": 1, "allowed": 4}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # paths in the output are short then
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def recording(here: None) -> Path:
    return write(Path("w.seal"), ROWS)


Capture = pytest.CaptureFixture[str]


def body(capsys: Capture, *argv: object, code: int = 0) -> Any:
    assert main(["report", *map(str, argv), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def verdicts(capsys: Capture, *argv: object) -> dict[str, int]:
    return {word: count for word, count in body(capsys, *argv)["verdicts"].items() if count}


def failed(capsys: Capture, *argv: object) -> tuple[int, str]:
    code = 0
    try:
        code = main(["report", *map(str, argv)])
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, err + out


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("zone", ["CET-1CEST,M3.5.0,M10.5.0/3"], indirect=True)
def test_text(recording: Path, capsys: Capture) -> None:
    assert main(["report", str(recording)]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "1 breach: 1 new; 1 refusal that no seal explains"
    assert "10 decisions: 1 breach, 1 unexplained, 3 blocked, 1 error, 4 allowed" in lines
    assert "w.seal: 2026-11-22 18:48:10 CET, 1.000 s, host h1, kernel 6.1.0" in lines
    assert "coverage: 1 of 1 hooks live, nothing lost" in lines[-1]
    place = lines.index("NEW BREACH: 1 decision")
    assert " ".join(lines[place + 2].split()) == (
        "1x 18:48:10.200 writer/42 mmap memfd:frame ----f- SHARED rw- 0+4096 fd3"
    )
    assert "answered ok, expected EPERM: FUTURE_WRITE" in lines[place + 3]
    assert err == ""


def test_numbers(recording: Path, capsys: Capture) -> None:
    found = body(capsys, recording)
    assert found["verdicts"] == COUNTS
    assert list(found["verdicts"]) == list(WORST_FIRST)
    for name in ("object", "fd", "process", "op"):
        [row] = [row for row in found["tables"][name] if row["decisions"]]
        assert {word: row[word] for word in WORST_FIRST} == COUNTS
    rules = Counter[str]()
    for row in found["tables"]["rule"]:
        rules[row["verdict"]] += row["decisions"]
    assert rules == {word: count for word, count in COUNTS.items() if count}
    listed = Counter[str]()
    for row in found["listed"]:
        listed[row["verdict"]] += row["count"]
    assert listed == {word: count for word, count in COUNTS.items() if count and word != "allowed"}
    assert sum(step["decisions"] for step in found["over_time"]) == 10
    assert found["recordings"][0]["decisions"] == 10


@pytest.mark.parametrize(
    ("argv", "count"),
    [
        (["--since", "0.5"], 5),
        (["--since", "+500ms"], 5),
        (["--until", "0.5"], 5),
        (["--since", "0.2", "--until", "0.4"], 2),
        (["--since", "-0.35s"], 3),
        (["--since", "-350ms", "--until=-150ms"], 2),
        (["--since", "2026-11-22T17:48:10.5Z"], 5),
        (["--since", "2026-11-22T18:48:10+01:00", "--until", "2026-11-22T17:48:10.100Z"], 1),
        (["--until", "1h"], 10),
    ],
)
def test_windows(recording: Path, capsys: Capture, argv: list[str], count: int) -> None:
    assert sum(verdicts(capsys, recording, *argv).values()) == count


def test_the_files_of_a_window_are_as_they_were_then(tmp_path: Path, capsys: Capture) -> None:
    seal = {"op": 9, "arg": 2, "fd": 3, "seals": 0, "seals_after": 2, "size": 8192}
    path = write(Path("w.seal"), [ALLOWED, seal, ALLOWED | {"seals": 2, "seals_after": 2}])
    for until, seals in (("0.05", 0), ("0.15", 2)):
        [row] = body(capsys, path, "--until", until)["tables"]["object"]
        assert row["seals"] == seals
    [row] = body(capsys, path, "--since", "0.15")["tables"]["object"]
    assert (row["seals"], row["decisions"]) == (2, 1)


def test_filter(recording: Path, capsys: Capture) -> None:
    assert verdicts(capsys, recording, "--filter", "verdict:breach,blocked") == {
        "breach": 1, "blocked": 3
    }  # fmt: skip
    assert verdicts(capsys, recording, "--filter", "name:frame ret:EPERM") == {
        "unexplained": 1, "blocked": 3
    }  # fmt: skip
    found = body(capsys, recording, "--filter", "rule:mmap-write", "--filter", "ret:ok")
    assert found["question"]["filter"] == "rule:mmap-write ret:ok"
    assert found["verdicts"]["breach"] == sum(found["verdicts"].values()) == 1
    # Files that nothing was asked of do not answer.
    assert [row["name"] for row in found["tables"]["object"]] == ["memfd:frame"]
    found = body(capsys, recording, "--filter", "cgroup:5", code=4)
    assert (found["result"], found["tables"]["object"]) == ("nothing", [])


def test_filter_by_hook(tmp_path: Path, capsys: Capture) -> None:
    hooks = [Hook.MMAP, Hook.FILE_MMAP, Hook.MMAP]
    path = write(Path("h.seal"), [ALLOWED | {"hook": int(hook)} for hook in hooks])
    for text, count in (("hook:mmap", 2), ("!hook:mmap", 1), ("hook:mmap,file_mmap", 3)):
        assert verdicts(capsys, path, "--filter", text) == {"allowed": count}


@pytest.mark.parametrize(
    ("words", "code"),
    [("breach", 2), ("unexplained,loss", 2), ("indeterminate", 0), ("loss", 0), ("", 0)],
)
def test_fail_on(recording: Path, capsys: Capture, words: str, code: int) -> None:
    assert main(["report", str(recording), "--fail-on", words, "--json"]) == code
    out, err = capsys.readouterr()
    assert json.loads(out)["verdicts"] == COUNTS
    assert ("--fail-on: there is" in err) == (code == 2)


def test_fail_on_loss(tmp_path: Path, capsys: Capture) -> None:
    path = write(Path("w.seal"), [ALLOWED], loss(5))
    assert failed(capsys, path, "--fail-on", "loss")[0] == 2
    # That there was none is not certain.
    assert failed(capsys, path, "--fail-on", "breach")[0] == 3
    lines = failed(capsys, path)[1].splitlines()
    assert lines[0] == "No breach seen, but not certain: 5 events were lost"
    assert "--ring" in lines[1]
    assert any(line.startswith("  ! LOST 5 events: 5 no room in the ring buffer") for line in lines)


def test_fail_on_where_nothing_was_judged(recording: Path, capsys: Capture) -> None:
    nothing = ("--filter", "name:nobody-is-called-this")
    assert failed(capsys, recording, *nothing, "--fail-on", "breach")[0] == 4
    assert failed(capsys, recording, *nothing)[0] == 4


def test_late_seals_and_holders(capsys: Capture) -> None:
    mapped = {"op": 12, "arg": 0x2B, "answer": 0x7F0000000000, "length": 4096, "mm": 5, "fd": -1}
    asked = {"op": 9, "fd": 3, "size": 8192, "size_after": 8192, "writable": 1}
    refused = asked | {"arg": 8, "answer": -16}
    late = asked | {"arg": 0x10, "seals_after": 0x10}
    write(Path("w.seal"), [mapped | {"pid": 43, "tid": 43}, refused, late, BREACH])
    found = body(capsys, "w.seal")
    assert found["verdicts"]["blocked"] == found["verdicts"]["breach"] == 1
    [row] = found["busy"]
    assert (row["name"], row["pid"], row["added"], row["writable"], row["holders"]) == (
        "memfd:frame", 42, 8, 1, "writer/43"
    )  # fmt: skip
    [row] = found["late_seals"]
    assert (row["seal"], row["writable"], row["time_ns"]) == (
        "FUTURE_WRITE", 1, START + 200_000_000
    )  # fmt: skip
    assert [(row["seals"], row["seals_after"]) for row in found["seals"]] == [(0, 0x10)]
    assert main(["report", "w.seal"]) == 0
    at = time_of_day(WALL + 100_000_000)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"1x memfd:frame {at} WRITE writer/42 1 writer/43" in lines
    for argv in (["--since", "0.25"], ["--filter", "name:~other"]):
        found = body(capsys, "w.seal", *argv, code=0 if "--since" in argv else 4)
        assert found["busy"] == found["late_seals"] == found["seals"] == []
    assert len(body(capsys, "w.seal", "--filter", "verdict:breach")["late_seals"]) == 1


def test_csv(recording: Path, capsys: Capture) -> None:
    for table in TABLES:
        assert main(["report", str(recording), "--csv", "--by", table]) == 0
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert sum(int(row["decisions"]) for row in rows) == 10
    assert main(["report", str(recording), "--csv", "--top", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_html(recording: Path, tmp_path: Path, capsys: Capture) -> None:
    file = Path("r.html")
    assert main(["report", str(recording), "--html", str(file)]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"sealsnoop: wrote {file}\n")
    assert file.read_text().startswith("<!doctype html>")
    assert main(["report", str(recording), "--html", "-"]) == 0
    assert capsys.readouterr().out == file.read_text()
    code, said = failed(capsys, recording, "--html", Path("no", "r.html"))
    assert code == 1
    assert "No such file" in said


def test_hosts_are_never_mixed(tmp_path: Path, capsys: Capture) -> None:
    a = write(Path("a.seal"), [ALLOWED, BREACH])
    b = write(Path("b.seal"), [BLOCKED], host="h2", boot_id="b2", name=b"memfd:frame")
    found = body(capsys, a, b)
    rows = [row for row in found["tables"]["object"] if row["name"] == "memfd:frame"]
    assert [(row["host"], row["boot_id"], row["decisions"]) for row in rows] == [
        ("h1", "b1", 2), ("h2", "b2", 1)
    ]  # fmt: skip
    assert [one["decisions"] for one in found["recordings"]] == [2, 1]
    assert {step["host"] for step in found["over_time"]} == {"h1", "h2"}
    assert main(["report", str(a), str(b)]) == 0
    assert "  host  " in capsys.readouterr().out


def test_a_recording_that_cannot_be_read_is_part_of_the_answer(
    tmp_path: Path, capsys: Capture
) -> None:
    a = write(Path("a.seal"), [ALLOWED])
    Path("b.seal").mkdir()
    found = body(capsys, a, Path("b.seal"), Path("c.seal"), code=3)
    assert [one["path"] for one in found["unread"]] == ["b.seal", "c.seal"]
    assert all(one["problem"] for one in found["unread"])
    assert found["summary"].endswith("2 of 3 recordings could not be read")
    assert found["result"] == "uncertain"
    assert main(["report", str(a), "c.seal"]) == 3
    assert "not read: c.seal: " in capsys.readouterr().out
    assert main(["report", str(a), "c.seal", "--csv"]) == 3
    assert "not read: c.seal: " in capsys.readouterr().err
    assert main(["report", "b.seal", "c.seal"]) == 1
    Path("x\x1b[2Jx.seal").mkdir()  # the name of somebody else's folder, by a pattern
    assert main(["report", "x*.seal"]) == 1
    assert "\x1b" not in capsys.readouterr().err


def test_patterns(tmp_path: Path, capsys: Capture) -> None:
    for host in ("a", "b"):
        Path(f"host={host}").mkdir()
        write(Path(f"host={host}", "[x].seal"), [ALLOWED], host=host, boot_id=host)
    found = body(capsys, Path("host=*/*.seal"))
    assert [one["path"] for one in found["recordings"]] == ["host=a/[x].seal", "host=b/[x].seal"]
    found = body(capsys, Path("host=a/[x].seal"))  # as it is, though it looks like a pattern
    assert len(found["recordings"]) == 1
    assert main(["report", "*.none"]) == 1
    assert "matches this pattern" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["--json", "--filter=op:mmap", "--csv"])
def test_by_two_processes_it_is_the_same(form: str) -> None:
    """In a process of its own: what multiprocessing starts ends with it."""
    found = [
        subprocess.run(
            [sys.executable, "-m", "tracer.cli.main", "report", *map(str, SAMPLES), form, *jobs],
            capture_output=True, text=True, cwd=ROOT,
        )
        for jobs in ([], ["--jobs", "2"])
    ]  # fmt: skip
    assert found[0].stdout
    assert found[1].stdout == found[0].stdout
    assert found[1].stderr == found[0].stderr
    assert found[1].returncode == found[0].returncode


def test_recordings_of_one_boot_are_one_host(tmp_path: Path, capsys: Capture) -> None:
    a = write(Path("a.seal"), [ALLOWED, BREACH])
    b = write(Path("b.seal"), [BLOCKED], start_ns=START + 10**9)
    found = body(capsys, a, b)
    [row] = [row for row in found["tables"]["object"] if row["decisions"]]
    assert (row["decisions"], row["breach"], row["blocked"]) == (3, 1, 1)
    assert len(found["recordings"]) == 2


def test_each_recording_has_a_window_of_its_own(tmp_path: Path, capsys: Capture) -> None:
    a = write(Path("a.seal"), [ALLOWED] * 4)
    b = write(Path("b.seal"), [ALLOWED] * 6, boot_id="b2", start_ns=START * 7)
    found = body(capsys, a, b, "--since", "0.25")
    assert [one["decisions"] for one in found["recordings"]] == [1, 3]


def test_diff(tmp_path: Path, capsys: Capture) -> None:
    a = write(Path("a.seal"), [BREACH, ALLOWED])
    b = write(Path("b.seal"), [BLOCKED, ALLOWED], boot_id="b2", release="7.3.0")
    found = body(capsys, "--diff", a, b, code=2)
    assert found["result"] == "different"
    assert found["summary"] == (
        "The kernels differ (A 6.1.0, B 7.3.0) in 1 class of calls (mmap 1); breaches: A 1, B 0"
    )
    [row] = found["decisions"]
    assert (row["change"], row["op"], row["seals"], row["request"]) == (
        "answer", "mmap", 0x10, "SHARED rw-"
    )  # fmt: skip
    assert row["a"] == [{"verdict": "breach", "answer": "ok", "count": 1}]
    assert row["b"] == [{"verdict": "blocked", "answer": "EPERM", "count": 1}]
    assert found["same"] == 1
    [file] = found["objects"]
    assert (file["name"], file["a"], file["b"]) == (
        "memfd:frame", {"breach": 1, "allowed": 1}, {"blocked": 1, "allowed": 1}
    )  # fmt: skip
    for form in ([], ["--csv"], ["--html", "-"]):
        assert main(["report", "--diff", str(a), str(b), *form]) == 2
        assert "SHARED rw-" in capsys.readouterr().out
    assert failed(capsys, "--diff", a, b, "--fail-on", "difference")[0] == 2
    assert (
        failed(capsys, "--diff", a, b, "--fail-on", "difference", "--filter", "seals:none")[0] == 0
    )


def test_bad_words(recording: Path, tmp_path: Path, capsys: Capture) -> None:
    other = write(Path("o.seal"), [])
    for argv, said in (
        ([], "RECORDING"),
        ([recording, recording], "given twice"),
        ([recording, f"{recording}/../w.seal"], "given twice"),
        ([recording, "--filter", "op:mmpa"], "did you mean mmap"),
        ([recording, "--filter", "op:mmpa"], "^^^"),
        ([recording, "--since", "soon"], "--since"),
        ([recording, "--since", "0.5", "--until", "0.5"], "--since is not before --until"),
        ([recording, "--top", "0"], "--top"),
        ([recording, "--by", "objekt"], "did you mean object"),
        ([recording, "--fail-on", "breech"], "did you mean breach"),
        ([recording, "--fail-on", ","], "names nothing"),
        ([recording, "--fail-on", "difference"], "only with --diff"),
        ([recording, "--json", "--csv"], "not allowed with"),
        ([recording, "--html", "-", "--by", "op"], "--by"),
        (["--diff", recording], "two recordings, 1 given"),
        (["--diff", recording, other, "--by", "op"], "--by"),
    ):
        code, text = failed(capsys, *argv)
        assert code == 1, argv
        assert said in text


def test_bad_recordings(tmp_path: Path, capsys: Capture) -> None:
    code, said = failed(capsys, Path("none.seal"))
    assert (code, "there is no such file or folder" in said) == (1, True)
    Path("folder").mkdir()
    code, said = failed(capsys, Path("folder"))
    assert (code, "no sealsnoop recording" in said) == (1, True)
    future = write(Path("future.seal"), [ALLOWED])
    written = json.loads((future / "manifest.json").read_text())
    (future / "manifest.json").write_text(json.dumps(written | {"schema_version": 99}))
    code, said = failed(capsys, future)
    assert (code, "newer sealsnoop" in said) == (1, True)
    good = write(Path("good.seal"), [ALLOWED])
    assert failed(capsys, good, future)[0] == 3  # the other one is the answer


def test_an_empty_recording(tmp_path: Path, capsys: Capture) -> None:
    path = Path("empty.seal")
    RecordingWriter(path, {}).close("interrupted")
    code, said = failed(capsys, path)
    assert code == 4
    assert "no decision was recorded" in said
    assert "start unknown" in said
    for form in (["--json"], ["--csv"], ["--html", "-"], ["--since", "1"], ["--since", "-1s"]):
        assert failed(capsys, path, *form)[0] == 4
    assert failed(capsys, "--diff", path, write(Path("b.seal"), [ALLOWED]))[0] == 4


def test_a_recording_that_was_cut(tmp_path: Path, capsys: Capture) -> None:
    path = write(Path("w.seal"), ROWS)
    killed(path)
    os.utime(path / "lock", (0, 0))  # as if the other machine, which wrote it, were long silent
    [part] = (path / "events").iterdir()
    part.write_bytes(part.read_bytes()[:-100])
    code, said = failed(capsys, path)
    assert code == 3
    first, *more = said.splitlines()
    assert first.startswith(
        "No decision was recorded, but not certain: the recorder was killed; events/000000.parquet "
    )
    assert (
        "  ! The recorder was killed or the machine went down: the last events may be missing."
    ) in more
    assert "Its rows are missing" in said
    assert "NOT WHOLE" in more[-1]
    assert "nothing lost" not in said
    assert failed(capsys, path, "--fail-on", "loss")[0] == 2


def test_a_recording_that_grows(capsys: Capture) -> None:
    writer = RecordingWriter(Path("live.seal"), {})
    for part in (*announcement(7, b"memfd:frame", 0), events([ALLOWED, BREACH])):
        writer.append(part)
    writer.tick(1e9)
    try:
        code, said = failed(capsys, "live.seal", "--fail-on", "loss")
        assert code == 0  # nothing was lost so far
        assert "still being written" in said
        assert "2 decisions" in said
        assert "killed" not in said
    finally:
        writer.close("test")


def test_a_time_that_cannot_be_found(tmp_path: Path, capsys: Capture) -> None:
    path = write(Path("w.seal"), ROWS, clocks=False)
    code, said = failed(capsys, path, "--since", "2026-11-22T17:48:10Z")
    assert (code, "has no clock readings" in said) == (1, True)
    assert sum(verdicts(capsys, path, "--since", "-0.35s").values()) == 4


def test_windows_beside_the_recording_are_told(recording: Path, capsys: Capture) -> None:
    code, said = failed(capsys, recording, "--since", "5")
    assert (code, "ended before --since" in said, "no decision matches" in said) == (
        4, True, True
    )  # fmt: skip
    code, said = failed(capsys, recording, "--until", "2020-01-01")
    assert (code, "started after --until" in said) == (4, True)


def test_a_clock_that_jumped_is_told(tmp_path: Path, capsys: Capture) -> None:
    path = write(Path("w.seal"), ROWS, clock(START + 2 * 10**9, WALL + 3602 * 10**9, 5))
    said = failed(capsys, path, "--since", "2026-11-22T17:48:10.5Z")[1]
    assert "the wall clock was set by 3600 s" in said
    assert "5 decisions" in said
    assert "wall clock" not in failed(capsys, path, "--since", "0.5")[1]


@pytest.mark.parametrize("seed", range(2))
def test_any_bytes_can_be_reported(tmp_path: Path, capsys: Capture, seed: int) -> None:
    path = Path("any.seal")
    writer = RecordingWriter(path, {"host": "\x1b[2J", "boot_id": "b"})
    writer.append(mixed(400, seed))
    writer.close("\x1b]0;x\x07")
    other = write(Path("b.seal"), ROWS, boot_id="b2")
    for argv in (
        [path], [path, "--json"], [path, "--csv", "--by", "fd"], [path, "--html", "-"],
        [path, other, "--by", "rule"], ["--diff", path, other], ["--diff", other, path, "--json"],
        [path, "--filter", "name:~x !verdict:allowed", "--since", "-10s"],
    ):  # fmt: skip
        code, said = failed(capsys, *argv)
        assert code in (2 if "--diff" in argv else 3, 3)
        assert all(line.isprintable() for line in said.splitlines())


def test_help_needs_nothing_heavy() -> None:
    code = "from tracer.cli import report; report.Report().parser()"
    assert imported(code) & HEAVY == set()


@pytest.mark.parametrize("form", [["--json"], []])
def test_a_closed_pipe_is_quiet(recording: Path, form: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "tracer.cli.main", "report", str(recording.resolve()), *form]
    with contextlib.closing(os.fdopen(writer, "wb")) as out:
        done = subprocess.run(
            [*argv, "--fail-on", "breach"], stdout=out, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
    assert done.returncode == 2  # what was found does not depend on who reads it
    assert done.stderr == "sealsnoop: --fail-on: there is breach\n"


def test_a_full_disk_is_told(recording: Path) -> None:
    argv = [sys.executable, "-m", "tracer.cli.main", "report", str(recording.resolve())]
    with open("/dev/full", "wb") as out:
        done = subprocess.run(argv, stdout=out, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr == "sealsnoop: writing the result: No space left on device\n"


def test_progress_is_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        times = iter([0.0, 0.5, 2.0, 2.1, 9.0])
        monkeypatch.setattr("time.monotonic", lambda times=times: next(times))
        with Reading() as reading:
            for count in (1, 2, 3, 4):
                reading.step("a\x1bb.seal", count)
        text = stream.getvalue()
        assert ("2 events" in text) == shown  # after a second
        assert "1 events" not in text
        assert "3 events" not in text  # too soon after that
        assert "a\x1bb" not in text
        assert text.endswith("\r\x1b[K") or not shown
