"""Guest memory and every way to it: what the VMM says it did is what the recordings have."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.kernel.audit_cases import UNTRIED
from tests.kernel.booted import Booted, Run
from tests.kernel.scenes_guest import GMEM_GUESTS, MEMFD_GUESTS, OLDER

Act = dict[str, Any]
METHODS = ("fexit", "kprobe")
PAGE = 4096
FINAL = 512
VM_FAULT_SIGBUS = 2
STAYING = ("before", "gmem-stays")
"""Guests that live when the recording stops."""
SCM_RIGHTS = 1
NR_PREAD64, NR_PROCESS_VM_READV, NR_PROCESS_VM_WRITEV, NR_IO_URING_REGISTER = 17, 310, 311, 427


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def acts(guest_host: Booted, name: str) -> list[Act]:
    return acts_of(guest_host.folder / f"vmm-{name}.jsonl")


def acts_of(log: Path) -> list[Act]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def act(told: list[Act], name: str) -> Act:
    [found] = [one for one in told if one["act"] == name]
    return found


def pick(events: pd.DataFrame, op: str, **wanted: Any) -> pd.DataFrame:
    """Events of an op whose columns have these values."""
    found = events.loc[events["op"] == op]
    for column, value in wanted.items():
        found = found.loc[found[column] == value]
    assert isinstance(found, pd.DataFrame)
    return found


def one(events: pd.DataFrame, op: str, **wanted: Any) -> Any:
    found = pick(events, op, **wanted)
    assert len(found) == 1, (op, wanted, events[events["op"] == op].to_string())
    return found.iloc[0]


def vmm_mm(events: pd.DataFrame, vmm: int) -> int:
    """The VMM's address space, as its own first mapping has it."""
    return int(pick(events, "map", pid=vmm, flags=0)["mm"].iloc[0])


def own(run: Run, told: list[Act]) -> pd.DataFrame:
    """The events on this guest's memory."""
    first = next(one for one in told if "ino" in one)
    return _of_file(run.events, first)


def _of_file(rows: pd.DataFrame, file: Act) -> pd.DataFrame:
    found = rows.loc[(rows["dev"] == file["dev"]) & (rows["ino"] == file["ino"])]
    assert isinstance(found, pd.DataFrame)
    return found


def guests(guest_host: Booted) -> Iterator[tuple[str, list[Act]]]:
    names = [*MEMFD_GUESTS, "before"]
    if guest_host.facts("guests")["gmem"]:
        names += [*GMEM_GUESTS, "gmem-stays"]
    for name in names:
        yield name, acts(guest_host, name)


def test_scenes_were_played(guest_host: Booted) -> None:
    assert not guest_host.failed_scenes, "\n".join(guest_host.failed_scenes.values())
    assert not {n: said for n, said in guest_host.stderrs().items() if "Traceback" in said}
    for name, told in guests(guest_host):
        assert told[-1]["act"] == "end", (name, told)
        if name != "secret":
            assert act(told, "guest")["word"] == 0x534D + 1


def test_guest_memfd_is_tried_where_it_is(guest_host: Booted) -> None:
    assert guest_host.facts("guests")["gmem"] is (guest_host.name != "6.1")


def test_nothing_is_lost(guest_host: Booted, method: str) -> None:
    guest_host.is_whole(guest_host.run(f"guests-{method}"), method)
    hooks = guest_host.run(f"guests-{method}").manifest["hooks"]
    unseen = {step["family"] for step in hooks if not step["method"] and step["essential"]}
    # Seven parameters are more than a trampoline of 6.1 takes; auto would take a kprobe there.
    assert unseen == ({"pin_remote"} if (guest_host.name, method) == ("6.1", "fexit") else set())


def test_the_self_test_saw_every_hook(guest_host: Booted, method: str) -> None:
    manifest = guest_host.run(f"guests-{method}").manifest
    counts = manifest["self_test"]["hooks"]
    wrong = {name: one for name, one in counts.items() if one["expected"] != one["seen"]}
    lost = manifest["self_test"]["lost"]
    if not (guest_host.preempts and method == "fexit" and set(lost) == {"missed"}):
        assert (wrong, lost) == ({}, {})
    assert not any(one["extra"] for one in wrong.values())
    assert sum(one["expected"] - one["seen"] for one in wrong.values()) <= lost.get("missed", 0)
    tried = {name for name, one in counts.items() if one["expected"]}
    live = {one["family"] for one in manifest["hooks"] if one["symbol"] and one["method"]}
    assert live - tried == live & UNTRIED


