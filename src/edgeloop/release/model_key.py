"""The P-256 key that signs releases for other people's tools, which take no Ed25519.

``model-signing.pem`` lies beside the TUF keys, and its public half in ``model-signing.pub``, which
is to be given to whoever checks a release. Devices do not ask for it: they believe TUF.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from edgeloop import durable
from edgeloop.errors import KeyFileError
from edgeloop.protocol import keys
from edgeloop.release import keys as release_keys
from edgeloop.release.roles import KeyLine

NAME = "model-signing"
PRIVATE, PUBLIC = f"{NAME}.pem", f"{NAME}.pub"
RULE = "must hold an elliptic curve key on P-256 in PEM"


@dataclass(frozen=True, kw_only=True)
class ModelKey:
    """A key pair; ``secret`` is None where the private half is kept elsewhere."""

    path: Path
    public: ec.EllipticCurvePublicKey
    secret: ec.EllipticCurvePrivateKey | None

    @property
    def pem(self) -> bytes:
        """The public half as text."""
        return self.public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def hint(self) -> str:
        """How a signature names its key: sha256 hex of the public half's PEM."""
        return hashlib.sha256(self.pem).hexdigest()

    def sign(self, data: bytes) -> bytes:
        """An ECDSA signature, another one each time.

        Raises:
            KeyFileError: the private half is not here.
        """
        if self.secret is None:
            raise KeyFileError(
                f"key file {self.path}",
                f"must be there, as {PUBLIC} is",
                todo="Put it back and run again, or move the public half away for a new pair",
            )
        return self.secret.sign(data, ec.ECDSA(SHA256()))

    def signed(self, signature: bytes, data: bytes) -> bool:
        """Whether a signature over ``data`` is by this key."""
        try:
            self.public.verify(signature, data, ec.ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


def line(folder: Path) -> KeyLine | None:
    """What is known of the pair in ``folder``; None before the first release, which makes it."""
    if not any((folder / name).exists() for name in (PRIVATE, PUBLIC)):
        return None
    pair = open_key(folder)
    here = "here" if pair.secret else "not here"
    return KeyLine(role=NAME, key=pair.hint, file=here, threshold=1, version=None, expires=None)


def open_key(folder: Path) -> ModelKey:
    """The pair in ``folder``; it is made where neither half is there.

    Raises:
        KeyFileError: a half is broken or of another kind, or others can read the private one.
    """
    path, beside = folder / PRIVATE, folder / PUBLIC
    if not path.exists() and beside.exists():
        return ModelKey(path=path, public=_public(beside), secret=None)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        keys.save(ec.generate_private_key(ec.SECP256R1()), path)
    secret = _secret(path)
    pair = ModelKey(path=path, public=secret.public_key(), secret=secret)
    if not beside.exists() or beside.read_bytes() != pair.pem:
        durable.write(beside, pair.pem)
    return pair


def rotate(folder: Path) -> ModelKey:
    """Make a new pair; the old halves are kept aside, the public one for what it signed.

    Killed on the way, it can be repeated.
    """
    places = release_keys.aside(folder, NAME, "pub", "retired")
    for path, place in zip((folder / PUBLIC, folder / PRIVATE), places, strict=True):
        if path.exists():
            durable.settle(path, place)
    return open_key(folder)


def _secret(path: Path) -> ec.EllipticCurvePrivateKey:
    pem = keys.read_secret(path)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as fault:
        raise KeyFileError(f"key file {path}", RULE) from fault
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyFileError(f"key file {path}", RULE)
    return key


def _public(path: Path) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm) as fault:
        raise KeyFileError(f"key file {path}", RULE) from fault
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyFileError(f"key file {path}", RULE)
    return key
