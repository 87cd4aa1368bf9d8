"""The hook families and what a plan emits, beside the BPF source."""

import re
from pathlib import Path

import pytest

from tests.unit.fake_kernel import RELEASES, btf_of, functions, planner
from tracer.capture.bpf_source import BPF_DIR, Shape
from tracer.kernel import offsets
from tracer.kernel.audit_families import ALL_FAMILIES, AUDIT_FAMILIES
from tracer.kernel.blind_spots import AUDIT_BLIND_SPOTS, BLIND_SPOTS
from tracer.kernel.btf_file import BtfMissing
from tracer.kernel.families import WAYS
from tracer.record import enums
from tracer.words import Hook, Op


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
    for family in ALL_FAMILIES:
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
    names = r"\b(?:FILTER_[A-Z]+|AUDIT|RING_PAGES|MAX_TASKS|MAX_OUTER|MAX_OBJECTS)\b"
    used = set(re.findall(names, code()))
    assert Shape().macros().keys() == used


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


def test_ways_are_those_of_the_source() -> None:
    source = (BPF_DIR / "access.h").read_text()
    assert {f"WAY_{way.upper()}": number for way, number in WAYS.items() if way} == enums(source)[
        "way"
    ]
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
