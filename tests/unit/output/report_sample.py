"""A small report with one of everything, hostile names among it, for the tests of reports."""

from typing import Any

import pandas as pd

from tracer.output.coverage import Coverage, SelfTest, Unseen
from tracer.output.report import Question, Report
from tracer.output.summary import Breach
from tracer.output.tables import WORST_FIRST

HOSTILE = "<script>alert(1)</script>[bold]=cmd\x1b[2J\u202e"
START = 5_000_000_000


def coverage(**changed: Any) -> Coverage:
    values: dict[str, Any] = {
        "path": "w.seal",
        "host": "h1",
        "boot_id": "b1",
        "kernel": "6.1.0-56-amd64",
        "command": "./workload --quick",
        "filters": "",
        "start_ns": START,
        "end_ns": START + 2_970_000_000,
        "started": "2026-11-22T17:48:10Z",
        "state": "ended",
        "reason": "command exited with 0",
        "hooks_live": 16,
        "hooks": 18,
        "unseen": (
            Unseen("write", "write decisions", "this kernel has no shmem_file_write_iter", True),
            Unseen("mmap_check", "what the seal check said", "no memfd_check_seals_mmap", False),
        ),
        "blind_spots": ("mprotect, mremap", "guest_memfd"),
        "self_test": SelfTest(
            True, 480, {"bit_0x20": "none"}, bit_0x20="none", holes=("merge_beside_old",)
        ),
        "lost": {},
        "incomplete": {},
        "problems": (),
        "decisions": 1251,
    }
    return Coverage(**(values | changed))


def entry(verdict: str, count: int, **changed: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "host": "h1", "boot_id": "b1", "verdict": verdict, "count": count,
        "first_ns": START + 852_084_000, "last_ns": START + 2_000_000_000, "pid": 144, "tid": 144,
        "uid": 1000, "comm": "workload", "op": "mmap", "kind": "memfd", "dev": 1, "ino": 7,
        "gen": 3, "name": "memfd:frame", "fd": 7, "seals": 0x10, "seals_after": 0x10,
        "size": 8192, "offset": 4096, "length": 4096, "arg": 3 | 0x11 << 32, "answer": 0,
        "errno": None, "duration_ns": 4100, "flags": 0, "writable": 1, "expected": "EPERM",
        "reason": "FUTURE_WRITE", "rule": "mmap_write", "hole": None,
    }  # fmt: skip
    return row | changed


def counts(**given: int) -> dict[str, int]:
    return {word: given.get(word, 0) for word in WORST_FIRST} | {"decisions": sum(given.values())}


def _object(name: str | None, ino: int, seals: int | None, **given: int) -> dict[str, Any]:
    worst = next(word for word in WORST_FIRST if given.get(word))
    return {
        "host": "h1", "boot_id": "b1", "kind": "memfd", "dev": 1, "ino": ino, "gen": 3,
        "name": name, "seals": seals, "size": 8192, "owner_uid": 1000, "processes": 2, "fds": 3,
        "mappings": 1, **counts(**given), "worst": worst, "first_ns": START + 1_000_000,
        "last_ns": START + 2_500_000_000, "last_op": "mmap", "last_answer": -1,
        "age_ns": 1_250_000_000,
    }  # fmt: skip


