"""A recording from start to end, with a ring that a test fills and a recording on a real disk."""

import errno
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from tests.unit.capture.synthetic_ring import SIZE, SyntheticRing
from tracer.capture import ring as ring_module
from tracer.capture import session as session_module
from tracer.capture.memory_files import Scan
from tracer.capture.processes import Identity
from tracer.capture.procfs import Scanner
from tracer.capture.program import COUNTS, Program
from tracer.capture.ring import STRIDE
from tracer.capture.session import Progress, Session
from tracer.capture.stacks.reader import StackReader
from tracer.capture.stacks.records import caller_records
from tracer.capture.virtual_machines import Machine, Numbers, Slot, Walked
from tracer.record import (
    EVENT,
    HEAD,
    USER_CPU,
    Flag,
    Hook,
    LossCause,
    MapsFrom,
    Op,
    RecordType,
    StackState,
)
from tracer.recording.errors import DiskFull
from tracer.recording.format import Limits
from tracer.recording.reader import Recording
from tracer.recording.writer import RecordingWriter


def events(first: int, count: int) -> Any:
    rows = np.zeros(count, EVENT)
    rows["type"], rows["op"], rows["ino"], rows["dev"] = RecordType.EVENT, Op.WRITE, 7, 1
    rows["seq"] = np.arange(first, first + count)
    rows["time_ns"] = rows["seq"] * 1000
    return rows.view(HEAD)


class FakeProgram:
    """The kernel side of a session: what `Program` is asked for, without a kernel."""

    def __init__(self) -> None:
        self.synthetic = SyntheticRing()
        self.calls: list[str] = []
        self.row = np.zeros(2, COUNTS)
        self.skipped: dict[str, int] = {}
        self.shown: set[tuple[int, int]] = set()
        self.identified = 0
        self.machines: Walked | OSError = Walked()
        self.at_detach: Callable[[], None] = lambda: None

    def ring(self) -> Any:
        return self.synthetic.reader

    def enable(self) -> None:
        self.calls.append("enable")

    def disable(self) -> None:
        self.calls.append("disable")

    def detach(self) -> None:
        self.calls.append("detach")
        self.at_detach()

    def counts(self) -> Any:
        self.calls.append("counts")
        return self.row.copy()

    def missed(self) -> dict[str, int]:
        return dict(self.skipped)

    def in_flight(self) -> int:
        return 3

    def show_mapped(self, fd: int, final: bool) -> None:
        name = os.readlink(f"/proc/self/fd/{fd}")
        self.calls.append(f"mapped {name} {'final' if final else 'first'}")

    def identify(self, folder: int) -> Identity | None:
        with suppress(OSError):  # it may have ended
            self.identified += os.path.samefile(f"/proc/self/fd/{folder}", f"/proc/{os.getpid()}")
        return Identity(5, 6, 7)

    def virtual_machines(self) -> Walked:
        if isinstance(self.machines, OSError):
            raise self.machines
        return self.machines

    def show_known_mapped(self, final: bool, shown: set[tuple[int, int]]) -> None:
        self.calls.append(f"known {'final' if final else 'first'}")
        self.shown = shown

    def send(self, first: int, count: int) -> None:
        self.synthetic.put(events(first, count))
        self.row["seq"][0] += count


