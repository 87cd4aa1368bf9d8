"""The kprobe events of a plan: what tracefs would be told, within its limits."""

import re
from dataclasses import replace

import pytest

from tests.unit.kernel.fake_kernel import btf_of, functions, symbols_of
from tracer.capture.ftrace.pages import What
from tracer.capture.ftrace.probes import Fetch, faulting, for_step, supplements, trials
from tracer.kernel import offsets
from tracer.kernel.families import FAMILIES
from tracer.kernel.plan import Plan, Planner

# kernel/trace/trace_probe.h and trace.h: MAX_ARGSTR_LEN, MAX_TRACE_ARGS, MAX_ARG_NAME_LEN,
# MAX_EVENT_NAME_LEN; what is written at once is one page at the most.
_ARGUMENT, _ARGUMENTS, _NAME, _EVENT, _LINE = 63, 128, 32, 64, 4096
_TAG = "_4194304_99"
_DEEPEST = 16  # FETCH_INSN_MAX: an instruction for each step, and some around them
_FETCHED = re.compile(
    r"(?:[+-]\d+\()*(?:%(?:di|si|dx|cx|r8|r9)|\$(?:arg[1-6]|stack|retval|comm|current))\)*"
    r":(?:[usx](?:8|16|32|64)|string|x64\[\d+\])|\$stack\d+"
)
_CONDITION = re.compile(r"[\w\s()&|=!]*")


def plan(tmp_path: object, release: str) -> Plan:
    found = functions(release)
    return Planner(btf_of(found), symbols_of(found, tmp_path)).plan("kprobe")  # type: ignore[arg-type]


LAYOUT = {one.macro: 1000 + place for place, one in enumerate(offsets.OFFSETS)} | {
    "OFF_SHMEM_SEALS": -1400
}
"""Longer numbers than any kernel has."""


@pytest.mark.parametrize("release", ["5.10", "6.1", "6.12", "7.3"])
@pytest.mark.parametrize("can", [(False, False, True), (False, False), (True, True)])
@pytest.mark.parametrize("unsealable", [False, True])
def test_definitions_are_within_the_kernel_s_limits(
    tmp_path: object, release: str, can: tuple[bool, ...], unsealable: bool
) -> None:
    fetch = Fetch(LAYOUT, *can)
    made = plan(tmp_path, release)
    probes = [one for step in made.live for one in for_step(step, fetch, unsealable)]
    probes += supplements(fetch)
    assert len({one.event for one in probes}) == len(probes)
    for one in probes:
        name = one.event + _TAG
        line = one.definition("sealsnoop" + _TAG, name)
        assert len(name) < _EVENT
        assert len(line) < _LINE
        assert len(one.arguments) <= _ARGUMENTS
        names = [argument.partition("=")[0] for argument in one.arguments]
        assert len(set(names)) == len(names)
        for argument in one.arguments:
            label, _, fetched = argument.partition("=")
            assert re.fullmatch(r"[a-z]\w*", label)
            assert len(label) < _NAME
            assert len(fetched) <= _ARGUMENT, fetched
            assert _FETCHED.fullmatch(fetched), fetched
            assert fetched.count("(") == fetched.count(")") < _DEEPEST
        assert _CONDITION.fullmatch(one.condition)
        fields = set(re.findall(r"[a-z]\w*", one.condition))
        assert fields <= set(names)


@pytest.mark.parametrize("release", ["5.10", "6.1", "6.12", "7.3"])
def test_every_family_is_served(tmp_path: object, release: str) -> None:
    fetch = Fetch(LAYOUT)
    left_out = ("mremap", "remap", "exec")  # of exec see below
    live = plan(tmp_path, release).live
    steps = [step for step in live if not step.program.startswith(left_out)]
    for step in steps:
        whats = [one.what for one in for_step(step, fetch, False)]
        family = next(one for one in FAMILIES if one.name == step.family)
        assert (What.RETURN in whats) == (
            (family.at_entry and family.at_return) or step.program == "create"
        )
        assert len(whats) == len(set(whats)) >= 1
        assert {one.hook for one in for_step(step, fetch, False)} == {family.hook}
        paired = [one for one in for_step(step, fetch, False) if What.RETURN in whats]
        assert all("sp=$stack:x64" in one.arguments for one in paired)
    assert len(steps) >= 15


def test_arguments_stand_where_btf_has_them(tmp_path: object) -> None:
    """The dentry moved from the first to the second place (5.12)."""
    for release, register, again in (("5.10", "%di", "$arg1"), ("6.1", "%si", "$arg2")):
        step = plan(tmp_path, release).step("shmem_setattr")
        entry, back = for_step(step, Fetch(LAYOUT, keeps_arguments=True), False)
        inode = next(one for one in entry.arguments if one.startswith("inode="))
        assert register in inode
        assert f"held={again}:x64" in back.arguments
        assert back.narrow


def test_unsealable_files_are_kept_back_in_the_kernel(tmp_path: object) -> None:
    step, fetch = plan(tmp_path, "6.1").step("read"), Fetch(LAYOUT)
    without, with_them = (next(iter(for_step(step, fetch, all_))) for all_ in (False, True))
    assert "sseals != 1" in without.condition
    assert "seals" not in with_them.condition
    assert "16914836" in without.condition  # TMPFS_MAGIC
    assert "2508478710" in without.condition  # HUGETLBFS_MAGIC


