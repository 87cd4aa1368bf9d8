"""Stacks of processes that stand still, unwound by a process without privileges."""

import bisect
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.capture.stacks.stopped import Ring, build, mapped, stopped
from tracer.capture.stacks import unwind, zygote
from tracer.capture.stacks.files import Files
from tracer.capture.stacks.maps import Spaces, vdso
from tracer.capture.stacks.reader import StackReader, Workers, prepared
from tracer.capture.stacks.samples import CODE_VDSO, CS, IP
from tracer.capture.stacks.zygote import Zygote
from tracer.recording.tables import tables
from tracer.stacks.elf import functions as functions_of

WAYS = {
    "shared": ("-fomit-frame-pointer",),
    "shared-fp": ("-fno-omit-frame-pointer",),
    "static": ("-fomit-frame-pointer", "-static-pie"),
    "fixed": ("-fomit-frame-pointer", "-no-pie"),
}
NAMES = ["last", "compare", "sorted", "middle", "main", "_start"]
Ask = Callable[[bytes, dict[int, int]], Any]


@pytest.fixture
def source() -> Iterator[Zygote]:
    found = Zygote.start(prepared, unwind.serve)
    yield found
    found.close()


@pytest.fixture
def workers(source: Zygote) -> Iterator[Workers]:
    found = Workers(source)
    yield found
    found.close()


@pytest.fixture(scope="module", params=WAYS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("deep"), *WAYS[request.param])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("deep"), *WAYS["shared"])


def told(ask: Ask, samples: Any, maps: Any, pid: int = 0) -> dict[str, list[dict[str, Any]]]:
    """What a reader makes of them; ``pid``: whose address space is seen from its start."""
    reader = StackReader(Ring(samples), Ring(maps), ask, live=True)  # type: ignore[arg-type]
    reader.spaces.follow(pid)
    while reader.step():
        pass
    rows = reader.take()
    assert rows is not None
    found = {name: table.to_pylist() for name, table in tables(rows).items()}
    return {name: found.get(name, []) for name in ("callers", "stacks", "modules")}


