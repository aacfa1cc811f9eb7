"""Answer applications with the slot in charge; pass each answer on to log, signals, watchers.

Any thread may ask; the agent's loop puts slots in charge by replacing one reference.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeloop.agent.journal import Entry
from edgeloop.agent.probation import Seen
from edgeloop.agent.recent import Given
from edgeloop.agent.streaming import Ends, Streaming
from edgeloop.errors import (
    AgentFolderError,
    DiskFullError,
    InputMismatchError,
    ModelError,
    NoSlotError,
)

if TYPE_CHECKING:
    from edgeloop.agent.admission import Timer
    from edgeloop.agent.earlier import Earlier
    from edgeloop.agent.journal import Journal
    from edgeloop.agent.loaded import Loaded, Meaning
    from edgeloop.agent.probation import Shadow, Trial
    from edgeloop.agent.recent import Recent
    from edgeloop.agent.samples import Samples
    from edgeloop.agent.signals import Signals
    from edgeloop.clock import Clock
    from edgeloop.types import Arrays, Json

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an application gets. ``result`` is the answer kind's description, all JSON.

    ``outputs`` are the graph's own, with a first axis of one row.
    """

    id: str
    bundle: str
    version: int
    result: dict[str, Json]
    outputs: Arrays = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class InCharge:
    """Which slot answers, and who watches.

    ``fallback`` answers when the current slot fails while it is on ``trial``.
    """

    current: Loaded
    fallback: Loaded | None = None
    shadow: Shadow | None = None
    trial: Trial | None = None


@dataclass(frozen=True, kw_only=True)
class Books:
    """Where answers are written down."""

    journal: Journal
    signals: Signals
    samples: Samples
    recent: Recent
    earlier: Earlier


class Answering:
    """The desk where applications ask."""

    def __init__(self, books: Books, clock: Clock, timer: Timer) -> None:
        self._books, self._clock, self._timer = books, clock, timer
        self.in_charge: InCharge | None = None
        self.unlogged = 0  # answers given since the start that the log has no room for

    def answer(self, inputs: Mapping[str, Any]) -> Answer:
        """The answer for one row.

        Raises:
            NoSlotError: no bundle is installed.
            InputMismatchError: the inputs do not fit the model.
            ModelError: the model failed, and no slot before it is at hand.
        """
        now = self._present()
        feed = now.current.feed(inputs)
        slot, answers, ms = self._run(now, feed)
        self._show(now, slot, Seen(feed=feed, answers=answers, ms=ms))
        return self._keep(secrets.token_hex(16), slot, feed, answers)

    def stream(self, inputs: Mapping[str, Any]) -> Streaming:
        """The answer for one row in pieces as they come; the model begins with the first.

        When it ends it is logged, sketched and shown to a slot in probation like any other. One
        that the application leaves is in the log with what was given, and nowhere else: where a
        person stops says nothing of the model. No slot before it steps in where the model fails,
        since what was given cannot be taken back.

        Raises:
            NoSlotError: no bundle is installed.
            InputMismatchError: the inputs do not fit the model.
        """
        now = self._present()
        slot, feed, answer_id = now.current, now.current.feed(inputs), secrets.token_hex(16)

        def whole(answers: Arrays, ms: float) -> Answer:
            self._tell(now, failed=False)
            self._show(now, slot, Seen(feed=feed, answers=answers, ms=ms))
            return self._keep(answer_id, slot, feed, answers)

        def left(answers: Arrays) -> None:
            self._log(_answer(answer_id, slot, answers), slot.meaning, self._clock.now())

        def failed() -> None:
            self._books.signals.failed(slot.meaning)
            self._tell(now, failed=True)

        ends = Ends(whole=whole, left=left, failed=failed)
        return Streaming(answer_id, slot, feed, ends, self._timer)

    def feedback(self, answer_id: str, stated: Json) -> None:
        """A person confirmed or corrected an answer; counted once.

        Raises:
            InputMismatchError: no such answer in the log, or no such truth in its answer kind.
        """
        entry = self._books.journal.find(answer_id)
        if entry is None:
            raise InputMismatchError(f"answer {answer_id!r}", "must be in this device's log")
        given = self._books.recent.get(answer_id)
        meaning = given.meaning if given is not None else self._present().current.meaning
        try:
            truth = meaning.kind.truth(stated)
        except (ValueError, TypeError) as fault:
            rule = f"must be one that answers of bundle {meaning.ref.digest} can have"
            raise InputMismatchError("truth", rule, got=repr(stated)) from fault
        if not self._books.journal.confirm(answer_id, stated) or given is None:
            return
        quality = _quality(given, truth)
        if not math.isnan(quality):  # there was no answer yet, or nobody knows the truth
            self._books.signals.confirmed(meaning, quality)
        self._books.samples.offer(answer_id, given, stated)

    def work(self) -> None:
        """Let a slot in probation answer what waits for it."""
        now = self.in_charge  # once: the loop may replace it meanwhile
        if now is not None and now.shadow is not None:
            now.shadow.work()

    def _present(self) -> InCharge:
        now = self.in_charge
        if now is None:
            raise NoSlotError(
                "device", "must have an installed bundle", todo="Wait for its first release"
            )
        return now

    def _run(self, now: InCharge, feed: Arrays) -> tuple[Loaded, Arrays, float]:
        began = self._timer()
        try:
            answers, slot = now.current.run(feed), now.current
        except ModelError:
            self._books.signals.failed(now.current.meaning)
            self._tell(now, failed=True)
            if now.fallback is None:
                raise
            slot = self._books.earlier.shown_to(now.fallback)  # it was not asked meanwhile
            answers = slot.run(feed)
        else:
            self._tell(now, failed=False)
        return slot, answers, (self._timer() - began) * 1000

    def _tell(self, now: InCharge, *, failed: bool) -> None:
        if now.trial is not None:
            now.trial.saw(failed=failed)

    def _show(self, now: InCharge, slot: Loaded, seen: Seen) -> None:
        self._books.signals.saw(slot.meaning, seen.feed, seen.answers, seen.ms)
        if now.shadow is not None:
            now.shadow.offer(seen)

    def _keep(self, answer_id: str, slot: Loaded, feed: Arrays, answers: Arrays) -> Answer:
        now, answer = self._clock.now(), _answer(answer_id, slot, answers)
        self._log(answer, slot.meaning, now)
        kept = feed if self._books.samples.opted_in else None
        given = Given(meaning=slot.meaning, time=now, answers=answers, feed=kept)
        self._books.recent.add(answer.id, given)
        self._books.earlier.add(feed, slot.memory)
        return answer

    def _log(self, answer: Answer, meaning: Meaning, now: float) -> None:
        """Write an answer down; a disk that takes nothing does not keep it from the application."""
        entry = Entry(
            id=answer.id,
            time=now,
            bundle=answer.bundle,
            version=answer.version,
            result=answer.result,
        )
        try:
            self._books.journal.add(entry)
        except (DiskFullError, AgentFolderError) as fault:
            self.unlogged += 1
            self._books.signals.unlogged(meaning)
            logger.debug("log.failed answer=%s fault=%s", answer.id, fault)


def _answer(answer_id: str, slot: Loaded, answers: Arrays) -> Answer:
    return Answer(
        id=answer_id,
        bundle=slot.ref.digest,
        version=slot.ref.version,
        result=slot.kind.describe(answers, 0),
        outputs=answers,
    )


def _quality(given: Given, truth: Json) -> float:
    import numpy as np

    return float(given.meaning.kind.quality(given.answers, np.asarray([truth]))[0])
