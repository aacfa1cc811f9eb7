"""What goes with each move: a failure is counted in the same write, the world is told behind it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from edgeloop.agent.notices import Kind, Notice
from edgeloop.agent.permission import longest_postponement
from edgeloop.agent.reckoning import Reckoning
from edgeloop.agent.rests import Record
from edgeloop.agent.states import BUSY, Event
from edgeloop.protocol.messages import State

if TYPE_CHECKING:
    from edgeloop.agent.hooks import Hooks
    from edgeloop.agent.notices import Notices
    from edgeloop.agent.states import Progress
    from edgeloop.clock import Clock
    from edgeloop.types import Json

logger = logging.getLogger(__name__)

FAILING = frozenset({Event.REFUSED, Event.WORSE, Event.STUCK, Event.CRASHED})
ENDS: dict[State, Kind] = {
    State.COMMITTED: "installed",
    State.ROLLED_BACK: "returned",
    State.FAILED: "failed",
    State.IDLE: "withdrawn",
}


class Observer:
    """A :class:`~edgeloop.agent.states.Beside`: counts failures, runs hooks, tells applications."""

    def __init__(self, hooks: Hooks, notices: Notices, clock: Clock) -> None:
        self._hooks, self._notices, self._reckoning = hooks, notices, Reckoning(clock)

    def also(self, before: Progress, event: Event, to: State) -> dict[str, Any]:
        """The record of failures, where it changes."""
        if to is State.COMMITTED and event is Event.DONE:
            return {"record": Record()}
        if event not in FAILING or before.trying is None:
            return {}
        now, ref = self._reckoning.now(before.record), before.trying
        record = before.record.failed(ref.digest, ref.version, now)
        if record.rest and record.rest != before.record.rest:
            rest = record.rest
            logger.warning("rest.done seconds=%g reason=%s", rest.seconds, rest.reason)
        return {"record": record}

    def moved(self, before: Progress, event: Event, after: Progress) -> None:
        """Tell hooks and applications, unless the state goes on: at a start it only begins anew."""
        goes_on = event is Event.POWER_LOST or after.state is before.state
        if goes_on or before.state not in BUSY:
            return
        self._hooks.after(before.state, about(before, event=event, to=after.state))
        ref = after.trying or before.trying
        if ref is None or event is Event.DOUBTED:
            return
        if before.state is State.SYNCING and event is Event.DONE:
            plan = after.listed and after.listed.plan
            longest = longest_postponement(plan, back=False, elapsed=0.0) if plan else 0.0
            self._notices.tell(Notice(kind="coming", release=ref, postpone_seconds=longest))
        elif after.state in ENDS:
            reason = after.outcome.reason if after.outcome else ""
            self._notices.tell(Notice(kind=ENDS[after.state], release=ref, reason=reason))


def about(now: Progress, **more: Json) -> dict[str, Json]:
    """What a hook is told of an update."""
    ref = now.trying
    told = {"state": str(now.state), "rollout": now.rollout, **{k: str(v) for k, v in more.items()}}
    if ref is None:
        return told
    return told | {
        "model": ref.name,
        "channel": ref.channel,
        "version": ref.version,
        "bundle": ref.digest,
    }