def functions(program: Path, found: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The names of the frames that are the program's own."""
    text = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    rows = sorted(
        (int(row[0], 16), row[2].split(".")[0])
        for row in map(str.split, text.splitlines())
        if len(row) == 3 and row[1] in "tTwW"
    )
    places = [place for place, _ in rows]
    end = b"/" + program.name.encode()
    [own] = [one["module"] for one in found["modules"] if one["text"].endswith(end)]
    return [
        rows[bisect.bisect_right(places, one["offset"] - (not one["interrupted"])) - 1][1]
        for one in found["stacks"]
        if one["module"] == own
    ]


def test_every_frame(program: Path, workers: Workers) -> None:
    with stopped(program) as (pid, sample):
        found = told(workers.ask, sample, mapped(pid), pid)
    [caller] = found["callers"]
    assert (caller["state"], caller["maps_from"], caller["stack"]) == ("whole", "kernel", 1)
    assert [one for one in functions(program, found) if one in NAMES] == [
        one for one in NAMES if one in functions(program, found)
    ]
    assert functions(program, found)[-1] == "_start"
    assert {"compare", "main"} <= set(functions(program, found))
    assert [one["depth"] for one in found["stacks"]] == [*range(len(found["stacks"]))]
    assert [one["interrupted"] for one in found["stacks"]][:2] == [True, False]
    assert all(one["build_id"] for one in found["modules"])


def test_a_process_that_was_there_before(shared: Path, workers: Workers) -> None:
    with stopped(shared) as (pid, sample):
        found = told(workers.ask, sample, mapped(pid)[:0])
    assert found["callers"][0]["maps_from"] == "proc"
    assert functions(shared, found)[-1] == "_start"


def test_one_that_is_gone(shared: Path, workers: Workers) -> None:
    with stopped(shared) as (pid, sample):
        rows = mapped(pid)
    found = told(workers.ask, sample, rows[:0])
    assert found["callers"][0]["maps_from"] == "none"
    assert [one["what"] for one in found["stacks"]] == ["unknown"]
    found = told(workers.ask, sample, rows, pid)  # its files are still there
    assert found["callers"][0]["state"] == "whole"


def test_what_proc_told_is_never_called_the_kernels_word(shared: Path) -> None:
    """Where mappings are not told /proc is read again for each stack, as long as it is there."""
    spaces = Spaces(live=False)
    with stopped(shared) as (_, sample):
        space, told_by = spaces.of(sample[0])
        assert (told_by.name, bool(space.ranges)) == ("PROC", True)
    space, told_by = spaces.of(sample[0])
    assert (told_by.name, bool(space.ranges)) == ("PROC", True)


def test_a_file_that_was_replaced_is_gone(tmp_path: Path, workers: Workers) -> None:
    program = build(tmp_path, *WAYS["shared"])
    with stopped(program) as (pid, sample):
        rows = mapped(pid)
    copy = tmp_path / "copy"
    shutil.copy(program, copy)
    copy.rename(program)
    found = told(workers.ask, sample, rows, pid)
    assert found["callers"][0]["state"] == "unknown"
    last = found["stacks"][-1]
    assert last["what"] == "gone"
    assert last["offset"] < rows["size"].max()
    assert found["modules"][-1]["build_id"] == ""


def test_a_deep_stack_is_cut(shared: Path, workers: Workers) -> None:
    with stopped(shared) as (pid, sample):
        sample["present"] = 0
        found = told(workers.ask, sample, mapped(pid), pid)
    assert found["callers"][0]["state"] == "cut"
    assert len(found["stacks"]) == 1


def test_code_of_no_file_ends_it(shared: Path, workers: Workers) -> None:
    with stopped(shared) as (pid, sample):
        rows = mapped(pid)
        sample["regs"][0][IP] = rows["start"][-1] - (1 << 30)
        jit = rows[-1:].copy()
        jit["start"], jit["end"] = sample["regs"][0][IP], sample["regs"][0][IP] + 4096
        jit["kind"] = 2
        found = told(workers.ask, sample, np.concatenate([rows, jit]), pid)
    assert found["callers"][0]["state"] == "unknown"
    assert [one["what"] for one in found["stacks"]] == ["jit"]
    assert found["stacks"][0]["offset"] == 0, "an address says how memory was laid out"


def test_code_of_no_file_has_the_name_of_its_perf_map(shared: Path, workers: Workers) -> None:
    with stopped(shared) as (pid, sample):
        rows = mapped(pid)
        jit = rows[-1:].copy()
        at = int(rows["start"][-1]) - (1 << 30)
        jit["start"], jit["end"], jit["kind"] = at, at + 4096, 2
        sample["regs"][0][IP] = at + 0x10
        claimed = Path(f"/tmp/perf-{pid}.map")
        claimed.write_text(f"{at:x} 10 before\n{at + 0x10:x} 1 f\n")
        try:
            found = told(workers.ask, sample, np.concatenate([rows, jit]), pid)
        finally:
            claimed.unlink()
    [frame] = found["stacks"]
    assert (frame["what"], frame["function"], frame["offset"]) == ("jit", b"f", 0)


def test_the_vdso_has_names(shared: Path, workers: Workers) -> None:
    fd = Files().add(vdso())[1]
    [(at, size)] = [
        (at, size) for at, size, name in functions_of(fd) if name == b"__vdso_clock_gettime"
    ]
    os.close(fd)
    with stopped(shared) as (pid, sample):
        rows = mapped(pid)
        [start] = rows["start"][rows["kind"] == CODE_VDSO]
        found = []
        for offset in (at, at + size - 1, len(vdso()) - 1):
            sample["regs"][0][IP] = int(start) + offset
            found.append(told(workers.ask, sample, rows, pid)["stacks"][0])
    assert [(one["what"], one["offset"], one["function"]) for one in found] == [
        ("vdso", at, b"__vdso_clock_gettime"), ("vdso", at + size - 1, b"__vdso_clock_gettime"),
        ("vdso", len(vdso()) - 1, b""),
    ]  # fmt: skip


def test_code_of_32_bits_is_left_alone(shared: Path) -> None:
    def never(question: bytes, files: dict[int, int]) -> Any:
        raise AssertionError(question)

    with stopped(shared) as (pid, sample):
        sample["regs"][0][CS] = 0x23
        found = told(never, sample, mapped(pid), pid)
    assert found["callers"][0]["state"] == "unknown"


def test_without_drgn_the_innermost_frame_is_known(
    monkeypatch: pytest.MonkeyPatch, shared: Path
) -> None:
    monkeypatch.setitem(sys.modules, "drgn", None)
    unwinder = unwind.Unwinder()
    assert not unwinder.there

    def ask(question: bytes, files: dict[int, int]) -> Any:
        for number, fd in files.items():
            unwinder.keep(number, os.dup(fd))
        answer = unwind.answer(unwinder, question[1:])
        for number in files:
            unwinder.drop(number)
        return answer

    with stopped(shared) as (pid, sample):
        found = told(ask, sample, mapped(pid), pid)
    assert found["callers"][0]["state"] == "no_unwinder"
    [frame] = found["stacks"]
    assert (frame["what"], frame["interrupted"]) == ("code", True)
    [module] = found["modules"]
    assert module["text"].endswith(b"/libc.so.6")
    assert module["build_id"]


def test_the_same_callers_have_one_stack(shared: Path, workers: Workers) -> None:
    with stopped(shared) as (pid, sample):
        samples = np.concatenate([sample, sample])
        samples["sample"] = 1, 2
        found = told(workers.ask, samples, mapped(pid), pid)
    assert [(one["sample"], one["stack"]) for one in found["callers"]] == [(1, 1), (2, 1)]
    assert len({one["stack"] for one in found["stacks"]}) == 1


def test_a_worker_that_dies_is_one_stack_lost(shared: Path) -> None:
    calls = []

    def serve(state: Any, sock: socket.socket) -> None:
        data = sock.recv(1 << 18)
        while data[:1] == b"F":
            data = sock.recv(1 << 18)
        number = json.loads(data[1 + unwind.REQUEST.size + 5 * 4096 :])[1][0][0]
        if number % 2:
            os.kill(os.getpid(), 7)
        sock.send(b'{"frames": [[0, 1, true, true]], "state": "whole", "ids": {}}')

    source = Zygote.start(lambda: None, serve)
    workers = Workers(source)
    try:
        with stopped(shared) as (pid, sample):
            rows = mapped(pid)
            samples = np.concatenate([sample, sample, sample])
            samples["sample"], samples["mm"] = (1, 2, 3), (77, 77, 78)
            deadly = rows.copy()
            deadly["start"][0] += 1
            other = rows.copy()
            other["mm"] = 78

            def ask(question: bytes, files: dict[int, int]) -> Any:
                calls.append(len(question))
                return workers.ask(question, files)

            found = told(ask, samples, np.concatenate([deadly, other]), pid)
    finally:
        workers.close()
        source.close()
    assert [(one["sample"], one["state"]) for one in found["callers"]] == [
        (1, "lost"),
        (2, "lost"),
        (3, "whole"),
    ]
    assert workers.died == 1
    assert len(calls) == 2, "what killed one is not tried again"


def test_a_file_that_is_cut_while_it_is_mapped_is_one_stack_lost(
    tmp_path: Path, shared: Path, workers: Workers
) -> None:
    """Who reads a page of it that is not there any more gets SIGBUS."""
    program = build(tmp_path, *WAYS["shared"], name="cut")
    with stopped(program) as (pid, sample):
        rows = mapped(pid)
    with stopped(shared) as (other, next_sample):
        next_rows = mapped(other)
    next_rows["mm"] = next_sample["mm"] = 78
    next_rows["time_ns"] = rows["time_ns"].max()
    samples = np.concatenate([sample, sample, next_sample])
    samples["sample"] = 1, 2, 3
    asked = []

    def ask(question: bytes, files: dict[int, int]) -> Any:
        asked.append(question)
        if len(asked) == 2:
            os.truncate(program, 4096)
        return workers.ask(question, files)

    found = told(ask, samples, np.concatenate([rows, next_rows]), pid)
    states = [(one["sample"], one["state"]) for one in found["callers"]]
    assert states == [(1, "whole"), (2, "lost"), (3, "whole")]
    assert workers.died == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"{}",
        b"[",
        b"[" * 60000,
        b'{"frames": [[0, 1, true, true]], "state": "no such state", "ids": {}}',
        b'{"frames": [[0, -1, true, true]], "state": "whole", "ids": {}}',
        b'{"frames": [[99999, 1, true, true]], "state": "whole", "ids": {}}',
        b'{"frames": [[0, 1e99, true, true]], "state": "whole", "ids": {}}',
        b'{"frames": [[0, 1, 1, true]], "state": "whole", "ids": {}}',
        b'{"frames": [], "state": "whole", "ids": {}}',
        b'{"frames": [[0, 1, true, true]], "state": "whole", "ids": '
        + json.dumps({str(number): "zz" for number in range(5000)}).encode()
        + b"}",
        b'{"frames": 7, "state": "whole", "ids": {}}',
        b"\xff\xfe",
    ],
)
def test_a_worker_that_lies_is_one_stack_lost(shared: Path, answer: bytes) -> None:
    def ask(question: bytes, files: dict[int, int]) -> Any:
        try:
            return json.loads(answer)
        except (ValueError, RecursionError):
            raise unwind_lost from None

    from tracer.capture.stacks.reader import Lost

    unwind_lost = Lost("no answer")
    with stopped(shared) as (pid, sample):
        found = told(ask, sample, mapped(pid), pid)
    assert [one["state"] for one in found["callers"]] == ["lost"]
    assert not found["stacks"]


