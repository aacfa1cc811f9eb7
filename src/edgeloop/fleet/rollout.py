"""The rules of a rollout: what is known now in, decisions out. No I/O, no clock.

Words are those of AWS IoT Jobs: a device has a job, a job is offered, an ended job that was offered
counts as executed. Each group of the plan goes through its own stages, all groups in parallel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from edgeloop.protocol import selectors
from edgeloop.protocol.messages import (
    Abort,
    Group,
    JobState,
    Outcome,
    Report,
    Result,
    RolloutPlan,
    RolloutState,
    State,
)
from edgeloop.protocol.stages import out_of_order, stage_size
from edgeloop.types import Json

ENDED = frozenset(JobState) - {JobState.QUEUED, JobState.IN_PROGRESS}
SETTLED = (State.IDLE, State.COMMITTED)  # not in the middle of an update
MOST_NAMED = 5  # devices in one sentence
NOT_BACK = (JobState.FAILED, JobState.REJECTED, JobState.TIMED_OUT)  # of a rollback's job


@dataclass(frozen=True, kw_only=True)
class Device:
    """What the rules need to know of a device. Times are the server's Unix seconds."""

    id: str
    model: str | None  # which it follows; None: not known, and it is barred
    channel: str | None
    labels: Mapping[str, str]  # with its name and target, as selectors see them
    target: str
    runtimes: tuple[str, ...] = ()  # and program steps, as it says of itself
    barred: str = ""  # why it may not be selected: "on hold", "pinned to version 3" ...
    gone: bool = False  # barred in a way that an offered job cannot end well either
    report: Report | None = None
    reported: float = 0.0  # when the last report came
    changed: float = 0.0  # when the last report that said something new came


@dataclass(frozen=True, kw_only=True)
class Job:
    """One device in one rollout."""

    device: str
    group: int
    stage: int
    state: JobState = JobState.QUEUED
    offered: float | None = None
    ended: float | None = None

    @property
    def executed(self) -> bool:
        """Whether it was offered, and ended by what the device did or did not do."""
        return (
            self.offered is not None and self.state in ENDED and self.state is not JobState.REMOVED
        )


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """The release that goes out, its signed plan, and how far each group is."""

    id: int
    name: str  # of the model
    channel: str
    digest: str
    plan: RolloutPlan
    state: RolloutState
    opened: tuple[int, ...]  # per group the newest open stage; -1 before the first
    targets: tuple[str, ...] = ()  # device classes; empty means any
    needs: tuple[str, ...] = ()  # runtime and program steps that a device must have
    alternatives: tuple[tuple[str, ...], ...] = ()  # of its variants: all of one will do
    undoes: int | None = None  # the rollout that this one rolls back


@dataclass(frozen=True, kw_only=True)
class Offer:
    """The job of a device begins."""

    device: str


@dataclass(frozen=True, kw_only=True)
class End:
    """The job of a device ends."""

    device: str
    state: JobState
    reason: str = ""
    evidence: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Open:
    """A group's next stage begins."""

    group: int
    stage: int


@dataclass(frozen=True, kw_only=True)
class Stop:
    """The rollout ends here, for a reason."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Finish:
    """Every job of every group has ended, and no rule is broken."""


@dataclass(frozen=True, kw_only=True)
class FallShort:
    """A rollback ends, and some of its devices are not back."""

    reason: str


Decision: TypeAlias = Offer | End | Open | Stop | Finish | FallShort


@dataclass(frozen=True, kw_only=True)
class Enlisted:
    """Who takes part: a job each; who was skipped, with the reason; what a person should know."""

    jobs: tuple[Job, ...]
    skipped: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()


def order(rollout: int, devices: Iterable[Device]) -> list[Device]:
    """Devices in this rollout's order: the same each time, another one for each rollout."""
    return sorted(devices, key=lambda d: hashlib.sha256(f"{rollout}:{d.id}".encode()).digest())


