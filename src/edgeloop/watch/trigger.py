"""Does the loop start again? Drift says when; a rollout under way says not yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from edgeloop.watch.drift import GroupDrift


class Move(StrEnum):
    """What a trigger does now."""

    CALM = "calm"
    WAIT = "wait"
    FIRE = "fire"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The move, the group that it is for, the reason as a person reads it, and whether it was done.

    A group's bundle has one turn: a second ``FIRE`` for it is told but not ``fired``.
    """

    move: Move
    group: str = ""
    reason: str = ""
    fired: bool = False


def decide(drifts: Sequence[GroupDrift], *, rollout_running: bool) -> Decision:
    """Fire for the group with the most features beyond the limit, unless a rollout is running.

    A rollout changes which bundle answers, so drift seen meanwhile may be about to end; the trigger
    waits, and looks again when the fleet rests.
    """
    drifted = [one for one in drifts if one.drifted]
    if not drifted:
        return Decision(move=Move.CALM)
    worst = max(drifted, key=lambda one: (len(one.beyond), max(one.psi.values())))
    features = ", ".join(f"{name} {worst.psi[name]:.2f}" for name in worst.beyond[:3])
    reason = (
        f"inputs of {worst.group} moved from profile {worst.profile!r}: psi of {features}"
        f" over {worst.answers} answers"
    )
    move = Move.WAIT if rollout_running else Move.FIRE
    return Decision(move=move, group=worst.group, reason=reason)
