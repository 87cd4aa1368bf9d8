"""Which files are opened at the word of a recording, and which never."""

import os
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.unit.stacks.compiled import Program, compiled
from tracer.stacks import elf
from tracer.stacks.files import Files
from tracer.stacks.mounts import Mounts, answers_by_itself, tells_nobody
from tracer.stacks.recorded import Module


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return compiled(tmp_path_factory.mktemp("program"))


def used(module: Module) -> bool:
    found = Files([]).module(module)
    if found is not None:
        found.close()
    return found is not None


def at(program: Program, path: Path | bytes) -> Module:
    return program.module(raw=os.fsencode(path))


def test_the_file_that_ran(program: Program) -> None:
    found = Files([]).module(program.module())
    assert found is not None
    assert found.elf.build_id == program.build_id
    assert found.elf.span[0] == 0
    found.close()


def test_no_link_is_followed(program: Program, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(program.path)
    (tmp_path / "folder").symlink_to(program.path.parent)
    assert not used(at(program, tmp_path / "link"))
    assert not used(at(program, tmp_path / "folder/prog"))
    assert not used(at(program, b"/proc/self/exe"))


def test_a_fifo_or_a_device_is_not_opened(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    real = os.open

    def noted(path: Any, flags: int, *more: Any, **other: Any) -> int:
        if not flags & os.O_PATH:
            opened.append(path)
        return real(path, flags, *more, **other)

    monkeypatch.setattr(os, "open", noted)
    os.mkfifo(tmp_path / "fifo")
    assert not used(at(program, tmp_path / "fifo"))
    assert not used(at(program, b"/dev/zero"))
    assert not used(at(program, b"/dev/null"))
    assert opened == []
    assert used(program.module())
    assert len(opened) == 1


@pytest.mark.parametrize("path", [b"", b"prog", b"../prog", b"/a\0b", b"/", b"/nowhere/x"])
def test_what_is_no_path_of_a_file(program: Program, path: bytes) -> None:
    assert not used(at(program, path))


def test_no_path_is_followed_out_of_a_file_that_is_no_program(
    program: Program, tmp_path: Path
) -> None:
    for name, data in (("text", b"hello"), ("empty", b""), ("head", b"\x7fELF\x02\x01")):
        (tmp_path / name).write_bytes(data)
        assert not used(at(program, tmp_path / name))


def test_a_build_id_names_no_path_of_its_own(program: Program, tmp_path: Path) -> None:
    debug = tmp_path / "debug"
    (debug / ".build-id").mkdir(parents=True)
    for evil in ("", "a", "ab", "../../etc/passwd", "zz" * 20):
        assert Files([str(debug)]).debug(evil) is None


MOUNTS = b"""\
21 1 0:19 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:20 / /net rw - autofs /etc/auto.net rw,fd=5
23 21 0:21 / /home/a\\040b rw - nfs4 server:/x rw
24 21 0:22 / /data rw - fuseblk /dev/sdb1 rw
25 21 0:23 / /mnt rw - fuse.sshfs x rw
26 25 0:24 / /mnt rw - tmpfs x rw
27 26 0:24 / /mnt/inner rw - cifs x rw
28 21 0:25 / /slow rw - fuse.sshfs x rw
29 28 0:26 / /slow/inner rw - ext4 x rw
nonsense
"""


def table(tmp_path: Path, lines: bytes) -> Mounts:
    (tmp_path / "mountinfo").write_bytes(lines)
    found = Mounts(tmp_path / "mountinfo", tells_nobody)
    found.look()
    return found


@pytest.mark.parametrize(
    ("path", "answers"),
    [
        (b"/usr/bin/x", True),
        (b"/net", False),
        (b"/net/evil.host/share/x", False),
        (b"/network/x", True),
        (b"/home/a b/x", False),
        (b"/data/x", True),
        (b"/mnt/x", True),  # the later mount covers the earlier one
        (b"/mnt/inner/x", False),
        (b"/slow/inner/x", False),  # the way leads through the outer one
        (b"/usr/../net/x", False),
        (b"/usr/./x", False),
        (b"//net/x", False),
    ],
)
def test_nobody_is_asked_over_a_network(tmp_path: Path, path: bytes, answers: bool) -> None:
    assert table(tmp_path, MOUNTS).answers(path) is answers


def test_the_root_is_looked_at_wherever_it_lies(tmp_path: Path) -> None:
    """A guest's root may come from its host."""
    assert table(tmp_path, b"21 1 0:19 / / rw - 9p root rw\n").answers(b"/usr/bin/x")
    assert Mounts(tmp_path / "none", tells_nobody).answers(b"/usr/bin/x")


def test_mounts_that_may_not_answer_are_not_entered(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(
        b"1 0 8:1 / / rw - 9p root rw\n"
        b"2 1 0:40 / /home/eve/slow rw - fuse.sshfs eve rw\n"
        b"3 1 0:41 / /var\\040x rw - ext4 /dev/sda rw\n"
        b"4 3 0:42 / /var\\040x/n rw - fuse server:/ rw\n"
        b"5 1 0:43 / /both rw - ext4 /dev/sdb rw\n"
        b"6 5 0:44 / /both rw - fuse x rw\n"
    )
    mounts = Mounts(table, answers_by_itself)
    mounts.look()
    assert mounts.answers(b"/usr/bin/x")
    assert mounts.answers(b"/var x/y")
    assert mounts.answers(b"/home/eve/slower")
    assert not mounts.answers(b"/home/eve/slow/a/b")
    assert not mounts.answers(b"/home/eve/slow")
    assert not mounts.answers(b"/var x/n/y")
    assert not mounts.answers(b"/both/x")
    assert mounts.by_id == {1: True, 2: False, 3: True, 4: False, 5: True, 6: False}


# ---- ELF files ----------------------------------------------------------------------------------


def test_whatever_bytes_are_an_elf_file_or_none(program: Program, tmp_path: Path) -> None:
    import random

    rng = random.Random(7)
    data = program.path.read_bytes()
    path = tmp_path / "damaged"
    sane = 0
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 2, 8, 40))):
            damaged[rng.randrange(0, 1200)] = rng.randrange(256)
        path.write_bytes(damaged)
        with path.open("rb") as file:
            try:
                found = elf.read(file.fileno())
            except elf.NotElf:
                continue
        sane += 1
        low, high = found.span
        assert 0 <= low < high < 1 << 63
        assert len(found.build_id) <= 64
    assert sane > 20


