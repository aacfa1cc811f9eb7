"""Ed25519 key files: who a device or a signer is.

A private key is PKCS#8 PEM, readable by its owner alone. A public key travels as
SubjectPublicKeyInfo PEM (RFC 8410). Files of other kinds of keys are kept as these are.
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edgeloop import durable
from edgeloop.errors import KeyFileError

FINGERPRINT_LENGTH = 16  # hex digits: 64 bits, enough that nobody makes a second key to fit


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


def _private(pem: bytes, thing: str) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(thing, "must hold an Ed25519 private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(thing, "must hold an Ed25519 private key in PEM")
    return key


def public_pem(key: Ed25519PublicKey) -> str:
    """A public key as text."""
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def read_public(pem: str) -> Ed25519PublicKey:
    """The inverse of :func:`public_pem`.

    Raises:
        KeyFileError: ``pem`` is no Ed25519 public key.
    """
    rule = "must be an Ed25519 public key in PEM"
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError("public key", rule) from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError("public key", rule)
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """The device id: the first 16 hex digits of the raw public key's sha256."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:FINGERPRINT_LENGTH]
