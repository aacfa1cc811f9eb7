"""Take a device from the release that it has to the one that it should have, one move at a time.

What each state does; the table says what comes next. The agent calls this under its lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgeloop import durable
from edgeloop.agent import admission
from edgeloop.agent.answering import Answering, InCharge
from edgeloop.agent.loaded import Loaded, load
from edgeloop.agent.probation import Shadow, Trial, limits_of
from edgeloop.agent.slots import Failed
from edgeloop.agent.states import BUSY, RESTING, Event
from edgeloop.answers.worse import Judgement, Standing
from edgeloop.errors import (
    AdmissionError,
    EdgeloopError,
    MissingExtraError,
    ModelError,
    NotListedError,
    SignatureError,
    StaleMetadataError,
    TrustError,
    UnreachableError,
)
from edgeloop.protocol.messages import (
    ChannelList,
    Desired,
    Listed,
    Outcome,
    ReleaseRef,
    Result,
    State,
)
from edgeloop.release.bundle import layers_of
from edgeloop.types import Finding, Layer, Verdict

if TYPE_CHECKING:
    from edgeloop.agent.blobs import Blobs
    from edgeloop.agent.device import Device
    from edgeloop.agent.earlier import Earlier
    from edgeloop.agent.journal import Journal
    from edgeloop.agent.slots import Slots
    from edgeloop.agent.states import Ledger

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 3  # starts of one new slot that a power cut or a crash may end


class SignedList(Protocol):
    """The signed side: :class:`edgeloop.release.client.Channel`."""

    def refresh(self) -> ChannelList: ...
    def manifest(self, listed: Listed) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What an update works with."""

    ledger: Ledger
    slots: Slots
    blobs: Blobs
    channel: Callable[[], SignedList]  # called when an update begins
    device: Device
    answering: Answering
    journal: Journal
    earlier: Earlier
    incoming: Path  # the manifest of the bundle that is being fetched
    threads: int
    timer: admission.Timer


