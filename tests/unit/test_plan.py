"""The hook plan: on small kernels with real prototypes, on this machine's, and beside bpf/."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.unit.fake_kernel import KVM, PROTOTYPES, btf_of, functions, symbols_of
from tracer.capture.bpf_source import BPF_DIR, Shape
from tracer.kernel import offsets
from tracer.kernel.audit_families import AUDIT_BLIND_SPOTS, AUDIT_FAMILIES
from tracer.kernel.btf import Btf, BtfMissing
from tracer.kernel.families import BLIND_SPOTS, FAMILIES, Way
from tracer.kernel.plan import Method, MethodChoice, Plan, Planner
from tracer.kernel.symbols import Symbols
from tracer.model.layout import enums
from tracer.model.words import Hook, Op

VMLINUX = Path("/sys/kernel/btf/vmlinux")
RELEASES = list(PROTOTYPES)
FITS = "the kernel has trampolines and the prototype fits"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def planner(
    release: str,
    root: Path,
    without: Iterable[str] = (),
    trampolines: bool = True,
    kprobes: bool = True,
) -> Planner:
    found = functions(release)
    for name in without:
        del found[name]
    return Planner(btf_of(found), symbols_of(found, root), trampolines, kprobes)


def chosen(plan: Plan) -> dict[str, tuple[str | None, Method | None]]:
    return {step.family: (step.symbol, step.method) for step in plan.steps}


# ---- what is chosen ---------------------------------------------------------------------------

WANTED: dict[str, dict[str, str | None]] = {
    "5.10": {
        "mmap_check": None,
        "shmem_mmap": "shmem_mmap fexit",
        "hugetlb_mmap": "hugetlbfs_file_mmap fexit",
        "write": "generic_file_write_iter kprobe",
        "write_check": "shmem_write_begin kprobe",
        "map": "vma_interval_tree_insert fexit",
        "map_after": "vma_interval_tree_insert_after fexit",
        "unmap": "vma_interval_tree_remove fexit",
    },
    "6.1": {
        "mmap_check": None,
        "shmem_mmap": "shmem_mmap fexit",
        "hugetlb_mmap": "hugetlbfs_file_mmap fexit",
        "write": "generic_file_write_iter fexit",
        "write_check": "shmem_write_begin fexit",
        "map": "vma_interval_tree_insert fexit",
        "map_after": "vma_interval_tree_insert_after fexit",
        "unmap": "vma_interval_tree_remove fexit",
    },
    "6.12": {
        "mmap_check": "memfd_check_seals_mmap fexit",
        "shmem_mmap": "shmem_mmap fexit",
        "hugetlb_mmap": "hugetlbfs_file_mmap fexit",
        "write": "shmem_file_write_iter fexit",
        "write_check": "shmem_write_begin fexit",
        "map": "vma_interval_tree_insert fexit",
        "map_after": "vma_interval_tree_insert_after fexit",
        "unmap": "vma_interval_tree_remove fexit",
    },
    "6.19": {
        "mmap_check": "memfd_check_seals_mmap fexit",
        "shmem_mmap": "shmem_mmap_prepare fexit",
        "hugetlb_mmap": "hugetlbfs_file_mmap_prepare fexit",
        "write": "shmem_file_write_iter fexit",
        "write_check": "shmem_write_begin fexit",
        "map": "vma_interval_tree_insert fexit",
        "map_after": "vma_interval_tree_insert_after fexit",
        "unmap": "vma_interval_tree_remove fexit",
    },
    "7.3": {
        "hugetlb_mmap": "hugetlbfs_file_mmap fexit",
        "mmap_check": "memfd_check_seals_mmap fexit",
        "shmem_mmap": "shmem_mmap_prepare fexit",
        "write": "shmem_file_write_iter fexit",
        "write_check": "shmem_write_begin fexit",
        "map": "mapping_rmap_tree_insert fexit",
        "map_after": "mapping_rmap_tree_insert_after fexit",
        "unmap": "mapping_rmap_tree_remove fexit",
    },
}
EVERYWHERE = {
    "mmap": "vm_mmap_pgoff fexit",
    "shmem_setattr": "shmem_setattr fexit",
    "hugetlb_setattr": "hugetlbfs_setattr fexit",
    "shmem_fallocate": "shmem_fallocate fexit",
    "hugetlb_fallocate": "hugetlbfs_fallocate fexit",
    "read": "shmem_file_read_iter fexit",
    "seals": "memfd_fcntl fexit",
    "create": "__x64_sys_memfd_create fexit",
    "shmem_evict": "shmem_evict_inode fexit",
    "hugetlb_evict": "hugetlbfs_evict_inode fexit",
}


@pytest.mark.parametrize("release", RELEASES)
def test_auto(release: str, root: Path) -> None:
    plan = planner(release, root).plan()
    found = {
        family: f"{symbol} {method}" if method else None
        for family, (symbol, method) in chosen(plan).items()
    }
    assert found == EVERYWHERE | WANTED[release]
    assert list(chosen(plan)) == [family.name for family in FAMILIES]
    assert plan.uncovered == ()


@pytest.mark.parametrize("release", RELEASES)
def test_kprobe_is_taken_when_it_is_asked_for(release: str, root: Path) -> None:
    plan = planner(release, root).plan("kprobe")
    assert {step.method for step in plan.live} == {"kprobe"}
    assert {step.reason for step in plan.live} == {"kprobe was asked for"}
    assert {s.family: s.symbol for s in plan.live} == {
        s.family: s.symbol for s in planner(release, root).plan().live
    }


@pytest.mark.parametrize(("release", "dentry"), [("5.10", 0), ("6.1", 1), ("6.12", 1), ("7.3", 1)])
@pytest.mark.parametrize("method", ["auto", "kprobe"])
def test_places_of_the_dentry(release: str, dentry: int, method: MethodChoice, root: Path) -> None:
    macros = planner(release, root).plan(method).macros()
    assert macros["ARG_SETATTR_DENTRY"] == dentry
    assert macros["ARG_SETATTR_IATTR"] == dentry + 1
    # where the answer stands is of interest to trampolines alone
    assert macros.get("NARGS_SETATTR") == (dentry + 2 if method == "auto" else None)


def test_seven_parameters(root: Path) -> None:
    old = planner("5.10", root)
    step = old.plan().step("write_check")
    why = "7 parameters are more than a trampoline surely takes"
    assert (step.method, step.reason) == ("kprobe", f"kprobe because {why}")
    assert step.parameters == 7
    assert old.plan().step("write").reason == (
        "kprobe because write_check, where its calls would begin, is on no trampoline"
    )
    step = old.plan("fexit").step("write_check")
    assert (step.method, step.reason) == (None, f"fexit was asked for, but {why}")
    assert (step.symbol, step.live) == ("shmem_write_begin", False)
    assert [one.family for one in old.plan("fexit").uncovered] == ["write_check", "write"]
    assert planner("6.1", root).plan("fexit").step("write_check").method == "fexit"


def test_a_write_begins_at_its_check_by_trampolines_alone(root: Path) -> None:
    new = planner("6.12", root)
    assert new.plan().step("write").at_entry is False
    assert new.plan("kprobe").step("write").at_entry is True
    refused = new.plan(no_fexit=["write_check"])
    assert [refused.step(name).method for name in ("write_check", "write")] == ["kprobe"] * 2
    gone = new.plan(left_out={"write_check": "broken"})
    assert gone.step("write_check").reason == "broken"
    assert gone.step("write").method == "kprobe"


def test_no_program_is_asked_for_two_argument_places(root: Path) -> None:
    for release in RELEASES:
        for method in ("auto", "fexit", "kprobe"):
            plan = planner(release, root).plan(method)
            for step in plan.live:
                assert step.macros().items() <= plan.macros().items(), (release, step.family)


def test_families_that_share_a_program_but_not_its_arguments(root: Path) -> None:
    found = functions("6.12")
    found["hugetlbfs_setattr"] = ["mnt_idmap *", "dentry *", "iattr *", "int"]
    both = Planner(btf_of(found), symbols_of(found, root))
    why = "another family's setattr has NARGS_SETATTR=3"
    step = both.plan().step("hugetlb_setattr")
    assert (step.method, step.reason) == ("kprobe", f"kprobe because {why}")
    forced = both.plan("fexit").step("hugetlb_setattr")
    assert (forced.method, forced.reason) == (None, f"fexit would do, but {why}")
    alone = Planner(btf_of(found), symbols_of(found, root), kprobes=False)
    assert alone.plan().step("hugetlb_setattr").reason == f"fexit would do, but {why}"
    apart = both.plan(no_fexit=["shmem_setattr"])
    assert apart.step("hugetlb_setattr").method == "fexit", "nobody else is in the way"


def test_forced_fexit(root: Path) -> None:
    plan = planner("6.12", root).plan("fexit")
    assert {step.method for step in plan.live} == {"fexit"}
    assert {step.reason for step in plan.live} == {FITS}
    assert plan.uncovered == ()


# ---- what is missing --------------------------------------------------------------------------


def test_missing_symbols(root: Path) -> None:
    plan = planner("6.12", root, ["memfd_fcntl", "hugetlbfs_setattr", "shmem_mmap"]).plan()
    assert [step.family for step in plan.uncovered] == ["shmem_mmap", "seals"]
    seals = plan.step("seals")
    assert (seals.symbol, seals.method) == (None, None)
    assert seals.reason == "this kernel has no memfd_fcntl"
    assert seals.unseen == "F_ADD_SEALS: who sealed what, and what was refused"
    reason = "this kernel has no shmem_mmap_prepare nor shmem_mmap"
    assert plan.step("shmem_mmap").reason == reason
    assert plan.step("hugetlb_setattr").reason == "this kernel has no hugetlbfs_setattr"
    assert {step.family for step in plan.steps if step.absent} == {"hugetlb_setattr"}
    assert "WITH_FENTRY_SEALS" not in plan.macros()
    assert plan.macros()["WITH_FENTRY_SETATTR"] == 1, "shmem's own still needs it"


def test_the_newest_alternative_wins(root: Path) -> None:
    found = functions("6.12") | functions("6.19")
    both = Planner(btf_of(found), symbols_of(found, root)).plan()
    assert both.step("shmem_mmap").symbol == "shmem_mmap_prepare"
    old = planner("6.1", root).plan().macros()
    new = planner("6.12", root).plan().macros()
    assert (old["WRITE_IS_SHMEM"], new["WRITE_IS_SHMEM"]) == (0, 1)


def test_changed_copies(root: Path) -> None:
    found = functions("6.12")
    names = [*(found.keys() - {"memfd_fcntl"}), "memfd_fcntl.isra.0", "memfd_fcntl.cold"]
    step = Planner(btf_of(found), symbols_of(names, root)).plan().step("seals")
    assert (step.symbol, step.method) == (None, None)
    assert step.reason == "this kernel has only a changed copy: memfd_fcntl.isra.0"
    assert not step.absent


def test_no_prototype(root: Path) -> None:
    found = functions("6.12")
    names = list(found)
    del found["memfd_fcntl"], found["shmem_setattr"]
    plan = Planner(btf_of(found), symbols_of(names, root)).plan()
    seals = plan.step("seals")
    assert (seals.method, seals.prototype, seals.parameters) == ("kprobe", None, 0)
    assert seals.reason == "kprobe because BTF has no prototype of memfd_fcntl"
    setattr_ = plan.step("shmem_setattr")
    assert setattr_.method is None, "where the dentry is cannot be known"
    assert setattr_.reason == "BTF has no prototype of shmem_setattr"


def test_another_prototype(root: Path) -> None:
    found = functions("6.12")
    found["shmem_setattr"] = ["mnt_idmap *", "dentry *", "new_iattr *"]
    found["hugetlbfs_setattr"] = ["int"] * 6 + ["dentry *", "iattr *"]
    plan = Planner(btf_of(found), symbols_of(found, root)).plan()
    step = plan.step("shmem_setattr")
    assert step.method is None
    assert "has no parameter of type struct iattr *" in step.reason
    step = plan.step("hugetlb_setattr")
    assert step.method is None
    assert step.reason.startswith("struct dentry * of int hugetlbfs_setattr(")
    assert step.reason.endswith("is not in a register")


def test_two_functions_of_one_name(root: Path) -> None:
    found = functions("6.12")
    btf = btf_of(found, twice=["shmem_evict_inode"])
    step = Planner(btf, symbols_of(found, root)).plan().step("shmem_evict")
    reason = "BTF has several functions called shmem_evict_inode"
    assert (step.method, step.reason) == ("kprobe", f"kprobe because {reason}")


def test_not_traceable(root: Path) -> None:
    found = functions("6.12")
    listed = root / "sys/kernel/tracing/available_filter_functions"
    listed.parent.mkdir(parents=True)
    listed.write_text("".join(f"{name}\n" for name in found if name != "vm_mmap_pgoff"))
    plan = Planner(btf_of(found), symbols_of(found, root)).plan()
    assert plan.step("mmap").reason == "kprobe because vm_mmap_pgoff has no ftrace entry"
    assert plan.step("seals").method == "fexit"


def test_modules_are_named(root: Path) -> None:
    found = functions("6.12")
    symbols = symbols_of(found, root, {"hugetlbfs_setattr": "huge"})
    plan = Planner(btf_of(found), symbols, modules={"huge": btf_of(found)}).plan()
    assert plan.step("hugetlb_setattr").module == "huge"
    assert plan.step("hugetlb_setattr").method == "fexit"
    assert plan.step("shmem_setattr").module is None


# ---- methods that a kernel lacks --------------------------------------------------------------


def test_no_trampolines(root: Path) -> None:
    plan = planner("6.12", root, trampolines=False).plan()
    assert {step.method for step in plan.live} == {"kprobe"}
    reason = "kprobe because this kernel does not offer BPF trampolines"
    assert plan.step("mmap").reason == reason
    forced = planner("6.12", root, trampolines=False).plan("fexit")
    assert forced.live == ()
    reason = "fexit was asked for, but this kernel does not offer BPF trampolines"
    assert forced.step("mmap").reason == reason


def test_no_kprobes(root: Path) -> None:
    plan = planner("5.10", root, kprobes=False).plan()
    assert {step.method for step in plan.live} == {"fexit"}
    assert [step.family for step in plan.uncovered] == ["write_check", "write"]
    assert plan.step("write_check").reason == (
        "7 parameters are more than a trampoline surely takes, but this kernel has no kprobes"
    )
    forced = planner("5.10", root, kprobes=False).plan("kprobe")
    assert forced.live == ()
    assert forced.step("mmap").reason == "kprobe was asked for, but this kernel has no kprobes"


def test_neither(root: Path) -> None:
    plan = planner("7.3", root, trampolines=False, kprobes=False).plan()
    assert plan.live == ()
    assert plan.macros() == {}
    assert {step.family for step in plan.uncovered} == {f.name for f in FAMILIES if f.essential}


def test_refused_trampolines(root: Path) -> None:
    plan = planner("6.12", root).plan(no_fexit={"seals"})
    assert plan.step("seals").method == "kprobe"
    assert plan.step("seals").reason == "kprobe because the kernel refused a trampoline there"
    assert plan.step("mmap").method == "fexit"
    assert {"WITH_KPROBE_SEALS", "WITH_FENTRY_MMAP"} <= plan.macros().keys()
    assert "WITH_FENTRY_SEALS" not in plan.macros()


def test_both_methods_for_one_program(root: Path) -> None:
    macros = planner("6.12", root).plan(no_fexit={"hugetlb_setattr"}).macros()
    assert (macros["WITH_FENTRY_SETATTR"], macros["WITH_KPROBE_SETATTR"]) == (1, 1)
    assert macros["NARGS_SETATTR"] == 3


# ---- plans as such ----------------------------------------------------------------------------


def test_only_some_families(root: Path) -> None:
    plan = planner("6.12", root).plan(families={"mmap", "shmem_mmap"})
    assert [step.family for step in plan.live] == ["mmap", "shmem_mmap"]
    assert plan.step("seals").reason == "not asked for"
    assert set(plan.macros()) == {
        "WITH_FENTRY_MMAP",
        "NARGS_MMAP",
        "WITH_FENTRY_SHMEM_MMAP",
        "NARGS_SHMEM_MMAP",
    }
    assert planner("6.12", root).plan(families=()).live == ()


def test_left_out(root: Path) -> None:
    whole = planner("6.12", root).plan()
    plan = planner("6.12", root).plan(left_out={"mmap": "refused"})
    assert plan.step("mmap").method is None
    assert plan.step("mmap").reason == "refused"
    assert [step.family for step in plan.uncovered] == ["mmap"]
    assert len(plan.live) == len(whole.live) - 1


def test_json(root: Path) -> None:
    rows = json.loads(json.dumps(planner("5.10", root).plan().to_json()))
    assert rows[0] == {
        "family": "mmap",
        "program": "mmap",
        "hook": "mmap",
        "ops": ["mmap"],
        "symbol": "vm_mmap_pgoff",
        "method": "fexit",
        "reason": FITS,
        "unseen": "mmap decisions",
        "essential": True,
        "module": None,
        "prototype": "int vm_mmap_pgoff(struct file *a0, unsigned long a1, unsigned long a2, "
        "unsigned long a3, unsigned long a4, unsigned long a5)",
        "parameters": 6,
        "defines": [],
        "at_entry": True,
        "at_return": True,
        "way": 0,
        "absent": False,
    }
    assert len(rows) == len(FAMILIES)


@pytest.mark.skipif(not VMLINUX.exists(), reason="this kernel has no BTF")
def test_on_this_kernel() -> None:
    btf, symbols = Btf.from_file(VMLINUX), Symbols.load()
    for method in ("fexit", "kprobe"):
        plan = Planner(btf, symbols).plan(method)
        for step in plan.live:
            assert step.method == method
            assert symbols.has(step.symbol or "")
            assert step.prototype is not None
            assert f"{step.symbol}(" in step.prototype
            assert step.parameters == len(btf.function(step.symbol or "").params)
        mmap = plan.step("mmap")
        assert (mmap.symbol, mmap.parameters) == ("vm_mmap_pgoff", 6)
        for suffix, struct in (("DENTRY", "dentry"), ("IATTR", "iattr")):
            place = btf.function("shmem_setattr").index_of_pointer(struct)
            assert plan.macros()[f"ARG_SETATTR_{suffix}"] == place
    found = offsets.macros(btf)
    assert found["OFF_INODE_SIZE"] == btf.offset_of("inode", "i_size")
    assert found["OFF_SHMEM_SEALS"] == btf.offset_of("shmem_inode_info", "seals") - btf.offset_of(
        "shmem_inode_info", "vfs_inode"
    )
    assert found["HAVE_TASK_PT_REGS"] == 1, "no kernel before 5.15 runs these tests"


# ---- for audits -------------------------------------------------------------------------------


def audited(
    release: str, root: Path, kvm: str | None = None, method: MethodChoice = "auto"
) -> Plan:
    """The plan for an audit; ``kvm``: whose module is loaded."""
    found = functions(release)
    module = functions(kvm, KVM) if kvm else {}
    symbols = symbols_of([*found, *module], root, dict.fromkeys(module, "kvm"))
    modules = {"kvm": btf_of(module)} if kvm else {}
    return Planner(btf_of(found, maple=release != "5.10"), symbols, modules=modules).plan(
        method, audit=True
    )


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
    },
}


@pytest.mark.parametrize("release", list(KVM))
def test_for_audits(release: str, root: Path) -> None:
    plan = audited(release, root, release)
    found = {
        step.family: f"{step.symbol} {step.method}" if step.live else None for step in plan.steps
    }
    assert found.items() >= WANTED_FOR_AUDITS[release].items()
    assert {step.family for step in plan.steps if step.module} == {
        family.name for family in AUDIT_FAMILIES if family.module and found[family.name]
    }
    assert plan.uncovered == ()
    assert not any(step.waiting for step in plan.steps)
    # what there is without them is as it was
    assert plan.steps[: len(FAMILIES)] == planner(release, root).plan().steps


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("method", ["auto", "fexit", "kprobe"])
def test_a_module_that_comes_later_is_what_was_compiled(
    release: str, method: MethodChoice, root: Path
) -> None:
    before = audited(release, root, method=method)
    waiting = {step.family for step in before.steps if step.waiting}
    assert waiting >= {"memslot", "gmem_create", "gmem_fault", "gmem_fallocate", "gmem_release"}
    assert not any(step.family in waiting for step in before.uncovered)
    assert before.step("memslot").reason == "waits for the module kvm, which is not loaded"
    for kvm in KVM:
        for step in audited(release, root, kvm, method).live:
            if step.family in waiting:
                assert step.macros().items() <= before.macros().items(), step.family


def test_a_module_with_another_prototype_is_noticed(root: Path) -> None:
    found, module = functions("7.3"), functions("7.3", KVM)
    module["kvm_set_memory_region"] = ["int", "kvm *", "kvm_userspace_memory_region2 *"]
    module["kvm_gmem_fallocate"] = ["file *", "int", "long", "long", "int"]
    symbols = symbols_of([*found, *module], root, dict.fromkeys(module, "kvm"))
    plan = Planner(btf_of(found), symbols, modules={"kvm": btf_of(module)}).plan(audit=True)
    memslot = plan.step("memslot")
    assert not memslot.live
    assert memslot.reason.endswith("does not take a struct kvm * there")
    assert [step.family for step in plan.uncovered] == ["memslot"]
    fallocate = plan.step("gmem_fallocate")
    assert (fallocate.live, fallocate.method) == (True, "kprobe")
    compiled = audited("7.3", root).macros()
    assert fallocate.macros().items() - compiled.items() == {("WITH_KPROBE_ALLOCATE", 1)}


def test_a_module_without_btf(root: Path) -> None:
    found, module = functions("6.1"), functions("6.1", KVM)
    symbols = symbols_of([*found, *module], root, dict.fromkeys(module, "kvm"))
    step = Planner(btf_of(found | module), symbols).plan(audit=True).step("memslot")
    assert (step.live, step.reason) == (False, "BTF has no prototype of __kvm_set_memory_region")


def test_kvm_in_the_kernel_itself_is_not_waited_for(root: Path) -> None:
    found = functions("7.3") | functions("7.3", KVM)
    del found["kvm_gmem_create"]
    plan = Planner(btf_of(found), symbols_of(found, root)).plan(audit=True)
    assert (plan.step("memslot").live, plan.step("memslot").module) == (True, None)
    assert plan.step("gmem_create").reason == "this kernel has no kvm_gmem_create"


def test_nothing_is_found_by_address_without_a_maple_tree(root: Path) -> None:
    plan = audited("5.10", root)
    for family in ("remote_access", "pin_remote", "pin", "pin_fast", "userfaultfd", "mprotect"):
        step = plan.step(family)
        assert (step.live, step.reason) == (False, "this kernel has no maple_range_64.pivot")
    assert plan.step("receive").live, "by the file itself"


# ---- families and the BPF source --------------------------------------------------------------


def code() -> str:
    """All of bpf/*.h and .c without comments."""
    text = "\n".join(path.read_text() for path in sorted(BPF_DIR.glob("*.[ch]")))
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def emitted(root: Path) -> set[str]:
    """Every macro that some plan of some kernel emits."""
    found: set[str] = set()
    for release in RELEASES:
        for method in ("auto", "kprobe"):
            found |= planner(release, root).plan(method, audit=True).macros().keys()
    return found


def test_macros_of_plans_are_those_of_the_programs(root: Path) -> None:
    texts = [(BPF_DIR / name).read_text() for name in ("programs.h", "audit_programs.h")]
    programs = re.sub(r"/\*.*?\*/", "", "".join(texts), flags=re.DOTALL)
    used = set(re.findall(r"\b(?:ARG_|NARGS_|WITH_)[A-Z_]+\b|\bWRITE_IS_SHMEM\b", programs))
    assert emitted(root) == used
    assert used == set(re.findall(r"\b(?:ARG_|NARGS_|WITH_)[A-Z_]+\b|\bWRITE_IS_SHMEM\b", code()))


