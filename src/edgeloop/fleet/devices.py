"""What devices do: enrol, ask what they should be, say how they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from edgeloop.errors import ConflictError, KeyFileError, ProtocolError, UnauthorizedError
from edgeloop.fleet import audit, conduct, signals
from edgeloop.fleet.calls import Call, acting
from edgeloop.fleet.events import Event
from edgeloop.fleet.models import DeviceRow, JobRow, RolloutRow, TokenRow
from edgeloop.fleet.plane import Plane
from edgeloop.protocol.keys import fingerprint, read_public
from edgeloop.protocol.messages import (
    Desired,
    Enrol,
    Enrolled,
    JobState,
    ReleaseRef,
    Report,
)
from edgeloop.types import Json

HELD = (JobState.SUCCEEDED, JobState.IN_PROGRESS)  # jobs whose release a device should have


def token_hash(token: str) -> str:
    """How a token is kept."""
    return hashlib.sha256(token.encode()).hexdigest()


def enrol(plane: Plane, call: Call, message: Enrol) -> Enrolled:
    """Make a key a device, once per token; the same key and token get the same answer again.

    Raises:
        UnauthorizedError: the token is unknown, expired, or used by another key.
        SignatureError: the request is not signed by the key that it brings.
        ConflictError: the name belongs to another device, or the key to an enrolled one, or the
            token is for another model.
        ProtocolError: the public key is none.
    """
    try:
        key = read_public(message.public_key)
    except KeyFileError as error:
        raise ProtocolError("enrolment", "must bring an Ed25519 public key in PEM") from error
    now = plane.clock.now()
    signed = call.verify(key, now)
    device = fingerprint(key)
    with plane.database.read() as session:
        _token(session, message.token, device, now)  # a stranger leaves no row behind
    with acting(plane, signed) as session:
        token = _token(session, message.token, device, now)
        if token.used_by is None:
            _admit(session, message, token, device, now)
    return Enrolled(device=device, poll_seconds=plane.settings.poll_seconds)


def _token(session: Session, text: str, device: str, now: float) -> TokenRow:
    token = session.get(TokenRow, token_hash(text))
    todo = "Ask an operator for a new one"
    if token is None:
        raise UnauthorizedError("enrolment token", "must be one that was given out here", todo=todo)
    if token.used_by not in {None, device}:
        raise UnauthorizedError("enrolment token", "must not be used by another device", todo=todo)
    if token.used_by is None and token.expires < now:
        late = f"one that expired {now - token.expires:.0f} s ago"
        raise UnauthorizedError("enrolment token", "must not be expired", got=late, todo=todo)
    return token


def _admit(session: Session, message: Enrol, token: TokenRow, device: str, now: float) -> None:
    if session.get(DeviceRow, device) is not None:
        raise ConflictError(f"device {device}", "must not be enrolled already")
    model, channel = _promised(message, token)
    freed = _free_name(session, message.name)
    labels = {**message.labels, **token.labels}
    session.add(
        DeviceRow(
            id=device,
            name=message.name,
            public_key=message.public_key,
            model=model,
            channel=channel,
            labels=labels,
            target=message.target,
            runtimes=list(message.runtimes),
            agent_version=message.agent_version,
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
    )
    session.flush()
    token.used_by = device
    detail: dict[str, Json] = {"name": message.name, "model": model, "channel": channel}
    detail |= {"labels": labels, "target": message.target}
    if freed:
        detail["name_was_of"] = freed
    audit.write(session, now, _actor(device), Event.DEVICE_ENROLLED, _actor(device), detail)


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
        raise ConflictError(f"device name {name}", "must not belong to another device")
    owner.name = f"{name}~{owner.id}"
    session.flush()  # before the new row, which has the name
    return owner.id


def _actor(device: str) -> str:
    return f"device:{device}"


def desired(plane: Plane, session: Session, device: DeviceRow) -> Desired:
    """What a device should be: its pin, or the newest release that it was given and did not fail.

    A device that follows another model by now is told nothing of the one before.

    Where a rollback was offered to a sleeping device, it stays what the device should be after its
    deadline too: the release before it is the one that was rolled back.

    A release that is no longer listed, or is below the floor, is passed over; the device then goes
    to the one before. So is one that it was given again later, and failed: where a rollback went
    wrong, the device stays on what it has.
    """
    request = signals.open_request(session, device)
    poll = plane.settings.poll_seconds
    if device.pinned:
        pinned = ReleaseRef.model_validate(device.pinned)
        return Desired(release=pinned, samples=request, poll_seconds=poll)
    row = next(_given(plane, session, device), None)
    if row is None:
        return Desired(samples=request, poll_seconds=poll)
    ref = ReleaseRef(name=row.name, channel=row.channel, version=row.version, digest=row.digest)
    return Desired(release=ref, rollout=row.id, samples=request, poll_seconds=poll)


def _given(plane: Plane, session: Session, device: DeviceRow) -> Iterator[RolloutRow]:
    late_back = and_(JobRow.state == JobState.TIMED_OUT, RolloutRow.undoes.is_not(None))
    told = or_(JobRow.state.in_((*HELD, JobState.FAILED)), late_back)
    query = (
        select(RolloutRow, JobRow.state)
        .join(JobRow, JobRow.rollout_id == RolloutRow.id)
        .where(JobRow.device_id == device.id, told, *_of_its_model(device))
        .order_by(RolloutRow.id.desc())
    )
    failed: set[str] = set()
    for row, state in session.execute(query).all():
        if state == JobState.FAILED:
            failed.add(row.digest)
        elif row.digest not in failed and plane.offers(row.name, row.channel, row.digest):
            yield row


def _of_its_model(device: DeviceRow) -> list[ColumnElement[bool]]:
    """Where its model is not known, what it was given before models were told apart still holds."""
    if device.model is None:
        return []
    return [RolloutRow.name == device.model, RolloutRow.channel == device.channel]


def report(plane: Plane, session: Session, device: DeviceRow, message: Report, signed: int) -> None:
    """Keep what a device says of itself, and apply the rules if that may end its job.

    ``signed`` is when, in Unix seconds by the device's clock. A report whose ``moves`` went back is
    taken from a device that lost its progress, which the audit log says, but not out of order.

    Raises:
        ConflictError: ``moves`` went back, and it was not signed after the last report.
    """
    now = plane.clock.now()
    if message.moves < device.moves:
        _begin_again(session, device, message, signed, now)
    said = message.model_dump(mode="json")
    if said != device.report:
        _note_change(session, device, message, now)
        device.changed = now
    _follow(session, device, message, now)
    device.report, device.reported, device.signed = said, now, signed
    device.state, device.moves, device.target = message.state, message.moves, message.target
    device.runtimes, device.agent_version = list(message.runtimes), message.agent_version
    conduct.tick_for(session, device, now)


def _follow(session: Session, device: DeviceRow, message: Report, now: float) -> None:
    """Keep which model a device follows: as it says, or else, of an older agent, as it runs."""
    running = message.running
    if message.model is not None:
        said = (message.model, message.channel)
    elif running is not None:
        said = (running.name, running.channel)
    else:
        return
    if said != (device.model, device.channel):
        device.model, device.channel = said
        detail = {"model": device.model, "channel": device.channel}
        audit.write(session, now, _actor(device.id), Event.DEVICE_MODEL, _actor(device.id), detail)


def _begin_again(
    session: Session, device: DeviceRow, message: Report, signed: int, now: float
) -> None:
    if signed <= device.signed:
        raise ConflictError(
            f"report of device {device.id}",
            f"must not go back behind move {device.moves}, unless it is signed later",
            got=message.moves,
        )
    detail = {"from": device.moves, "to": message.moves}
    actor = _actor(device.id)
    audit.write(session, now, actor, Event.DEVICE_BEGAN_AGAIN, actor, detail)


def _note_change(session: Session, device: DeviceRow, message: Report, now: float) -> None:
    before = Report.model_validate(device.report) if device.report else None
    was = (before.state, _digest(before.running)) if before else (None, None)
    if was == (message.state, _digest(message.running)):
        return
    detail: dict[str, Json] = {"from": was[0], "to": message.state, "moves": message.moves}
    for part in ("running", "previous", "trying"):
        ref: ReleaseRef | None = getattr(message, part)
        detail[part] = ref.model_dump(mode="json") if ref else None
    if message.outcome is not None:
        detail["outcome"] = message.outcome.model_dump(mode="json")
    actor = _actor(device.id)
    audit.write(session, now, actor, Event.DEVICE_STATE, actor, detail)


def _digest(ref: ReleaseRef | None) -> str | None:
    return ref.digest if ref else None
