"""Which deaths of a guest the kernel tests forgive: QEMU's own, a few."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel import booting

QEMUS_FAULT = "[  143.8] Oops: int3: 0000 [#1] SMP NOPTI\n"
TO_ZERO = """[  544.748418] Oops: 0010 [#1] PREEMPT SMP NOPTI\r
[  544.749737] RIP: 0010:0x0\r
[  544.750814] Code: Unable to access opcode bytes at 0xffffffffffffffd6.\r
[  544.751076] RSP: 0018:ff53bd0d4047fb78 EFLAGS: 00000086\r
"""
STANDSTILL = """[   29.841793] Kernel panic - not syncing: NMI: Not continuing\r
[   29.842811]  <NMI>\r
[   29.844453]  end_repeat_nmi+0x16/0x67\r
[   29.844600] RIP: 0010:__schedule+0x2ab/0x9a0\r
[   29.845028] RSP: 0018:ffffffffa3c03e98 EFLAGS: 00000046\r
[   29.845563]  </NMI>\r
[   29.845600] RSP: 0018:ffffffffa3c03f98 EFLAGS: 00000002\r
"""
WAITING = STANDSTILL.replace("EFLAGS: 00000046", "EFLAGS: 00000246")
# Made by a debugger: notify_die was a jump to itself when a program ran a breakpoint.
ONE_STANDS = """[   94.190168] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\r
[   94.191691] rcu: \t0-...0: (1 GPs behind) idle=e244/1/0x4000000000000000 softirq=1829/1830\r
[   94.194637] NMI backtrace for cpu 0\r
[   94.196496] RIP: 0010:notify_die+0x0/0xb0\r
[   94.197671] RSP: 0000:ff83138c404cff38 EFLAGS: 00000046\r
[   94.199062]  exc_int3+0x81/0x120\r
[   94.202152] Kernel panic - not syncing: RCU Stall\r
"""
STANDS_ELSEWHERE = ONE_STANDS.replace("exc_int3+0x81", "bpf_loop+0x2a")
LEAPT = "[  5.0] sealsnoop: beat\r\n[  935.5] sealsnoop: beat\r\n"
OURS = "[  143.8] Oops: 0002 [#1] SMP NOPTI\n"
INTERRUPTIBLE = TO_ZERO.replace("00000086", "00010286")


@pytest.mark.parametrize(
    ("consoles", "boots"),
    [
        ([""], 1),
        ([QEMUS_FAULT, ""], 2),
        ([TO_ZERO, ""], 2),
        ([QEMUS_FAULT, TO_ZERO, QEMUS_FAULT, ""], 4),
        ([QEMUS_FAULT] * 4, 4),
        ([STANDSTILL, ""], 2),
        ([WAITING], 1),
        ([ONE_STANDS, ""], 2),
        ([STANDS_ELSEWHERE], 1),
        ([LEAPT, ""], 2),
        ([OURS], 1),
        ([INTERRUPTIBLE], 1),
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