def test_every_program_exists_for_both_methods() -> None:
    found = set(re.findall(r"PROGRAM_[FK]\((\w+), (\w+),", code()))
    wanted = set()
    for family in (*FAMILIES, *AUDIT_FAMILIES):
        if family.at_entry:
            wanted.add(("kprobe", family.program))
        if family.at_entry and not family.begun_by:
            wanted.add(("fentry", family.program))
        if family.at_return:
            wanted |= {("fexit", family.program), ("kretprobe", family.program)}
    assert found - {("kind", "name")} == wanted


def test_every_argument_place_exists() -> None:
    for letter in "FK":
        places = set(re.findall(rf"#define {letter}(\d) ", code()))
        assert places == {"0", "1", "2", "3", "4", "5"}


def test_offsets_are_those_of_the_source() -> None:
    used = set(re.findall(r"\bOFF_[A-Z_]+\b", code()))
    assert {offset.macro for offset in offsets.OFFSETS} == used
    assert len(offsets.OFFSETS) == len(used)
    for macro in (
        "HAVE_TASK_PT_REGS", "THREAD_SIZE", "HAVE_MAPLE_TREE", "FOLL_LONGTERM", "MAPLE_LEAF",
        "MAPLE_ARANGE",
    ):  # fmt: skip
        assert re.search(rf"\b{macro}\b", code())


