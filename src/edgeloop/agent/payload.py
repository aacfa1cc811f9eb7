"""What an update asks of the thing that it updates: one small protocol, and its values.

:class:`edgeloop.agent.update.Update` makes the moves, and knows no model. What is installed, how it
is proved, watched and put back is a payload's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from edgeloop.protocol.messages import Listed, ReleaseRef, RolloutPlan
    from edgeloop.types import Finding

# checks that no later try on this device could change
FITS = frozenset({"target", "runtime", "payload"})


class RestartingError(Exception):
    """The device, or this process, is about to restart; what is under way goes on behind it."""


class Next(StrEnum):
    """What a payload that is watched asks for."""

    WATCH_ON = "watch on"
    TAKE_OVER = "take over"  # it was watched beside the current one, and may be in charge now
    COMMIT = "commit"
    GO_BACK = "go back"
    TRY_AGAIN = "try again"  # only at start: the restart came in between


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What the probation has come to; ``evidence`` is told to the control plane at its end."""

    next: Next
    reason: str = ""  # of going back
    evidence: dict[str, Any] = field(default_factory=dict)


WATCH_ON = Watched(next=Next.WATCH_ON)
TRY_AGAIN = Watched(next=Next.TRY_AGAIN)


class Payload(Protocol):
    """One thing of a device that is updated. Called by one thread at a time, in this order.

    At each start ``restarted``, where an update was in probation, and ``open``. Then for each
    update ``fits``, ``admit``, ``begin``, ``take_over``, ``watch`` until it asks for an end, and
    ``keep`` or ``put_back``. Each may come again after a power cut.
    The slot's files are checked, and the signed list has been asked, before ``admit``.
    """

    def restarted(self, ref: ReleaseRef, plan: RolloutPlan) -> Watched:
        """At start, in probation: it goes on, has gone back already, or is tried again."""

    def open(self, ref: ReleaseRef | None) -> None:
        """At start: put an installed slot in charge; None: there is none.

        Raises:
            TrustError: its bytes have changed; the slot before is opened instead.
            ModelError: it is broken; likewise, and it is not tried again.
            HandlerError: what was in charge cannot be taken away; the next start tries it again.
        """

    def fits(self, listed: Listed) -> tuple[Finding, ...]:
        """Whether a signed release is for this device; before a byte of it is fetched."""

    def admit(self, ref: ReleaseRef) -> tuple[Finding, ...]:
        """What an installed slot proves while the current one is in charge."""

    def begin(self, plan: RolloutPlan) -> bool:
        """Watch what was admitted beside the current slot; False: nothing to watch there."""

    def take_over(self, plan: RolloutPlan) -> None:
        """What was admitted is in charge, on the disk already; the one before stays at hand."""

    def watch(self) -> Watched:
        """How the probation stands."""

    def keep(self) -> None:
        """The update is committed: what it replaced need not be at hand any more."""

    def put_back(self, *, switched: bool, reason: str = "") -> None:
        """The one before is in charge; ``switched``: it was not, a moment ago. No network.

        Raises:
            HandlerError: it cannot be.
            RestartingError: it is, behind a restart.
        """
