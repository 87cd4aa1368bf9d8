"""What the scenes in the guest share: recorders as processes, waiting, and results as files."""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
HERE = PROJECT / "tests" / "kernel"
WORKLOAD = PROJECT / "samples" / "workload" / "build" / "workload"
KPROBES = Path("/sys/kernel/debug/kprobes/list")
NOBODY = 65534
KEPT = "kept.json"
"""In the folder of results: what `Results.keep` wrote."""

_START_S = 600.0  # a busy machine compiles slowly
_END_S = 120.0
_BPF_SYSCALL, _PROG_GET_NEXT_ID = 321, 11


def wait_until(what: str, ready: Callable[[], bool], timeout_s: float = _START_S) -> None:
    """TimeoutError: not in so many looks, ten a second: an emulated clock may leap."""
    for _ in range(round(timeout_s * 10)):
        if ready():
            return
        time.sleep(0.1)
    raise TimeoutError(f"{what} did not come in {timeout_s:g} s")


def wait_for_end(process: "subprocess.Popen[bytes]", timeout_s: float) -> int:
    """Its exit code. TimeoutError: as `wait_until`."""
    wait_until(f"the end of {process.args!r}", lambda: process.poll() is not None, timeout_s)
    return process.wait()


def boottime_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Results:
    """Facts by name, on disk after each change, so that a guest that hangs has told the rest."""

    def __init__(self, out: Path) -> None:
        self.out = out
        kept = out / KEPT
        self._found: dict[str, Any] = json.loads(kept.read_text())["found"] if kept.exists() else {}

    def tell(self, name: str, **facts: Any) -> None:
        self._found.setdefault(name, {}).update(facts)
        self._write("results.json", self._found)

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def keep(self) -> None:
        """Should this guest die, another one goes on from here: with these facts and files."""
        files = sorted(path.name for path in self.out.iterdir())
        self._write(KEPT, {"found": self._found, "files": files})

    def _write(self, name: str, what: object) -> None:
        fresh = self.out / "results.new"
        fresh.write_text(json.dumps(what, indent=1))
        fresh.replace(self.out / name)


class Tool:
    """A running ``sealsnoop``; what it said and how it ended become a result of its name."""

    def __init__(
        self,
        results: Results,
        name: str,
        arguments: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        user: int | None = None,
        stdin: bool = False,
    ) -> None:
        """``stdin``: a pipe, which the caller closes."""
        self.results, self.name = results, name
        self._began = time.monotonic()
        with (
            (results.out / f"{name}.stdout").open("wb") as out,
            (results.out / f"{name}.stderr").open("wb") as err,
        ):
            self.process = subprocess.Popen(
                ["sealsnoop", *map(str, arguments)],
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **(env or {})},
                start_new_session=True,  # a Ctrl-C for it is not one for us
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        results.tell(name, pid=self.process.pid, arguments=[str(a) for a in arguments])

    def interrupt_all(self) -> None:
        """Ctrl-C on a terminal: the recorder and its command get it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait_for(self, *files: Path) -> None:
        """Until the command has made these files; not longer than we live."""

        def there() -> bool:
            self.check_alive()
            return all(file.exists() for file in files)

        wait_until(f"{self.name}: {files[0].name}", there)

    def check_alive(self) -> None:
        if self.process.poll() is not None:
            said = (self.results.out / f"{self.name}.stderr").read_text(errors="replace")
            raise RuntimeError(f"{self.name} ended too early ({self.process.returncode}): {said}")

    def wait(self, timeout_s: float = _START_S) -> int:
        try:
            code = wait_for_end(self.process, timeout_s)
        except TimeoutError:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.results.tell(self.name, hung=True)
            raise
        finally:
            seconds = round(time.monotonic() - self._began, 1)
            self.results.tell(self.name, code=self.process.returncode, seconds=seconds)
        return code


class Recorder(Tool):
    """``sealsnoop record -o OUT/NAME.seal``."""

    def __init__(
        self,
        results: Results,
        name: str,
        *options: str | Path,
        command: Sequence[str | Path] = (),
        output: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.output = output or results.out / f"{name}.seal"
        words: list[str | Path] = ["record", "-o", self.output, *options]
        super().__init__(results, name, [*words, *(["--", *command] if command else [])], env=env)

    def wait_ready(self) -> None:
        """Until its hooks send: the tail then has its first records."""

        def begun() -> bool:
            self.check_alive()
            # In the tail at first, a few seconds later in the chain, which begins with a line of
            # its own before the hooks send.
            with contextlib.suppress(FileNotFoundError):  # not there yet, or cut just now
                if any(place.stat().st_size for place in (self.output / "tail").glob("*")):
                    return True
                return (self.output / "chain.jsonl").read_bytes().count(b"\n") > 1
            return False

        wait_until(f"{self.name}'s beginning", begun)

    @property
    def misses(self) -> int:
        """Programs that the kernel skipped, as the ended recording declares."""
        lost = json.loads((self.output / "end.json").read_text())["lost"]
        return int(lost.get("missed", 0))

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.wait(_END_S)


def preemption() -> str:
    """Which of ``none voluntary full lazy`` is in brackets: where it is, is chosen at boot."""
    try:
        return Path("/sys/kernel/debug/sched/preempt").read_text().strip()
    except OSError:
        return "unknown"


def preempts(modes: str) -> bool:
    """Whether a kernel preempts tasks, by what `preemption` gave there."""
    return "(none)" not in modes and "(voluntary)" not in modes


def python(script: str, *arguments: str | Path) -> list[str | Path]:
    return [sys.executable, HERE / "programs" / script, *arguments]


def in_pairs(makers: Sequence[Callable[[], Recorder]]) -> list[Recorder]:
    """Starts recorders two at a time (the guest has two CPUs) and waits until all are ready."""
    recorders: list[Recorder] = []
    for start in range(0, len(makers), 2):
        pair = [make() for make in makers[start : start + 2]]
        for recorder in pair:
            recorder.wait_ready()
        recorders += pair
    return recorders


def bpf_programs() -> set[int]:
    """The ids of all BPF programs in the kernel (bpf(2), BPF_PROG_GET_NEXT_ID)."""
    libc = ctypes.CDLL(None, use_errno=True)
    found: set[int] = set()
    last = 0
    while True:
        attributes = (ctypes.c_uint32 * 4)(last, 0, 0, 0)
        if libc.syscall(_BPF_SYSCALL, _PROG_GET_NEXT_ID, attributes, 16) != 0:
            return found
        last = attributes[1]
        found.add(last)


def kprobes() -> list[str]:
    return sorted(KPROBES.read_text().splitlines())
