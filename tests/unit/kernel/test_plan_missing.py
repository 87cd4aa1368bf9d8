"""The hook plan of kernels that lack functions, prototypes or a method."""

from pathlib import Path

from tests.unit.kernel.fake_kernel import btf_of, functions, planner, symbols_of
from tracer.kernel.families import FAMILIES
from tracer.kernel.plan import Planner


def test_missing_symbols(tmp_path: Path) -> None:
    plan = planner("6.12", tmp_path, ["memfd_fcntl", "hugetlbfs_setattr", "shmem_mmap"]).plan()
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


def test_the_newest_alternative_wins(tmp_path: Path) -> None:
    found = functions("6.12") | functions("6.19")
    both = Planner(btf_of(found), symbols_of(found, tmp_path)).plan()
    assert both.step("shmem_mmap").symbol == "shmem_mmap_prepare"
    old = planner("6.1", tmp_path).plan().macros()
    new = planner("6.12", tmp_path).plan().macros()
    assert (old["WRITE_IS_SHMEM"], new["WRITE_IS_SHMEM"]) == (0, 1)


def test_changed_copies(tmp_path: Path) -> None:
    found = functions("6.12")
    names = [*(found.keys() - {"memfd_fcntl"}), "memfd_fcntl.isra.0", "memfd_fcntl.cold"]
    step = Planner(btf_of(found), symbols_of(names, tmp_path)).plan().step("seals")
    assert (step.symbol, step.method) == (None, None)
    assert step.reason == "this kernel has only a changed copy: memfd_fcntl.isra.0"
    assert not step.absent


def test_no_prototype(tmp_path: Path) -> None:
    found = functions("6.12")
    names = list(found)
    del found["memfd_fcntl"], found["shmem_setattr"]
    plan = Planner(btf_of(found), symbols_of(names, tmp_path)).plan()
    seals = plan.step("seals")
    assert (seals.method, seals.prototype, seals.parameters) == ("kprobe", None, 0)
    assert seals.reason == "kprobe because BTF has no prototype of memfd_fcntl"
    setattr_ = plan.step("shmem_setattr")
    assert setattr_.method is None, "where the dentry is cannot be known"
    assert setattr_.reason == "BTF has no prototype of shmem_setattr"


def test_another_prototype(tmp_path: Path) -> None:
    found = functions("6.12")
    found["shmem_setattr"] = ["mnt_idmap *", "dentry *", "new_iattr *"]
    found["hugetlbfs_setattr"] = ["int"] * 6 + ["dentry *", "iattr *"]
    plan = Planner(btf_of(found), symbols_of(found, tmp_path)).plan()
    step = plan.step("shmem_setattr")
    assert step.method is None
    assert "has no parameter of type struct iattr *" in step.reason
    step = plan.step("hugetlb_setattr")
    assert step.method is None
    assert step.reason.startswith("struct dentry * of int hugetlbfs_setattr(")
    assert step.reason.endswith("is not in a register")


def test_two_functions_of_one_name(tmp_path: Path) -> None:
    found = functions("6.12")
    btf = btf_of(found, twice=["shmem_evict_inode"])
    step = Planner(btf, symbols_of(found, tmp_path)).plan().step("shmem_evict")
    reason = "BTF has several functions called shmem_evict_inode"
    assert (step.method, step.reason) == ("kprobe", f"kprobe because {reason}")


def test_not_traceable(tmp_path: Path) -> None:
    found = functions("6.12")
    listed = tmp_path / "sys/kernel/tracing/available_filter_functions"
    listed.parent.mkdir(parents=True)
    listed.write_text("".join(f"{name}\n" for name in found if name != "vm_mmap_pgoff"))
    plan = Planner(btf_of(found), symbols_of(found, tmp_path)).plan()
    assert plan.step("mmap").reason == "kprobe because vm_mmap_pgoff has no ftrace entry"
    assert plan.step("seals").method == "fexit"


def test_modules_are_named(tmp_path: Path) -> None:
    found = functions("6.12")
    symbols = symbols_of(found, tmp_path, {"hugetlbfs_setattr": "huge"})
    plan = Planner(btf_of(found), symbols, modules={"huge": btf_of(found)}).plan()
    assert plan.step("hugetlb_setattr").module == "huge"
    assert plan.step("hugetlb_setattr").method == "fexit"
    assert plan.step("shmem_setattr").module is None


def test_no_trampolines(tmp_path: Path) -> None:
    plan = planner("6.12", tmp_path, trampolines=False).plan()
    assert {step.method for step in plan.live} == {"kprobe"}
    reason = "kprobe because this kernel does not offer BPF trampolines"
    assert plan.step("mmap").reason == reason
    forced = planner("6.12", tmp_path, trampolines=False).plan("fexit")
    assert forced.live == ()
    reason = "fexit was asked for, but this kernel does not offer BPF trampolines"
    assert forced.step("mmap").reason == reason


def test_no_kprobes(tmp_path: Path) -> None:
    plan = planner("5.10", tmp_path, kprobes=False).plan()
    assert {step.method for step in plan.live} == {"fexit"}
    assert [step.family for step in plan.uncovered] == ["write_check", "write"]
    assert plan.step("write_check").reason == (
        "7 parameters are more than a trampoline surely takes, but this kernel has no kprobes"
    )
    forced = planner("5.10", tmp_path, kprobes=False).plan("kprobe")
    assert forced.live == ()
    assert forced.step("mmap").reason == "kprobe was asked for, but this kernel has no kprobes"


def test_neither(tmp_path: Path) -> None:
    plan = planner("7.3", tmp_path, trampolines=False, kprobes=False).plan()
    assert plan.live == ()
    assert plan.macros() == {}
    assert {step.family for step in plan.uncovered} == {f.name for f in FAMILIES if f.essential}


def test_refused_trampolines(tmp_path: Path) -> None:
    plan = planner("6.12", tmp_path).plan(no_fexit={"seals"})
    assert plan.step("seals").method == "kprobe"
    assert plan.step("seals").reason == "kprobe because the kernel refused a trampoline there"
    assert plan.step("mmap").method == "fexit"
    assert {"WITH_KPROBE_SEALS", "WITH_FENTRY_MMAP"} <= plan.macros().keys()
    assert "WITH_FENTRY_SEALS" not in plan.macros()


def test_both_methods_for_one_program(tmp_path: Path) -> None:
    macros = planner("6.12", tmp_path).plan(no_fexit={"hugetlb_setattr"}).macros()
    assert (macros["WITH_FENTRY_SETATTR"], macros["WITH_KPROBE_SETATTR"]) == (1, 1)
    assert macros["NARGS_SETATTR"] == 3
