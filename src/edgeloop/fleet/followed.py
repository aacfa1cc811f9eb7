"""What devices follow beside their model: what they say of it, and how rules see it.

To the rules of a rollout such a device is one more device, of that name and channel, with the same
labels: its own states, its own jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, select

from edgeloop.fleet import audit
from edgeloop.fleet.events import Event
from edgeloop.fleet.models import DeviceRow, FollowedRow, JobRow, RolloutRow
from edgeloop.protocol.messages import Followed, Report
from edgeloop.release.payloads import need

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.orm import Session

    from edgeloop.types import Json


def keep(session: Session, device: DeviceRow, message: Report, *, late: bool, now: float) -> None:
    """Keep what a device says of each; what it follows no more is forgotten.

    ``late``: it was said before what is known; then nothing goes back behind its moves.
    """
    known = {row.name: row for row in rows(session, device)}
    for said in message.also:
        row = known.pop(said.name, None)
        if row is None:
            row = FollowedRow(device_id=device.id, name=said.name, report={}, changed=now)
        elif late and said.moves < Followed.model_validate(row.report).moves:
            continue
        _take(session, row, said, now)
    for row in known.values():
        if not late:
            session.delete(row)


def _take(session: Session, row: FollowedRow, said: Followed, now: float) -> None:
    told, before = said.model_dump(mode="json"), row.report
    if told != before:
        row.changed = now
    row.channel, row.kind, row.report, row.reported = said.channel, said.kind, told, now
    session.add(row)
    _note_change(session, row, before, now)


def _note_change(session: Session, row: FollowedRow, before: Json, now: float) -> None:
    parts, told = ("state", "running", "outcome"), row.report
    if all(told[part] == before.get(part) for part in parts):
        return
    actor = f"device:{row.device_id}"
    detail: dict[str, Json] = {"of": row.name, "from": before.get("state"), "to": told["state"]}
    detail |= {part: told[part] for part in ("moves", "running", "previous", "trying", "outcome")}
    audit.write(session, now, actor, Event.DEVICE_STATE, actor, detail)


def rows(session: Session, device: DeviceRow) -> Sequence[FollowedRow]:
    """What a device follows, by name."""
    query = select(FollowedRow).where(FollowedRow.device_id == device.id)
    return session.scalars(query.order_by(FollowedRow.name)).all()


def beside(
    session: Session, rollout: RolloutRow, *, members: bool = False
) -> Iterator[tuple[DeviceRow, FollowedRow | None]]:
    """Every device, or each with a job there, with what it says of this rollout's name.

    None: it says so of its model, or of nothing.
    """
    same = and_(
        FollowedRow.device_id == DeviceRow.id,
        FollowedRow.name == rollout.name,
        FollowedRow.channel == rollout.channel,
    )
    query = select(DeviceRow, FollowedRow).outerjoin(FollowedRow, same)
    if members:
        query = query.join(JobRow, JobRow.device_id == DeviceRow.id)
        query = query.where(JobRow.rollout_id == rollout.id)
    for device, row in session.execute(query).all():
        yield device, None if device.model == rollout.name else row


def as_report(device: DeviceRow, row: FollowedRow) -> Report:
    """What it says, in the form in which it says how its model is."""
    said = Followed.model_validate(row.report)
    return Report(
        model=said.name,
        channel=said.channel,
        moves=said.moves,
        state=said.state,
        running=said.running,
        previous=said.previous,
        trying=said.trying,
        answers_since_switch=said.checks,
        outcome=said.outcome,
        waiting=said.waiting,
        waiting_until=said.waiting_until,
        target=device.target,
        runtimes=(need(said.kind),),
    )
