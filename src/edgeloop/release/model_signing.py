"""Signatures that OpenSSF Model Signing 1.0 verifies: the form, without a disk.

A Sigstore bundle holds a DSSE envelope, which holds an in-toto statement that names each file's
sha256. Written here, since the library that defines it brings sixteen packages (ADR 0013); a test
verifies what is written with its command line.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping

from edgeloop.release.model_key import ModelKey
from edgeloop.store.manifest import canonical

SIGNATURE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"


def statement(name: str, files: Mapping[str, str]) -> bytes:
    """What is signed of a folder ``name``: each file's digest (``sha256:<hex>``), by its path."""
    digests = {path: files[path].removeprefix("sha256:") for path in sorted(files)}
    whole = hashlib.sha256(b"".join(map(bytes.fromhex, digests.values()))).hexdigest()
    resources = [
        {"name": path, "algorithm": "sha256", "digest": digest} for path, digest in digests.items()
    ]
    how = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []}
    return canonical(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": name, "digest": {"sha256": whole}}],
            "predicateType": "https://model_signing/signature/v1.0",
            "predicate": {"serialization": how, "resources": resources},
        }
    )


def signature(told: bytes, key: ModelKey) -> bytes:
    """A Sigstore bundle over a statement.

    Raises:
        KeyFileError: the private half of the key is not here.
    """
    signed = {"sig": _text(key.sign(_enveloped(told))), "keyid": ""}
    envelope = {"payload": _text(told), "payloadType": _PAYLOAD_TYPE, "signatures": [signed]}
    return canonical(
        {
            "mediaType": SIGNATURE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": key.hint}, "tlogEntries": []},
            "dsseEnvelope": envelope,
        }
    )


def holds(bundle: bytes, told: bytes, key: ModelKey) -> bool:
    """Whether ``bundle`` is a signature of exactly this statement by this key."""
    try:
        envelope = json.loads(bundle)["dsseEnvelope"]
        (one,) = envelope["signatures"]
        sig, payload = (base64.b64decode(text) for text in (one["sig"], envelope["payload"]))
    except (ValueError, KeyError, TypeError):
        return False
    return payload == told and key.signed(sig, _enveloped(told))


def _enveloped(told: bytes) -> bytes:
    """DSSE's pre-authentication encoding: type and payload, each behind its length."""
    return f"DSSEv1 {len(_PAYLOAD_TYPE)} {_PAYLOAD_TYPE} {len(told)} ".encode() + told


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
