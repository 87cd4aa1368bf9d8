"""Where the kernel refuses programs that take user stacks, all else is recorded."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tracer.capture import attach as attaching
from tracer.capture.attach import Kernel, attach
from tracer.capture.bpf_source import Filters, Stacks
from tracer.capture.program import AttachError


def step(family: str, hook: str) -> Any:
    return SimpleNamespace(
        family=family, hook=hook, method="kprobe", symbol=family, unseen=f"what {family} sees"
    )


class FakeKernel:
    """Two families, of which some cannot be attached."""

    btf = layout = None
    modules: Any = None
    gmem_iops = 0
    kprobes = True

    def plan(
        self, method: str, no_fexit: Any, families: Any, left_out: dict[str, str], audit: bool,
        stacks: bool,
    ) -> Any:  # fmt: skip
        steps = [step("write", "write"), step("mmap", "mmap")]
        steps += [step("code", "code")] if stacks else []
        live = tuple(one for one in steps if one.family not in left_out)
        return SimpleNamespace(live=live, steps=steps, uncovered=())


class FakeProgram:
    """Refuses what :attr:`refused` has: a family, and whether with stacks alone."""

    refused: dict[str, bool]

    def __init__(self, plan: Any, *more: Any) -> None:
        self.plan, self.stacks = plan, more[-2]

    def learn_kvm(self, *_: Any) -> None:
        pass

    def attach(self, on_step: Any) -> None:
        for one in self.plan.live:
            if one.family in self.refused and (self.stacks or not self.refused[one.family]):
                raise AttachError(one, "the verifier said no", refused=True)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("refused", "stacks", "live", "told"),
    [
        ({}, Stacks.ALL, ["write", "mmap", "code"], ""),
        ({"write": True}, Stacks.OFF, ["write", "mmap"], "no user stacks: write: kprobe on write"),
        ({"code": True}, Stacks.ALL, ["write", "mmap"], "unseen from now on: what code sees"),
        ({"mmap": False}, Stacks.ALL, ["write", "code"], "unseen from now on: what mmap sees"),
        ({"mmap": False, "write": True}, Stacks.OFF, ["write"], "no user stacks"),
    ],
)
def test_decisions_come_first(
    monkeypatch: pytest.MonkeyPatch,
    refused: dict[str, bool],
    stacks: Stacks,
    live: list[str],
    told: str,
) -> None:
    monkeypatch.setattr(FakeProgram, "refused", refused, raising=False)
    monkeypatch.setattr(attaching, "Program", FakeProgram)
    said: list[str] = []
    found = attach(
        cast("Kernel", FakeKernel()), "auto", None, Filters(), 1 << 20, said.append,
        stacks=Stacks.ALL,
    )  # fmt: skip
    assert found.stacks is stacks
    assert [one.family for one in found.plan.live] == live
    assert told in " ".join(said)
