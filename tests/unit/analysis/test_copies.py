"""What is left in the VMM's shared memory of what is private: told step by step, and by a model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.audit.audit_story import Story, step
from tracer.analysis import copies, private
from tracer.record import Kind, LossCause
from tracer.recording.reader import Recording

PAGE, AT, HOST, VM = 4096, 0x100000, 0x7F0000000000, 77
RAM, GMEM = 10, 11
PAGES = 8
VMM, OTHER = 100, 200
PRIVATE_MAP = 0x1 | 0x2 | 0x20
EINVAL = -22
FAMILIES = ("shmem_fallocate", "shmem_setattr")


class Vmm(Story):
    """One memslot of eight pages: private ones in a guest_memfd, shared ones in a memfd, of which
    the slot begins at its third page."""

    taken = 0

    def begin(self, kind: int = Kind.MEMFD, address: int = HOST, **mapping: Any) -> None:
        self.create(RAM, kind=kind)
        self.create(GMEM, "gmem", kind=Kind.GUEST_MEMFD)
        self.map(RAM, VMM, HOST - 2 * PAGE, length=(PAGES + 4) * PAGE, kind=kind, **mapping)
        self.slot(address)

    def slot(self, address: int = HOST) -> None:
        self.memslot(GMEM, kind=Kind.GUEST_MEMFD, fd=4, checks=4, arg=AT, length=PAGES * PAGE,
                     vm=VM, file_answer=2, check_answer=1, address=address)  # fmt: skip

    def convert(self, page: int, pages: int, private: bool = True) -> None:
        self.taken += 1
        self.event("convert", 0, VMM, kind=Kind.UNKNOWN, offset=AT + page * PAGE,
                   length=pages * PAGE, arg=8 if private else 0, vm=VM, checks=1,
                   check_answer=self.taken, file_answer=2,
                   size_after=self.now_ns + 1_000_000)  # fmt: skip

    def call(self, op: str, page: float, pages: float, answer: int = 0, **more: Any) -> None:
        """Of the memfd, in pages of the guest's."""
        length = int(pages * PAGE)
        self.event(op, RAM, VMM, offset=int((page + 2) * PAGE), length=length,
                   answer=length if op == "write" and not answer else answer, **more)  # fmt: skip


def left(path: Path, story: Story, **changed: Any) -> tuple[int, int | None]:
    """In pages."""
    hooks = [step(family) for family in FAMILIES]
    story.write(path, **{"audit": True, "hooks": hooks, **changed})
    with Recording.open(path) as recording:
        found = copies.of(recording, private.of(recording))
    [(vm, both, most)] = found.itertuples(index=False)
    assert vm == VM
    return both // PAGE, None if pd.isna(most) else int(most) // PAGE


def never_private(vmm: Vmm) -> None:
    vmm.begin()
    vmm.call("write", 0, 4)
    vmm.convert(0, 4)
    vmm.convert(0, 4, private=False)


def untouched(vmm: Vmm) -> None:
    """Whether anybody stored there is not known."""
    vmm.begin()
    vmm.convert(1, 4)


def written(vmm: Vmm) -> None:
    vmm.begin()
    vmm.call("write", 0, 2.5)
    vmm.call("allocate", 5, 1)
    vmm.convert(1, 5)


def failed(vmm: Vmm) -> None:
    vmm.begin()
    vmm.call("write", 0, 8, answer=EINVAL)
    vmm.call("allocate", 0, 8, answer=EINVAL)
    vmm.convert(0, 8)
    vmm.call("punch_hole", 0, 8, answer=EINVAL)


def punched(vmm: Vmm) -> None:
    """As QEMU does it: converted, then given back."""
    vmm.begin()
    vmm.call("write", 0, 8)
    vmm.convert(2, 4)
    vmm.call("punch_hole", 2, 4)


def punched_before(vmm: Vmm) -> None:
    """Somebody may have stored there meanwhile."""
    vmm.begin()
    vmm.call("write", 0, 8)
    vmm.call("punch_hole", 2, 4)
    vmm.convert(2, 4)


def punched_in_part(vmm: Vmm) -> None:
    """A page of which only a part is punched stays."""
    vmm.begin()
    vmm.call("write", 0, 8)
    vmm.convert(0, 8)
    vmm.call("punch_hole", 0.5, 3)


def written_again(vmm: Vmm) -> None:
    vmm.begin()
    vmm.convert(0, 8)
    vmm.call("punch_hole", 0, 8)
    vmm.call("write", 3, 1)


def cut_short(vmm: Vmm) -> None:
    vmm.begin()
    vmm.call("write", 0, 8)
    vmm.convert(0, 8)
    vmm.call("truncate", 0, 2 + 5)


def of_huge_pages(vmm: Vmm) -> None:
    """A hole that is smaller than a huge page takes nothing out of a hugetlb file."""
    vmm.begin(Kind.HUGETLB)
    vmm.convert(0, 8)
    vmm.call("punch_hole", 0, 8, kind=Kind.HUGETLB)


def anonymous(vmm: Vmm) -> None:
    vmm.begin(address=HOST + 0x40000000)
    vmm.convert(0, 1)


def half_mapped(vmm: Vmm) -> None:
    vmm.begin(address=HOST + 6 * PAGE)
    vmm.convert(0, 4)
    vmm.convert(6, 1)


def mapped_privately(vmm: Vmm) -> None:
    """Its pages are copied when they are stored to: what is in the file does not tell."""
    vmm.begin(arg=PRIVATE_MAP)
    vmm.convert(0, 1)


