"""Filters of ``record``: what each option becomes, and what is said about each bad value."""

import argparse
import os
import pwd
import threading
from pathlib import Path

import pytest

from tracer.capture.bpf_source import Filters
from tracer.cli.options import filters_of_kernel, recording_options, words_of_filter
from tracer.cli.record import Record, families, filters
from tracer.cli.trace import Trace
from tracer.cli.verb import filter_query
from tracer.errors import UserError
from tracer.filter.grammar import QueryError
from tracer.kernel.families import FAMILIES
from tracer.words import Seal


def asked(*argv: str, follow: bool = False) -> Filters:
    parser = argparse.ArgumentParser()
    recording_options(parser)
    return filters(parser.parse_args(argv), follow)


def said(*argv: str) -> str:
    with pytest.raises(UserError) as caught:
        asked(*argv)
    assert caught.value.exit_code == 1
    return str(caught.value)


def hooked(words: str) -> set[str]:
    found = families(words)
    assert found is not None
    return set(found)


def ops_said(words: str) -> str:
    with pytest.raises(UserError) as caught:
        families(words)
    assert caught.value.exit_code == 1
    return str(caught.value)


def test_nothing_is_asked_for() -> None:
    assert asked() == Filters()
    assert asked(follow=True) == Filters(follow_command=True)
    assert families("") is None


def test_operations_of_audits() -> None:
    assert set(families("memslot,pin", audit=True) or ()) == {
        "memslot", "memslot_file", "vm_begin", "pin", "pin_fast", "pin_remote", "pin_file",
        "shmem_evict", "hugetlb_evict", "gmem_release", "secretmem_release",
    }  # fmt: skip
    assert "no operation 'memslot'" in ops_said("memslot")
    both = families("truncate", audit=True)
    assert both is not None
    assert both - hooked("truncate") == {
        "gmem_setattr", "secretmem_setattr", "gmem_release", "secretmem_release",
    }  # fmt: skip
    assert families("", audit=True) is None


def test_everything_is_asked_for() -> None:
    mine = str(os.getpid())
    argv = ["--name", "wl_", "--seals", "write,grow", "--denied", "--unsealable"]
    argv += ["--uid", "1000", "--uid", "root"]
    assert asked(*argv, "--pid", mine, "--pid", "1") == Filters(
        pids=(os.getpid(), 1),
        uids=(1000, 0),
        name=b"wl_",
        seals=Seal.WRITE | Seal.GROW,
        denied=True,
        unsealable=True,
    )


# ---- seals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "seals"),
    [
        ("seal", 0x01),
        ("shrink,grow", 0x06),
        ("future_write", 0x10),
        ("EXEC", 0x20),
        ("inaccessible,SEAL", 0x21),
        (" write , seal,", 0x09),
        ("F_SEAL_WRITE", 0x08),
        ("write,write", 0x08),
    ],
)
def test_seals(words: str, seals: int) -> None:
    assert asked("--seals", words).seals == seals


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("writ", "--seals: there is no seal 'writ'; did you mean write?"),
        ("grow,Shrnk", "--seals: there is no seal 'shrnk'; did you mean shrink?"),
        ("future-write", "--seals: there is no seal 'future-write'; did you mean future_write?"),
        (
            "0x8",
            "--seals: there is no seal '0x8'; there are seal, shrink, grow, write, future_write, "
            "exec, inaccessible",
        ),
        (",", "--seals: ',' names nothing"),
        (" ", "--seals: ' ' names nothing"),
    ],
)
def test_bad_seals(words: str, message: str) -> None:
    assert said("--seals", words) == message


# ---- operations -------------------------------------------------------------------------------


def test_ops() -> None:
    evict = {"shmem_evict", "hugetlb_evict"}
    mmap = {"mmap", "mmap_check", "shmem_mmap", "hugetlb_mmap"}
    assert hooked("mmap") == mmap | evict
    assert hooked("add_seals") == {"seals"} | evict
    assert hooked(" Write ,map") == {"write", "write_check", "map", "map_after"} | evict
    assert hooked("punch_hole") == hooked("allocate")
    assert hooked("truncate") == {"shmem_setattr", "hugetlb_setattr"} | evict


def test_every_family_can_be_asked_for() -> None:
    words = {op.name.lower() for family in FAMILIES for op in family.ops}
    assert hooked(",".join(sorted(words))) == {family.name for family in FAMILIES}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("mmapp", "--ops: there is no operation 'mmapp'; did you mean mmap?"),
        ("mmap,wirte", "--ops: there is no operation 'wirte'; did you mean write?"),
        ("addseals", "--ops: there is no operation 'addseals'; did you mean add_seals?"),
        (",,", "--ops: ',,' names nothing"),
    ],
)
def test_bad_ops(words: str, message: str) -> None:
    assert ops_said(words) == message


@pytest.mark.parametrize("word", ["fault", "mprotect", "open", "xyzzy"])
def test_ops_that_no_hook_sees(word: str) -> None:
    """A word of the recording, perhaps, but recording it alone would record nothing."""
    assert ops_said(word).startswith(f"--ops: there is no operation '{word}'; ")


# ---- processes and users ----------------------------------------------------------------------


@pytest.mark.parametrize("pid", ["4194999", "-1", "0"])
def test_no_such_process(pid: str) -> None:
    assert said(f"--pid={pid}") == f"--pid: there is no process {pid}"


