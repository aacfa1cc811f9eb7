"""The agent: answers applications, and follows the control plane without trusting it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from edgeloop.agent import backoff, device, held, settings
from edgeloop.agent.admission import Timer
from edgeloop.agent.answering import Answer, Answering, Books
from edgeloop.agent.blobs import Blobs
from edgeloop.agent.control_plane import ControlPlane
from edgeloop.agent.earlier import Earlier
from edgeloop.agent.journal import Journal
from edgeloop.agent.loaded import Loaded
from edgeloop.agent.mirrors import Mirrors
from edgeloop.agent.recent import Recent
from edgeloop.agent.samples import Samples
from edgeloop.agent.settings import Settings
from edgeloop.agent.signals import Signals
from edgeloop.agent.slots import Slots
from edgeloop.agent.sources import Server, source
from edgeloop.agent.states import BUSY, Ledger
from edgeloop.agent.streaming import Streaming
from edgeloop.agent.transport import Pace, Transport, Urllib3Transport
from edgeloop.agent.update import Parts, SignedList, Update
from edgeloop.clock import Clock, SystemClock
from edgeloop.errors import EdgeloopError, NoSlotError, UnreachableError
from edgeloop.protocol import keys
from edgeloop.protocol.messages import Desired, Report, Result, SampleRequest, State
from edgeloop.types import Json

logger = logging.getLogger(__name__)

UNPACED = Pace(bytes_per_second=0)  # the mirrors see to it, each place by itself
WATCHED_EACH = 0.02  # seconds; how soon a slot in probation answers and is judged
LONGEST_WAIT = 0.5  # seconds; how soon the loop sees a stop


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a test replaces: the network, the clocks and chance."""

    transport: Transport
    clock: Clock
    timer: Timer = time.perf_counter
    draw: backoff.Draw = random.random


