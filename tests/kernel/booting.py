"""Boots kernels for the tests: everything that one has to show, once, into a folder of its own."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.kernel.booted import BESIDE, KERNELS, LIVES, USER_SPACE, Booted
from tests.kernel.guest import AT_LENGTH, ON_EACH, REPEATED, SCENES
from tests.kernel.guest_tools import KEPT, PROJECT
from tests.vm import kernels, pulse
from tests.vm.debian import HarnessError
from tests.vm.sources import memfd_selftest

_TIMEOUT_S = 2400  # emulated, on a machine that may be busy
_EMULATORS_FAULTS = {
    r"int3: 0000 \[#1\]": "a breakpoint that is nobody's",
    r"RIP: 0010:0x0\n(.*\n){1,3}.* EFLAGS: 00000[014589cd]..\n": "a jump to 0, interrupts off",
    pulse.STANDSTILL: "a CPU that stands still, interrupts off",
}
"""On the console where QEMU's TCG let one CPU run the breakpoint that another one, patching a jump
label or a call, had taken away again. The kernel then finds no patch in progress and dies
(arch/x86/kernel/alternative.c:smp_text_poke_int3_handler); or there is a kprobe by ftrace at that
place, whose copy of the instruction, which only a kprobe by breakpoint has, it goes to with
interrupts off (arch/x86/kernel/kprobes/core.c:setup_singlestep). Or kprobe_int3_handler sees that
the breakpoint is gone and goes back to it, for ever: seen by a debugger in QEMU, both CPUs between
asm_exc_int3 and __schedule+0x2ab of 6.1, where the guest's memory had a jump. The harness ends a
guest when one of its CPUs gives no sign of life (tests/vm/pulse.py); one that does so with
interrupts on is not forgiven."""

_FORGIVEN = 5
"""Where the host is short of CPU, one boot in a few dies so. As we understand it, QEMU drops the
old translation before it stores the new bytes, and a CPU that is stopped in between lets others
translate the old ones again."""


def emulators_fault(console: str) -> str | None:
    """What the console shows that QEMU did to the guest, in words."""
    text = console.replace("\r", "")
    if seconds := pulse.leap_s(text):
        return f"its clock leapt by {seconds:.0f} s"
    return next((what for sign, what in _EMULATORS_FAULTS.items() if re.search(sign, text)), None)


def check_run(what: str, command: list[str]) -> None:
    """Runs a command; what it said is the test's failure."""
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{what}: {done.stdout}{done.stderr}", pytrace=False)


def compile_memfd_test(kernel: str, folder: Path) -> None:
    """The kernel's own selftest, of the release that is booted."""
    try:
        source = memfd_selftest(kernel)
    except HarnessError as error:
        pytest.fail(f"kernel {kernel}: no source of memfd_test: {error}", pytrace=False)
    # glibc's headers are older than what the test tests; its Makefile has _FILE_OFFSET_BITS.
    flags = ["-O2", "-D_FILE_OFFSET_BITS=64", "-I", str(source / "include")]
    files = [str(source / name) for name in ("memfd_test.c", "common.c")]
    command = ["cc", *flags, "-o", str(folder / "memfd_test"), *files]
    check_run("memfd_test does not build", command)


def results_folder(config: pytest.Config, factory: pytest.TempPathFactory, name: str) -> Path:
    """Where a boot's results go; ``--guest-out`` keeps them, and may have them already."""
    keep: Path | None = config.getoption("--guest-out")
    folder = (keep.resolve() if keep else factory.getbasetemp()) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def boot(config: pytest.Config, kernel: str, folder: Path, *options: str, scenes: str = "") -> None:
    """Boots and shows the guest's progress, which takes minutes, whatever pytest captures.

    Nothing is done where the folder has results already. What fails by the emulator's own fault is
    forgiven, so many times, and told; the next guest goes on after the last scene that ended well.
    """
    if (folder / "results.json").exists():
        return
    code, tail = _boot(config, kernel, folder, *options, scenes=scenes)
    for _ in range(_FORGIVEN):
        if code == 0 and not Booted(kernel, folder).failed_scenes:
            break
        fault = emulators_fault(_text(folder / "console.log"))
        if fault is None:
            break
        reporter = config.pluginmanager.getplugin("terminalreporter")
        assert reporter
        reporter.write_line(f"  {kernel}: QEMU's fault ({fault}); once more")
        _clear(folder)
        code, tail = _boot(config, kernel, folder, *options, scenes=scenes)
    if code != 0:
        pytest.fail(f"kernel {kernel}: boot ended with {code}\n{tail}", pytrace=False)


