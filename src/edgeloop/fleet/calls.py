"""Finds out which device is calling: its signature, and that it was not seen before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete
from sqlalchemy.orm import Session

from edgeloop.errors import EdgeloopError, SignatureError, UnauthorizedError
from edgeloop.fleet.models import DeviceRow, NonceRow
from edgeloop.fleet.plane import Plane
from edgeloop.protocol import signatures
from edgeloop.protocol.keys import read_public

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request as it was signed."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def verify(self, key: Ed25519PublicKey, now: float) -> signatures.Signed:
        """Check the signature; see :func:`signatures.verify`."""
        return signatures.verify(key, self.method, self.url, self.headers, self.body, now)


@contextmanager
def by_device(plane: Plane, signed: signatures.Signed) -> Iterator[tuple[Session, DeviceRow]]:
    """A transaction in which a known device acts, as that device and no other.

    Raises:
        SignatureError: the signature was used before.
    """
    with acting(plane, signed) as session:
        device = session.get_one(DeviceRow, signed.key_id)
        device.last_seen = plane.clock.now()
        yield session, device


def identify(plane: Plane, call: Call) -> signatures.Signed:
    """Who signed this, without asking whether it was seen before. Reads only.

    Raises:
        UnauthorizedError: no such device, or it is decommissioned.
        SignatureError: it is not signed, or the signature does not hold.
    """
    device = claimed(plane, call.headers)
    return call.verify(read_public(device.public_key), plane.clock.now())


def claimed(plane: Plane, headers: Mapping[str, str]) -> DeviceRow:
    """The device that a request says it is by; asked before its body is read.

    Raises:
        UnauthorizedError: no such device, or it is decommissioned.
        SignatureError: it is not signed.
    """
    key_id = signatures.key_id_of(headers)
    with plane.database.read() as session:
        device = session.get(DeviceRow, key_id)
    if device is None or device.decommissioned:
        raise UnauthorizedError(
            f"device {key_id}",
            "must be enrolled here" if device is None else "must not be decommissioned",
            todo="Enrol it with a new token",
        )
    return device


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
