"""A payload that a handler of the owner takes: put in place, checked for a while, kept or put back.

What was handed over is noted on the disk before it is, so that after a power cut or a restart of
the device it is known what to undo, what to go on with, and what was given up and why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from edgeloop import durable
from edgeloop.agent import admission, underway
from edgeloop.agent.commands import one_line
from edgeloop.agent.handlers import Action, Handler, Work
from edgeloop.agent.payload import TRY_AGAIN, WATCH_ON, Next, RestartingError, Watched
from edgeloop.errors import AgentFolderError, BundleError, HandlerError, NoSlotError
from edgeloop.protocol.messages import ReleaseRef
from edgeloop.release.payloads import info_of
from edgeloop.types import Finding, Verdict

if TYPE_CHECKING:
    from edgeloop.agent.commands import Commands
    from edgeloop.agent.device import Device
    from edgeloop.agent.slots import Slots
    from edgeloop.clock import Clock
    from edgeloop.protocol.messages import Listed, RolloutPlan

logger = logging.getLogger(__name__)

FORMAT = 1


class Phase(StrEnum):
    """How far a payload was handed over."""

    INSTALLING = "installing"
    INSTALLED = "installed"
    RETURNING = "returning"


class Handed(BaseModel):
    """What was handed over and has not come to its end."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int = FORMAT
    ref: ReleaseRef
    phase: Phase
    boot: str = ""  # in which that began; returning, "": nothing waits for a restart
    noted: str = ""  # what the handler said when it admitted it
    reason: str = ""  # of its return; "": it is tried again


@dataclass(frozen=True, kw_only=True)
class HandledParts:
    """What it works with. ``boot`` names the present boot of the device."""

    handler: Handler
    slots: Slots
    file: Path
    commands: Commands
    clock: Clock
    device: Device  # whose one runtime is the kind of payload that it takes
    boot: Callable[[], str]


