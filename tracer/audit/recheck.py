"""Checks an audit's statement again: signature, digests, the recording itself, and the result."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from tracer import __version__
from tracer.audit import data, digests, dsse, policy, statement
from tracer.audit.evaluate import audit
from tracer.errors import UserError
from tracer.model.escape import printable
from tracer.store.reader import Recording
from tracer.store.verify import check

_MOST_BYTES = 1 << 26
_SHOWN = 30
_ELSEWHERE = frozenset({"path", "tool"})
"""What is another on another machine."""


@dataclass
class Recheck:
    """What was found; ``wrong`` is empty for a statement that holds."""

    path: str
    signed: str = "not signed"
    result: str = ""
    right: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    """What was not looked at, since it was not given."""

    @property
    def exit_code(self) -> int:
        """0: what could be checked holds. 2: something does not."""
        return 2 if self.wrong else 0

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps({"ok": not self.wrong, **self.__dict__}, indent=2)

    def lines(self) -> list[str]:
        """The same for people."""
        state = "DOES NOT HOLD" if self.wrong else "holds"
        lines = [f"{printable(self.path)}: {state}", f"  result stated: {self.result or 'none'}"]
        lines += [f"  wrong: {said}" for said in self.wrong[:_SHOWN]]
        if len(self.wrong) > _SHOWN:
            lines.append(f"  and {len(self.wrong) - _SHOWN} more (--json)")
        lines += [f"  right: {said}" for said in self.right]
        return lines + [f"  not checked: {said}" for said in self.unchecked]


def recheck(
    path: str, key: str | None, recordings: Sequence[str], policy_path: str | None,
    reports: Sequence[str] = (),
) -> Recheck:  # fmt: skip
    """Everything about the statement at ``path`` that can be checked. UserError: unreadable."""
    found = Recheck(path)
    body = _body(_read(path), key, found)
    try:
        predicate, listed = statement.parts(body)
    except ValueError as error:
        raise UserError(f"{printable(path)}: {error}") from None
    result = predicate.get("result")
    stated = result if isinstance(result, dict) else {}
    found.result = printable(str(stated.get("result", "")))
    about = body.get("subject")
    if about != statement.subjects(listed, _dict(predicate.get("reports"))):
        found.wrong.append("its subject is not what it tells of: other names or digests.")
    _policy(predicate, policy_path, found)
    _reports(predicate, reports, found)
    _recordings(predicate, listed, recordings, stated, found)
    return found


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _read(path: str) -> object:
    try:
        with open(path, "rb") as file:
            text = file.read(_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise UserError(f"{printable(path)}: longer than any statement")
        return json.loads(text)
    except OSError as error:
        raise UserError(f"{printable(path)}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{printable(path)}: not JSON: {printable(str(error))}") from None


def _body(raw: object, key: str | None, found: Recheck) -> Mapping[str, Any]:
    if isinstance(raw, dict) and "payloadType" in raw:
        try:
            payload, signatures = dsse.payload_of(raw)
            body = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{printable(found.path)}: {printable(str(error))}") from None
        if key is None:
            found.signed = "signed, not checked"
            found.unchecked.append("the signature (give --key PUB)")
        elif dsse.signed_by(payload, signatures, dsse.public_key(key)):
            found.signed = "signed"
            found.right.append(f"the signature is of {printable(key)}")
        else:
            found.signed = "wrong signature"
            found.wrong.append(
                "the signature: the statement was changed, or somebody else signed it."
            )
    else:
        body = raw
        if key is not None:
            dsse.public_key(key)
            found.wrong.append("there is no signature.")
        else:
            found.unchecked.append("who made it: it is not signed")
    if not isinstance(body, dict):
        raise UserError(f"{printable(found.path)}: not a statement of a sealsnoop audit")
    return body


def _policy(predicate: Mapping[str, Any], path: str | None, found: Recheck) -> None:
    said = predicate.get("policy")
    stated = said if isinstance(said, dict) else {}
    source = str(stated.get("source", "")).encode("utf-8", "surrogatepass")
    if sha256(source).hexdigest() != stated.get("sha256"):
        found.wrong.append("the policy in the statement is not the one of its digest.")
    if path is None:
        return
    given = policy.load(path)
    if given.sha256 == stated.get("sha256"):
        found.right.append(f"the policy is {printable(path)}")
        return
    found.wrong += [
        f"the policy is another: {said}"
        for said in _text_differences(source, given.source, printable(path))
    ]


def _text_differences(then: bytes, now: bytes, name: str) -> Iterator[str]:
    """The bytes between the first and the last that differ."""
    first = next((i for i, (a, b) in enumerate(zip(then, now, strict=False)) if a != b),
                 min(len(then), len(now)))  # fmt: skip
    same = 0
    most = min(len(then), len(now)) - first
    while same < most and then[-1 - same] == now[-1 - same]:
        same += 1
    yield f"{name}: bytes {first} to {max(first, len(now) - same - 1)} differ."


def _reports(predicate: Mapping[str, Any], paths: Sequence[str], found: Recheck) -> None:
    said = predicate.get("reports")
    stated = said if isinstance(said, dict) else {}
    given = {os.path.basename(path): path for path in paths}
    for name, path in given.items():
        if not isinstance(stated.get(name), dict):
            found.wrong.append(f"{printable(path)}: the statement names no such report.")
            continue
        try:
            with open(path, "rb") as file:
                now = digests.of_bytes(file.read(digests.REPORT_BYTES))
        except OSError as error:
            raise UserError(f"{printable(path)}: {error.strerror or error}") from error
        wrong = list(digests.differences(stated[name], now, printable(path)))
        found.wrong += wrong
        found.right += [] if wrong else [f"{printable(path)} is the report of this audit"]
    found.unchecked += [
        f"the report {printable(str(name))} (give --report)" for name in stated if name not in given
    ]


def _recordings(
    predicate: Mapping[str, Any],
    listed: Sequence[Mapping[str, Any]],
    paths: Sequence[str],
    stated: Mapping[str, Any],
    found: Recheck,
) -> None:
    if not paths:
        found.unchecked.append("recording and result (give --recording)")
        return
    if len(paths) != len(listed):
        raise UserError(
            f"the statement is about {len(listed)} recordings, and {len(paths)} are given: give "
            "--recording for each, in the order "
            + ", ".join(printable(str(one.get("name"))) for one in listed)
        )
    with ExitStack() as stack:
        opened = [stack.enter_context(Recording.open(path)) for path in paths]
        for recording, one in zip(opened, listed, strict=True):
            _recording(recording, one, found)
        _recomputed(predicate, opened, stated, found)


def _recording(recording: Recording, stated: Mapping[str, Any], found: Recheck) -> None:
    """Digests, then what the recording says of itself: chain and sequence holes.

    What is read later is what the chain's digest vouches for, whatever becomes of the files.
    """
    shown = printable(recording.path)
    then = _dict(stated.get("files"))
    now = digests.of_recording(recording, then)
    wrong = list(digests.all_differences(then, now))
    found.wrong += [f"{shown}: {said}" for said in wrong]
    report = check(recording)
    found.wrong += [f"{shown}: {printable(said)}" for said in report.damage]
    if recording.chain.digest != stated.get("chain"):
        found.wrong.append(f"{shown}: the digest of its chain is another.")
    elif not wrong:
        found.right.append(f"{shown}: all {len(then)} files are as they were")
    if report.unexplained:
        missing = f"{report.unexplained} sequence numbers are missing that nobody declared lost."
        found.wrong.append(f"{shown}: {missing}")
    hooks = recording.manifest.get("hooks")
    if sha256(statement.canonical(hooks)).hexdigest() != stated.get("hook_plan_sha256"):
        found.wrong.append(f"{shown}: the hook plan is another.")


def _recomputed(
    predicate: Mapping[str, Any],
    opened: Sequence[Recording],
    stated: Mapping[str, Any],
    found: Recheck,
) -> None:
    said = predicate.get("policy")
    source = said.get("source") if isinstance(said, dict) else None
    rules = policy.parse(str(source).encode("utf-8", "surrogatepass"), "the statement's policy")
    tool = f"sealsnoop {__version__}"
    again = data.document(audit(rules, opened, tool))
    if predicate.get("tool") != tool:
        found.unchecked.append(f"that {tool} judges as {printable(str(predicate.get('tool')))} did")
    different = list(_differences(stated, json.loads(json.dumps(again)), "result"))
    found.wrong += different
    if not different:
        found.right.append(f"the result, computed again: {again['result']}")


def _differences(then: Any, now: Any, at: str) -> Iterator[str]:
    """Where two JSON values differ, as paths."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted({*then, *now}):
            if key not in _ELSEWHERE:
                yield from _differences(then.get(key), now.get(key), f"{at}.{printable(key)}")
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for place, (a, b) in enumerate(zip(then, now, strict=True)):
            yield from _differences(a, b, f"{at}[{place}]")
    elif then != now:
        yield f"{at}: the statement says {_short(then)}, computed again it is {_short(now)}."


def _short(value: Any) -> str:
    said = printable(json.dumps(value))
    return said if len(said) <= 80 else f"{said[:77]}..."