class Agent:
    """One device. ``with Agent.open(folder) as agent: agent.answer({...})``.

    ``answer`` and ``feedback`` may be called from any thread. ``tick`` and ``run`` belong to one.
    While it runs, a thread of its own judges a slot in probation and goes back: a control plane
    that hangs, and the network's thread with it, keeps no bad slot in charge.
    """

    def __init__(self, folder: Path, told: Settings, around: Surroundings, lock: IO[bytes]) -> None:
        self._folder, self._told, self._around, self._lock = folder, told, around, lock
        self._device = device.detect(told.target)
        key = keys.load(folder / settings.KEY)
        self._alive: Callable[[], None] = _nothing
        self._plane = ControlPlane(
            told.server, key, told.device, around.transport, around.clock, pace=told.pace
        )
        self._books = _books(folder, told, around.clock)
        self._answering = Answering(self._books, around.clock, around.timer)
        self._ledger, self._slots = Ledger(folder / "progress.json"), Slots(folder)
        self._moving = threading.RLock()  # held by whoever moves the update
        self._update = Update(self._parts())
        self._update.recover()
        self._poll_seconds = told.poll_seconds
        self._next_poll = self._next_network = self._next_report = self._next_send = 0.0
        self._failures = 0
        self._wish: Desired | None = None  # the newest that was said
        self._reported: tuple[object, ...] = ()
        self._unlogged = 0  # as last said
        self._worker: threading.Thread | None = None

    @classmethod
    def open(cls, folder: Path, around: Surroundings | None = None) -> Agent:
        """The agent of an enrolled folder, with the slot in charge loaded.

        Raises:
            AgentFolderError: not enrolled, broken, or in use by another agent.
            KeyFileError: the device's key is missing, broken, or readable by others.
            MissingExtraError: there is a slot, but its runtime is not installed.
        """
        told = settings.read(folder)
        lock = held.hold(folder)
        try:
            around = around or _surroundings(folder, told)
            return cls(folder, told, around, lock)
        except BaseException:  # whatever ends it, the folder's lock is let go, and it is raised on
            lock.close()
            raise

    @property
    def settings(self) -> Settings:
        """What this device was told."""
        return self._told

    @property
    def state(self) -> State:
        """Where the device is in an update."""
        return self._update.state

    def answer(self, inputs: Mapping[str, Any]) -> Answer:
        """The answer for one row: input name -> array-like of the model's shape and dtype.

        Raises:
            NoSlotError: no bundle is installed.
            InputMismatchError: the inputs do not fit the model.
            ModelError: the model failed.
        """
        return self._answering.answer(inputs)

    def stream(self, inputs: Mapping[str, Any]) -> Streaming:
        """The answer for one row in pieces of text, as a language model writes them.

        Close what you do not read to its end: ``with contextlib.closing(agent.stream(...))``.

        Raises:
            NoSlotError: no bundle is installed.
            InputMismatchError: the inputs do not fit the model.
        """
        return self._answering.stream(inputs)

    def feedback(self, answer_id: str, truth: Json) -> None:
        """A person confirmed or corrected an answer, as its kind takes it.

        Raises:
            InputMismatchError: no such answer in the log, or no such truth.
        """
        self._answering.feedback(answer_id, truth)

    @property
    def ready(self) -> bool:
        """Whether there is a slot that answers."""
        return self._answering.in_charge is not None

    def slot(self) -> Loaded:
        """The slot in charge.

        Raises:
            NoSlotError: there is none.
        """
        present = self._answering.in_charge
        if present is None:
            raise NoSlotError(
                "device", "must have an installed bundle", todo="Wait for its first release"
            )
        return present.current

    def report(self) -> Report:
        """What this device says of itself."""
        now, slots = self._ledger.now, self._slots.now
        return Report(
            model=self._told.model,
            channel=self._told.channel,
            moves=now.moves,
            state=now.state,
            running=slots.current,
            previous=slots.previous,
            trying=now.trying,
            answers_since_switch=max(0, self._books.journal.last_row() - slots.switched_after),
            outcome=now.outcome,
            target=self._device.target,
            runtimes=self._device.runtimes,
            agent_version=settings.agent_version(),
        )

    def run(self, stop: threading.Event, alive: Callable[[], None] | None = None) -> None:
        """Tick until ``stop`` is set; a thread of its own serves and judges a slot in probation.

        ``alive`` is called at every tick, and with each piece of a download: who watches this
        process learns by it that it does not hang.
        """
        self._alive = alive or _nothing
        self._worker = threading.Thread(target=self._work, args=(stop,), name="probation")
        self._worker.start()
        try:
            while not stop.is_set():
                self._alive()
                stop.wait(min(self.tick(), LONGEST_WAIT))
        finally:
            stop.set()
            self._worker.join()
            self._worker = None
            self.hand_over()

    def tick(self) -> float:
        """One step of everything: watch, poll, update, report, send. Gives the seconds to wait.

        Never raises for what the network, the server, a bundle or this agent does wrong.
        """
        wait = self._carefully(self._tick)
        return self._back_off() if wait is None else wait

    def hand_over(self) -> None:
        """Before a clean end: report and send what there is, once; what fails stays on disk."""
        self._books.signals.close_all()
        try:
            self._plane.report(self.report())
            self._send_windows()
        except EdgeloopError as fault:
            logger.warning("end.failed fault=%s", fault)

    def close(self) -> None:
        """End cleanly: windows are closed and kept, the folder is free."""
        self._update.stop()
        self._books.signals.close_all()
        self.drop()

    def drop(self) -> None:
        """End at once, as a power cut would; open windows are lost, the folder is free."""
        self._books.signals.close()
        self._books.samples.close()
        self._books.earlier.close()
        self._books.journal.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # the loop

    def _carefully(self, work: Callable[[], float]) -> float | None:
        """What ``work`` gives; None when it failed."""
        try:
            return work()
        except EdgeloopError as fault:
            logger.warning("tick.failed state=%s fault=%s", self.state, fault)
        except Exception as fault:  # a device that had a working model keeps it, whatever this
            # agent does wrong; it goes back and says so
            logger.exception("tick.broken state=%s", self.state)
            self._go_back(f"agent fault: {type(fault).__name__}: {fault}")
        return None

    def _tick(self) -> float:
        if self._worker is None:
            self._watch()
        self._books.signals.close_due()
        self._say_unlogged()
        now = self._around.clock.monotonic()
        if now < self._next_network:
            return self._next_network - now
        self._talk(now)
        self._failures = 0
        if self.state in BUSY and self.state is not State.PROBATION:
            return 0.0
        return max(0.0, self._next_poll - now)

    def _talk(self, now: float) -> None:
        if now >= self._next_poll:
            self._poll()
            self._next_poll = now + backoff.between_polls(self._poll_seconds, self._around.draw)
        with self._moving:
            if self.state is not State.PROBATION:
                self._update.step()
        self._say(now)
        self._send(now)

    def _poll(self) -> None:
        wish = self._plane.desired()
        if wish is not None:
            self._poll_seconds = wish.poll_seconds
            self._books.samples.ask(self._mine(wish.samples))
            self._wish = wish
            _say_wish(wish)
        if self._wish is not None:
            with self._moving:
                self._update.consider(self._wish)

    def _mine(self, request: SampleRequest | None) -> SampleRequest | None:
        """A request for this device's model, or for any; another one is not answered."""
        return request if request and request.model in {None, self._told.model} else None

    def _say(self, now: float) -> None:
        """Report each change at once, and from time to time that the device is there."""
        with self._moving:
            told = self.report()
        gist = (told.moves, told.running, told.outcome)
        if gist == self._reported and now < self._next_report:
            return
        self._plane.report(told)
        self._reported = gist
        self._next_report = now + self._told.report_seconds

    def _send(self, now: float) -> None:
        """Hand over what waits. A refusal is tried again later and holds up nothing else."""
        if now < self._next_send:
            return
        try:
            self._send_windows()
            self._send_samples()
        except UnreachableError:
            raise
        except EdgeloopError as fault:
            logger.warning("send.failed fault=%s", fault)
            self._next_send = now + self._told.report_seconds

    def _send_windows(self) -> None:
        windows = self._books.signals.batch()
        if windows is not None:
            self._plane.windows(windows)
            self._books.signals.acknowledged(windows)
            answers = sum(window.answers for window in windows.windows)
            logger.info("windows.done windows=%d answers=%d", len(windows.windows), answers)

    def _send_samples(self) -> None:
        samples = self._books.samples.batch()
        if samples is not None:
            self._plane.samples(samples)
            self._books.samples.acknowledged(samples)
            logger.info("samples.done request=%d samples=%d", samples.request, len(samples.samples))

    def _back_off(self) -> float:
        self._failures += 1
        wait = backoff.after_failures(self._failures, self._poll_seconds, self._around.draw)
        self._next_network = self._around.clock.monotonic() + wait
        return wait

    def _go_back(self, reason: str) -> None:
        try:
            with self._moving:
                if self.state in BUSY:
                    self._update.fail(Result.FAILED_NO_STATE_CHANGE, reason)
        except Exception:  # the last way back is closed: the loop lives on and tries again
            logger.exception("goback.failed state=%s", self.state)

    def _work(self, stop: threading.Event) -> None:
        wait = WATCHED_EACH
        while not stop.wait(wait):
            wait = self._carefully(self._watch) or LONGEST_WAIT

    def _watch(self) -> float:
        """Let a slot in probation answer what waits, and judge it; needs no network."""
        self._answering.work()
        if self.state is State.PROBATION:
            with self._moving:
                if self.state is State.PROBATION:  # the loop may have withdrawn it
                    self._update.step()
        return WATCHED_EACH

    def _say_unlogged(self) -> None:
        """The log of answers is full or broken: applications are answered all the same."""
        unlogged = self._answering.unlogged
        if unlogged != self._unlogged:
            logger.warning("journal.failed unlogged=%d", unlogged)
            self._unlogged = unlogged

    # building

    def _parts(self) -> Parts:
        told, clock = self._told, self._around.clock
        return Parts(
            ledger=self._ledger,
            slots=self._slots,
            blobs=Blobs(self._folder, self._mirrors().read, clock, UNPACED),
            channel=self._channel,
            device=self._device,
            answering=self._answering,
            journal=self._books.journal,
            earlier=self._books.earlier,
            incoming=self._folder / "incoming.json",
            threads=told.threads,
            timer=self._around.timer,
        )

    def _channel(self) -> SignedList:
        from edgeloop.release.client import Channel  # python-tuf, which an idle agent need not hold

        told = self._told
        return Channel(
            self._folder / "tuf",
            (self._folder / settings.ROOT).read_bytes(),
            self._plane.fetch,
            f"{told.repository_url}/metadata/",
            f"{told.repository_url}/targets/",
            told.model,
            told.channel,
            clock=self._around.clock,
        )

    def _mirrors(self) -> Mirrors:
        told, around = self._told, self._around
        server = Server(
            name=told.server,
            read=lambda digest, *part: self._plane.read_from(told.blob_url(digest), *part),
        )
        mirrors = [source(address, around.transport) for address in told.mirrors]
        return Mirrors(mirrors, server, around.clock, told.pace, came=self._go_on)

    def _go_on(self) -> None:
        self._alive()


def _say_wish(wish: Desired) -> None:
    logger.info(
        "poll.done version=%s rollout=%s samples=%s poll_seconds=%g",
        wish.release and wish.release.version,
        wish.rollout,
        wish.samples and wish.samples.count,
        wish.poll_seconds,
    )


def _nothing() -> None:
    """What is called where nobody watches."""


def _surroundings(folder: Path, told: Settings) -> Surroundings:
    wire = Urllib3Transport(told.server, settings.authority(folder))
    return Surroundings(transport=wire, clock=SystemClock())


def _books(folder: Path, told: Settings, clock: Clock) -> Books:
    return Books(
        journal=Journal(folder / "journal.sqlite", told.journal_rows),
        signals=Signals(
            folder / "signals.sqlite",
            clock,
            answers=told.window_answers,
            seconds=told.window_seconds,
            most_bytes=told.signals_bytes,
        ),
        samples=Samples(
            folder / "samples.sqlite",
            clock,
            opted_in=told.opt_in,
            most_bytes=told.samples_bytes,
            per_day=told.samples_per_day,
        ),
        recent=Recent(),
        earlier=Earlier(folder / "earlier.sqlite"),
    )
