"""``sealsnoop ls`` on this test process's own memory files."""

import contextlib
import json
import mmap
import os
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tests.unit.cgroup_forms import ID
from tests.unit.recording.test_places import ROOT, SLICE
from tests.unit.recording.test_places import places as cgroups
from tests.unit.recording.test_places import row as cgroup
from tracer.capture.memory_files import MemoryFile
from tracer.cli import ls
from tracer.cli.main import main
from tracer.errors import UserError
from tracer.filter.query import parse
from tracer.labels import SEALS_UNKNOWN
from tracer.record import Kind

NAME = b"[bold]\x1b[31m\nevil\tls"
SHOWN = "[bold]\\x1b[31m\\nevil\\tls"


def call(*argv: str) -> int:
    verb = ls.Ls()
    return verb.run(verb.parser().parse_args(argv))


@pytest.fixture
def memfd() -> Iterator[int]:
    fd = os.memfd_create(os.fsdecode(NAME), os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4096)
    yield fd
    os.close(fd)


def test_plain_lines(memfd: int, capsys: pytest.CaptureFixture[str]) -> None:
    readers = (mmap.mmap(memfd, 4096, prot=mmap.PROT_READ) for _ in range(5))
    maps = mmap.mmap(memfd, 4096), *readers
    with contextlib.ExitStack() as stack:
        for one in maps:
            stack.enter_context(one)
        assert call("--pid", str(os.getpid())) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split("\t") == list(ls.HEADER)
    [row] = [line.split("\t") for line in out if SHOWN in line]
    kind, seals, size, mappings, writable, holders, mappers, name = row
    assert (kind, seals, size, mappings, writable) == ("memfd", "------", "4096", "6", "1")
    assert f"{os.getpid()}/" in holders
    assert holders.split()[0].endswith(f":{memfd}")
    assert name == SHOWN
    me = mappers.split(":")[0]
    assert me.startswith(f"{os.getpid()}/")
    assert set(mappers.split(" ")) == {f"{me}:rw-s", f"{me}:r--s"}


def test_nobody_reads_it_to_the_end(memfd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with ``| head``: that is no failure, and no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert main(["ls", "--pid", str(os.getpid())]) == 0


def test_json(memfd: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--json", "--name", "*evil*ls") == 0
    [row] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert row["name"] == "memfd:" + SHOWN
    assert (row["kind"], row["seals"], row["size"]) == ("memfd", 0, 4096)
    assert row["holders"][0]["fd"] == memfd
    assert row["holders"][0]["writable"] is True


def test_name_and_pid_select(memfd: int, capsys: pytest.CaptureFixture[str]) -> None:
    call("--name", "nobody-is-called-this")
    assert len(capsys.readouterr().out.splitlines()) == 1, "the header alone"
    call("--pid", "1", "--name", "*evil*")
    assert len(capsys.readouterr().out.splitlines()) == 1
    with pytest.raises(UserError, match="no process"):
        call("--pid", "999999999")


def test_an_empty_answer_never_reassures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tracer.capture import procfs as visibility

    for problems, code in (([], 0), (["open files of 3 of 9 processes not readable"], 3)):
        monkeypatch.setattr(visibility, "problems", lambda *_, found=problems: found)
        assert call("--name", "nobody-is-called-this") == code
        told = capsys.readouterr().err
        assert "no memory file found" in told
        assert all(text in told for text in problems)


def test_table_shows_names_as_they_are() -> None:
    file = MemoryFile(Kind.MEMFD, 1, 2, b"/memfd:" + NAME)
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(ls.table([file]))
    text = console.export_text()
    assert SHOWN in text
    assert "??????" in text
    assert file.seals == SEALS_UNKNOWN


# ---- filters ----------------------------------------------------------------------------------


def someone(pid: int, comm: bytes, fd: int) -> Any:
    known = SimpleNamespace(comm=comm, uid=pid * 10, cgroup=pid)
    return SimpleNamespace(pid=pid, who=known, fd=fd, fmode=3)


def file(ino: int, name: bytes, seals: int, *holders: Any) -> MemoryFile:
    return MemoryFile(Kind.MEMFD, 1, ino, name, None, 7, seals, list(holders))


FILES = [
    file(1, b"/memfd:ring", 0x8, someone(5, b"qemu", 3), someone(6, b"gdb", 4)),
    file(2, b"/memfd:frame", 0x6, someone(6, b"gdb", 3)),
    file((1 << 63) + 1, b"/memfd:x", SEALS_UNKNOWN),
]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("name:ring", [0]),
        ("seals:+WRITE", [0]),
        ("seals:-WRITE", [1]),
        ("seals:unknown", [2]),
        ("pid:6", [0, 1]),
        ("pid:6 fd:3", [1]),  # of one and the same who has it
        ("!pid:5", [1, 2]),
        ("!comm:gdb", [2]),
        ("comm:gdb !comm:qemu", [1]),
        ("uid:50..60", [0, 1]),
        ("ino:9223372036854775809", [2]),
        ("object:1:2:7,1:1:7", [0, 1]),
        ("size:0", []),  # not known
        ("gdb", [0, 1]),
        ("kind:memfd,hugetlb", [0, 1, 2]),
        ("kind:hugetlb", []),
    ],
)
def test_a_filter(text: str, places: list[int]) -> None:
    assert ls.matching(FILES, parse(text)) == [FILES[place] for place in places]


NAMED = cgroups(
    ROOT, SLICE, cgroup(5, 2, b"vm.service"), cgroup(6, 2, f"docker-{ID}.scope".encode())
)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("unit:vm.service", [0]),
        (f"container:{ID[:12]}*", [0, 1]),
        ("!container:*", [2]),
        ("unit:vm.service comm:gdb", []),
        ("cgroup:5", [0]),
        ("vm:*", []),
    ],
)
def test_a_filter_by_what_cgroups_are_called(text: str, places: list[int]) -> None:
    assert ls.matching(FILES, parse(text), NAMED) == [FILES[place] for place in places]


def test_json_says_where() -> None:
    found = [one["place"] for one in ls.as_dict(FILES[0], NAMED)["holders"]]
    assert found == ["vm.service", f"docker {ID[:12]}"]
    assert ls.as_dict(FILES[0])["holders"][0]["place"] is None


def test_cgroups_of_this_host(memfd: int, capsys: pytest.CaptureFixture[str]) -> None:
    mine = f"pid:{os.getpid()} fd:{memfd}"
    assert call("--json", "--filter", f"{mine} !unit:no.service") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert call("--json", "--filter", f"{mine} unit:no.service") in (0, 3)
    assert capsys.readouterr().out == ""


def test_executables_of_this_host(memfd: int, capsys: pytest.CaptureFixture[str]) -> None:
    mine, exe = f"pid:{os.getpid()} fd:{memfd}", os.path.realpath(sys.executable)
    assert call("--json", "--filter", f"{mine} exe:{exe}") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert call("--json", "--filter", f"{mine} exe:/bin/nothing") in (0, 3)
    assert capsys.readouterr().out == ""


def test_keys_that_files_do_not_have(memfd: int, capsys: pytest.CaptureFixture[str]) -> None:
    for text, said in (("verdict:breach", "only judged"), ("op:mmap", "op cannot be used here")):
        with pytest.raises(UserError, match=said):
            call("--filter", text)
    mine = f"pid:{os.getpid()} fd:{memfd}"
    assert call("--json", "--filter", mine) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["name"] == f"memfd:{SHOWN}"
