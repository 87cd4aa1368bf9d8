"""Ways in, row by row: of each that samples/vmm/attacks plays, who did it to whom and where."""

import json
from typing import Any

import pandas as pd
import pytest

from tests.kernel.booted import Booted
from tests.kernel.scenes_attacks import attack_log
from tracer.words import Fill, Receipt

Act = dict[str, Any]
PAGE, HOLE_AT, SIZE = 4096, 8 * 4096, 16 * 4096
NEWER = ("uffd-poison", "slot-race", "udmabuf")
"""What 6.1 has not got."""


@pytest.fixture
def events(audit_host: Booted) -> pd.DataFrame:
    return audit_host.run("attacks").events


def told(host: Booted, name: str) -> list[Act]:
    return [json.loads(line) for line in attack_log(host.folder, name).read_text().splitlines()]


def pid_of(acts: list[Act], who: str) -> int:
    return int(next(one["pid"] for one in acts if one["who"] == who))


def rows(events: pd.DataFrame, op: str, pid: int) -> list[Any]:
    found = events.loc[(events["op"] == op) & (events["pid"] == pid)]
    return [row for _, row in found.iterrows()]


def one(events: pd.DataFrame, op: str, pid: int) -> Any:
    found = rows(events, op, pid)
    assert len(found) == 1, (op, pid, found)
    return found[0]


def vmm_of(events: pd.DataFrame, acts: list[Act]) -> Any:
    """The VMM's own memslot: who it is, and which address space it has."""
    return one(events, "memslot", pid_of(acts, "vmm"))


@pytest.mark.parametrize(
    ("name", "fill"),
    [
        ("uffd-copy", Fill.COPY),
        ("uffd-zeropage", Fill.ZERO),
        ("uffd-continue", Fill.CONTINUE),
        ("uffd-cold", Fill.COPY),
        ("uffd-poison", Fill.POISON),
    ],
)
def test_a_fill_is_told_with_its_page(
    events: pd.DataFrame, audit_host: Booted, name: str, fill: Fill
) -> None:
    acts = told(audit_host, name)
    if acts[-1]["act"] == "absent":
        assert (name in NEWER, audit_host.name) == (True, "6.1")
        return
    vmm, row = vmm_of(events, acts), one(events, "uffd_fill", pid_of(acts, "attacker"))
    assert row["ino"] == acts[0]["ino"]
    assert (row["arg"], row["mm"], row["checks"]) == (fill, vmm["own_mm"], 0)
    assert (row["offset"], row["length"]) == (HOLE_AT, PAGE)
    assert row["size_after"] == vmm["size_after"] + HOLE_AT
    assert row["answer"] == (0 if fill is Fill.POISON else PAGE)


def test_a_registration_out_of_a_page_that_is_not_there(
    events: pd.DataFrame, audit_host: Booted
) -> None:
    acts = told(audit_host, "uffd-cold")
    row = one(events, "uffd_register", pid_of(acts, "attacker"))
    assert (row["ino"], row["offset"], row["length"]) == (acts[0]["ino"], HOLE_AT, PAGE)


@pytest.mark.parametrize(
    ("name", "receipt"),
    [
        ("getfd", Receipt.PIDFD_GETFD),
        ("getfd-early", Receipt.PIDFD_GETFD),
        ("procfd-idle", Receipt.PROC_FD),
        ("taskfd-idle", Receipt.PROC_FD),
        ("mapfiles-early", Receipt.MAP_FILES),
        ("fd-thief", Receipt.PROC_FD),
    ],
)
def test_a_descriptor_that_is_taken_has_its_owner(
    events: pd.DataFrame, audit_host: Booted, name: str, receipt: Receipt
) -> None:
    acts = told(audit_host, name)
    vmm, row = vmm_of(events, acts), one(events, "receive", pid_of(acts, "attacker"))
    assert row["ino"] == acts[0]["ino"]
    assert (row["arg"] & 0xFFFFFFFF, row["arg"] >> 32) == (receipt, vmm["exec_id"])
    assert (row["mm"], row["check_answer"], row["offset"]) == (
        vmm["own_mm"], vmm["pid"], vmm["start_ns"],
    )  # fmt: skip


@pytest.mark.parametrize(
    "name", ["ptrace-attach", "ptrace-seize", "ptrace-run", "ptrace-traceme", "clone-vm",
             "vfork-reads"],
)  # fmt: skip
def test_whose_address_space_is_reached(
    events: pd.DataFrame, audit_host: Booted, name: str
) -> None:
    acts = told(audit_host, name)
    vmm = vmm_of(events, acts)
    op = "trace" if name.startswith("ptrace") else "share_mm"
    found = events.loc[(events["op"] == op) & (events["mm"] == vmm["own_mm"])]
    assert len(found) == 1
    row = found.iloc[0]
    assert (row["arg"], row["offset"], row["check_answer"]) == (
        vmm["pid"], vmm["start_ns"], vmm["exec_id"],
    )  # fmt: skip
    assert row["pid"] != vmm["pid"]
    assert bool(row["own_mm"] == vmm["own_mm"]) is (op == "share_mm")


def test_buffers_of_another_process(events: pd.DataFrame, audit_host: Booted) -> None:
    for name in ("ring-child", "ring-getfd"):
        acts = told(audit_host, name)
        vmm, found = vmm_of(events, acts), rows(events, "ring", pid_of(acts, "attacker"))
        assert [row["mm"] for row in found] == [vmm["own_mm"]] * 2, "a read and a write"
        assert {row["length"] for row in found} == {1}


def test_a_file_out_of_another_ring(events: pd.DataFrame, audit_host: Booted) -> None:
    acts = told(audit_host, "msg-ring")
    found = rows(events, "receive", pid_of(acts, "attacker"))
    row = next(row for row in found if row["arg"] & 0xFFFFFFFF == Receipt.MSG_RING)
    assert (row["ino"], row["mm"]) == (acts[0]["ino"], vmm_of(events, acts)["own_mm"])


def test_advice_to_another_process(events: pd.DataFrame, audit_host: Booted) -> None:
    acts = told(audit_host, "madvise")
    vmm, found = vmm_of(events, acts), rows(events, "advise", pid_of(acts, "attacker"))
    assert [row["arg"] for row in found] == [20, 21, 3], "COLD, PAGEOUT, WILLNEED"
    for row in found:
        assert (row["ino"], row["mm"], row["length"]) == (acts[0]["ino"], vmm["own_mm"], SIZE)


def test_each_machine_ends(events: pd.DataFrame, audit_host: Booted) -> None:
    """Also of VMMs that are killed: descriptors are closed at the exit."""
    slots = events.loc[(events["op"] == "memslot") & (events["answer"] == 0)]
    ends = events.loc[events["op"] == "vm_end"]
    assert not ends["vm"].duplicated().any()
    acts = told(audit_host, "uffd-copy")
    machine = vmm_of(events, acts)["vm"]
    assert machine in set(ends["vm"])
    # A machine that has no memory can still make guest_memfds.
    made = events.loc[(events["op"] == "create") & (events["kind"] == "guest_memfd")]
    bare = ends.loc[~ends["vm"].isin(slots["vm"])]
    assert set(bare["pid"]) <= set(made["pid"])


def test_udmabuf_is_told(events: pd.DataFrame, audit_host: Booted) -> None:
    acts = told(audit_host, "udmabuf")
    found = rows(events, "device", pid_of(acts, "vmm"))
    assert [row["length"] for row in found] == ([] if audit_host.name == "6.1" else [1])
