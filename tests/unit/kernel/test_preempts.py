"""Whether the kernel preempts tasks in itself decides between trampolines and kprobes."""

from pathlib import Path

import pytest

from tests.unit.kernel.fake_kernel import btf_of, functions, symbols_of
from tracer.kernel.plan import PREEMPTED, Planner
from tracer.kernel.requirements.host import Host
from tracer.kernel.requirements.methods import preempts


@pytest.mark.parametrize(
    ("modes", "does"),
    [
        ("none (voluntary) full", False),
        ("(none) voluntary full lazy", False),
        ("none voluntary (full) lazy", True),
        ("none voluntary full (lazy)", True),
    ],
)
def test_by_the_mode_chosen_at_boot(modes: str, does: bool, tmp_path: Path) -> None:
    file = tmp_path / "sys/kernel/debug/sched/preempt"
    file.parent.mkdir(parents=True)
    file.write_text(modes + "\n")
    assert preempts(Host(tmp_path)) is does


@pytest.mark.parametrize(
    ("config", "does"),
    [
        ("CONFIG_PREEMPT_VOLUNTARY=y\n# CONFIG_PREEMPT_DYNAMIC is not set\n", False),
        ("CONFIG_PREEMPTION=y\n", True),
        ("CONFIG_PREEMPT_DYNAMIC=y\n", True),
        (None, True),
    ],
)
def test_without_debugfs(config: str | None, does: bool, tmp_path: Path) -> None:
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("9-test\n")
    if config is not None:
        (tmp_path / "boot").mkdir()
        (tmp_path / "boot/config-9-test").write_text(config)
    assert preempts(Host(tmp_path)) is does


def test_auto_takes_kprobes_there_and_fexit_can_be_forced(tmp_path: Path) -> None:
    found = functions("7.3")
    planner = Planner(btf_of(found), symbols_of(found, tmp_path), preempts=True)
    auto = planner.plan("auto")
    assert {step.method for step in auto.live} == {"kprobe"}
    assert auto.step("mmap").reason == f"kprobe because {PREEMPTED}"
    assert {step.method for step in planner.plan("fexit").live} == {"fexit"}
    alone = Planner(btf_of(found), symbols_of(found, tmp_path), kprobes=False, preempts=True)
    assert {step.method for step in alone.plan("auto").live} == {"fexit"}