def test_memslots(guest_host: Booted, method: str) -> None:
    run = guest_host.run(f"guests-{method}")
    machines: list[int] = []
    for name, told in guests(guest_host):
        slots = [one for one in told if one["act"] in ("memslot", "memslot_delete")]
        if name in STAYING:
            del slots[2]  # it goes after the recording
        events = pick(run.events, "memslot", pid=told[-1]["pid"])
        assert len(events) == len(slots) >= 2, name
        for want, (_, row) in zip(slots, events.iterrows(), strict=True):
            assert (row["arg"], row["length"], row["size_after"]) == (
                want["gpa"], want["length"], want["hva"],
            )  # fmt: skip
            assert (row["check_answer"], row["checks"]) == (want["slot"], want["flags"])
            assert (row["answer"], row["fd"]) == (want["answer"], want["gmem"])
            backed = want["slot"] == 1 and want["length"]
            assert row["ino"] == (want["ino"] if backed else 0)
            if backed:
                assert (row["dev"], row["offset"]) == (want["dev"], 0)
                assert row["kind"] == ("guest_memfd" if want["gmem"] >= 0 else "memfd")
        assert events["vm"].nunique() == events["mm"].nunique() == 1
        machines.append(int(events["vm"].iloc[0]))
    assert len(set(machines)) == len(machines), "no number is used again"
    assert 0 not in machines


def test_memslots_from_before(guest_host: Booted, method: str) -> None:
    """As KVM's own list has them: what the VMM said when it set them, before anybody looked."""
    run = guest_host.run(f"guests-{method}")
    assert run.end is not None
    look = run.end["baseline"]["start"]
    older = tuple(OLDER)[: 1 + guest_host.facts("guests")["gmem"]]
    # The one that maps before has a machine, too, and no memslot yet.
    assert look["machines"] >= len(older)
    assert look["machines_problem"] == ""
    rows = run.table("mappings")
    seen = set()
    for name in older:
        told = acts(guest_host, name)
        slots = sorted((one for one in told if one["act"] == "memslot"), key=lambda s: s["slot"])
        events = pick(rows, "memslot", pid=told[-1]["pid"]).sort_values("check_answer")
        assert len(events) == len(slots) == 2, name
        for want, (_, row) in zip(slots, events.iterrows(), strict=True):
            for column, key in {"check_answer": "slot", "arg": "gpa", "length": "length",
                                "size_after": "hva", "checks": "flags"}.items():  # fmt: skip
                assert row[column] == want[key], (name, column)
            if want["gmem"] >= 0:
                assert (row["dev"], row["ino"], row["kind"], row["offset"]) == (
                    want["dev"], want["ino"], "guest_memfd", 0)  # fmt: skip
        # The same numbers, and the same process, as what happens later has.
        [mapped] = set(pick(rows, "open", pid=told[-1]["pid"])["own_mm"])
        assert set(events["mm"]) == set(events["own_mm"]) == {mapped}
        assert set(events["start_ns"]) == set(
            pick(rows, "open", pid=told[-1]["pid"])["start_ns"])  # fmt: skip
        seen.add(int(events["vm"].iloc[0]))
        assert events["vm"].nunique() == 1
    assert len(seen) == len(older)
    assert not seen & set(run.events["vm"]), "another machine has this number"


def test_seals_when_it_becomes_guest_memory(guest_host: Booted, method: str) -> None:
    run = guest_host.run(f"guests-{method}")
    for name, seals in (("good", 7), ("unsealed", 0)):
        told = acts(guest_host, name)
        slot = one(own(run, told), "memslot", length=16 * PAGE)
        assert slot["seals"] == seals
        sealed = one(own(run, told), "add_seals", arg=7, answer=0)
        assert bool(sealed["time_ns"] < slot["time_ns"]) is (name == "good")


def test_a_good_guest_is_touched_by_nobody(guest_host: Booted, method: str) -> None:
    run = guest_host.run(f"guests-{method}")
    told = acts(guest_host, "good")
    events = own(run, told)
    assert set(events["pid"]) == {told[0]["pid"]}
    assert events.groupby("op", observed=True).size().to_dict() == {
        "create": 1, "truncate": 1, "add_seals": 1, "mmap": 1, "map": 1, "memslot": 1, "unmap": 1,
        "evict": 1,
    }  # fmt: skip
    if guest_host.facts("guests")["gmem"]:
        told = acts(guest_host, "gmem-good")
        events = own(run, told)
        assert set(events["kind"]) == {"guest_memfd"}
        counts = events.groupby("op", observed=True).size().to_dict()
        assert counts == {"create": 1, "memslot": 1, "evict": 1}
        made = one(events, "create")
        want = act(told, "create")
        assert (made["arg"], made["fd"], made["size_after"], made["answer"], made["pid"]) == (
            want["flags"], want["fd"], want["size"], want["fd"], want["pid"],
        )  # fmt: skip


