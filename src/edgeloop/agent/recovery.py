"""At start: the slot in charge is opened, and what a power cut broke off is taken up."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edgeloop.agent import underway
from edgeloop.agent.payload import TRY_AGAIN, Next, Watched
from edgeloop.agent.slots import Failed
from edgeloop.agent.states import BUSY, Event
from edgeloop.errors import DiskFullError, HandlerError, ModelError, TrustError
from edgeloop.protocol.messages import Outcome, ReleaseRef, Result, State

if TYPE_CHECKING:
    from edgeloop.agent.update import Parts

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 3  # starts of one new slot that a power cut or a crash may end


def recover(parts: Parts) -> Watched | None:
    """Put a slot in charge, then the ledger where the update goes on; or give why it must go back.

    A slot that was on trial is tried anew, unless the restart is a part of its update; until then
    the one before is in charge. A slot in charge whose bytes have changed gives way to the one
    before.
    """
    parts.slots.recount(parts.answers())
    watched = _restarted(parts)
    if watched.next is Next.GO_BACK:
        return watched
    if watched.next is Next.TRY_AGAIN:
        _begin_again(parts)
    return None


def answer_meanwhile(parts: Parts) -> None:
    """Nothing can be written: answer with a slot that is whole, best with one that is proved."""
    now, slots = parts.ledger.now, parts.slots.now
    on_trial = now.state is State.PROBATION and underway.same(slots.current, now.trying)
    wanted = (slots.previous, slots.current) if on_trial else (slots.current, slots.previous)
    for ref in (one for one in wanted if one is not None):
        try:
            _open(parts, ref)
        except (TrustError, ModelError, DiskFullError) as fault:
            logger.warning("start.failed version=%s fault=%s", ref.version, fault)
        else:
            return


def _restarted(parts: Parts) -> Watched:
    now = parts.ledger.now
    if now.state is not State.PROBATION or now.listed is None:
        return TRY_AGAIN
    watched = parts.payload.restarted(underway.trying(now), now.listed.plan)
    if watched.next is not Next.WATCH_ON:
        return watched
    if now.attempts >= MOST_ATTEMPTS:
        return Watched(next=Next.GO_BACK, reason=_endless(now.attempts))
    parts.ledger.move(Event.RESTARTED, attempts=now.attempts + 1)
    return watched


def _begin_again(parts: Parts) -> None:
    now, slots = parts.ledger.now, parts.slots
    on_trial = now.state is State.PROBATION and underway.same(slots.now.current, now.trying)
    if on_trial and slots.now.previous is not None and not _whole(parts, slots.now.previous):
        reason = "power was lost; the slot before is broken"
        outcome = underway.outcome(now, Result.FAILED_UNABLE_TO_ROLLBACK, reason)
        parts.ledger.move(Event.STUCK, trying=None, outcome=outcome)
    elif on_trial:
        slots.restore(parts.answers())
    _open_current(parts)
    _resume(parts)


def _whole(parts: Parts, ref: ReleaseRef) -> bool:
    try:
        parts.slots.check(ref)
    except TrustError:
        return False
    return True


def _open_current(parts: Parts) -> None:
    while (ref := parts.slots.now.current) is not None:
        try:
            _open(parts, ref)
        except (TrustError, ModelError) as fault:
            _give_way(parts, ref, fault)
        else:
            return
    _open(parts, None)


def _open(parts: Parts, ref: ReleaseRef | None) -> None:
    try:
        parts.payload.open(ref)
    except HandlerError as fault:
        logger.warning("start.failed version=%s fault=%s", ref and ref.version, fault)
        failed = parts.ledger.now.outcome
        if failed is not None:
            stuck = {"result": Result.FAILED_UNABLE_TO_ROLLBACK, "reason": str(fault)}
            parts.ledger.note(outcome=failed.model_copy(update=stuck))


def _give_way(parts: Parts, ref: ReleaseRef, fault: TrustError | ModelError) -> None:
    """The slot in charge cannot be used: to the one before, or to none."""
    rollout = parts.ledger.now.rollout
    if isinstance(fault, ModelError):  # changed bytes may be fetched again, these not
        parts.slots.remember(ref, Failed(reason=str(fault), rollout=rollout))
    parts.slots.restore(parts.answers())
    outcome = Outcome(
        digest=ref.digest,
        rollout=rollout,
        result=Result.FAILED_ROLLBACK_COMPLETE,
        reason=str(fault),
    )
    parts.ledger.note(outcome=outcome)
    logger.warning("start.done version=%s broken=%s", ref.version, fault)


def _endless(starts: int) -> str:
    return f"did not come to an end in {starts} starts"


def _resume(parts: Parts) -> None:
    now = parts.ledger.now
    if now.state in {State.TRYING, State.PROBATION} and now.attempts >= MOST_ATTEMPTS:
        reason = _endless(now.attempts)
        done = now.state is State.PROBATION
        result = Result.FAILED_ROLLBACK_COMPLETE if done else Result.FAILED_NO_STATE_CHANGE
        parts.slots.remember(underway.trying(now), Failed(reason=reason, rollout=now.rollout))
        outcome = underway.outcome(now, result, reason)
        parts.ledger.move(Event.CRASHED, trying=None, outcome=outcome)
    elif now.state in BUSY:
        parts.ledger.move(Event.POWER_LOST)
