"""Whether a device begins an update that it is offered: not while it rests or doubts.

Signed metadata that cannot be believed is looked at again, each time later than before, so that a
fleet that doubts does not hammer its repository.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeloop.agent import backoff
from edgeloop.agent.permission import Wait

if TYPE_CHECKING:
    from edgeloop.agent.states import Ledger
    from edgeloop.clock import Clock
    from edgeloop.protocol.messages import Desired, ReleaseRef


class Restraint:
    """Of one device. Doubts are counted in memory alone, and anew for another wish."""

    def __init__(self, ledger: Ledger, clock: Clock, draw: backoff.Draw) -> None:
        self._ledger, self._clock, self._draw = ledger, clock, draw
        self._of: object = None
        self._doubts, self._again = 0, 0.0
        self._poll_seconds = 0.0  # of the newest wish

    @property
    def resting(self) -> Wait | None:
        """What the device says while it rests."""
        rest, now = self._ledger.now.record.rest, self._clock.now()
        if rest is None or now >= rest.until:
            return None
        return Wait(reason=f"a rest: {rest.reason}", until=rest.until)

    def allows(self, wish: Desired, current: ReleaseRef | None) -> bool:
        """Whether the release that is wished for may be begun now. The way back always may."""
        release = wish.release
        if release is None:
            return False
        self._poll_seconds = wish.poll_seconds
        self._mind_the_clock()
        back = current is not None and release.version < current.version
        if not back and self._ledger.now.record.bars(release.digest, self._clock.now()):
            return False
        of = (release.digest, wish.rollout)
        return of != self._of or self._clock.monotonic() >= self._again

    def doubted(self, of: tuple[str, int | None]) -> None:
        """Signed metadata was not believed; the first time the next poll looks again."""
        self._doubts = self._doubts + 1 if of == self._of else 1
        self._of = of
        wait = backoff.after_failures(self._doubts - 1, self._poll_seconds, self._draw)
        self._again = self._clock.monotonic() + (wait if self._doubts > 1 else 0.0)

    def believed(self) -> None:
        """Signed metadata was believed."""
        self._of, self._doubts = None, 0

    def _mind_the_clock(self) -> None:
        record = self._ledger.now.record
        if (heeded := record.at(self._clock.now())) != record:
            self._ledger.note(record=heeded)
