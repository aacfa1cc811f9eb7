"""Keys: who a device or a signer is.

A private key in a file is PKCS#8 PEM, readable by its owner alone; one in a chip is a
:class:`Signer` as well. A public key travels as SubjectPublicKeyInfo PEM (RFC 8410, RFC 5480).
Ed25519 is the kind that we make; P-256 is what most TPMs have instead.
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from edgeloop import durable
from edgeloop.errors import KeyFileError

FINGERPRINT_LENGTH = 16  # hex digits: 64 bits, enough that nobody makes a second key to fit
HALF = 32  # bytes of each of the two numbers of a P-256 signature, as RFC 9421 has it
EITHER = "must be an Ed25519 or a P-256 public key in PEM"

PublicKey: TypeAlias = Ed25519PublicKey | EllipticCurvePublicKey


class Signer(Protocol):
    """A private key that signs, wherever it lives. ``Ed25519PrivateKey`` is one as it is.

    A signature is 64 bytes: RFC 8032's for Ed25519, ``r || s`` over SHA-256 for P-256.
    """

    def public_key(self) -> PublicKey:
        """Its public half."""

    def sign(self, data: bytes, /) -> bytes:
        """A signature over ``data``."""


class P256Key:
    """A P-256 key in memory as a :class:`Signer`."""

    def __init__(self, key: EllipticCurvePrivateKey) -> None:
        self._key = key

    def public_key(self) -> PublicKey:
        """See :class:`Signer`."""
        return self._key.public_key()

    def sign(self, data: bytes, /) -> bytes:
        """See :class:`Signer`."""
        r, s = decode_dss_signature(self._key.sign(data, ECDSA(hashes.SHA256())))
        return r.to_bytes(HALF, "big") + s.to_bytes(HALF, "big")


def generate() -> Ed25519PrivateKey:
    """A new private key from the system's randomness."""
    return Ed25519PrivateKey.generate()


def save(key: Ed25519PrivateKey | EllipticCurvePrivateKey, path: Path) -> None:
    """Write ``key`` to ``path`` with mode 0600; whole or not at all, and never over another key.

    Raises:
        KeyFileError: ``path`` is there already.
        DiskFullError: no room for it.
    """
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        durable.create(path, pem, mode=0o600)
    except FileExistsError as error:
        raise KeyFileError(
            f"key file {path}", "must not be there yet", todo="A key is never overwritten"
        ) from error


def load(path: Path) -> Ed25519PrivateKey:
    """The private key in ``path``.

    Raises:
        KeyFileError: it is missing, readable by others, or no Ed25519 key.
    """
    return _private(read_secret(path), f"key file {path}")


def read_secret(path: Path) -> bytes:
    """The bytes of a private key's file, whatever kind of key it is.

    Raises:
        KeyFileError: it is missing, or readable by others.
    """
    thing = f"key file {path}"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        pem = path.read_bytes()
    except OSError as error:
        raise KeyFileError(thing, "must be a readable file", got=error.strerror) from error
    if mode & 0o077:
        raise KeyFileError(
            thing,
            "must be readable by its owner alone (mode 0600)",
            got=f"mode {mode:04o}",
            todo=f"If nobody else can have read it: chmod 600 {path}; otherwise make a new key",
        )
    return pem


def load_signer(path: Path) -> Signer:
    """The private key in ``path``, Ed25519 or P-256.

    Raises:
        KeyFileError: it is missing, readable by others, or of another kind.
    """
    thing, pem = f"key file {path}", read_secret(path)
    rule = "must hold an Ed25519 or a P-256 private key in PEM"
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(thing, rule) from error
    if isinstance(key, Ed25519PrivateKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return P256Key(key)
    raise KeyFileError(thing, rule)


def _private(pem: bytes, thing: str) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(thing, "must hold an Ed25519 private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(thing, "must hold an Ed25519 private key in PEM")
    return key


def public_pem(key: PublicKey) -> str:
    """A public key as text; the same key has one text."""
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def read_public(pem: str) -> PublicKey:
    """The inverse of :func:`public_pem`.

    Raises:
        KeyFileError: ``pem`` is no Ed25519 and no P-256 public key.
    """
    try:
        return known(serialization.load_pem_public_key(pem.encode()))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError("public key", EITHER) from error


def known(key: object) -> PublicKey:
    """``key``, when it is of a kind that signs here.

    Raises:
        KeyFileError: it is not.
    """
    if isinstance(key, Ed25519PublicKey):
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    raise KeyFileError("public key", EITHER)


def fits(key: PublicKey, signature: bytes, data: bytes) -> bool:
    """Whether a :class:`Signer` of this public key signed ``data``."""
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, data)
        else:
            key.verify(_as_der(signature), data, ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _as_der(signature: bytes) -> bytes:
    if len(signature) != 2 * HALF:
        raise InvalidSignature
    r, s = signature[:HALF], signature[HALF:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def fingerprint(key: PublicKey) -> str:
    """The first 16 hex digits of a public key's sha256: a device's id is that of its first key.

    Of Ed25519 the raw key is hashed, of P-256 its SubjectPublicKeyInfo.
    """
    if isinstance(key, Ed25519PublicKey):
        told = key.public_bytes_raw()
    else:
        told = key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    return hashlib.sha256(told).hexdigest()[:FINGERPRINT_LENGTH]