class HandledPayload:
    """A :class:`~edgeloop.agent.payload.Payload` behind one handler."""

    def __init__(self, parts: HandledParts) -> None:
        self._parts = parts
        self._handed = _read(parts.file)
        self._trying: ReleaseRef | None = None
        self._wanted = 1  # checks
        self._said: dict[str, str] = {}
        self.checks = 0  # in a row, of what was installed last
        self._fault = ""  # of the newest check
        self._began = self._next = parts.clock.monotonic()
        self._asked = False  # this process has asked for the restart

    def restarted(self, ref: ReleaseRef, plan: RolloutPlan) -> Watched:
        """It goes on where it was installed whole; a return that began goes on too."""
        handed = self._handed
        if handed is None or handed.ref.digest != ref.digest or handed.phase is Phase.INSTALLING:
            return TRY_AGAIN
        if handed.phase is Phase.RETURNING:
            return _back(handed.reason) if handed.reason else TRY_AGAIN
        self._trying = ref
        self._watch_anew(plan)
        return WATCH_ON

    def open(self, ref: ReleaseRef | None) -> None:
        """Undo what is half in place of another release."""
        if self._handed is not None and ref is not None and self._handed.ref.digest == ref.digest:
            self._forget()
        else:
            self.put_back(switched=True)

    def fits(self, listed: Listed) -> tuple[Finding, ...]:
        """By the device's target, and whether the handler takes such a payload."""
        return tuple(admission.fits(listed.targets, listed.needs, self._parts.device))

    def admit(self, ref: ReleaseRef) -> tuple[Finding, ...]:
        """What it is, by its description; then what the handler says before anything is changed."""
        slots, handler = self._parts.slots, self._parts.handler
        info = info_of(slots.files(ref), ref.digest)
        wrong = info.payload != handler.takes
        reason = f"is of kind {info.payload}, the handler takes {handler.takes}" if wrong else ""
        found = [_finding("payload", reason)]
        if not wrong:
            try:
                self._do(Action.ADMIT, ref)
            except HandlerError as fault:
                found.append(_finding("handler", str(fault)))
            else:
                found.append(_finding("handler", ""))
        self._trying = ref
        return tuple(found)

    def begin(self, plan: RolloutPlan) -> bool:  # noqa: ARG002
        """A device has one of it: there is nothing to be beside."""
        return False

    def take_over(self, plan: RolloutPlan) -> None:
        """Hand it over, where it and what it would go back to are whole."""
        ref = self._admitted()
        self._check_bytes(ref)
        self._check_way_back(ref)
        noted = self._said.get(Action.ADMIT, "")
        handed = Handed(ref=ref, phase=Phase.INSTALLING, boot=self._parts.boot(), noted=noted)
        self._note(handed)
        self._do(Action.INSTALL, ref)
        self._note(handed.model_copy(update={"phase": Phase.INSTALLED}))
        self._watch_anew(plan)

    def watch(self) -> Watched:
        """Restart where it must be, then check until it was well so often, or too late."""
        handed, now = self._handed, self._parts.clock.monotonic()
        if handed is None:
            return _back("nothing was handed over")
        if handed.phase is Phase.RETURNING:
            return _back(handed.reason)
        if self._parts.handler.restarts and handed.boot == self._parts.boot():
            return self._restart_or_give_up(handed.ref)
        if now < self._next:
            return WATCH_ON
        self._next = now + self._parts.handler.check_seconds
        self._check(handed.ref)
        if self.checks >= self._wanted:
            return self._commit(handed.ref)
        late = self._late("its checks did not succeed")
        return (
            Watched(next=Next.GO_BACK, reason=late, evidence=self._evidence) if late else WATCH_ON
        )

    def keep(self) -> None:
        """It came to its end."""
        self._forget()

    def put_back(self, *, switched: bool, reason: str = "") -> None:  # noqa: ARG002
        """Let the handler undo it; goes on behind a restart where the device runs it already."""
        handed = self._handed
        if handed is None:
            return
        if handed.phase is not Phase.RETURNING:
            boot = self._parts.boot()
            again = self._parts.handler.restarts and handed.boot != boot  # it may run already
            self._asked = False
            self._began = self._parts.clock.monotonic()
            update = {"phase": Phase.RETURNING, "boot": boot if again else "", "reason": reason}
            handed = handed.model_copy(update=update)
            self._note(handed)
        self._undo(handed)
        self._forget()

    def _undo(self, handed: Handed) -> None:
        waits = bool(handed.boot) and handed.boot == self._parts.boot()
        if not handed.boot or (waits and not self._asked):
            self._check_way_back(handed.ref)
            self._do(Action.ROLL_BACK, handed.ref)
        if not waits:
            return
        if not self._asked:
            self._asked = True
            self._do(Action.RESTART, handed.ref)
        elif late := self._late("the device did not restart"):
            raise HandlerError(f"return of {handed.ref.name}", "must come to an end", got=late)
        raise RestartingError

    def _restart_or_give_up(self, ref: ReleaseRef) -> Watched:
        if late := self._late("the device did not restart"):
            return _back(late)
        if not self._asked:
            self._asked = True
            self._do(Action.RESTART, ref)
        return WATCH_ON

    def _check(self, ref: ReleaseRef) -> None:
        try:
            self._do(Action.CHECK, ref)
        except HandlerError as fault:
            self.checks, self._fault = 0, str(fault)
        else:
            self.checks += 1

    def _commit(self, ref: ReleaseRef) -> Watched:
        """Before the ledger says so: done twice, it is as done once."""
        try:
            self._do(Action.COMMIT, ref)
        except HandlerError as fault:
            return Watched(next=Next.GO_BACK, reason=str(fault), evidence=self._evidence)
        return Watched(next=Next.COMMIT, evidence=self._evidence)

    @property
    def _evidence(self) -> dict[str, object]:
        return {"checks": self.checks, "said": dict(self._said)}

    def _late(self, what: str) -> str:
        within = self._parts.handler.within_seconds
        if self._parts.clock.monotonic() - self._began <= within:
            return ""
        said = f": {self._fault}" if self._fault else ""
        return f"{what} within {within:g} s{said}"

    def _watch_anew(self, plan: RolloutPlan) -> None:
        self._wanted, self.checks, self._fault = max(1, plan.min_answers), 0, ""
        self._began = self._next = self._parts.clock.monotonic()
        self._asked = False

    def _do(self, action: Action, ref: ReleaseRef) -> None:
        slots, before = self._parts.slots, self._before(ref)
        work = Work(
            ref=ref,
            folder=slots.folder(ref),
            before=slots.folder(before) if before is not None else None,
            commands=self._parts.commands,
            noted=self._handed.noted if self._handed is not None else "",
        )
        said = self._parts.handler.do(action, work)
        self._said[str(action)] = one_line(said)[-512:]
        logger.info("handler.done name=%s version=%d action=%s", ref.name, ref.version, action)

    def _before(self, ref: ReleaseRef) -> ReleaseRef | None:
        """What is gone back to from a release."""
        now = self._parts.slots.now
        return now.previous if underway.same(now.current, ref) else now.current

    def _check_way_back(self, ref: ReleaseRef) -> None:
        if self._parts.handler.needs_before:
            self._check_bytes(self._before(ref))

    def _check_bytes(self, ref: ReleaseRef | None) -> None:
        if ref is None:
            return
        try:
            self._parts.slots.check(ref)
        except BundleError as fault:
            thing = f"{ref.name} release {ref.version}"
            raise HandlerError(thing, "must be whole to be handed over", got=fault) from fault

    def _admitted(self) -> ReleaseRef:
        if self._trying is None:
            raise NoSlotError("update", "must have admitted a payload before it is in charge")
        return self._trying

    def _note(self, handed: Handed) -> None:
        durable.write(self._parts.file, handed.model_dump_json().encode())
        self._handed = handed

    def _forget(self) -> None:
        if self._handed is not None:
            self._parts.file.unlink(missing_ok=True)
            durable.sync_folder(self._parts.file.parent)
            self._handed = None


def _back(reason: str) -> Watched:
    return Watched(next=Next.GO_BACK, reason=reason)


def _finding(check: str, reason: str) -> Finding:
    verdict = Verdict.FAIL if reason else Verdict.PASS
    return Finding(check=check, verdict=verdict, reason=reason)


def _read(path: Path) -> Handed | None:
    if not path.exists():
        return None
    try:
        return Handed.model_validate_json(path.read_bytes())
    except ValidationError as fault:
        raise AgentFolderError(
            f"file {path}", "must say what was handed over", got=f"{fault.error_count()} faults"
        ) from fault
