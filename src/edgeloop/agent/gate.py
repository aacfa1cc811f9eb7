"""Stands before the work of each state: conditions, "not now", hooks; and tells what is waited for.

The rule is ``permission``'s; here is what it looks at, and how long it has looked. Called by
whoever moves the update.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeloop.agent import beside, own_conditions, permission
from edgeloop.agent.hooks import ASKED
from edgeloop.agent.notices import Notice
from edgeloop.agent.own_conditions import Own
from edgeloop.agent.permission import Moment, Situation, Wait, held_back
from edgeloop.agent.readings import Readings
from edgeloop.errors import AgentFolderError, DiskFullError, PostponeError
from edgeloop.protocol.messages import Asks, RolloutPlan, State

if TYPE_CHECKING:
    from pathlib import Path

    from edgeloop.agent.hooks import Hooks
    from edgeloop.agent.notices import Notices
    from edgeloop.agent.slots import Slots
    from edgeloop.agent.states import Ledger, Progress
    from edgeloop.clock import Clock

logger = logging.getLogger(__name__)

MOMENTS = {State.DOWNLOADING: Moment.DOWNLOAD, State.TRYING: Moment.INSTALL}
SAVED_FIRST = 60.0  # seconds of waiting behind a start; each next time twice as long
SAVED_EACH = 600.0  # at most; a flash chip is not worn for less
LOOKS_EACH = 10.0  # seconds, while files come
SLICE_SECONDS = 60.0  # of a download, before the device reports and asks again
HOOK_EACH = 60.0  # seconds, of a hook that says "not now"


class PausedError(Exception):
    """A download goes on later; what came is kept. No fault, and never seen outside the agent."""


@dataclass(frozen=True, kw_only=True)
class GateParts:
    """What the gate looks at. ``certain`` gives Unix seconds that have passed for certain."""

    folder: Path
    ledger: Ledger
    slots: Slots
    clock: Clock
    readings: Callable[[], Readings]
    certain: Callable[[], float]
    hooks: Hooks
    notices: Notices


class Gate:
    """Of one device's updates. ``fetched`` counts bytes since it was made."""

    def __init__(self, parts: GateParts) -> None:
        self._parts = parts
        self.fetched = 0
        self._said: tuple[int, Wait | None] = (-1, None)  # behind which move
        self._begun = -1  # the move behind which a hook said yes, and a trial began
        self._asked = float("-inf")  # when a hook last said "not now"
        self._looked = self._began_slice = parts.clock.monotonic()
        self._slice_ends = self._began_slice + SLICE_SECONDS
        self._saves_behind = SAVED_FIRST
        self._counted: tuple[object, float, float] = (None, 0.0, 0.0)  # of which, how long, when

    @property
    def waiting(self) -> Wait | None:
        """What the present state waits for, as it was found last; None: nothing."""
        moves, wait = self._said
        return wait if moves == self._parts.ledger.now.moves else None

    def passes(self) -> bool:
        """Whether the work of the present state may be done now.

        Raises:
            HookError: a hook refuses the update.
        """
        state = self._parts.ledger.now.state
        if state not in ASKED:
            return True
        self._count()
        self._looked = self._began_slice = self._parts.clock.monotonic()
        self._slice_ends = self._began_slice + SLICE_SECONDS
        begun = self._begun == self._parts.ledger.now.moves
        wait = self._conditions(state)
        if wait is None and not begun:
            wait = self._hook(state)
        if wait is None:
            self._begun = self._parts.ledger.now.moves
        self._say(wait)
        return wait is None

    def came(self, size: int) -> None:
        """Some bytes of a download came; 0: only such as are here, from who cannot resume.

        Behind these it goes on for as long again as they took: a slice that they fill would bring
        nothing new, and neither would the next.

        Raises:
            PausedError: a condition holds no more, or it is time to report.
        """
        self.fetched += size
        now = self._parts.clock.monotonic()
        if size == 0:
            self._slice_ends = now + max(SLICE_SECONDS, now - self._began_slice)
        if now >= self._slice_ends:
            raise PausedError
        if now - self._looked >= LOOKS_EACH:
            self._looked = now
            if self._conditions(State.DOWNLOADING) is not None:
                raise PausedError  # what for is said when it passes here again

    def bandwidth(self) -> int | None:
        """Bytes per second at which files may come; None: as they come."""
        listed = self._parts.ledger.now.listed
        limits = (listed.plan.bandwidth if listed else None, self._own(Own()).bandwidth)
        return min((limit for limit in limits if limit is not None), default=None)

    def longest(self) -> float:
        """For how many seconds from now a user may say "not now"; 0: not at all."""
        now = self._parts.ledger.now
        if now.state is State.TRYING and self._begun == now.moves:
            return 0.0
        return longest(now, self._elapsed() or 0.0, back=self._back())

    def check_postponement(self, seconds: float) -> None:
        """Return when a user may say "not now" for so long.

        Raises:
            PostponeError: there is no update to be postponed, or not for so long.
        """
        check_postponement(self._parts.ledger.now, self.longest(), seconds)

    def postpone(self, seconds: float) -> None:
        """Not before ``seconds`` have passed, as far as the release allows; 0: now after all."""
        seconds = min(seconds, self.longest())
        self._begin_to_wait()
        elapsed = self._elapsed() or 0.0
        self._parts.ledger.note(postponed=elapsed + seconds if seconds else 0.0)
        if not seconds:
            self._asked = float("-inf")  # a hook that said "not now" is asked again at once
        logger.info("postpone.done seconds=%.0f", seconds)

    def stop(self) -> None:
        """Before a clean end: how long it has waited is kept."""
        self._count()
        self._save()

    # what it looks at

    def _conditions(self, state: State) -> Wait | None:
        now = self._parts.ledger.now
        if state not in MOMENTS or now.listed is None:
            return None
        plan, back = now.listed.plan, self._back()
        if permission.free(plan, back=back, elapsed=self._elapsed() or 0.0):
            return None
        try:
            own = own_conditions.read(self._parts.folder)
        except AgentFolderError as fault:
            wait: Wait | None = Wait(reason=f"conditions that can be read: {fault}")
        else:
            wait = held_back(MOMENTS[state], self._situation(plan, own, back=back))
        if wait is not None:
            self._begin_to_wait()
        return wait

    def _situation(self, plan: RolloutPlan, own: Own, *, back: bool) -> Situation:
        clock, both = self._parts.clock, (plan.conditions, own)
        return Situation(
            plan=plan,
            own=own,
            readings=self._parts.readings() if any(map(_of_readings, both)) else Readings(),
            now=clock.now(),
            believed=self._believed() if any(asks.hours for asks in both) else True,
            zone=own.zone,
            back=back,
            elapsed=self._elapsed() or 0.0,
            postponed=self._parts.ledger.now.postponed,
        )

    def _hook(self, state: State) -> Wait | None:
        """A hook that says "not now" is heard as long as the conditions are, and then no more."""
        now, clock = self._parts.ledger.now, self._parts.clock
        reason = f"the hook before-{state}"
        waited = self.waiting is not None and self.waiting.reason == reason
        if waited and clock.monotonic() - self._asked < HOOK_EACH:
            return self.waiting
        if self._parts.hooks.before(state, beside.about(now)):
            return None
        self._asked = clock.monotonic()
        self._begin_to_wait()
        elapsed = self._elapsed() or 0.0
        if now.listed is None:
            return None
        over = permission.free(now.listed.plan, back=self._back(), elapsed=elapsed)
        return None if over else Wait(reason=reason)

    def _own(self, otherwise: Own) -> Own:
        try:
            return own_conditions.read(self._parts.folder)
        except AgentFolderError as fault:
            logger.warning("conditions.failed fault=%s", fault)
            return otherwise

    def _back(self) -> bool:
        """Whether it is the way back: to an older release than the one in charge."""
        trying, current = self._parts.ledger.now.trying, self._parts.slots.now.current
        return trying is not None and current is not None and trying.version < current.version

    def _believed(self) -> bool:
        return self._parts.clock.now() >= self._parts.certain()

    # how long it has waited

    def _begin_to_wait(self) -> None:
        if self._parts.ledger.now.waited is None:
            since = self._parts.clock.now() if self._believed() else None
            with suppress(DiskFullError):  # it waits all the same, and the count begins later
                self._parts.ledger.note(waited=0.0, waits_since=since)
            self._counted = (None, 0.0, 0.0)
            self._count()

    def _elapsed(self) -> float | None:
        """Seconds since the device first waited with this update; None: it did not yet.

        By time that was powered, or by the clock where that is longer: a device that is switched
        off at night waits no longer than others, and one without a clock not for ever.
        """
        now = self._parts.ledger.now
        if now.waited is None:
            return None
        of, waited, when = self._counted
        powered = now.waited
        if of == _update(now):
            powered = waited + max(0.0, self._parts.clock.monotonic() - when)
        if now.waits_since is None:
            return powered
        return max(powered, self._parts.clock.now() - now.waits_since)

    def _count(self) -> None:
        """Take down how long it has waited: here at each look, on the disk now and then."""
        now, monotonic = self._parts.ledger.now, self._parts.clock.monotonic()
        of, waited, when = self._counted
        if now.waited is None or of != _update(now):
            self._counted = (_update(now), now.waited or 0.0, monotonic)
            return
        waited += max(0.0, monotonic - when)
        self._counted = (of, waited, monotonic)
        if waited - now.waited >= self._saves_behind:
            self._save()

    def _save(self) -> None:
        """Soon behind a start, then more rarely: powered for minutes, it must wait no longer."""
        waited, now = self._counted[1], self._parts.ledger.now.waited
        if now is None or waited <= now:
            return
        with suppress(DiskFullError):  # there may be room at the next look
            self._parts.ledger.note(waited=waited)
            self._saves_behind = min(SAVED_EACH, 2 * self._saves_behind)

    def _say(self, wait: Wait | None) -> None:
        before, self._said = self.waiting, (self._parts.ledger.now.moves, wait)
        trying = self._parts.ledger.now.trying
        if wait is None or trying is None or (before and before.reason == wait.reason):
            return
        logger.info("wait.done version=%d for=%s until=%s", trying.version, wait.reason, wait.until)
        self._parts.notices.tell(
            Notice(
                kind="waiting",
                release=trying,
                reason=wait.reason,
                until=wait.until,
                postpone_seconds=self.longest(),
            )
        )


def longest(now: Progress, elapsed: float, *, back: bool) -> float:
    """For how many seconds from now an update in this progress may be postponed."""
    if now.state not in ASKED or now.listed is None:
        return 0.0
    return permission.longest_postponement(now.listed.plan, back=back, elapsed=elapsed)


def check_postponement(now: Progress, most: float, seconds: float) -> None:
    """Return when ``seconds`` are within ``most``.

    Raises:
        PostponeError: there is no update to be postponed, or not for so long.
    """
    if now.trying is None or (most == 0 and seconds > 0):
        raise PostponeError(
            "device",
            "must have an update on its way that may wait",
            todo="One that is urgent, goes back, or has begun to be tried goes on",
        )
    if not 0 <= seconds <= most:
        raise PostponeError(
            f"release {now.trying.version}",
            f"must be postponed by at most {most:.0f} s",
            got=f"{seconds:g} s",
        )


def _update(now: Progress) -> object:
    """What tells one update from another."""
    return now.trying and now.trying.digest, now.rollout


def _of_readings(asks: Asks) -> bool:
    """Whether the machine must be looked at."""
    measured = (asks.battery, asks.temperature)
    return asks.charging or not asks.metered or any(one is not None for one in measured)