def test_shape_macros_are_those_of_the_source() -> None:
    used = set(re.findall(r"\b(?:FILTER_[A-Z]+|AUDIT|RING_PAGES|MAX_TASKS|MAX_OBJECTS)\b", code()))
    assert Shape().macros().keys() == used


def test_missing_member_is_named() -> None:
    with pytest.raises(BtfMissing, match=r"no file\.f_inode: sealsnoop does not know"):
        offsets.macros(btf_of(functions("6.12")))


def test_families_are_well_formed() -> None:
    names = [family.name for family in (*FAMILIES, *AUDIT_FAMILIES)]
    assert len(set(names)) == len(names)
    for family in (*FAMILIES, *AUDIT_FAMILIES):
        assert family.ops
        assert family.alternatives
        assert family.unseen
        assert family.at_entry or family.at_return
        assert family.hook is not Hook.NONE
        assert all(isinstance(op, Op) for op in family.ops)
    for spots in (BLIND_SPOTS, AUDIT_BLIND_SPOTS):
        assert len(set(spots)) == len(spots) > 0
        assert all(spot == spot.strip() for spot in spots)


def test_ways_are_those_of_the_source() -> None:
    source = (BPF_DIR / "access.h").read_text()
    assert {f"WAY_{way.name}": way.value for way in Way if way} == enums(source)["way"]
    used = {family.way for family in AUDIT_FAMILIES}
    assert used == set(Way)  # NONE: those that share a program of the others
    for family in (*FAMILIES, *AUDIT_FAMILIES):
        assert (family.program == "way") is (family.way is not Way.NONE)


def test_families_in_modules_say_how_many_parameters() -> None:
    for family in AUDIT_FAMILIES:
        if family.module:
            assert len({one.parameters for one in family.alternatives}) == 1
            assert all(one.parameters for one in family.alternatives)
            for one in family.alternatives:
                assert len(one.takes) <= one.parameters
