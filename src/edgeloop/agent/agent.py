"""The agent: answers applications, and follows the control plane without trusting it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from edgeloop.agent import asked, backoff, device, held, settings
from edgeloop.agent.admission import Timer
from edgeloop.agent.allowed import SignedList
from edgeloop.agent.answering import Answer, Answering, Books
from edgeloop.agent.asked import Asked
from edgeloop.agent.beside import Observer
from edgeloop.agent.blobs import Blobs
from edgeloop.agent.client_certificate import ClientCertificate
from edgeloop.agent.complaints import Complaints
from edgeloop.agent.control_plane import ControlPlane
from edgeloop.agent.earlier import Earlier
from edgeloop.agent.following import Home, follow
from edgeloop.agent.gate import Gate, GateParts, PausedError
from edgeloop.agent.hooks import Hooks
from edgeloop.agent.identity import Rotation
from edgeloop.agent.journal import Journal
from edgeloop.agent.key_places import key_of, place
from edgeloop.agent.loaded import Loaded
from edgeloop.agent.mirrors import Mirrors
from edgeloop.agent.model_payload import ModelParts, ModelPayload
from edgeloop.agent.notices import Notice, Notices
from edgeloop.agent.others import Others
from edgeloop.agent.picker import Picker, PickerParts
from edgeloop.agent.readings import Reader, Readings
from edgeloop.agent.recent import Recent
from edgeloop.agent.restraint import Restraint
from edgeloop.agent.rests import Record
from edgeloop.agent.samples import Samples
from edgeloop.agent.settings import Settings
from edgeloop.agent.signals import Signals
from edgeloop.agent.slots import Slots
from edgeloop.agent.sources import Server, source
from edgeloop.agent.starts import Starts
from edgeloop.agent.states import BUSY, Ledger
from edgeloop.agent.streaming import Streaming
from edgeloop.agent.transport import Pace, Transport, Urllib3Transport
from edgeloop.agent.update import Parts, Update
from edgeloop.clock import Clock, SystemClock
from edgeloop.errors import (
    DiskFullError,
    EdgeloopError,
    NoSlotError,
    RevokedError,
    UnreachableError,
)
from edgeloop.protocol.messages import Desired, Report, Result, SampleRequest, State
from edgeloop.release import seen, trusted_time
from edgeloop.types import Json

logger = logging.getLogger(__name__)

UNPACED = Pace(bytes_per_second=0)  # the mirrors see to it, each place by itself
WATCHED_EACH = 0.02  # seconds; how soon a slot in probation answers and is judged
LONGEST_WAIT = 0.5  # seconds; how soon the loop sees a stop
LONGEST_REASON = 512  # characters
LOOKED_EACH = 60.0  # seconds; how soon an update that waits sees that it may go on
OFFLINE = frozenset({State.VERIFYING, State.INSTALLING, State.TRYING})  # need no network


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a test replaces: the network, the clocks and chance."""

    transport: Transport
    clock: Clock
    timer: Timer = time.perf_counter
    draw: backoff.Draw = random.random
    readings: Callable[[], Readings] = field(default_factory=lambda: Reader().read)
    boot: Callable[[], str] = trusted_time.boot_id


