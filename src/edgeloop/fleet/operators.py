"""What operators do to tokens and single devices."""

from __future__ import annotations

import secrets
from pathlib import Path

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from edgeloop import durable
from edgeloop.errors import ConflictError, NotFoundError, UnauthorizedError
from edgeloop.fleet import audit, conduct
from edgeloop.fleet.enrolment import token_hash
from edgeloop.fleet.events import Event
from edgeloop.fleet.models import DeviceRow, OperatorRow, RevokedKeyRow, SerialRow, TokenRow
from edgeloop.fleet.plane import Plane
from edgeloop.fleet.views import DeviceView, PinOrder, TokenOrder, TokenView
from edgeloop.protocol.keys import fingerprint, read_public
from edgeloop.protocol.messages import ReleaseRef, Report
from edgeloop.types import Json

FIRST = "first"  # the operator whose token is made when a control plane first starts


def ensure_first(plane: Plane) -> None:
    """Make the first operator's token file, mode 0600, where there is none that is known here."""
    path = plane.settings.token_file
    token = path.read_text().strip() if path.exists() else _new_token_file(path)
    now = plane.clock.now()
    with plane.database.begin() as session:
        if session.get(OperatorRow, token_hash(token)) is None:
            session.add(OperatorRow(sha256=token_hash(token), name=FIRST, created=now))
            subject = f"operator:{FIRST}"
            audit.write(session, now, audit.RULES, Event.OPERATOR_CREATED, subject)


def _new_token_file(path: Path) -> str:
    token = secrets.token_urlsafe(32)
    durable.write(path, f"{token}\n".encode(), mode=0o600)
    return token


def who(session: Session, authorization: str) -> str:
    """The operator, as the audit log names them, whose token an ``Authorization`` header bears.

    Raises:
        UnauthorizedError: no token, or one that is not known.
    """
    scheme, _, token = authorization.partition(" ")
    todo = "The first one is in operator.token in the control plane's folder"
    if scheme.lower() != "bearer" or not token:
        raise UnauthorizedError("request", "must bear an operator's token", todo=todo)
    row = session.get(OperatorRow, token_hash(token.strip()))
    if row is None:
        raise UnauthorizedError("operator's token", "must be known here", todo=todo)
    return f"operator:{row.name}"


def create_token(session: Session, order: TokenOrder, actor: str, now: float) -> TokenView:
    """A new one-time enrolment token; only its hash is kept.

    Raises:
        NotFoundError, ConflictError: the device that it is to enrol again is none, or was
            decommissioned.
    """
    renews = find(session, order.renews) if order.renews else None
    if renews is not None:
        _must_serve(renews)
    token, expires = secrets.token_urlsafe(24), now + order.valid_seconds
    channel = order.channel if order.model else None
    row = TokenRow(
        sha256=token_hash(token),
        labels=order.labels,
        model=order.model,
        channel=channel,
        created=now,
        expires=expires,
        used_by=None,
        renews=renews.id if renews else None,
    )
    session.add(row)
    given = {"labels": order.labels, "model": order.model, "channel": channel, "expires": expires}
    given |= {"renews": renews.name if renews else None}
    audit.write(session, now, actor, Event.TOKEN_CREATED, f"token:{row.sha256[:12]}", given)
    return TokenView.model_validate({"token": token, **given})


def find(session: Session, key: str) -> DeviceRow:
    """A device by its id or its name.

    Raises:
        NotFoundError: there is none.
    """
    query = select(DeviceRow).where(or_(DeviceRow.id == key, DeviceRow.name == key))
    row = session.scalars(query.order_by(DeviceRow.id != key)).first()
    if row is None:
        raise NotFoundError(f"device {key}", "must be the id or the name of an enrolled device")
    return row


def devices(session: Session, model: str = "") -> list[DeviceView]:
    """Every device, or those of one model, by name."""
    query = select(DeviceRow).order_by(DeviceRow.name)
    if model:
        query = query.where(DeviceRow.model == model)
    return [device_view(row) for row in session.scalars(query)]


def device_view(row: DeviceRow) -> DeviceView:
    """A device as an operator sees it."""
    return DeviceView(
        id=row.id,
        name=row.name,
        model=row.model,
        channel=row.channel,
        labels=row.labels,
        target=row.target,
        runtimes=tuple(row.runtimes),
        agent_version=row.agent_version,
        enrolled=row.enrolled,
        last_seen=row.last_seen,
        state=row.state,
        report=Report.model_validate(row.report) if row.report else None,
        hold=row.hold,
        pinned=ReleaseRef.model_validate(row.pinned) if row.pinned else None,
        decommissioned=row.decommissioned,
        revoked=row.revoked,
        rotating=row.rotate or row.next_key is not None,
    )


