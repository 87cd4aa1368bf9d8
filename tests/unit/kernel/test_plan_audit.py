"""The hook plan for audits, with the module kvm: loaded, to come, and changed."""

from pathlib import Path

import pytest

from tests.unit.kernel.fake_kernel import (
    KVM,
    KVM_AMD,
    RELEASES,
    audit_plan,
    btf_of,
    functions,
    planner,
    symbols_of,
)
from tracer.kernel.audit_families import AUDIT_FAMILIES
from tracer.kernel.families import FAMILIES
from tracer.kernel.plan import MethodChoice, Planner
from tracer.words import HookState

WANTED_FOR_AUDITS: dict[str, dict[str, str | None]] = {
    "6.1": {
        "memslot": "__kvm_set_memory_region fexit",
        "pin_remote": "pin_user_pages_remote kprobe",
        "pin_file": None,
        "receive": "security_file_receive fexit",
        "gmem_create": None,
        "gmem_setattr": None,
        "splice": None,
        "hugetlb_read": "hugetlbfs_read_iter fexit",
        "uffd_copy": "mcopy_atomic fexit",
        "uffd_zero": "mfill_zeropage fexit",
        "uffd_continue": "mcopy_continue fexit",
        "ptrace": "ptrace_attach fexit",
        "ptrace_link": "__ptrace_link fexit",
        "share_mm": "wake_up_new_task fexit",
        "advise": "do_madvise fexit",
        "vm_begin": "kvm_arch_init_vm fexit",
        "vm_end": "kvm_destroy_vm fexit",
        "convert": "kvm_vm_ioctl fexit",
        "convert_range": None,
        "udmabuf": None,
    },
    "7.3": {
        "memslot": "kvm_set_memory_region fexit",
        "pin_remote": "pin_user_pages_remote fexit",
        "pin_file": "memfd_pin_folios fexit",
        "receive": "security_file_receive fexit",
        "gmem_create": "kvm_gmem_create fexit",
        "gmem_setattr": "kvm_gmem_setattr fexit",
        "splice": "shmem_file_splice_read fexit",
        "hugetlb_read": "hugetlbfs_read_iter fexit",
        "uffd_copy": "mfill_atomic_copy fexit",
        "uffd_zero": "mfill_atomic_zeropage fexit",
        "uffd_continue": "mfill_atomic_continue fexit",
        "ptrace": "ptrace_attach fexit",
        "ptrace_link": "__ptrace_link fexit",
        "share_mm": "wake_up_new_task fexit",
        "advise": "madvise_do_behavior fexit",
        "memslot_file": "kvm_arch_commit_memory_region fexit",
        "convert": "kvm_vm_ioctl fexit",
        "convert_range": "kvm_range_has_memory_attributes fexit",
        "udmabuf": "udmabuf_create fexit",
    },
}


@pytest.mark.parametrize("release", list(KVM))
def test_for_audits(release: str, tmp_path: Path) -> None:
    plan = audit_plan(release, tmp_path, release)
    found = {
        step.family: f"{step.symbol} {step.method}" if step.live else None for step in plan.steps
    }
    assert found.items() >= WANTED_FOR_AUDITS[release].items()
    assert {step.family for step in plan.steps if step.module == "kvm"} == {
        family.name for family in AUDIT_FAMILIES if family.module == "kvm" and found[family.name]
    }
    assert plan.uncovered == ()
    waiting = {step.module for step in plan.steps if step.state == HookState.WAITING}
    assert waiting == {"kvm_amd"}
    # what there is without them is as it was
    assert plan.steps[: len(FAMILIES)] == planner(release, tmp_path).plan().steps


def test_what_a_module_is_waited_for_with_is_what_it_has(tmp_path: Path) -> None:
    """The answer is behind the parameters: compiled for another number, it is read elsewhere."""
    waiting = {
        step.family: step
        for step in audit_plan("7.3", tmp_path).steps
        if step.state == HookState.WAITING
    }
    there = functions("7.3", KVM) | functions("7.3", KVM_AMD)
    names = {one.symbol: family.name for family in AUDIT_FAMILIES for one in family.alternatives}
    # What is on the list alone is waited for as well.
    assert {names[symbol] for symbol in there} == set(waiting) - {"convert_file"}
    for symbol, parameters in there.items():
        assert waiting[names[symbol]].parameters == len(parameters)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("method", ["auto", "fexit", "kprobe"])
