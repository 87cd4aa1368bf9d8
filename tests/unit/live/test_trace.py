"""``sealsnoop trace``: decisions as lines, held against what the workload itself was answered."""

import gzip
import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.bench.analysis import synthetic
from tracer.cli.main import main
from tracer.cli.trace import Trace as Verb
from tracer.errors import UserError
from tracer.escape import unescape
from tracer.filter.query import parse
from tracer.live.recorder import Recorder
from tracer.live.trace import Printer, Setters, Trace, line, named_seals, why
from tracer.words import EXEC, Seal

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "samples" / "recordings"
SAMPLE = SAMPLES / "debian-7.3.seal"
WRITER = (sys.executable, "-m", "tests.tty.writer")
_UNHEARD = "reaches_kernel_hook"


def truth(name: str) -> list[dict[str, Any]]:
    """What a program of samples/ was answered, call by call."""
    with gzip.open(SAMPLES / f"debian-7.3.{name}.jsonl.gz", "rt") as file:
        return [json.loads(text) for text in file]


def traced(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(["trace", str(SAMPLE), *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def test_each_refusal_of_the_workload_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = traced(capsys)
    refused = {
        (f"{call['op']} ", f"{call['object']}:{call['name']} -> {call['errno']}")
        for name in ("workload", "holes")
        for call in truth(name)
        if call["type"] == "call" and call["errno"] == "EPERM" and call[_UNHEARD]
    }
    assert len(refused) > 30
    missing = [
        (op, answer)
        for op, answer in refused
        if not any(f" {op}" in text and answer in text for text in lines)
    ]
    assert missing == [], lines[:3]


def test_a_refusal_names_the_seal_and_who_set_it(capsys: pytest.CaptureFixture[str]) -> None:
    pid = truth("holes")[0]["pid"]
    found = [text for text in traced(capsys) if " memfd:w" in text and "-> EPERM  F_SEAL" in text]
    assert found
    for text in found:
        assert re.search(r"  F_SEAL_[A-Z_|SEAL]+, set \d+(µs|ms|ns) before by workload/\d+$", text)
    [hole, *_] = [text for text in traced(capsys) if "BREACH" in text]
    assert f" holes/{pid} " in hole
    assert "BREACH, should be EPERM: F_SEAL_FUTURE_WRITE, set " in hole
    assert hole.endswith("(a known hole: future-write-mremap)")


def test_all_are_as_many_as_the_workload_made(capsys: pytest.CaptureFixture[str]) -> None:
    lines = traced(capsys, "--all", "--filter", "op:write")
    made = [
        call
        for name in ("workload", "holes")
        for call in truth(name)
        if call["type"] == "call" and call["op"] == "write" and call[_UNHEARD]
    ]
    assert len(lines) == len(made) > 50
    assert len(traced(capsys, "--filter", "op:write")) < len(lines)


def test_json_lines_carry_verdict_reason_and_wall_clock(capsys: pytest.CaptureFixture[str]) -> None:
    found = [json.loads(text) for text in traced(capsys, "--json", "--filter", "verdict:breach")]
    assert {one["verdict"] for one in found} == {"breach"}
    assert {one["hole"] for one in found} >= {"hugetlb-grow", "future-write-mremap"}
    for one in found:
        assert one["why"].startswith(f"BREACH, should be {one['expected']}: ")
        there = datetime.fromisoformat(one["time"])
        assert there.tzinfo is not None
        assert there.year == 2026


def test_filters_ask_for_judged_columns_and_say_what_is_wrong() -> None:
    verb = Verb()
    args = verb.parser().parse_args([str(SAMPLE), "--filter", "verdikt:breach"])
    args.command = []
    with pytest.raises(UserError, match="there is no key 'verdikt'; did you mean verdict"):
        verb.run(args)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pid", "1"], "--pid=1: nothing is recorded when a RECORDING is followed"),
        (["-o", "x"], "-o: nothing is recorded when a RECORDING is followed"),
        (["--", "true"], "a command: nothing is recorded when a RECORDING is followed"),
        (["--on-violation", "no-such -x"], "'no-such' is not a program"),
    ],
)
def test_what_does_not_go_together(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["trace", str(SAMPLE), *words]) == 1
    assert message in capsys.readouterr().err


def test_an_audit_decides_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    policy = ROOT / "samples" / "policies" / "sealed-buffer.toml"
    code = main(["trace", str(SAMPLE), "--audit", str(policy), "--filter", "verdict:breach"])
    said = capsys.readouterr().err
    assert code == main(["audit", str(policy), str(SAMPLE)]) != 0
    assert "sealsnoop: audit: " in said
    capsys.readouterr()


def test_only_who_changed_a_seal_is_its_setter() -> None:
    setters, key = Setters(), (1, 2, 3)
    setters.saw(key, 0, int(Seal.WRITE), 1_000_000, "a/1")
    # It asks for WRITE as well, which was there.
    setters.saw(key, int(Seal.WRITE), int(Seal.WRITE | Seal.GROW), 3_000_000, "b/2")
    assert setters.text(key, Seal.WRITE, 9_000_000) == "set 8ms before by a/1"
    assert setters.text(key, Seal.GROW, 9_000_000) == "set 6ms before by b/2"
    assert setters.text(key, Seal.WRITE, 999_999) == ""
    assert setters.text((1, 2, 4), Seal.WRITE, 9_000_000) == ""
    told = row(time_ns=9_000_000, verdict=2, reason="WRITE|GROW|SHRINK")
    assert why(told, setters) == (
        "F_SEAL_WRITE, set 8ms before by a/1; F_SEAL_GROW, set 6ms before by b/2; F_SEAL_SHRINK"
    )
    # From before the trace: who asks for it again has not set it.
    setters.saw((1, 2, 5), int(Seal.WRITE), int(Seal.WRITE), 1_000_000, "thief/9")
    assert setters.text((1, 2, 5), Seal.WRITE, 9_000_000) == ""
    setters.made(key)
    assert setters.text(key, Seal.WRITE, 9_000_000) == ""


def test_words_of_a_reason() -> None:
    assert named_seals("FUTURE_WRITE|WRITE") == ("FUTURE_WRITE", "WRITE")
    assert named_seals("mapped writable") == ()
    assert named_seals("") == ()


def row(**more: Any) -> dict[str, Any]:
    return {
        "time_ns": 5, "comm": "p", "pid": 7, "op": "write", "kind": "memfd", "name": "memfd:x",
        "dev": 1, "ino": 2, "gen": 3, "arg": 0, "offset": 0, "length": 1, "size": 1, "seals": 0,
        "seals_after": 0, "answer": -1, "flags": 0, "verdict": 4, "expected": "ok", "reason": "",
        "hole": None,
        **more,
    }  # fmt: skip


def test_hostile_texts_stay_in_their_line() -> None:
    text = line(row(comm="\x1b[2J\n", name="a\u202e\nb"), None, Setters(), EXEC)
    assert text.isprintable()
    assert text.startswith("? \\x1b[2J\\n/7 write 0+1 memfd:a\\u202e\\nb -> EPERM  UNEXPLAINED")


def test_a_name_does_not_look_like_an_answer() -> None:
    """A line is read by its words: what others may choose is one."""
    text = line(row(comm="p/1 write", name="x -> = 1  allowed"), None, Setters(), EXEC)
    assert (
        text.split(" -> ")[0]
        == "? p/1\\x20write/7 write 0+1 memfd:x\\x20->\\x20=\\x201\\x20\\x20allowed"
    )
    assert text.split(" -> ")[1].startswith("EPERM  UNEXPLAINED")
    assert unescape(text.split()[4]) == b"memfd:x -> = 1  allowed"


def test_hostile_texts_in_json_are_harmless_when_decoded() -> None:
    lines: list[str] = []
    printer = Printer(
        lines.append, lambda time_ns: None, query=parse(""), all_=True, as_json=True, bit5=EXEC
    )
    text = printer.text(row(comm="\x1b[2J", name="a\nb"))
    found = json.loads(text)
    assert (found["comm"], found["name"], found["time"]) == ("\\x1b[2J", "a\\nb", None)
    assert text.isascii()


# ---- while it is written ---------------------------------------------------------------------


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_it_follows_a_recorder_and_ends_with_it(tmp_path: Path, at_home: None) -> None:
    path = tmp_path / "live.seal"
    recorder = Recorder(["--events", "3000"], path, [], tmp_path, WRITER)
    lines: list[str] = []
    recorder.wait_ready(lambda step, seconds: None)
    trace = Trace(str(path), lines.append, lines.append, query=parse(""), all_=True)
    before = time.monotonic()
    trace.run(lambda: None, lambda: time.monotonic() < before + 60)
    trace.close()
    recorder.let_end()
    assert recorder.code == 0
    assert "".join(lines).count("\n") == trace.printer.count == 3000


def test_what_is_lost_stands_between_the_lines(tmp_path: Path) -> None:
    from tracer.record import HEAD, LOSS, RecordType
    from tracer.recording.writer import RecordingWriter

    path = tmp_path / "lossy.seal"
    synthetic.write(path, 10, 2)
    with RecordingWriter(tmp_path / "b.seal", {}) as writer:
        import numpy as np

        rows = np.zeros(1, LOSS)
        rows["type"], rows["cause"], rows["count"] = RecordType.LOSS, 1, 12
        writer.append(rows.view(f"V{rows.itemsize}").view(HEAD))
    notes: list[str] = []
    trace = Trace(str(tmp_path / "b.seal"), notes.append, notes.append, query=parse(""))
    trace.step()
    trace.close()
    assert "LOST: 12 x no room in the ring buffer" in notes


def test_a_visible_recorder_has_our_streams(tmp_path: Path, at_home: None) -> None:
    """What it and its command print comes on standard error, and the command reads our input."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom tracer.live.recorder import Recorder\n"
        f"words = {WRITER!r}\n"
        "r = Recorder([], Path(sys.argv[1]), ['sh', '-c', 'read a; echo got $a'],"
        " Path(sys.argv[2]), words, visible=True)\n"
        "r.wait_ready(lambda *s: None)\nsys.exit(r.stop(print))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "v.seal"), str(tmp_path)]
    done = subprocess.run(
        command, input="x\n", capture_output=True, text=True, timeout=60, env={**os.environ}
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "got x\n" in done.stderr


def test_a_part_of_a_recording(capsys: pytest.CaptureFixture[str]) -> None:
    """Who set a seal before is known all the same."""
    verb = Verb()

    def printed(*argv: str) -> list[dict[str, Any]]:
        args = verb.parser().parse_args([str(SAMPLE), "--json", *argv])
        args.command = []
        assert verb.run(args) == 0
        return [json.loads(one) for one in capsys.readouterr().out.splitlines()]

    whole = printed()
    times = sorted(row["time"] for row in whole)
    middle = times[len(times) // 2]
    late = printed("--since", middle)
    assert late == [row for row in whole if row["time"] >= middle]
    assert printed("--until", middle) == [row for row in whole if row["time"] < middle]
    assert any("before by" in row["why"] for row in late)
    args = verb.parser().parse_args(["--since", "1"])
    args.command = []
    with pytest.raises(UserError, match="only of a RECORDING"):
        verb.run(args)
