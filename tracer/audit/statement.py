"""An audit as an in-toto statement (v1): what was audited, by what, and with which result."""

import json
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from tracer.audit import data, digests, dsse
from tracer.audit.policy import Policy
from tracer.audit.results import Audit
from tracer.errors import UserError
from tracer.model.escape import printable
from tracer.store.reader import Recording

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:sealsnoop:audit:1"


def canonical(value: object) -> bytes:
    """JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def statement(
    audit: Audit, policy: Policy, recordings: Sequence[Recording], reports: Mapping[str, bytes]
) -> dict[str, Any]:
    """The statement. ``recordings``: those that were audited, still open; ``reports``: what was
    written of the same audit, by name. UserError."""
    told = [
        _recording(recording, whole=not any(doubt.code == "damage" for doubt in one.doubts))
        for recording, one in zip(recordings, audit.recordings, strict=True)
    ]
    written = {name: digests.of_bytes(content) for name, content in reports.items()}
    return {
        "_type": STATEMENT,
        "subject": subjects(told, written),
        "predicateType": PREDICATE,
        "predicate": {
            "tool": audit.tool,
            "policy": {
                "name": policy.name,
                "sha256": policy.sha256,
                "source": policy.source.decode(),
            },
            "recordings": told,
            "reports": written,
            "result": data.document(audit),
        },
    }


def subjects(
    recordings: Sequence[Mapping[str, Any]], reports: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What a statement with these recordings and reports is about."""
    files = [
        (f"{one.get('name')}/{name}", file)
        for one in recordings
        for name, file in _items(one.get("files"))
    ]
    return [
        {"name": name, "digest": {"sha256": file.get("sha256")}}
        for name, file in [*files, *_items(reports)]
        if isinstance(file, dict)
    ]


def _items(value: object) -> list[tuple[str, Any]]:
    return [*value.items()] if isinstance(value, dict) else []


def _recording(recording: Recording, *, whole: bool) -> dict[str, Any]:
    """``whole``: nothing was wrong with it, so that what lies there must be what was audited."""
    files = digests.of_recording(recording, {})
    for name, said in recording.files.items() if whole else ():
        if files.get(name, {}).get("sha256") != said.sha256:
            raise UserError(
                f"{printable(recording.path)}: {name} was changed while it was audited; "
                "audit a copy that nobody else can write to"
            )
    return {
        "name": os.path.basename(os.path.normpath(recording.path)),
        "chain": recording.chain.digest,
        "hook_plan_sha256": sha256(canonical(recording.manifest.get("hooks"))).hexdigest(),
        "files": files,
    }


def text(
    audit: Audit,
    policy: Policy,
    recordings: Sequence[Recording],
    reports: Mapping[str, bytes],
    key: str | None,
) -> str:
    """The statement as it is written, in a signed envelope if there is a ``key``. UserError."""
    body = statement(audit, policy, recordings, reports)
    if key is None:
        return json.dumps(body, indent=2) + "\n"
    return dsse.text(dsse.sign(canonical(body), dsse.private_key(key)))


def parts(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """Predicate and its recordings. ValueError: not a statement of an audit."""
    if body.get("_type") != STATEMENT or body.get("predicateType") != PREDICATE:
        raise ValueError("not a statement of a sealsnoop audit")
    predicate = body.get("predicate")
    if not isinstance(predicate, dict):
        raise ValueError("it has no predicate")
    recordings = predicate.get("recordings")
    if not isinstance(recordings, list) or not all(isinstance(one, dict) for one in recordings):
        raise ValueError("it names no recordings")
    return predicate, recordings
