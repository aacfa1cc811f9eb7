"""How a key becomes a device: by a one-time token, which may be for a device that is there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from edgeloop.errors import ConflictError, KeyFileError, ProtocolError, UnauthorizedError
from edgeloop.fleet import audit
from edgeloop.fleet.calls import Call, acting
from edgeloop.fleet.events import Event
from edgeloop.fleet.models import DeviceRow, RevokedKeyRow, TokenRow
from edgeloop.fleet.plane import Plane
from edgeloop.protocol.keys import PublicKey, fingerprint, public_pem, read_public
from edgeloop.protocol.messages import Enrol, Enrolled
from edgeloop.types import Json


@dataclass(frozen=True, kw_only=True)
class Newcomer:
    """A device that is to be, however it showed that it may."""

    key: PublicKey
    name: str
    model: str | None
    channel: str | None
    labels: dict[str, str]
    target: str
    runtimes: tuple[str, ...]
    agent_version: str


def token_hash(token: str) -> str:
    """How a token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


def brought(pem: str, what: str) -> PublicKey:
    """The public key that a device brings.

    Raises:
        ProtocolError: it is none.
    """
    try:
        return read_public(pem)
    except KeyFileError as error:
        raise ProtocolError(what, "must bring an Ed25519 or P-256 public key in PEM") from error


def enrol(plane: Plane, call: Call, message: Enrol) -> Enrolled:
    """Make a key a device, once per token; the same key and token get the same answer again.

    Raises:
        UnauthorizedError: the token is unknown, expired, or used by another key.
        SignatureError: the request is not signed by the key that it brings.
        ConflictError: the name belongs to another device, or the key to an enrolled one, or the
            token is for another model or device.
        ProtocolError: the public key is none.
    """
    key = brought(message.public_key, "enrolment")
    now = plane.clock.now()
    signed = call.verify(key, now)
    with plane.database.read() as session:
        _token(session, message.token, key, now)  # a stranger leaves no row behind
    with acting(plane, signed) as session:
        token = _token(session, message.token, key, now)
        if token.used_by is None:
            token.used_by = _let_in(session, message, token, key, now)
        device = token.used_by
    return Enrolled(device=device, poll_seconds=plane.settings.poll_seconds)


def _token(session: Session, text: str, key: PublicKey, now: float) -> TokenRow:
    token = session.get(TokenRow, token_hash(text))
    todo = "Ask an operator for a new one"
    if token is None:
        raise UnauthorizedError("enrolment token", "must be one that was given out here", todo=todo)
    if token.used_by is not None and not is_of(session.get_one(DeviceRow, token.used_by), key):
        raise UnauthorizedError("enrolment token", "must not be used by another device", todo=todo)
    if token.used_by is None and token.expires < now:
        late = f"one that expired {now - token.expires:.0f} s ago"
        raise UnauthorizedError("enrolment token", "must not be expired", got=late, todo=todo)
    return token


def is_of(device: DeviceRow, key: PublicKey) -> bool:
    """Whether a key is the one with which a device speaks."""
    return device.public_key == public_pem(key)


def _let_in(session: Session, message: Enrol, token: TokenRow, key: PublicKey, now: float) -> str:
    """A new device, or the one that the token is for; gives its id."""
    model, channel = _promised(message, token)
    newcomer = Newcomer(
        key=key,
        name=message.name,
        model=model,
        channel=channel,
        labels={**message.labels, **token.labels},
        target=message.target,
        runtimes=message.runtimes,
        agent_version=message.agent_version,
    )
    if token.renews is None:
        return admit(session, newcomer, Event.DEVICE_ENROLLED, now).id
    device = session.get_one(DeviceRow, token.renews)
    if message.name != device.name:
        rule = f"must be {device.name}, which its token is for"
        raise ConflictError(f"device name {message.name}", rule)
    renew(session, device, newcomer, Event.DEVICE_ENROLLED_AGAIN, now)
    return device.id


def admit(
    session: Session, newcomer: Newcomer, event: Event, now: float, **more: Json
) -> DeviceRow:
    """A new device.

    Raises:
        ConflictError: the name belongs to another device, or the key to an enrolled one.
    """
    device = fingerprint(newcomer.key)
    refuse_known_key(session, newcomer.key)
    freed = _free_name(session, newcomer.name)
    row = _new_row(newcomer, device, now)
    session.add(row)
    session.flush()
    detail = {**_told(newcomer), **more, **({"name_was_of": freed} if freed else {})}
    audit.write(session, now, f"device:{device}", event, f"device:{device}", detail)
    return row