def test_host_mapping_of_a_guest_memfd(guest_host: Booted, method: str) -> None:
    if not guest_host.facts("guests")["gmem"]:
        assert guest_host.name == "6.1"
        return
    run = guest_host.run(f"guests-{method}")
    told = acts(guest_host, "gmem-mapped")
    events, want = own(run, told), act(told, "host_mmap")
    asked = one(events, "mmap", pid=want["pid"])
    assert (asked["answer"], asked["fd"], asked["length"]) == (
        want["address"], want["fd"], want["length"],
    )  # fmt: skip
    begun = one(events, "map", pid=want["pid"])
    assert (begun["answer"], begun["length"]) == (want["address"], want["length"])
    fault = one(events, "fault")
    assert (fault["size_after"], fault["offset"], fault["pid"]) == (want["address"], 0, want["pid"])
    assert fault["answer"] & VM_FAULT_SIGBUS
    assert act(told, "host_touch")["signal"] == 7
    assert fault["mm"] == begun["mm"]


def _ways(guest_host: Booted) -> list[str]:
    return ["ways", "gmem-ways"] if guest_host.facts("guests")["gmem"] else ["ways"]


def test_second_process(guest_host: Booted, method: str) -> None:
    run = guest_host.run(f"guests-{method}")
    for name in _ways(guest_host):
        told = acts(guest_host, name)
        events, want = own(run, told), act(told, "second_process")
        assert (want["answer"], want["signal"]) == (0, 0)
        came = one(events, "receive", pid=want["pid"])
        assert (came["answer"], came["fmode"]) == (0, 3)
        asked = one(events, "mmap", pid=want["pid"])
        assert asked["answer"] == want["address"]
        begun = one(events, "map", pid=want["pid"])
        assert (begun["answer"], begun["length"]) == (want["address"], want["length"])
        assert came["time_ns"] < asked["time_ns"] < begun["time_ns"]
        assert begun["mm"] != vmm_mm(events, told[0]["pid"])
        if name == "gmem-ways":
            faults = pick(events, "fault", pid=want["pid"], mm=begun["mm"])
            assert faults["size_after"].tolist() == [want["address"]]
            assert not (faults["answer"] & VM_FAULT_SIGBUS).any()


@pytest.mark.parametrize(
    ("name", "op", "nr", "hook"),
    [
        ("process_vm_readv", "remote_read", NR_PROCESS_VM_READV, "pin"),
        ("process_vm_writev", "remote_write", NR_PROCESS_VM_WRITEV, "pin"),
        ("proc_mem", "remote_read", NR_PREAD64, "remote"),
    ],
)
def test_access_by_another_process(
    guest_host: Booted, method: str, name: str, op: str, nr: int, hook: str
) -> None:
    run = guest_host.run(f"guests-{method}")
    unseen = (guest_host.name, method, hook) == ("6.1", "fexit", "pin")  # test_nothing_is_lost
    for guest in _ways(guest_host):
        told = acts(guest_host, guest)
        events, want = own(run, told), act(told, name)
        assert want["answer"] == 64
        if unseen:
            assert pick(events, op, nr=nr).empty
            continue
        row = one(events, op, pid=want["pid"], nr=nr)
        assert (row["hook"], row["offset"], row["answer"] > 0) == (hook, 0, True)
        assert row["size_after"] <= want["address"]
        assert row["size_after"] + row["length"] >= want["address"] + want["length"]
        # The address space is the VMM's, whose own mapping has the same.
        assert row["mm"] == vmm_mm(events, want["target"])


def test_fork(guest_host: Booted, method: str) -> None:
    run = guest_host.run(f"guests-{method}")
    for name in _ways(guest_host):
        told = acts(guest_host, name)
        events, want = own(run, told), act(told, "fork")
        copied = pick(events, "map", pid=told[0]["pid"], answer=want["address"])
        copied = copied[copied["flags"] & 64 != 0]
        assert len(copied) == 1
        ended = one(events, "unmap", pid=want["pid"])
        assert (ended["answer"], ended["length"]) == (want["address"], want["length"])
        assert ended["mm"] == copied.iloc[0]["mm"]