def enlist(rollout: Rollout, devices: Iterable[Device]) -> Enlisted:
    """Choose each group's devices and their stages; the first group that selects a device has it.

    Devices of other models or channels are not looked at, whatever their labels say.
    A device of another target takes no place in a stage: its job waits in the first one, and ends
    as REJECTED there.
    """
    free = order(rollout.id, (device for device in devices if not _strange(rollout, device)))
    jobs: list[Job] = []
    skipped: list[tuple[str, str]] = []
    warnings: list[str] = []
    for index, group in enumerate(rollout.plan.groups):
        selector = selectors.parse(group.select)
        members = [device for device in free if selector.matches(device.labels)]
        free = [device for device in free if device not in members]
        skipped += [(device.id, device.barred) for device in members if device.barred]
        able = [device for device in members if not device.barred]
        fit = [device for device in able if not _unfit(rollout, device)]
        jobs += _staged(index, group.stages, fit)
        jobs += [Job(device=d.id, group=index, stage=0) for d in able if _unfit(rollout, d)]
        warnings += _warnings(rollout, group, matched=len(members), able=len(able), fit=len(fit))
    return Enlisted(jobs=tuple(jobs), skipped=tuple(skipped), warnings=tuple(warnings))


def _warnings(rollout: Rollout, group: Group, *, matched: int, able: int, fit: int) -> list[str]:
    """What a group does otherwise than it seems, with the devices that there are now."""
    found = []
    if not matched:
        whose = f"device of {rollout.channel}/{rollout.name}"
        found.append(f"group {group.select} matches no {whose} that no group before it has")
    elif not able:
        found.append(f"group {group.select} has only devices that are barred ({matched})")
    if wrong := out_of_order(group.stages):
        found.append(f"group {group.select}: {wrong}")
    left = fit - max(stage_size(stage, fit) for stage in group.stages)
    if left:
        end = f"ends at {group.stages[-1]} and not at 100%"
        found.append(f"group {group.select} {end}: {left} of its {fit} devices get nothing")
    return found


def _staged(group: int, stages: Sequence[int | str], members: Sequence[Device]) -> list[Job]:
    jobs: list[Job] = []
    for index, stage in enumerate(stages):
        size = stage_size(stage, len(members))
        jobs += [Job(device=d.id, group=group, stage=index) for d in members[len(jobs) : size]]
    return jobs


def _strange(rollout: Rollout, device: Device) -> str:
    """Why a device is none of this rollout's; empty when it is, or its model is not known."""
    if device.model is None or (device.model, device.channel) == (rollout.name, rollout.channel):
        return ""
    return f"of {device.channel}/{device.model}"


def _unfit(rollout: Rollout, device: Device) -> str:
    """Why a device cannot take the release, as the device itself would say; empty when it can."""
    if rollout.targets and device.target not in rollout.targets:
        return f"target {device.target} is not among {', '.join(rollout.targets)}"
    ways = rollout.alternatives or (rollout.needs,)
    lacking = [[need for need in way if need not in device.runtimes] for way in ways]
    if not all(lacking):
        return ""
    return f"it has no {' or no '.join(', '.join(lacks) for lacks in lacking)}"


def decide(
    rollout: Rollout, jobs: Sequence[Job], devices: Mapping[str, Device], now: float
) -> list[Decision]:
    """What follows from what is known at ``now``, in the order in which it is to be done.

    Offered jobs are settled in every state. An abort rule stops a running or a paused rollout; only
    a running one opens stages and offers jobs. A rollback offers all of its jobs at once, so that
    an abort rule would spare nobody: it goes on to its end, and says who is not back.
    """
    ends = [end for job in jobs if (end := settle(rollout, job, devices[job.device], now))]
    jobs = _after(jobs, ends, now)
    if rollout.state not in (RolloutState.RUNNING, RolloutState.PAUSED):
        return list(ends)
    reason = "" if rollout.undoes else why_stop(rollout, jobs)
    if reason:
        return [*ends, *remove_queued(jobs, "the rollout stopped"), Stop(reason=reason)]
    if rollout.state is RolloutState.PAUSED:
        return list(ends)
    if all(job.state in ENDED for job in jobs):
        return [*ends, _over(rollout, jobs, devices)]
    opens = _openings(rollout, jobs, now)
    opened = list(rollout.opened)
    for step in opens:
        opened[step.group] = step.stage
    return [*ends, *opens, *_offers(rollout, jobs, devices, opened)]


