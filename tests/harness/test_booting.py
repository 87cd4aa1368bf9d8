"""Which deaths of a guest the kernel tests forgive: QEMU's own, a few."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tests.kernel.guest
from tests.kernel import booting
from tests.kernel.guest import main
from tests.kernel.guest_tools import Results

QEMUS_FAULT = "[  143.8] Oops: int3: 0000 [#1] SMP NOPTI\n"
TO_ZERO = """[  544.748418] Oops: 0010 [#1] PREEMPT SMP NOPTI\r
[  544.749737] RIP: 0010:0x0\r
[  544.750814] Code: Unable to access opcode bytes at 0xffffffffffffffd6.\r
[  544.751076] RSP: 0018:ff53bd0d4047fb78 EFLAGS: 00000086\r
"""
STANDSTILL = """[  127.715936] Kernel panic - not syncing: NMI: Not continuing\r
sealsnoop: CPU 0, interrupts off, at ffffffff9b20dfeb
sealsnoop: CPU 1 is silent, interrupts off, at ffffffff9a895360 ffffffff9a895362
"""
WAITING = STANDSTILL.replace("silent, interrupts off", "silent, interrupts on")
TIMED_OUT = STANDSTILL.replace(" is silent", "")
LEAPT = "".join(f"[  {at}] sealsnoop: beat of CPU 0\r\n" for at in (5.0, 935.5))
OURS = "[  143.8] Oops: 0002 [#1] SMP NOPTI\n"
ASTRAY = """[  164.456467] Oops: Oops: 0010 [#1] SMP\r
[  164.460318] RIP: 0010:0x0\r
[  164.460883] RSP: 0018:ffa000000029be38 EFLAGS: 00000282\r
[  164.461888] Call Trace:\r
[  164.462379]  <TASK>\r
[  164.462478]  ? vm_mmap_pgoff+0x9/0x145\r
[  164.462792]  ? ksys_mmap_pgoff+0x140/0x16d\r
"""
DEEPER = ASTRAY.replace("+0x9/", "+0x19/")
INTERRUPTIBLE = TO_ZERO.replace("00000086", "00010286")


@pytest.mark.parametrize(
    ("consoles", "boots"),
    [
        ([""], 1),
        ([QEMUS_FAULT, ""], 2),
        ([TO_ZERO, ""], 2),
        ([QEMUS_FAULT, TO_ZERO, QEMUS_FAULT, ""], 4),
        ([QEMUS_FAULT] * 6, 6),
        ([STANDSTILL, ""], 2),
        ([ASTRAY, ""], 2),
        ([WAITING], 1),
        ([TIMED_OUT], 1),
        ([LEAPT, ""], 2),
        ([OURS], 1),
        ([INTERRUPTIBLE], 1),
        ([DEEPER], 1),
    ],
)
def test_some_deaths_by_the_emulator_are_forgiven(
    consoles: list[str],
    boots: int,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def dies(console: str, folder: Path) -> int:
        if not console:
            (folder / "results.json").write_text("{}")
        return int(bool(console))

    play = _Boots(consoles, tmp_path, dies)
    monkeypatch.setattr(booting, "_boot", play)
    if consoles[-1]:
        with pytest.raises(pytest.fail.Exception, match="boot ended with 1\nthe end"):
            booting.boot(pytestconfig, "6.1", tmp_path)
    else:
        booting.boot(pytestconfig, "6.1", tmp_path)
    assert play.count == boots


@pytest.mark.parametrize(
    ("consoles", "boots"), [([""], 1), ([LEAPT, ""], 2), (["[ 9.0] other words\n"], 1)]
)
def test_a_scene_that_a_leap_may_have_failed_is_played_again(
    consoles: list[str],
    boots: int,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lives(console: str, folder: Path) -> int:
        error = "TimeoutError: it did not come" if console else None
        (folder / "results.json").write_text(json.dumps({"scene life": {"error": error}}))
        return 0

    play = _Boots(consoles, tmp_path, lives)
    monkeypatch.setattr(booting, "_boot", play)
    booting.boot(pytestconfig, "6.1", tmp_path)  # what still failed, the tests say
    assert play.count == boots


def test_the_next_guest_goes_on_after_the_last_scene_that_ended_well(
    tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[str] = []
    lives = iter([["a", "b", "dies"], ["dies"], ["c fails", "d"], ["c", "d"]])
    life: list[str] = []

    def scene(name: str) -> Callable[[Results], None]:
        def play(results: Results) -> None:
            assert not (results.out / f"{name}.seal").exists()
            (results.out / f"{name}.seal").mkdir()
            results.tell(name, begun=len(played))
            said = life.pop(0)
            played.append(said)
            if said == "dies":
                raise SystemExit(1)
            assert said == name

        play.__name__ = name
        return play

    def guest(config: object, kernel: str, folder: Path, *options: str, scenes: str) -> Any:
        life[:] = next(lives)
        monkeypatch.setattr("sys.argv", ["guest", str(folder), "--only", scenes])
        (folder / "console.log").write_text(QEMUS_FAULT)
        try:
            return main(), "the end"
        except SystemExit:
            return 125, "the end"

    monkeypatch.setattr(tests.kernel.guest, "SCENES", tuple(map(scene, "abcd")))
    monkeypatch.setattr(booting, "_boot", guest)
    booting.boot(pytestconfig, "6.1", tmp_path, scenes="a,b,c,d")
    assert played == ["a", "b", "dies", "dies", "c fails", "d", "c", "d"]
    found = json.loads((tmp_path / "results.json").read_text())
    assert {name: found[name]["begun"] for name in "abcd"} == {"a": 0, "b": 1, "c": 6, "d": 7}
    assert {name: found[f"scene {name}"]["error"] for name in "abcd"} == dict.fromkeys("abcd")


class _Boots:
    """In place of a boot: these consoles, one after the other."""

    def __init__(self, consoles: list[str], folder: Path, play: Callable[[str, Path], int]) -> None:
        self._consoles, self._folder, self._play = consoles, folder, play
        self.count = 0
        (folder / "memfd_test").touch()

    def __call__(self, *_: object, **__: object) -> tuple[int, str]:
        assert sorted(path.name for path in self._folder.iterdir()) == ["memfd_test"]
        console = self._consoles[self.count]
        self.count += 1
        (self._folder / "console.log").write_text(console)
        (self._folder / "a.seal").mkdir()
        return self._play(console, self._folder), "the end"
