"""The hook plan: what is chosen on small kernels with real prototypes, and on this machine's."""

import json
from pathlib import Path

import pytest

from tests.unit.kernel.fake_kernel import RELEASES, btf_of, functions, planner, symbols_of
from tracer.kernel import offsets
from tracer.kernel.btf import Btf
from tracer.kernel.families import FAMILIES
from tracer.kernel.plan import Method, MethodChoice, Plan, Planner
from tracer.kernel.symbols import Symbols

VMLINUX = Path("/sys/kernel/btf/vmlinux")
FITS = "the kernel has trampolines and the prototype fits"


def chosen(plan: Plan) -> dict[str, tuple[str | None, Method | None]]:
    return {step.family: (step.symbol, step.method) for step in plan.steps}


WANTED: dict[str, dict[str, str | None]] = {
    "5.10": {
        "mmap_check": None,
        "create_check": None,
        "shmem_mmap": "shmem_mmap fexit",
        "hugetlb_mmap": "hugetlbfs_file_mmap fexit",
        "write": "generic_file_write_iter kprobe",
        "write_check": "shmem_write_begin kprobe",
        "exec_open": "open_exec fexit",
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
        "exec_open": "open_exec fexit",
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
        "exec_open": "open_exec fexit",
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
        "exec_open": "open_exec fexit",
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
        "exec_open": "bprm_open_interpreter fexit",
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
    "created": "alloc_file_pseudo fexit",
    "create": "__x64_sys_memfd_create fexit",
    "create_check": "security_inode_init_security_anon fexit",
    "create_compat": "__ia32_sys_memfd_create fexit",
    "mremap": "__x64_sys_mremap fexit",
    "mremap_compat": "__ia32_sys_mremap fexit",
    "remap_file_pages": "__x64_sys_remap_file_pages fexit",
    "remap_file_pages_compat": "__ia32_sys_remap_file_pages fexit",
    "exec_begin": "security_bprm_creds_for_exec fexit",
    "exec_check": "security_bprm_check fexit",
    "exec": "bprm_execve fexit",
    "exec_refused": "__x64_sys_execve fexit",
    "exec_refused_at": "__x64_sys_execveat fexit",
    "exec_refused_compat": "__ia32_compat_sys_execve fexit",
    "exec_refused_at_compat": "__ia32_compat_sys_execveat fexit",
    "shmem_evict": "shmem_evict_inode fexit",
    "hugetlb_evict": "hugetlbfs_evict_inode fexit",
}


@pytest.mark.parametrize("release", RELEASES)
def test_auto(release: str, tmp_path: Path) -> None:
    plan = planner(release, tmp_path).plan()
    found = {
        family: f"{symbol} {method}" if method else None
        for family, (symbol, method) in chosen(plan).items()
    }
    assert found == EVERYWHERE | WANTED[release]
    assert list(chosen(plan)) == [family.name for family in FAMILIES]
    assert plan.uncovered == ()


@pytest.mark.parametrize("release", RELEASES)
def test_kprobe_is_taken_when_it_is_asked_for(release: str, tmp_path: Path) -> None:
    plan = planner(release, tmp_path).plan("kprobe")
    assert {step.method for step in plan.live} == {"kprobe"}
    assert {step.reason for step in plan.live} == {"kprobe was asked for"}
    assert {s.family: s.symbol for s in plan.live} == {
        s.family: s.symbol for s in planner(release, tmp_path).plan().live
    }


@pytest.mark.parametrize(("release", "dentry"), [("5.10", 0), ("6.1", 1), ("6.12", 1), ("7.3", 1)])
@pytest.mark.parametrize("method", ["auto", "kprobe"])
def test_places_of_the_dentry(
    release: str, dentry: int, method: MethodChoice, tmp_path: Path
) -> None:
    macros = planner(release, tmp_path).plan(method).macros()
    assert macros["ARG_SETATTR_DENTRY"] == dentry
    assert macros["ARG_SETATTR_IATTR"] == dentry + 1
    # where the answer stands is of interest to trampolines alone
    assert macros.get("NARGS_SETATTR") == (dentry + 2 if method == "auto" else None)


def test_the_width_of_the_seals_to_add(tmp_path: Path) -> None:
    """As the kernel's own function takes them: what is above it, that kernel never saw."""
    assert planner("5.10", tmp_path).plan().macros()["BYTES_SEALS_ARG"] == 8
    found = functions("6.12")
    found["memfd_fcntl"] = ["file *", "uint", "uint"]
    symbols = symbols_of(found, tmp_path)
    assert Planner(btf_of(found), symbols).plan().macros()["BYTES_SEALS_ARG"] == 4
    del found["memfd_fcntl"]  # no prototype: the half that is sure to be there
    assert Planner(btf_of(found), symbols).plan().macros()["BYTES_SEALS_ARG"] == 4


def test_seven_parameters(tmp_path: Path) -> None:
    old = planner("5.10", tmp_path)
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
    assert planner("6.1", tmp_path).plan("fexit").step("write_check").method == "fexit"


def test_a_write_begins_at_its_check_by_trampolines_alone(tmp_path: Path) -> None:
    new = planner("6.12", tmp_path)
    assert new.plan().step("write").at_entry is False
    assert new.plan("kprobe").step("write").at_entry is True
    refused = new.plan(no_fexit=["write_check"])
    assert [refused.step(name).method for name in ("write_check", "write")] == ["kprobe"] * 2
    gone = new.plan(left_out={"write_check": "broken"})
    assert gone.step("write_check").reason == "broken"
    assert gone.step("write").method == "kprobe"


def test_no_program_is_asked_for_two_argument_places(tmp_path: Path) -> None:
    for release in RELEASES:
        for method in ("auto", "fexit", "kprobe"):
            plan = planner(release, tmp_path).plan(method)
            for step in plan.live:
                assert step.macros().items() <= plan.macros().items(), (release, step.family)


def test_families_that_share_a_program_but_not_its_arguments(tmp_path: Path) -> None:
    found = functions("6.12")
    found["hugetlbfs_setattr"] = ["mnt_idmap *", "dentry *", "iattr *", "int"]
    both = Planner(btf_of(found), symbols_of(found, tmp_path))
    why = "another family's setattr has NARGS_SETATTR=3"
    step = both.plan().step("hugetlb_setattr")
    assert (step.method, step.reason) == ("kprobe", f"kprobe because {why}")
    forced = both.plan("fexit").step("hugetlb_setattr")
    assert (forced.method, forced.reason) == (None, f"fexit would do, but {why}")
    alone = Planner(btf_of(found), symbols_of(found, tmp_path), kprobes=False)
    assert alone.plan().step("hugetlb_setattr").reason == f"fexit would do, but {why}"
    apart = both.plan(no_fexit=["shmem_setattr"])
    assert apart.step("hugetlb_setattr").method == "fexit", "nobody else is in the way"


def test_forced_fexit(tmp_path: Path) -> None:
    plan = planner("6.12", tmp_path).plan("fexit")
    assert {step.method for step in plan.live} == {"fexit"}
    assert {step.reason for step in plan.live} == {FITS}
    assert plan.uncovered == ()


def test_only_some_families(tmp_path: Path) -> None:
    plan = planner("6.12", tmp_path).plan(families={"mmap", "shmem_mmap"})
    assert [step.family for step in plan.live] == ["mmap", "shmem_mmap"]
    assert plan.step("seals").reason == "not asked for"
    assert set(plan.macros()) == {
        "WITH_FENTRY_MMAP",
        "NARGS_MMAP",
        "WITH_FENTRY_SHMEM_MMAP",
        "NARGS_SHMEM_MMAP",
    }
    assert planner("6.12", tmp_path).plan(families=()).live == ()


def test_left_out(tmp_path: Path) -> None:
    whole = planner("6.12", tmp_path).plan()
    plan = planner("6.12", tmp_path).plan(left_out={"mmap": "refused"})
    assert plan.step("mmap").method is None
    assert plan.step("mmap").reason == "refused"
    assert [step.family for step in plan.uncovered] == ["mmap"]
    assert len(plan.live) == len(whole.live) - 1


def test_json(tmp_path: Path) -> None:
    rows = json.loads(json.dumps(planner("5.10", tmp_path).plan().to_json()))
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