def played(config: pytest.Config, kernel: str) -> list[str]:
    """The names of the scenes that one of `KERNELS` plays."""
    more = REPEATED if config.getoption("--all-kernels") else ()
    scenes = SCENES if kernel == LIVES else (*ON_EACH, *more)
    return chosen(config, [scene.__name__ for scene in scenes])


def chosen(config: pytest.Config, scenes: Sequence[str]) -> list[str]:
    """Of these scenes the ones that are played in this run."""
    everything = config.getoption("--all-kernels")
    return [name for name in scenes if everything or name not in AT_LENGTH]


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _clear(folder: Path) -> None:
    """Leaves what :meth:`Results.keep` kept, or what was there before the first boot."""
    kept = folder / KEPT
    files = json.loads(kept.read_text())["files"] if kept.exists() else ["memfd_test", "selftests"]
    for path in folder.iterdir():
        if path.name in (KEPT, *files):
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _boot(
    config: pytest.Config, kernel: str, folder: Path, *options: str, scenes: str
) -> tuple[int, str]:
    """The boot's exit code, and the last that was said."""
    command = ["tests/vm/boot", "--kernel", kernel, "--rw", str(folder), "--memory", "4G"]
    command += ["--timeout", str(_TIMEOUT_S), "--console", str(folder / "console.log"), *options]
    command += ["--", "python", "-m", "tests.kernel.guest", str(folder), "--only", scenes]
    said = []
    capture = config.pluginmanager.getplugin("capturemanager")
    assert capture
    with (
        capture.global_and_fixture_disabled(),
        subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr
        print(file=sys.stderr)
        for line in process.stderr:
            said.append(line)
            print(f"  {kernel}: {line}", end="", file=sys.stderr, flush=True)
    (folder / "boot.log").write_text("".join(said))
    return process.returncode, "".join(said[-30:])


class Matrix:
    """The matrix's kernels, each booted when it is first asked for."""

    def __init__(self, config: pytest.Config, factory: pytest.TempPathFactory) -> None:
        self._config, self._factory = config, factory
        self._booted: dict[str, Booted] = {}  # by release: two names may mean one build
        self.absent: dict[str, str] = {}
        """Kernels that could not be fetched, and why."""

    def kernel(self, name: str) -> Booted | None:
        """What it had to show; None where it is not to be had (see :attr:`absent`)."""
        if name in self.absent:
            return None
        try:
            release = kernels.find(name).release
        except HarnessError as error:
            self.absent[name] = str(error)
            return None
        if release not in self._booted:
            folder = results_folder(self._config, self._factory, f"matrix-{name}")
            if not (folder / "results.json").exists():
                compile_memfd_test(name, folder)
            # Where the boot option is not known, it is ignored; where it is, it may be off.
            # 5.10 lets as many calls wait for a kretprobe as there may be CPUs (limitations.md).
            options = ["--append", "secretmem.enable=1 possible_cpus=16"]
            scenes = ",".join(chosen(self._config, ["matrix", "ftrace_awkward", "execs_at_length"]))
            if name == USER_SPACE.kernel:
                options += ["--root", USER_SPACE.suite]
                scenes += ",live_without_apt"
            boot(self._config, name, folder, *options, scenes=scenes)
            self._booted[release] = Booted(name, folder)
        return self._booted[release]


def fetch_ahead() -> None:
    """Fetches and builds all that `make test` boots, for which it then need not wait.

    Whatever fails here is tried again, and told, when it is needed.
    """
    with subprocess.Popen(["tests/vm/boot", "--kernel", "inaccessible", "--fetch"], cwd=PROJECT):
        for name in (*KERNELS, *BESIDE):
            with contextlib.suppress(HarnessError):
                kernels.find(name)
                memfd_selftest(name)


if __name__ == "__main__":
    fetch_ahead()
