"""The table of an update: where a device is, what happened, where it goes.

No I/O but one file: :class:`Ledger` saves each move before it is made.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeloop import durable
from edgeloop.agent.rests import Record
from edgeloop.errors import AgentFolderError, TransitionError
from edgeloop.protocol.messages import Listed, Outcome, ReleaseRef, State

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

FORMAT = 1


class Event(StrEnum):
    """What can happen to an update."""

    OFFERED = "offered"  # the control plane names a release that is not in charge here
    DONE = "done"  # this state's work is finished
    DOUBTED = "doubted"  # signed metadata that cannot be believed now; the next poll looks again
    REFUSED = "refused"  # signature, list, digest, target, admission ...: nothing was changed
    WORSE = "worse"  # probation failed, and the slot before is in charge
    STUCK = "stuck"  # probation failed, and the slot before cannot be loaded
    WITHDRAWN = "withdrawn"  # the control plane wishes something else now
    POWER_LOST = "power lost"  # found at start
    RESTARTED = "restarted"  # found at start: the restart is a part of this update
    CRASHED = "crashed"  # found at start, for the last time that is allowed


RESTING = frozenset({State.IDLE, State.COMMITTED, State.ROLLED_BACK, State.FAILED})
BUSY = frozenset(State) - RESTING

MOVES: dict[tuple[State, Event], State] = {
    (State.SYNCING, Event.DONE): State.DOWNLOADING,
    (State.DOWNLOADING, Event.DONE): State.VERIFYING,
    (State.VERIFYING, Event.DONE): State.INSTALLING,
    (State.INSTALLING, Event.DONE): State.TRYING,
    (State.TRYING, Event.DONE): State.PROBATION,
    (State.PROBATION, Event.DONE): State.COMMITTED,
    (State.SYNCING, Event.DOUBTED): State.IDLE,
    # what goes wrong before the new slot has answered anybody changes nothing
    (State.SYNCING, Event.REFUSED): State.FAILED,
    (State.DOWNLOADING, Event.REFUSED): State.FAILED,
    (State.VERIFYING, Event.REFUSED): State.FAILED,
    (State.INSTALLING, Event.REFUSED): State.FAILED,
    (State.TRYING, Event.REFUSED): State.FAILED,
    # what goes wrong later goes back
    (State.PROBATION, Event.WORSE): State.ROLLED_BACK,
    (State.PROBATION, Event.STUCK): State.FAILED,
    (State.PROBATION, Event.CRASHED): State.ROLLED_BACK,
    (State.TRYING, Event.CRASHED): State.FAILED,
    # a new slot is tried anew after a power cut: while it is tried the one before is in charge
    (State.IDLE, Event.POWER_LOST): State.IDLE,
    (State.SYNCING, Event.POWER_LOST): State.SYNCING,
    (State.DOWNLOADING, Event.POWER_LOST): State.DOWNLOADING,  # resumes
    (State.VERIFYING, Event.POWER_LOST): State.VERIFYING,
    (State.INSTALLING, Event.POWER_LOST): State.VERIFYING,
    (State.TRYING, Event.POWER_LOST): State.TRYING,
    (State.PROBATION, Event.POWER_LOST): State.TRYING,
    (State.PROBATION, Event.RESTARTED): State.PROBATION,  # of firmware, of the agent itself
    (State.COMMITTED, Event.POWER_LOST): State.COMMITTED,
    (State.ROLLED_BACK, Event.POWER_LOST): State.ROLLED_BACK,
    (State.FAILED, Event.POWER_LOST): State.FAILED,
} | {
    **{(state, Event.OFFERED): State.SYNCING for state in RESTING},
    **{(state, Event.WITHDRAWN): State.IDLE for state in BUSY},
}


def move(state: State, event: Event) -> State:
    """Where ``event`` leads from ``state``.

    Raises:
        TransitionError: the table has no such move.
    """
    if (state, event) not in MOVES:
        known = ", ".join(str(e) for s, e in MOVES if s == state)
        raise TransitionError(f"state {state}", f"takes only: {known}", got=str(event))
    return MOVES[state, event]


class Progress(BaseModel):
    """Where the device is in which update, as it lies on disk."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = FORMAT
    moves: Annotated[int, Field(ge=0)] = 0
    state: State = State.IDLE
    trying: ReleaseRef | None = None
    rollout: int | None = None
    listed: Listed | None = None  # the signed line of ``trying``, once it was read
    attempts: int = 0  # how often the new slot was started and did not come to an end
    outcome: Outcome | None = None  # of the newest update that ended
    # of ``trying``: how long it has waited, by time that was powered; None: it never had to
    waited: Annotated[float, Field(ge=0)] | None = None
    waits_since: float | None = None  # Unix seconds; None: the clock could not be believed
    postponed: Annotated[float, Field(ge=0)] = 0.0  # "not now" until so many seconds have passed
    record: Record = Record()  # of updates that failed


FRESH = {"waited": None, "waits_since": None, "postponed": 0.0}  # with each offer


class Beside(Protocol):
    """Who is there at each move."""

    def also(self, before: Progress, event: Event, to: State) -> dict[str, Any]:
        """What changes in the same write."""

    def moved(self, before: Progress, event: Event, after: Progress) -> None:
        """The move was made and saved. Never raises."""


class Ledger:
    """The progress of a device, saved before each move."""

    def __init__(self, path: Path, beside: Beside | None = None) -> None:
        self._path, self._beside = path, beside
        self.now = _read(path)

    def move(self, event: Event, **changes: Any) -> None:
        """Save, then make, the move for ``event``, with changed fields of :class:`Progress`.

        Raises:
            TransitionError: the table has no such move; nothing is saved.
            DiskFullError: no room; the state is as it was.
        """
        before = self.now
        state = move(before.state, event)
        also = self._beside.also(before, event, state) if self._beside else {}
        fresh = FRESH if event is Event.OFFERED else {}
        self._save({"state": state, "moves": before.moves + 1, **fresh, **also, **changes})
        logger.debug("move.done from=%s event=%s to=%s", before.state, event, state)
        if self._beside:
            self._beside.moved(before, event, self.now)

    def note(self, **changes: Any) -> None:
        """Save changed fields without a move."""
        self._save(changes)

    def _save(self, changes: dict[str, Any]) -> None:
        after = self.now.model_copy(update=changes)
        durable.write(self._path, after.model_dump_json().encode())
        self.now = after


def _read(path: Path) -> Progress:
    if not path.exists():
        return Progress()
    try:
        progress = Progress.model_validate_json(path.read_bytes())
    except ValidationError as fault:
        raise AgentFolderError(
            f"file {path}", "must hold the state of an update", got=f"{fault.error_count()} faults"
        ) from fault
    if progress.format > FORMAT:
        raise AgentFolderError(
            f"file {path}",
            f"must have format {FORMAT} or older",
            got=progress.format,
            todo="A newer agent wrote it: install that agent again",
        )
    return progress
