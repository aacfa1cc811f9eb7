"""A device's key in a TPM, secure element or HSM, through PKCS#11: it never leaves the chip.

``pkcs11:token=T;object=O?module-path=/lib/M.so&pin-source=file:/P`` (RFC 7512). Ed25519 where the
module offers it, P-256 else: TPM 2.0 chips have no Ed25519. The next key has the label ``O-next``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256, Hash

from edgeloop.errors import KeyPlaceError, MissingExtraError
from edgeloop.protocol import keys
from edgeloop.protocol.keys import PublicKey, Signer

ED25519 = b"\x13\x0cedwards25519"  # DER of the curve's name, as PKCS#11 3.0 has it
P256 = bytes.fromhex("06082a8648ce3d030107")  # DER of its object identifier
_one_at_a_time = threading.Lock()  # a process logs in to a token once


@dataclass(frozen=True, kw_only=True)
class Where:
    """What a URI says."""

    token: str
    label: str
    module: str
    pin: str = field(repr=False, default="")


def parsed(uri: str) -> Where:
    """Read a URI, and the PIN that it points to.

    Raises:
        KeyPlaceError: it lacks a part.
        KeyFileError: the PIN's file is missing, or readable by others.
    """
    path, _, query = uri.removeprefix("pkcs11:").partition("?")
    said = dict(_pairs(path.split(";")) + _pairs(query.split("&")))
    missing = [name for name in ("token", "object", "module-path") if not said.get(name)]
    if missing:
        raise KeyPlaceError(
            "place of the key",
            "must be pkcs11:token=...;object=...?module-path=... (RFC 7512)",
            got=f"no {', '.join(missing)}",
        )
    pin = said.get("pin-value", "")
    if source := said.get("pin-source"):
        pin = keys.read_secret(Path(source.removeprefix("file:"))).decode().strip()
    return Where(token=said["token"], label=said["object"], module=said["module-path"], pin=pin)


def _pairs(parts: list[str]) -> list[tuple[str, str]]:
    split = [part.partition("=") for part in parts if part]
    return [(name, unquote(value)) for name, _, value in split]


class ChipKey:
    """A key in a chip as a :class:`Signer`."""

    def __init__(self, where: Where, label: str, public: PublicKey) -> None:
        self._where, self._label, self._public = where, label, public

    def public_key(self) -> PublicKey:
        """Its public half."""
        return self._public

    def sign(self, data: bytes, /) -> bytes:
        """The chip's signature; 64 bytes of either kind."""
        from pkcs11 import Mechanism

        mechanism, message = Mechanism.EDDSA, data
        if not isinstance(self._public, Ed25519PublicKey):
            digest = Hash(SHA256())  # older chips sign digests alone
            digest.update(data)
            mechanism, message = Mechanism.ECDSA, digest.finalize()
        with _session(self._where) as session:
            signature: bytes = _private(session, self._label)[0].sign(message, mechanism=mechanism)
        return signature


class Pkcs11Place:
    """See ``key_places.Place``."""

    def __init__(self, uri: str, _folder: Path) -> None:
        self._where = parsed(uri)
        self._main = self._where.label
        self._next, self._old = f"{self._main}-next", f"{self._main}-old"

    def current(self) -> Signer | None:
        """The key. Where an adoption was cut off, that is ended first."""
        found = self._key(self._main)
        if found is None and self._key(self._next) is not None:
            self.adopt()
            found = self._key(self._main)
        return found

    def make(self) -> Signer:
        """A key made in the chip."""
        return self._made(self._main)

    def upcoming(self) -> Signer | None:
        """The next key."""
        return self._key(self._next) if self._key(self._main) else None

    def make_upcoming(self) -> Signer:
        """A next key made in the chip."""
        return self._made(self._next)

    def adopt(self) -> None:
        """Change labels, then destroy the key before; a module that cannot leaves all as it is."""
        from pkcs11 import Attribute

        with _session(self._where) as session:
            before, after = _private(session, self._main), _private(session, self._next)
            for key in before if after else ():
                key[Attribute.LABEL] = self._old
            for key in after:
                key[Attribute.LABEL] = self._main
            for key in _private(session, self._old):
                for half in (*_public(session, key.id), key):
                    half.destroy()

    def _key(self, label: str) -> Signer | None:
        with _session(self._where) as session:
            for private in _private(session, label):
                for public in _public(session, private.id):
                    return ChipKey(self._where, label, _point(public))
        return None

    def _made(self, label: str) -> Signer:
        from pkcs11 import Attribute, KeyType, Mechanism

        with _session(self._where) as session:
            edwards = _has_ed25519(session)
            kind, curve = (KeyType.EC_EDWARDS, ED25519) if edwards else (KeyType.EC, P256)
            mechanism = Mechanism.EC_EDWARDS_KEY_PAIR_GEN if edwards else Mechanism.EC_KEY_PAIR_GEN
            domain = session.create_domain_parameters(
                kind, {Attribute.EC_PARAMS: curve}, local=True
            )
            public, _ = domain.generate_keypair(
                mechanism=mechanism,
                store=True,
                label=label,
                id=os.urandom(16),
                private_template={Attribute.EXTRACTABLE: False, Attribute.SENSITIVE: True},
            )
            return ChipKey(self._where, label, _point(public))


def _has_ed25519(session: Any) -> bool:
    from pkcs11 import Mechanism

    return Mechanism.EC_EDWARDS_KEY_PAIR_GEN in session.token.slot.get_mechanisms()


def _private(session: Any, label: str) -> list[Any]:
    from pkcs11 import Attribute, ObjectClass

    asked = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label}
    return list(session.get_objects(asked))


def _public(session: Any, number: bytes) -> list[Any]:
    from pkcs11 import Attribute, ObjectClass

    asked = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: number}
    return list(session.get_objects(asked))


def _point(public: Any) -> PublicKey:
    """The public key of a point, which modules give bare or as a DER octet string."""
    from pkcs11 import Attribute, KeyType

    told = bytes(public[Attribute.EC_POINT])
    bare = told[2:] if told[0] == 4 and told[1] == len(told) - 2 else told
    if public.key_type == KeyType.EC_EDWARDS:
        return Ed25519PublicKey.from_public_bytes(bare)
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bare)


@cache
def _module(path: str) -> Any:
    try:
        import pkcs11
    except ImportError as fault:
        todo = "pip install 'edgeloop[pkcs11]'"
        raise MissingExtraError("module pkcs11", "is not installed", todo=todo) from fault
    try:
        return pkcs11.lib(path)
    except (pkcs11.PKCS11Error, RuntimeError, OSError) as fault:
        raise KeyPlaceError(f"PKCS#11 module {path}", "must load", got=fault) from fault


@contextmanager
def _session(where: Where) -> Iterator[Any]:
    """Logged in for as long as one thing takes, so that a chip that was reset is no matter.

    Raises:
        KeyPlaceError: no module, no such token, a wrong PIN, or the chip refused.
        MissingExtraError: the library is not installed.
    """
    module = _module(where.module)
    import pkcs11

    try:
        with _one_at_a_time:
            token = module.get_token(token_label=where.token)
            with token.open(rw=True, user_pin=where.pin or None) as session:
                yield session
    except pkcs11.PKCS11Error as fault:
        raise KeyPlaceError(
            f"token {where.token}",
            "must keep and use the device's key",
            got=f"{type(fault).__name__} {fault}".strip(),
        ) from fault