def hold(session: Session, row: DeviceRow, actor: str, now: float) -> None:
    """Select this device for nothing new; what it was offered goes on."""
    _must_serve(row)
    row.hold = True
    _note(session, row, Event.DEVICE_HELD, actor, now)


def release_hold(session: Session, row: DeviceRow, actor: str, now: float) -> None:
    """The inverse of :func:`hold`; rollouts that began meanwhile stay without it."""
    _must_serve(row)
    row.hold = False
    _note(session, row, Event.DEVICE_RELEASED, actor, now)


def pin(plane: Plane, session: Session, row: DeviceRow, order: PinOrder, actor: str) -> None:
    """Keep this device on one listed release; an offered job of it is removed.

    A device whose model is not known may be pinned too: it then says what it runs.

    Raises:
        NotListedError: the release is not on the channel's signed list.
        ConflictError: it is of another model or channel, whose releases the device would refuse.
    """
    _must_serve(row)
    _must_follow(row, order)
    line = plane.listed(order.name, order.channel, order.version)
    ref = ReleaseRef(
        name=order.name, channel=order.channel, version=line.version, digest=line.digest
    )
    row.pinned = ref.model_dump(mode="json")
    _note(session, row, Event.DEVICE_PINNED, actor, plane.clock.now(), detail=row.pinned)
    conduct.tick_for(session, row, plane.clock.now())


def unpin(session: Session, row: DeviceRow, actor: str, now: float) -> None:
    """The inverse of :func:`pin`."""
    _must_serve(row)
    row.pinned = None
    _note(session, row, Event.DEVICE_UNPINNED, actor, now)


def decommission(session: Session, row: DeviceRow, actor: str, now: float) -> None:
    """Listen to this device no more, for ever; an offered job of it is removed."""
    _must_serve(row)
    row.decommissioned = True
    _note(session, row, Event.DEVICE_DECOMMISSIONED, actor, now)
    conduct.tick_for(session, row, now)


def revoke(session: Session, row: DeviceRow, actor: str, now: float) -> None:
    """Refuse all that this device says, until it is enrolled again; its offered job is removed.

    Neither of its keys is ever taken again.
    """
    _must_serve(row)
    for pem in filter(None, (row.public_key, row.next_key)):
        key = fingerprint(read_public(pem))
        session.merge(RevokedKeyRow(fingerprint=key, device_id=row.id))
    row.revoked, row.next_key = True, None
    _note(session, row, Event.DEVICE_REVOKED, actor, now)
    conduct.tick_for(session, row, now)


def ask_rotation(session: Session, row: DeviceRow, actor: str, now: float) -> None:
    """Let this device make itself a new key, when it asks next."""
    _must_serve(row)
    row.rotate = True
    _note(session, row, Event.DEVICE_ROTATION_ASKED, actor, now)


def release_claim(session: Session, row: DeviceRow, actor: str, now: float) -> None:
    """Let this device's serial number be claimed once more, by another key.

    Raises:
        ConflictError: it was not enrolled by a factory certificate.
    """
    line = session.scalar(select(SerialRow).where(SerialRow.device_id == row.id))
    if line is None:
        todo = f"`edgeloop device re-enrol {row.name}` gives a token"
        rule = "must have been claimed by a factory certificate"
        raise ConflictError(f"device {row.name}", rule, todo=todo)
    line.released = True
    detail: dict[str, Json] = {"factory": line.factory, "serial": line.serial}
    _note(session, row, Event.DEVICE_CLAIM_FREED, actor, now, detail=detail)


def _must_serve(row: DeviceRow) -> None:
    if row.decommissioned:
        raise ConflictError(f"device {row.name}", "must not be decommissioned")


def _must_follow(row: DeviceRow, order: PinOrder) -> None:
    if row.model and (row.model, row.channel) != (order.name, order.channel):
        raise ConflictError(
            f"pin of device {row.name}",
            f"must be to a release of {row.channel}/{row.model}, which it follows",
            got=f"{order.channel}/{order.name}",
        )


def _note(
    session: Session,
    row: DeviceRow,
    event: Event,
    actor: str,
    now: float,
    *,
    detail: dict[str, Json] | None = None,
) -> None:
    audit.write(session, now, actor, event, f"device:{row.id}", detail)
