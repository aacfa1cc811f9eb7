"""Rollouts in the database: operators' verbs, and the rules' decisions carried out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from edgeloop.errors import ConflictError, NotFoundError
from edgeloop.fleet import audit, followed, rollout, verbs
from edgeloop.fleet.events import Event
from edgeloop.fleet.models import DeviceRow, FollowedRow, JobRow, RolloutRow
from edgeloop.fleet.overview import counts
from edgeloop.fleet.plane import Plane
from edgeloop.fleet.signals import device_labels
from edgeloop.fleet.verbs import Verb
from edgeloop.fleet.views import RollbackOrder, RolloutOrder
from edgeloop.protocol import selectors
from edgeloop.protocol.messages import (
    Group,
    JobState,
    Listed,
    Report,
    RolloutPlan,
    RolloutState,
)
from edgeloop.types import Json

logger = logging.getLogger(__name__)

JOB_EVENTS = {
    JobState.IN_PROGRESS: Event.JOB_OFFERED,
    JobState.SUCCEEDED: Event.JOB_SUCCEEDED,
    JobState.FAILED: Event.JOB_FAILED,
    JobState.REJECTED: Event.JOB_REJECTED,
    JobState.TIMED_OUT: Event.JOB_TIMED_OUT,
    JobState.REMOVED: Event.JOB_REMOVED,
}
VERB_EVENTS = {
    Verb.START: Event.ROLLOUT_STARTED,
    Verb.PAUSE: Event.ROLLOUT_PAUSED,
    Verb.RESUME: Event.ROLLOUT_RESUMED,
    Verb.STOP: Event.ROLLOUT_STOPPED,
    Verb.ROLL_BACK: Event.ROLLOUT_ROLLED_BACK,
    Verb.FINISH: Event.ROLLOUT_FINISHED,
    Verb.FALL_SHORT: Event.ROLLOUT_INCOMPLETE,
}


def find(session: Session, number: int) -> RolloutRow:
    """A rollout by its number.

    Raises:
        NotFoundError: there is none.
    """
    row = session.get(RolloutRow, number)
    if row is None:
        raise NotFoundError(f"rollout {number}", "must be one that was made here")
    return row


def create(plane: Plane, session: Session, order: RolloutOrder, actor: str) -> RolloutRow:
    """A rollout of a listed release by its signed plan; started unless a draft was asked for.

    Raises:
        NotListedError: the release is not on the channel's signed list.
        ConflictError: started, while another one of this channel runs, or without any device.
    """
    line = plane.listed(order.name, order.channel, order.version)
    row = _add(session, order, line, now=plane.clock.now(), actor=actor)
    if order.start:
        start(session, row, actor, plane.clock.now())
    return row


def _add(
    session: Session,
    order: RolloutOrder,
    line: Listed,
    *,
    now: float,
    actor: str,
    undoes: int | None = None,
) -> RolloutRow:
    row = RolloutRow(
        name=order.name,
        channel=order.channel,
        version=line.version,
        digest=line.digest,
        plan=line.plan.model_dump(mode="json"),
        targets=list(line.targets),
        needs=list(line.needs),
        alternatives=[list(one) for one in line.alternatives],
        state=RolloutState.DRAFT,
        reason="",
        opened=[-1] * len(line.plan.groups),
        created=now,
        started=None,
        ended=None,
        undoes=undoes,
        warnings=[],
    )
    session.add(row)
    session.flush()
    detail = {**order.model_dump(mode="json"), "digest": line.digest, "plan": row.plan}
    audit.write(session, now, actor, Event.ROLLOUT_CREATED, _subject(row), detail)
    return row


def _subject(row: RolloutRow) -> str:
    return f"rollout:{row.id}"


def start(session: Session, row: RolloutRow, actor: str, now: float) -> None:
    """Choose the devices, queue a job for each, and open the first stages.

    Raises:
        ConflictError: it is no draft, another one of this channel is on, or nobody can be selected.
    """
    _only_one(session, row)
    _move(session, row, Verb.START, actor, now)
    devices = [_device(one, also) for one, also in followed.beside(session, row)]
    enlisted = rollout.enlist(_rollout(row), devices)
    if not enlisted.jobs:
        skipped = "".join(f"; {device} is {why}" for device, why in enlisted.skipped)
        groups = ", ".join(group.select for group in _rollout(row).plan.groups)
        raise ConflictError(
            f"rollout {row.id}",
            f"must select a device of {row.channel}/{row.name} by its groups ({groups})",
            got=f"0{skipped}",
        )
    _warn(session, row, enlisted.warnings, now)
    for device, why in enlisted.skipped:
        detail = {"rollout": row.id, "reason": f"device is {why}"}
        audit.write(session, now, audit.RULES, Event.DEVICE_SKIPPED, f"device:{device}", detail)
    session.add_all(_job_row(row, job) for job in enlisted.jobs)
    session.flush()
    advance(session, row, now)


def _warn(session: Session, row: RolloutRow, warnings: Sequence[str], now: float) -> None:
    row.warnings = list(warnings)
    for warning in warnings:
        detail = {"warning": warning}
        audit.write(session, now, audit.RULES, Event.ROLLOUT_WARNED, _subject(row), detail)


def _only_one(session: Session, row: RolloutRow) -> None:
    query = select(RolloutRow.id).where(
        RolloutRow.name == row.name,
        RolloutRow.channel == row.channel,
        RolloutRow.state.in_(verbs.ACTIVE),
        RolloutRow.id != row.id,
    )
    other = session.scalar(query)
    if other is not None:
        raise ConflictError(
            f"rollout {row.id} of {row.name} on channel {row.channel}",
            "must be the only one that is running or paused",
            got=f"rollout {other}",
            todo=f"Wait until rollout {other} is finished, or stop it",
        )


def _job_row(row: RolloutRow, job: rollout.Job) -> JobRow:
    return JobRow(
        rollout_id=row.id,
        device_id=job.device,
        group_index=job.group,
        stage_index=job.stage,
        state=job.state,
        offered=None,
        ended=None,
        reason="",
        evidence={},
    )


def _move(
    session: Session, row: RolloutRow, verb: Verb, actor: str, now: float, *, reason: str = ""
) -> None:
    row.state = verbs.move(row.id, RolloutState(row.state), verb)
    row.reason = reason or row.reason
    if verb is Verb.START:
        row.started = now
    if RolloutState(row.state).over:
        row.ended = now
    detail: dict[str, Json] = {"version": row.version, "digest": row.digest}
    if reason:
        detail["reason"] = reason
    if verb in {Verb.FINISH, Verb.FALL_SHORT}:
        detail["counts"] = counts(session, [row.id])[row.id]
    audit.write(session, now, actor, VERB_EVENTS[verb], _subject(row), detail)


def pause(session: Session, row: RolloutRow, actor: str, now: float) -> None:
    """Offer nothing new until it is resumed; what was offered goes on."""
    _move(session, row, Verb.PAUSE, actor, now)


def resume(session: Session, row: RolloutRow, actor: str, now: float) -> None:
    """Go on after a pause."""
    _move(session, row, Verb.RESUME, actor, now)
    advance(session, row, now)


def stop(session: Session, row: RolloutRow, actor: str, now: float, reason: str = "") -> None:
    """End it early: queued jobs are removed, offered ones go on to their end. Final."""
    reason = reason or f"stopped by {actor}"
    _move(session, row, Verb.STOP, actor, now, reason=reason)
    _remove(session, row, (JobState.QUEUED,), "the rollout stopped", now)


def _remove(
    session: Session, row: RolloutRow, states: Sequence[JobState], reason: str, now: float
) -> None:
    query = select(JobRow).where(JobRow.rollout_id == row.id, JobRow.state.in_(states))
    for job in session.scalars(query):
        _end(session, job, JobState.REMOVED, now, reason=reason)


def roll_back(
    plane: Plane, session: Session, row: RolloutRow, order: RollbackOrder, actor: str
) -> RolloutRow:
    """Bring the selected devices to a listed release in one stage, instead of this rollout's.

    Where a device does not go back, its job says why, the log says ``device.not_rolled_back``, and
    the rollout that this gives ends as ``incomplete`` with the device's name.

    Raises:
        NotListedError: that release is not listed, or below the floor.
        ProtocolError: the selector is none.
        ConflictError: this rollout is a draft or rolled back already, or another one is on.
    """
    now = plane.clock.now()
    selectors.parse(order.select)
    line = plane.listed(row.name, row.channel, order.version)
    reason = f"{order.select} back to release {order.version} by {actor}"
    _move(session, row, Verb.ROLL_BACK, actor, now, reason=reason)
    _remove(session, row, (JobState.QUEUED, JobState.IN_PROGRESS), "rolled back", now)
    plan = RolloutPlan.model_validate(row.plan).model_copy(
        update={"groups": (Group(select=order.select, stages=("100%",)),)}
    )
    back = RolloutOrder(name=row.name, channel=row.channel, version=order.version)
    line = line.model_copy(update={"plan": plan})
    fresh = _add(session, back, line, now=now, actor=actor, undoes=row.id)
    start(session, fresh, actor, now)
    return fresh


def tick(session: Session, now: float) -> int:
    """Apply the rules to every rollout that can still move; how many decisions they took."""
    open_jobs = select(JobRow.rollout_id).where(JobRow.state == JobState.IN_PROGRESS)
    query = select(RolloutRow).where(
        or_(RolloutRow.state.in_(verbs.ACTIVE), RolloutRow.id.in_(open_jobs))
    )
    return sum(advance(session, row, now) for row in session.scalars(query).all())


def tick_for(session: Session, device: DeviceRow, now: float) -> int:
    """As :func:`tick`, for the rollouts in which what this device is now ends its job.

    Other members are looked at only then: most reports say nothing that a rule asks for.
    """
    query = (
        select(RolloutRow, JobRow)
        .join(JobRow, JobRow.rollout_id == RolloutRow.id)
        .where(
            JobRow.device_id == device.id,
            or_(
                JobRow.state == JobState.IN_PROGRESS,
                (JobRow.state == JobState.SUCCEEDED) & RolloutRow.state.in_(verbs.ACTIVE),
            ),
        )
    )
    said = {(one.name, one.channel): one for one in followed.rows(session, device)}
    ended = [
        row
        for row, job in session.execute(query).all()
        if rollout.settle(_rollout(row), _job(job), _device(device, _of(row, device, said)), now)
    ]
    return sum(advance(session, row, now) for row in ended)


def advance(session: Session, row: RolloutRow, now: float) -> int:
    """Apply the rules to one rollout until nothing follows; how many decisions they took."""
    taken = 0
    while decisions := _decide(session, row, now):
        jobs = {job.device_id: job for job in _jobs(session, row)}
        for decision in decisions:
            _carry_out(session, row, jobs, decision, now)
        taken += len(decisions)
    if taken:
        logger.info("rollout.done id=%d state=%s decisions=%d", row.id, row.state, taken)
    return taken


def _decide(session: Session, row: RolloutRow, now: float) -> list[rollout.Decision]:
    session.flush()
    jobs = [_job(job) for job in _jobs(session, row)]
    members = followed.beside(session, row, members=True)
    devices = {one.id: _device(one, also) for one, also in members}
    return rollout.decide(_rollout(row), jobs, devices, now)


def _jobs(session: Session, row: RolloutRow) -> Sequence[JobRow]:
    return session.scalars(select(JobRow).where(JobRow.rollout_id == row.id)).all()


def _carry_out(
    session: Session,
    row: RolloutRow,
    jobs: dict[str, JobRow],
    decision: rollout.Decision,
    now: float,
) -> None:
    match decision:
        case rollout.Offer(device=device):
            _offer(session, jobs[device], now)
        case rollout.End(device=device, state=state, reason=reason, evidence=evidence):
            _end(session, jobs[device], state, now, reason=reason, evidence=dict(evidence))
            if row.undoes is not None and state in rollout.NOT_BACK:
                _note_not_back(session, row, jobs[device], now)
        case rollout.Open(group=group, stage=stage):
            _open(session, row, group, stage, now)
        case rollout.Stop(reason=reason):
            _move(session, row, Verb.STOP, audit.RULES, now, reason=reason)
        case rollout.Finish():
            session.flush()
            _move(session, row, Verb.FINISH, audit.RULES, now)
        case rollout.FallShort(reason=reason):
            session.flush()
            _move(session, row, Verb.FALL_SHORT, audit.RULES, now, reason=reason)


def _offer(session: Session, job: JobRow, now: float) -> None:
    this = session.get_one(RolloutRow, job.rollout_id)
    older = (
        select(JobRow)
        .join(RolloutRow, RolloutRow.id == JobRow.rollout_id)
        .where(
            JobRow.device_id == job.device_id,
            JobRow.state == JobState.IN_PROGRESS,
            JobRow.rollout_id != job.rollout_id,
            RolloutRow.name == this.name,  # what else it follows goes its own way
        )
    )
    for other in session.scalars(older):
        _end(
            session, other, JobState.REMOVED, now, reason=f"rollout {job.rollout_id} took its place"
        )
    job.state, job.offered = JobState.IN_PROGRESS, now
    _note_job(session, job, now)


def _end(
    session: Session,
    job: JobRow,
    state: JobState,
    now: float,
    *,
    reason: str,
    evidence: dict[str, Json] | None = None,
) -> None:
    job.state, job.ended, job.reason, job.evidence = state, now, reason, evidence or {}
    _note_job(session, job, now)


def _note_job(session: Session, job: JobRow, now: float) -> None:
    detail: dict[str, Json] = {
        "rollout": job.rollout_id,
        "group": job.group_index,
        "stage": job.stage_index,
    }
    if job.reason:
        detail["reason"] = job.reason
    if job.evidence:
        detail["evidence"] = job.evidence
    event = JOB_EVENTS[JobState(job.state)]
    audit.write(session, now, audit.RULES, event, f"device:{job.device_id}", detail)


def _note_not_back(session: Session, row: RolloutRow, job: JobRow, now: float) -> None:
    """Say that a device did not go back, and what it says that it runs instead."""
    device = session.get_one(DeviceRow, job.device_id)
    said = {(one.name, one.channel): one for one in followed.rows(session, device)}
    report = _device(device, _of(row, device, said)).report
    running = report.running if report else None
    detail: dict[str, Json] = {
        "rollout": row.id,
        "undoes": row.undoes,
        "version": row.version,
        "runs": running.version if running else None,
        "state": job.state,
        "reason": job.reason,
    }
    subject = f"device:{job.device_id}"
    audit.write(session, now, audit.RULES, Event.DEVICE_NOT_ROLLED_BACK, subject, detail)


def _open(session: Session, row: RolloutRow, group: int, stage: int, now: float) -> None:
    row.opened = [stage if i == group else old for i, old in enumerate(row.opened)]
    plan = _rollout(row).plan.groups[group]
    detail = {"group": group, "select": plan.select, "stage": stage, "of": len(plan.stages)}
    audit.write(session, now, audit.RULES, Event.ROLLOUT_STAGE, _subject(row), detail)


def _rollout(row: RolloutRow) -> rollout.Rollout:
    return rollout.Rollout(
        id=row.id,
        name=row.name,
        channel=row.channel,
        digest=row.digest,
        plan=RolloutPlan.model_validate(row.plan),
        state=RolloutState(row.state),
        opened=tuple(row.opened),
        targets=tuple(row.targets),
        needs=tuple(row.needs),
        alternatives=tuple(tuple(one) for one in row.alternatives),
        undoes=row.undoes,
    )


def _job(row: JobRow) -> rollout.Job:
    return rollout.Job(
        device=row.device_id,
        group=row.group_index,
        stage=row.stage_index,
        state=JobState(row.state),
        offered=row.offered,
        ended=row.ended,
    )


def _device(row: DeviceRow, also: FollowedRow | None) -> rollout.Device:
    """A device as it follows its model, or ``also``."""
    if also is not None:
        return _also(row, also)
    return rollout.Device(
        id=row.id,
        model=row.model,
        channel=row.channel,
        labels=device_labels(row),
        target=row.target,
        runtimes=tuple(row.runtimes),
        barred=_barred(row),
        gone=row.decommissioned or row.revoked or row.pinned is not None,
        report=Report.model_validate(row.report) if row.report else None,
        reported=row.reported,
        changed=row.changed,
    )


def _also(row: DeviceRow, also: FollowedRow) -> rollout.Device:
    """A pin is of the model alone."""
    said = followed.as_report(row, also)
    return rollout.Device(
        id=row.id,
        model=also.name,
        channel=also.channel,
        labels=device_labels(row),
        target=row.target,
        runtimes=said.runtimes,
        barred=_gone(row) or ("on hold" if row.hold else ""),
        gone=bool(_gone(row)),
        report=said,
        reported=also.reported,
        changed=also.changed,
    )


def _of(
    row: RolloutRow, device: DeviceRow, said: Mapping[tuple[str, str], FollowedRow]
) -> FollowedRow | None:
    return None if device.model == row.name else said.get((row.name, row.channel))


def _gone(row: DeviceRow) -> str:
    if row.decommissioned:
        return "decommissioned"
    return "revoked" if row.revoked else ""


def _barred(row: DeviceRow) -> str:
    if gone := _gone(row):
        return gone
    if row.pinned is not None:
        return f"pinned to release {row.pinned['version']}"
    if row.model is None:
        return "of no known model"
    return "on hold" if row.hold else ""
