"""Which deaths of a guest the kernel tests forgive: QEMU's own, a few."""

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
    left = list(consoles)

    def one_boot(*_: object, **__: object) -> tuple[int, str]:
        assert sorted(path.name for path in tmp_path.iterdir()) == ["memfd_test"]
        console = left.pop(0)
        (tmp_path / "console.log").write_text(console)
        (tmp_path / "a.seal").mkdir()
        return int(bool(console)), "the end"

    (tmp_path / "memfd_test").touch()
    monkeypatch.setattr(booting, "_boot", one_boot)
    if consoles[-1]:
        with pytest.raises(pytest.fail.Exception, match="boot ended with 1\nthe end"):
            booting.boot(pytestconfig, "6.1", tmp_path)
    else:
        booting.boot(pytestconfig, "6.1", tmp_path)
    assert len(consoles) - len(left) == boots
