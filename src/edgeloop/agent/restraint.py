"""Whether a device begins an update that it is offered: not while it rests or doubts.

Signed metadata that cannot be believed is looked at again, each time later than before, so that a
fleet that doubts does not hammer its repository.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from edgeloop.agent import backoff
from edgeloop.agent.permission import Wait
from edgeloop.agent.reckoning import Reckoning
from edgeloop.errors import DiskFullError

if TYPE_CHECKING:
    from edgeloop.agent.states import Ledger
    from edgeloop.clock import Clock
    from edgeloop.protocol.messages import Desired, ReleaseRef


SAVED_FIRST = 60.0  # seconds of a rest behind a start; each next time twice as long
SAVED_EACH = 600.0  # at most; a flash chip is not worn for less


class Restraint:
    """Of one device. Doubts are counted in memory alone, and anew for another wish."""

    def __init__(self, ledger: Ledger, clock: Clock, draw: backoff.Draw) -> None:
        self._ledger, self._clock, self._draw = ledger, clock, draw
        self._reckoning, self._saves_behind = Reckoning(clock), SAVED_FIRST
        self._of: object = None
        self._doubts, self._again = 0, 0.0
        self._poll_seconds = 0.0  # of the newest wish

    @property
    def resting(self) -> Wait | None:
        """What the device says while it rests."""
        record = self._ledger.now.record
        rest, now = record.rest, self._reckoning.now(record)
        if rest is None or now >= rest.until:
            return None
        return Wait(reason=f"a rest: {rest.reason}", until=self._clock.now() + rest.until - now)

    def allows(self, wish: Desired, current: ReleaseRef | None) -> bool:
        """Whether the release that is wished for may be begun now. The way back always may."""
        release = wish.release
        if release is None:
            return False
        self._poll_seconds = wish.poll_seconds
        back = current is not None and release.version < current.version
        if not back and self._bars(release.digest):
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

    def _bars(self, digest: str) -> bool:
        """Whether it rests from this bundle; how much of the rest has passed is kept meanwhile."""
        record = self._ledger.now.record
        now = self._reckoning.now(record)
        if not record.bars(digest, now):
            return False
        if now - record.latest >= self._saves_behind:
            with suppress(DiskFullError):  # there may be room at the next look
                self._ledger.note(record=record.model_copy(update={"passed": now}))
                self._saves_behind = min(SAVED_EACH, 2 * self._saves_behind)
        return True