def test_damaged_files_harm_nobody(tmp_path: Path, shared: Path, workers: Workers) -> None:
    """Each is an answer, or one stack lost; the next is as good as ever."""
    rng = random.Random(7)
    whole = shared.read_bytes()
    with stopped(shared) as (pid, sample):
        rows = mapped(pid)
        for number in range(40):
            data = bytearray(whole)
            for _ in range(rng.randrange(1, 40)):
                place = rng.randrange(len(data) if number % 2 else 1200)
                data[place] = rng.randrange(256)
            hurt = tmp_path / f"hurt{number}"
            hurt.write_bytes(data[: rng.randrange(64, len(data))] if number % 3 == 0 else data)
            own = rows.copy()
            for row in own:
                if row["ino"] == shared.stat().st_ino:
                    there = hurt.stat()
                    row["ino"], row["size"] = there.st_ino, there.st_size
                    path = b"\0".join(reversed(str(hurt).encode()[1:].split(b"/"))) + b"\0"
                    row["path"], row["length"] = np.void(path.ljust(1280, b"\0")), len(path)
            found = told(workers.ask, sample, own, pid)
            assert len(found["callers"]) == 1
        assert told(workers.ask, sample, rows, pid)["callers"][0]["state"] == "whole"


def confesses(state: Any, sock: socket.socket) -> None:
    """What a worker still may."""
    sock.recv(10)
    refused = {}
    tries: dict[str, Callable[[], Any]] = {
        "open": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "root": lambda: os.listdir("/"),
        "socket": socket.socket,
        "fork": os.fork,
        "kill": lambda: os.kill(1, 0),
        "exec": lambda: os.execv("/bin/true", ["true"]),
        "ptrace": lambda: zygote._libc.ptrace(16, os.getppid(), 0, 0) and 1 / 0,
    }
    for name, act in tries.items():
        try:
            act()
        except (OSError, ZeroDivisionError) as error:
            refused[name] = type(error).__name__
    sock.send(json.dumps(refused).encode())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give away")