def test_pin(guest_host: Booted, method: str) -> None:
    run = guest_host.run(f"guests-{method}")
    for name in _ways(guest_host):
        told = acts(guest_host, name)
        events, want = own(run, told), act(told, "pin_io_uring")
        rows = pick(events, "pin", pid=want["pid"])
        if want["answer"] == 0:
            assert rows["answer"].sum() == want["length"] // PAGE
        assert set(rows["nr"]) == {NR_IO_URING_REGISTER}
        assert (rows["size_after"].min(), rows["offset"].min()) == (want["address"], 0)
        assert rows["length"].max() == want["length"]


def test_userfaultfd(guest_host: Booted, method: str) -> None:
    run = guest_host.run(f"guests-{method}")
    for name in _ways(guest_host):
        told = acts(guest_host, name)
        events, want = own(run, told), act(told, "uffd")
        row = one(events, "uffd_register", pid=want["pid"])
        assert (row["size_after"], row["length"], row["arg"], row["answer"], row["offset"]) == (
            want["address"], want["length"], want["mode"], want["answer"], 0,
        )  # fmt: skip
        assert row["mm"] == vmm_mm(events, want["pid"])
        assert want["answer"] == 0 or name == "gmem-ways"


def test_mprotect(guest_host: Booted, method: str) -> None:
    run = guest_host.run(f"guests-{method}")
    for name in _ways(guest_host):
        told = acts(guest_host, name)
        wanted = [one for one in told if one["act"] == "mprotect"]
        rows = pick(own(run, told), "mprotect", pid=told[0]["pid"])
        assert [(r["arg"], r["size_after"], r["length"], r["answer"], r["offset"])
                for _, r in rows.iterrows()] == [
            (w["prot"], w["address"], w["length"], w["answer"], 0) for w in wanted
        ]  # fmt: skip


def test_calls_of_the_vmm_itself(guest_host: Booted, method: str) -> None:
    run = guest_host.run(f"guests-{method}")
    told = acts(guest_host, "ways")
    for op in ("read", "write"):
        row, want = one(own(run, told), op), act(told, op)
        assert (row["fd"], row["offset"], row["length"], row["answer"]) == (
            want["fd"], want["offset"], want["length"], want["answer"],
        )  # fmt: skip
    for name in _ways(guest_host):
        told = acts(guest_host, name)
        row, want = one(own(run, told), "punch_hole"), act(told, "punch")
        assert (row["fd"], row["offset"], row["length"], row["answer"]) == (
            want["fd"], want["offset"], want["length"], want["answer"],
        )  # fmt: skip


def test_secret_memory(guest_host: Booted, method: str) -> None:
    run = guest_host.run(f"guests-{method}")
    want = act(acts(guest_host, "secret"), "secret")
    assert (want["answer"], want["signal"]) == (0, 0)
    events = run.events
    events = events[(events["kind"] == "secretmem") & (events["ino"] == want["secret_ino"])]
    assert set(events["pid"]) == {want["pid"]}
    in_time = events.sort_values("time_ns")["op"].tolist()
    assert in_time == ["create", "truncate", "mmap", "map", "fault", "unmap", "evict"]
    fault = one(events, "fault")
    assert fault["size_after"] == want["address"]
    assert not fault["answer"] & VM_FAULT_SIGBUS
    assert one(events, "create")["fd"] == want["fd"]
    assert one(events, "truncate")["length"] == PAGE


# ---- what stood before, and stands at the end ---------------------------------------------


def _of(rows: pd.DataFrame, told: list[Act], final: bool) -> pd.DataFrame:
    rows = _of_file(rows, next(one for one in told if "ino" in one))
    found = rows.loc[(rows["flags"] & FINAL != 0) == final]
    assert isinstance(found, pd.DataFrame)
    return found


def test_who_mapped_it_before(guest_host: Booted, method: str) -> None:
    rows = guest_host.run(f"guests-{method}").table("mappings")
    told = acts(guest_host, "before")
    helper, vmm = act(told, "second_process"), act(told, "end")["pid"]
    before = _of(rows, told, final=False)
    mapping = one(before, "map", pid=helper["pid"])
    assert (mapping["answer"], mapping["length"]) == (helper["address"], helper["length"])
    assert {vmm, helper["pid"]} == set(pick(before, "open")["pid"])
    assert pick(before, "mapped")["answer"].tolist() == [1]
    after = _of(rows, told, final=True)
    assert {vmm, helper["pid"]} == set(pick(after, "map")["pid"])
    assert pick(after, "mapped")["answer"].tolist() == [1]
    assert (after["time_ns"] > before["time_ns"].max()).all()