def test_a_thread_is_no_process() -> None:
    """/proc/TID exists, but the kernel-side filter compares thread groups: it would never match."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        tid = thread.native_id
        assert Path(f"/proc/{tid}").exists()
        message = f"--pid: {tid} is a thread; did you mean its process {os.getpid()}?"
        assert said("--pid", str(tid)) == message
    finally:
        over.set()
        thread.join()


def test_uids() -> None:
    last = pwd.getpwall()[-1]
    assert asked("--uid", last.pw_name).uids == (last.pw_uid,)
    assert asked("--uid", "4294967294").uids == (4294967294,)
    for number in ("4294967295", "99999999999"):
        message = f"--uid: {number} is more than a user number can be"
        assert said("--uid", number) == message


def test_bad_uids() -> None:
    assert said("--uid", "rooot") == "--uid: this host has no user 'rooot'; did you mean root?"
    assert said("--uid", "0x1 2") == "--uid: this host has no user '0x1 2'; give its number"
    assert said("--uid=-1") == "--uid: this host has no user '-1'; give its number"
    assert said("--uid", "") == "--uid: this host has no user ''; give its number"


# ---- cgroups and names ------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a host has mounted at /sys/fs/cgroup, in place of this host's."""
    monkeypatch.setattr("tracer.cli.record._CGROUPS", str(tmp_path))
    return tmp_path


def test_cgroup(tree: Path) -> None:
    inside = tree / "machine.slice" / "a.scope"
    inside.mkdir(parents=True)
    for folder, paths in (
        (tree, ("/", "")),
        (inside, ("/machine.slice/a.scope", "machine.slice/a.scope")),
    ):
        (folder / "cgroup.controllers").touch()
        for path in paths:
            assert asked("--cgroup", path).cgroups == (folder.stat().st_ino,)


@pytest.mark.parametrize("path", ["/no/such", "no-such", "/sys/kernel", "../../..", "x" * 300])
def test_bad_cgroups(path: str) -> None:
    message = said("--cgroup", path)
    assert message.startswith("--cgroup: /sys/")
    assert message.endswith(" is not a cgroup v2 folder; see /proc/PID/cgroup")
    assert path.removeprefix("/") in message


def test_a_v1_cgroup_is_none(tree: Path) -> None:
    """It has a number too, but not one that the kernel-side filter ever sees."""
    (tree / "memory").mkdir()
    (tree / "memory" / "cgroup.procs").touch()
    assert "is not a cgroup v2 folder" in said("--cgroup", "/memory")


def test_names() -> None:
    assert asked("--name", "x" * 249).name == b"x" * 249
    assert asked("--name", "\udcff").name == b"\xff", "bytes that are no UTF-8 come as surrogates"
    message = "--name: 250 bytes, but a name has at most 249"
    assert said("--name", "x" * 250) == message
    assert said("--name", "ä" * 125) == message


# ---- --filter ---------------------------------------------------------------------------------


def recording(*argv: str) -> argparse.Namespace:
    args = Record().parser().parse_args(argv)
    filters_of_kernel(args)
    return args


def test_a_filter_becomes_the_kernels() -> None:
    mine = str(os.getpid())
    words = f"op:mmap uid:1000 pid:{mine} name:wl_* seals:+WRITE ret:error"
    args = recording("--filter", words)
    assert filters(args, False) == Filters(
        pids=(os.getpid(),), uids=(1000,), name=b"wl_", seals=Seal.WRITE, denied=True
    )
    assert hooked("mmap,add_seals,create") == hooked(args.ops)
    assert filters(recording("--filter", "op:write"), False) == Filters()


def test_who_acts_is_compared_by_the_recorder() -> None:
    args = recording("--filter", "vm:web unit:x.service uid:0", "--filter", 'exe:"/a b"')
    assert filters(args, False) == Filters(uids=(0,), actors='vm:web unit:x.service exe:"/a b"')
    # It takes nothing from what the kernel hands over.
    assert not any(Filters(actors="vm:web").macros(1 << 20)[name] for name in
                   ("FILTER_CGROUP", "FILTER_PID"))  # fmt: skip


def test_operations_of_audits_in_a_filter() -> None:
    with pytest.raises(QueryError, match="op:memslot cannot be applied"):
        recording("--filter", "op:memslot")
    assert "memslot" in recording("--audit", "--filter", "op:memslot").ops


def test_a_filter_beside_options() -> None:
    args = recording("--filter", "uid:1000", "--denied", "--name", "x")
    assert filters(args, False) == Filters(uids=(1000,), denied=True, name=b"x")
    with pytest.raises(UserError, match="--uid and --filter say different things"):
        recording("--filter", "uid:1000", "--uid", "0")
    with pytest.raises(QueryError, match=r"verdict:breach cannot be applied in the kernel"):
        recording("--filter", "op:mmap verdict:breach")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--filter", "op:mmap name:r*"], ["--ops=mmap,add_seals,create", "--name=r"]),
        (["--filter", "op:mmap name:r*", "--ops", "write"], ["--name=r"]),
        (["--filter", "op:mmap name:r*", "--unsealable"], ["--ops=mmap,add_seals,create"]),
        (["--filter", "uid:0 verdict:breach"], []),
        ([], []),
    ],
)
def test_what_trace_has_left_out(argv: list[str], words: list[str]) -> None:
    args = Trace().parser().parse_args(argv)
    assert words_of_filter(args, filter_query(args)) == words
