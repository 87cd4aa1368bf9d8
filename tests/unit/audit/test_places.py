"""Who may by the unit, the container or the virtual machine that its cgroup is named after."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.audit.audit_asked import FAIL, NONE, OPEN, RAM, audited, of, said
from tests.unit.audit.audit_story import Story
from tests.unit.cgroup_forms import ID
from tests.unit.named import FORGED, SSH, UNTOLD, VM, WEB
from tests.unit.named import NAMED as GIVEN
from tests.unit.recording.test_places import row
from tests.unit.recording.test_tasks import command
from tests.unit.recording.test_tasks import row as task
from tracer.audit.result import Result
from tracer.record import CGROUP, TASK, USER_CPU
from tracer.recording.tasks import Actor

TORN = 10
NAMED = (*GIVEN, row(TORN, 77, b"ssh.service"))


def recorded(path: Path, cgroup: int, cgroups: Iterable[np.ndarray] = NAMED) -> Path:
    """A process of ``cgroup`` maps a file that another one made."""
    story = Story()
    for one in cgroups:
        copy = one.copy().view(CGROUP)
        story._add(copy, USER_CPU)
    story.create(RAM, cgroup=SSH)
    story.map(RAM, 200, cgroup=cgroup, comm=b"thief")
    return story.write(path / "x.seal")


@pytest.mark.parametrize(
    ("cgroup", "who", "result", "why"),
    [
        (SSH, 'unit = "ssh.service"', OPEN, "assumed: Process 200 (thief) may by unit=ssh.service"),
        (SSH, 'unit = "s*.service"', OPEN, "assumed"),
        (SSH, 'unit = ["x.service", "ssh.service"]', OPEN, "assumed"),
        (SSH, 'unit = "nginx.service"', FAIL, "thief/200 (ssh.service, uid 1000) "),
        (WEB, f'container = "{ID[:12]}*"', OPEN, "assumed"),
        (WEB, 'container = "0*"', FAIL, f"thief/200 (docker {ID[:12]}, uid 1000) "),
        (SSH, 'container = "*"', FAIL, "ssh.service"),
        (VM, 'vm = "bank"', OPEN, "assumed"),
        (VM, 'vm = "bank", uid = 7', FAIL, "thief/200 (vm bank, uid 1000) "),
        (FORGED, f'container = "{ID}"', FAIL, "(open.service, uid 1000)"),
        (UNTOLD, 'unit = "ssh.service"', OPEN, "is not known: what its cgroup is called"),
        (UNTOLD, 'unit = "ssh.service", uid = 7', FAIL, "thief/200 (uid 1000) "),
        (TORN, 'unit = "ssh.service"', OPEN, "is not known: what its cgroup is called"),
    ],
)
def test_who_may_by_a_name(tmp_path: Path, cgroup: int, who: str, result: Result, why: str) -> None:
    claim = f'claim = "mapped-only-by"\nby = ["creator", {{ {who} }}]'
    found = of(recorded(tmp_path, cgroup), claim)
    assert found.result is result, said(found)
    assert why in said(found)


@pytest.mark.parametrize(
    ("cgroup", "who", "result"),
    [
        (VM, 'vm = "bank"', FAIL),
        (VM, 'vm = "other"', NONE),
        (UNTOLD, 'vm = "bank"', OPEN),
        (SSH, 'vm = "bank"', NONE),
    ],
)
def test_memory_of_a_machine_by_its_name(
    tmp_path: Path, cgroup: int, who: str, result: Result
) -> None:
    story = Story()
    for one in NAMED:
        story._add(one.copy().view(CGROUP), USER_CPU)
    story.create(RAM, cgroup=cgroup)
    story.map(RAM, cgroup=cgroup)
    story.memslot(RAM, cgroup=cgroup)
    path = story.write(tmp_path / "x.seal")
    found = of(path, 'claim = "never-mapped"', f'kind = "memfd"\nmemslot = {{ {who} }}')
    assert found.result is result, said(found)


def test_evidence_has_its_place(tmp_path: Path) -> None:
    found = audited(recorded(tmp_path, WEB), 'claim = "mapped-only-by"\nby = ["creator"]')
    [proof] = found.recordings[0].claims[0].findings[0].violations
    assert proof.place == f"docker {ID[:12]}"
    assert proof.cgroup_path == f"/system.slice/docker-{ID}.scope"


def test_without_the_table_evidence_has_none(tmp_path: Path) -> None:
    found = audited(recorded(tmp_path, WEB, ()), 'claim = "mapped-only-by"\nby = ["creator"]')
    [proof] = found.recordings[0].claims[0].findings[0].violations
    assert (proof.place, proof.cgroup_path) == ("", "")
    assert proof.text.startswith("thief/200 (uid 1000) ")


@pytest.mark.parametrize(
    ("exe", "result", "why"),
    [
        (b"/usr/bin/thief", OPEN, "assumed: Process 200 (thief) may by exe=/usr/bin/*"),
        (b"/opt/thief", FAIL, "thief/200"),
        (None, OPEN, "is not known: which program it runs was not recorded"),
    ],
)
def test_by_its_executable_nothing_is_proven(
    tmp_path: Path, exe: bytes | None, result: Result, why: str
) -> None:
    story = Story()
    if exe is not None:
        actor = Actor(200, 5_000_000_001, 3)
        story._add(task(text=exe, actor=actor).copy().view(TASK), USER_CPU)
    story.create(RAM)
    story.map(RAM, 200, comm=b"thief")
    path = story.write(tmp_path / "x.seal")
    claim = 'claim = "mapped-only-by"\nby = ["creator", { exe = "/usr/bin/*" }]'
    found = of(path, claim)
    assert found.result is result, said(found)
    assert why in said(found)
    for finding in audited(path, claim).recordings[0].claims[0].findings:
        assert {proof.exe for proof in finding.violations} <= {(exe or b"").decode()}


def test_what_a_command_line_claims_permits_nothing(tmp_path: Path) -> None:
    actor = Actor(200, 5_000_000_001, 3)
    story = Story()
    for one in NAMED:
        story._add(one.copy().view(CGROUP), USER_CPU)
    for one in (
        task(text=b"/usr/bin/qemu-system-x86_64", actor=actor),
        *command(b"qemu\0-name\0bank\0", actor=actor),
    ):
        story._add(one.copy().view(TASK), USER_CPU)
    story.create(RAM, cgroup=SSH)
    story.map(RAM, 200, cgroup=SSH, comm=b"thief")
    path = story.write(tmp_path / "x.seal")
    found = of(path, 'claim = "mapped-only-by"\nby = ["creator", { vm = "bank" }]')
    assert found.result is FAIL, said(found)
    assert "thief/200 (ssh.service, claims vm bank, uid 1000) " in said(found)