def test_a_guest_memfd_that_nobody_maps(guest_host: Booted, method: str) -> None:
    if not guest_host.facts("guests")["gmem"]:
        assert guest_host.name == "6.1"
        return
    run = guest_host.run(f"guests-{method}")
    told = acts(guest_host, "gmem-stays")
    assert pick(own(run, told), "map").empty
    after = _of(run.table("mappings"), told, final=True)
    assert pick(after, "map").empty
    assert set(pick(after, "open")["pid"]) == {told[0]["pid"]}
    shown = pick(after, "mapped")
    assert [(row["answer"], row["kind"]) for _, row in shown.iterrows()] == [(0, "guest_memfd")]


# ---- KVM comes and goes -------------------------------------------------------------------


@pytest.mark.at_length
def test_kvm_is_hooked_when_it_comes(guest_host: Booted, method: str) -> None:
    run = guest_host.run(f"kvm-{method}")
    step = next(one for one in run.manifest["hooks"] if one["family"] == "memslot")
    assert (step["symbol"], step["method"]) == (None, method)
    told = acts(guest_host, "first-load")
    rows = pick(run.events, "memslot", pid=told[-1]["pid"])
    assert rows["arg"].tolist() == [0x1000, 0x10000, 0x10000]
    # Several families tell of each change, all at the same moment.
    told_of = pick(run.table("mappings"), "attach", hook="memslot")
    changes = told_of.drop_duplicates("time_ns")
    assert changes["answer"].iloc[0] == 0
    assert changes["time_ns"].iloc[0] < rows["time_ns"].min()


@pytest.mark.at_length
def test_kvm_may_go_and_come_again_under_kprobes(guest_host: Booted) -> None:
    run = guest_host.run("kvm-kprobe")
    # Several families tell of each change, all at the same moment.
    told_of = pick(run.table("mappings"), "attach", hook="memslot")
    changes = told_of.drop_duplicates("time_ns")
    assert changes["answer"].tolist() == [0, -2, 0]
    told = acts(guest_host, "second-load")
    rows = pick(run.events, "memslot", pid=told[-1]["pid"])
    assert rows["arg"].tolist() == [0x1000, 0x10000, 0x10000]
    assert changes["time_ns"].iloc[2] < rows["time_ns"].min()


def test_who_gave_what(guest_host: Booted, method: str) -> None:
    """Each memory file of each message, sent and received, however, and by whom it was sent."""
    assert guest_host.facts("passing")["code"] == 0
    run = guest_host.run(f"guests-{method}")
    told = acts_of(guest_host.folder / "passing.jsonl")
    assert told[-1] == {"act": "end", "pid": told[0]["pid"], "name": "", "times": 1}
    giver, taker = told[0]["pid"], next(one["pid"] for one in told if one["act"] == "receive")
    events = run.events[run.events["pid"].isin([giver, taker])]
    for act, op in (("send", "give"), ("receive", "receive")):
        want: Counter[tuple[int, str]] = Counter()
        for one in told:
            if one["act"] == act and (act, one["name"]) != ("send", "early"):
                want[one["pid"], f"memfd:{one['name']}"] += one["times"]
        rows = pick(events, op)
        assert Counter(zip(rows["pid"], rows["name"].astype(str), strict=True)) == want, op
        assert set(rows["arg"] & 0xFFFFFFFF) == {SCM_RIGHTS}
    who = {}
    for pid in (giver, taker):
        rows = pick(events, "give", pid=pid)
        [who[pid]] = set(zip(rows["start_ns"], rows["exec_id"], rows["own_mm"], strict=True))
    for row in rows_of(pick(events, "receive")):
        sender = (row["check_answer"], row["offset"], row["arg"] >> 32, row["mm"])
        if row["name"] == "memfd:early":
            assert sender == (0, 0, 0, 0), "of a message from before the trace nobody knows it"
            continue
        pid = taker if row["pid"] == giver else giver
        assert sender == (pid, *who[pid])
        [given] = rows_of(pick(events, "give", pid=pid, ino=row["ino"]))
        assert given["time_ns"] < row["time_ns"]


def rows_of(events: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in events.to_dict("records")]