def test_a_build_id_is_found_in_what_strip_leaves(program: Program, tmp_path: Path) -> None:
    import subprocess

    path = tmp_path / "debug"
    subprocess.run(["objcopy", "--only-keep-debug", program.path, path], check=True)
    with path.open("rb") as file:
        assert elf.read(file.fileno()).build_id == program.build_id


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 58, b"#!/bin/sh"])
def test_what_is_no_program(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    with pytest.raises(elf.NotElf):
        elf.read(fd)
    os.close(fd)


def test_where_a_file_was_mapped() -> None:
    """Its parts need not begin with a page, as lld leaves them."""
    code = elf.Segment(
        offset=0x6C0, address=0x16C0, in_file=0x900, in_memory=0x900, executable=True
    )
    data = elf.Segment(0, 0, 0x6C0, 0x6C0, executable=False)
    found = elf.Elf((data, code), "")
    assert found.bias(0x55550000_1000, 0) == 0x55550000_0000
    assert found.span == (0, 0x1FC0)
    with pytest.raises(elf.NotElf):
        found.bias(0x55550000_1000, 0x1000)


def test_a_build_id_that_is_too_long_is_none() -> None:
    note = struct.pack("<III", 4, 4000, 3) + b"GNU\0" + b"x" * 4000
    assert elf._build_id(note) == ""
    assert elf._build_id(struct.pack("<III", 4, 20, 3) + b"GNU\0" + b"x" * 20) == "78" * 20
    assert elf._build_id(struct.pack("<III", 0xFFFFFFFF, 0xFFFFFFFF, 3)) == ""
