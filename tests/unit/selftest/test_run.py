"""A whole self-test: its process, what it tells, and a kernel side that a test plays."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tracer.selftest.explain  # noqa: F401  the forked processes need not import pandas then
from tests.unit.selftest.selftest_events import FAMILIES, events_of, with_objects
from tracer.capture.bpf_source import Filters
from tracer.capture.program import COUNTS
from tracer.record import HEAD, LossCause
from tracer.rules.variants import VARIANTS
from tracer.selftest import run as process
from tracer.selftest.hooks import Count
from tracer.selftest.run import Examiner, SelfTest, SelfTestFailed, lines, prepared, run
from tracer.selftest.scratch import Attempt
from tracer.words import Kind, Op


@pytest.fixture
def examiner() -> Iterator[Examiner]:
    with prepared(thorough=False, prefix=b"") as made:
        yield made


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


# ---- the process ----------------------------------------------------------------------------


def test_it_tells_what_it_did_and_what_that_means(examiner: Examiner) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    looks: list[int] = []
    attempts, merging = examiner.attempts(lambda: looks.append(1))
    assert looks
    assert len(attempts) > 300
    assert all(isinstance(one, Attempt) for one in attempts)
    assert {one.ino for one in attempts if one.op == Op.MMAP} > merging
    assert len(merging) == 3
    found = examiner.finding(None)
    calls = [one for one in attempts if one.op not in (Op.MAP, Op.UNMAP, Op.EVICT)]
    assert found["cases"] == len(calls)
    assert found["unexplained"] == []
    assert sorted(os.listdir("/proc/self/fd")) == before, "all files were the other process's"


def test_it_ends_by_itself_or_by_us() -> None:
    with prepared(thorough=False, prefix=b"") as waiting:
        assert not is_gone(waiting.pid)
        fds = len(os.listdir("/proc/self/fd"))
    assert is_gone(waiting.pid)
    assert len(os.listdir("/proc/self/fd")) == fds - 2
    waiting.close()  # again: nothing


def test_it_ends_with_the_recorder() -> None:
    reader, writer = os.pipe()
    recorder = os.fork()
    if recorder == 0:
        waiting = Examiner.prepare(thorough=False)
        os.write(writer, waiting.pid.to_bytes(4, "little"))
        os.kill(os.getpid(), signal.SIGKILL)
    pid = int.from_bytes(os.read(reader, 4), "little")
    os.waitpid(recorder, 0)
    until = time.monotonic() + 20
    while time.monotonic() < until and not is_gone(pid) and not is_zombie(pid):
        time.sleep(0.02)
    assert is_gone(pid) or is_zombie(pid)
    os.close(reader)
    os.close(writer)


def is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_one_that_dies(examiner: Examiner) -> None:
    os.kill(examiner.pid, signal.SIGKILL)
    with pytest.raises(SelfTestFailed, match="its process died"):
        examiner.attempts()


def test_one_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def attempt_all(attempts: Any, *given: Any) -> None:
        raise PermissionError(13, "no memfd for you")

    monkeypatch.setattr("tracer.selftest.attempts.attempt_all", attempt_all)
    with (
        prepared(thorough=False, prefix=b"") as made,
        pytest.raises(SelfTestFailed, match=r"PermissionError: .* no memfd for you"),
    ):
        made.attempts()


def test_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracer.selftest.attempts.attempt_all", lambda *given: time.sleep(60))
    monkeypatch.setitem(process.PATIENCE_S, False, 0.05)
    with (
        prepared(thorough=False, prefix=b"") as made,
        pytest.raises(SelfTestFailed, match=r"did not end in 0\.05 s"),
    ):
        made.attempts()
    assert is_gone(made.pid)


def test_ctrl_c_is_not_for_it(examiner: Examiner) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and not ignores_interrupts(examiner.pid):
        time.sleep(0.01)
    os.kill(examiner.pid, signal.SIGINT)
    assert examiner.attempts()[0]


def ignores_interrupts(pid: int) -> bool:
    with open(f"/proc/{pid}/status") as status:
        [line] = [line for line in status if line.startswith("SigIgn:")]
    return bool(int(line.split()[1], 16) >> (signal.SIGINT - 1) & 1)


# ---- with a kernel side ---------------------------------------------------------------------


class FakeRing:
    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.fill = 0.0

    def poll(self) -> Any:
        return self.batches[0] if self.batches else np.zeros(0, HEAD)

    def release(self) -> None:
        del self.batches[:1]


class FakeProgram:
    """Hooks as `distort` has them report; it hears of the attempts from the pipe that we read."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, distort: Callable[[Any], Any] = lambda events: events
    ) -> None:
        steps = [SimpleNamespace(family=family) for family in FAMILIES]
        self.plan: Any = SimpleNamespace(live=steps)
        self.calls: list[Any] = []
        self.row = np.zeros(2, COUNTS)
        self.skipped = {"mmap": 7}
        self.folio_order = 0
        self._ring = FakeRing()
        original = Examiner.attempts

        def attempts(examiner: Examiner, meanwhile: Callable[[], object]) -> Any:
            found, merging = original(examiner, meanwhile)
            events = events_of(found, examiner.pid)
            alien = events[:3].copy()
            alien["pid"] = examiner.pid + 1
            events = distort(np.concatenate([events[:-10], alien, events[-10:]]))
            self._ring.batches = [with_objects(events[:100], self.folio_order)]
            meanwhile()
            self._ring.batches = [events[100:].view(HEAD)]
            return found, merging

        monkeypatch.setattr(Examiner, "attempts", attempts)

    def ring(self) -> FakeRing:
        return self._ring

    @contextlib.contextmanager
    def tested_by(self, pid: int) -> Iterator[None]:
        self.calls.append(pid)
        yield
        self.calls.append(None)

    def counts(self) -> Any:
        return self.row.copy()

    def missed(self) -> dict[str, int]:
        return dict(self.skipped)


