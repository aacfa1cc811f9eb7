"""Take a device from the release that it has to the one that it should have, one move at a time.

What each state does; the table says what comes next. What is updated stands behind
:class:`~edgeloop.agent.payload.Payload`. The agent calls this under its lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeloop import durable
from edgeloop.agent import recovery, shortcuts, underway
from edgeloop.agent.allowed import SignedList, find_allowed
from edgeloop.agent.gate import PausedError
from edgeloop.agent.payload import FITS, Next
from edgeloop.agent.slots import Failed
from edgeloop.agent.states import BUSY, RESTING, Event
from edgeloop.errors import (
    AdmissionError,
    DiskFullError,
    EdgeloopError,
    HandlerError,
    HookError,
    MissingExtraError,
    NotListedError,
    SignatureError,
    StaleMetadataError,
    UnreachableError,
)
from edgeloop.protocol.messages import (
    Delta,
    Desired,
    Outcome,
    ReleaseRef,
    Result,
    RolloutPlan,
    State,
)
from edgeloop.release.bundle import layers_of
from edgeloop.types import Finding, Layer, Verdict

if TYPE_CHECKING:
    from edgeloop.agent.admission import Timer
    from edgeloop.agent.blobs import Blobs
    from edgeloop.agent.gate import Gate
    from edgeloop.agent.payload import Payload, Watched
    from edgeloop.agent.restraint import Restraint
    from edgeloop.agent.slots import Slots
    from edgeloop.agent.states import Ledger, Progress

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What an update works with."""

    ledger: Ledger
    slots: Slots
    blobs: Blobs
    channel: Callable[[], SignedList]  # called when an update begins
    payload: Payload
    answers: Callable[[], int]  # how many were given here; only grows
    incoming: Path  # the manifest of the bundle that is being fetched
    timer: Timer
    gate: Gate
    restraint: Restraint


