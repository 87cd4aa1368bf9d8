"""The kernels are the ones that were asked for, and everything in them was played."""

import subprocess
from pathlib import Path

import pytest

from tests.kernel.booted import KERNELS, LIVES, Booted
from tests.kernel.booting import emulators_fault
from tests.kernel.guest import ON_EACH, SCENES
from tests.kernel.guest_tools import PROJECT


def test_release(kernel: Booted, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        preemption = kernel.facts("guest")["preemption"]
        print(f"\n  {kernel.name} is {kernel.release}, preemption {preemption}")
        print(f"    seconds: {kernel.scenes}")
    assert kernel.release.startswith(KERNELS[kernel.name])


def test_every_scene_was_played(kernel: Booted) -> None:
    failed = kernel.failed_scenes
    assert not failed, "\n".join([*failed.values(), "the console:", kernel.complaints])
    played = SCENES if kernel.name == LIVES else ON_EACH
    assert set(kernel.scenes) == {scene.__name__ for scene in played}
    assert kernel.facts("guest")["done"]


def test_nothing_ended_in_a_traceback(kernel: Booted) -> None:
    said = kernel.stderrs()
    assert len(said) > 20
    assert not {name: text for name, text in said.items() if "Traceback" in text}


def test_a_cpu_without_a_pulse_says_where_it_stands(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    boot = ["tests/vm/boot", "--kernel", LIVES, "--silence", "20", "--console", str(console), "--"]
    # Nothing of lower priority runs on that CPU any more; the guest's other one goes on.
    alone = "echo -1 >/proc/sys/kernel/sched_rt_runtime_us; chrt -f 99 taskset -c 1"
    done = subprocess.run(
        [*boot, "sh", "-c", f"sleep 6; {alone} sh -c 'while :; do :; done'"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (125, "")
    assert "boot: no sign of life of CPU 1 for 20 s\n" in done.stderr
    assert "Kernel panic - not syncing: NMI: Not continuing\n" in done.stderr
    assert "sealsnoop: CPU 0, interrupts " in done.stderr
    assert "sealsnoop: CPU 1 is silent, interrupts on, at " in done.stderr
    text = console.read_text()
    assert "sealsnoop: beat of CPU 0\n" in text
    assert "sealsnoop: beat" not in done.stderr
    assert emulators_fault(text) is None  # its interrupts were on
