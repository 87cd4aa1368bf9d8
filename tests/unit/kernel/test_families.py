"""The hook families and what a plan emits, beside the BPF source."""

import re
from pathlib import Path

import pytest

from tests.unit.kernel.fake_kernel import KVM, RELEASES, btf_of, functions, planner
from tracer.capture.bpf_source import BPF_DIR, Filters
from tracer.kernel import offsets
from tracer.kernel.audit_families import ALL_FAMILIES, AUDIT_FAMILIES
from tracer.kernel.blind_spots import AUDIT_BLIND_SPOTS, BLIND_SPOTS, of_kernel
from tracer.kernel.btf_file import BtfMissing
from tracer.kernel.families import STACK_FAMILIES, WAYS
from tracer.words import OPS, Hook, Op


def code() -> str:
    """All of bpf/*.h and .c without comments."""
    text = "\n".join(path.read_text() for path in sorted(BPF_DIR.glob("*.[ch]")))
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def emitted(root: Path) -> set[str]:
    """Every macro that some plan of some kernel emits."""
    found: set[str] = set()
    for release in RELEASES:
        for method in ("auto", "kprobe"):
            found |= planner(release, root).plan(method, audit=True, stacks=True).macros().keys()
    return found


def test_macros_of_plans_are_those_of_the_programs(tmp_path: Path) -> None:
    texts = [(BPF_DIR / name).read_text() for name in ("programs.h", "audit_programs.h")]
    programs = re.sub(r"/\*.*?\*/", "", "".join(texts), flags=re.DOTALL)
    macro = r"\b(?:ARG|BYTES|NARGS|WITH)_[A-Z_]+\b|\b(?:WRITE_IS|UFFD_BY|ADVISE_BY)_[A-Z]+\b"
    used = set(re.findall(macro, programs))
    assert emitted(tmp_path) == used
    assert used == set(re.findall(macro, code()))


def test_every_program_exists_for_both_methods() -> None:
    found = set(re.findall(r"PROGRAM_[FK]\((\w+), (\w+),", code()))
    wanted = set()
    for family in (*ALL_FAMILIES, *STACK_FAMILIES):
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
    names = "FILTER_[A-Z]+|FOLLOW_FILES|TASKS|CMDLINE|AUDIT|(?:STACK_|CODE_)?RING_PAGES"
    names += "|(?:KERNEL_)?STACKS|MAX_(?:TASKS|OUTER|OBJECTS|EXECS|CGROUPS)"
    used = set(re.findall(rf"\b(?:{names})\b", code()))
    assert Filters().macros(1 << 20).keys() == used


def test_missing_member_is_named() -> None:
    with pytest.raises(BtfMissing, match=r"no file\.f_inode: sealsnoop does not know"):
        offsets.macros(btf_of(functions("6.12")))


def test_families_are_well_formed() -> None:
    names = [family.name for family in ALL_FAMILIES]
    assert len(set(names)) == len(names)
    for family in ALL_FAMILIES:
        assert family.ops
        assert family.alternatives
        assert family.unseen
        assert family.at_entry or family.at_return
        assert family.hook is not Hook.NONE
        assert all(isinstance(op, Op) for op in family.ops)
    for spots in (BLIND_SPOTS, AUDIT_BLIND_SPOTS):
        assert len(set(spots)) == len(spots) > 0
        assert all(spot == spot.strip() for spot in spots)


def test_what_is_not_followed_is_named_by_what_a_kernel_has() -> None:
    has = {"kvm_gmem_populate": ["kvm *"], "sev_gmem_make_private": ["kvm *"]}
    one, other = btf_of({"sev_gmem_make_shared": ["kvm *"]}), btf_of(has)
    assert of_kernel([]) == of_kernel([btf_of(functions("6.1", KVM))]) == ()
    assert [text.partition(": ")[2] for text in of_kernel([one, other])] == [
        "kvm_gmem_populate",
        "sev_gmem_make_private, sev_gmem_make_shared",
    ]


