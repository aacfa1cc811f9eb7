"""What an update that is under way has in hand, read from its progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeloop.errors import NotListedError
from edgeloop.protocol.messages import Listed, Outcome, ReleaseRef, Result

if TYPE_CHECKING:
    from edgeloop.agent.states import Progress


def trying(now: Progress) -> ReleaseRef:
    """The release that is tried.

    Raises:
        NotListedError: there is none.
    """
    if now.trying is None:
        raise NotListedError("update", "must name the release that is tried")
    return now.trying


def listed(now: Progress) -> Listed:
    """Its signed line.

    Raises:
        NotListedError: it was not read yet.
    """
    if now.listed is None:
        raise NotListedError("update", "must have read the signed line of its release")
    return now.listed


def outcome(
    now: Progress, result: Result, reason: str = "", evidence: dict[str, Any] | None = None
) -> Outcome:
    """How it ended, for the control plane."""
    return Outcome(
        digest=trying(now).digest,
        rollout=now.rollout,
        result=result,
        reason=reason,
        evidence=evidence or {},
    )


def same(one: ReleaseRef | None, other: ReleaseRef | None) -> bool:
    """Whether both are the same bundle; nothing is the same as nothing."""
    return one is not None and other is not None and one.digest == other.digest
