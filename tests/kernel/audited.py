"""What audits on the host say of recordings from the guest, object by object."""

import json
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.kernel.audit_cases import OTHER
from tests.kernel.booted import SEALSNOOP, Booted
from tests.kernel.guest_tools import PROJECT
from tests.kernel.scenes_audit import vmm_log
from tracer.audit import policy as policies
from tracer.audit.evaluate import audit
from tracer.output.audit import document
from tracer.recording.reader import Recording

Json = dict[str, Any]
_FOLDERS = (PROJECT / "samples" / "policies", PROJECT / "tests" / "kernel" / "policies")
Object = tuple[int, int]
"""Device and inode number."""


def policy_file(name: str) -> Path:
    """A ready policy, or one of the tests."""
    return next(path for folder in _FOLDERS if (path := folder / f"{name}.toml").exists())


@cache
def audited(recording: Path, policy: str) -> Json:
    """The whole audit as JSON has it."""
    found = policies.load(str(policy_file(policy)))
    with Recording.open(recording) as one:
        return json.loads(json.dumps(document(audit(found, [one], "sealsnoop test"))))  # type: ignore[no-any-return]


def claims(found: Json) -> Iterator[Json]:
    for recording in found["recordings"]:
        yield from recording["claims"]


def findings(recording: Path, policy: str, thing: Object) -> dict[str, Json]:
    """``{claim id: finding}`` of one object; the doubts of the claim itself are among its own."""
    found = {}
    for claim in claims(audited(recording, policy)):
        for one in claim["findings"]:
            if (one["object"]["dev"], one["object"]["ino"]) == thing:
                assert claim["id"] not in found, "two objects have one inode number"
                found[claim["id"]] = {**one, "doubts": [*one["doubts"], *claim["doubts"]]}
    return found


def acts(host: Booted, guest: str) -> list[Json]:
    """What the guest says that it did."""
    return [json.loads(line) for line in vmm_log(host.folder, guest).read_text().splitlines()]


def thing(host: Booted, guest: str) -> Object:
    """The guest's memory; of --secret, its secret memory is another."""
    told = next(one for one in acts(host, guest) if "ino" in one)
    return told["dev"], told["ino"]


def pid_of(host: Booted, guest: str, who: str) -> int:
    """The VMM's, or that of the other process."""
    told = acts(host, guest)
    vmm: int = told[-1]["pid"]
    if who != OTHER:
        return vmm
    [other] = {int(one["pid"]) for one in told} - {vmm}
    return other


def sealsnoop(*words: str | Path) -> "subprocess.CompletedProcess[str]":
    """The command itself, on this host."""
    return subprocess.run([SEALSNOOP, *words], capture_output=True, text=True, check=False)
