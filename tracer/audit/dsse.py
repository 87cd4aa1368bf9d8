"""DSSE envelopes (Dead Simple Signing Envelope 1.0) with Ed25519 signatures."""

import base64
import binascii
import hashlib
import json
from typing import TYPE_CHECKING, Any

from tracer.errors import UserError
from tracer.model.escape import printable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

TYPE = "application/vnd.in-toto+json"


def private_key(path: str) -> "Ed25519PrivateKey":
    """The key in a PEM file without a passphrase. UserError: it is none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path, "--sign")
    try:
        key = load_pem_private_key(data, None)
    except TypeError:
        raise UserError(f"--sign {printable(path)}: it has a passphrase; give a key without one, "
                        "for example from 'openssl pkey -in KEY'") from None  # fmt: skip
    except (ValueError, UnsupportedAlgorithm):
        raise UserError(f"--sign {printable(path)}: no private key in PEM form; make one by "
                        "'openssl genpkey -algorithm ed25519'") from None  # fmt: skip
    if not isinstance(key, Ed25519PrivateKey):
        raise UserError(f"--sign {printable(path)}: not an Ed25519 key; make one by "
                        "'openssl genpkey -algorithm ed25519'")  # fmt: skip
    return key


def public_key(path: str) -> "Ed25519PublicKey":
    """The public key in a PEM file. UserError: it is none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    data = _read(path, "--key")
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise UserError(f"--key {printable(path)}: no public key in PEM form; take it from the "
                        "private one by 'openssl pkey -in KEY -pubout'") from None  # fmt: skip
    if not isinstance(key, Ed25519PublicKey):
        raise UserError(f"--key {printable(path)}: not an Ed25519 key")
    return key


def _read(path: str, option: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{option} {printable(path)}: {reason}") from error


def key_id(key: "Ed25519PublicKey") -> str:
    """sha256 of the key's SubjectPublicKeyInfo."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


def authenticated(payload: bytes, kind: str = TYPE) -> bytes:
    """What is signed: the pre-authentication encoding (DSSE protocol.md, PAE)."""
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def sign(payload: bytes, key: "Ed25519PrivateKey") -> dict[str, Any]:
    """An envelope around ``payload``."""
    signature = key.sign(authenticated(payload))
    return {
        "payloadType": TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {"keyid": key_id(key.public_key()), "sig": base64.b64encode(signature).decode()}
        ],
    }


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
            key.verify(signature, authenticated(payload))
        except InvalidSignature:
            continue
        return True
    return False


def text(envelope: dict[str, Any]) -> str:
    """The envelope as a file has it."""
    return json.dumps(envelope, indent=2) + "\n"
