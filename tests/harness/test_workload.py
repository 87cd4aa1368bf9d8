"""The workload on this machine's own kernel: its truth is complete, and is what KERNEL.md says.

Tracing is not needed for that: a memfd answers on every kernel. What is asserted here holds on
all of them, or names the alternatives.
"""

import json
import subprocess
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.harness.sample_programs import built, needed
from tests.harness.test_ground_truth import events_of
from tests.kernel.ground_truth import HOOKS, Truth, compare, expected_calls, load_truth
from tracer.record import Op, words

Row = dict[str, Any]

PRIMES = {2, 3, 5, 7, 11}
PAGE = 4096
SIZE = 16 * PAGE

pytestmark = needed


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("workload", tmp_path_factory.mktemp("workload"))


def run(workload: Path, out: Path, *arguments: str | Path) -> Truth:
    done = subprocess.run(
        [workload, "--out", out, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("", "")
    return load_truth(out)


@pytest.fixture(scope="module")
def truth(workload: Path) -> Truth:
    return run(workload, workload.parent / "default.jsonl")


def counted(truth: Truth) -> Counter[tuple[str, str, str]]:
    return Counter(
        (row["op"], row["set"], row["variant"]) for row in truth.calls if not row["setup"]
    )


# KERNEL.md section 5 (rows marked with a dagger) and section 4: op, variant, answer by seal set.
# None: succeeds. Sets that are not named were not said to be the same on every kernel.
ALL = ("none", "shrink", "grow", "write", "future_write")
ORACLE: list[tuple[str, str, dict[str, str | None]]] = [
    ("truncate", "ftruncate_smaller", {"none": None, "shrink": "EPERM", "write": None}),
    ("truncate", "ftruncate_same", dict.fromkeys(ALL)),
    ("truncate", "ftruncate_larger", {"shrink": None, "grow": "EPERM", "write": None}),
    ("truncate", "path_larger", {"shrink": None, "grow": "EPERM", "write": None}),
    ("truncate", "open_trunc", {"none": None, "shrink": "EPERM", "write": None}),
    ("truncate", "ftruncate_ro", dict.fromkeys(ALL, "EINVAL")),
    ("write", "write_inside", {"grow": None, "write": "EPERM", "future_write": "EPERM"}),
    ("write", "many_chunks", {"grow": None, "write": "EPERM", "future_write": "EPERM"}),
    ("write", "zero_length", dict.fromkeys(ALL)),
    ("write", "writev_zero", dict.fromkeys(ALL)),
    ("write", "at_size", {"none": None, "shrink": None, "grow": "EPERM", "write": "EPERM"}),
    ("write", "sendfile", {"grow": None, "write": "EPERM", "future_write": "EPERM"}),
    ("write", "splice", {"grow": None, "write": "EPERM", "future_write": "EPERM"}),
    ("write", "write_ro", dict.fromkeys(ALL, "EBADF")),
    ("read", "read", dict.fromkeys(ALL)),
    ("allocate", "inside", dict.fromkeys(ALL)),
    ("allocate", "inside_keep", dict.fromkeys(ALL)),
    ("allocate", "beyond", {"grow": "EPERM", "write": None}),
    ("allocate", "beyond_keep", {"none": None, "shrink": None, "grow": "EPERM", "write": None}),
    ("punch_hole", "inside", {"shrink": None, "grow": None, "write": "EPERM"}),
    ("punch_hole", "beyond", {"grow": None, "write": "EPERM", "future_write": "EPERM"}),
    ("punch_hole", "madvise", {"none": None, "grow": None, "future_write": "EPERM"}),
    ("mmap", "shared_w_rw", {"none": None, "write": "EPERM", "future_write": "EPERM"}),
    ("mmap", "shared_r_rw", {"none": None, "grow": None, "future_write": None}),
    ("mmap", "shared_r_ro", dict.fromkeys(ALL)),
    ("mmap", "shared_w_ro", dict.fromkeys(ALL, "EACCES")),
    ("mmap", "private_w_rw", dict.fromkeys(ALL)),
    ("mmap", "private_w_ro", dict.fromkeys(ALL)),
    ("mmap", "zero_length", dict.fromkeys(ALL, "EINVAL")),
    ("remap_file_pages", "shared_w_rw", {"none": None, "grow": None, "future_write": "EPERM"}),
    ("remap_file_pages", "shared_r_rw", {"none": None, "seal": None, "future_write": None}),
    ("remap_file_pages", "shared_r_ro", dict.fromkeys(ALL, "EINVAL")),
    ("remap_file_pages", "private", dict.fromkeys(ALL, "EINVAL")),
    ("remap_file_pages", "zero_length", dict.fromkeys(ALL, "EINVAL")),
    ("chmod", "x_bits", {"none": None, "write": None, "exec": "EPERM"}),
    ("chmod", "other_bits", {"none": None, "exec": None}),
    ("add_seals", "unknown_bits", dict.fromkeys(ALL, "EINVAL")),
    ("add_seals", "read_only_fd", dict.fromkeys(ALL, "EPERM")),
    ("add_seals", "none_more", {"none": None, "write": None, "seal": "EPERM"}),
    ("add_seals", "after_seal", {"seal": "EPERM", "unsealable": "EPERM"}),
    ("add_seals", "busy_shared_w", {"none": "EBUSY"}),
    ("add_seals", "busy_shared_r", {"none": "EBUSY"}),
    ("add_seals", "mapped_ro_fd", {"none": None}),
    ("add_seals", "mapped_private", {"none": None}),
    ("add_seals", "mapped_future", {"none": None}),
    ("add_seals", "pipe", {"none": "EINVAL"}),
]


@pytest.mark.parametrize(("op", "variant", "by_set"), ORACLE, ids=lambda v: v)
def test_answers_are_the_oracles(
    truth: Truth, op: str, variant: str, by_set: dict[str, str | None]
) -> None:
    seen = defaultdict(set)
    for row in truth.calls:
        if (row["op"], row["variant"], row["setup"]) == (op, variant, False):
            seen[row["set"]].add(row["errno"])
    if "exec" not in seen:  # F_SEAL_EXEC came with Linux 6.3
        by_set = {name: errno for name, errno in by_set.items() if name != "exec"}
    assert {name: seen[name] for name in by_set} == {n: {errno} for n, errno in by_set.items()}


def test_a_write_over_a_sealed_size_stops_at_a_chunk(truth: Truth) -> None:
    """KERNEL.md F9: what fits is written where chunks are pages, nothing where they are 2 MiB."""
    answers = {
        variant: {
            row["answer"]
            for row in truth.calls
            if (row["op"], row["set"], row["variant"]) == ("write", "grow", variant)
        }
        for variant in ("crossing_size", "several_mib")
    }
    assert (answers["crossing_size"], answers["several_mib"]) in (
        ({2000}, {SIZE}),
        ({-1}, {-1}),
    )


def test_exec_on_an_executable_implies_the_write_seals(truth: Truth) -> None:
    rows = [row for row in truth.calls if row["variant"] == "executable"]
    assert {(row["errno"], row["seals_after"]) for row in rows} <= {(None, 0x3E), ("EINVAL", 0)}


def test_every_variant_is_done_a_prime_number_of_times(truth: Truth) -> None:
    counts = counted(truth)
    assert set(counts.values()) <= PRIMES
    totals = Counter[str]()
    for (op, _, _), count in counts.items():
        totals[op] += count
    assert set(totals) == set(HOOKS)
    assert len(set(totals.values())) == len(totals), totals
    assert 3000 < len(truth.calls) < 8000


def test_list_tells_what_is_done(workload: Path, truth: Truth) -> None:
    listed = subprocess.run([workload, "--list"], capture_output=True, text=True, check=True)
    lines = [line.split() for line in listed.stdout.splitlines()]
    assert {(op, s, variant): int(n) for op, s, variant, n in lines} == counted(truth)


def test_repeat_and_only(workload: Path, tmp_path: Path, truth: Truth) -> None:
    once = {key: n for key, n in counted(truth).items() if key[0] == "chmod"}
    twice = run(workload, tmp_path / "o", "--only", "chmod", "--repeat", "2")
    assert counted(twice) == {key: 2 * n for key, n in once.items()}


def test_quick_is_small_and_has_every_op(workload: Path, tmp_path: Path) -> None:
    quick = run(workload, tmp_path / "o", "--quick")
    assert len(quick.calls) < 1000
    assert {row["op"] for row in quick.calls} == set(HOOKS)
    assert {row["cause"] for row in quick.mappings} == {
        "mmap", "merge", "mremap", "remap_file_pages", "fork",
    }  # fmt: skip


def steady(row: Row) -> Row:
    """What two runs have in common: not who ran, where memory was, which inode came next."""
    row = {k: v for k, v in row.items() if k not in ("pid", "tid", "ino", "gen", "address")}
    if row.get("op") == "remap_file_pages":
        row["arg"] &= 0xFFFF
    if row.get("op") in ("mmap", "mremap") and row["answer"] > 0:
        row["answer"] = row["returned"] = "address"
    return row


def test_two_runs_are_the_same(workload: Path, tmp_path: Path, truth: Truth) -> None:
    again = run(workload, tmp_path / "o")
    assert [steady(row) for row in again.calls] == [steady(row) for row in truth.calls]
    assert [steady(row) for row in again.mappings] == [steady(row) for row in truth.mappings]


def test_lines_agree_with_themselves(truth: Truth) -> None:
    for row in truth.calls:
        assert row["op"] in words(Op).values()
        assert (row["errno"] is None) == (row["answer"] >= 0)
        assert (row["why_not"] is None) == row["reaches_kernel_hook"]
        assert row["returned"] == row["answer"] or row["returned"] == -1 or row["call"] == "open"
        assert row["seals"] & ~row["seals_after"] == 0, "a seal went away"
        if row["answer"] < 0 and row["object"] != "none":
            assert row["seals"] == row["seals_after"]
        if row["call"] in ("truncate", "open", "chmod", "madvise", "memfd_create"):
            assert row["fd"] == -1
    for row in truth.mappings:
        assert row["began"] < row["ended"]
        assert row["length"] % PAGE == row["address"] % PAGE == row["offset"] % PAGE == 0
        assert row["length"] > 0


def test_early_refusals_are_the_known_ones(truth: Truth) -> None:
    early = {
        (row["op"], row["call"], row["errno"])
        for row in truth.calls
        if not row["reaches_kernel_hook"]
    }
    assert early == {
        ("mmap", "mmap", "EINVAL"),
        ("mmap", "mmap", "EBADF"),
        ("remap_file_pages", "remap_file_pages", "EINVAL"),
        ("write", "write", "EBADF"),
        ("write", "pwrite64", "EINVAL"),
        ("write", "pwrite64", "EFAULT"),
        ("write", "pwritev", None),
        ("read", "read", "EBADF"),
        ("read", "pread64", "EINVAL"),
        ("read", "preadv", None),
        ("truncate", "ftruncate", "EINVAL"),
        ("truncate", "truncate", "EINVAL"),
        ("allocate", "fallocate", "EBADF"),
        ("allocate", "fallocate", "EINVAL"),
        ("punch_hole", "fallocate", "EBADF"),
        ("punch_hole", "fallocate", "EOPNOTSUPP"),
        ("punch_hole", "madvise", "EACCES"),
        ("add_seals", "fcntl", "EBADF"),
    }


def test_children_and_threads_share_the_same_work(
    workload: Path, tmp_path: Path, truth: Truth
) -> None:
    shared = run(workload, tmp_path / "o", "--fork", "--threads")
    assert counted(shared) == counted(truth)
    assert len({row["pid"] for row in shared.calls}) == 3
    assert len({row["tid"] for row in shared.calls}) == 6
    by_file = defaultdict(set)
    for row in shared.calls:
        by_file[row["dev"], row["ino"], row["gen"]].add(row["tid"])
    del by_file[0, 0, None]
    alone = [tids for key, tids in by_file.items() if key[2] is not None]
    assert all(len(tids) == 1 for tids in alone)  # so no two calls ever race on one file


def test_a_tmpfs_file_is_in_the_truth_and_never_expected(workload: Path, tmp_path: Path) -> None:
    shm = Path("/dev/shm")
    with_tmpfs = run(workload, tmp_path / "o", "--quick", "--tmpfs", shm)
    rows = [row for row in with_tmpfs.calls if row["object"] == "tmpfs"]
    assert {row["op"] for row in rows} == set(HOOKS) - {"create"}
    assert {row["seals"] for row in rows} == {1}  # F_GET_SEALS on any tmpfs file says SEAL
    assert not [row for row in expected_calls(with_tmpfs) if row["object"] == "tmpfs"]
    assert not list(shm.glob("sealsnoop-workload-*"))


def test_hugetlb_where_the_kernel_has_it(workload: Path, tmp_path: Path) -> None:
    huge = run(workload, tmp_path / "o", "--quick", "--hugetlb")
    rows = [row for row in huge.calls if row["object"] == "hugetlb"]
    has = "hugetlbfs" in Path("/proc/filesystems").read_text()
    refused = {"EINVAL"} if has else set()
    assert {row["errno"] for row in rows if row["op"] == "write"} == refused
    assert {row["errno"] for row in rows if row["variant"] == "unaligned"} == refused
    assert not [
        row for row in expected_calls(huge) if row["variant"] == "hugetlb" and row["fd"] > 0
    ]


def test_an_exact_recording_of_it_is_accepted(truth: Truth) -> None:
    events = events_of(truth)
    assert len(events) > 2000
    result = compare(truth, pd.DataFrame(events))
    assert result.ok, str(result)
    assert not compare(truth, pd.DataFrame(events[:1000] + events[1001:])).ok


def test_odd_names_survive(truth: Truth) -> None:
    names = {row["name"] for row in truth.calls if row["variant"] == "odd_name"}
    assert names == {'"quoted\\" é\ttab/slash'}
    longest = {row["name"] for row in truth.calls if row["variant"] == "longest_name"}
    assert longest == {"n" * 249}


def test_wrong_arguments_are_refused(workload: Path) -> None:
    for arguments in ([], ["--out"], ["--bad"], ["--out", "/dev/null", "--repeat", "0"]):
        done = subprocess.run([workload, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stdout == ""
        assert "usage" in done.stderr


def test_lines_are_json(workload: Path, tmp_path: Path) -> None:
    run(workload, tmp_path / "o", "--quick")
    first = json.loads((tmp_path / "o").read_text().splitlines()[0])
    assert first["type"] == "run"
    assert first["arguments"][0] == "workload"
