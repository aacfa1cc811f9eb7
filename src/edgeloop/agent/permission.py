"""Whether an update may go on now, or what it waits for. No I/O, no clock.

Conditions come from the signed plan of the release and from the device's own settings, and both
must hold. What a device does not know of itself holds nothing back. Nothing does past the plan's
deadline, for an urgent release, and on the way back to an older release.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum

from edgeloop.agent.readings import Readings
from edgeloop.protocol import hours
from edgeloop.protocol.messages import Asks, RolloutPlan


class Moment(StrEnum):
    """What an update is about to do."""

    DOWNLOAD = "download"
    INSTALL = "install"  # try the new slot, which then takes over as soon as it has proved itself


@dataclass(frozen=True, kw_only=True)
class Wait:
    """``until``: Unix seconds when this is over by itself; None: only the world can end it."""

    reason: str
    until: float | None = None


@dataclass(frozen=True, kw_only=True)
class Situation:
    """All that the rule looks at. ``elapsed``: seconds since the device first waited."""

    plan: RolloutPlan
    own: Asks
    readings: Readings
    now: float  # Unix seconds by the device's clock
    believed: bool  # whether that is not earlier than what the device knows to have passed
    zone: tzinfo | None  # None: the system's
    back: bool  # to an older release than the one in charge
    elapsed: float
    postponed: float = 0.0  # "not now" until so many seconds have elapsed


def free(plan: RolloutPlan, *, back: bool, elapsed: float) -> bool:
    """Whether no condition holds any more: urgent, on the way back, or past the deadline."""
    return plan.urgent or back or elapsed >= plan.conditions.deadline_seconds


def longest_postponement(plan: RolloutPlan, *, back: bool, elapsed: float) -> float:
    """How many seconds from now a user may say "not now" for; 0 is not at all."""
    if free(plan, back=back, elapsed=elapsed):
        return 0.0
    end = min(plan.postpone_seconds, plan.conditions.deadline_seconds)
    return max(0.0, end - elapsed)


def held_back(moment: Moment, it: Situation) -> Wait | None:
    """What an update waits for before ``moment``; None: it may go on."""
    if free(it.plan, back=it.back, elapsed=it.elapsed):
        return None
    deadline = it.now + it.plan.conditions.deadline_seconds - it.elapsed
    waits = [*_postponed(moment, it)]
    for asks in (it.plan.conditions, it.own):
        waits += [*_readings(moment, asks, it.readings), *_hours(moment, asks, it)]
    if not waits:
        return None
    known = [wait.until for wait in waits if wait.until is not None]
    until = min(deadline, max(known)) if len(known) == len(waits) else None
    return Wait(reason=", ".join(dict.fromkeys(wait.reason for wait in waits)), until=until)


def _postponed(moment: Moment, it: Situation) -> Iterator[Wait]:
    if moment is Moment.INSTALL and it.elapsed < it.postponed:
        yield Wait(reason='"not now" of a user', until=it.now + it.postponed - it.elapsed)


def _readings(moment: Moment, asks: Asks, got: Readings) -> Iterator[Wait]:
    """By what is asked, not by what was read: a report that changes with each reading is noise."""
    if asks.charging and got.charging is False:
        yield Wait(reason="power from outside")
    if asks.battery is not None and _less(got.battery_percent, asks.battery):
        yield Wait(reason=f"a battery of {asks.battery:g} % or more")
    if asks.temperature is not None and _less(asks.temperature, got.temperature_c):
        yield Wait(reason=f"{asks.temperature:g} degrees or less")
    if moment is Moment.DOWNLOAD and not asks.metered and got.metered is True:
        yield Wait(reason="a link that is not metered")


def _less(one: float | None, other: float | None) -> bool:
    return one is not None and other is not None and one < other


def _hours(moment: Moment, asks: Asks, it: Situation) -> Iterator[Wait]:
    if not asks.hours or (moment is Moment.DOWNLOAD and asks.download == "any time"):
        return
    if not it.believed:
        yield Wait(reason="a clock that is right, to know the hour")
    elif not hours.inside(it.now, asks.hours, asks.days, it.zone):
        days = f" ({', '.join(asks.days)})" if asks.days else ""
        until = hours.next_inside(it.now, asks.hours, asks.days, it.zone)
        yield Wait(reason=f"the hours {', '.join(asks.hours)}{days}", until=until)