class Update:
    """One device's updates, by one thread at a time. Rules of trust and judging are elsewhere.

    In probation :meth:`step` needs no network; the other states may wait for it.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._recovered = False
        self._work: dict[State, Callable[[], None]] = {
            State.SYNCING: self._sync,
            State.DOWNLOADING: self._download,
            State.VERIFYING: self._verify,
            State.INSTALLING: self._install,
            State.TRYING: self._try,
            State.PROBATION: self._watch,
        }

    @property
    def state(self) -> State:
        """Where the device is."""
        return self._now.state

    def recover(self) -> None:
        """At start: put the slot in charge, and take up what a power cut broke off.

        On a full disk only the first; the second waits for room, and every move with it.
        """
        try:
            self._take_up()
        except DiskFullError as fault:
            logger.warning("start.waits fault=%s", fault)
            recovery.answer_meanwhile(self._parts)

    def _take_up(self) -> None:
        back = recovery.recover(self._parts)
        self._recovered = True
        if back is not None:
            self.fail(Result.FAILED_ROLLBACK_COMPLETE, back.reason, back.evidence)
        if self.state in RESTING:
            self._clean()

    def consider(self, wish: Desired) -> None:
        """Begin, withdraw, or leave alone, as the control plane wishes."""
        if not self._recovered:
            return
        now, slots = self._now, self._parts.slots.now
        if now.state in BUSY:
            if not underway.same(wish.release, now.trying):
                self._withdraw()
            return
        if wish.release is None or underway.same(wish.release, slots.current):
            return
        if not self._parts.restraint.allows(wish, slots.current):
            return
        failed = slots.failed.get(wish.release.digest)
        if failed is None or failed.rollout != wish.rollout:
            self._parts.ledger.move(
                Event.OFFERED, trying=wish.release, rollout=wish.rollout, listed=None, attempts=0
            )

    def step(self) -> None:
        """Do the work of the present state, if it may be done now; nothing in a state of rest.

        Raises:
            UnreachableError: the network failed; the state stays, a later step carries on.
            DiskFullError: likewise, at start, and once the new slot has answered somebody.
        """
        if not self._recovered:
            self._take_up()
        if self.state in RESTING:
            return
        try:
            if self._parts.gate.passes():
                self._work[self.state]()
        except UnreachableError:
            raise
        except PausedError:  # a later step carries on
            return
        except EdgeloopError as fault:
            if self.state is State.PROBATION and isinstance(fault, DiskFullError):
                raise
            if self.state is State.SYNCING and isinstance(
                fault, SignatureError | StaleMetadataError
            ):
                self._doubt(fault)
                return
            refused = isinstance(fault, NotListedError | MissingExtraError | HookError)
            self.fail(Result.REJECTED if refused else Result.FAILED_NO_STATE_CHANGE, str(fault))

    def fail(self, result: Result, reason: str, evidence: dict[str, Any] | None = None) -> None:
        """End the update that is under way, with the slot before in charge."""
        parts, now, trying = self._parts, self._now, self._trying
        if now.state is State.PROBATION:
            result = Result.FAILED_ROLLBACK_COMPLETE
        event = Event.WORSE if now.state is State.PROBATION else Event.REFUSED
        try:
            self._put_back(reason)
        except HandlerError as fault:
            result, reason = Result.FAILED_UNABLE_TO_ROLLBACK, f"{reason}; and then: {fault}"
            event = Event.STUCK
        parts.slots.remember(trying, Failed(reason=reason, rollout=now.rollout))
        outcome = underway.outcome(now, result, reason, evidence)
        parts.ledger.move(event, trying=None, outcome=outcome)
        logger.warning("update.done result=%s version=%s reason=%s", result, trying.version, reason)
        self._clean()

    def stop(self) -> None:
        """Before a clean end: what is tried anew at the next start did not crash."""
        self._parts.gate.stop()
        now = self._now
        if now.state in {State.TRYING, State.PROBATION} and now.attempts:
            self._parts.ledger.note(attempts=now.attempts - 1)

    # the work of each state

    def _sync(self) -> None:
        parts, trying = self._parts, self._trying
        channel = parts.channel()
        listing = channel.refresh()
        listed = find_allowed(listing, trying)
        fits = parts.payload.fits(listed)
        if _failed(fits):
            self._refuse(fits)  # before a byte of it is fetched
            return
        manifest = channel.manifest(listed)
        layers_of(manifest, trying.digest)
        durable.write(parts.incoming, manifest)
        trusted = ReleaseRef(
            name=listing.name,
            channel=listing.channel,
            version=listed.version,
            digest=listed.digest,
        )
        parts.restraint.believed()
        parts.ledger.move(Event.DONE, listed=listed, trying=trusted)

    def _download(self) -> None:
        began, layers = self._parts.timer(), self._layers()
        blobs = self._parts.blobs
        blobs.check_room(layers)  # for all of them, before a byte of one is fetched
        shortcuts.take(blobs, self._way(), layers)
        for layer in layers:
            blobs.get(layer)
        self._parts.ledger.move(Event.DONE)
        logger.info(
            "download.done version=%s files=%d bytes=%d seconds=%.1f",
            self._trying.version,
            len(layers),
            sum(layer.size for layer in layers),
            self._parts.timer() - began,
        )

    def _way(self) -> tuple[Delta, ...]:
        """The deltas that lead here from a slot."""
        now = self._parts.slots.now
        have = {slot.digest for slot in (now.current, now.previous) if slot is not None}
        return shortcuts.cheapest(underway.listed(self._now).deltas, have, self._trying.digest)

    def _verify(self) -> None:
        for layer in self._layers():
            self._parts.blobs.verify(layer)
        self._parts.ledger.move(Event.DONE)

    def _install(self) -> None:
        parts = self._parts
        manifest = parts.incoming.read_bytes()
        files = {layer.digest: parts.blobs.path(layer.digest) for layer in self._layers()}
        trying = self._trying
        parts.slots.install(trying, manifest, files)
        parts.ledger.move(Event.DONE)
        logger.info("install.done version=%s bundle=%s", trying.version, trying.digest)

    def _try(self) -> None:
        parts, trying = self._parts, self._trying
        parts.ledger.note(attempts=parts.ledger.now.attempts + 1)
        found = parts.payload.admit(trying)
        if _failed(found):
            self._refuse(found)
            return
        _say_admission(trying, found)
        parts.ledger.move(Event.DONE)
        if not parts.payload.begin(self._plan):
            self._take_over()

    def _take_over(self) -> None:
        """On the disk first."""
        self._parts.slots.switch(self._trying, self._parts.answers())
        self._parts.payload.take_over(self._plan)

    def _watch(self) -> None:
        watched = self._parts.payload.watch()
        if watched.next is Next.TAKE_OVER:
            self._take_over()
        elif watched.next is Next.COMMIT:
            self._commit(watched)
        elif watched.next is Next.GO_BACK:
            self.fail(Result.FAILED_ROLLBACK_COMPLETE, watched.reason, watched.evidence)

    def _commit(self, watched: Watched) -> None:
        now, trying = self._now, self._trying
        outcome = underway.outcome(now, Result.SUCCESSFUL, "", watched.evidence)
        self._parts.ledger.move(Event.DONE, trying=None, outcome=outcome)
        self._parts.payload.keep()
        self._parts.slots.forget(trying)
        logger.info("update.done result=SUCCESSFUL version=%s", trying.version)
        self._clean()

    # ways back

    def _doubt(self, fault: EdgeloopError) -> None:
        """The repository, its way here, or this clock is to blame: the release may be tried again.

        What is told leaves the rollout's number out, so that there the device is still awaited.
        """
        reason, digest = str(fault), self._trying.digest
        result = Result.FAILED_NO_STATE_CHANGE
        outcome = Outcome(digest=digest, rollout=None, result=result, reason=reason)
        self._parts.restraint.doubted((digest, self._now.rollout))
        self._parts.ledger.move(Event.DOUBTED, trying=None, outcome=outcome)
        logger.warning("sync.doubted bundle=%s reason=%s", digest, reason)

    def _withdraw(self) -> None:
        try:
            self._put_back()
        except HandlerError as fault:
            stuck = Result.FAILED_UNABLE_TO_ROLLBACK
            outcome = underway.outcome(self._now, stuck, f"withdrawn; and then: {fault}")
            self._parts.ledger.move(Event.STUCK, trying=None, outcome=outcome)
        else:
            self._parts.ledger.move(Event.WITHDRAWN, trying=None, outcome=None)
        self._clean()

    def _refuse(self, findings: Sequence[Finding]) -> None:
        trying = self._trying
        _say_admission(trying, findings)
        failed = _failed(findings)
        rejected = any(finding.check in FITS for finding in failed)
        said = "; ".join(f"{finding.check}: {finding.reason}" for finding in failed)
        fault = AdmissionError(f"release {trying.version}", "was not admitted", got=said)
        result = Result.REJECTED if rejected else Result.FAILED_NO_STATE_CHANGE
        self.fail(result, str(fault), {"admission": {f.check: f.to_meta() for f in findings}})

    def _put_back(self, reason: str = "") -> None:
        """The slot before in charge, on disk first, then in memory. Needs no network.

        Where the disk takes nothing, in memory all the same: a start goes back too.
        """
        parts = self._parts
        switched = underway.same(parts.slots.now.current, parts.ledger.now.trying)
        try:
            if switched:
                parts.slots.restore(parts.answers())
        finally:
            parts.payload.put_back(switched=switched, reason=reason)

    def _clean(self) -> None:
        """Remove what no slot needs any more; only in states of rest."""
        self._parts.incoming.unlink(missing_ok=True)
        self._parts.blobs.keep_only(self._parts.slots.clean())

    def _layers(self) -> tuple[Layer, ...]:
        return layers_of(self._parts.incoming.read_bytes(), self._trying.digest)

    # what is under way

    @property
    def _now(self) -> Progress:
        return self._parts.ledger.now

    @property
    def _trying(self) -> ReleaseRef:
        return underway.trying(self._now)

    @property
    def _plan(self) -> RolloutPlan:
        return underway.listed(self._now).plan


def _failed(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict is Verdict.FAIL]


def _say_admission(ref: ReleaseRef, findings: Sequence[Finding]) -> None:
    logger.info(
        "admission.done version=%s verdict=%s %s",
        ref.version,
        Verdict.FAIL if _failed(findings) else Verdict.PASS,
        " ".join(f"{finding.check}={_word(finding.verdict)}" for finding in findings),
    )


def _word(verdict: Verdict) -> str:
    return verdict.replace(" ", "_")
