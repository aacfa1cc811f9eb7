"""Rollouts as operators see them: how far each is, and every device's job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from edgeloop.fleet.models import DeviceRow, JobRow, RolloutRow
from edgeloop.fleet.views import JobView, RolloutView
from edgeloop.protocol.messages import JobState, RolloutPlan, RolloutState


def counts(session: Session, numbers: Iterable[int]) -> dict[int, dict[JobState, int]]:
    """Per rollout, how many jobs are in which state."""
    found: dict[int, dict[JobState, int]] = {number: {} for number in numbers}
    query = (
        select(JobRow.rollout_id, JobRow.state, func.count())
        .where(JobRow.rollout_id.in_(found))
        .group_by(JobRow.rollout_id, JobRow.state)
    )
    for number, state, many in session.execute(query):
        found[number][JobState(state)] = many
    return found


def views(session: Session) -> list[RolloutView]:
    """Every rollout without its jobs, oldest first."""
    rows = session.scalars(select(RolloutRow).order_by(RolloutRow.id)).all()
    many = counts(session, [row.id for row in rows])
    return [_view(row, many[row.id], ()) for row in rows]


def view(session: Session, row: RolloutRow) -> RolloutView:
    """One rollout with every job, by group, stage and device."""
    session.flush()
    query = (
        select(JobRow, DeviceRow)
        .join(DeviceRow, DeviceRow.id == JobRow.device_id)
        .where(JobRow.rollout_id == row.id)
        .order_by(JobRow.group_index, JobRow.stage_index, DeviceRow.name)
    )
    jobs = tuple(_job_view(job, device, row.digest) for job, device in session.execute(query))
    return _view(row, counts(session, [row.id])[row.id], jobs)


def _view(row: RolloutRow, many: dict[JobState, int], jobs: tuple[JobView, ...]) -> RolloutView:
    return RolloutView(
        id=row.id,
        name=row.name,
        channel=row.channel,
        version=row.version,
        digest=row.digest,
        plan=RolloutPlan.model_validate(row.plan),
        targets=tuple(row.targets),
        needs=tuple(row.needs),
        alternatives=tuple(tuple(one) for one in row.alternatives),
        state=RolloutState(row.state),
        reason=row.reason,
        opened=tuple(row.opened),
        created=row.created,
        started=row.started,
        ended=row.ended,
        counts=many,
        variants=Counter(job.variant for job in jobs if job.variant is not None),
        undoes=row.undoes,
        warnings=tuple(row.warnings),
        jobs=jobs,
    )


def _job_view(job: JobRow, device: DeviceRow, digest: str) -> JobView:
    report = device.report if job.state == JobState.IN_PROGRESS else None
    return JobView(
        device=job.device_id,
        device_name=device.name,
        group=job.group_index,
        stage=job.stage_index,
        state=JobState(job.state),
        offered=job.offered,
        ended=job.ended,
        reason=job.reason,
        waiting=report.get("waiting", "") if report else "",
        variant=_variant(device, digest),
        evidence=job.evidence,
    )


def _variant(device: DeviceRow, digest: str) -> str | None:
    """Which graph of a bundle a device says that it answers with; None: it runs another."""
    report = device.report or {}
    running = report.get("running") or {}
    return str(report.get("variant", "main")) if running.get("digest") == digest else None