def _over(
    rollout: Rollout, jobs: Sequence[Job], devices: Mapping[str, Device]
) -> Finish | FallShort:
    missed = [job for job in jobs if job.state in NOT_BACK]
    if rollout.undoes is None or not missed:
        return Finish()
    named = sorted(_left_behind(devices[job.device], job) for job in missed)
    more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
    told = "; ".join(named[:MOST_NAMED]) + more
    return FallShort(reason=f"{len(missed)} of {len(jobs)} devices are not back: {told}")


def _left_behind(device: Device, job: Job) -> str:
    running = device.report.running if device.report else None
    runs = f"runs release {running.version}" if running else "says of no release that it runs it"
    return f"{device.labels.get('name', device.id)} is {job.state}, {runs}"


def settle(rollout: Rollout, job: Job, device: Device, now: float) -> End | None:
    """How an offered job ends by what its device said, or did not say; None when it goes on.

    A device that went back after its success, while the rollout is on, fails after all: this is
    what a soak time is for.
    """
    on = rollout.state in (RolloutState.RUNNING, RolloutState.PAUSED)
    if job.state is JobState.SUCCEEDED and on:
        return _went_wrong(rollout, job, device)
    if job.state is not JobState.IN_PROGRESS or job.offered is None:
        return None
    if away := _strange(rollout, device) or (device.barred if device.gone else ""):
        return End(device=job.device, state=JobState.REMOVED, reason=f"device is {away}")
    wrong = _went_wrong(rollout, job, device)
    return wrong or _right(rollout, job, device) or _late(rollout, job, device, now)


def _late(rollout: Rollout, job: Job, device: Device, now: float) -> End | None:
    """A device that says what it waits for is not silent as long as it goes on saying so."""
    offered, waits = job.offered or now, bool(device.report and device.report.waiting)
    silence = now - max(offered, device.reported if waits else device.changed)
    if waits and silence <= rollout.plan.deadline_seconds:
        return _waited_out(rollout, job, device, now - offered)
    if silence <= rollout.plan.deadline_seconds:
        return None
    limit = f"deadline {rollout.plan.deadline_seconds:g} s"
    reason = f"nothing new from the device for {silence:.0f} s, {limit}"
    return End(device=job.device, state=JobState.TIMED_OUT, reason=reason)


def _waited_out(rollout: Rollout, job: Job, device: Device, passed: float) -> End | None:
    """Past the deadline of its conditions nothing holds a device back; then it has time to end."""
    longest = rollout.plan.conditions.deadline_seconds + rollout.plan.deadline_seconds
    if passed <= longest:
        return None
    waiting = device.report.waiting if device.report else ""
    reason = f"it still waits for {waiting} after {passed:.0f} s, limit {longest:g} s"
    return End(device=job.device, state=JobState.TIMED_OUT, reason=reason)


def _went_wrong(rollout: Rollout, job: Job, device: Device) -> End | None:
    outcome = _outcome(rollout, device)
    if outcome is None or outcome.result is Result.SUCCESSFUL:
        return None
    rejected = outcome.result is Result.REJECTED
    return End(
        device=job.device,
        state=JobState.REJECTED if rejected else JobState.FAILED,
        reason=f"{outcome.result}: {outcome.reason}" if outcome.reason else str(outcome.result),
        evidence=outcome.evidence,
    )


def _outcome(rollout: Rollout, device: Device) -> Outcome | None:
    outcome = device.report.outcome if device.report else None
    if outcome is None or (outcome.rollout, outcome.digest) != (rollout.id, rollout.digest):
        return None  # of an attempt before this one
    return outcome


