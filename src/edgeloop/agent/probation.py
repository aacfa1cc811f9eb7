"""Watch a new slot under real load: beside the current one first, then in charge.

Beside: the application is answered by the current slot; the new one gets the same inputs a moment
later, from a bounded queue, so that a slow or hanging new slot never holds up an application. What
it says is held against what its release declared for the inputs most like these. In charge: the
slot before stays loaded and answers whenever the new one fails; only errors are judged.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeloop.agent import admission
from edgeloop.answers.worse import Declared, Judgement, Limits, Standing, judge
from edgeloop.release.bundle import MAIN
from edgeloop.sketches.profile import Profile
from edgeloop.sketches.psi import LEAST_ROWS, nearest
from edgeloop.types import Verdict

if TYPE_CHECKING:
    from edgeloop.agent.loaded import Loaded
    from edgeloop.protocol.messages import ReleaseRef, RolloutPlan
    from edgeloop.types import Arrays

logger = logging.getLogger(__name__)

QUEUE = 256  # answers that may wait; under more load the oldest are not compared
JUDGED_EACH = 10  # answers

WATCHING = Judgement(standing=Standing.WATCHING, reason="", figures={})


def limits_of(plan: RolloutPlan) -> Limits:
    """A signed plan's limits in the judge's form."""
    probation = plan.probation
    return Limits(
        answers=probation.answers,
        margin=probation.margin,
        claim_margin=probation.claim_margin,
        errors=probation.errors,
        alpha=probation.alpha,
    )


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One answer that the current slot gave to an application."""

    feed: Arrays
    answers: Arrays
    ms: float


class Shadow:
    """The new slot beside the current one, which is ``against``, or a ``variant`` of it.

    ``offer`` is called by the application's thread, ``work`` by one other at a time.
    """

    def __init__(
        self,
        candidate: Loaded,
        against: ReleaseRef,
        limits: Limits,
        timer: admission.Timer,
        variant: str = MAIN,
    ) -> None:
        self.candidate, self._against, self._limits = candidate, against, limits
        self._variant = variant
        self._timer = timer
        self._waiting: deque[Seen] = deque(maxlen=QUEUE)
        self._busy = threading.Lock()
        self._references = candidate.bundle.references()
        self._inputs = Profile()
        self._unsketched: list[tuple[Arrays, Arrays]] = []
        self._disagreements: list[float] = []
        self._claims: dict[str, list[float]] = {}
        self._errors: list[float] = []
        self._times: tuple[list[float], list[float]] = ([], [])  # new slot, current slot
        self.judgement = WATCHING
        self.evidence: dict[str, Any] = {}

    def offer(self, seen: Seen) -> None:
        """Let the new slot see what the current one has answered. Never waits."""
        self._waiting.append(seen)

    def work(self) -> None:
        """Let the new slot answer all that waits; judge every ``JUDGED_EACH`` answers."""
        if not self._busy.acquire(blocking=False):
            return
        try:
            while self._waiting and self.judgement.standing is Standing.WATCHING:
                self._compare(self._waiting.popleft())
                if len(self._errors) % JUDGED_EACH == 0:
                    self._judge()
        finally:
            self._busy.release()

    def _compare(self, seen: Seen) -> None:
        began, kind = self._timer(), self.candidate.kind
        try:
            answers = self.candidate.run(seen.feed)
            ms = (self._timer() - began) * 1000
            differs = float(kind.disagreement(seen.answers, answers)[0])
            claims = {name: float(values[0]) for name, values in kind.claims(answers).items()}
        except Exception:  # whatever a new slot's answers break is an error of that slot
            logger.info("beside.failed version=%s", self.candidate.ref.version, exc_info=True)
            self._errors.append(1.0)
            return
        self._times[0].append(ms)
        self._times[1].append(seen.ms)
        self._errors.append(0.0)
        if not math.isnan(differs):
            self._disagreements.append(differs)
        for name, value in claims.items():
            if not math.isnan(value):
                self._claims.setdefault(name, []).append(value)
        self._unsketched.append((seen.feed, answers))

    def _judge(self) -> None:
        try:
            self._sketch()
        except Exception as fault:  # see _compare
            logger.info("beside.failed version=%s", self.candidate.ref.version, exc_info=True)
            reason = f"its answers cannot be sketched: {type(fault).__name__}: {fault}"
            self.judgement = Judgement(standing=Standing.FAILED, reason=reason, figures={})
            return
        declared, nearness = self._declared()
        judgement = judge(
            declared,
            self._limits,
            disagreements=self._disagreements,
            claims=self._claims,
            errors=self._errors,
        )
        if judgement.standing is Standing.PASSED:
            judgement = self._passed(judgement)
        self.evidence = {**judgement.figures, **nearness}
        self.judgement = judgement

    def _sketch(self) -> None:
        if self._unsketched:
            feeds, answers = zip(*self._unsketched, strict=True)
            self._unsketched = []
            features = self.candidate.meaning.features(_stacked(feeds), _stacked(answers))
            self._inputs.update(features)

    def _declared(self) -> tuple[Declared | None, dict[str, Any]]:
        """What was declared for the population most like the inputs so far; None before 50.

        The base population, which is declared first, where these inputs cannot be sketched. None
        for an older release as well: it was made before such inputs were known, and a person who
        rolls back by hand has decided. Errors are judged all the same.
        """
        known = self.candidate.bundle.info.declared
        found = nearest(self._references, self._inputs)
        if found is not None:
            profile, nearness = found[0], {"profile": found[0], "distance": round(found[1], 4)}
        elif known and len(self._disagreements) >= LEAST_ROWS:
            profile, nearness = known[0].profile, {"profile": known[0].profile}
        else:
            return None, {}
        if self.candidate.ref.version < self._against.version:  # an operator takes a release back
            return None, nearness
        declared = self.candidate.bundle.declared_for(profile, self._against.digest, self._variant)
        return declared, nearness

    def _passed(self, judgement: Judgement) -> Judgement:
        """Not before the population is known, and not when notably slower than its limit."""
        if self._references and len(self._disagreements) < LEAST_ROWS:
            return Judgement(standing=Standing.WATCHING, reason="", figures=judgement.figures)
        limit = self.candidate.bundle.info.limits.latency_ms
        found = admission.latency(limit, *self._times)
        if found.verdict is not Verdict.FAIL:
            return judgement
        return Judgement(standing=Standing.FAILED, reason=found.reason, figures=judgement.figures)


def _stacked(rows: tuple[Arrays, ...]) -> Arrays:
    import numpy as np

    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


class Trial:
    """The new slot in charge, until it has given ``answers`` answers."""

    def __init__(self, limits: Limits, answers: int) -> None:
        self._limits = replace(limits, answers=answers)
        self._lock = threading.Lock()
        self._errors: list[float] = []
        self.judgement = WATCHING
        self._judge()

    def saw(self, *, failed: bool) -> None:
        """One answer that the new slot was asked for."""
        with self._lock:
            self._errors.append(float(failed))
            if failed or len(self._errors) % JUDGED_EACH == 0 or self._enough():
                self._judge()

    def _enough(self) -> bool:
        return len(self._errors) >= self._limits.answers

    def _judge(self) -> None:
        if self.judgement.standing is Standing.WATCHING:
            self.judgement = judge(
                None, self._limits, disagreements=(), claims={}, errors=self._errors
            )
