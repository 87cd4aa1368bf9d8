"""Boots a kernel with virtme-ng under QEMU's software emulation and runs one command in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from tests.vm.cache import say
from tests.vm.debian import HarnessError
from tests.vm.kernels import Kernel
from tests.vm.machine import (
    CONSOLE,
    CONTROL,
    VENV,
    Options,
    check_paths,
    cpus,
    machine,
    start_script,
)
from tests.vm.pulse import Pulse, provoke, without_beats
from tests.vm.stream import Marks, Pump

TIMED_OUT = 124
FAILED = 125
_ATTEMPTS = 4
_LINES = 40  # of the console: where a kernel was when it ended
_LAST_WORDS_S = 20.0  # for a kernel that was provoked


def run(kernel: Kernel, command: Sequence[str], options: Options, virtiofsd: Path) -> int:
    """Run a command in a kernel; the result is the command's exit code, or 124 at its timeout.

    A guest that never comes up (about one in fifteen under emulation) gets other chances; a
    command that hangs or fails does not.
    """
    cwd = Path.cwd()
    check_paths(cwd, kernel.image, virtiofsd)
    for attempt in range(1, _ATTEMPTS + 1):
        with tempfile.TemporaryDirectory(
            prefix="sealsnoop-vm-", dir="/tmp", ignore_cleanup_errors=True
        ) as folder:
            boot = _Boot(Path(folder), options)
            try:
                boot.start(kernel, command, cwd, virtiofsd)
                return boot.watch()
            except _NeverUp as problem:
                say(f"attempt {attempt}: {problem}")
            finally:
                boot.stop()
    raise HarnessError(f"kernel {kernel.release} did not come up in {_ATTEMPTS} attempts")


class _NeverUp(Exception):
    """The guest did not get as far as running the command."""


class _Boot:
    """One boot: a folder with what the guest needs, a process group, two streams."""

    def __init__(self, folder: Path, options: Options) -> None:
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._pumps: list[Pump] = []
        self._places: list[str] = []

    def start(self, kernel: Kernel, command: Sequence[str], cwd: Path, virtiofsd: Path) -> None:
        """Start QEMU; from now on its output flows."""
        marks = Marks.new()
        script = self._folder / "run" / "start.sh"
        script.parent.mkdir()
        script.write_text(start_script(command, cwd, marks, self._options))
        for index, shared in enumerate(self._options.shared):
            (self._folder / str(index)).symlink_to(shared)  # virtme-ng sees only plain names
        path = f"{virtiofsd}:{VENV / 'bin'}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self._process = subprocess.Popen(
            machine(kernel.image, cwd, self._folder, self._options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
            env={**os.environ, "PATH": path, "TMPDIR": str(self._folder)},
        )
        for source, sink in (
            (self._process.stdout, sys.stdout),
            (self._process.stderr, sys.stderr),
        ):
            assert source
            self._pumps.append(Pump(source.fileno(), sink.buffer, marks))
            self._pumps[-1].start()

    def watch(self) -> int:
        """Wait for the command's exit code."""
        assert self._process
        out, err = (pump.unframer for pump in self._pumps)
        began = time.monotonic()
        while not (out.begun.wait(0.05) and err.begun.is_set()):
            if self._process.poll() is not None:
                raise _NeverUp(f"the guest ended while booting{self._last_words()}")
            if time.monotonic() - began > self._options.up_timeout:
                limit = f"{self._options.up_timeout:g} s"
                raise _NeverUp(f"the guest was not up after {limit}{self._last_words()}")
        if self._options.verbose:
            say(f"up after {time.monotonic() - began:.1f} s")
        began = time.monotonic()
        pulse = Pulse(self._folder / CONSOLE, cpus(self._options), self._options.silence)
        while not (out.ended.wait(0.05) and err.ended.is_set()):
            if self._pumps[0].sink_gone.is_set():
                return 128 + signal.SIGPIPE
            if time.monotonic() - began > self._options.timeout:
                self._provoke()
                limit = f"{self._options.timeout:g} s"
                say(f"the command took more than {limit}{self._last_words()}")
                return TIMED_OUT
            if silent := pulse.stopped():
                self._provoke(silent)
                who, limit = ", ".join(map(str, silent)), f"{self._options.silence:g} s"
                raise HarnessError(f"no sign of life of CPU {who} for {limit}{self._last_words()}")
            if self._process.poll() is not None and not self._pumps[0].is_alive():
                raise HarnessError(f"the guest ended before the command did{self._last_words()}")
        assert out.exit_code is not None
        return out.exit_code

    def _provoke(self, silent: Collection[int] = ()) -> None:
        """Have a kernel that stands still say where, on its console; and QEMU."""
        assert self._process
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._places = provoke(self._folder / CONTROL, silent)
            self._process.wait(_LAST_WORDS_S)

    def stop(self) -> None:
        """End QEMU and the virtiofs daemons, which share our child's process group."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pump in self._pumps:
            pump.join(timeout=5)
        console = self._folder / CONSOLE
        if self._options.console and console.exists():
            shutil.copyfile(console, self._options.console)
            with self._options.console.open("a") as copy:
                copy.writelines(f"{place}\n" for place in self._places)

    def _last_words(self) -> str:
        """The end of the kernel's console, or else of what virtme-ng and QEMU said."""
        self._pumps[1].join(timeout=1)  # if all writers are gone, have their last line too
        try:
            text = (self._folder / CONSOLE).read_bytes().strip()
        except OSError:
            text = b""
        text = text or self._pumps[1].unframer.noise.strip()
        lines = without_beats(text.decode(errors="replace"))
        return "".join(f"\n    {line}" for line in lines[-_LINES:] + self._places)