class Update:
    """One device's updates, by one thread at a time. Rules of trust and judging are elsewhere.

    In probation :meth:`step` needs no network; the other states may wait for it.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._findings: tuple[Finding, ...] = ()  # of the admission
        self._beside: dict[str, Any] = {}  # what the probation beside the current slot saw
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
        return self._parts.ledger.now.state

    def recover(self) -> None:
        """At start: put the slot in charge, and take up what a power cut broke off.

        A slot that was on trial is tried anew; until then the one before is in charge. A slot in
        charge whose bytes have changed gives way to the one before.
        """
        now, slots = self._parts.ledger.now, self._parts.slots
        slots.recount(self._parts.journal.last_row())
        on_trial = now.state is State.PROBATION and _same(slots.now.current, now.trying)
        if on_trial and slots.now.previous is not None and not self._whole(slots.now.previous):
            outcome = self._outcome(
                Result.FAILED_UNABLE_TO_ROLLBACK, "power was lost; the slot before is broken", {}
            )
            self._parts.ledger.move(Event.STUCK, trying=None, outcome=outcome)
        elif on_trial:
            slots.restore(self._parts.journal.last_row())
        self._load_current()
        self._resume()
        if self.state in RESTING:
            self._clean()

    def consider(self, wish: Desired) -> None:
        """Begin, withdraw, or leave alone, as the control plane wishes."""
        now, slots = self._parts.ledger.now, self._parts.slots.now
        if now.state in BUSY:
            if not _same(wish.release, now.trying):
                self._withdraw()
            return
        if wish.release is None or _same(wish.release, slots.current):
            return
        failed = slots.failed.get(wish.release.digest)
        if failed is None or failed.rollout != wish.rollout:
            self._parts.ledger.move(
                Event.OFFERED, trying=wish.release, rollout=wish.rollout, listed=None, attempts=0
            )

    def step(self) -> None:
        """Do the work of the present state; nothing in a state of rest.

        Raises:
            UnreachableError: the network failed; the state stays, a later step carries on.
        """
        if self.state in RESTING:
            return
        try:
            self._work[self.state]()
        except UnreachableError:
            raise
        except EdgeloopError as fault:
            if self.state is State.SYNCING and isinstance(
                fault, SignatureError | StaleMetadataError
            ):
                self._doubt(fault)
                return
            refused = isinstance(fault, NotListedError | MissingExtraError)
            self.fail(Result.REJECTED if refused else Result.FAILED_NO_STATE_CHANGE, str(fault))

    def fail(self, result: Result, reason: str, evidence: dict[str, Any] | None = None) -> None:
        """End the update that is under way, with the slot before in charge."""
        parts, now = self._parts, self._parts.ledger.now
        trying = self._trying()
        if now.state is State.PROBATION:
            result = Result.FAILED_ROLLBACK_COMPLETE
        self._put_back()
        parts.slots.remember(trying, Failed(reason=reason, rollout=now.rollout))
        outcome = self._outcome(result, reason, evidence or {})
        event = Event.WORSE if now.state is State.PROBATION else Event.REFUSED
        parts.ledger.move(event, trying=None, outcome=outcome)
        logger.warning("update.done result=%s version=%s reason=%s", result, trying.version, reason)
        self._clean()

    def _doubt(self, fault: EdgeloopError) -> None:
        """The repository, its way here, or this clock is to blame: the release may be tried again.

        What is told leaves the rollout's number out, so that there the device is still awaited.
        """
        reason, digest = str(fault), self._trying().digest
        result = Result.FAILED_NO_STATE_CHANGE
        outcome = Outcome(digest=digest, rollout=None, result=result, reason=reason)
        self._parts.ledger.move(Event.DOUBTED, trying=None, outcome=outcome)
        logger.warning("sync.doubted bundle=%s reason=%s", digest, reason)

    def stop(self) -> None:
        """Before a clean end: what is tried anew at the next start did not crash."""
        now = self._parts.ledger.now
        if now.state in {State.TRYING, State.PROBATION} and now.attempts:
            self._parts.ledger.note(attempts=now.attempts - 1)

    # at start

    def _whole(self, ref: ReleaseRef) -> bool:
        try:
            self._parts.slots.check(ref)
        except TrustError:
            return False
        return True

    def _load_current(self) -> None:
        slots = self._parts.slots
        while (ref := slots.now.current) is not None:
            try:
                current = self._parts.earlier.shown_to(self._load(ref))
                self._parts.answering.in_charge = InCharge(current=current)
            except (TrustError, ModelError) as fault:
                if isinstance(fault, ModelError):  # changed bytes may be fetched again, these not
                    rollout = self._parts.ledger.now.rollout
                    slots.remember(ref, Failed(reason=str(fault), rollout=rollout))
                slots.restore(self._parts.journal.last_row())
                outcome = Outcome(
                    digest=ref.digest,
                    rollout=self._parts.ledger.now.rollout,
                    result=Result.FAILED_ROLLBACK_COMPLETE,
                    reason=str(fault),
                )
                self._parts.ledger.note(outcome=outcome)
                logger.warning("start.done version=%s broken=%s", ref.version, fault)
            else:
                return

    def _resume(self) -> None:
        now = self._parts.ledger.now
        if now.state in {State.TRYING, State.PROBATION} and now.attempts >= MOST_ATTEMPTS:
            reason = f"did not come to an end in {now.attempts} starts"
            done = now.state is State.PROBATION
            result = Result.FAILED_ROLLBACK_COMPLETE if done else Result.FAILED_NO_STATE_CHANGE
            self._parts.slots.remember(self._trying(), Failed(reason=reason, rollout=now.rollout))
            outcome = self._outcome(result, reason, {})
            self._parts.ledger.move(Event.CRASHED, trying=None, outcome=outcome)
        elif now.state in BUSY:
            self._parts.ledger.move(Event.POWER_LOST)

    # the work of each state

    def _sync(self) -> None:
        parts, trying = self._parts, self._trying()
        channel = parts.channel()
        listing = channel.refresh()
        listed = find_allowed(listing, trying)
        fits = admission.fits(listed.targets, listed.needs, parts.device)
        if any(finding.verdict is Verdict.FAIL for finding in fits):
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
        parts.ledger.move(Event.DONE, listed=listed, trying=trusted)

    def _download(self) -> None:
        began, layers = self._parts.timer(), self._layers()
        self._parts.blobs.check_room(layers)  # for all of them, before a byte of one is fetched
        for layer in layers:
            self._parts.blobs.get(layer)
        self._parts.ledger.move(Event.DONE)
        logger.info(
            "download.done version=%s files=%d bytes=%d seconds=%.1f",
            self._trying().version,
            len(layers),
            sum(layer.size for layer in layers),
            self._parts.timer() - began,
        )

    def _verify(self) -> None:
        for layer in self._layers():
            self._parts.blobs.verify(layer)
        self._parts.ledger.move(Event.DONE)

    def _install(self) -> None:
        parts = self._parts
        manifest = parts.incoming.read_bytes()
        files = {layer.digest: parts.blobs.path(layer.digest) for layer in self._layers()}
        trying = self._trying()
        parts.slots.install(trying, manifest, files)
        parts.ledger.move(Event.DONE)
        logger.info("install.done version=%s bundle=%s", trying.version, trying.digest)

    def _try(self) -> None:
        parts, trying = self._parts, self._trying()
        parts.ledger.note(attempts=parts.ledger.now.attempts + 1)
        info = parts.slots.open(trying).info
        fits = admission.fits(info.targets, info.needs, parts.device)
        if any(finding.verdict is Verdict.FAIL for finding in fits):
            self._refuse(fits)
            return
        limit = info.limits.memory_mb
        candidate, grown = admission.load_measured(lambda: self._load(trying), limit)
        current = parts.answering.in_charge and parts.answering.in_charge.current
        found = admission.measure(candidate, current or None, parts.device, grown, parts.timer)
        if any(finding.verdict is Verdict.FAIL for finding in found):
            self._refuse([*fits, *found])
            return
        _say_admission(trying, [*fits, *found])
        self._findings, self._beside = (*fits, *found), {}
        parts.ledger.move(Event.DONE)
        self._begin_probation(candidate, current or None)

    def _begin_probation(self, candidate: Loaded, current: Loaded | None) -> None:
        plan = self._listed().plan
        if current is None:
            self._take_over(candidate, None)
            return
        candidate = self._parts.earlier.shown_to(candidate)
        shadow = Shadow(candidate, current.ref, limits_of(plan), self._parts.timer)
        self._parts.answering.in_charge = InCharge(current=current, shadow=shadow)

    def _take_over(self, candidate: Loaded, before: Loaded | None) -> None:
        plan = self._listed().plan
        self._parts.slots.switch(candidate.ref, self._parts.journal.last_row())
        trial = Trial(limits_of(plan), plan.min_answers)
        self._parts.answering.in_charge = InCharge(current=candidate, fallback=before, trial=trial)

    def _watch(self) -> None:
        present = self._parts.answering.in_charge
        if present is None:  # a first release whose bytes were lost while it was on trial
            self.fail(Result.FAILED_ROLLBACK_COMPLETE, "no slot is in charge")
        elif present.shadow is not None:
            self._watch_beside(present, present.shadow)
        elif present.trial is not None:
            self._watch_in_charge(present, present.trial)

    def _watch_beside(self, present: InCharge, shadow: Shadow) -> None:
        judgement = shadow.judgement
        _say_probation(shadow.candidate.ref, "beside", judgement)
        self._beside = shadow.evidence
        if judgement.standing is Standing.PASSED:
            self._take_over(shadow.candidate, present.current)
        elif judgement.standing is Standing.FAILED:
            self.fail(Result.FAILED_ROLLBACK_COMPLETE, judgement.reason, self._evidence({}))

    def _watch_in_charge(self, present: InCharge, trial: Trial) -> None:
        judgement = trial.judgement
        _say_probation(present.current.ref, "charge", judgement)
        if judgement.standing is Standing.PASSED:
            outcome = self._outcome(Result.SUCCESSFUL, "", self._evidence(judgement.figures))
            self._parts.ledger.move(Event.DONE, trying=None, outcome=outcome)
            self._parts.answering.in_charge = InCharge(current=present.current)
            self._parts.slots.forget(present.current.ref)
            logger.info("update.done result=SUCCESSFUL version=%s", present.current.ref.version)
            self._clean()
        elif judgement.standing is Standing.FAILED:
            evidence = self._evidence(judgement.figures)
            self.fail(Result.FAILED_ROLLBACK_COMPLETE, judgement.reason, evidence)

    # ways back

    def _withdraw(self) -> None:
        self._put_back()
        self._parts.ledger.move(Event.WITHDRAWN, trying=None, outcome=None)
        self._clean()

    def _refuse(self, findings: list[Finding]) -> None:
        _say_admission(self._trying(), findings)
        failed = [finding for finding in findings if finding.verdict is Verdict.FAIL]
        rejected = any(finding.check in admission.FITS for finding in failed)
        said = "; ".join(f"{finding.check}: {finding.reason}" for finding in failed)
        fault = AdmissionError(f"release {self._trying().version}", "was not admitted", got=said)
        result = Result.REJECTED if rejected else Result.FAILED_NO_STATE_CHANGE
        self.fail(result, str(fault), {"admission": {f.check: f.to_meta() for f in findings}})

    def _put_back(self) -> None:
        """The slot before in charge, on disk first, then in memory. Needs no network."""
        parts, present = self._parts, self._parts.answering.in_charge
        if _same(parts.slots.now.current, parts.ledger.now.trying):
            parts.slots.restore(parts.journal.last_row())
            waited = present.fallback if present is not None else None
            before = waited and parts.earlier.shown_to(waited)  # it was not asked meanwhile
        else:
            before = present.current if present is not None else None
        parts.answering.in_charge = None if before is None else InCharge(current=before)

    def _clean(self) -> None:
        """Remove what no slot needs any more; only in states of rest."""
        self._parts.incoming.unlink(missing_ok=True)
        self._parts.blobs.keep_only(self._parts.slots.clean())

    # what is under way

    def _load(self, ref: ReleaseRef) -> Loaded:
        return load(ref, self._parts.slots.open(ref), self._parts.threads)

    def _trying(self) -> ReleaseRef:
        trying = self._parts.ledger.now.trying
        if trying is None:
            raise NotListedError("update", "must name the release that is tried")
        return trying

    def _listed(self) -> Listed:
        listed = self._parts.ledger.now.listed
        if listed is None:
            raise NotListedError("update", "must have read the signed line of its release")
        return listed

    def _layers(self) -> tuple[Layer, ...]:
        return layers_of(self._parts.incoming.read_bytes(), self._trying().digest)

    def _evidence(self, figures: dict[str, Any]) -> dict[str, Any]:
        admitted = {finding.check: finding.to_meta() for finding in self._findings}
        return {"beside": self._beside, "in charge": figures, "admission": admitted}

    def _outcome(self, result: Result, reason: str, evidence: dict[str, Any]) -> Outcome:
        return Outcome(
            digest=self._trying().digest,
            rollout=self._parts.ledger.now.rollout,
            result=result,
            reason=reason,
            evidence=evidence,
        )


def find_allowed(listing: ChannelList, wish: ReleaseRef) -> Listed:
    """The signed line of a release that this channel's devices may install.

    Raises:
        NotListedError: it is not on the list, is below the floor, or has another version there.
    """
    thing = f"release {wish.version} of {wish.channel}/{wish.name}"
    listed = listing.find(wish.digest)
    if listed is None or listed.version != wish.version:
        raise NotListedError(
            thing,
            "must be on the channel's signed list",
            got=f"bundle {wish.digest}",
            todo="It was delisted, or never signed; the device keeps the slot that it has",
        )
    if listed.version < listing.floor:
        raise NotListedError(thing, f"must be {listing.floor} or newer, the channel's floor")
    return listed


def _say_admission(ref: ReleaseRef, findings: list[Finding]) -> None:
    failed = any(finding.verdict is Verdict.FAIL for finding in findings)
    logger.info(
        "admission.done version=%s verdict=%s %s",
        ref.version,
        Verdict.FAIL if failed else Verdict.PASS,
        " ".join(f"{finding.check}={_word(finding.verdict)}" for finding in findings),
    )


def _say_probation(ref: ReleaseRef, where: str, judgement: Judgement) -> None:
    """One line for each of its halves, once it is judged."""
    if judgement.standing is not Standing.WATCHING:
        logger.info(
            "probation.done version=%s in=%s verdict=%s reason=%s",
            ref.version,
            where,
            judgement.standing,
            judgement.reason or "none",
        )


def _word(verdict: Verdict) -> str:
    return verdict.replace(" ", "_")


def _same(one: ReleaseRef | None, other: ReleaseRef | None) -> bool:
    return one is not None and other is not None and one.digest == other.digest
