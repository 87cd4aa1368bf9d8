"""Thieves in booted kernels: each is named or doubted, no ready policy passes; others pass."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.attack_cases import (
    ATTACKER,
    ATTACKS,
    BY_MANAGER,
    MAPPED,
    NRW,
    ONLY_VMM,
    PINNED,
    QEMU,
    SEALED,
    SHOWN,
    TWINS,
    Attack,
    Broken,
    Twin,
)
from tests.kernel.audit_cases import FAIL, OPEN, PASS
from tests.kernel.audited import Json, Object, audited, claims, sealsnoop
from tests.kernel.booted import Booted
from tests.kernel.scenes_attacks import LATE, attack_log
from tracer.recording.reader import Recording


def ids(one: Any) -> str:
    return str(one.name)


def acts(host: Booted, name: str) -> list[Json]:
    text = attack_log(host.folder, name).read_text()
    return [json.loads(line) for line in text.splitlines()]


def victim(host: Booted, name: str) -> Object:
    told = next(one for one in acts(host, name) if one["ino"])
    return told["dev"], told["ino"]


def pids(host: Booted, name: str, who: str) -> set[int]:
    return {one["pid"] for one in acts(host, name) if one["who"] == who}


@cache
def _found(path: Path, policy: str) -> dict[Object, dict[str, Json]]:
    """``{object: {claim: finding}}``; the doubts are those of this object alone."""
    found: dict[Object, dict[str, Json]] = {}
    for claim in claims(audited(path, policy)):
        for one in claim["findings"]:
            key = one["object"]["dev"], one["object"]["ino"]
            found.setdefault(key, {})[claim["id"]] = one
    return found


def findings(host: Booted, name: str, policy: str, recording: str = "attacks") -> dict[str, Json]:
    return _found(host.run(recording).path, policy).get(victim(host, name), {})


def test_scenes_were_played(audit_host: Booted) -> None:
    assert not audit_host.failed_scenes, "\n".join(audit_host.failed_scenes.values())
    names = [*(one.name for one in (*ATTACKS, *TWINS)), *SHOWN, BY_MANAGER]
    late = ["late-refused", *(["late"] if "late_kvm" in audit_host.scenes else [])]
    for name in [*names, *(f"{one}-{run}" for one in LATE for run in late)]:
        assert audit_host.facts(f"attack-{name}")["code"] == 0, name


@pytest.mark.parametrize("attack", ATTACKS, ids=ids)
def test_attack_went_well(audit_host: Booted, attack: Attack) -> None:
    """By the thief's own word: he got the text, or the VMM has his."""
    told = acts(audit_host, attack.name)
    absent = [one for one in told if one["act"] == "absent"]
    assert bool(absent) is (audit_host.name not in attack.kernels), absent
    if absent:
        return
    assert not [one for one in told if one["answer"] < 0 and one["act"] != "map"], told
    if attack.proof:
        who, text = attack.proof
        assert [one for one in told if one["who"] == who and one["got"].startswith(text)], told


def _holds(host: Booted, attack: Attack, broken: Broken) -> str | None:
    """None if this was found; else what was said."""
    found = findings(host, attack.name, broken.policy).get(broken.claim)
    if not found:
        return f"{broken}: nothing is said of it"
    if broken.codes:
        codes = {one["code"] for one in found["doubts"]}
        well = found["result"] == OPEN and codes & {*broken.codes}
    else:
        named = {one["pid"] for one in found["violations"] if broken.op in ("", one["op"])}
        well = found["result"] == FAIL and named & pids(host, attack.name, broken.who)
    return None if well else f"{broken}: {found}"


