"""What the fleet did and when: devices, rollouts and triggers, read from the audit log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from edgeloop.fleet.events import Event
from edgeloop.fleet.views import AuditLine, DeviceView, RolloutView, WindowView
from edgeloop.loop.report.facts import Lane, Mark, RolloutFacts, Span, Trigger
from edgeloop.protocol.messages import JobState, Result
from edgeloop.types import Json

TRIGGER = "trigger."
ENDED_BADLY = {
    Event.JOB_FAILED: "failed",
    Event.JOB_REJECTED: "rejected",
    Event.JOB_TIMED_OUT: "timed out",
}
SHOWN = ("device.", "rollout.", "job.", TRIGGER)  # what else is logged is before the story


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The fleet's own words, with what it takes to read them.

    ``versions`` gives the release of a bundle, ``rollout_versions`` of a rollout.
    """

    devices: Sequence[DeviceView]
    rollouts: Sequence[RolloutView]
    lines: Sequence[AuditLine]
    versions: Mapping[str, int]
    rollout_versions: Mapping[int, int]
    label: str

    @classmethod
    def of(
        cls,
        devices: Sequence[DeviceView],
        rollouts: Sequence[RolloutView],
        lines: Sequence[AuditLine],
        versions: Mapping[str, int],
        label: str,
    ) -> Fleet:
        """Lines in the order in which they were written."""
        return cls(
            devices=devices,
            rollouts=rollouts,
            lines=sorted(lines, key=lambda line: line.id),
            versions=versions,
            rollout_versions={one.id: one.version for one in rollouts},
            label=label,
        )

    def about(self, device: str) -> list[AuditLine]:
        """The lines about one device."""
        return [line for line in self.lines if line.subject == f"device:{device}"]

    def version_of(self, line: AuditLine) -> int | None:
        """The release whose rollout a line is about; None for another loop's."""
        return self.rollout_versions.get(int(line.detail.get("rollout") or 0))


def stretch(lines: Sequence[AuditLine], windows: Sequence[WindowView]) -> tuple[float, float]:
    """First and last time of anything shown; two zeros when there is nothing."""
    times = [line.time for line in lines if line.action.startswith(SHOWN)]
    times += [one.received for one in windows]
    return (min(times), max(times)) if times else (0.0, 0.0)


def lanes(fleet: Fleet, ended: float) -> tuple[Lane, ...]:
    """One lane per device, by group and name."""
    found = [_lane(fleet, device, ended) for device in fleet.devices]
    return tuple(sorted(found, key=lambda lane: (lane.group, lane.name)))


def _lane(fleet: Fleet, device: DeviceView, ended: float) -> Lane:
    lines = fleet.about(device.id)
    told = [line for line in lines if line.action == Event.DEVICE_STATE]
    spans: list[Span] = []
    for line, following in zip_longest(told, told[1:]):
        until = following.time if following else max(ended, line.time)
        _add(spans, _span(line, until, fleet))
    marks = (_mark(line, fleet) for line in lines if line.action in ENDED_BADLY)
    return Lane(
        name=device.name,
        group=device.labels.get(fleet.label, ""),
        spans=tuple(spans),
        marks=tuple(mark for mark in marks if mark),
    )


def _span(line: AuditLine, until: float, fleet: Fleet) -> Span:
    return Span(
        began=line.time,
        ended=until,
        running=_version(line.detail.get("running"), fleet),
        trying=_version(line.detail.get("trying"), fleet),
        state=str(line.detail.get("to", "")),
    )


def _version(ref: Json, fleet: Fleet) -> int | None:
    return fleet.versions.get(ref["digest"]) if ref else None


def _add(spans: list[Span], span: Span) -> None:
    """Behind the others, or as more of the last one when only its state differs."""
    last = spans[-1] if spans else None
    if last is not None and (last.running, last.trying) == (span.running, span.trying):
        spans[-1] = Span(
            began=last.began,
            ended=span.ended,
            running=span.running,
            trying=span.trying,
            state=span.state,
        )
    else:
        spans.append(span)


def _mark(line: AuditLine, fleet: Fleet) -> Mark | None:
    version = fleet.version_of(line)
    if version is None:
        return None  # of another loop that this control plane serves
    result, colon, reason = str(line.detail.get("reason", "")).partition(": ")
    taken_back = result == Result.FAILED_ROLLBACK_COMPLETE
    return Mark(
        time=line.time,
        kind="taken back" if taken_back else ENDED_BADLY[Event(line.action)],
        version=version,
        reason=reason if colon and result in set(Result) else result + colon + reason,
    )


def rollouts(fleet: Fleet) -> tuple[RolloutFacts, ...]:
    """Every rollout of this loop that was started, oldest first."""
    return tuple(
        RolloutFacts(
            id=one.id,
            version=one.version,
            state=str(one.state),
            reason=one.reason,
            began=one.started,
            ended=one.ended,
            devices=sum(one.counts.values()),
            offered=len(_offered(fleet, one.id)),
            succeeded=one.counts.get(JobState.SUCCEEDED, 0),
        )
        for one in sorted(fleet.rollouts, key=lambda one: one.id)
        if one.started is not None
    )


def _offered(fleet: Fleet, rollout: int) -> set[str]:
    return {
        line.subject
        for line in fleet.lines
        if line.action == Event.JOB_OFFERED and line.detail.get("rollout") == rollout
    }


def triggers(fleet: Fleet) -> tuple[Trigger, ...]:
    """Every ``trigger.*`` note that is about a release of this loop."""
    return tuple(
        Trigger(
            time=line.time,
            action=line.action.removeprefix(TRIGGER),
            group=line.subject,
            version=fleet.versions[bundle],
            reason=str(line.detail.get("reason", "")),
            led_to=fleet.versions.get(str(line.detail.get("digest", ""))),
        )
        for line in fleet.lines
        if line.action.startswith(TRIGGER)
        and (bundle := str(line.detail.get("bundle", ""))) in fleet.versions
    )
