"""Who acted, by the pieces that a recording has of it."""

import numpy as np
import pytest

from tracer.record import HEAD, TASK, RecordType, TaskText
from tracer.recording.pieces import Together
from tracer.recording.tables import tables
from tracer.recording.tasks import CUT, NAME_BYTES, NOBODY, Actor, Task, Tasks, claimed

DD = Actor(7, 1000, 3)


def row(
    what: TaskText = TaskText.EXE,
    text: bytes = b"/usr/bin/dd",
    part: int = 0,
    more: bool = False,
    actor: Actor = DD,
    **facts: int,
) -> np.ndarray:
    found = np.zeros(1, TASK)
    found["type"], found["what"], found["part"], found["more"] = RecordType.TASK, what, part, more
    found["pid"], found["start_ns"], found["exec_id"] = actor
    found["length"] = len(text)
    # Behind the piece there is whatever lay in the ring.
    found["text"] = np.void(text.ljust(TASK["text"].itemsize, b"#"))
    for name, value in {"ino": 5, "dev": 9, "parent": 1, "ns_pid": 7, **facts}.items():
        found[name] = value
    return found.view(HEAD)


def known(*rows: np.ndarray) -> Tasks:
    return Tasks.of_tables([tables(np.concatenate(rows))["tasks"]])


def command(*pieces: bytes, cut: bool = False, actor: Actor = DD) -> list[np.ndarray]:
    last = len(pieces) - 1
    return [
        row(TaskText.CMDLINE, piece, part, part < last or cut, actor)
        for part, piece in enumerate(pieces)
    ]


def test_a_program_and_its_command_line() -> None:
    found = known(row(gen=3, parent_start_ns=500, ns_pid=2), *command(b"dd\0if=/dev/zero\0")).of(DD)
    assert found == Task("/usr/bin/dd", 9, 5, 3, "dd if=/dev/zero", 1, 500, 2)
    assert known(row()).of(Actor(7, 1000, 4)) is NOBODY


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"a\0b c\0\0", "a 'b c' ''"),
        (b"it's\0", "'it'\\''s'"),
        (b"\x1b[31m\0", "'\\x1b[31m'"),
        (b"no-nul", "no-nul"),
        (b"$HOME\0`x`\0", "'$HOME' '`x`'"),
    ],
)
def test_as_a_shell_would_take_it(raw: bytes, shown: str) -> None:
    assert known(row(), *command(raw)).of(DD).cmdline == shown


def test_in_pieces_and_cut() -> None:
    whole = known(*command(b"one\0tw", b"o\0"), row(text=b"/a", more=True), row(text=b"/b", part=1))
    assert (whole.of(DD).exe, whole.of(DD).cmdline) == ("/a/b", "one two")
    assert known(row(), *command(b"one\0tw", cut=True)).of(DD).cmdline == f"one tw {CUT}"
    assert known(row(text=b"/a", more=True)).of(DD).exe == "?/a"
    assert known(row(text=b"/deep/a", cut=1)).of(DD).exe == "?/deep/a"


def test_told_again_as_it_exits() -> None:
    gone = row(text=b"", ino=0, dev=0, ns_pid=0)
    for rows in ([row(), gone], [gone, row()]):
        assert known(*rows).of(DD).exe == "/usr/bin/dd"
        assert known(*rows).of(DD).ns_pid == 7


QEMU = b"/usr/bin/qemu-system-x86_64"
UUID = b"0a1b2c3d-0000-4000-8000-00000000000f"


@pytest.mark.parametrize(
    ("exe", "raw", "cut", "name"),
    [
        (QEMU, b"qemu\0-name\0guest=web,x=y\0", False, "web"),
        (QEMU, b"qemu\0-name\0web\0-m\0", True, "web"),
        (QEMU, b"qemu\0-name\0we", True, ""),  # perhaps web
        (QEMU, b"qemu\0-name\0\x1b[31m\0", False, "\\x1b[31m"),
        (b"/usr/bin/find", b"find\0-name\0web\0", False, ""),
    ],
)
def test_a_machine_by_its_command_line(exe: bytes, raw: bytes, cut: bool, name: str) -> None:
    assert known(row(text=exe), *command(raw, cut=cut)).of(DD).vm == name


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (b"-name web", b"web"),
        (b"--name web", b"web"),
        (b"-name guest=web,debug-threads=on", b"web"),  # as libvirt says it
        (b"-name debug-threads=on,guest=web", b"web"),
        (b"-name web,process=worker", b"web"),
        (b"-name guest=a,,b,process=x", b"a,b"),
        (b"-name process=worker", b""),
        (b"-name a -m 1G -name b", b"b"),
        (b"-name a -name process=x", b"a"),
        (b"-uuid " + UUID, UUID),
        (b"-name web -uuid " + UUID, b"web"),
        (b"-uuid web", b""),
        (b"-name", b""),
        (b"-m 1G", b""),
        (b"name web", b""),
        (b"-name " + b"x" * 500, b"x" * NAME_BYTES),
    ],
)
def test_the_name_of_a_machine(words: bytes, name: bytes) -> None:
    assert claimed(QEMU, [b"qemu", *words.split(b" ")]) == name


@pytest.mark.parametrize(
    ("exe", "there"),
    [
        (b"/usr/libexec/qemu-kvm", True),
        (b"/usr/bin/qemu-system-aarch64", True),
        (b"/usr/bin/kvm", True),
        (b"/usr/bin/qemu-img", False),
        (b"/usr/bin/find", False),  # find -name web
        (b"/usr/bin/qemu-system-x86_64/find", False),
        (b"", False),
    ],
)
def test_only_qemu_names_a_machine(exe: bytes, there: bool) -> None:
    assert bool(claimed(exe, [b"x", b"-name", b"web"])) == there


def test_a_build_id() -> None:
    of = row(TaskText.BUILD_ID, b"\x0a\xff", 0xFFFF)
    for rows in ([row(), *command(b"dd\0"), of], [of, row(), *command(b"dd\0")]):
        found = known(*rows).of(DD)
        assert (found.build_id, found.exe, found.cmdline) == ("0aff", "/usr/bin/dd", "dd")
    assert known(row()).of(DD).build_id == ""


def test_the_newest_are_kept() -> None:
    others = [Actor(number, 1, 1) for number in (8, 9)]
    found = known(row(), *(row(actor=one) for one in others))
    assert found.of(DD) is not NOBODY
    found.keep_newest(2)
    assert found.of(DD) is NOBODY
    assert NOBODY not in [found.of(one) for one in others]


def test_several_recordings_of_a_boot() -> None:
    other = Actor(8, 1, 1)
    both = Together(Tasks, [known(row()), known(row(actor=other, text=b"/bin/x"))])
    assert (both.of(DD).exe, both.of(other).exe) == ("/usr/bin/dd", "/bin/x")
    assert both.of(Actor(9, 1, 1)) is NOBODY