@pytest.mark.parametrize("attack", ATTACKS, ids=ids)
def test_attack_is_found(audit_host: Booted, attack: Attack) -> None:
    if audit_host.name not in attack.kernels:
        return
    wrong = [said for one in attack.broken if (said := _holds(audit_host, attack, one))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("attack", ATTACKS, ids=ids)
def test_no_ready_policy_passes(audit_host: Booted, attack: Attack) -> None:
    if audit_host.name not in attack.kernels:
        return
    for policy in attack.policies:
        found = findings(audit_host, attack.name, policy)
        assert {one["result"] for one in found.values()} & {FAIL, OPEN}, (policy, found)


@pytest.mark.parametrize("attack", ATTACKS, ids=ids)
def test_nobody_else_is_named(audit_host: Booted, attack: Attack) -> None:
    """A violation names a thief, and a VMM only where it is the one who is to be found."""
    if audit_host.name not in attack.kernels:
        return
    who = {one.who for one in attack.broken} | {ATTACKER, "backend"}
    may = set().union(*(pids(audit_host, attack.name, one) for one in who))
    pinned = PINNED if attack.name.startswith("ring-") else ""  # the VMM does so, and may not
    for claim, found in findings(audit_host, attack.name, ONLY_VMM).items():
        named = {one["pid"] for one in found["violations"]}
        assert claim == pinned or named <= may, found


def test_no_doubt_is_about_others(audit_host: Booted) -> None:
    """What makes a claim about one victim indeterminate touches no other one, and what others do
    who have nothing to do with guests touches none."""
    for policy in (ONLY_VMM, QEMU):
        for recording in audited(audit_host.run("attacks").path, policy)["recordings"]:
            assert recording["doubts"] == []
            assert [one["doubts"] for one in recording["claims"] if one["doubts"]] == []


# ---- who behaves well ---------------------------------------------------------------------


@pytest.mark.parametrize("twin", [one for one in TWINS if one.victim], ids=ids)
def test_twin_passes(audit_host: Booted, twin: Twin) -> None:
    objects = {(one["dev"], one["ino"]) for one in acts(audit_host, twin.name) if one["ino"]}
    for policy, but in twin.results.items():
        all_ = _found(audit_host.run("attacks").path, policy)
        for one in objects:
            expected = dict.fromkeys(all_[one], PASS) | dict(but)
            assert {claim: said["result"] for claim, said in all_[one].items()} == expected, all_[
                one
            ]


def test_a_handover_that_the_policy_allows(audit_host: Booted) -> None:
    """And only one: who starts a virtual machine over the memory otherwise is a thief."""
    given = findings(audit_host, "handover", "handed-over")
    assert {one["result"] for one in given.values()} == {PASS}, given
    taken = findings(audit_host, "kvm-thief", "handed-over")
    assert {one["result"] for one in taken.values()} <= {FAIL, OPEN}, taken
    assert taken[MAPPED]["result"] == FAIL, taken


def test_a_vmm_that_was_given_its_memory(audit_host: Booted) -> None:
    """What the one did who made it is a violation; that the VMM has it is none."""
    found = findings(audit_host, BY_MANAGER, ONLY_VMM)
    assert {found[claim]["result"] for claim in (MAPPED, PINNED, SEALED)} == {PASS}, found
    named = {one["pid"] for one in found[NRW]["violations"]}
    assert named == pids(audit_host, BY_MANAGER, "manager"), found[NRW]


# ---- what rows say ------------------------------------------------------------------------


def test_each_memslot_has_its_own_guest_memfd(audit_host: Booted) -> None:
    """Not the one that lies at the number when the call returns."""
    told = acts(audit_host, "slot-race")
    truth = [one["ino"] for one in told if one["act"] == "slot"]
    if audit_host.name == "6.1":
        assert told[-1]["act"] == "absent"
        return
    assert len(set(truth)) == 2
    with Recording.open(audit_host.run("attacks").path) as recording:
        rows = recording.frame("events")
    rows = rows[(rows["op"].astype(str) == "memslot") & (rows["pid"] == told[0]["pid"])]
    rows = rows[(rows["check_answer"] == 1) & (rows["answer"] == 0) & (rows["length"] > 0)]
    assert rows["ino"].tolist() == truth


def test_a_holder_is_the_program_that_held(audit_host: Booted) -> None:
    own = {one["ino"]: one["pid"] for one in acts(audit_host, "holders") if one["act"] == "seal"}
    assert len(own) == 6
    done = sealsnoop("report", "--json", audit_host.run("attacks").path)
    busy = [one for one in json.loads(done.stdout)["busy"] if one["ino"] in own]
    named = {one["ino"]: one["holders"].rpartition("/")[2] for one in busy}
    assert named == {ino: str(pid) for ino, pid in own.items()}


def test_a_refused_access_is_not_merged_with_granted_ones(audit_host: Booted) -> None:
    told = {one["act"]: one for one in acts(audit_host, "one-bus-error")}
    [thief] = pids(audit_host, "one-bus-error", ATTACKER)
    found = findings(audit_host, "one-bus-error", "only-creator")[NRW]
    faults = [one for one in found["violations"] if (one["pid"], one["op"]) == (thief, "fault")]
    assert told["refused"]["answer"] == 1  # it came first, and is no violation
    assert sum(one["count"] for one in faults) == told["granted"]["answer"]


# ---- KVM that comes while audit records -----------------------------------------------------


def _not_hooked(found: Json) -> None:
    """Each claim may have missed a virtual machine, and with it what is in its scope."""
    for claim in claims(found):
        assert claim["result"] in (FAIL, OPEN), claim
        assert not [one for one in claim["findings"] if one["result"] == PASS], claim
        assert "not-hooked" in {one["code"] for one in claim["doubts"]}, claim


@pytest.mark.at_length
def test_kvm_that_comes_late(audit_host: Booted) -> None:
    """It is hooked a moment later: nothing is sure, but a thief is named."""
    for policy in (ONLY_VMM, QEMU):
        _not_hooked(audited(audit_host.run("late").path, policy))
        thief = findings(audit_host, "fd-thief-late", policy, "late")[MAPPED]
        assert thief["result"] == FAIL
        named = {one["pid"] for one in thief["violations"]}
        assert named == pids(audit_host, "fd-thief-late", ATTACKER)


def test_kvm_that_comes_late_and_cannot_be_hooked(audit_host: Booted) -> None:
    """Whose memory backs a guest is not known from then on."""
    for policy in (ONLY_VMM, QEMU):
        _not_hooked(audited(audit_host.run("late-refused").path, policy))
