"""Signed statements about audits: how they are made, and how they are checked again.

An in-toto statement (v1) says what was audited, by which program, and with which result. Its
envelope is DSSE 1.0 (Dead Simple Signing Envelope) with Ed25519 signatures. Each file has digests
in blocks, so that a check can say which bytes changed.
"""

import base64
import binascii
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby
from typing import TYPE_CHECKING, Any

from tracer import __version__
from tracer.audit import policy as policies
from tracer.audit.evaluate import audit as audit_of
from tracer.audit.policy import Policy
from tracer.audit.result import Audit
from tracer.errors import Exit, UserError
from tracer.escape import printable
from tracer.output.audit import document
from tracer.recording.chain import CHAIN, MANIFEST
from tracer.recording.errors import from_os
from tracer.recording.folder import LOCK, Folder
from tracer.recording.format import CHAIN_BYTES
from tracer.recording.reader import Recording
from tracer.recording.verify import check

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:sealsnoop:audit:1"
TYPE = "application/vnd.in-toto+json"
_KEY_BYTES = 1 << 20
_STATEMENT_BYTES = 1 << 26
_REPORT_BYTES = 1 << 28


def _read(path: str, most: int, option: str = "") -> bytes:
    """At most ``most`` bytes of a file. UserError: it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{option}{printable(path)}: {reason}") from error


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


# ---- digests in blocks --------------------------------------------------------------------------

_BLOCKS = 256
_LEAST = 4096
_OF_ALL = 1 << 16
"""Blocks of all files of a recording, as far as each has more than one."""


def block_size(size: int, blocks: int = _BLOCKS) -> int:
    """Bytes of a block: a power of two, so that a file has at most ``blocks`` of them."""
    block = _LEAST
    while block * blocks < size:
        block *= 2
    return block


def of_bytes(data: bytes, block: int | None = None) -> dict[str, Any]:
    """Size, sha256 of all, and of each block."""
    block = block or block_size(len(data))
    view = memoryview(data)
    blocks = [sha256(view[at : at + block]).hexdigest() for at in range(0, len(data), block)]
    digest = sha256(data).hexdigest()
    return {"bytes": len(data), "sha256": digest, "block": block, "blocks": blocks}


def of_recording(recording: Recording, then: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Each file of a recording by its path inside; in the blocks that ``then`` has for it.

    Of its manifest the bytes that were read when it was opened. UserError: one cannot be read.
    """
    found = {}
    try:
        names = sorted(_files(recording.folder))
        blocks = max(1, min(_BLOCKS, _OF_ALL // max(1, len(names))))
        for name in names:
            data = recording.folder.contents(name, CHAIN_BYTES)
            if name == MANIFEST:
                data = recording.manifest_bytes
            if name == CHAIN and recording.chain.end is not None:
                data = data[: recording.chain.size]
            found[name] = of_bytes(data, _block(then.get(name), len(data), blocks))
    except OSError as error:
        raise from_os(error, f"reading {printable(recording.path)}") from error
    return found


def _block(then: object, size: int, blocks: int) -> int:
    """The block size that was stated, if it is one that we state."""
    stated = _dict(then).get("block")
    if type(stated) is int and stated >= _LEAST and stated * _BLOCKS >= size:
        return stated
    return block_size(size, blocks)


def _files(folder: Folder, inside: str = "") -> Iterator[str]:
    """A recording's lock file is empty and says nothing; deeper than tables there is nothing."""
    for name in folder.names():
        mode = folder.mode(name)
        if stat.S_ISDIR(mode) and not inside:
            with folder.sub(name) as sub:
                yield from _files(sub, f"{name}/")
        elif stat.S_ISREG(mode) and name != LOCK:
            yield f"{inside}{name}"


def differences(then: Mapping[str, Any], now: Mapping[str, Any], name: str) -> Iterator[str]:
    """What of a file is not what it was, in sentences with byte ranges; none only if all is."""
    if then == now:
        return
    if then.get("sha256") == now["sha256"]:
        yield f"{name}: what is stated of its size or blocks is wrong."
        return
    if then.get("bytes") != now["bytes"]:
        was = then.get("bytes") if type(then.get("bytes")) is int else "no number"
        yield f"{name} is {now['bytes']} bytes long and was {was}."
    wrong = []
    blocks = then.get("blocks")
    if then.get("block") == now["block"] and isinstance(blocks, list):
        both = zip(blocks, now["blocks"], strict=False)
        wrong = [number for number, (was, is_) in enumerate(both) if was != is_]
    for _, run in groupby(enumerate(wrong), lambda one: one[1] - one[0]):  # without a gap
        numbers = [number for _, number in run]
        end = min((numbers[-1] + 1) * now["block"], now["bytes"])
        yield f"{name}: bytes {numbers[0] * now['block']} to {end - 1} were changed."
    if not wrong:
        yield f"{name} was changed (its digest is wrong)."


def all_differences(then: Mapping[str, Any], now: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What of a folder is not what it was."""
    for name in sorted({*then, *now}):
        shown = printable(str(name))
        if name not in now:
            yield f"{shown} is missing."
        elif name not in then:
            yield f"{shown} was not there: it was added."
        else:
            yield from differences(_dict(then[name]), now[name], shown)


# ---- the envelope -------------------------------------------------------------------------------


def private_key(path: str) -> "Ed25519PrivateKey":
    """Reads the Ed25519 key in a PEM file without a passphrase.

    :raises UserError: the file cannot be read, or is no such key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    advice = "make one by 'openssl genpkey -algorithm ed25519'"
    key = _key(path, "--sign", "private", advice, lambda data: load_pem_private_key(data, None))
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(f"--sign {printable(path)}: not an Ed25519 key; {advice}")
    return key


def public_key(path: str) -> "Ed25519PublicKey":
    """The public key in a PEM file. UserError: it is none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    advice = "take it from the private one by 'openssl pkey -in KEY -pubout'"
    key = _key(path, "--key", "public", advice, load_pem_public_key)
    if not isinstance(key, Ed25519PublicKey):
        raise UserError(f"--key {printable(path)}: not an Ed25519 key")
    return key


def _key(
    path: str, option: str, which: str, advice: str, loaded: Callable[[bytes], object]
) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm

    shown = f"{option} {printable(path)}"
    try:
        return loaded(_read(path, _KEY_BYTES, f"{option} "))
    except TypeError:
        raise UserError(f"{shown}: it has a passphrase; give a key without one, for example from "
                        "'openssl pkey -in KEY'") from None  # fmt: skip
    except (ValueError, UnsupportedAlgorithm):
        raise UserError(f"{shown}: no {which} key in PEM form; {advice}") from None


def sign(payload: bytes, key: "Ed25519PrivateKey") -> dict[str, Any]:
    """An envelope around ``payload``."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signature = base64.b64encode(key.sign(_authenticated(payload))).decode()
    return {
        "payloadType": TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": sha256(public).hexdigest(), "sig": signature}],
    }


def _authenticated(payload: bytes) -> bytes:
    """What is signed: the pre-authentication encoding (DSSE protocol.md, PAE)."""
    kind = TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def payload_of(raw: object) -> tuple[bytes, list[bytes]]:
    """Payload and signatures of an envelope. ValueError: it is none."""
    if not isinstance(raw, dict) or raw.get("payloadType") != TYPE:
        raise ValueError(f"not an envelope of type {TYPE}")
    try:
        payload = base64.b64decode(str(raw["payload"]), validate=True)
        listed = raw["signatures"]
        if not isinstance(listed, list):
            raise ValueError("its signatures are no list")
        signatures = [base64.b64decode(str(one["sig"]), validate=True) for one in listed]
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError(f"a damaged envelope: {error}") from None
    return payload, signatures


def signed_by(payload: bytes, signatures: list[bytes], key: "Ed25519PublicKey") -> bool:
    """Whether one of the signatures is of ``key`` and fits."""
    from cryptography.exceptions import InvalidSignature

    for signature in signatures:
        try:
            key.verify(signature, _authenticated(payload))
        except InvalidSignature:
            continue
        return True
    return False


# ---- the statement ------------------------------------------------------------------------------


def canonical(value: object) -> bytes:
    """JSON that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def text(
    audit: Audit,
    policy: Policy,
    recordings: Sequence[Recording],
    reports: Mapping[str, bytes],
    key: str | None,
) -> str:
    """The statement about an audit as JSON text, in a signed envelope if there is a key.

    :param recordings: those that were audited, still open, in the order of the audit's.
    :param reports: what was written of the same audit, by the name of its file.
    :param key: path of a private key in PEM form; None: the statement is not signed.
    :raises UserError: the key or a recording cannot be read, or a recording was changed meanwhile.
    """
    listed = [
        _recording(recording, whole=not any(doubt.code == "damage" for doubt in one.doubts))
        for recording, one in zip(recordings, audit.recordings, strict=True)
    ]
    written = {name: of_bytes(content) for name, content in reports.items()}
    body = {
        "_type": STATEMENT,
        "subject": subjects(listed, written),
        "predicateType": PREDICATE,
        "predicate": {
            "tool": audit.tool,
            "policy": {
                "name": policy.name,
                "sha256": policy.sha256,
                "source": policy.source.decode(),
            },
            "recordings": listed,
            "reports": written,
            "result": document(audit),
        },
    }
    made = body if key is None else sign(canonical(body), private_key(key))
    return json.dumps(made, indent=2) + "\n"


def subjects(
    recordings: Sequence[Mapping[str, Any]], reports: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What a statement with these recordings and reports is about."""
    files = [
        (f"{one.get('name')}/{name}", file)
        for one in recordings
        for name, file in _dict(one.get("files")).items()
    ]
    return [
        {"name": name, "digest": {"sha256": file.get("sha256")}}
        for name, file in [*files, *reports.items()]
        if isinstance(file, dict)
    ]


def _recording(recording: Recording, *, whole: bool) -> dict[str, Any]:
    """``whole``: nothing was wrong with it, so that what lies there must be what was audited."""
    files = of_recording(recording, {})
    for name, part in recording.files.items() if whole else ():
        if files.get(name, {}).get("sha256") != part.sha256:
            raise UserError(
                f"{printable(recording.path)}: {name} was changed while it was audited; "
                "audit a copy that nobody else can write to"
            )
    return {
        "name": os.path.basename(os.path.normpath(recording.path)),
        "chain": recording.chain.digest,
        "hook_plan_sha256": _hook_plan_digest(recording),
        "files": files,
    }


def _hook_plan_digest(recording: Recording) -> str:
    return sha256(canonical(recording.manifest.document.get("hooks"))).hexdigest()


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


# ---- checking one again -------------------------------------------------------------------------

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
        """What ``sealsnoop verify`` ends with."""
        return Exit.FINDING if self.wrong else Exit.FINE

    def to_json(self) -> str:
        """One JSON object."""
        first = {"ok": not self.wrong, "summary": self.summary}
        return json.dumps({**first, **self.__dict__}, indent=2)

    @property
    def summary(self) -> str:
        """The result in one sentence."""
        result = f"the result stated is {self.result or 'none'}"
        if not self.wrong:
            some = ""
            if self.unchecked:
                some = f" as far as it was checked ({len(self.unchecked):,} points were not)"
            return f"HOLDS{some}: {printable(self.path)}: {result}, {self.signed}"
        more = f", and {len(self.wrong) - 1:,} more" if self.wrong[1:] else ""
        why = f"{self.wrong[0].rstrip('.')}{more}"
        return f"DOES NOT HOLD: {printable(self.path)}: {why}; {result}"

    def lines(self) -> list[str]:
        """The same for people."""
        lines = [self.summary]
        lines += [f"  wrong: {text}" for text in self.wrong[:_SHOWN]]
        if len(self.wrong) > _SHOWN:
            lines.append(f"  and {len(self.wrong) - _SHOWN} more (--json)")
        lines += [f"  right: {text}" for text in self.right]
        return lines + [f"  not checked: {text}" for text in self.unchecked]


def recheck(
    path: str, key: str | None, recordings: Sequence[str], policy_path: str | None,
    reports: Sequence[str] = (),
) -> Recheck:  # fmt: skip
    """Checks a statement: all that can be checked with what is given.

    :param path: the statement.
    :param key: path of the signer's public key in PEM form.
    :param recordings: paths of the recordings, in the order of the statement; their audits are
        computed again.
    :param policy_path: the policy that should have been used.
    :param reports: paths of reports that should have been written.
    :return: what holds, what does not, and what was not checked.
    :raises UserError: something cannot be read, or the file is no statement.
    """
    found = Recheck(path)
    body = _body(key, found)
    try:
        predicate, listed = parts(body)
    except ValueError as error:
        raise UserError(f"{printable(path)}: {error}") from None
    found.result = printable(str(_dict(predicate.get("result")).get("result", "")))
    if body.get("subject") != subjects(listed, _dict(predicate.get("reports"))):
        found.wrong.append("its subject is not what it tells of: other names or digests.")
    policy = _dict(predicate.get("policy"))
    source = str(policy.get("source", "")).encode("utf-8", "surrogatepass")
    _policy(source, policy.get("sha256"), policy_path, found)
    _reports(_dict(predicate.get("reports")), reports, found)
    _recordings(predicate, source, listed, recordings, found)
    return found


def _body(key: str | None, found: Recheck) -> Mapping[str, Any]:
    """What the file states; of an envelope its payload, with a word about the signature."""
    shown = printable(found.path)
    text = _read(found.path, _STATEMENT_BYTES + 1)
    if len(text) > _STATEMENT_BYTES:
        raise UserError(f"{shown}: longer than any statement")
    try:
        body = raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{shown}: not JSON: {printable(str(error))}") from None
    public = public_key(key) if key is not None else None
    if isinstance(raw, dict) and "payloadType" in raw:
        try:
            payload, signatures = payload_of(raw)
            body = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{shown}: {printable(str(error))}") from None
        if key is None or public is None:
            found.signed = "signed, not checked"
            found.unchecked.append("the signature (give --key PUB)")
        elif signed_by(payload, signatures, public):
            found.signed = "signed"
            found.right.append(f"the signature is of {printable(key)}")
        else:
            found.signed = "wrong signature"
            found.wrong.append(
                "the signature: the statement was changed, or somebody else signed it."
            )
    elif public is not None:
        found.wrong.append("there is no signature.")
    else:
        found.unchecked.append("who made it: it is not signed")
    if not isinstance(body, dict):
        raise UserError(f"{shown}: not a statement of a sealsnoop audit")
    return body


def _policy(source: bytes, digest: object, path: str | None, found: Recheck) -> None:
    if sha256(source).hexdigest() != digest:
        found.wrong.append("the policy in the statement is not the one of its digest.")
    if path is None:
        return
    given = policies.load(path)
    shown = printable(path)
    if given.sha256 == digest:
        found.right.append(f"the policy is {shown}")
        return
    first = _alike(source, given.source)
    behind = _alike(source[first:][::-1], given.source[first:][::-1])
    last = max(first, len(given.source) - behind - 1)
    found.wrong.append(f"the policy is another: {shown}: bytes {first} to {last} differ.")


def _alike(one: bytes, other: bytes) -> int:
    """How many bytes at the start are the same."""
    both = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in both if a != b), min(len(one), len(other)))


def _reports(stated: Mapping[str, Any], paths: Sequence[str], found: Recheck) -> None:
    given = {os.path.basename(path): path for path in paths}
    for name, path in given.items():
        shown = printable(path)
        if not isinstance(stated.get(name), dict):
            found.wrong.append(f"{shown}: the statement names no such report.")
            continue
        wrong = list(differences(stated[name], of_bytes(_read(path, _REPORT_BYTES)), shown))
        found.wrong += wrong
        found.right += [] if wrong else [f"{shown} is the report of this audit"]
    found.unchecked += [
        f"the report {printable(str(name))} (give --report)" for name in stated if name not in given
    ]


def _recordings(
    predicate: Mapping[str, Any],
    source: bytes,
    listed: Sequence[Mapping[str, Any]],
    paths: Sequence[str],
    found: Recheck,
) -> None:
    """Each recording against what is stated of it, then the whole audit once more."""
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
            _recording_again(recording, one, found)
        tool = f"sealsnoop {__version__}"
        rules = policies.parse(source, "the statement's policy")
        again = document(audit_of(rules, opened, tool))
    if predicate.get("tool") != tool:
        found.unchecked.append(f"that {tool} judges as {printable(str(predicate.get('tool')))} did")
    stated = _dict(predicate.get("result"))
    different = list(_differences(stated, json.loads(json.dumps(again)), "result"))
    found.wrong += different
    if not different:
        found.right.append(f"the result, computed again: {again['result']}")


def _recording_again(recording: Recording, stated: Mapping[str, Any], found: Recheck) -> None:
    """Digests, then what the recording says of itself: chain and sequence holes.

    What is read later is what the chain's digest vouches for, whatever becomes of the files.
    """
    shown = printable(recording.path)
    then = _dict(stated.get("files"))
    now = of_recording(recording, then)
    wrong = list(all_differences(then, now))
    found.wrong += [f"{shown}: {text}" for text in wrong]
    report = check(recording)
    found.wrong += [f"{shown}: {printable(text)}" for text in report.damage]
    if recording.chain.digest != stated.get("chain"):
        found.wrong.append(f"{shown}: the digest of its chain is another.")
    elif not wrong:
        found.right.append(f"{shown}: all {len(then)} files are as they were")
    if report.unexplained:
        missing = f"{report.unexplained} sequence numbers are missing that nobody declared lost."
        found.wrong.append(f"{shown}: {missing}")
    if _hook_plan_digest(recording) != stated.get("hook_plan_sha256"):
        found.wrong.append(f"{shown}: the hook plan is another.")


def _differences(then: Any, now: Any, at: str) -> Iterator[str]:
    """Where two JSON values differ, as paths."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in sorted({*then, *now}):
            if key not in _ELSEWHERE:
                yield from _differences(then.get(key), now.get(key), f"{at}.{printable(key)}")
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for index, (a, b) in enumerate(zip(then, now, strict=True)):
            yield from _differences(a, b, f"{at}[{index}]")
    elif then != now:
        yield f"{at}: the statement says {_short(then)}, computed again it is {_short(now)}."


def _short(value: Any) -> str:
    text = printable(json.dumps(value))
    return text if len(text) <= 80 else f"{text[:77]}..."
