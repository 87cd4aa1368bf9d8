"""An audit as SARIF 2.1.0 (OASIS), which code-scanning services and editors show.

A violation is a result of kind ``fail``; an open question is of kind ``open``, so that nobody takes
its absence for a pass.
"""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import quote

from tracer.audit import result as sentences
from tracer.audit.policy import CLAIMS
from tracer.audit.result import Audit, ClaimResult, Proof, RecordingAudit, Result

_KINDS = {
    Result.FAIL: ("fail", "error"),
    Result.INDETERMINATE: ("open", "none"),
    Result.PASS: ("pass", "none"),
    Result.NOT_APPLICABLE: ("notApplicable", "none"),
}
"""``kind`` and ``level``; level is "none" for every kind but fail (SARIF 2.1.0, 3.27.10)."""


def document(audit: Audit) -> dict[str, Any]:
    """One run per recording, one more for those that could not be read."""
    runs = [_run(audit, one) for one in audit.recordings]
    return {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/"
        "sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [*runs, _unread(audit)] if audit.unread else runs,
    }


def text(audit: Audit) -> str:
    """The document as text."""
    return json.dumps(document(audit), indent=2) + "\n"


def _run(audit: Audit, one: RecordingAudit) -> dict[str, Any]:
    name, _, version = audit.tool.partition(" ")
    rules = {claim.id: claim for claim in one.claims}
    notes = [
        *(doubt.text for doubt in one.doubts),
        *sentences.left(one),
        *(f"blind spot: {spot}" for spot in one.blind_spots),
    ]
    return {
        "tool": {
            "driver": {
                "name": name,
                "version": version,
                "rules": [
                    {
                        "id": claim.id,
                        "name": claim.claim,
                        "shortDescription": {"text": claim.text},
                        "fullDescription": {"text": CLAIMS[claim.claim].text},
                    }
                    for claim in rules.values()
                ],
            }
        },
        "invocations": [
            {
                "executionSuccessful": True,
                "exitCode": audit.result.exit_code,
                "toolExecutionNotifications": [
                    {"level": "note", "message": {"text": note}} for note in notes
                ],
            }
        ],
        "properties": {
            "policy": audit.policy,
            "policySha256": audit.policy_sha256,
            "bootId": one.boot_id,
            "result": one.result.value,
        },
        "results": [
            result
            for index, claim in enumerate(rules.values())
            for result in _results(claim, index, one)
        ],
    }


def _unread(audit: Audit) -> dict[str, Any]:
    name, _, version = audit.tool.partition(" ")
    return {
        "tool": {"driver": {"name": name, "version": version}},
        "invocations": [
            {
                "executionSuccessful": False,
                "exitCode": audit.result.exit_code,
                "toolExecutionNotifications": [
                    {"level": "error", "message": {"text": f"not read: {one.path}: {one.problem}"}}
                    for one in audit.unread
                ],
            }
        ],
        "results": [],
    }


def _results(claim: ClaimResult, index: int, one: RecordingAudit) -> Iterator[dict[str, Any]]:
    """A result for each finding, and one for what touches the claim as a whole."""
    for finding in claim.findings:
        file, name = finding.object, sentences.named(finding.object)
        lines = [name, *islice(sentences.evidence(finding, one.window, local=False), 10)]
        lines += [doubt.text for doubt in finding.doubts]
        first = next(iter(finding.violations), None)
        id_ = f"{claim.id}:{one.boot_id}:{file.dev}:{file.ino}:{file.gen}"
        yield {
            **_result(claim, index, finding.result, "\n".join(lines), _location(one, first, name)),
            "partialFingerprints": {"claimObject/v1": id_},
        }
    if claim.doubts or not claim.findings:
        text = " ".join(doubt.text for doubt in claim.doubts) or "Nothing is in scope."
        result = Result.INDETERMINATE if claim.doubts else Result.NOT_APPLICABLE
        yield _result(claim, index, result, text, _location(one, None, one.path))


def _result(
    claim: ClaimResult, index: int, result: Result, text: str, location: dict[str, Any]
) -> dict[str, Any]:
    kind, level = _KINDS[result]
    return {
        "ruleId": claim.id,
        "ruleIndex": index,
        "kind": kind,
        "level": level,
        "message": {"text": text},
        "locations": [location],
    }


def _location(one: RecordingAudit, proof: Proof | None, name: str) -> dict[str, Any]:
    path = one.path if proof is None else f"{one.path}/{proof.table}"
    found: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": quote(path)}},
        "logicalLocations": [{"name": name, "kind": "resource"}],
    }
    if proof is not None:
        found["properties"] = {"cpu": proof.cpu, "seq": proof.seq, "timeNs": proof.time_ns,
                               "pid": proof.pid}  # fmt: skip
    return found
