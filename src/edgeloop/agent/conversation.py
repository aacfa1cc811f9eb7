"""What a device and its control plane tell each other: when, how often, and again after a fault."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeloop.agent import backoff
from edgeloop.errors import EdgeloopError, RevokedError, UnreachableError
from edgeloop.protocol.messages import Desired, Report, SampleRequest

if TYPE_CHECKING:
    from edgeloop.agent.books import Books
    from edgeloop.agent.client_certificate import ClientCertificate
    from edgeloop.agent.home import Home
    from edgeloop.agent.identity import Rotation

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ConversationParts:
    """``report`` says what the device has to say now; ``heard`` is told the newest wish."""

    home: Home
    books: Books
    rotation: Rotation
    certificate: ClientCertificate
    report: Callable[[], Report]
    heard: Callable[[Desired], None]


class Conversation:
    """One device's talk, by one thread. Times are of the monotonic clock."""

    def __init__(self, parts: ConversationParts) -> None:
        self._parts, self._plane = parts, parts.home.plane
        self._wish: Desired | None = None  # the newest that was said
        self.poll_seconds = parts.home.told.poll_seconds
        self.next_poll = 0.0
        self._not_before = self._next_report = self._next_send = 0.0
        self._failures = 0
        self._refused = False  # an operator decided that this device is not listened to
        self._reported: tuple[object, ...] = ()

    def pause(self, now: float) -> float:
        """Seconds for which the control plane is left alone after a fault."""
        return max(0.0, self._not_before - now)

    def poll(self, now: float) -> None:
        """Ask what this device should be, when it is time."""
        if now < self.next_poll:
            return
        wish = self._plane.desired()
        if wish is not None:
            self.poll_seconds = wish.poll_seconds
            self._parts.books.samples.ask(self._mine(wish.samples))
            self._wish = wish
            _say_wish(wish)
        self._parts.rotation.follow(wanted=wish.rotate_key if wish else None)
        self._parts.certificate.follow(wanted=wish.client_certificate if wish else None)
        if self._wish is not None:
            self._parts.heard(self._wish)
        self.next_poll = now + backoff.between_polls(self.poll_seconds, self._draw)

    def say(self, now: float) -> None:
        """Report each change at once, and from time to time that the device is there."""
        told = self._parts.report()
        gist = _gist(told)
        if gist == self._reported and now < self._next_report:
            return
        self._plane.report(told)
        self._parts.home.running.heard = True
        self._reported = gist
        self._next_report = now + self._parts.home.told.report_seconds

    def send(self, now: float) -> None:
        """Hand over what waits. A refusal is tried again later and holds up nothing else."""
        if now < self._next_send:
            return
        try:
            self.send_windows()
            self._send_samples()
        except UnreachableError:
            raise
        except EdgeloopError as fault:
            logger.warning("send.failed fault=%s", fault)
            self._next_send = now + self._parts.home.told.report_seconds

    def send_windows(self) -> None:
        """Hand over some of the windows that wait; they are forgotten when they are acknowledged.

        Raises:
            UnreachableError: the network failed; they wait.
        """
        signals = self._parts.books.signals
        windows = signals.batch()
        if windows is not None:
            self._plane.windows(windows)
            signals.acknowledged(windows)
            answers = sum(window.answers for window in windows.windows)
            logger.info("windows.done windows=%d answers=%d", len(windows.windows), answers)

    def went_well(self) -> None:
        """Nothing failed this time."""
        self._failures = 0

    def failed(self, fault: EdgeloopError) -> None:
        """Remember what the next pause depends on, and mend what can be mended."""
        self._refused = isinstance(fault, RevokedError)
        self._parts.certificate.mend(fault)

    def back_off(self) -> float:
        """Leave the control plane alone, the longer the more often it failed; seconds."""
        self._failures += 1
        wait = backoff.after_failures(self._failures, self.poll_seconds, self._draw)
        if self._refused:
            wait = backoff.when_refused(self._draw)
        self._not_before = self._parts.home.around.clock.monotonic() + wait
        return wait

    def hand_over(self) -> None:
        """Before a clean end: report and send what there is, once; what fails stays on disk."""
        try:
            self._plane.report(self._parts.report())
            self.send_windows()
        except EdgeloopError as fault:
            logger.warning("end.failed fault=%s", fault)

    def _send_samples(self) -> None:
        kept = self._parts.books.samples
        samples = kept.batch()
        if samples is not None:
            self._plane.samples(samples)
            kept.acknowledged(samples)
            logger.info("samples.done request=%d samples=%d", samples.request, len(samples.samples))

    def _mine(self, request: SampleRequest | None) -> SampleRequest | None:
        """A request for this device's model, or for any; another one is not answered."""
        model = self._parts.home.told.model
        return request if request and request.model in {None, model} else None

    def _draw(self) -> float:
        return self._parts.home.around.draw()


def _gist(told: Report) -> tuple[object, ...]:
    """What is reported at once when it changes."""
    also = tuple((one.moves, one.running, one.outcome, one.waiting) for one in told.also)
    return (told.moves, told.running, told.outcome, told.waiting, told.variant, also)


def _say_wish(wish: Desired) -> None:
    logger.info(
        "poll.done version=%s rollout=%s samples=%s poll_seconds=%g",
        wish.release and wish.release.version,
        wish.rollout,
        wish.samples and wish.samples.count,
        wish.poll_seconds,
    )
