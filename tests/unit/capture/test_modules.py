"""Hooks in a module that comes and goes, with a kernel and a program that only take notes."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from tests.unit.kernel.fake_kernel import KVM, KVM_AMD, btf_of, functions, symbols_of
from tracer.capture import attach as modules
from tracer.capture.attach import REFUSED, Kernel, ModuleWatch, identity
from tracer.capture.program import AttachError, Program
from tracer.errors import UserError
from tracer.kernel.btf import Btf
from tracer.kernel.plan import Plan, Step
from tracer.record import BASELINE, USER_CPU, Hook, Op, RecordType


class FakeProgram:
    """What `Program` is asked for; every call is written down."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.calls: list[str] = []
        self.refuse: set[str] = set()

    def attach_step(self, step: Step) -> None:
        if step.family in self.refuse:
            raise AttachError(step, "refused\n")
        self.calls.append(f"attach {step.family} {step.symbol}")

    def detach_module(self, module: str) -> None:
        self.calls.append(f"detach {module}")

    def learn_kvm(self, modules: dict[str, Btf], gmem_iops: int) -> None:
        self.calls.append(f"learn {sorted(modules)} {gmem_iops:#x}")


class Setting:
    """A 7.3 whose KVM comes and goes at our word."""

    def __init__(
        self, root: Path, monkeypatch: pytest.MonkeyPatch, loaded: bool = False, **kvm: list[str]
    ) -> None:
        self.root = root
        found, module = functions("7.3"), functions("7.3", KVM) | kvm
        base = btf_of(found)
        without = Kernel(base, symbols_of(found, root), {}, True, True, False)
        self.with_kvm = Kernel(
            base,
            symbols_of([*found, *module], root, dict.fromkeys(module, "kvm")),
            {},
            True,
            True,
            False,
            {"kvm": btf_of(module)},
        )
        first = self.with_kvm if loaded else without
        monkeypatch.setattr(Kernel, "only_kvm", lambda kernel: self.with_kvm)
        monkeypatch.setattr(modules, "kvm_gmem_iops", lambda: 0xFFFF)
        self.program = FakeProgram(first.plan(audit=True))
        self.told: list[str] = []
        self.identities = {"kvm": 7 if loaded else 0}
        self.watch = ModuleWatch(
            cast("Program", self.program),
            first,
            "auto",
            self.told.append,
            lambda module: self.identities.get(module, 0),
        )

    def poll(self, identity: int) -> Any:
        self.identities["kvm"] = identity
        records = self.watch.poll()
        if records is None:
            return None
        rows = records.view(BASELINE)
        assert set(rows["type"]) == {RecordType.BASELINE}
        assert set(rows["op"]) == {Op.ATTACH}
        assert set(rows["cpu"]) == {USER_CPU}
        # Unseen since the last look, which was a moment ago.
        assert (rows["duration_ns"] < 3_600 * 10**9).all()
        assert (rows["duration_ns"] > 0).all()
        return [(Hook(row["hook"]).name.lower(), int(row["answer"])) for row in rows]


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    return Setting(tmp_path, monkeypatch)


def on_off(answer: int) -> list[tuple[str, int]]:
    hooks = (
        "memslot", "memslot", "memslot", "memslot", "convert", "convert", "create", "fault",
        "allocate", "setattr", "evict",
    )  # fmt: skip
    return [(hook, answer) for hook in hooks]


def test_it_comes_goes_and_comes_again(setting: Setting) -> None:
    assert setting.poll(0) is None
    assert setting.poll(7) == on_off(0)
    attached = setting.program.calls
    assert attached[0] == "learn ['kvm'] 0x0", "before the first program runs"
    assert attached[-1] == "learn ['kvm'] 0xffff", "what takes longer comes last"
    assert attached[1:-1] == [
        "attach memslot kvm_set_memory_region",
        "attach memslot_file kvm_arch_commit_memory_region",
        "attach vm_begin kvm_arch_init_vm",
        "attach vm_end kvm_destroy_vm",
        "attach convert kvm_vm_ioctl",
        "attach convert_range kvm_range_has_memory_attributes",
        "attach gmem_create kvm_gmem_create",
        "attach gmem_fault kvm_gmem_fault_user_mapping",
        "attach gmem_fallocate kvm_gmem_fallocate",
        "attach gmem_setattr kvm_gmem_setattr",
        "attach gmem_release kvm_gmem_release",
    ]
    assert setting.poll(7) is None
    assert setting.poll(0) == on_off(-2)
    assert setting.program.calls[13:] == ["detach kvm"]
    assert setting.poll(8) == on_off(0)
    assert setting.told == []