def _right(rollout: Rollout, job: Job, device: Device) -> End | None:
    report = device.report
    good = (
        report is not None
        and job.offered is not None
        and device.reported >= job.offered
        and report.running is not None
        and report.running.digest == rollout.digest
        and report.state in SETTLED
        and report.answers_since_switch >= rollout.plan.min_answers
    )
    return End(device=job.device, state=JobState.SUCCEEDED) if good else None


def _after(jobs: Sequence[Job], ends: Sequence[End], now: float) -> list[Job]:
    by_device = {end.device: end for end in ends}
    return [
        replace(job, state=by_device[job.device].state, ended=now)
        if job.device in by_device
        else job
        for job in jobs
    ]


def why_stop(rollout: Rollout, jobs: Sequence[Job]) -> str:
    """The first abort rule that the executed jobs of the whole rollout break, as a sentence.

    Beside the plan's rules, a group that is at a stage's end without any success stops the rollout:
    what went out proved nothing.
    """
    executed = [job for job in jobs if job.executed]
    for rule in rollout.plan.abort:
        bad = sum(_counts(rule, job) for job in executed)
        share = 100 * bad / len(executed) if executed else 0.0
        if len(executed) >= rule.min_executed and share > rule.over:
            what = "not SUCCEEDED" if rule.of == "ALL" else rule.of
            return (
                f"{bad} of {len(executed)} executed jobs {what} "
                f"({share:.1f} %), limit {rule.over:g} %"
            )
    return _fruitless(rollout, jobs)


def _counts(rule: Abort, job: Job) -> bool:
    return job.state is not JobState.SUCCEEDED if rule.of == "ALL" else job.state == rule.of


def _fruitless(rollout: Rollout, jobs: Sequence[Job]) -> str:
    for index, stage in enumerate(rollout.opened):
        inside = [job for job in jobs if job.group == index and job.stage <= stage]
        executed = [job for job in inside if job.executed]
        over = all(job.state in ENDED for job in inside)
        if executed and over and not any(j.state is JobState.SUCCEEDED for j in executed):
            select = rollout.plan.groups[index].select
            return f"group {select} ended stage {stage + 1} without a success"
    return ""


def remove_queued(jobs: Sequence[Job], reason: str) -> list[End]:
    """What happens to jobs that were never offered when a rollout ends early."""
    return [
        End(device=job.device, state=JobState.REMOVED, reason=reason)
        for job in jobs
        if job.state is JobState.QUEUED
    ]


def _openings(rollout: Rollout, jobs: Sequence[Job], now: float) -> list[Open]:
    opens = []
    for index, stage in enumerate(rollout.opened):
        last = len(rollout.plan.groups[index].stages) - 1
        inside = [job for job in jobs if job.group == index and job.stage <= stage]
        if stage < last and _soaked(inside, rollout.plan.soak_seconds, now):
            opens.append(Open(group=index, stage=stage + 1))
    return opens


def _soaked(jobs: Sequence[Job], soak: float, now: float) -> bool:
    if any(job.state not in ENDED for job in jobs):
        return False
    successes = [job.ended for job in jobs if job.state is JobState.SUCCEEDED and job.ended]
    return not successes or now - max(successes) >= soak


def _offers(
    rollout: Rollout, jobs: Sequence[Job], devices: Mapping[str, Device], opened: Sequence[int]
) -> list[Offer | End]:
    waiting = [j for j in jobs if j.state is JobState.QUEUED and j.stage <= opened[j.group]]
    return [_offer(rollout, devices[job.device]) for job in waiting]


def _offer(rollout: Rollout, device: Device) -> Offer | End:
    if away := _strange(rollout, device) or device.barred:
        return End(device=device.id, state=JobState.REMOVED, reason=f"device is {away}")
    if reason := _unfit(rollout, device):
        return End(device=device.id, state=JobState.REJECTED, reason=reason)
    return Offer(device=device.id)