def test_a_module_that_comes_later_is_what_was_compiled(
    release: str, method: MethodChoice, tmp_path: Path
) -> None:
    before = audit_plan(release, tmp_path, method=method)
    waiting = {step.family for step in before.steps if step.state == HookState.WAITING}
    wanted = {"memslot", "gmem_create", "gmem_fault", "gmem_fallocate", "gmem_release"}
    if (release, method) == ("5.10", "fexit"):  # where ways have no answer by a trampoline
        wanted -= {"memslot", "gmem_create", "gmem_fault"}
    assert waiting >= wanted
    assert not any(step.family in waiting for step in before.uncovered)
    assert before.step("memslot").reason == "waits for the module kvm, which is not loaded"
    for kvm in KVM:
        for step in audit_plan(release, tmp_path, kvm, method).live:
            if step.family in waiting:
                assert step.macros().items() <= before.macros().items(), step.family


def test_a_module_with_another_prototype_is_noticed(tmp_path: Path) -> None:
    found, module = functions("7.3"), functions("7.3", KVM)
    module["kvm_set_memory_region"] = ["int", "kvm *", "kvm_userspace_memory_region2 *"]
    module["kvm_gmem_fallocate"] = ["file *", "int", "long", "long", "int"]
    symbols = symbols_of([*found, *module], tmp_path, dict.fromkeys(module, "kvm"))
    plan = Planner(btf_of(found), symbols, modules={"kvm": btf_of(module)}).plan(audit=True)
    memslot = plan.step("memslot")
    assert not memslot.live
    assert memslot.reason.endswith("does not take a struct kvm * there")
    assert [step.family for step in plan.uncovered] == ["memslot"]
    fallocate = plan.step("gmem_fallocate")
    assert (fallocate.live, fallocate.method) == (True, "kprobe")
    compiled = audit_plan("7.3", tmp_path).macros()
    # What a module has is compiled for kprobes in any case: it may come later.
    assert fallocate.macros().items() <= compiled.items()


@pytest.mark.parametrize("release", list(KVM_AMD))
def test_modules_come_one_by_one(release: str, tmp_path: Path) -> None:
    found, module = functions(release), functions(release, KVM_AMD)
    symbols = symbols_of([*found, *module], tmp_path, dict.fromkeys(module, "kvm_amd"))
    planner = Planner(btf_of(found), symbols, modules={"kvm_amd": btf_of(module)})
    plan = planner.plan(audit=True)
    live = {step.family: step.symbol for step in plan.live if step.module}
    assert live == {
        family.name: family.alternatives[0].symbol
        for family in AUDIT_FAMILIES
        if family.alternatives[0].symbol in module
    }
    assert plan.step("convert").state == HookState.WAITING
    assert plan.step("sev_debug_page").absent is (release == "6.12")


def test_a_module_without_btf(tmp_path: Path) -> None:
    found, module = functions("6.1"), functions("6.1", KVM)
    symbols = symbols_of([*found, *module], tmp_path, dict.fromkeys(module, "kvm"))
    step = Planner(btf_of(found | module), symbols).plan(audit=True).step("memslot")
    assert (step.live, step.reason) == (False, "BTF has no prototype of __kvm_set_memory_region")


def test_kvm_in_the_kernel_itself_is_not_waited_for(tmp_path: Path) -> None:
    found = functions("7.3") | functions("7.3", KVM)
    del found["kvm_gmem_create"]
    plan = Planner(btf_of(found), symbols_of(found, tmp_path)).plan(audit=True)
    assert (plan.step("memslot").live, plan.step("memslot").module) == (True, None)
    assert plan.step("gmem_create").reason == "this kernel has no kvm_gmem_create"


def test_nothing_is_found_by_address_without_a_maple_tree(tmp_path: Path) -> None:
    plan = audit_plan("5.10", tmp_path)
    for family in ("remote_access", "pin_remote", "pin", "pin_fast", "mprotect"):
        step = plan.step(family)
        assert (step.live, step.reason) == (False, "this kernel has no maple_range_64.pivot")
    assert plan.step("receive").live, "by the file itself"


def test_a_trampoline_that_cannot_ask_for_the_answer(tmp_path: Path) -> None:
    plan = audit_plan("5.10", tmp_path)
    receive = plan.step("receive")
    assert receive.method == "kprobe"
    assert receive.reason.endswith("trampoline programs cannot ask for the answer")
    assert plan.step("open").method == "fexit", "which wants no answer"
    assert audit_plan("5.10", tmp_path, method="fexit").step("receive").method is None


@pytest.mark.parametrize("release", RELEASES)
def test_a_function_of_two_forms_is_told_from_its_other_one(release: str, tmp_path: Path) -> None:
    """The program reads the address space out of another place then."""
    macros = audit_plan(release, tmp_path).macros()
    is_new = release not in ("5.10", "6.1")
    assert ("UFFD_BY_CONTEXT" in macros, "ADVISE_BY_STRUCT" in macros) == (
        is_new,
        release == "7.3",
    )
