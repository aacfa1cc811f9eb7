"""What devices send home: windows and samples, each counted once, samples within a budget."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from edgeloop.errors import NotFoundError
from edgeloop.fleet import audit
from edgeloop.fleet.events import Event
from edgeloop.fleet.models import DeviceRow, SampleRequestRow, SampleRow, WindowRow
from edgeloop.fleet.views import (
    Received,
    SampleOrder,
    SampleRequestView,
    SampleView,
    WindowView,
)
from edgeloop.protocol import selectors
from edgeloop.protocol.messages import Sample, SampleRequest, Samples, Window, Windows


def device_labels(device: DeviceRow) -> dict[str, str]:
    """A device's labels as selectors see them."""
    return {**device.labels, "name": device.name, "target": device.target}


def keep_windows(session: Session, device: DeviceRow, message: Windows, now: float) -> Received:
    """Store each window once by (device, id); all of them are then safe to forget."""
    ids = [window.id for window in message.windows]
    query = select(WindowRow.id).where(WindowRow.device_id == device.id, WindowRow.id.in_(ids))
    seen = set(session.scalars(query))
    for window in message.windows:
        if window.id not in seen:
            seen.add(window.id)
            session.add(_window_row(device, window, now))
    return Received(accepted=tuple(ids))


def _window_row(device: DeviceRow, window: Window, now: float) -> WindowRow:
    return WindowRow(
        device_id=device.id,
        id=window.id,
        bundle=window.bundle,
        version=window.version,
        began=window.began,
        ended=window.ended,
        received=now,
        payload=window.model_dump(mode="json"),
    )


def windows(
    session: Session, *, select_text: str, bundle: str, since: int, limit: int
) -> list[WindowView]:
    """Up to ``limit`` stored windows of the selected devices after ``since``, oldest first."""
    members = _members(session, select_text)
    query = select(WindowRow).where(WindowRow.seq > since, WindowRow.device_id.in_(members))
    if bundle:
        query = query.where(WindowRow.bundle == bundle)
    rows = session.scalars(query.order_by(WindowRow.seq).limit(limit))
    return [_window_view(row, members[row.device_id]) for row in rows]


def _members(session: Session, select_text: str) -> dict[str, DeviceRow]:
    selector = selectors.parse(select_text)
    devices = session.scalars(select(DeviceRow))
    return {one.id: one for one in devices if selector.matches(device_labels(one))}


def _window_view(row: WindowRow, device: DeviceRow) -> WindowView:
    return WindowView(
        seq=row.seq,
        device=device.id,
        name=device.name,
        labels=device.labels,
        received=row.received,
        window=Window.model_validate(row.payload),
    )


def request_samples(
    session: Session, order: SampleOrder, actor: str, now: float
) -> SampleRequestView:
    """Open a request; matching devices see it when they ask what they should be."""
    selectors.parse(order.select)
    row = SampleRequestRow(
        selector=order.select,
        model=order.model,
        count=order.count,
        per_device=min(order.per_device or order.count, order.count),
        created=now,
        closed=None,
    )
    session.add(row)
    session.flush()
    detail = order.model_dump(mode="json")
    audit.write(session, now, actor, Event.SAMPLES_REQUESTED, _subject(row), detail)
    return request_view(session, row)


def _subject(row: SampleRequestRow) -> str:
    return f"sample-request:{row.id}"


def open_request(session: Session, device: DeviceRow) -> SampleRequest | None:
    """The oldest open request that is for this device and still takes something from it.

    ``count`` is the device's own share and does not change while others send. Whether the device
    opted in is the device's to know.
    """
    query = select(SampleRequestRow).where(SampleRequestRow.closed.is_(None))
    for row in session.scalars(query.order_by(SampleRequestRow.id)):
        if _is_for(row, device) and _sent(session, row, device.id) < row.per_device:
            return SampleRequest(id=row.id, count=row.per_device, model=row.model)
    return None


def _is_for(row: SampleRequestRow, device: DeviceRow) -> bool:
    """Whether a request is of this device's model, or of any, and selects the device."""
    selected = selectors.parse(row.selector).matches(device_labels(device))
    return selected and row.model in {None, device.model}


