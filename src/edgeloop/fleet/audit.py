"""The audit log: every change of state, written in the transaction that makes it."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from edgeloop.fleet.models import AuditRow
from edgeloop.fleet.views import AuditLine
from edgeloop.types import Json

RULES = "rules"  # the actor, where nobody asked


def write(
    session: Session,
    time: float,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, Json] | None = None,
) -> AuditLine:
    """Append one line; it is there if, and only if, the rest of the transaction is."""
    row = AuditRow(
        time=time, actor=actor, action=action, subject=subject, detail=dict(detail or {})
    )
    session.add(row)
    session.flush()
    return AuditLine.model_validate(row, from_attributes=True)


def newest(session: Session, *, after: int, last: int) -> list[AuditLine]:
    """The ``last`` lines with an id above ``after``, oldest first."""
    query = select(AuditRow).where(AuditRow.id > after).order_by(AuditRow.id.desc()).limit(last)
    found = session.scalars(query).all()
    return [AuditLine.model_validate(row, from_attributes=True) for row in reversed(found)]


def lines(session: Session, *, after: int, limit: int) -> list[AuditLine]:
    """Up to ``limit`` lines with an id above ``after``, oldest first."""
    query = select(AuditRow).where(AuditRow.id > after).order_by(AuditRow.id).limit(limit)
    return [AuditLine.model_validate(row, from_attributes=True) for row in session.scalars(query)]
