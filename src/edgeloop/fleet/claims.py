"""How a device of a factory becomes a device of this fleet, without a person at hand."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from edgeloop.errors import ConflictError, FactoryError, RevokedError, SignatureError
from edgeloop.fleet import chains
from edgeloop.fleet.calls import Call, acting
from edgeloop.fleet.chains import Chain
from edgeloop.fleet.enrolment import Newcomer, admit, brought, is_of, renew
from edgeloop.fleet.events import Event
from edgeloop.fleet.models import DeviceRow, FactoryRow, SerialRow
from edgeloop.fleet.plane import Plane
from edgeloop.protocol import proofs
from edgeloop.protocol.keys import PublicKey, fingerprint
from edgeloop.protocol.messages import Claim, Claimed


def claim(plane: Plane, call: Call, message: Claim) -> Claimed:
    """Make a key the device of a serial number, once; the same key gets the same answer again.

    Raises:
        FactoryError: the certificate, or its serial number, may not claim here.
        SignatureError: the request is not by the certificate's key, or the key's proof is wrong.
        ConflictError: the serial number was claimed with another key, or the name is taken.
        RevokedError: it was claimed with this key, which was revoked.
        ProtocolError: the public key is none.
    """
    chain, now = chains.read(message.certificates), plane.clock.now()
    signed = call.verify(chain.key, now)
    key = brought(message.public_key, "claim")
    if not proofs.holds(message.proof, key, proofs.Use.CLAIM, fingerprint(chain.key)):
        raise SignatureError("proof of the device's key", "must be by that key, for this claim")
    with plane.database.read() as session:
        _place(session, chain, key, now)  # a stranger leaves no row behind
    with acting(plane, signed) as session:
        place = _place(session, chain, key, now)
        device = _occupy(session, place, message, key, now)
        return _answer(device, place.factory, plane.settings.poll_seconds)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a claim leads."""

    factory: FactoryRow
    line: SerialRow  # of the serial number
    device: DeviceRow | None  # that has it


def _place(session: Session, chain: Chain, key: PublicKey, now: float) -> _Place:
    above = _above(session, chain)
    factory = _open(above)
    chains.check(chain, chains.authority(factory.certificate), now)
    line = _line(session, factory, chain.serial)
    line = _claimed(session, above, chain.serial) or line
    device = session.get(DeviceRow, line.device_id) if line.device_id else None
    if device is not None and not line.released:
        _refuse_second(device, line, key)
    return _Place(factory=factory, line=line, device=device)


def _above(session: Session, chain: Chain) -> list[FactoryRow]:
    """The factories whose authority issued the certificate, those that are revoked last."""
    rows = session.scalars(select(FactoryRow).order_by(FactoryRow.revoked, FactoryRow.name))
    return [row for row in rows if chains.is_below(chain, chains.authority(row.certificate))]


def _open(above: list[FactoryRow]) -> FactoryRow:
    if not above:
        raise FactoryError(
            "factory certificate",
            "must be issued by a factory's authority that is known here",
            todo="An operator adds one with `edgeloop fleet factory add`",
        )
    if above[0].revoked:
        raise FactoryError(f"factory {above[0].name}", "must not be revoked")
    return above[0]


def _claimed(session: Session, above: list[FactoryRow], serial: str) -> SerialRow | None:
    """Where a serial number was claimed; an authority that was added twice has each one once."""
    names = [row.name for row in above]
    query = select(SerialRow).where(SerialRow.factory.in_(names), SerialRow.serial == serial)
    return session.scalar(query.where(SerialRow.device_id.is_not(None)).order_by("factory"))


def _line(session: Session, factory: FactoryRow, serial: str) -> SerialRow:
    line = session.get(SerialRow, (factory.name, serial))
    if line is not None:
        return line
    if factory.listed_only:
        raise FactoryError(
            f"serial number {serial}",
            f"must be on the list of factory {factory.name}",
            todo="An operator adds it with `edgeloop fleet factory serials`",
        )
    return SerialRow(
        factory=factory.name, serial=serial, name=None, labels={}, device_id=None, released=False
    )


def _refuse_second(device: DeviceRow, line: SerialRow, key: PublicKey) -> None:
    if not is_of(device, key):
        raise ConflictError(
            f"serial number {line.serial} of factory {line.factory}",
            "must not be claimed by another key",
            todo=f"An operator frees it with `edgeloop device release-claim {device.name}`",
        )
    if device.revoked or device.decommissioned:
        rule = "must not be revoked" if device.revoked else "must not be decommissioned"
        raise RevokedError(f"device {device.id}", rule)


def _occupy(
    session: Session, place: _Place, message: Claim, key: PublicKey, now: float
) -> DeviceRow:
    device, line = place.device, place.line
    if device is not None and not line.released:
        return device  # the reply to its first claim was lost
    newcomer = _newcomer(place, message, key)
    more = {"factory": line.factory, "serial": line.serial}
    if device is None or device.decommissioned:
        device = admit(session, newcomer, Event.DEVICE_CLAIMED, now, **more)
    else:
        renew(session, device, newcomer, Event.DEVICE_CLAIMED, now, **more)
    line.device_id, line.released = device.id, False
    session.add(line)
    session.flush()
    return device


def _newcomer(place: _Place, message: Claim, key: PublicKey) -> Newcomer:
    factory, line = place.factory, place.line
    return Newcomer(
        key=key,
        name=line.name or line.serial.replace(":", "-"),
        model=factory.model,
        channel=factory.channel,
        labels={**message.labels, **factory.labels, **line.labels},
        target=message.target,
        runtimes=message.runtimes,
        agent_version=message.agent_version,
    )


def _answer(device: DeviceRow, factory: FactoryRow, poll_seconds: float) -> Claimed:
    return Claimed(
        device=device.id,
        name=device.name,
        model=device.model or factory.model,
        channel=device.channel or factory.channel,
        labels=device.labels,
        poll_seconds=poll_seconds,
    )