def renew(
    session: Session, row: DeviceRow, newcomer: Newcomer, event: Event, now: float, **more: Json
) -> None:
    """Let a device that is there go on with another key; its history and what it has stay.

    Raises:
        ConflictError: it is decommissioned, was revoked and brings the same key, or brings the key
            of another device.
    """
    if row.decommissioned:
        raise ConflictError(f"device {row.name}", "must not be decommissioned")
    if row.revoked and is_of(row, newcomer.key):
        raise key_is_revoked(f"device {row.name}")
    if not is_of(row, newcomer.key):
        refuse_known_key(session, newcomer.key, but=row.id)
    row.public_key, row.next_key = public_pem(newcomer.key), None
    row.rotate = row.revoked = False
    row.labels = {**row.labels, **newcomer.labels}
    row.target, row.runtimes = newcomer.target, list(newcomer.runtimes)
    row.agent_version = newcomer.agent_version
    if newcomer.model is not None:
        row.model, row.channel = newcomer.model, newcomer.channel
    session.flush()
    detail = {**_told(newcomer), **more, "key": fingerprint(newcomer.key)}
    audit.write(session, now, f"device:{row.id}", event, f"device:{row.id}", detail)


def refuse_known_key(session: Session, key: PublicKey, *, but: str = "") -> None:
    """Return when this key was never revoked and no device but ``but`` has it, or had it first.

    Raises:
        ConflictError: it was, or one does.
    """
    pem, own = public_pem(key), fingerprint(key)
    holds = or_(DeviceRow.id == own, DeviceRow.public_key == pem, DeviceRow.next_key == pem)
    known = session.scalar(select(DeviceRow.id).where(holds, DeviceRow.id != but))
    if known is not None:
        raise ConflictError(f"device {known}", "must not be enrolled already")
    revoked = session.get(RevokedKeyRow, own)
    if revoked is not None:
        raise key_is_revoked(f"device {revoked.device_id}")


def key_is_revoked(thing: str) -> ConflictError:
    """What a device hears that comes again with a key that was revoked."""
    todo = "Enrol it with --new-key"
    return ConflictError(thing, "must bring a key that is not revoked", todo=todo)


def _promised(message: Enrol, token: TokenRow) -> tuple[str | None, str | None]:
    """Model and channel of a new device: as it says, or else as its token does; None: not known."""
    if message.model is None:
        return token.model, token.channel
    said = (message.model, message.channel)
    if token.model and said != (token.model, token.channel):
        raise ConflictError(
            f"device {message.name}",
            f"must follow {token.channel}/{token.model}, which its token is for",
            got=f"{message.channel}/{message.model}",
            todo="Enrol it for that model, or ask an operator for a token for this one",
        )
    return said


def _free_name(session: Session, name: str) -> str:
    """Take a name from the decommissioned device that has it, whose id this gives; or from nobody.

    The old one keeps it with its id behind: with a ``~``, which no enrolment can ask for.
    """
    owner = session.scalar(select(DeviceRow).where(DeviceRow.name == name))
    if owner is None:
        return ""
    if not owner.decommissioned:
        raise ConflictError(
            f"device name {name}",
            "must not belong to another device",
            todo="For the same device again, `edgeloop device re-enrol` gives a token",
        )
    owner.name = f"{name}~{owner.id}"
    session.flush()  # before the new row, which has the name
    return owner.id


def _new_row(newcomer: Newcomer, device: str, now: float) -> DeviceRow:
    return DeviceRow(
        id=device,
        name=newcomer.name,
        public_key=public_pem(newcomer.key),
        next_key=None,
        rotate=False,
        revoked=False,
        model=newcomer.model,
        channel=newcomer.channel,
        labels=newcomer.labels,
        target=newcomer.target,
        runtimes=list(newcomer.runtimes),
        agent_version=newcomer.agent_version,
        enrolled=now,
        state=None,
        moves=0,
        report=None,
        last_seen=now,
        reported=0.0,
        signed=0,
        changed=now,
        hold=False,
        pinned=None,
        decommissioned=False,
    )


def _told(newcomer: Newcomer) -> dict[str, Json]:
    return {
        "name": newcomer.name,
        "model": newcomer.model,
        "channel": newcomer.channel,
        "labels": newcomer.labels,
        "target": newcomer.target,
    }
