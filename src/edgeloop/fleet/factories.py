"""What operators do to factories: whose certificates may claim, and which serial numbers."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from edgeloop.errors import ConflictError, NotFoundError
from edgeloop.fleet import audit, chains
from edgeloop.fleet.events import Event
from edgeloop.fleet.models import FactoryRow, SerialRow
from edgeloop.fleet.views import FactoryOrder, FactoryView, SerialsOrder


def add(session: Session, order: FactoryOrder, actor: str, now: float) -> FactoryRow:
    """A new factory.

    Raises:
        FactoryError: its certificate is no authority's.
        ConflictError: the name is another factory's, or its authority is above or below another's.
    """
    authority = chains.authority(order.certificate)
    if session.get(FactoryRow, order.name) is not None:
        raise ConflictError(f"factory {order.name}", "must not be there already")
    for known in session.scalars(select(FactoryRow).order_by("name")):
        if chains.are_nested(authority, chains.authority(known.certificate)):
            rule = f"must not be above or below that of factory {known.name}"
            todo = "Else a serial number could be claimed once under each of them"
            raise ConflictError(f"authority of factory {order.name}", rule, todo=todo)
    row = FactoryRow(**order.model_dump(), revoked=False, created=now)
    session.add(row)
    session.flush()
    detail = {
        "subject": authority.subject.rfc4514_string(),
        "model": order.model,
        "channel": order.channel,
        "labels": order.labels,
        "listed_only": order.listed_only,
    }
    audit.write(session, now, actor, Event.FACTORY_ADDED, f"factory:{row.name}", detail)
    return row


def find(session: Session, name: str) -> FactoryRow:
    """A factory by its name.

    Raises:
        NotFoundError: there is none.
    """
    row = session.get(FactoryRow, name)
    if row is None:
        raise NotFoundError(f"factory {name}", "must be one that was added")
    return row


def list_serials(
    session: Session, row: FactoryRow, order: SerialsOrder, actor: str, now: float
) -> None:
    """Let these serial numbers claim; what was listed is told anew, a claim stays."""
    for line in order.lines:
        known = session.get(SerialRow, (row.name, line.serial))
        if known is not None:
            known.name, known.labels = line.name, line.labels
            continue
        session.add(
            SerialRow(factory=row.name, device_id=None, released=False, **line.model_dump())
        )
        session.flush()  # a serial number that comes twice is found
    detail = {"serials": len(order.lines), "first": order.lines[0].serial}
    audit.write(session, now, actor, Event.FACTORY_LISTED, f"factory:{row.name}", detail)


def revoke(session: Session, row: FactoryRow, actor: str, now: float) -> None:
    """Let no further device of this factory claim; those that did stay."""
    if not row.revoked:
        row.revoked = True
        audit.write(session, now, actor, Event.FACTORY_REVOKED, f"factory:{row.name}")


def views(session: Session) -> list[FactoryView]:
    """Every factory, by name."""
    return [view(session, row) for row in session.scalars(select(FactoryRow).order_by("name"))]


def view(session: Session, row: FactoryRow) -> FactoryView:
    """A factory as an operator sees it."""
    ca = chains.authority(row.certificate)
    counts = select(func.count(), func.count(SerialRow.device_id))
    listed, claimed = session.execute(counts.where(SerialRow.factory == row.name)).one()
    return FactoryView(
        name=row.name,
        subject=ca.subject.rfc4514_string(),
        ends=ca.not_valid_after_utc.timestamp(),
        model=row.model,
        channel=row.channel,
        labels=row.labels,
        listed_only=row.listed_only,
        revoked=row.revoked,
        created=row.created,
        listed=listed,
        claimed=claimed,
    )