def _sent(session: Session, row: SampleRequestRow, device: str = "") -> int:
    query = select(func.count()).select_from(SampleRow).where(SampleRow.request_id == row.id)
    if device:
        query = query.where(SampleRow.device_id == device)
    return session.scalar(query) or 0


def keep_samples(session: Session, device: DeviceRow, message: Samples, now: float) -> Received:
    """Store samples once by answer id, never more than the request's budget in all.

    Raises:
        NotFoundError: no such request for this device.
    """
    row = session.get(SampleRequestRow, message.request)
    if row is None or not _is_for(row, device):
        raise NotFoundError(f"sample request {message.request}", "must be one for this device")
    mine = select(SampleRow.answer).where(
        SampleRow.request_id == row.id, SampleRow.device_id == device.id
    )
    stored = set(session.scalars(mine))
    asked = dict.fromkeys(sample.answer for sample in message.samples)
    fresh = {sample.answer: sample for sample in message.samples if sample.answer not in stored}
    room = min(row.per_device - len(stored), row.count - _sent(session, row))
    kept = list(fresh.values())[: max(room, 0)] if row.closed is None else []
    _add_samples(session, row, device, kept, now)
    stored.update(sample.answer for sample in kept)
    return Received(accepted=tuple(answer for answer in asked if answer in stored))


def _add_samples(
    session: Session, row: SampleRequestRow, device: DeviceRow, kept: Sequence[Sample], now: float
) -> None:
    for sample in kept:
        payload = sample.model_dump(mode="json")
        session.add(
            SampleRow(
                request_id=row.id,
                device_id=device.id,
                answer=sample.answer,
                received=now,
                payload=payload,
            )
        )
    if not kept:
        return
    session.flush()
    total, actor = _sent(session, row), f"device:{device.id}"
    detail = {"samples": len(kept), "in_all": total, "count": row.count}
    audit.write(session, now, actor, Event.SAMPLES_RECEIVED, _subject(row), detail)
    if total >= row.count:
        close_request(session, row, audit.RULES, now)


def close_request(session: Session, row: SampleRequestRow, actor: str, now: float) -> None:
    """Take no more samples for a request; closing it again changes nothing."""
    if row.closed is None:
        row.closed = now
        detail = {"received": _sent(session, row)}
        audit.write(session, now, actor, Event.SAMPLES_CLOSED, _subject(row), detail)


def find_request(session: Session, request: int) -> SampleRequestRow:
    """A request by its number.

    Raises:
        NotFoundError: there is none.
    """
    row = session.get(SampleRequestRow, request)
    if row is None:
        raise NotFoundError(f"sample request {request}", "must be one that was made here")
    return row


def requests(session: Session) -> list[SampleRequestView]:
    """Every request for samples, oldest first."""
    rows = session.scalars(select(SampleRequestRow).order_by(SampleRequestRow.id))
    return [request_view(session, row) for row in rows]


def request_view(session: Session, row: SampleRequestRow) -> SampleRequestView:
    """A request as an operator sees it."""
    return SampleRequestView(
        id=row.id,
        select=row.selector,
        model=row.model,
        count=row.count,
        per_device=row.per_device,
        created=row.created,
        closed=row.closed,
        received=_sent(session, row),
    )


def samples(session: Session, *, request: int, since: int, limit: int) -> list[SampleView]:
    """Up to ``limit`` samples of a request after ``since``, in the order in which they came."""
    query = (
        select(SampleRow, DeviceRow)
        .join(DeviceRow, DeviceRow.id == SampleRow.device_id)
        .where(SampleRow.request_id == request, SampleRow.seq > since)
        .order_by(SampleRow.seq)
        .limit(limit)
    )
    return [_sample_view(row, device) for row, device in session.execute(query)]


def _sample_view(row: SampleRow, device: DeviceRow) -> SampleView:
    return SampleView(
        seq=row.seq,
        request=row.request_id,
        device=device.id,
        labels=device.labels,
        received=row.received,
        sample=Sample.model_validate(row.payload),
    )
