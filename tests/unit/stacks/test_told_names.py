"""Names that a recording itself has: of the kernel's functions, of the vdso, of perf maps."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.recording.stack_records import PROGRAM, StackStory, code
from tests.unit.recording.test_stack_tables import table
from tests.unit.stacks.test_outputs import Capture, below, printed
from tracer.capture.bpf_source import Stacks
from tracer.capture.stacks.maps import vdso
from tracer.capture.stacks.records import Frame
from tracer.cli.main import main
from tracer.record import FrameWhat, StackState
from tracer.recording.redact import redact
from tracer.recording.verify import verify
from tracer.stacks import elf

KERNEL = [
    Frame(0, 0x5, FrameWhat.KERNEL, name=b"shmem_file_write_iter"),
    Frame(0, 0x9, FrameWhat.KERNEL, name=b"hook [their_module]"),
    Frame(0, 0, FrameWhat.KERNEL),
    Frame(0, 0x5D, FrameWhat.KERNEL, name=b"do_syscall_64"),
]
HOSTILE = b"\x1b[2Jevil;<b>\xff"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three refused writes: one of a program, one of a JIT compiler's code, one by nobody known."""
    story = StackStory()
    story.object(5, "ring")
    story.module(1, PROGRAM)
    story.stack(1, [code(1, 0x1234, True), code(1, 0x10A5)])
    story.stack(2, [
        Frame(0, 0, FrameWhat.JIT, True, HOSTILE),
        Frame(0, 0x90, FrameWhat.VDSO, name=b"__vdso_clock_gettime"),
        Frame(0, 0, FrameWhat.JIT, name=b"n" * 200),
        Frame(0, 0, FrameWhat.JIT),
    ])  # fmt: skip
    story.stack(3, KERNEL)
    refused: dict[str, Any] = {"answer": -1, "length": 8, "seals": 8, "seals_after": 8}
    story.called(1, "write", 5, kernel=3, **refused)
    story.called(2, "write", 5, state=StackState.UNKNOWN, **refused)
    story.called(0, "write", 5, state=StackState.LOST, kernel=3, **refused)
    return story.write(tmp_path / "s.seal")


BELOW = [
    "    in the kernel:",
    "    shmem_file_write_iter+0x5 [kernel]",
    "    hook+0x9 [their_module]",
    "    [kernel]",
    "    do_syscall_64+0x5d [kernel]",
]


def test_lines(path: Path, capsys: Capture) -> None:
    assert verify(path).damage == []
    first, second, third = below(printed(capsys, "script", path, "--stacks"))
    assert first == ["    map_ring+0x1234", "    map_ring+0x10a5", *BELOW]
    assert second == [
        "    \\x1b[2Jevil;<b>\\xff [perf map]",
        "    __vdso_clock_gettime [vdso]",
        f"    {'n' * 149}… [perf map]",
        "    [jit]",
        "    … and more: how it goes on from there is not known",
    ]
    assert third == ["    … the stack was lost", *BELOW]


def test_json(path: Path, capsys: Capture) -> None:
    text = printed(capsys, "script", path, "--stacks", "--json")
    first, second, third = map(json.loads, text.splitlines())
    kernels = [(one["function"], one["offset"], one["what"]) for one in first["kernel_stack"]]
    assert kernels == [
        ("shmem_file_write_iter", 5, "kernel"), ("hook", 9, "kernel"), (None, 0, "kernel"),
        ("do_syscall_64", 0x5D, "kernel"),
    ]  # fmt: skip
    assert "kernel_stack" not in second or not second["kernel_stack"]
    assert third["stack"] == []
    assert third["kernel_stack"] == first["kernel_stack"]


def test_folded_as_perf_has_it(path: Path, tmp_path: Path, capsys: Capture) -> None:
    folded = tmp_path / "f"
    main(["report", str(path), "--folded", str(folded)])
    lines = [line.split(";") for line in folded.read_text().splitlines()]
    kernels = ["do_syscall_64_[k]", "[kernel]_[k]", "hook_[k]", "shmem_file_write_iter_[k]"]
    assert ["map_ring+0x10a5", "map_ring+0x1234", *kernels] in [one[1:-1] for one in lines]
    assert ["not known", *kernels] in [one[1:-1] for one in lines]
    assert any("\\x1b[2Jevil:<b>\\xff" in one for one in lines)


def test_a_copy_has_no_name_that_was_somebodys(path: Path, tmp_path: Path) -> None:
    redact(str(path), str(tmp_path / "copy.seal"))
    names = [row["function"] for row in table(tmp_path / "copy.seal", "stacks")]
    assert [bytes(one) for one in names if one] == [  # type: ignore[call-overload]
        b"symbol-1", b"__vdso_clock_gettime", b"symbol-2", b"shmem_file_write_iter", b"symbol-3",
        b"do_syscall_64",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "stacks", "words"),
    [
        ("denied", Stacks.DENIED, "denied"),
        ("kernel", Stacks.DENIED | Stacks.KERNEL, "denied,kernel"),
        ("kernel,all", Stacks.ALL | Stacks.KERNEL, "all,kernel"),
        ("off", Stacks.OFF, "off"),
    ],
)
def test_what_the_option_means(text: str, stacks: Stacks, words: str) -> None:
    from argparse import Namespace

    from tracer.cli.record import _stacks

    assert _stacks(Namespace(stacks=text)) == stacks
    assert stacks.words == words


@pytest.mark.parametrize("text", ["off,kernel", "denied,all", "deny", ","])
def test_what_it_does_not(text: str, capsys: Capture) -> None:
    assert main(["record", "--stacks", text, "--", "true"]) == 1
    assert "--stacks" in capsys.readouterr().err


def test_names_of_the_vdso(tmp_path: Path) -> None:
    (tmp_path / "vdso").write_bytes(vdso())
    with (tmp_path / "vdso").open("rb") as file:
        found = {name: (address, size) for address, size, name in elf.functions(file.fileno())}
    address, size = found[b"__vdso_clock_gettime"]
    assert 0 < address < len(vdso())
    assert size > 0