def test_all_well(examiner: Examiner, monkeypatch: pytest.MonkeyPatch) -> None:
    program = FakeProgram(monkeypatch)
    result = run(examiner, program)
    assert program.calls == [examiner.pid, None]
    assert list(result.problems()) == []
    assert result.ok
    shown = result.to_json()
    assert list(shown) == [
        "ran", "failed", "thorough", "seconds", "cases", "variants", "open", "bit_0x20",
        "write_chunk", "holes", "verdicts", "unexplained", "hooks", "hooks_note", "lost",
    ]  # fmt: skip
    assert (shown["ran"], shown["failed"], shown["thorough"]) == (True, None, False)
    assert shown == json.loads(json.dumps(shown))
    assert list(shown["hooks"]) == list(FAMILIES)
    assert all(one["seen"] == one["expected"] for one in shown["hooks"].values())
    assert shown["hooks"]["mmap"]["expected"] > 50
    assert shown["variants"]["grow_write_chunk"] in VARIANTS["grow_write_chunk"]


def test_the_folio_order_is_what_the_hooks_saw_of_a_memfd(
    examiner: Examiner, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[int | None] = []
    original = Examiner.finding

    def finding(examiner: Examiner, folio_order: int | None) -> Any:
        orders.append(folio_order)
        return original(examiner, folio_order)

    program = FakeProgram(monkeypatch)
    program.folio_order = 9
    monkeypatch.setattr(Examiner, "finding", finding)
    run(examiner, program)
    assert orders == [9]


def test_a_hook_that_misses(examiner: Examiner, monkeypatch: pytest.MonkeyPatch) -> None:
    def distort(events: Any) -> Any:
        writes = np.flatnonzero((events["op"] == Op.WRITE) & (events["answer"] == -1))
        program.row["lost"][1, 3, LossCause.RING_FULL] = 1
        program.skipped["write"] = 2
        return np.delete(events, writes[:2])

    program = FakeProgram(monkeypatch, distort)
    result = run(examiner, program)
    [problem] = result.problems()
    assert result.hooks is not None
    count = result.hooks["write"]
    assert count.expected - count.seen == 2
    assert problem == (
        f"hook write reported {count.seen} of {count.expected} attempts "
        "(lost meanwhile: ring_full 1, missed 2)"
    )
    assert not result.ok
    assert result.to_json()["lost"] == {"ring_full": 1, "missed": 2}
    assert result.to_json()["ran"] is True


def test_the_filters_are_known(examiner: Examiner, monkeypatch: pytest.MonkeyPatch) -> None:
    def distort(events: Any) -> Any:
        refused = events["answer"] < 0
        known = np.isin(events["ino"], events["ino"][refused]) & (events["op"] == Op.EVICT)
        return events[refused | known]

    result = run(examiner, FakeProgram(monkeypatch, distort), Filters(denied=True))
    assert result.ok
    assert result.hooks_note == "only refused calls could be confirmed (--denied)"
    assert result.hooks is not None
    assert (result.hooks["read"], result.hooks["map"]) == (Count(0, 0), Count(0, 0))


def test_a_process_that_dies_leaves_no_variants(
    examiner: Examiner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def distort(events: Any) -> Any:
        os.kill(examiner.pid, signal.SIGKILL)
        return events

    result = run(examiner, FakeProgram(monkeypatch, distort))
    if result.failed:  # else it was quicker than we
        assert not result.ok
        assert result.to_json()["ran"] is False
        assert "variants" not in result.to_json()
        assert result.hooks is not None
        assert "it failed: its process died" in next(result.problems())


# ---- without ---------------------------------------------------------------------------------


def test_without_hooks(examiner: Examiner) -> None:
    result = run(examiner, None)
    assert list(result.problems()) == []
    assert not result.ok, "not confirmed"
    shown = result.to_json()
    assert (shown["ran"], shown["hooks"]) == (True, None)
    assert shown["hooks_note"] == "nothing was attached"
    assert shown["seconds"] > 0


def finding(**given: Any) -> dict[str, Any]:
    return {
        "cases": 12345, "variants": {"bit_0x20": "none"}, "open": ["grow_write_chunk"],
        "bit_0x20": "none", "write_chunk": None, "holes": [],
        "verdicts": {"blocked": 3, "allowed": 12000, "breach": 2}, "unexplained": [],
    } | given  # fmt: skip


STRANGE = {
    "op": "truncate", "kind": "memfd", "rule": "truncate-shrink", "verdict": "breach",
    "seals": "SHRINK", "asked": "8192→4096", "expected": "EPERM", "answer": "0", "times": 4,
}  # fmt: skip


def test_problems() -> None:
    hooks = {"mmap": Count(3, 2), "read": Count(5, 5), "map": Count(2, 2, 1), "seals": Count(0, 0)}
    result = SelfTest(
        finding(unexplained=[STRANGE], verdicts={"indeterminate": 7}), hooks, failed=""
    )
    assert list(result.problems()) == [
        "truncate on memfd (8192→4096; seals SHRINK) answered 0, expected EPERM: no documented "
        "variant explains that",
        "7 answers cannot be judged; open questions: grow_write_chunk",
        "hook mmap reported 2 of 3 attempts",
        "hook map reported 2 of 2 attempts and 1 that nobody made",
    ]
    assert not result.ok
    assert SelfTest(finding(), {"mmap": Count(3, 3), "seals": Count(0, 0)}).ok


def test_the_table() -> None:
    hooks = {"mmap": Count(1234, 1234), "read": Count(5, 3, 2), "hugetlb_evict": Count(0, 0)}
    text = "\n".join(
        lines(
            SelfTest(
                finding(
                    unexplained=[STRANGE], bit_0x20="exec", write_chunk=4096, holes=["hugetlb-grow"]
                ),
                hooks,
                seconds=1.25,
            )
        )
    )
    for line in (
        "self-test: 12,345 calls on scratch files in 1.2 s",
        "  12,000 allowed, 3 blocked, 2 breach (see below)",
        "  seal 0x20: F_SEAL_EXEC",
        "  one write asks about its seals every 4096 bytes",
        "    bit_0x20: none (an unknown bit, as are 0x8 and 0x10 of memfd_create)",
        "    grow_write_chunk: OPEN, nothing that could be tried here tells",
        "  known holes of this kernel:",
        "  unexplained answers:",
        "    truncate 8192→4096 on memfd sealed SHRINK: 0, expected EPERM (truncate-shrink), "
        "4 times",
        "    mmap                   1,234     1,234",
        "    read                       5         3  NOT AS IT WAS, 2 too many",
        "    hugetlb_evict              0         0  not tried: nothing that this hook reports "
        "could be done",
    ):
        assert f"\n{line}\n" in f"\n{text}\n", line
    assert "    hugetlb-grow: A writable mapping past the end" in text


def test_the_table_of_less() -> None:
    text = "\n".join(lines(SelfTest(finding(), None, "this host cannot be traced")))
    assert "  known holes of this kernel: none found" in text
    assert "  unexplained answers: none" in text
    assert text.endswith("  hooks: could not be confirmed, this host cannot be traced")
    assert "seal 0x20: unknown to this kernel" in text
    failed = list(lines(SelfTest(failed="its process died", hooks_note="nothing was attached")))
    assert failed == [
        "self-test FAILED: its process died",
        "  hooks: could not be confirmed, nothing was attached",
    ]


def test_huge_pages_or_not(examiner: Examiner) -> None:
    attempts, _ = examiner.attempts()
    made = any(one.kind == Kind.HUGETLB for one in attempts)
    variants = examiner.finding(None)["variants"]
    assert ("hugetlb_partial_punch" in variants) == made