class Setting:
    """A session on a fake program, writing ``tmp_path/x.seal``."""

    def __init__(self, path: Path, limits: Limits | None = None, audit: bool = False) -> None:
        self.path = path / "x.seal"
        self.program = FakeProgram()
        self.writer = RecordingWriter(self.path, {}, limits=limits)
        self.told: list[str] = []
        self.shown: list[Progress] = []
        self.session = Session(
            cast("Program", self.program),
            self.writer,
            self.told.append,
            audit,
        )

    def run(self, stop: Callable[[], str | None]) -> str:
        return self.session.run(stop, self.shown.append)

    def end(self, reason: str = "test") -> dict[str, Any]:
        final_seq = self.session.finish()
        self.writer.close(reason, final_seq, lost=self.session.losses)
        found = json.loads((self.path / "end.json").read_text())
        assert isinstance(found, dict)
        return found

    def table(self, name: str) -> list[dict[str, Any]]:
        with Recording.open(self.path) as recording:
            return [row for piece in recording.tables(name) for row in piece.to_pylist()]


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def stop_after(
    steps: Sequence[Callable[[], None]], reason: str = "enough"
) -> Callable[[], str | None]:
    """Does one thing at each look; then says ``reason``."""
    left = list(steps)

    def stop() -> str | None:
        if not left:
            return reason
        left.pop(0)()
        return None

    return stop


def test_a_look_takes_many_batches_but_not_for_ever(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ring_module, "BATCH", 5)
    monkeypatch.setattr(session_module, "_BATCHES", 4)
    setting.session.begin(with_baseline=False)
    left = []

    def look() -> None:
        left.append(setting.program.synthetic.reader.fill * SIZE / STRIDE)

    send = setting.program.send
    setting.run(stop_after([lambda: send(0, 33), look, look]))
    assert left == [13, 0]
    setting.end()
    assert [row["seq"] for row in setting.table("events")] == list(range(33))


def test_batches_arrive(setting: Setting) -> None:
    setting.session.begin(with_baseline=False)
    send = setting.program.send
    reason = setting.run(stop_after([lambda: send(0, 10), lambda: None, lambda: send(10, 200)]))
    assert reason == "enough"
    end = setting.end(reason)
    assert [row["seq"] for row in setting.table("events")] == list(range(210))
    assert (end["reason"], end["rows"], end["unsaved"]) == ("enough", 212, 0)
    assert end["final_seq"] == {"0": 210, str(USER_CPU): 2}
    assert end["lost"] == {}
    assert setting.told == []


def test_what_came_before_the_reason_is_taken(setting: Setting) -> None:
    """The last look at the ring is behind the look at the reason."""
    setting.session.begin(with_baseline=False)

    def stop() -> str:
        setting.program.send(0, 5)
        return "signal"

    assert setting.run(stop) == "signal"
    assert setting.program.synthetic.reader.fill == 0.0
    setting.end()
    assert len(setting.table("events")) == 5


def test_a_ring_is_taken_round_and_round(setting: Setting) -> None:
    setting.session.begin(with_baseline=False)
    ring = setting.program.synthetic
    total = 3 * ring.room
    sent = 0

    def stop() -> str | None:
        nonlocal sent
        if sent >= total:
            return "done"
        count = min(ring.room, 300)
        setting.program.send(sent, count)
        sent += count
        return None

    setting.run(stop)
    setting.end()
    assert [row["seq"] for row in setting.table("events")] == list(range(sent))


def test_order_of_beginning_and_end(setting: Setting) -> None:
    setting.session.begin(with_baseline=False)
    assert setting.program.calls == ["enable"]
    setting.run(lambda: "now")
    setting.end()
    assert setting.program.calls[:3] == ["enable", "disable", "detach"]
    assert set(setting.program.calls[3:]) == {"counts"}, "counts stand still only after detach"


def test_finish_takes_everything(setting: Setting) -> None:
    """What the hooks sent until they were off."""
    setting.session.begin(with_baseline=False)
    setting.run(lambda: "now")
    setting.program.at_detach = lambda: setting.program.send(0, 250)
    end = setting.end()
    assert len(setting.table("events")) == 250
    assert end["final_seq"]["0"] == 250


