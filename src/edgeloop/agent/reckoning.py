"""The time that rests are counted by: the clock's, or by power where the clock is behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeloop.agent.rests import Record
    from edgeloop.clock import Clock


class Reckoning:
    """Of one running agent. A time that it gave, or that a record holds, is never gone behind.

    So a device whose clock begins anew with each start counts the time for which it was powered,
    and neither its failures nor what is left of a rest depend on when its clock begins.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known = (0.0, clock.monotonic())  # a time, and when it was

    def now(self, record: Record) -> float:
        """Unix seconds, as far as this device can know."""
        (known, when), monotonic = self._known, self._clock.monotonic()
        powered = max(0.0, monotonic - when)
        known = max(self._clock.now(), (known or record.latest) + powered, record.latest)
        self._known = known, monotonic
        return known