class Agent:
    """One device. ``with Agent.open(folder) as agent: agent.answer({...})``.

    ``answer`` and ``feedback`` may be called from any thread. ``tick`` and ``run`` belong to one.
    While it runs, a thread of its own judges a slot in probation and goes back: a control plane
    that hangs, and the network's thread with it, keeps no bad slot in charge.
    """

    def __init__(
        self,
        folder: Path,
        told: Settings,
        around: Surroundings,
        lock: IO[bytes],
        notify: Callable[[Notice], None] | None = None,
    ) -> None:
        self._folder, self._told, self._around, self._lock = folder, told, around, lock
        self._device = device.detect(told.target)
        key = key_of(told.key, folder)
        self._alive: Callable[[], None] = _nothing
        self._plane = ControlPlane(
            told.server, key, told.device, around.transport, around.clock, pace=told.pace
        )
        self._rotation = Rotation(place(told.key, folder), self._plane, told.device)
        self._certificate = ClientCertificate(folder / settings.CLIENT, self._plane)
        self._refused = False  # an operator decided that this device is not listened to
        self._books = _books(folder, told, around.clock)
        self._answering = Answering(self._books, around.clock, around.timer)
        self._notices, self._hooks = Notices(notify), _hooks(folder)
        beside = Observer(self._hooks, self._notices, around.clock)
        self._ledger, self._slots = Ledger(folder / "progress.json", beside), Slots(folder)
        self._gate = self._make_gate()
        self._restraint = Restraint(self._ledger, around.clock, around.draw)
        self._stop = threading.Event()
        self._moving = threading.RLock()  # held by whoever moves the update
        self._picker = self._pick()
        self._update = Update(self._parts())
        self._update.recover()
        self.restarts = False  # a new environment of the agent waits for this one to end
        self._heard = False  # a report of this process came through
        self._others = self._follow()
        self._poll_seconds = told.poll_seconds
        self._next_poll = self._next_network = self._next_report = self._next_send = 0.0
        self._failures = 0
        self._wish: Desired | None = None  # the newest that was said
        self._reported: tuple[object, ...] = ()
        self._unlogged = 0  # as last said
        self._worker: threading.Thread | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        around: Surroundings | None = None,
        *,
        notify: Callable[[Notice], None] | None = None,
    ) -> Agent:
        """The agent of an enrolled folder, with the slot in charge loaded.

        ``notify`` is told when an update is coming, waits, is installed or went back. It is called
        by the agent's own threads, and nothing goes on until it returns.

        Raises:
            AgentFolderError: not enrolled, broken, or in use by another agent.
            KeyFileError: the device's key is missing, broken, or readable by others.
            MissingExtraError: there is a slot, but its runtime is not installed.
        """
        told = settings.read(folder)
        lock = held.hold(folder)
        try:
            around = around or _surroundings(folder, told)
            return cls(folder, told, around, lock, notify)
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

    def complain(self, answer_id: str, text: str) -> None:
        """A person is not content with an answer, whether or not anybody knows a better one.

        That it was so is counted in the signals; the text stays on this device, or goes with the
        sample of an answer that is corrected as well, where the device opted in.

        Raises:
            InputMismatchError: no such answer in the log, or a text that is empty or too long.
        """
        self._answering.complain(answer_id, text)

    def postpone(self, seconds: float) -> None:
        """A user says "not now" to the update that is on its way; 0: now after all.

        It is fetched meanwhile, and forgotten when it is over. A restart keeps it.

        Raises:
            PostponeError: there is no such update, or its release does not allow so much.
            DiskFullError: no room to keep it.
        """
        self._gate.check_postponement(seconds)
        asked.put(self._folder, Asked(postpone=seconds))

    @property
    def longest_postponement(self) -> float:
        """For how many seconds from now :meth:`postpone` is taken; 0: not at all."""
        return self._gate.longest()

    def notices(self, after: str = "", seconds: float = 0.0) -> tuple[str, list[Notice]]:
        """What came behind ``after``, and what to ask with next; waits at most ``seconds``."""
        return self._notices.behind(after, seconds)

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
        wait = self._gate.waiting or self._restraint.resting
        return Report(
            model=self._told.model,
            channel=self._told.channel,
            moves=now.moves,
            state=now.state,
            running=slots.current,
            previous=slots.previous,
            trying=now.trying,
            answers_since_switch=max(0, self._books.journal.last_row() - slots.switched_after),
            **self._picker.told(),
            outcome=now.outcome,
            waiting=wait.reason[:LONGEST_REASON] if wait else "",
            waiting_until=wait and wait.until,
            fetched=self._gate.fetched,
            target=self._device.target,
            runtimes=self._device.runtimes,
            agent_version=settings.agent_version(),
            also=self._others.told(),
        )

    def run(self, stop: threading.Event, alive: Callable[[], None] | None = None) -> None:
        """Tick until ``stop`` is set; a thread of its own serves and judges a slot in probation.

        ``alive`` is called at every tick, and with each piece of a download: who watches this
        process learns by it that it does not hang.
        """
        self._alive, self._stop = alive or _nothing, stop
        self._worker = threading.Thread(target=self._work, args=(stop,), name="probation")
        self._worker.start()
        self._others.start(stop)
        try:
            while not stop.is_set():
                self._alive()
                stop.wait(min(self.tick(), LONGEST_WAIT))
        finally:
            stop.set()
            self._notices.close()
            self._worker.join()
            self._worker = None
            self._others.join()
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
        self._picker.stop()
        self._books.signals.close_all()
        self.drop()

    def drop(self) -> None:
        """End at once, as a power cut would; open windows are lost, the folder is free."""
        self._books.signals.close()
        self._books.samples.close()
        self._books.earlier.close()
        self._books.complaints.close()
        self._notices.close()
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
            self._refused = isinstance(fault, RevokedError)
            self._certificate.mend(fault)
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
        self._do_asked()
        self._others.step()
        now = self._around.clock.monotonic()
        if now < self._next_network:
            return self._next_network - now
        self._talk(now)
        self._failures = 0
        if self.state not in BUSY or self.state is State.PROBATION:
            return max(0.0, self._next_poll - now)
        if self._gate.waiting is None:
            return 0.0
        return min(LOOKED_EACH, max(0.0, self._next_poll - now))

    def _talk(self, now: float) -> None:
        try:
            if now >= self._next_poll:
                self._poll()
                self._next_poll = now + backoff.between_polls(self._poll_seconds, self._around.draw)
        except UnreachableError:
            if self.state in OFFLINE:  # an update that waited for its hour may begin
                self._step()
            raise
        self._step()
        self._say(now)
        self._send(now)

    def _step(self) -> None:
        with self._moving:
            if self.state is not State.PROBATION:
                self._update.step()

    def _do_asked(self) -> None:
        """What people asked for beside the agent, once; on a full disk when there is room."""
        try:
            found = asked.take(self._folder)
            if found is not None:
                with self._moving:
                    self._do(found)
                asked.done(self._folder)
        except DiskFullError as fault:
            logger.warning("asked.failed fault=%s", fault)

    def _do(self, found: Asked) -> None:
        if found.postpone is not None and self._ledger.now.trying is not None:
            self._gate.postpone(found.postpone)
        if found.retry:
            self._slots.forget_all()
            self._ledger.note(record=Record())
            self._restraint.believed()

    def _poll(self) -> None:
        wish = self._plane.desired()
        if wish is not None:
            self._poll_seconds = wish.poll_seconds
            self._books.samples.ask(self._mine(wish.samples))
            self._wish = wish
            _say_wish(wish)
        self._rotation.follow(wanted=wish.rotate_key if wish else None)
        self._certificate.follow(wanted=wish.client_certificate if wish else None)
        if self._wish is not None:
            self._others.wish(self._wish.also, self._poll_seconds)
            with self._moving:
                self._update.consider(self._wish)

    def _mine(self, request: SampleRequest | None) -> SampleRequest | None:
        """A request for this device's model, or for any; another one is not answered."""
        return request if request and request.model in {None, self._told.model} else None

    def _say(self, now: float) -> None:
        """Report each change at once, and from time to time that the device is there."""
        with self._moving:
            told = self.report()
        also = tuple((one.moves, one.running, one.outcome, one.waiting) for one in told.also)
        gist = (told.moves, told.running, told.outcome, told.waiting, told.variant, also)
        if gist == self._reported and now < self._next_report:
            return
        self._plane.report(told)
        self._heard = True
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
        if self._refused:
            wait = backoff.when_refused(self._around.draw)
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
        self._picker.look()
        if self.state is not State.PROBATION:
            return LONGEST_WAIT
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
        clock = self._around.clock
        return Parts(
            ledger=self._ledger,
            slots=self._slots,
            blobs=Blobs(self._folder, self._mirrors().read, clock, UNPACED),
            channel=self._channel,
            payload=self._model(),
            answers=self._books.journal.last_row,
            incoming=self._folder / "incoming.json",
            timer=self._around.timer,
            gate=self._gate,
            restraint=self._restraint,
        )

    def _follow(self) -> Others:
        home = Home(
            folder=self._folder,
            told=self._told,
            around=self._around,
            plane=self._plane,
            hooks=self._hooks,
            notices=self._notices,
            certain=self._certain,
            reported=lambda: self._heard,
            restart=self._restart,
        )
        return follow(home, lambda: self._stop)

    def _restart(self) -> None:
        """What updates this very program asks for it; whoever runs the agent does it."""
        if not self.restarts:
            logger.info("restart.done")
        self.restarts = True
        self._stop.set()

    def _make_gate(self) -> Gate:
        return Gate(
            GateParts(
                folder=self._folder,
                ledger=self._ledger,
                slots=self._slots,
                clock=self._around.clock,
                readings=self._around.readings,
                certain=self._certain,
                hooks=self._hooks,
                notices=self._notices,
            )
        )

    def _certain(self) -> float:
        """A Unix time that has passed for certain, whatever the clock says."""
        known = seen.load(self._folder / "tuf" / "seen.json")
        powered = known.now(self._around.clock.monotonic(), trusted_time.boot_id())
        return max(trusted_time.released(), powered)

    def _model(self) -> ModelPayload:
        return ModelPayload(
            ModelParts(
                slots=self._slots,
                device=self._device,
                answering=self._answering,
                earlier=self._books.earlier,
                picker=self._picker,
                timer=self._around.timer,
            )
        )

    def _pick(self) -> Picker:
        picker = Picker(
            PickerParts(
                slots=self._slots,
                device=self._device,
                answering=self._answering,
                earlier=self._books.earlier,
                threads=self._told.threads,
                clock=self._around.clock,
                read=self._around.readings,
                starts=Starts(self._folder / "variants.json"),
            )
        )
        self._answering.help = picker.help
        return picker

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
        clock, limit = around.clock, self._gate.bandwidth
        return Mirrors(mirrors, server, clock, told.pace, came=self._go_on, limit=limit)

    def _go_on(self, size: int) -> None:
        """A piece of a download came."""
        self._alive()
        self._gate.came(size)
        if self._stop.is_set():
            raise PausedError


def _say_wish(wish: Desired) -> None:
    logger.info(
        "poll.done version=%s rollout=%s samples=%s poll_seconds=%g",
        wish.release and wish.release.version,
        wish.rollout,
        wish.samples and wish.samples.count,
        wish.poll_seconds,
    )


def _hooks(folder: Path) -> Hooks:
    hooks = Hooks(folder=folder)
    for name in hooks.unknown():
        logger.warning("hook.unknown name=%s", name)
    return hooks


def _nothing() -> None:
    """What is called where nobody watches."""


def _surroundings(folder: Path, told: Settings) -> Surroundings:
    wire = Urllib3Transport(told.server, settings.authority(folder), folder / settings.CLIENT)
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
        complaints=Complaints(folder / "complaints.sqlite"),
    )
