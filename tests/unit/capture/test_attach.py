"""What is done when the kernel refuses a program."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from tracer.capture import attach as module
from tracer.capture.bpf_source import Filters
from tracer.capture.program import AttachError
from tracer.kernel.plan import Step

STEP = SimpleNamespace(
    family="write", hook="write", method="fexit", symbol="shmem_file_write_iter", unseen="w"
)
Refuses = Callable[[bool, dict[str, Any]], bool]


class FakeKernel:
    """Plans are what was told of families so far."""

    layout: ClassVar[dict[str, int]] = {}
    btf = modules = gmem_iops = None
    kprobes = True

    def plan(self, method: str, no_fexit: set[str], *rest: object) -> Any:
        return SimpleNamespace(live=[STEP], no_fexit=set(no_fexit))


def attached(monkeypatch: pytest.MonkeyPatch, refuses: Refuses) -> tuple[Any, list[str]]:
    """The program, and what was told."""

    class FakeProgram:
        def __init__(self, plan: Any, *rest: Any) -> None:
            self.plan, self.tasks = plan, rest[-1]

        def learn_kvm(self, *rest: object) -> None: ...

        def close(self) -> None: ...

        def attach(self, on_step: object) -> None:
            if refuses(self.tasks, vars(self.plan)):
                step: Step = STEP  # type: ignore[assignment]
                raise AttachError(step, "too much", refused=True)

    monkeypatch.setattr(module, "Program", FakeProgram)
    told: list[str] = []
    kernel: Any = FakeKernel()
    program = module.attach(kernel, "auto", None, Filters(), 1 << 16, told.append)
    return program, told


def test_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    program, told = attached(monkeypatch, lambda tasks, plan: False)
    assert (program.tasks, told) == (True, [])


def test_a_hook_is_worth_more_than_who_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    program, told = attached(monkeypatch, lambda tasks, plan: tasks)
    assert not program.tasks
    assert program.plan.no_fexit == set()
    [line] = told
    assert line.startswith("programs and command lines of who acts are not recorded: write: fexit")


def test_what_is_refused_anyway_is_not_blamed_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    program, told = attached(monkeypatch, lambda tasks, plan: not plan["no_fexit"])
    assert program.tasks
    assert program.plan.no_fexit == {"write"}
    [line] = told
    assert line.endswith("trying a kprobe")
