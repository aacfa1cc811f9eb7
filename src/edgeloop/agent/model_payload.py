"""A model as what is updated: proved, shown the same questions beside the old one, then in charge.

The application is answered by one of the two slots at every moment; the reference that says by
which is replaced at once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeloop.agent import admission
from edgeloop.agent.answering import Answering, InCharge
from edgeloop.agent.loaded import Loaded
from edgeloop.agent.payload import TRY_AGAIN, WATCH_ON, Next, Watched
from edgeloop.agent.probation import Shadow, Trial, limits_of
from edgeloop.answers.worse import Judgement, Standing
from edgeloop.errors import EdgeloopError, NoSlotError
from edgeloop.types import Finding, Verdict

if TYPE_CHECKING:
    from edgeloop.agent.device import Device
    from edgeloop.agent.earlier import Earlier
    from edgeloop.agent.picker import Picker
    from edgeloop.agent.slots import Slots
    from edgeloop.protocol.messages import Listed, ReleaseRef, RolloutPlan
    from edgeloop.release.bundle import Bundle, BundleInfo

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ModelParts:
    """What the model of a device works with."""

    slots: Slots
    device: Device
    answering: Answering
    earlier: Earlier
    picker: Picker
    timer: admission.Timer


class ModelPayload:
    """A :class:`~edgeloop.agent.payload.Payload`: the slot that answers applications."""

    def __init__(self, parts: ModelParts) -> None:
        self._parts = parts
        self._candidate: Loaded | None = None
        self._findings: tuple[Finding, ...] = ()  # of the admission
        self._passed_over: dict[str, str] = {}  # variant -> why the admission did not take it
        self._back = ""  # why it went back, until that is written down
        self._beside: dict[str, Any] = {}  # what the probation beside the current slot saw

    def restarted(self, ref: ReleaseRef, plan: RolloutPlan) -> Watched:  # noqa: ARG002
        """What the slot was asked is gone with the process: it is tried anew."""
        return TRY_AGAIN

    def open(self, ref: ReleaseRef | None) -> None:
        """Answer with this slot from now on."""
        if ref is None:
            self._parts.answering.in_charge = None
            return
        current = self._parts.earlier.shown_to(self._parts.picker.opened(ref))
        self._parts.answering.in_charge = InCharge(current=current)

    def fits(self, listed: Listed) -> tuple[Finding, ...]:
        """By target, runtime and program steps."""
        return tuple(_fits(listed, self._parts.device))

    def admit(self, ref: ReleaseRef) -> tuple[Finding, ...]:
        """Fits, then golden samples, latency beside the current slot, memory.

        Of several variants the first that passes here is admitted; where none does, what each
        failed by is told.
        """
        parts = self._parts
        bundle = parts.slots.open(ref)
        fits = tuple(_fits(bundle.info, parts.device))
        if _failed(fits):
            return fits
        self._passed_over, self._beside = {}, {}
        names, refused = parts.picker.order(ref, bundle), list[Finding]()
        for name in names:
            found = self._proved(ref, name, bundle, alone=len(names) == 1)
            if not (failed := _failed(found)):
                self._findings = (*fits, *found)
                return self._findings
            refused += failed
            self._passed_over[name] = "; ".join(f"{one.check}: {one.reason}" for one in failed)
        return (*fits, *refused)

    def _proved(self, ref: ReleaseRef, name: str, bundle: Bundle, *, alone: bool) -> list[Finding]:
        """What one variant proves here; that it does not load is a finding where there is more."""
        parts, limit = self._parts, bundle.of(name).info.limits.memory_mb
        try:
            loaded, grown = admission.load_measured(
                lambda: parts.picker.load(ref, name, bundle), limit
            )
            found = admission.measure(loaded, self._current(), parts.device, grown, parts.timer)
        except (EdgeloopError, MemoryError) as fault:
            if alone:
                raise
            broken = Finding(check="load", verdict=Verdict.FAIL, reason=str(fault) or "no memory")
            return [_of(name, broken)]
        parts.picker.admitted(ref, name)
        self._candidate = loaded
        return list(found) if alone else [_of(name, one) for one in found]

    def begin(self, plan: RolloutPlan) -> bool:
        """In the shadow of the current slot, where there is one."""
        current = self._current()
        if current is None:
            return False
        candidate = self._parts.earlier.shown_to(self._admitted())
        shadow = Shadow(candidate, current.ref, limits_of(plan), self._parts.timer, current.variant)
        self._parts.answering.in_charge = InCharge(current=current, shadow=shadow)
        return True

    def take_over(self, plan: RolloutPlan) -> None:
        """Answer with the new slot; the old one helps out where it fails."""
        present = self._parts.answering.in_charge
        shadow = present and present.shadow
        self._parts.answering.in_charge = InCharge(
            current=shadow.candidate if shadow else self._admitted(),
            fallback=present.current if present else None,
            trial=Trial(limits_of(plan), plan.min_answers),
        )

    def watch(self) -> Watched:
        """Beside the current slot first, then in charge."""
        present = self._parts.answering.in_charge
        if present is None:  # a first release whose bytes were lost while it was on trial
            return Watched(next=Next.GO_BACK, reason="no slot is in charge")
        if present.shadow is not None:
            return self._watch_beside(present.shadow)
        if present.trial is not None:
            return self._watch_in_charge(present.current.ref, present.trial)
        return Watched(next=Next.GO_BACK, reason=self._back)  # it is; that was not written down

    def keep(self) -> None:
        """Let the slot before go."""
        present = self._parts.answering.in_charge
        if present is not None:
            self._parts.answering.in_charge = InCharge(current=present.current)
        self._candidate = None

    def put_back(self, *, switched: bool, reason: str = "") -> None:
        """Answer with the slot before, or with none where there was none; once, asked twice."""
        parts, present = self._parts, self._parts.answering.in_charge
        self._back = reason or self._back
        if switched and present is not None and present.trial is not None:
            waited = present.fallback
            before = waited and parts.earlier.shown_to(waited)  # it was not asked meanwhile
        else:
            before = present.current if present is not None else None
        parts.answering.in_charge = None if before is None else InCharge(current=before)
        self._candidate = None

    def _watch_beside(self, shadow: Shadow) -> Watched:
        judgement = shadow.judgement
        _say_probation(shadow.candidate.ref, "beside", judgement)
        self._beside = shadow.evidence
        if judgement.standing is Standing.PASSED:
            return Watched(next=Next.TAKE_OVER)
        return self._ended(judgement, {})

    def _watch_in_charge(self, ref: ReleaseRef, trial: Trial) -> Watched:
        judgement = trial.judgement
        _say_probation(ref, "charge", judgement)
        if judgement.standing is Standing.PASSED:
            return Watched(next=Next.COMMIT, evidence=self._evidence(judgement.figures))
        return self._ended(judgement, judgement.figures)

    def _ended(self, judgement: Judgement, figures: dict[str, Any]) -> Watched:
        if judgement.standing is not Standing.FAILED:
            return WATCH_ON
        evidence = self._evidence(figures)
        return Watched(next=Next.GO_BACK, reason=judgement.reason, evidence=evidence)

    def _evidence(self, figures: dict[str, Any]) -> dict[str, Any]:
        admitted = {finding.check: finding.to_meta() for finding in self._findings}
        told = {"beside": self._beside, "in charge": figures, "admission": admitted}
        return {**told, **({"passed over": self._passed_over} if self._passed_over else {})}

    def _current(self) -> Loaded | None:
        present = self._parts.answering.in_charge
        return present.current if present is not None else None

    def _admitted(self) -> Loaded:
        if self._candidate is None:
            raise NoSlotError("update", "must have admitted a slot before it is watched")
        return self._candidate


def _fits(told: Listed | BundleInfo, device: Device) -> list[Finding]:
    return admission.fits(told.targets, told.needs, device, told.alternatives)


def _failed(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict is Verdict.FAIL]


def _of(variant: str, finding: Finding) -> Finding:
    """A finding of one of several variants, named so that each can be told apart."""
    return replace(finding, check=f"{variant}.{finding.check}", variant=variant)


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
