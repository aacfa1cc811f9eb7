"""What devices do: ask what they should be, say how they are."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from edgeloop.errors import ConflictError
from edgeloop.fleet import audit, conduct, followed, signals
from edgeloop.fleet.clients import Clients
from edgeloop.fleet.events import Event
from edgeloop.fleet.models import DeviceRow, FollowedRow, JobRow, RolloutRow
from edgeloop.fleet.plane import Plane
from edgeloop.protocol.messages import Desired, JobState, ReleaseRef, Report, Wished
from edgeloop.types import Json

HELD = (JobState.SUCCEEDED, JobState.IN_PROGRESS)  # jobs whose release a device should have


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
    ref, rollout = _wanted(plane, session, device)
    return Desired(
        release=ref,
        rollout=rollout,
        samples=signals.open_request(session, device),
        poll_seconds=plane.settings.poll_seconds,
        rotate_key=device.rotate,
        client_certificate=plane.settings.clients is not Clients.OFF,
        also=tuple(_wished(plane, session, device, row) for row in followed.rows(session, device)),
    )


def _wanted(
    plane: Plane, session: Session, device: DeviceRow
) -> tuple[ReleaseRef | None, int | None]:
    if device.pinned:
        return ReleaseRef.model_validate(device.pinned), None
    return _newest(_given(plane, session, device, _of_its_model(device)))


def _wished(plane: Plane, session: Session, device: DeviceRow, row: FollowedRow) -> Wished:
    """The same of what a device follows beside its model; nobody pins it."""
    same = [RolloutRow.name == row.name, RolloutRow.channel == row.channel]
    ref, rollout = _newest(_given(plane, session, device, same))
    return Wished(name=row.name, channel=row.channel, release=ref, rollout=rollout)


def _newest(given: Iterator[RolloutRow]) -> tuple[ReleaseRef | None, int | None]:
    row = next(given, None)
    if row is None:
        return None, None
    ref = ReleaseRef(name=row.name, channel=row.channel, version=row.version, digest=row.digest)
    return ref, row.id


def _given(
    plane: Plane, session: Session, device: DeviceRow, of: list[ColumnElement[bool]]
) -> Iterator[RolloutRow]:
    late_back = and_(JobRow.state == JobState.TIMED_OUT, RolloutRow.undoes.is_not(None))
    told = or_(JobRow.state.in_((*HELD, JobState.FAILED)), late_back)
    query = (
        select(RolloutRow, JobRow.state)
        .join(JobRow, JobRow.rollout_id == RolloutRow.id)
        .where(JobRow.device_id == device.id, told, *of)
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
    followed.keep(session, device, message, late=signed < device.signed, now=now)
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
