"""Answer applications with the slot in charge; pass each answer on to log, signals, watchers.

Any thread may ask; the agent's loop puts slots in charge by replacing one reference.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
    from edgeloop.agent.books import Books
    from edgeloop.agent.loaded import Loaded, Meaning
    from edgeloop.agent.probation import Shadow, Trial
    from edgeloop.clock import Clock
    from edgeloop.types import Arrays, Json

logger = logging.getLogger(__name__)

NEWEST = 60  # answers by whose times a graph is too slow

Helped = tuple["Loaded", "Arrays"]
# (what failed, its row, why) -> another graph of the same bundle, in charge by now, and its answers
Help = Callable[["Loaded", "Arrays", ModelError], Helped | None]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an application gets. ``result`` is the answer kind's description, all JSON.

    ``outputs`` are the graph's own, with a first axis of one row.
    """

    id: str
    bundle: str
    version: int
    variant: str
    result: dict[str, Json]
    outputs: Arrays = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class InCharge:
    """Which slot answers, and who watches.

    ``fallback`` answers when the current slot fails while it is on ``trial``. ``newest_ms`` is how
    long its newest answers took.
    """

    current: Loaded
    fallback: Loaded | None = None
    shadow: Shadow | None = None
    trial: Trial | None = None
    newest_ms: deque[float] = field(default_factory=lambda: deque(maxlen=NEWEST), repr=False)


class Answering:
    """The desk where applications ask."""

    def __init__(self, books: Books, clock: Clock, timer: Timer) -> None:
        self._books, self._clock, self._timer = books, clock, timer
        self._in_charge: InCharge | None = None
        self._changing = threading.Lock()
        self.help: Help = _nobody
        self.unlogged = 0  # answers given since the start that the log has no room for

    @property
    def in_charge(self) -> InCharge | None:
        """Who answers now; None: no bundle is installed."""
        return self._in_charge

    @in_charge.setter
    def in_charge(self, present: InCharge | None) -> None:
        with self._changing:
            self._in_charge = present

    def exchange(self, before: Loaded, after: Loaded) -> bool:
        """Let ``after`` answer instead of ``before``, another graph of the same bundle.

        False when something else answers by now, and nothing was changed.
        """
        with self._changing:
            now = self._in_charge
            if now is None or now.current is not before:
                return False
            self._in_charge = replace(now, current=after, newest_ms=deque(maxlen=NEWEST))
            return True

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
        self._books.samples.offer(answer_id, given, stated, self._books.complaints.of(answer_id))

    def complain(self, answer_id: str, text: str) -> None:
        """A person complained about an answer; counted once.

        Raises:
            InputMismatchError: no such answer in the log, or a text that is empty or too long.
        """
        entry = self._books.journal.find(answer_id)
        if entry is None:
            raise InputMismatchError(f"answer {answer_id!r}", "must be in this device's log")
        if not self._books.complaints.add(answer_id, text, self._clock.now()):
            return
        given = self._books.recent.get(answer_id)
        meaning = given.meaning if given is not None else self._present().current.meaning
        if meaning.ref.digest == entry.bundle:  # of a bundle that is gone no window is open
            self._books.signals.complained(meaning)

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
        began, slot = self._timer(), now.current
        try:
            answers: Arrays = slot.run(feed)
        except ModelError as fault:
            self._books.signals.failed(slot.meaning)
            self._tell(now, failed=True)
            slot, answers = self._by_another(now, feed, fault)
        else:
            self._tell(now, failed=False)
        ms = (self._timer() - began) * 1000
        if slot is now.current:
            now.newest_ms.append(ms)
        return slot, answers, ms

    def _by_another(self, now: InCharge, feed: Arrays, fault: ModelError) -> Helped:
        """The slot before while a new one is on trial; else another graph of the same bundle."""
        if now.fallback is not None:
            slot = self._books.earlier.shown_to(now.fallback)  # it was not asked meanwhile
            return slot, slot.run(feed)
        helped = self.help(now.current, feed, fault)
        if helped is None:
            raise fault
        return helped

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
            variant=answer.variant,
            result=answer.result,
        )
        try:
            self._books.journal.add(entry)
        except (DiskFullError, AgentFolderError) as fault:
            self.unlogged += 1
            self._books.signals.unlogged(meaning)
            logger.debug("log.failed answer=%s fault=%s", answer.id, fault)


def _nobody(failed: Loaded, feed: Arrays, fault: ModelError) -> None:
    """A ``help`` that has no other graph."""


def _answer(answer_id: str, slot: Loaded, answers: Arrays) -> Answer:
    return Answer(
        id=answer_id,
        bundle=slot.ref.digest,
        version=slot.ref.version,
        variant=slot.variant,
        result=slot.kind.describe(answers, 0),
        outputs=answers,
    )


def _quality(given: Given, truth: Json) -> float:
    import numpy as np

    return float(given.meaning.kind.quality(given.answers, np.asarray([truth]))[0])