def test_a_worker_may_nothing() -> None:
    source = Zygote.start(lambda: None, confesses)
    try:
        sock, pid = source.worker()
        with sock:
            status = Path(f"/proc/{pid}/status").read_text()
            assert os.readlink(f"/proc/{pid}/root").endswith(" (deleted)"), "empty for good"
            sock.send(b"?")
            sock.settimeout(10)
            found = json.loads(sock.recv(1 << 16))
    finally:
        source.close()
    for line in ("Uid:\t65534\t65534\t65534\t65534", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"):
        assert line in status
    assert set(found) == {"open", "root", "socket", "fork", "kill", "exec", "ptrace"}


def test_a_worker_that_hangs_is_ended() -> None:
    def hangs(state: Any, sock: socket.socket) -> None:
        sock.recv(10)
        while True:
            pass

    source = Zygote.start(lambda: None, hangs)
    try:
        sock, pid = source.worker()
        sock.send(b"?")
        sock.close()
        source.kill(pid)
        until = time.monotonic() + 10
        while time.monotonic() < until and Path(f"/proc/{pid}/stat").exists():
            with suppress(OSError):
                if ") Z " in Path(f"/proc/{pid}/stat").read_text():
                    break
            time.sleep(0.02)
        else:
            assert not Path(f"/proc/{pid}").exists()
    finally:
        source.close()


def test_memory_is_bounded() -> None:
    from tracer.capture.stacks.maps import MOST_RANGES, MOST_SPACES
    from tracer.capture.stacks.samples import CODE_MAP

    spaces = Spaces()
    row = np.zeros(1, CODE_MAP)
    for number in range(MOST_SPACES + 50):
        row["mm"] = row["pid"] = number + 1
        row["kind"], row["start"], row["end"] = 2, 4096, 8192
        spaces.add(row[0])
    assert len(spaces._spaces) == len(spaces._pids) == MOST_SPACES
    for number in range(MOST_RANGES + 50):
        row["start"], row["end"] = number * 8192, number * 8192 + 4096
        spaces.add(row[0])
    assert len(spaces._spaces[int(row["mm"][0])].ranges) == MOST_RANGES


def test_files_are_the_very_ones(tmp_path: Path) -> None:
    from tracer.capture.memory_files import look
    from tracer.capture.stacks.records import File

    path = tmp_path / "a"
    path.write_bytes(b"code")
    (tmp_path / "link").symlink_to(tmp_path)
    fd = os.open(path, os.O_PATH)
    there = look(fd)
    os.close(fd)
    files = Files()
    try:
        good = File(there.dev, there.ino, 0, 4, bytes(path))
        assert files.get(good, 0, 0, 0) is not None
        for bad in (
            File(there.dev, there.ino + 1, 0, 4, bytes(path)),
            File(there.dev, there.ino, 0, 5, bytes(path)),
            File(there.dev, there.ino, 0, 4, bytes(tmp_path / "link" / "a")),
            File(there.dev, there.ino, 0, 4, b"a"),
            File(there.dev, there.ino, 0, 4, bytes(path) + b"\0x"),
        ):
            assert files.get(bad, 0, 0, 0) is None
        os.mkfifo(tmp_path / "pipe")
        assert files.get(File(there.dev, (tmp_path / "pipe").stat().st_ino, 0, 0,
                              bytes(tmp_path / "pipe")), 0, 0, 0) is None  # fmt: skip
    finally:
        files.close()