def test_newer_kernels_are_asked_for_more() -> None:
    returns, current = trials(LAYOUT, "g")
    assert "$arg1" in returns
    assert "$current" in current
    assert not any("$current" in one for one in Fetch(LAYOUT).task())
    known = Fetch(LAYOUT, has_current=True).task()
    assert {one.partition("=")[0] for one in known if "$current" in one} == {"regs", "status"}


def test_each_field_is_fetched_from_its_place() -> None:
    """Members of members are where both offsets together say."""
    fetch = Fetch(LAYOUT)
    places: dict[str, list[int]] = {}
    for argument in fetch.object("%di"):
        name, _, fetched = argument.partition("=")
        steps = re.findall(r"([+-]\d+)\(", fetched)
        places[name] = [int(step) for step in reversed(steps)]
    o = {name.removeprefix("OFF_"): place for name, place in LAYOUT.items()}
    dentry = o["INODE_DENTRY"]
    assert places == {
        "inode": [],
        "ino": [o["INODE_INO"]],
        "gen": [o["INODE_GEN"]],
        "dev": [o["INODE_SB"], o["SB_DEV"]],
        "magic": [o["INODE_SB"], o["SB_MAGIC"]],
        "isize": [o["INODE_SIZE"]],
        "sseals": [o["SHMEM_SEALS"]],
        "hseals": [o["HUGETLB_SEALS"]],
        "imode": [o["INODE_MODE"]],
        "iuid": [o["INODE_UID"]],
        "igid": [o["INODE_GID"]],
        "iflags": [o["INODE_FLAGS"]],
        "sflags": [o["SHMEM_FLAGS"]],
        "mflags": [o["INODE_DATA"] + o["MAPPING_FLAGS"]],
        "writable": [o["INODE_DATA"] + o["MAPPING_WRITABLE"]],
        "alias": [dentry],
        "parent": [dentry, o["DENTRY_PARENT"] - o["DENTRY_ALIAS"]],
        "name": [dentry, o["DENTRY_NAME"] - o["DENTRY_ALIAS"], 0],
    }


def test_where_a_fault_is_a_miss_nothing_is_fetched_beyond_the_stack() -> None:
    """$stackN gives nothing there (regs_get_kernel_stack_nth); an offset from $stack faults."""
    for deep in (False, True):
        careful, other = (Fetch(LAYOUT, faults_are_misses=one).task(deep) for one in (True, False))
        assert any("($stack)" in one for one in other)
        assert not any("($stack)" in one for one in careful)
        assert len([one for one in careful if re.fullmatch(r"w\d+=\$stack\d+", one)]) == 88
    assert "+3072($stack)" in faulting("g", "fault")


def test_a_family_that_needs_more_than_fetches_is_left_out(tmp_path: object) -> None:
    """Their file is found by walking the address space; their return alone tells nothing."""
    families = ("mremap", "mremap_compat", "remap_file_pages", "remap_file_pages_compat")
    for family in (*families, "exec_refused", "exec_refused_at"):
        step = plan(tmp_path, "6.1").step(family)
        assert step.live
        assert list(for_step(step, Fetch(LAYOUT), False)) == []


@pytest.mark.parametrize("release", ["5.10", "6.1", "6.12", "7.3"])
def test_files_of_an_execution_have_no_return_of_their_own(tmp_path: object, release: str) -> None:
    found = {}
    for family in ("exec_begin", "exec_check", "exec_open", "exec"):
        step = plan(tmp_path, release).step(family)
        [found[family]] = for_step(step, Fetch(LAYOUT), False)
    whats = [one.what for one in found.values()]
    assert whats == [What.IN_HAND, What.IN_HAND, What.IN_HAND, What.EXECUTED]
    assert [one.kind[0] for one in found.values()] == ["p", "p", "r", "r"]
    assert found["exec"].narrow
    path = [one.partition("=")[0] for one in found["exec_begin"].arguments][-2:]
    assert path == ["path", "fdpath"]
    # Files that cannot be sealed are executed too.
    assert not any("seals" in one.condition for one in found.values())
    assert all("16914836" in found[one].condition for one in ("exec_begin", "exec_open"))


def test_a_compat_program_s_flags_are_in_another_register(tmp_path: object) -> None:
    """bx, cx: name and flags (arch/x86/include/asm/syscall_wrapper.h)."""
    for family, argument in ("create", "cflags=+104"), ("create_compat", "compat_cflags=+88"):
        step = plan(tmp_path, "6.1").step(family)
        entry = next(iter(for_step(step, Fetch(LAYOUT), False)))
        assert f"{argument}(%di):u32" in entry.arguments


@pytest.mark.parametrize(("size", "kind"), [(8, "u64"), (4, "u32")])
def test_the_seals_to_add_are_as_wide_as_the_kernel_s_parameter(
    tmp_path: object, size: int, kind: str
) -> None:
    step = replace(plan(tmp_path, "6.1").step("seals"), defines=(("BYTES_SEALS_ARG", size),))
    assert f"sarg=%dx:{kind}" in next(iter(for_step(step, Fetch(LAYOUT), False))).arguments
