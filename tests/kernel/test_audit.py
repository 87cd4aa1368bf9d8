"""Audits of booted kernels: whoever misbehaves is named, nobody passes who was not seen."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.audit_cases import (
    BLINDED,
    FAIL,
    GMEM_GUESTS,
    MEMFD_GUESTS,
    NOTHING,
    OPEN,
    PASS,
    UNTRIED,
    Blinded,
    Guest,
    guests,
    markdown,
)
from tests.kernel.audited import (
    acts,
    audited,
    claims,
    findings,
    pid_of,
    policy_file,
    sealsnoop,
    thing,
)
from tests.kernel.booted import Booted
from tests.kernel.scenes_audit import QEMU

LOST = ("audit-ring", "audit-killed", "audit-blind")
BY_PINS = ("never-pinned-except", "never-read-or-written")


def there(host: Booted, guest: Guest) -> bool:
    """Whether this kernel has such memory; where it has not, that is a fact and no excuse."""
    gmem = bool(host.facts("audits")["gmem"])
    assert gmem is (host.name != "6.1")
    return gmem or not guest.gmem


def ids(one: Any) -> str:
    return str(one.name)


def test_scenes_were_played(audit_host: Booted) -> None:
    assert not audit_host.failed_scenes, "\n".join(audit_host.failed_scenes.values())
    assert not {n: said for n, said in audit_host.stderrs().items() if "Traceback" in said}
    for guest in guests(audit_host.facts("audits")["gmem"]):
        assert audit_host.facts(f"audited-{guest.name}")["code"] == 0
        told = acts(audit_host, guest.name)
        assert told[-1]["act"] == "end"
        refused = [one for one in told if one.get("answer", 0) < 0]
        assert not refused, refused


def test_nothing_is_lost(audit_host: Booted) -> None:
    run = audit_host.run("audit")
    assert run.verified.exit_code == 0
    assert not run.verified.holes
    assert run.end is not None
    assert (run.end["lost"], run.end["in_flight"], run.end["unsaved"]) == ({}, 0, 0)
    assert run.end["baseline"]["start"]["problems"] == []
    assert run.manifest["audit"] is True
    assert run.manifest["filters"]["unsealable"] is True
    assert run.manifest["filters"]["follow_command"] is False


def test_hooks_were_tried(audit_host: Booted) -> None:
    """Each hook reported what the self-test did, and what it did not do is said."""
    manifest = audit_host.run("audit").manifest
    counts = manifest["self_test"]["hooks"]
    live = {one["family"] for one in manifest["hooks"] if one["symbol"] and one["method"]}
    assert live <= {*counts, *UNTRIED}
    for family in live - UNTRIED:
        count = counts[family]
        assert count["expected"] == count["seen"], (family, count)
    tried = {family for family in live if counts.get(family, {}).get("expected")}
    assert live - tried == live & UNTRIED
    [spot] = [
        one
        for one in audited(audit_host.run("audit").path, "only-vmm")["recordings"][0]["blind_spots"]
        if one.startswith("whether these hooks report")
    ]
    assert set(re.findall(r"[a-z_]+", spot.partition("(")[2])) == live & UNTRIED


@pytest.mark.parametrize("guest", [*MEMFD_GUESTS, *GMEM_GUESTS], ids=ids)
def test_guest(audit_host: Booted, guest: Guest) -> None:
    if not there(audit_host, guest):
        return
    run = audit_host.run("audit")
    found = findings(run.path, guest.policy, thing(audit_host, guest.name))
    if not guest.wrong:
        expected = dict.fromkeys(found, PASS) | dict(guest.results or {})
        assert found
        assert {claim: one["result"] for claim, one in found.items()} == expected, found
        return
    for claim in {one.claim for one in guest.wrong}:
        assert found[claim]["result"] == FAIL, found[claim]
        evidence = {(one["pid"], one["op"]) for one in found[claim]["violations"]}
        wanted = {
            (pid_of(audit_host, guest.name, one.who), one.op)
            for one in guest.wrong
            if one.claim == claim
        }
        assert evidence >= wanted, found[claim]
        named = {pid for pid, op in evidence if op != "mapped"}  # the inode's own word
        if guest.gmem:  # what the host is to use, the VMM maps too
            assert named <= {one["pid"] for one in acts(audit_host, guest.name)}, found[claim]
        else:
            assert named == {pid for pid, _ in wanted}, found[claim]


@pytest.mark.parametrize("guest", [*MEMFD_GUESTS, *GMEM_GUESTS], ids=ids)
@pytest.mark.parametrize("recording", LOST)
def test_no_false_pass(audit_host: Booted, guest: Guest, recording: str) -> None:
    """Where evidence was lost, no claim passes as a whole, and none that was broken at all."""
    if not there(audit_host, guest):
        return
    path = audit_host.run(recording).path
    found = audited(path, guest.policy)
    for claim in claims(found):
        if recording != "audit-blind":
            assert not any(one["result"] == PASS for one in claim["findings"]), claim
        assert claim["result"] in (FAIL, OPEN), claim
    if recording != "audit-blind":
        return
    one_by_one = findings(path, guest.policy, thing(audit_host, guest.name))
    for wrong in guest.wrong:
        result = one_by_one[wrong.claim]["result"]
        # Of a mapping from before the trace there is no baseline, but its end is seen.
        assert result == (OPEN if wrong.op == "pin" else FAIL), one_by_one
    if not guest.gmem:  # of confidential guests, too: none of those claims passes without pins
        return
    assert all(one_by_one[claim]["result"] != PASS for claim in BY_PINS)


@pytest.mark.parametrize("case", BLINDED, ids=ids)
def test_lost_evidence_is_no_pass(audit_host: Booted, case: Blinded) -> None:
    found = findings(
        audit_host.folder / f"{case.recording}.seal", "only-vmm", thing(audit_host, case.guest)
    )
    for claim in case.claims:
        assert found[claim]["result"] == OPEN, found[claim]
        # Of what stood before, rows are shown that may be about the VMM itself.
        assert case.guest == "old" or not found[claim]["violations"]
        assert {*case.codes} & {one["code"] for one in found[claim]["doubts"]}, found[claim]


@pytest.mark.parametrize("recording", ["audit-ring", "audit-killed"])
def test_a_violation_is_one_however_much_was_lost(audit_host: Booted, recording: str) -> None:
    path = audit_host.folder / f"{recording}.seal"
    found = findings(path, "only-vmm", thing(audit_host, "second-2"))["mapped-only-by"]
    assert found["result"] == FAIL
    other = pid_of(audit_host, "second-2", "other process")
    assert {one["pid"] for one in found["violations"]} == {other}


def test_recordings_lost_what_they_had_to(audit_host: Booted) -> None:
    ring = audit_host.run("audit-ring")
    assert ring.end is not None
    assert ring.end["lost"]["ring_full"] > 0
    assert audit_host.run("audit-killed").end is None
    steps = {one["family"]: one for one in audit_host.run("audit-blind").manifest["hooks"]}
    assert {steps[name]["method"] for name in ("pin", "pin_fast", "pin_file")} == {None}
    assert steps["map"]["method"]


# ---- the real QEMU ------------------------------------------------------------------------


def _qemu(host: Booted, name: str, policy: str) -> dict[str, Any]:
    facts = host.facts(name)
    return findings(host.run("audit").path, policy, (facts["dev"], facts["ino"]))


def test_qemu(audit_host: Booted) -> None:
    pid = audit_host.facts("qemu")["pid"]
    mapped = _qemu(audit_host, "qemu", "nobody")["never-mapped"]
    assert mapped["result"] == FAIL
    assert {one["pid"] for one in mapped["violations"]} == {pid}
    assert all(one["comm"].startswith("qemu-system") for one in mapped["violations"])
    for policy in ("ordinary-qemu", "only-vmm"):
        found = {claim: one["result"] for claim, one in _qemu(audit_host, "qemu", policy).items()}
        assert found.pop("sealed-with", NOTHING) == NOTHING
        assert set(found.values()) == {PASS}, (policy, _qemu(audit_host, "qemu", policy))


def test_qemu_whose_memory_another_process_maps(audit_host: Booted) -> None:
    intruder = audit_host.facts("qemu-mapped")["intruder"]
    for policy in ("ordinary-qemu", "only-vmm"):
        found = _qemu(audit_host, "qemu-mapped", policy)
        for claim in ("mapped-only-by", "never-writable-outside"):
            assert found[claim]["result"] == FAIL
            assert {one["pid"] for one in found[claim]["violations"]} == {intruder}


@pytest.fixture(scope="module")
def said_of_qemus(audit_host: Booted) -> dict[str, list[dict[str, Any]]]:
    """What is recorded of each machine's process, as `script` has it."""
    done = sealsnoop(
        "script", audit_host.run("audit").path, "--json", "--filter", "comm:qemu-system*"
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    pids = {name: audit_host.facts(name)["pid"] for name in QEMU}
    return {name: [row for row in rows if row["pid"] == pid] for name, pid in pids.items()}


def test_machines_of_qemu_are_told_apart(
    audit_host: Booted, said_of_qemus: dict[str, list[dict[str, Any]]]
) -> None:
    """By KVM's machine and by the memory, which are all called the same; who claims to be another
    one counts as what root calls it."""
    machines: dict[int, str] = {}
    for name, (claimed, called) in QEMU.items():
        rows, facts = said_of_qemus[name], audit_host.facts(name)
        assert {(row["vm_name"], row["vm_claimed"]) for row in rows} == {
            (called, None) if called else (None, claimed)
        }
        slots = [row for row in rows if row["op"] == "memslot"]
        [machine] = {row["vm"] for row in slots}
        assert machine not in machines
        machines[machine] = name
        memory = {(row["dev"], row["ino"]) for row in slots if row["ino"]}
        assert memory == {(facts["dev"], facts["ino"])}
        assert {row["name"] for row in slots if row["ino"]} == {"memfd:memory-backend-memfd"}
        mapped = _qemu(audit_host, name, "nobody")["never-mapped"]["violations"]
        [place] = {one["place"] for one in mapped if one["pid"] == facts["pid"]}
        assert place.endswith(f"vm {called}" if called else f"claims vm {claimed}")
        assert ("claims" in place) is not bool(called)


@pytest.mark.parametrize(
    ("name", "vmm", "results"),
    [
        ("qemu", "pid = {pid}", {PASS}),
        ("qemu-mapped", "pid = {pid}", {FAIL}),
        ("qemu-named", 'vm = "bank"', {PASS}),
        ("", 'vm = "a"', set()),  # nobody but themselves calls them so
    ],
)
def test_a_policy_for_one_machine_judges_no_other(
    audit_host: Booted, tmp_path: Path, name: str, vmm: str, results: set[str]
) -> None:
    facts = audit_host.facts(name) if name else {}
    policy = tmp_path / "one.toml"
    policy.write_text(
        f"""
        name = "one"
        text = "One machine's memory."
        format = 1
        [scope]
        kind = "memfd"
        memslot = {{ {vmm.format_map(facts)} }}
        [[claim]]
        claim = "mapped-only-by"
        by = ["vmm"]
        """
    )
    done = sealsnoop("audit", policy, audit_host.run("audit").path, "--json")
    [claim] = json.loads(done.stdout)["recordings"][0]["claims"]
    judged = [one for one in claim["findings"] if one["result"] != NOTHING]
    assert {one["result"] for one in judged} == results, done.stdout
    objects = {(one["object"]["dev"], one["object"]["ino"]) for one in judged}
    assert objects == ({(facts["dev"], facts["ino"])} if name else set())
    broken = [one["pid"] for finding in judged for one in finding["violations"]]
    assert set(broken) == ({facts["intruder"]} if results == {FAIL} else set())


# ---- the command --------------------------------------------------------------------------


def test_the_verb_in_the_guest(audit_host: Booted) -> None:
    """It said there what anybody finds out here, and its statement holds."""
    told = audit_host.told("audit")
    assert told.code == 2
    there, here = json.loads(told.stdout), audited(audit_host.run("audit").path, "only-vmm")
    assert there["exit_code"] == 2
    for name in ("result", "policy_sha256"):
        assert there[name] == here[name]
    assert there["recordings"][0]["claims"] == here["recordings"][0]["claims"]
    folder = audit_host.folder
    done = sealsnoop(
        "verify", folder / "audit.statement.json", "--recording", folder / "audit.seal",
        "--policy", policy_file("only-vmm"), "--report", folder / "audit.html",
        "--report", folder / "audit.sarif",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("recording", "guest", "code"),
    [("audit", "good", 0), ("audit", "second", 2), ("audit-killed", "good-2", 3),
     ("audit-ring", "second-2", 2), ("audit", "nobody-has-this", 4)],
)  # fmt: skip
def test_exit_codes(
    audit_host: Booted, tmp_path: Path, recording: str, guest: str, code: int
) -> None:
    """Of an audit of this guest alone."""
    text = policy_file("only-vmm").read_text()
    narrow = re.sub(
        r"^memslot = true$", f'memslot = true\nname = "guest-{guest}"', text, flags=re.M
    )
    policy = tmp_path / "policy.toml"
    policy.write_text(narrow)
    path = audit_host.folder / f"{recording}.seal"
    done = sealsnoop("audit", policy, path)
    assert done.returncode == code, done.stdout + done.stderr
    policy.write_text(narrow.replace("kind", "kinds"))
    assert sealsnoop("audit", policy, path).returncode == 1


def test_table(audit_host: Booted, pytestconfig: pytest.Config) -> None:
    """Prints what each claim said of each guest: all of it, not only what was expected."""
    rows = []
    for guest in guests(audit_host.facts("audits")["gmem"]):
        for recording in ("audit", "audit-blind"):
            found = findings(
                audit_host.folder / f"{recording}.seal", guest.policy,
                thing(audit_host, guest.name),
            )  # fmt: skip
            said = ", ".join(f"{claim} {one['result']}" for claim, one in found.items())
            rows.append((guest.name, audit_host.name, recording, said))
    assert rows
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert capture
    with capture.global_and_fixture_disabled():
        print(*["", *markdown(("guest", "kernel", "recording", "results"), rows)], sep="\n")
