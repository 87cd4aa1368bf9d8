"""Names of frames, against what the program itself tells about its calls."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.stacks.compiled import Program, compiled, debug_file
from tracer.stacks import names as module
from tracer.stacks.files import Files
from tracer.stacks.names import GIVEN_UP, NO_DRGN, Names, Place
from tracer.stacks.recorded import Frame, Module


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return compiled(tmp_path_factory.mktemp("program"))


@pytest.fixture
def names() -> Iterator[Names]:
    with Names(Files([])) as found:
        yield found


def short(places: tuple[Place, ...]) -> list[tuple[str, str, int]]:
    return [(one.function, one.source.partition(":")[0], one.line) for one in places]


def test_a_call_has_the_function_and_line_that_the_program_tells(
    program: Program, names: Names
) -> None:
    found = short(names.of(program.frame("plain")))
    assert found == [("plain", "prog.c", program.calls["plain"].line)]


def test_an_inlined_function_stands_before_the_one_that_it_is_in(
    program: Program, names: Names
) -> None:
    assert short(names.of(program.frame("map_ring"))) == [
        ("map_ring", "prog.c", program.calls["map_ring"].line),
        ("outer", "prog.c", program.calls["outer"].line),
    ]


def test_the_call_counts_and_not_what_it_would_return_to(program: Program, names: Names) -> None:
    """The last instruction of a function: behind it another function starts."""
    last = program.calls["last"]
    assert short(names.of(program.frame("last"))) == [("last", "prog.c", last.line)]
    interrupted = Frame(program.module(), last.offset, interrupted=True)
    assert short(names.of(interrupted)) != [("last", "prog.c", last.line)]


def test_a_program_that_lies_where_it_was_linked(tmp_path: Path, names: Names) -> None:
    fixed = compiled(tmp_path, pie=False)
    assert fixed.calls["plain"].offset > 0x400000
    found = short(names.of(fixed.frame("plain")))
    assert found == [("plain", "prog.c", fixed.calls["plain"].line)]


def test_a_stripped_program_and_its_debug_file(tmp_path: Path) -> None:
    built = compiled(tmp_path)
    debug_file(built, tmp_path / "debug")
    with Names(Files([])) as without:
        assert without.of(built.frame("plain")) == ()
    with Names(Files([str(tmp_path / "debug")])) as names:
        assert len(names.of(built.frame("map_ring"))) == 2
    with Names(Files([str(tmp_path / "debug/.build-id")])) as names:
        assert len(names.of(built.frame("map_ring"))) == 2


def test_a_debug_file_alone_is_enough(tmp_path: Path) -> None:
    """As on another machine: neither the program nor its source is there."""
    built = compiled(tmp_path)
    debug_file(built, tmp_path / "debug")
    frame = built.frame("plain")
    built.path.unlink()
    (tmp_path / "prog.c").unlink()
    with Names(Files([str(tmp_path / "debug")])) as names:
        assert short(names.of(frame)) == [("plain", "prog.c", built.calls["plain"].line)]
        assert list(names.notes()) == []


def test_symbols_alone_give_functions(tmp_path: Path) -> None:
    built = compiled(tmp_path, "-g0")
    with Names(Files([])) as names:
        assert names.of(built.frame("plain")) == (Place("plain"),)


def test_names_of_cxx_are_readable(tmp_path: Path) -> None:
    (tmp_path / "c.cpp").write_text(
        "namespace ns { struct Ring { __attribute__((noinline)) void map(int) "
        '{ __asm__ volatile("nop" ::: "memory"); } }; }\n'
        "int main() { ns::Ring().map(1); }\n"
    )
    built = compiled(tmp_path)
    path = tmp_path / "cxx"
    subprocess.run(["g++", "-g", "-O1", "-o", path, tmp_path / "c.cpp"], check=True)
    symbols = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout
    [start] = [int(line.split()[0], 16) for line in symbols.splitlines() if "3map" in line]
    other = Program(path, "", built.calls)
    with Names(Files([])) as names:
        [found] = names.of(Frame(other.module(), start + 1, interrupted=True))
    assert found.function == "ns::Ring::map(int)"


# ---- which file is used ----------------------------------------------------------------------


def test_a_file_that_was_replaced_is_not_used(tmp_path: Path) -> None:
    built = compiled(tmp_path)
    frame = built.frame("plain")
    compiled(tmp_path, "-DOTHER", "-O0")  # at the same path
    with Names(Files([])) as names:
        assert names.of(frame) == ()
        [note] = names.notes()
    assert note.startswith("no names of functions in prog: neither the file that ran nor a debug")


def test_a_debug_file_with_another_build_id_is_not_used(tmp_path: Path) -> None:
    built = compiled(tmp_path)
    path = debug_file(built, tmp_path / "debug")
    frame = built.frame("plain")
    (tmp_path / "other").mkdir()
    other = compiled(tmp_path / "other", "-O0")
    shutil.copy(other.path, path)
    with Names(Files([str(tmp_path / "debug")])) as names:
        assert names.of(frame) == ()


def test_without_a_build_id_the_inode_and_the_size_must_agree(tmp_path: Path) -> None:
    built = compiled(tmp_path, "-Wl,--build-id=none")
    assert built.build_id == ""
    frame = built.frame("plain")
    with Names(Files([])) as names:
        assert len(names.of(frame)) == 1
    moved = tmp_path / "moved"
    shutil.copy(built.path, moved)
    os.replace(moved, built.path)  # the same bytes, in another file
    with Names(Files([])) as names:
        assert names.of(frame) == ()
    size = built.frame("plain", built.module(size=1))
    with Names(Files([])) as names:
        assert names.of(size) == ()


def test_what_lies_in_no_file_has_no_name(program: Program, names: Names) -> None:
    whole = program.module()
    for frame in (
        Frame(None, 0x1000, "jit"),
        Frame(whole, 0),
        Frame(whole, (1 << 64) - 1),
        Frame(whole, 0x7FFF_FFFF_FFFF_FFFF),
        Frame(whole, program.calls["plain"].offset, "gone"),
    ):
        assert names.of(frame) == ()


# ---- who looks names up ------------------------------------------------------------------------


def instead(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Another program looks names up, with ``send``, ``receive`` and a socket ``sock``."""
    text = (
        "import json, os, signal, socket, sys, time\n"
        "from tracer.stacks.lookup import receive, send\n"
        "sock = socket.socket(fileno=int(sys.argv[1]))\n"
        "send(sock, {'ready': True})\n"
        "fds = []\n"
        "asked = receive(sock, fds)\n" + body
    )
    monkeypatch.setattr(module, "LOOKUP", (sys.executable, "-P", "-c", text))


