"""The agent itself as what is updated: a new environment beside the old one, tried by the launcher.

The old environment stays until the new one has reported to the control plane. Nothing here judges
the new agent but what it did: it reported, or the launcher says why it gave way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgeloop import durable
from edgeloop.agent import admission, formats, launcher, underway
from edgeloop.agent.handlers.settings import HandlerSettings
from edgeloop.agent.launcher import Pointer
from edgeloop.agent.payload import TRY_AGAIN, WATCH_ON, Next, RestartingError, Watched
from edgeloop.errors import HandlerError, ModelError, NoSlotError
from edgeloop.release.payloads import info_of
from edgeloop.types import Finding, Verdict

if TYPE_CHECKING:
    from edgeloop.agent.device import Device
    from edgeloop.agent.environments import Environments
    from edgeloop.agent.slots import Slots
    from edgeloop.protocol.messages import Listed, ReleaseRef, RolloutPlan


class AgentHandler(HandlerSettings):
    """``within_seconds`` is how long a new agent has until it must have reported."""

    kind: Literal["agent"] = "agent"
    takes: Literal["agent"] = "agent"


@dataclass(frozen=True, kw_only=True)
class Launched:
    """How this process was started; see ``launcher``."""

    running: str  # which environment; "" is the launcher's own
    watched: bool
    python: str  # the launcher's
    command: tuple[str, ...]

    def again(self) -> int:
        """Be started anew: by the launcher that waits, or by becoming one."""
        if not self.watched:
            os.execv(self.command[0], list(self.command))  # noqa: S606  (does not return)
        return launcher.AGAIN


def launched(environment: Mapping[str, str] = os.environ) -> Launched | None:
    """None where no launcher started this process."""
    try:
        told = json.loads(environment[launcher.LAUNCHER])
        return Launched(
            running=environment[launcher.ENVIRONMENT],
            watched=told["how"] == launcher.WATCHED,
            python=told["python"],
            command=tuple(told["command"]),
        )
    except (KeyError, ValueError, TypeError):
        return None


@dataclass(frozen=True, kw_only=True)
class AgentParts:
    """What it works with. ``reported`` says whether this process has; ``restart`` asks for one."""

    folder: Path
    slots: Slots
    environments: Environments
    device: Device  # whose one runtime is the agent's kind, where a launcher is there
    handler: AgentHandler
    running: str | None  # None: no launcher is there
    reported: Callable[[], bool]
    restart: Callable[[], None]


class AgentPayload:
    """A :class:`~edgeloop.agent.payload.Payload`: the environment that this agent runs in."""

    def __init__(self, parts: AgentParts) -> None:
        self._parts = parts
        self._trying: ReleaseRef | None = None
        self.checks = 0  # reports of the new agent that came through

    def restarted(self, ref: ReleaseRef, plan: RolloutPlan) -> Watched:  # noqa: ARG002
        """On trial it goes on; where the launcher went back, so does this."""
        pointer, name = self._pointer, self._parts.environments.name(ref)
        self._trying = ref
        if self._parts.running is None:
            return Watched(next=Next.GO_BACK, reason="the agent was started without its launcher")
        going = underway.same(self._parts.slots.now.current, ref)  # else a return had begun
        if going and name in {pointer.trying, pointer.current}:
            return WATCH_ON
        if pointer.returned == name and pointer.reason:
            return Watched(next=Next.GO_BACK, reason=pointer.reason)
        return TRY_AGAIN

    def open(self, ref: ReleaseRef | None) -> None:
        """See that the launcher starts what is current; never one that has not reported."""
        wanted, pointer = self._parts.environments.name(ref), self._pointer
        if not self._parts.environments.there(wanted):
            raise ModelError("environment of the agent", "must be there", got=f"no {wanted}")
        if wanted and wanted in {pointer.trying, pointer.returned}:
            rule = "must have reported before it is current"
            raise ModelError(f"environment {wanted} of the agent", rule)
        if pointer.current != wanted or pointer.trying:
            self._point(replace(pointer, current=wanted, trying="", starts=0))
        if self._parts.running not in {None, wanted}:
            self._parts.restart()
        self._clean()

    def fits(self, listed: Listed) -> tuple[Finding, ...]:
        """By the device's target, and whether a launcher started this agent."""
        return tuple(admission.fits(listed.targets, listed.needs, self._parts.device))

    def admit(self, ref: ReleaseRef) -> tuple[Finding, ...]:
        """Make its environment, and let it start far enough to say what it is."""
        parts = self._parts
        files = parts.slots.files(ref)
        info = info_of(files, ref.digest)
        if info.payload != "agent":
            return (_finding("payload", f"is of kind {info.payload}, not agent"),)
        try:
            parts.environments.make(ref, files)
            about = parts.environments.about(ref)
        except HandlerError as fault:
            return (_finding("environment", str(fault)),)
        beyond = ", ".join(formats.newer(about.formats))
        reason = f"writes a newer format than this agent reads: {beyond}" if beyond else ""
        self._trying = ref
        return (_finding("environment", ""), _finding("formats", reason))

    def begin(self, plan: RolloutPlan) -> bool:  # noqa: ARG002
        """Two agents in one folder would be one too many."""
        return False

    def take_over(self, plan: RolloutPlan) -> None:  # noqa: ARG002
        """Point the launcher at it, and end this process."""
        if self._trying is None:
            raise NoSlotError("update", "must have admitted an agent before it is in charge")
        trying = self._parts.environments.name(self._trying)
        within = self._parts.handler.within_seconds
        current = self._pointer.current
        self._point(Pointer(current=current, trying=trying, within_seconds=within))
        self._parts.restart()

    def watch(self) -> Watched:
        """The new one has reported; or this is still the old one, which is to end."""
        pointer, name = self._pointer, self._parts.environments.name(self._trying)
        if pointer.returned == name:
            return Watched(next=Next.GO_BACK, reason=pointer.reason)
        if self._parts.running != name:
            self._point(pointer)  # where this cannot be, the launcher could count no start either
            self._parts.restart()
            return WATCH_ON
        if not self._parts.reported():
            return WATCH_ON
        self.checks = 1
        self._point(Pointer(current=name))
        return Watched(next=Next.COMMIT, evidence={"checks": 1, "starts": pointer.starts})

    def keep(self) -> None:
        """Environments of no slot may go."""
        self._clean()

    def put_back(self, *, switched: bool, reason: str = "") -> None:  # noqa: ARG002
        """Point the launcher at the one before; the new agent ends, the old one says the rest."""
        parts = self._parts
        name = parts.environments.name(self._trying)
        before = parts.environments.name(parts.slots.now.current)
        pointer = self._pointer
        if self._trying is not None and pointer.returned != name:
            self._point(Pointer(current=before, returned=name, reason=reason))
        if name and parts.running == name:
            parts.restart()
            raise RestartingError
        self._clean()

    def _clean(self) -> None:
        slots, name = self._parts.slots.now, self._parts.environments.name
        pointer = self._pointer
        kept = {name(slots.current), name(slots.previous), pointer.current, pointer.trying}
        self._parts.environments.keep_only({*kept, self._parts.running or ""})

    @property
    def _pointer(self) -> Pointer:
        return launcher.read(self._parts.folder)

    def _point(self, pointer: Pointer) -> None:
        with durable.room(self._parts.folder / launcher.FILE):
            launcher.write(self._parts.folder, pointer)


def _finding(check: str, reason: str) -> Finding:
    verdict = Verdict.FAIL if reason else Verdict.PASS
    return Finding(check=check, verdict=verdict, reason=reason)
