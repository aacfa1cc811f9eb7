"""What a device follows beside its model: each with its own folder, signed list and moves.

A thread of their own moves them, since a firmware may take minutes to install and the model is
watched and reported meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeloop.agent.commands import InterruptedCommandError
from edgeloop.agent.payload import RestartingError
from edgeloop.agent.states import BUSY
from edgeloop.errors import EdgeloopError, UnreachableError
from edgeloop.protocol.messages import Desired, Followed, Result, State, Wished

if TYPE_CHECKING:
    from edgeloop.agent.commands import Commands
    from edgeloop.agent.gate import Gate
    from edgeloop.agent.restraint import Restraint
    from edgeloop.agent.slots import Slots
    from edgeloop.agent.states import Ledger
    from edgeloop.agent.update import Update
    from edgeloop.clock import Clock

logger = logging.getLogger(__name__)

LOOKED_EACH = 0.2  # seconds; how soon a check is due or a wish is seen
AFTER_FAILURE = 5.0  # seconds; of the network, or of a disk


@dataclass(frozen=True, kw_only=True)
class SubjectParts:
    """One thing that is followed."""

    name: str
    channel: str
    kind: str
    update: Update
    ledger: Ledger
    slots: Slots
    gate: Gate
    restraint: Restraint
    checks: Callable[[], int]
    clock: Clock


class Subject:
    """One thing that is followed. ``wish`` and ``told`` by any thread, ``step`` by one."""

    def __init__(self, parts: SubjectParts) -> None:
        self._parts = parts
        self._recovered = False
        self._wish: Desired | None = None
        self._not_before = float("-inf")

    @property
    def key(self) -> tuple[str, str]:
        """Name and channel."""
        return (self._parts.name, self._parts.channel)

    def wish(self, wish: Desired) -> None:
        """What it should be, from the next step on."""
        self._wish = wish

    def told(self) -> Followed:
        """What the device says of it."""
        parts = self._parts
        now, slots, wait = parts.ledger.now, parts.slots.now, None
        wait = parts.gate.waiting or parts.restraint.resting
        return Followed(
            name=parts.name,
            channel=parts.channel,
            kind=parts.kind,
            moves=now.moves,
            state=now.state,
            running=slots.current,
            previous=slots.previous,
            trying=now.trying,
            checks=self._checks(),
            outcome=now.outcome,
            waiting=wait.reason[:512] if wait else "",
            waiting_until=wait and wait.until,
        )

    def _checks(self) -> int:
        """Of what is running: as it is counted now, or as it was when it was committed."""
        now, current = self._parts.ledger.now, self._parts.slots.now.current
        if now.state is State.PROBATION:
            return self._parts.checks()
        ended = now.outcome
        if ended is None or current is None or ended.result is not Result.SUCCESSFUL:
            return 0
        counted = ended.evidence.get("checks", 0) if ended.digest == current.digest else 0
        return counted if isinstance(counted, int) else 0

    def step(self) -> bool:
        """One step of its update; whether another may follow at once. Raises nothing of its own."""
        now = self._parts.clock.monotonic()
        if now < self._not_before:
            return False
        try:
            return self._step()
        except (InterruptedCommandError, RestartingError):
            return False
        except UnreachableError as fault:
            self._say("away", fault)
        except EdgeloopError as fault:
            self._say("failed", fault)
        except Exception as fault:  # what this agent does wrong here must not end the model's agent
            logger.exception("also.broken name=%s", self._parts.name)
            self._give_up(f"agent fault: {type(fault).__name__}: {fault}")
        self._not_before = now + AFTER_FAILURE
        return False

    def stop(self) -> None:
        """Before a clean end: how long it has waited is kept."""
        self._parts.gate.stop()

    def _step(self) -> bool:
        update = self._parts.update
        if not self._recovered:
            update.recover()
            self._recovered = True
        if (wish := self._wish) is not None:
            update.consider(wish)
        before = self._parts.ledger.now.moves
        update.step()
        return self._parts.ledger.now.moves != before and update.state in BUSY

    def _give_up(self, reason: str) -> None:
        try:
            if self._recovered and self._parts.update.state in BUSY:
                self._parts.update.fail(Result.FAILED_NO_STATE_CHANGE, reason)
        except Exception:  # the last way back is closed: the thread lives on and tries again
            logger.exception("also.goback.failed name=%s", self._parts.name)

    def _say(self, how: str, fault: EdgeloopError) -> None:
        state = self._parts.update.state
        logger.warning("also.%s name=%s state=%s fault=%s", how, self._parts.name, state, fault)


class Others:
    """All of them."""

    def __init__(self, subjects: Sequence[Subject], commands: Commands) -> None:
        self._subjects, self._commands = tuple(subjects), commands
        self._worker: threading.Thread | None = None

    def wish(self, wishes: Sequence[Wished], poll_seconds: float) -> None:
        """What the control plane wishes; of what it says nothing of, nothing is wished."""
        said = {(one.name, one.channel): one for one in wishes}
        for subject in self._subjects:
            one = said.get(subject.key)
            if one is not None:
                wish = Desired(release=one.release, rollout=one.rollout, poll_seconds=poll_seconds)
                subject.wish(wish)

    def told(self) -> tuple[Followed, ...]:
        """What the device says of them."""
        return tuple(subject.told() for subject in self._subjects)

    def step(self) -> None:
        """One step of each, unless the thread of their own does it."""
        if self._worker is None:
            for subject in self._subjects:
                while subject.step():
                    pass

    def start(self, stop: threading.Event) -> None:
        """Move them by a thread of their own until ``stop`` is set."""
        if self._subjects:
            self._worker = threading.Thread(target=self._work, args=(stop,), name="also")
            self._worker.start()

    def join(self) -> None:
        """End the commands that run, and the thread; what they did not end is done again."""
        self._commands.end()
        if self._worker is not None:
            self._worker.join()
            self._worker = None

    def stop(self) -> None:
        """Before a clean end, behind :meth:`join`."""
        for subject in self._subjects:
            subject.stop()

    def _work(self, stop: threading.Event) -> None:
        while not stop.wait(LOOKED_EACH):
            for subject in self._subjects:
                while not stop.is_set() and subject.step():
                    pass