def test_each_module_by_itself(setting: Setting) -> None:
    """kvm_amd comes after kvm, and can go while that stays."""
    amd = functions("7.3", KVM_AMD)
    setting.poll(7)
    before, both = len(setting.program.calls), setting.with_kvm
    setting.with_kvm = replace(
        both,
        symbols=symbols_of(amd, setting.root, dict.fromkeys(amd, "kvm_amd")),
        modules=both.modules | {"kvm_amd": btf_of(amd)},
    )
    setting.identities["kvm_amd"] = 9
    assert setting.poll(7) == [("convert", 0)] * 3
    assert setting.program.calls[before:] == [
        "learn ['kvm', 'kvm_amd'] 0x0",
        "attach sev_debug sev_dbg_crypt",
        "attach sev_debug_page sev_pin_page",
        "attach sev_debug_memory sev_pin_memory",
    ]
    setting.identities["kvm_amd"] = 0
    assert setting.poll(7) == [("convert", -2)] * 3
    assert setting.program.calls[before + 4 :] == ["detach kvm_amd"]
    assert setting.poll(0) == on_off(-2)
    assert setting.told == []


def test_another_load_between_two_looks(setting: Setting) -> None:
    setting.poll(7)
    assert setting.poll(8) == [*on_off(-2), *on_off(0)]
    assert setting.program.calls[13] == "detach kvm"
    assert setting.program.calls[13 + 1 :] == setting.program.calls[:13]


def test_it_was_there_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = Setting(tmp_path, monkeypatch, loaded=True)
    assert setting.poll(7) is None
    assert setting.program.calls == [], "attached with all the others"
    assert setting.poll(0) == on_off(-2)


def test_what_is_not_as_it_was_thought_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = Setting(
        tmp_path,
        monkeypatch,
        kvm_set_memory_region=["int", "kvm *"],
        kvm_gmem_fallocate=["file *", "int", "long", "long", "int"],
    )
    assert setting.poll(7) == [*on_off(0)[1:], ("memslot", REFUSED)]
    [said] = setting.told
    assert said.startswith("unseen: which memory a virtual machine is given (int kvm_set_memory")
    assert said.endswith("does not take a struct kvm * there)")


def test_a_hook_that_is_refused_is_told(setting: Setting) -> None:
    setting.program.refuse = {"memslot"}
    assert setting.poll(7) == [*on_off(0)[1:], ("memslot", REFUSED)]
    assert setting.poll(0) == on_off(-2)[1:], "what was never there does not go"
    [said] = setting.told
    assert said.endswith("(memslot: kprobe on kvm_set_memory_region failed: refused)")


def test_it_is_hooked_by_kprobe(setting: Setting) -> None:
    """A trampoline would take CAP_SYS_ADMIN, which a recorder has no more by then."""
    assert {step.method for step in setting.program.plan.live} == {"fexit"}
    setting.poll(7)
    assert setting.watch._steps["kvm"]
    assert {step.method for step in setting.watch._steps["kvm"]} == {"kprobe"}


def test_symbols_that_cannot_be_read(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(kernel: Kernel) -> Kernel:
        raise UserError("no symbols")

    monkeypatch.setattr(Kernel, "only_kvm", refuse)
    # Whether it has the family that no kernel here has, nobody knows.
    every = [*on_off(REFUSED)[:6], ("convert", REFUSED), *on_off(REFUSED)[6:]]
    assert setting.poll(7) == every, "a module that nothing sees into is told"
    assert setting.told == ["module kvm came, and cannot be looked at: no symbols"]
    assert setting.poll(7) is None
    assert len(setting.told) == 1, "once"


def test_identity(tmp_path: Path) -> None:
    folder = tmp_path / "sys/module/kvm"
    assert identity("kvm", tmp_path) == 0
    folder.mkdir(parents=True)
    assert identity("kvm", tmp_path) == 0, "built into the kernel: it has no state"
    (folder / "initstate").write_text("coming\n")
    assert identity("kvm", tmp_path) == 0
    (folder / "initstate").write_text("live\n")
    assert identity("kvm", tmp_path) == folder.stat().st_ino
    (folder / "initstate").write_text("going\n")
    assert identity("kvm", tmp_path) == 0


def test_records_are_what_the_store_takes(setting: Setting) -> None:
    setting.identities["kvm"] = 7
    records = setting.watch.poll()
    assert records is not None
    records["seq"] = np.arange(len(records))
    assert records["seq"].tolist() == list(range(11))


def test_only_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is planned with nothing but KVM's BTF is what is planned with everything."""
    found, module = functions("7.3"), functions("7.3", KVM)
    everything = Kernel(
        btf_of(found),
        symbols_of([*found, *module], tmp_path, dict.fromkeys(module, "kvm")),
        {},
        True,
        True,
        False,
        {"kvm": btf_of(module)},
    )
    monkeypatch.setattr(
        "tracer.capture.attach.module_btfs", lambda base, names: {"kvm": btf_of(module)}
    )
    wanted = everything.plan(audit=True)
    quick = everything.only_kvm().plan(audit=True)
    for step in wanted.steps:
        if step.module == "kvm":
            assert quick.step(step.family) == step
    assert everything.only_kvm().symbols.traceable("kvm_gmem_create") is None
    monkeypatch.setattr("tracer.capture.attach.module_btfs", lambda base, names: {})
    assert everything.only_kvm().plan(audit=True).live == ()
