"""The kernel's own tests of guest_memfd and of private memory, recorded: what they expect (their
source, counted by hand below), what strace saw them ask, what the kernel's tracepoint had of each
conversion, and our rows say the same.

Linux 7.3, tools/testing/selftests/kvm; numbers are those of x86-64, where KVM has ordinary VMs and
software-protected ones, and of one memory node.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd
import pytest

from tests.kernel import strace_log
from tests.kernel.booted import Booted, Run
from tests.kernel.judged import BAD
from tests.kernel.memfd_selftest import ended, said
from tests.kernel.test_convert import audited, violations
from tests.kernel.test_private import EINVAL, METHODS, PAGE, PRIVATE
from tracer.analysis import private
from tracer.analysis.batches import variants
from tracer.analysis.tables import judge
from tracer.labels import errno_name
from tracer.recording.reader import Recording

pytestmark = pytest.mark.at_length

TESTS = (
    "guest_memfd_test", "pre_fault_memory_test", "private_mem_conversions_test",
    "private_mem_kvm_exits_test",
)  # fmt: skip
ENODEV, VM_FAULT_SIGBUS = -19, 2
HUGE = 2 << 20
SIZE = HUGE + PAGE
"""PER_CPU_DATA_SIZE, TEST_SIZE."""
BASE = 1 << 32
"""BASE_DATA_GPA."""
Count = Counter[tuple[str, int]]


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ---- what the tests' source says -----------------------------------------------------------------


def fallocates() -> Count:
    """test_fallocate and test_invalid_punch_hole."""
    return Counter({
        ("allocate", 0): 2, ("allocate", EINVAL): 2,
        ("punch_hole", 0): 3, ("punch_hole", EINVAL): 2 + 10,
    })  # fmt: skip


def of_flags(mmap: bool, shared: bool) -> Count:
    """__test_guest_memfd with these flags."""
    found = fallocates()
    # multiple, file_read_write, file_size, fallocate, invalid_punch_hole, invalid_binding
    found["create", 0] += 2 + 5
    found["create", EINVAL] += PAGE - 1  # invalid_sizes
    found["memslot", EINVAL] += 1
    if not mmap:
        found["create", 0] += 1
        found["mmap", ENODEV] += 2
        return found
    found["create", 0] += 2  # mmap_cow, mbind
    found["mmap", EINVAL] += 1
    if shared:
        # mmap_supported, fault_overflow, numa_allocation, collapse; a huge page in small ones
        found["create", 0] += 4
        found["mmap", 0] += 3
        found["punch_hole", 0] += 1
        found["fault", 0] += 4 + 1 + 4 + HUGE // PAGE + 1
        found["fault", VM_FAULT_SIGBUS] += 2
    else:
        found["create", 0] += 1
        found["mmap", 0] += 1
        found["fault", VM_FAULT_SIGBUS] += 2
    return found


def guest_memfd_test() -> Count:
    """Ordinary VMs take all flags, software-protected ones not INIT_SHARED."""
    found = of_flags(False, False) + of_flags(True, False) + of_flags(True, True)
    found += of_flags(False, False) + of_flags(True, False)
    found += Counter({("create", 0): 2 + 1, ("create", EINVAL): 62 + 63})  # test_guest_memfd_flags
    # test_guest_memfd_guest
    return found + Counter({("create", 0): 1, ("mmap", 0): 2, ("fault", 0): 2})


class Wish(NamedTuple):
    start: int
    length: int
    private: bool


RANGES = ((0, PAGE), (0, HUGE), (PAGE, PAGE), (PAGE, HUGE), (HUGE, PAGE))
"""test_ranges."""


def conversions() -> Iterator[Wish]:
    """What private_mem_conversions_test asks for, in its order."""
    for _ in range(2):  # guest_test_explicit_conversion
        for start, length in RANGES:
            yield Wish(start, length, private=True)
            yield Wish(start, length, private=False)
            yield Wish(0, SIZE, private=False)
    for _ in range(2):  # guest_test_punch_hole
        yield Wish(0, SIZE, private=True)


def holes() -> Iterator[tuple[str, int, int]]:
    """And how it allocates its guest_memfd and punches holes into it."""
    for do_fallocate in (False, True):
        for start, length in RANGES:
            if do_fallocate:
                yield "allocate", start, length
                yield "punch_hole", start, length
            yield "punch_hole", 0, SIZE
    for _ in range(2):
        for start, length in RANGES:
            yield "punch_hole", 0, SIZE
            yield "punch_hole", start, length
    yield "punch_hole", 0, 2 * HUGE
    yield "allocate", 0, 2 * HUGE


# ---- what others saw ---------------------------------------------------------------------------

_IOCTLS = {"0xd4": "create", "0xd2": "convert", "0x49": "memslot"}
"""KVM_CREATE_GUEST_MEMFD, KVM_SET_MEMORY_ATTRIBUTES, KVM_SET_USER_MEMORY_REGION2."""
_UNNAMED = re.compile(r"_IOC\([A-Z_|]+, 0xae, (0x[0-9a-f]+), ")


def seen_by_strace(host: Booted, test: str) -> tuple[set[int], Counter[tuple[str, str]]]:
    """Threads, and their calls on guest_memfds and for conversions by what they answered."""
    tids: set[int] = set()
    found: Counter[tuple[str, str]] = Counter()
    with (host.folder / f"selftest-{test}.strace").open() as lines:
        for call in strace_log.finished(lines):
            tids.add(call.pid)
            op = None
            if call.name == "ioctl":
                unnamed = _UNNAMED.search(call.arguments)
                op = _IOCTLS.get(unnamed[1]) if unnamed else None
                if " KVM_SET_USER_MEMORY_REGION," in call.arguments:
                    op = "memslot"
            elif call.name == "fallocate":
                op = "punch_hole" if "PUNCH_HOLE" in call.arguments else "allocate"
            elif call.name == "mmap" and "gmem]" in call.arguments:
                op = "mmap"
            if op:
                fine = int(call.answer, 0) >= 0
                found[op, "ok" if fine else call.rest.split()[0]] += 1
    return tids, found


_TOLD = re.compile(
    r"-(\d+) +\[.* (\d+)\.(\d{6}): kvm_vm_set_mem_attributes: (\w+) -- (\w+) \[0x(\w+)\]"
)


class Told(NamedTuple):
    time_us: int
    start: int
    length: int
    private: bool


def told_by_tracepoint(host: Booted) -> dict[int, list[Told]]:
    """By thread."""
    found = defaultdict(list)
    for line in (host.folder / "selftests.trace").read_text().splitlines():
        if line.startswith("#"):
            assert "LOST" not in line
            continue
        one = _TOLD.search(line)
        assert one, line
        tid, seconds, micros = (int(one[place]) for place in (1, 2, 3))
        start, end, attributes = (int(one[place], 16) for place in (4, 5, 6))
        found[tid].append(
            Told(seconds * 10**6 + micros, start * PAGE, (end - start) * PAGE,
                 attributes == PRIVATE)
        )  # fmt: skip
    return found


# ---- what we recorded --------------------------------------------------------------------------


def rows_of(run: Run, tids: set[int]) -> pd.DataFrame:
    with Recording.open(run.path) as recording:
        rows = judge(run.events, recording.frame("objects"), variants(recording.manifest))
    found = rows[rows["tid"].isin(tids)].sort_values("time_ns", kind="stable")
    assert isinstance(found, pd.DataFrame)
    return found


def guests_only(rows: pd.DataFrame) -> pd.DataFrame:
    """Calls on guest_memfds, conversions and memslots."""
    op, kind = rows["op"].astype(str), rows["kind"].astype(str)
    file = op.isin(["create", "mmap", "allocate", "punch_hole", "fault"]) & (kind == "guest_memfd")
    return rows[op.isin(["convert", "memslot"]) | file]


@pytest.mark.parametrize("test", TESTS)
def test_they_pass(private_host: Booted, test: str) -> None:
    name = f"selftest-{test}"
    assert ended(private_host, name) == 0, said(private_host, name)


@pytest.mark.parametrize("test", TESTS)
def test_strace_saw_the_same(private_host: Booted, method: str, test: str) -> None:
    tids, want = seen_by_strace(private_host, test)
    rows = guests_only(rows_of(private_host.run(f"private-{method}"), tids))
    rows = rows[rows["op"].astype(str) != "fault"]  # no call
    got = Counter(
        (op, errno_name(answer) or "ok")
        for op, answer in zip(rows["op"].astype(str), rows["answer"].tolist(), strict=True)
    )
    assert got == want
    assert not set(rows["verdict"].astype(str)) & set(BAD)


def test_guest_memfds_are_answered_as_the_test_expects(private_host: Booted, method: str) -> None:
    """20,600 refused creations among others, each a row."""
    tids, _ = seen_by_strace(private_host, "guest_memfd_test")
    rows = guests_only(rows_of(private_host.run(f"private-{method}"), tids))
    op = rows["op"].astype(str)
    answers = rows["answer"].where(
        ~op.isin(["create", "mmap", "fault"]) | (rows["answer"] < 0),
        rows["answer"].where(op == "fault", 0) & VM_FAULT_SIGBUS,
    )
    got = Counter(zip(op, answers.tolist(), strict=True))
    del got["memslot", 0]  # those of the guest that runs
    assert got == guest_memfd_test()
    refused = rows[(op == "create") & (rows["answer"] == EINVAL)]
    asked = Counter(refused["arg"].tolist())
    assert {asked[1 << bit] for bit in range(2, 64)} == {2}, "each flag, by both kinds of VM"


def test_conversions_are_those_of_the_test(private_host: Booted, method: str) -> None:
    tids, _ = seen_by_strace(private_host, "private_mem_conversions_test")
    rows = rows_of(private_host.run(f"private-{method}"), tids)
    op = rows["op"].astype(str)
    mine = rows[op == "convert"]
    assert set(mine["answer"]) == {0}
    [vm] = set(mine["vm"])
    got = [
        Wish(start - BASE, length, arg == PRIVATE)
        for start, length, arg in zip(mine["offset"], mine["length"], mine["arg"], strict=True)
    ]
    assert got == list(conversions())
    some = rows[op.isin(["allocate", "punch_hole"])]
    assert set(some["answer"]) == {0}
    done = list(zip(some["op"].astype(str), some["offset"], some["length"], strict=True))
    assert done == list(holes())
    with Recording.open(private_host.run(f"private-{method}").path) as recording:
        ranges = private.of(recording).ranges()
    last = ranges[(ranges["vm"] == vm) & (ranges["until_ns"] == private.FOREVER)]
    held = last.loc[last["state"] == "private", ["start", "end"]].to_numpy().tolist()
    assert held == [[BASE, BASE + SIZE]]


def test_the_tracepoint_has_the_same_conversions(private_host: Booted, method: str) -> None:
    told = told_by_tracepoint(private_host)
    every = {tid for test in TESTS for tid in seen_by_strace(private_host, test)[0]}
    rows = rows_of(private_host.run(f"private-{method}"), every)
    rows = rows[(rows["op"].astype(str) == "convert") & (rows["answer"] == 0)]
    assert Counter(rows["tid"]) == {tid: len(mine) for tid, mine in told.items()}
    assert len(rows) == len(list(conversions())) + 2 + 1  # …_kvm_exits_test, pre_fault_memory_test
    for tid, mine in rows.groupby("tid"):
        for (_, row), want in zip(mine.iterrows(), told[int(str(tid))], strict=True):
            got = (row["offset"], row["length"], row["arg"] == PRIVATE)
            assert got == (want.start, want.length, want.private)
            end_ns = row["time_ns"] + row["duration_ns"]
            assert row["time_ns"] // 1000 - 1 <= want.time_us <= end_ns // 1000 + 1
    machines = rows.groupby("vm").size().sort_values().tolist()
    assert machines == [1, 1, 1, len(list(conversions()))]


def test_what_the_tests_touch_is_shared_or_refused(private_host: Booted, method: str) -> None:
    claims = audited(private_host.run(f"private-{method}").path)
    every = {tid for test in TESTS for tid in seen_by_strace(private_host, test)[0]}
    assert not every & {one.tid for one in violations(claims["never-reached-while-private"])}
    assert not every & {one.tid for one in violations(claims["converted-only-by"])}
