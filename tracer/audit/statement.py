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
    audit: Audit, policy: Policy, paths: Sequence[str], reports: Sequence[str]
) -> dict[str, Any]:
    """The statement. ``reports``: files that were written of the same audit. UserError."""
    recordings = [_recording(path) for path in paths]
    subjects = [
        {"name": f"{one['name']}/{name}", "digest": {"sha256": file["sha256"]}}
        for one in recordings
        for name, file in one["files"].items()
    ]
    written = {os.path.basename(path): _file(path) for path in reports}
    subjects += [
        {"name": name, "digest": {"sha256": one["sha256"]}} for name, one in written.items()
    ]
    return {
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": PREDICATE,
        "predicate": {
            "tool": audit.tool,
            "policy": {
                "name": policy.name,
                "sha256": policy.sha256,
                "source": policy.source.decode(),
            },
            "recordings": recordings,
            "reports": written,
            "result": data.document(audit),
        },
    }


def _recording(path: str) -> dict[str, Any]:
    with Recording.open(path) as recording:
        hooks = recording.manifest.get("hooks")
        chain = (recording.end or {}).get("chain")
    return {
        "name": os.path.basename(os.path.normpath(path)),
        "chain": chain,
        "hook_plan_sha256": sha256(canonical(hooks)).hexdigest(),
        "files": digests.of_folder(path),
    }


def _file(path: str) -> dict[str, Any]:
    try:
        return digests.of_file(path)
    except OSError as error:
        raise UserError(f"{printable(path)}: {error.strerror or error}") from error


def text(
    audit: Audit, policy: Policy, paths: Sequence[str], reports: Sequence[str], key: str | None
) -> str:
    """The statement as it is written, in a signed envelope if there is a ``key``. UserError."""
    body = statement(audit, policy, paths, reports)
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