def test_finish_waits_for_a_record_that_is_being_written(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.session.begin(with_baseline=False)
    setting.run(lambda: "now")
    ring = setting.program.synthetic
    busy = ring.reserve(events(0, 1)[0])
    ring.put(events(1, 4))
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            ring.submit(busy)

    monkeypatch.setattr(time, "sleep", nap)
    setting.session.finish()
    monkeypatch.undo()
    setting.writer.close("test")
    assert len(naps) >= 3
    assert [row["seq"] for row in setting.table("events")] == [0, 1, 2, 3, 4]


def test_finish_does_not_wait_for_ever(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    setting.session.begin(with_baseline=False)
    setting.run(lambda: "now")
    ring = setting.program.synthetic
    ring.put(events(0, 2))
    ring.reserve(events(2, 1)[0])
    monkeypatch.setattr(session_module, "_LAST_RECORDS_S", 0.05)
    before = time.monotonic()
    setting.end()
    assert 0.05 <= time.monotonic() - before < 5
    assert [row["seq"] for row in setting.table("events")] == [0, 1]
    assert ring.reader.fill == STRIDE / ring.size


def test_losses_are_stored(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    program = setting.program
    setting.session.begin(with_baseline=False)
    monkeypatch.setattr(setting.session, "_next_second_s", 0.0)  # a second has passed

    def lose() -> None:
        program.row["lost"][1, Hook.WRITE, LossCause.RING_FULL] = 40
        program.row["totals"]["decided"][0, Hook.WRITE] = 90
        program.row["totals"]["dropped"][1, Hook.WRITE] = 20
        program.skipped = {"mmap": 2, "read": 0}

    setting.run(stop_after([lose, lambda: None, lambda: None]))
    assert setting.session.losses == {"ring_full": 40, "missed": 2}
    end = setting.end()
    assert end["lost"] == {"ring_full": 40, "missed": 2}
    assert (setting.session.progress.lost, setting.session.progress.events) == (42, 70)
    losses = setting.table("losses")
    found = {(row["hook"], row["cause"]): (row["count"], row["total"]) for row in losses}
    assert found == {("write", "ring_full"): (40, 40), ("mmap", "missed"): (2, 2)}
    assert setting.session.in_flight == 3


def test_what_was_skipped_before_the_beginning_is_no_loss(setting: Setting) -> None:
    program = setting.program
    program.skipped = {"mmap": 5, "read": 2}
    setting.session.begin(with_baseline=False)
    program.skipped["mmap"] = 6
    assert setting.end()["lost"] == {"missed": 1}
    found = [(row["hook"], row["cause"], row["total"]) for row in setting.table("losses")]
    assert found == [("mmap", "missed", 1)]


def test_own_records_are_numbered_without_a_hole(setting: Setting) -> None:
    taken: list[Any] = []
    keep = setting.writer.append

    def append(records: Any) -> None:
        taken.append(records.copy())
        keep(records)

    setting.writer.append = append  # type: ignore[method-assign]
    setting.session.begin()
    setting.program.send(0, 2)
    setting.run(lambda: "now")
    setting.program.row["lost"][0, Hook.MMAP, LossCause.NAME] = 1
    final_seq = setting.session.finish()
    setting.writer.close("test", final_seq)
    records = np.concatenate([batch for batch in taken if len(batch)])
    own = records[records["cpu"] == USER_CPU]
    assert own["seq"].tolist() == list(range(len(own)))
    assert final_seq == {0: 2, USER_CPU: len(own)}
    kinds = own["type"].tolist()
    assert (kinds[0], kinds[-1]) == (RecordType.CLOCK, RecordType.CLOCK)
    assert kinds.count(RecordType.CLOCK) == 2
    assert kinds.count(RecordType.LOSS) == 1
    assert records[records["cpu"] == 0]["seq"].tolist() == [0, 1]


def test_baseline(setting: Setting) -> None:
    fd = os.memfd_create("held before")
    ino = os.fstat(fd).st_ino
    setting.session.begin()
    os.close(fd)
    setting.run(lambda: "now")
    setting.end()
    rows = [row for row in setting.table("mappings") if row["ino"] == ino]
    assert [(row["pid"], row["fd"], row["op"]) for row in rows] == [(os.getpid(), fd, "open")]
    [thing] = [row for row in setting.table("objects") if row["ino"] == ino]
    assert thing["name"] == "memfd:held before"


def test_an_audit_sweeps_again_while_the_hooks_still_send(tmp_path: Path) -> None:
    setting = Setting(tmp_path, audit=True)
    fds = [os.memfd_create("held before")]
    setting.session.begin()
    setting.run(lambda: "now")
    fds.append(os.memfd_create("came later"))
    inos = [os.fstat(fd).st_ino for fd in fds]
    setting.end()
    for fd in fds:
        os.close(fd)
    rows = {
        (row["ino"], row["fd"]): row["flags"] & Flag.FINAL
        for row in setting.table("mappings")
        if row["ino"] in inos and row["op"] == "open" and row["pid"] == os.getpid()
    }
    identities = {
        (row["start_ns"], row["exec_id"], row["own_mm"]) for row in setting.table("mappings")
    }
    assert identities == {(5, 6, 7)}, "what the kernel itself says of each process"
    assert set(rows) == set(zip(inos, fds, strict=True))
    finals = [row["ino"] for row in setting.table("mappings") if row["flags"] & Flag.FINAL]
    assert set(inos) <= set(finals)
    told = [row["ino"] for row in setting.table("objects") if row["ino"] in inos]
    assert sorted(told) == sorted(inos), "each announced once"
    calls = setting.program.calls
    before, after = "/memfd:held before (deleted)", "/memfd:came later (deleted)"
    assert (
        calls.index("enable")
        < calls.index(f"mapped {before} first")
        < calls.index("known first")
        < calls.index(f"mapped {after} final")
    )
    assert f"mapped {after} first" not in calls
    assert {ino for _, ino in setting.program.shown} >= set(inos), "not shown twice"
    assert calls.index("known final") < calls.index("disable") < calls.index("detach")


@pytest.mark.parametrize(
    ("found", "known", "problem"),
    [
        (Walked([Machine(9, Numbers(5, 7, 0), [Slot(3, 0, 4096, 8192, 0, None, 0)])]), 1, ""),
        (Walked([], 2), 0, "2 virtual machines changed each time that they were read"),
        (Walked(why="no vm_list"), 0, "no vm_list"),
        (OSError(errno.EPERM, "not permitted"), 0, "not permitted"),
    ],
)
def test_an_audit_reads_which_machines_there_are(
    tmp_path: Path, found: Walked | OSError, known: int, problem: str
) -> None:
    setting = Setting(tmp_path, audit=True)
    setting.program.machines = found
    setting.session.begin()
    setting.run(lambda: "now")
    setting.end()
    start, final = setting.session.sweeps["start"], setting.session.sweeps["final"]
    assert start is not None
    assert final is not None
    assert (start["machines"], start["machines_problem"]) == (known, problem)
    assert "machines" not in final
    assert any(problem in text for text in setting.told) or not problem
    rows = [row for row in setting.table("mappings") if row["op"] == "memslot"]
    assert [(row["vm"], row["check_answer"], row["length"]) for row in rows] == (
        [(5, 3, 8192)] if known else [])  # fmt: skip
    # Whose address space that is /proc told; of several processes it is the first one's.
    assert all(row["pid"] and row["own_mm"] == 7 for row in rows)


def test_an_audit_without_the_kernels_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: FakeProgram, final: bool, shown: set[tuple[int, int]]) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(FakeProgram, "show_known_mapped", refuse)
    setting = Setting(tmp_path, audit=True)
    setting.session.begin(with_baseline=False)
    assert setting.told == ["whether files are mapped cannot be read: Operation not permitted"]
    setting.run(lambda: "now")
    setting.session.finish(with_baseline=False)
    setting.writer.close("test")


def test_an_audit_without_exact_identities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: FakeProgram, folder: int) -> Identity | None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(FakeProgram, "identify", refuse)
    setting = Setting(tmp_path, audit=True)
    with open(os.memfd_create("held"), "rb"):
        setting.session.begin()
    setting.writer.close("test")
    said = "which programs processes run cannot be read: Operation not permitted"
    assert setting.told.count(said) == 1
    rows = [row for row in setting.table("mappings") if row["pid"] == os.getpid()]
    assert {(row["exec_id"], row["own_mm"]) for row in rows} == {(0, 0)}
    assert all(row["start_ns"] for row in rows), "by /proc"


def test_who_scanned_has_ended(setting: Setting) -> None:
    setting.session.begin()
    assert not {"scan", "proc"} & {thread.name for thread in threading.enumerate()}
    setting.writer.close("test")


def test_only_audits_ask_who_processes_are(setting: Setting) -> None:
    setting.session.begin()
    setting.writer.close("test")
    assert setting.program.identified == 0


def test_no_proc_is_no_crash(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    def scan(self: Scanner) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(Scanner, "scan", scan)
    setting.session.begin()
    assert setting.program.calls == ["enable"]
    assert setting.told == ["no baseline: /proc cannot be read: No such file or directory"]
    setting.writer.close("test")


def test_who_interrupts_does_not_wait_for_proc(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its look at /proc may hang on somebody else's process; one Ctrl-C before it is no reason."""
    over = threading.Event()
    signals = ["before"]

    def scan(self: Scanner) -> Scan:
        signals.append("Ctrl-C")
        over.wait(30)
        return Scan(0, [])

    monkeypatch.setattr(Scanner, "scan", scan)
    setting.session._interrupts = lambda: len(signals)
    began_s = time.monotonic()
    setting.session.begin()
    assert time.monotonic() - began_s < 10
    over.set()
    assert setting.told == ["no baseline: /proc cannot be read: interrupted"]
    setting.writer.close("test")


class Clock:
    """In place of the module ``time``: it goes on by what is slept."""

    def __init__(self) -> None:
        self.began_s = self.now_s = time.monotonic()

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_progress_is_shown_a_few_times_a_second(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.session.begin(with_baseline=False)
    clock = Clock()  # this machine may be too busy for a few times a second
    monkeypatch.setattr(session_module, "time", clock)
    setting.run(lambda: "over" if clock.now_s > clock.began_s + 0.6 else None)
    assert 2 <= len(setting.shown) <= 4
    assert setting.shown[-1].seconds - setting.shown[0].seconds > 0.4
    assert setting.shown[-1].bytes > 0
    assert (setting.shown[-1].events, setting.shown[-1].lost) == (0, 0)
    setting.end()


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "disk"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(where)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: a full tmpfs needs root")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_full_disk(little_disk: Path) -> None:
    setting = Setting(little_disk, Limits(rows=1000, chunk_rows=100, direct_rows=500))
    setting.session.begin(with_baseline=False)
    ring = setting.program.synthetic
    random = np.random.default_rng(0)
    sent = 0

    def stop() -> str | None:
        nonlocal sent
        rows = events(sent, ring.room)
        noise = random.bytes(rows["body"].nbytes)  # nothing that could be compressed
        rows["body"] = np.frombuffer(noise, rows["body"].dtype)
        ring.put(rows)
        sent += len(rows)
        return None if sent < 1_000_000 else "no end"

    with pytest.raises(DiskFull, match="no space left on the device"):
        setting.run(stop)
    setting.writer.close("storage failed", error="told elsewhere")  # as `sealsnoop record` does
    end = json.loads((setting.path / "end.json").read_text())
    assert (end["reason"], end["asked_reason"]) == ("disk full", "storage failed")
    found = [row["seq"] for row in setting.table("events")]
    assert len(found) > 1000
    assert found == list(range(len(found)))
    # one more is there, or was not saved: our own clock record
    assert len(found) + end["unsaved"] in (end["rows"], end["rows"] - 1)


@pytest.mark.parametrize("audit", [False, True])
def test_a_flood_is_stopped_at_the_size_asked_for(tmp_path: Path, audit: bool) -> None:
    most = 1 << 20
    setting = Setting(tmp_path, Limits(rows=1000, chunk_rows=100, direct_rows=500), audit)
    setting.session._most_bytes = most
    setting.session.begin(with_baseline=False)
    random = np.random.default_rng(0)
    ring = setting.program.synthetic
    sent = 0

    def stop() -> str | None:
        nonlocal sent
        rows = events(sent, min(ring.room, 1000))
        rows["body"] = np.frombuffer(random.bytes(rows["body"].nbytes), rows["body"].dtype)
        ring.put(rows)
        sent += len(rows)
        return None if sent < 200_000 else "no end"

    assert setting.run(stop) == "full"
    assert setting.session.full
    setting.end()
    on_disk = sum(path.stat().st_size for path in setting.path.rglob("*") if path.is_file())
    in_memory = 2 * 1000 * HEAD.itemsize  # one segment, and the one before on its way
    assert most / 2 < on_disk < most + SIZE + in_memory + (1 << 18)
    assert len(setting.table("events")) == sent, "all that came until then"
    assert "known final" not in setting.program.calls, "no last look: it takes room too"


class FakeStacks:
    """What `tracer.capture.stacks.reader.StackReader` gives a session."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failure: BaseException | None = None
        self.ready: list[Any] = []

    def start(self) -> None:
        self.calls.append("start")

    def take(self) -> Any:
        return self.ready.pop(0) if self.ready else None

    def finish(self) -> Any:
        self.calls.append("finish")
        return caller_records(9, 0, StackState.LOST, MapsFrom.NONE)


def test_stacks_are_stored_and_numbered(setting: Setting) -> None:
    stacks = FakeStacks()
    setting.session._stacks = cast("StackReader", stacks)
    setting.session.begin(with_baseline=False)
    setting.run(
        stop_after(
            [
                lambda: stacks.ready.append(
                    caller_records(3, 1, StackState.WHOLE, MapsFrom.KERNEL)
                ),
                lambda: None,
            ]
        )
    )
    end = setting.end()
    assert stacks.calls == ["start", "finish"]
    rows = setting.table("callers")
    assert [(row["sample"], row["state"]) for row in rows] == [(3, "whole"), (9, "lost")]
    own = [*rows, *setting.table("clocks"), *setting.table("totals"), *setting.table("losses")]
    assert sorted(row["seq"] for row in own) == [*range(end["final_seq"][str(USER_CPU)])]


def test_stacks_that_fail_are_told_once(setting: Setting) -> None:
    stacks = FakeStacks()
    setting.session._stacks = cast("StackReader", stacks)
    setting.session.begin(with_baseline=False)
    stacks.failure = ValueError("why")
    setting.run(stop_after([lambda: None] * 3))
    setting.end()
    assert [text for text in setting.told if "user stacks" in text] == [
        "no more user stacks: ValueError: why"
    ]


def test_a_stack_that_is_not_there_is_no_lost_event(setting: Setting) -> None:
    setting.session.begin(with_baseline=False)
    setting.program.row["lost"][0, Hook.WRITE, LossCause.STACK] = 4
    setting.program.row["lost"][1, Hook.WRITE, LossCause.STACK_RATE] = 2
    setting.program.skipped = {"code": 3}
    setting.run(stop_after([lambda: None]))
    setting.end()
    assert setting.session.losses == {}
    assert setting.session.progress.lost == 0
    assert setting.session.incomplete == {"stack": 4, "stack_rate": 2, "stack_map": 3}
    assert {(row["cause"], row["total"]) for row in setting.table("losses")} == {
        ("stack", 4),
        ("stack_rate", 2),
        ("stack_map", 3),
    }