def test_if_it_dies_of_a_file_that_is_said_and_others_have_names(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    built = compiled(tmp_path, name="evil")
    with Names(Files([])) as names:
        with monkeypatch.context() as patched:
            instead(patched, "os.kill(os.getpid(), signal.SIGSEGV)\n")
            assert names.of(built.frame("plain")) == ()
        assert list(names.notes()) == ["what looked names up in evil was killed by SIGSEGV"]
        assert len(names.of(program.frame("plain"))) == 1
        assert names.of(built.frame("map_ring")) == ()  # it is not tried again


@pytest.mark.parametrize(
    "body",
    [
        "send(sock, [1])\n",
        "send(sock, {'places': 7})\n",
        "send(sock, {'places': [[['x', 'y', 1]], [], []]})\n",
        "send(sock, {'places': [{}]})\n",
        "send(sock, {'places': [[7, None, ['a'], {'a': 1}]], 'wants': [1, 2]})\n",
        "sock.sendall(b'\\xff' * 8)\n",
        "sock.sendall(b'\\x02\\0\\0\\0{x')\n",
        "sock.sendall(b'\\x10\\0\\0\\0short')\n",
        "data = b'[' * 100_000\nsock.sendall(len(data).to_bytes(4, 'little') + data)\n",
        "sys.exit(3)\n",
    ],
)
def test_whatever_it_answers_does_no_harm(
    program: Program, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    instead(monkeypatch, body)
    with Names(Files([])) as names:
        assert all(not one.function for one in names.of(program.frame("plain")))


def test_names_that_paint_are_escaped(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    evil = "\x1b[2J\n\u202e" + "x" * 5000
    instead(monkeypatch, f"send(sock, {{'places': [[[{evil!r}, {evil!r}, 1 << 60]]]}})\n")
    with Names(Files([])) as names:
        [place] = names.of(program.frame("plain"))
    assert place.function.startswith("\\x1b[2J\\n\\u202exxx")
    assert place.function.isprintable()
    assert place.file.isprintable()
    assert len(place.function) < 1200
    assert place.line == 0


def test_if_it_does_not_answer_it_is_not_waited_for_long(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[3])
    monkeypatch.setattr(module, "_ANSWER_S", 0.3)
    instead(monkeypatch, "time.sleep(60)\n")
    before = time.monotonic()
    with Names(Files([])) as names:
        assert names.of(program.frame("plain")) == ()
        [note] = names.notes()
    assert note.startswith("what looked names up in prog does not answer")
    assert time.monotonic() - before < 20


def test_without_drgn_that_is_said_once(program: Program) -> None:
    with Names(Files([])) as names:
        names.possible = False
        assert names.of(program.frame("plain")) == ()
        assert names.of(program.frame("map_ring", Module(2, b"/other"))) == ()
        assert list(names.notes()) == [NO_DRGN]


def test_after_some_that_hold_it_up_nobody_is_asked(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is drgn said to be missing."""
    monkeypatch.chdir(Path(__file__).parents[3])
    monkeypatch.setattr(module, "_DEATHS", 1)
    instead(monkeypatch, "raise SystemExit(3)\n")
    with Names(Files([])) as names:
        assert names.of(program.frame("plain")) == ()
        assert names.of(program.frame("map_ring", Module(2, b"/other"))) == ()
        assert [note for note in names.notes() if note == GIVEN_UP]
        assert NO_DRGN not in [*names.notes()]


def test_damaged_programs_end_nobody(program: Program, tmp_path: Path) -> None:
    """Whatever stands in a file: there is an answer, and the next file has names."""
    import random

    rng = random.Random(5)
    data = program.path.read_bytes()
    for number in range(15):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 4, 64, 400))):
            damaged[rng.randrange(64, len(damaged))] = rng.randrange(256)
        if number % 4 == 0:
            del damaged[rng.randrange(len(damaged)) :]
        path = tmp_path / f"damaged-{number}"
        path.write_bytes(damaged)
        with Names(Files([])) as names:
            built = Program(path, "", program.calls)
            for call in ("plain", "map_ring", "last"):
                for place in names.of(built.frame(call)):
                    assert place.function.isprintable()
            if number % 5 == 0:
                assert len(names.of(program.frame("plain"))) == 1


def test_many_files_are_looked_into_one_after_the_other(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than it holds at a time."""
    monkeypatch.setattr(module, "_LOADED", 3)
    copies = []
    for number in range(8):
        path = tmp_path / f"copy-{number}"
        shutil.copy(program.path, path)
        copies.append(Program(path, program.build_id, program.calls))
    with Names(Files([])) as names:
        for call in ("plain", "map_ring"):
            for one in copies:
                assert names.of(one.frame(call))[0].line == program.calls[call].line