def report(**changed: Any) -> Report:
    """1,251 decisions: 3 breaches, 1 unexplained, 2 indeterminate, 40 blocked, 5 errors."""
    listed = [
        entry("breach", 3, hole="merge_beside_old"),
        entry("unexplained", 1, op="write", arg=0, answer=-1, errno="EPERM", expected="ok",
              seals=0, reason="no seal says so", rule="", name=None, fd=9, offset=0, length=100),
        entry("indeterminate", 2, op="truncate", arg=0x2068, answer=0, flags=1, size=8192,
              expected="unknown", reason="seals changed meanwhile", rule="truncate_shrink",
              length=4096, offset=0, comm="evil\x1b", name=f"memfd:{HOSTILE}"),
        entry("blocked", 40, op="add_seals", arg=8, answer=-16, errno="EBUSY", expected="EBUSY",
              reason="writable mapping exists", rule="mapped", seals=0),
        entry("error", 5, op="truncate", arg=0x2068, answer=-27, errno="EFBIG", expected="ok",
              reason="larger than RLIMIT_FSIZE or the file system allows", rule="", seals=0,
              length=1 << 40, offset=0, name=f"memfd:{HOSTILE}"),
    ]  # fmt: skip
    mixed = {"breach": 3, "unexplained": 1, "indeterminate": 2, "blocked": 40, "error": 5}
    totals = counts(**mixed, allowed=1200)
    ops = [
        {"host": "h1", "boot_id": "b1", "op": "mmap", **counts(breach=3, allowed=400)},
        {"host": "h1", "boot_id": "b1", "op": "write", **counts(unexplained=1, allowed=800)},
        {"host": "h1", "boot_id": "b1", "op": "truncate", **counts(indeterminate=2, error=5)},
        {"host": "h1", "boot_id": "b1", "op": "add_seals", **counts(blocked=40)},
    ]
    objects = [
        _object("memfd:frame", 7, 0x10, breach=3, blocked=40, allowed=400),
        _object(f"memfd:{HOSTILE}", 8, 0x0B, indeterminate=2, error=5),
        _object(None, 9, None, unexplained=1, allowed=800),
    ]
    fds = [
        {"host": "h1", "boot_id": "b1", "pid": 144, "comm": "workload", "fd": 7, "kind": "memfd",
         "dev": 1, "ino": 7, "gen": 3, "name": "memfd:frame", "last_op": "mmap", "last_answer": 0,
         "first_ns": START, "last_ns": START + 10**9, **counts(breach=3, blocked=40, allowed=400)},
    ]  # fmt: skip
    rules = [
        {"host": "h1", "boot_id": "b1", "verdict": "breach", "op": "mmap", "expected": "EPERM",
         "reason": "FUTURE_WRITE", "rule": "mmap_write", "hole": "merge_beside_old",
         "decisions": 3},
    ]  # fmt: skip
    steps = [
        {"host": "h1", "boot_id": "b1", "time_ns": START + place * 100_000_000,
         "step_ns": 100_000_000, **counts(allowed=40 * (place % 5), blocked=2, breach=place == 8)}
        for place in range(30)
    ]  # fmt: skip
    late = [
        {"host": "h1", "boot_id": "b1", "kind": "memfd", "dev": 1, "ino": 7, "gen": 3,
         "name": "memfd:frame", "time_ns": START + 5 * 10**8, "seal": "FUTURE_WRITE",
         "why": "1 shared writable mapping", "pid": 144, "comm": "workload"},
    ]  # fmt: skip
    busy = [
        {"host": "h1", "boot_id": "b1", "kind": "memfd", "dev": 1, "ino": 7, "gen": 3,
         "name": "memfd:frame", "time_ns": START + 5 * 10**8, "pid": 144, "comm": "workload",
         "writable": 1, "added": 8, "held": 1, "holders": "workload/145"},
    ]  # fmt: skip
    seals = [
        {"host": "h1", "boot_id": "b1", "kind": "memfd", "dev": 1, "ino": 7, "gen": 3,
         "name": "memfd:frame", "time_ns": START + 5 * 10**8, "pid": 144, "comm": "workload",
         "op": "add_seals", "seals": 0, "added": 16, "seals_after": 16},
    ]  # fmt: skip
    values: dict[str, Any] = {
        "seals": pd.DataFrame(seals),
        "question": Question(),
        "coverage": (coverage(),),
        "verdicts": {word: totals[word] for word in WORST_FIRST},
        "listed": pd.DataFrame(listed),
        "tables": {
            "object": pd.DataFrame(objects),
            "fd": pd.DataFrame(fds),
            "process": pd.DataFrame(fds).drop(columns=["fd", "name", "dev", "ino", "gen"]),
            "op": pd.DataFrame(ops),
            "rule": pd.DataFrame(rules),
        },
        "over_time": pd.DataFrame(steps),
        "late": pd.DataFrame(late),
        "busy": pd.DataFrame(busy),
        "breaches": (Breach("6.1.0-56-amd64", "merge_beside_old", 3),),
    }
    return Report(**(values | changed))
