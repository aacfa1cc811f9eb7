"""Finds out which device is calling: its signature, and that it was not seen before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete
from sqlalchemy.orm import Session

from edgeloop.errors import EdgeloopError, RevokedError, SignatureError, UnauthorizedError
from edgeloop.fleet import audit
from edgeloop.fleet.events import Event
from edgeloop.fleet.models import DeviceRow, NonceRow
from edgeloop.fleet.plane import Plane
from edgeloop.protocol import signatures
from edgeloop.protocol.keys import fingerprint, read_public

if TYPE_CHECKING:
    from edgeloop.protocol.keys import PublicKey


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request as it was signed."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def verify(self, key: PublicKey, now: float) -> signatures.Signed:
        """Check the signature; see :func:`signatures.verify`."""
        return signatures.verify(key, self.method, self.url, self.headers, self.body, now)


@contextmanager
def by_device(plane: Plane, signed: signatures.Signed) -> Iterator[tuple[Session, DeviceRow]]:
    """A transaction in which a known device acts, as that device and no other.

    Where its next key signed, that is its key from now on.

    Raises:
        SignatureError: the signature was used before, or its key is none of the device by now.
        RevokedError: it was revoked meanwhile.
    """
    with acting(plane, signed) as session:
        device = session.get_one(DeviceRow, signed.key_id)
        _refuse_unheard(device)
        now = device.last_seen = plane.clock.now()
        if device.next_key and _signed_by(device.next_key, signed):
            _change_key(session, device, device.next_key, now)
        elif not _signed_by(device.public_key, signed):
            # it was when the signature was looked at, before this transaction had its turn
            rule = "must be by a key that is the device's by now"
            raise SignatureError(f"signature by {signed.key_id}", rule)
        yield session, device


def _signed_by(pem: str, signed: signatures.Signed) -> bool:
    return fingerprint(read_public(pem)) == signed.fingerprint


def _change_key(session: Session, device: DeviceRow, pem: str, now: float) -> None:
    was, actor = fingerprint(read_public(device.public_key)), f"device:{device.id}"
    device.public_key, device.next_key, device.rotate = pem, None, False
    detail = {"from": was, "to": fingerprint(read_public(pem))}
    audit.write(session, now, actor, Event.DEVICE_KEY_CHANGED, actor, detail)


def identify(plane: Plane, call: Call) -> signatures.Signed:
    """Who signed this, without asking whether it was seen before. Reads only.

    Raises:
        UnauthorizedError: no such device, or it is not listened to any more.
        SignatureError: it is not signed, or the signature does not hold.
    """
    device, now = claimed(plane, call.headers), plane.clock.now()
    try:
        return call.verify(read_public(device.public_key), now)
    except SignatureError:
        if device.next_key is None:
            raise
    return call.verify(read_public(device.next_key), now)


def claimed(plane: Plane, headers: Mapping[str, str]) -> DeviceRow:
    """The device that a request says it is by; asked before its body is read.

    Raises:
        UnauthorizedError: no such device.
        RevokedError: an operator decided to listen to it no more.
        SignatureError: it is not signed.
    """
    key_id = signatures.key_id_of(headers)
    with plane.database.read() as session:
        device = session.get(DeviceRow, key_id)
    if device is None:
        todo = "Enrol it with a new token"
        raise UnauthorizedError(f"device {key_id}", "must be enrolled here", todo=todo)
    _refuse_unheard(device)
    return device


def _refuse_unheard(device: DeviceRow) -> None:
    thing, todo = f"device {device.id}", "Enrol it with a new token"
    if device.decommissioned:
        raise RevokedError(thing, "must not be decommissioned", todo=todo)
    if device.revoked:
        raise RevokedError(thing, "must not be revoked", todo=f"{todo} and --new-key")


@contextmanager
def acting(plane: Plane, signed: signatures.Signed) -> Iterator[Session]:
    """A transaction for one signed request; the signature counts as used even if it is refused.

    Raises:
        SignatureError: the signature was used before.
    """
    refused: EdgeloopError | None = None
    with plane.database.begin() as session:
        _use(session, signed, plane.clock.now())
        try:
            with session.begin_nested():
                yield session
        except EdgeloopError as error:
            refused = error
    if refused is not None:
        raise refused


def _use(session: Session, signed: signatures.Signed, now: float) -> None:
    key = (signed.key_id, signed.nonce)
    if session.get(NonceRow, key) is not None:
        raise SignatureError(f"signature by {signed.key_id}", "must not be used twice")
    # a signature is accepted while |created - now| <= window, so none older can come back
    session.execute(delete(NonceRow).where(NonceRow.created < now - signatures.WINDOW - 1))
    session.add(NonceRow(key_id=signed.key_id, nonce=signed.nonce, created=signed.created))
    session.flush()
