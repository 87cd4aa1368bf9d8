"""The kernels are the ones that were asked for, and everything in them was played."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kernel.booted import KERNELS, LIVES, Booted
from tests.kernel.booting import emulators_fault, played
from tests.kernel.guest_tools import PROJECT
from tests.vm import packages


def test_release(kernel: Booted, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        preemption = kernel.facts("guest")["preemption"]
        print(f"\n  {kernel.name} is {kernel.release}, preemption {preemption}")
        print(f"    seconds: {kernel.scenes}")
    assert kernel.release.startswith(KERNELS[kernel.name])


def test_every_scene_was_played(kernel: Booted, pytestconfig: pytest.Config) -> None:
    failed = kernel.failed_scenes
    assert not failed, "\n".join([*failed.values(), "the console:", kernel.complaints])
    assert set(kernel.scenes) == set(played(pytestconfig, kernel.name))
    assert kernel.facts("guest")["done"]


def test_nothing_ended_in_a_traceback(kernel: Booted) -> None:
    said = kernel.stderrs()
    assert len(said) > 10
    assert not {name: text for name, text in said.items() if "Traceback" in text}


@dataclass(frozen=True)
class Stuck:
    """A boot of which one CPU stands still, and what it ran on this machine."""

    done: "subprocess.CompletedProcess[str]"
    console: str
    programs: set[str]


@pytest.fixture(scope="session")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> Stuck:
    folder = tmp_path_factory.mktemp("stuck")
    console, log = folder / "console.log", folder / "strace"
    boot = ["tests/vm/boot", "--kernel", LIVES, "--silence", "20", "--console", str(console), "--"]
    watch = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=execve", "-e", "signal=none"]
    # Nothing of lower priority runs on that CPU any more; the guest's other one goes on.
    alone = "echo -1 >/proc/sys/kernel/sched_rt_runtime_us; chrt -f 99 taskset -c 1"
    done = subprocess.run(
        [*watch, "-o", log, *boot, "sh", "-c", f"sleep 6; {alone} sh -c 'while :; do :; done'"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    programs = re.findall(r'execve\("(/(?:usr|bin|sbin)/[^"]+)", .*\) = 0$', log.read_text(), re.M)
    return Stuck(done, console.read_text(), set(programs))


def test_a_cpu_without_a_pulse_says_where_it_stands(stuck: Stuck) -> None:
    said = stuck.done.stderr
    assert (stuck.done.returncode, stuck.done.stdout) == (125, "")
    assert "boot: no sign of life of CPU 1 for 20 s\n" in said
    assert "Kernel panic - not syncing: NMI: Not continuing\n" in said
    assert "sealsnoop: CPU 0, interrupts " in said
    assert "sealsnoop: CPU 1 is silent, interrupts on, at " in said
    assert "sealsnoop: beat of CPU 0\n" in stuck.console
    assert "sealsnoop: beat" not in said
    assert emulators_fault(stuck.console) is None  # its interrupts were on


def test_set_up_installs_all_that_a_boot_runs(stuck: Stuck) -> None:
    """Other packages may be gone from a machine; what these depend on may not."""
    assert {Path(program).name for program in stuck.programs} >= {"qemu-system-x86_64", "modprobe"}
    sure = _closure({*packages.tool(), *packages.HARNESS})
    assert {program for program in stuck.programs if not _owners(program) & sure} == set()


def _closure(names: set[str]) -> set[str]:
    """These packages, the essential ones, and what all of them depend on, as installed here."""
    shown = "${Package}\t${Essential}\t${Provides}\t${Pre-Depends}, ${Depends}\n"
    done = subprocess.run(["dpkg-query", "-W", "-f", shown], capture_output=True, text=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    needs = {name: depends for name, _, _, depends in rows}
    # A virtual package may be provided by anything here.
    named = {one: {name} for name, _, provides, _ in rows for one in _words(provides)}
    found, new = set[str](), {*names, *(name for name, essential, *_ in rows if essential == "yes")}
    while new:
        found |= new
        wanted = {one for name in new for one in _words(needs.get(name, ""))}
        new = {name for one in wanted for name in ({one} & needs.keys() or named.get(one, set()))}
        new -= found
    return found


def _words(field: str) -> list[str]:
    return re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9.+-]+)", field)


def _owners(program: str) -> set[str]:
    """The packages that have this file, which may have come by a link of /bin to /usr/bin."""
    places = {program, os.path.realpath(program), program.removeprefix("/usr")}
    done = subprocess.run(["dpkg-query", "-S", *places], capture_output=True, text=True)
    owners = (line.partition(": ")[0] for line in done.stdout.splitlines())
    return {name.split(":")[0] for line in owners for name in line.split(", ")}
