"""Guests with private memory: what the VMM was answered and what its guests read are the truth.

The kernel is our own (tests/vm/guest-memory): Debian has none with software-protected VMs.
"""

import json
from collections import Counter
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest

from tests.kernel.booted import Booted, Run
from tests.kernel.judged import judged
from tests.kernel.scenes_private import CONVERSIONS, FEW
from tracer.record import Flag

pytestmark = pytest.mark.at_length

Act = dict[str, Any]
METHODS = ("fexit", "kprobe")
PAGE, GUEST_AT = 4096, 0x100000
PRIVATE = 1 << 3
EPERM, EBUSY, EINVAL, ENOTTY = -1, -16, -22, -25
SIGBUS, VM_FAULT_SIGBUS = 7, 2
HUGE = 2 << 20


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def acts(host: Booted, name: str) -> list[Act]:
    lines = (host.folder / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def of(told: list[Act], act: str, **wanted: object) -> list[Act]:
    return [
        one for one in told
        if one["act"] == act and all(one[key] == value for key, value in wanted.items())
    ]  # fmt: skip


def taken(wish: Act) -> bool:
    """Whether a well-formed range: whole pages, some, and not round the end of the addresses."""
    start, length = wish["address"], wish["length"]
    return (
        not wish["flags"] and length > 0 and start + length < 1 << 64
        and start % PAGE == length % PAGE == 0
    )  # fmt: skip


def must(wish: Act, kernel: Act, vm: Act) -> int:
    """virt/kvm/kvm_main.c:kvm_vm_ioctl_set_mem_attributes, written once more by hand."""
    if not kernel["attributes"]:
        return ENOTTY
    return EINVAL if wish["attributes"] & ~vm["attributes"] or not taken(wish) else 0


def check_answers(told: list[Act]) -> Counter[int]:
    [kernel] = of(told, "kernel")
    vms = {vm["vm"]: vm for vm in of(told, "vm")}
    converts = of(told, "convert")
    wrong = [one for one in converts if one["answer"] != must(one, kernel, vms[one["vm"]])]
    assert wrong == []
    return Counter(one["answer"] for one in converts)


def kind_of(wish: Act) -> str:
    """What is wrong with a conversion that somebody asks for; empty: nothing."""
    start, length = wish["address"], wish["length"]
    faults = {
        "flags": wish["flags"], "unknown attribute": wish["attributes"] & ~PRIVATE,
        "unaligned address": start % PAGE, "unaligned length": length % PAGE,
        "empty": not length, "wraps round": start + length >= 1 << 64,
    }  # fmt: skip
    return ", ".join(name for name, is_so in faults.items() if is_so)


KINDS = {
    "flags", "unknown attribute", "unaligned address", "unaligned length", "empty", "wraps round",
}  # fmt: skip


def check_kinds(told: list[Act]) -> None:
    """All that is wrong was asked for by each thread of each machine; threads took turns, and
    converted what the other one had converted before."""
    for vm in (0, 1):
        mine = of(told, "convert", vm=vm)
        owner: dict[int, Any] = {}
        overlaps: Counter[str] = Counter()
        for one in mine:
            if one["answer"]:
                continue
            first = one["address"] // PAGE
            pages = range(first, first + one["length"] // PAGE)
            before = {owner[page] for page in pages if page in owner}
            overlaps["own"] += one["tid"] in before
            overlaps["other's"] += bool(before - {one["tid"]})
            owner |= dict.fromkeys(pages, one["tid"])
        tids = [one["tid"] for one in mine]
        turns = sum(one != other for one, other in pairwise(tids))
        assert turns > len(mine) / 20, "one thread after the other"
        for tid in set(tids):
            refused = {kind_of(one) for one in mine if one["tid"] == tid and one["answer"]}
            assert refused >= KINDS or len(mine) < CONVERSIONS / 4, refused
        if overlaps:  # where private is accepted
            assert min(overlaps["own"], overlaps["other's"]) > len(mine) / 20, overlaps


def check_states(told: list[Act]) -> None:
    """The VMM's own array is what its conversions make, in the order in which it tells them."""
    pages = {(one["vm"], one["part"]): one for one in of(told, "states")}
    assert len(pages) == 8
    for vm in (0, 1):
        mine = {part: one for (of_vm, part), one in pages.items() if of_vm == vm}
        size = sum(len(one["private"]) for one in mine.values())
        state = ["0"] * size
        for one in of(told, "convert", vm=vm, answer=0):
            first, count = (one["address"] - GUEST_AT) // PAGE, one["length"] // PAGE
            state[first : first + count] = ["1" if one["attributes"] else "0"] * count
        for one in mine.values():
            assert "".join(state[one["first"] :][: len(one["private"])]) == one["private"]
            assert one["taken"] == len(of(told, "convert", vm=vm, answer=0))


def test_scenes_were_played(private_host: Booted) -> None:
    assert not private_host.failed_scenes, "\n".join(private_host.failed_scenes.values())
    assert not {n: said for n, said in private_host.stderrs().items() if "Traceback" in said}


def test_the_kernel_is_what_it_is_built_for(private_host: Booted) -> None:
    [kernel] = of(acts(private_host, "conversions"), "kernel")
    assert kernel["vm_types"] == 0b11, "ordinary and software-protected"
    assert (kernel["gmem"], kernel["attributes"]) == (1, PRIVATE)
    assert not private_host.complaints


@pytest.mark.parametrize(
    ("name", "count"), [("conversions", CONVERSIONS), ("punched", FEW), ("broken", FEW)]
)
def test_conversions_are_answered_as_they_must_be(
    private_host: Booted, name: str, count: int
) -> None:
    told = acts(private_host, name)
    answers = check_answers(told)
    assert sum(answers.values()) == count
    assert set(answers) == {0, EINVAL}
    assert answers[EINVAL] > count / 10
    check_states(told)
    check_kinds(told)
    for vm in (0, 1):
        assert len({one["tid"] for one in of(told, "convert", vm=vm)}) == 2
    [end] = of(told, "end")
    assert private_host.facts(name)["code"] == 0, end


def test_the_guests_read_what_the_kernel_holds(private_host: Booted) -> None:
    """Where the VMM's array says shared, a guest reads the host's mark, and nowhere else."""
    told = acts(private_host, "conversions")
    read = of(told, "guest")
    assert {(one["vm"], one["part"]) for one in read} == {
        (vm, part) for vm in (0, 1) for part in ("both", "mappable")
    }
    for one in read:
        assert one["stopped"] == 0
        [state] = of(told, "states", vm=one["vm"], part=one["part"])
        wanted = {"both": state["private"].replace("0", "S").replace("1", "0")}
        # What is mappable has one copy for both, in which nobody ever stored.
        assert one["read"] == wanted.get(one["part"], "0" * len(state["private"]))


def test_good_vmms_leave_no_second_copy(private_host: Booted) -> None:
    left = {
        name: sum(
            private == there == "1"
            for state in of(acts(private_host, name), "states", part="both")
            for private, there in zip(state["private"], state["populated"], strict=True)
        )
        for name in ("conversions", "punched")
    }
    assert 0 < left["punched"] < left["conversions"]


# ---- what the host touched, and what was recorded of it -----------------------------------------


def touches(told: list[Act]) -> list[Act]:
    return of(told, "touch", way="guest_memfd")


def faults(run: Run, told: list[Act]) -> pd.DataFrame:
    files = {(one["dev"], one["ino"]) for one in of(told, "create", kind="guest_memfd")}
    events = run.events
    mine = pd.Series(zip(events["dev"], events["ino"], strict=True), events.index).isin(files)
    found = events[(events["op"] == "fault") & mine]
    assert isinstance(found, pd.DataFrame)
    return found


def test_nothing_is_lost(private_host: Booted, method: str) -> None:
    assert private_host.is_whole(private_host.run(f"private-{method}"), method)


def test_a_healthy_kernel_refuses_the_host_whatever_the_page_is(
    private_host: Booted, method: str
) -> None:
    """Private and shared is one flag of the whole guest_memfd (7.3): each touch is a SIGBUS."""
    told = acts(private_host, "conversions")
    made = touches(told)
    assert {one["signal"] for one in made} == {SIGBUS}
    assert {one["private"] for one in made} == {0, 1}
    assert len({one["pid"] for one in made}) == 2, "the VMM and its child"
    assert {one["signal"] for one in of(told, "touch", way="memfd")} == {0}
    rows = faults(private_host.run(f"private-{method}"), told)
    assert (rows["answer"] & VM_FAULT_SIGBUS != 0).all()
    seen = Counter(zip(rows["tid"], rows["size_after"], strict=True))
    assert seen == Counter((one["tid"], one["address"]) for one in made)


def test_a_broken_kernel_grants_it(private_host: Booted, method: str) -> None:
    """And each page's first touch by each process is a fault that was answered."""
    told = acts(private_host, "broken")
    made = touches(told)
    assert {one["signal"] for one in made} == {0}
    assert {one["private"] for one in made} == {0, 1}
    rows = faults(private_host.run(f"private-{method}"), told)
    assert (rows["answer"] & VM_FAULT_SIGBUS == 0).all()
    seen = {(pid, at) for pid, at in zip(rows["pid"], rows["size_after"], strict=True)}
    assert seen == {(one["pid"], one["address"]) for one in made}


# ---- files that a live update has frozen -------------------------------------------------------


def calls(run: Run) -> list[Act]:
    return [json.loads(line) for line in run.stdout.splitlines()]


def beside(run: Run) -> list[tuple[Act, dict[Any, Any]]]:
    """Each call with its judged decision: one thread made them, in this order."""
    rows = judged(run.path)
    made = calls(run)
    assert rows["op"].astype(str).tolist() == [call["op"] for call in made]
    return list(zip(made, rows.to_dict("records"), strict=True))


def test_a_frozen_file_is_refused_for_that_reason(private_host: Booted, method: str) -> None:
    run = private_host.run(f"frozen-{method}")
    assert run.code == 0, run.stdout
    both = beside(run)
    reasons: Counter[str] = Counter()
    for call, row in both:
        if call["op"] != "create":
            assert row["answer"] == call["answer"], (call, row)
        assert row["verdict"] != "unexplained", (call, row)
        if call["answer"] == EPERM:
            frozen = bool(row["flags"] & Flag.FROZEN)
            assert frozen, (call, row)
            reasons[str(row["reason"])] += 1
    assert reasons == {"frozen: handed over by a live update": 9, "SHRINK": 1, "GROW": 1}
    busy = [row for call, row in both if call["answer"] == EBUSY]
    assert [(row["reason"], row["writable"]) for row in busy] == [("pages pinned", 0)]


def test_thawed_it_is_as_it_was(private_host: Booted, method: str) -> None:
    both = beside(private_host.run(f"frozen-{method}"))
    last = max(place for place, (call, _) in enumerate(both) if call["answer"] < 0)
    assert [call["answer"] for call, _ in both[last + 1 :]] == [0] * 5
    assert {row["verdict"] for _, row in both[last + 1 :]} == {"allowed"}
    times = [row["time_ns"] for _, row in both]
    assert all(before < after for before, after in pairwise(times))


def test_busy_by_pins_says_so(private_host: Booted, method: str) -> None:
    run = private_host.run(f"pinned-{method}")
    assert run.code == 0, run.stdout
    [(call, row)] = [(call, row) for call, row in beside(run) if call["op"] == "add_seals"]
    assert (call["answer"], row["answer"]) == (EBUSY, EBUSY)
    assert (row["verdict"], row["reason"], row["writable"]) == ("blocked", "pages pinned", 0)


def test_huge_pages_are_no_pins_any_more(private_host: Booted, method: str) -> None:
    """f2b277c4d1c6 in 6.0."""
    assert private_host.facts("huge")["there"]
    [*_, (call, row)] = beside(private_host.run(f"huge-{method}"))
    assert call["allocated"] == HUGE, "it did get a huge page"
    assert (call["answer"], row["answer"], row["verdict"]) == (0, 0, "allowed")


# ---- kernels of Debian's -------------------------------------------------------------------------


def test_stock_kernels_take_back_what_is_shared_and_refuse_private(stock_host: Booted) -> None:
    """The generic flavour has attributes, and no VM without special hardware has any to set."""
    assert not stock_host.failed_scenes, "\n".join(stock_host.failed_scenes.values())
    told = acts(stock_host, "stock")
    answers = check_answers(told)
    check_kinds(told)
    [kernel] = of(told, "kernel")
    if stock_host.name.endswith("-amd64"):
        assert kernel["attributes"] == PRIVATE
        assert set(answers) == {0, EINVAL}
        assert answers[0] > FEW / 5
        for one in of(told, "convert", answer=0):
            assert one["attributes"] == 0
    else:
        assert answers == {ENOTTY: FEW}
    for state in of(told, "states"):
        assert set(state["private"]) == {"0"}