def test_ways_are_those_of_the_source() -> None:
    source = (BPF_DIR / "access.h").read_text()
    numbers = re.findall(r"\b(WAY_[A-Z_]+)\s*=\s*(\d+)", source)
    assert numbers == [(f"WAY_{way.upper()}", str(number)) for way, number in WAYS.items() if way]
    used = {family.way for family in AUDIT_FAMILIES}
    assert used == set(WAYS)  # "": those that share a program of the others
    for family in ALL_FAMILIES:
        assert (family.program == "way") is bool(family.way)


def test_families_in_modules_say_how_many_parameters() -> None:
    for family in AUDIT_FAMILIES:
        if family.module:
            assert len({one.parameters for one in family.alternatives}) == 1
            assert all(one.parameters for one in family.alternatives)
            for one in family.alternatives:
                assert len(one.takes) <= one.parameters


def test_a_way_that_notes_at_its_entry_has_no_return() -> None:
    """Who begins something there, or asks by address, ends it at the return."""
    text = re.search(r"#define ENTER_WAY\(X\)(.*?)\n\n", code(), re.DOTALL)
    assert text
    cases = re.findall(r"case WAY_(\w+):[\s\\]*(?=case|(.*?)(?:goto done;|break;))", text[1], re.S)
    notes = {way.lower() for way, does in cases if re.search(r"\bnote_\w+\(", does)}
    assert len(cases) == len(WAYS) - 3  # but the two that create, and none
    opened_later = {"proc_link", "map_files"}  # by the way "open"
    for family in AUDIT_FAMILIES:
        if family.way:
            assert family.at_return is (family.way not in notes | opened_later), family.name


def test_what_each_way_needs_of_a_kernel() -> None:
    """A family that reads a member has to be off where the kernel lacks it."""
    found: dict[str, set[str]] = {}
    for family in AUDIT_FAMILIES:
        for struct, member in family.needs:
            found.setdefault(f"{struct}.{member}", set()).add(family.name)
    by_address = {"remote_access", "pin_remote", "pin", "pin_fast", "mprotect"}
    by_address |= {"sev_debug", "sev_debug_page", "sev_debug_memory"}
    uffd = {"userfaultfd", "uffd_copy", "uffd_zero", "uffd_continue"}
    messages = {"send", "copy", "message", "message_end"}
    taken = {"pidfd_getfd", "proc_link", "map_files"}
    assert found == {
        "maple_range_64.pivot": by_address,
        "mm_struct.mm_mt.ma_root": by_address,
        "userfaultfd_ctx.mm": uffd,
        "vm_area_struct.vm_userfaultfd_ctx.ctx": uffd,
        "task_struct.parent": {"ptrace_traceme"},
        "task_struct.vfork_done": {"share_mm", "vfork_end"},
        "task_struct.real_parent": {"vfork_end"},
        "mm_struct.mm_users": {"vfork_end"},
        "scm_fp_list.fp": messages,
        "scm_cookie.fp": messages,
        "pid.tasks": taken,
        "task_struct.pid_links": taken,
        "proc_inode.pid": taken - {"pidfd_getfd"},
        "path.dentry": {"jump"},
        "io_ring_ctx.mm_account": {"ring", "ring_file", "msg_ring"},
        "io_kiocb.ctx": {"msg_ring"},
        "task_struct.seccomp.filter": {"seccomp"},
        "seccomp_filter.prev": {"seccomp"},
    }


def test_what_every_kernel_has_to_have_for_audits() -> None:
    """Without one of these an audit does not see what it must: the plan says so."""
    assert {family.name for family in AUDIT_FAMILIES if family.essential} == {
        "memslot", "vm_end", "convert", "remote_access", "pin_remote", "pin", "pin_fast", "ptrace",
        "ptrace_traceme", "ptrace_link", "share_mm", "vfork_end", "copy", "message",
        "message_end", "proc_link", "jump", "open", "mprotect", "receive",
    }  # fmt: skip


def test_no_member_is_read_twice() -> None:
    """Two offsets of one member: one of them is a slip, and reads what it must not."""
    members = [(one.struct, member) for one in offsets.OFFSETS for member in one.members]
    assert len(set(members)) == len(members)


def test_families_and_operations_agree_on_who_reports_what() -> None:
    for hook in Hook:
        families = {op for one in ALL_FAMILIES if one.hook == hook for op in one.ops}
        assert families == {op for op in Op if hook in OPS[op].hooks}, hook