def nothing_private(vmm: Vmm) -> None:
    vmm.begin(address=HOST + 0x40000000)


def one_copy(vmm: Vmm) -> None:
    """A guest_memfd that is mapped itself is the only copy."""
    vmm.create(GMEM, "gmem", kind=Kind.GUEST_MEMFD)
    vmm.map(GMEM, VMM, HOST, length=PAGES * PAGE, kind=Kind.GUEST_MEMFD)
    vmm.slot()
    vmm.convert(0, 4)


def without_address(vmm: Vmm) -> None:
    vmm.create(GMEM, "gmem", kind=Kind.GUEST_MEMFD)
    vmm.slot(0)
    vmm.convert(0, 4)


def mapped_by_another(vmm: Vmm) -> None:
    """The same addresses of another process tell nothing."""
    vmm.begin(address=HOST + 0x40000000)
    vmm.map(RAM, OTHER, HOST + 0x40000000, length=PAGES * PAGE)
    vmm.convert(0, 1)


def ends(vmm: Vmm) -> None:
    """A process that exits unmaps its memory and closes its files before its machine is gone."""
    written(vmm)
    vmm.unmap(RAM, VMM, HOST - 2 * PAGE, length=(PAGES + 4) * PAGE)
    vmm.event("evict", RAM)
    vmm.event("vm_end", 0, VMM, kind=Kind.UNKNOWN, vm=VM)


def unsure_state(vmm: Vmm) -> None:
    """A conversion is missing: what is private is not known."""
    vmm.begin()
    vmm.call("write", 0, 8)
    vmm.convert(0, 8)
    vmm.taken += 1
    vmm.convert(0, 2)


CASES: dict[Callable[[Vmm], None], tuple[int, int | None]] = {
    never_private: (0, 0),
    untouched: (0, 4),
    written: (3, 5),
    failed: (0, 8),
    punched: (0, 0),
    punched_before: (0, 4),
    punched_in_part: (6, 6),
    written_again: (1, 1),
    cut_short: (5, 5),
    of_huge_pages: (0, 8),
    anonymous: (0, None),
    half_mapped: (0, None),
    mapped_privately: (0, None),
    nothing_private: (0, 0),
    one_copy: (0, 0),
    without_address: (0, 0),
    mapped_by_another: (0, None),
    ends: (3, 5),
    unsure_state: (2, None),
}


@pytest.mark.parametrize("tell", CASES, ids=lambda tell: tell.__name__)
def test_what_is_left(tmp_path: Path, tell: Callable[[Vmm], None]) -> None:
    vmm = Vmm()
    tell(vmm)
    assert left(tmp_path / "a.seal", vmm) == CASES[tell]


def test_what_was_missed_makes_nothing_certain(tmp_path: Path) -> None:
    vmm = Vmm()
    written(vmm)
    lossy = Vmm()
    written(lossy)
    lossy.loss(LossCause.RING_FULL)
    assert left(tmp_path / "lossy.seal", lossy) == (0, 5)
    filtered = {"filters": {"pids": [VMM]}}
    assert left(tmp_path / "filtered.seal", vmm, **filtered) == (0, 5)
    hooks = [step(FAMILIES[0]), step(FAMILIES[1], reason="no such symbol", method=None)]
    assert left(tmp_path / "blind.seal", vmm, hooks=hooks) == (0, 5)


def test_too_many_to_count_are_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vmm = Vmm()
    written(vmm)
    for name in ("SLOTS", "_LOOKS"):
        with monkeypatch.context() as patched:
            patched.setattr(copies, name, 0)
            assert left(tmp_path / f"{name}.seal", vmm) == (0, None)


# ---- a model, page by page


calls = st.lists(
    st.tuples(
        st.sampled_from(["private", "shared", "write", "allocate", "punch_hole"]),
        st.integers(0, PAGES - 1),
        st.integers(1, PAGES),
    ),
    max_size=25,
)


@settings(max_examples=30, deadline=None)
@given(calls)
def test_pages_are_as_they_were_treated(tmp_path_factory: Any, made: Any) -> None:
    vmm = Vmm()
    vmm.begin()
    is_private, sure, maybe = (np.zeros(PAGES, bool) for _ in range(3))
    for op, first, pages in made:
        part = slice(first, min(PAGES, first + pages))
        if op in ("private", "shared"):
            vmm.convert(first, part.stop - first, private=op == "private")
            maybe[part] |= ~is_private[part]
            is_private[part] = op == "private"
        else:
            vmm.call(op, first, part.stop - first)
            sure[part] = op != "punch_hole"
            maybe[part] = op != "punch_hole"
    # Of what is still private nobody knows what was stored before.
    both, most = int((is_private & sure).sum()), int((is_private & (sure | maybe)).sum())
    assert left(tmp_path_factory.mktemp("model") / "a.seal", vmm) == (both, most)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30), st.integers(0, 99)), min_size=1))
def test_the_last_span_over_each_segment(spans: Any) -> None:
    begin, length, when = (np.array(column, np.int64) for column in zip(*spans, strict=True))
    cuts = np.unique(np.concatenate([begin, begin + length, [0, 70]]))
    found = copies._latest(cuts, begin, begin + length, when)
    for place, cut in enumerate(cuts[:-1].tolist()):
        over = when[(begin <= cut) & (begin + length > cut)]
        assert found[place] == max(over.tolist(), default=private.BEFORE)
