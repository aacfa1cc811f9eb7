"""The agent: answers applications, and follows the control plane without trusting it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from edgeloop.agent import asked, device, held, settings
from edgeloop.agent.answering import Answer, Answering
from edgeloop.agent.asked import Asked
from edgeloop.agent.blobs import Blobs
from edgeloop.agent.books import open_books
from edgeloop.agent.client_certificate import ClientCertificate
from edgeloop.agent.control_plane import ControlPlane
from edgeloop.agent.conversation import Conversation, ConversationParts
from edgeloop.agent.following import follow
from edgeloop.agent.home import UNPACED, Home, Surroundings, surroundings
from edgeloop.agent.hooks import Hooks
from edgeloop.agent.identity import Rotation
from edgeloop.agent.key_places import key_of, place
from edgeloop.agent.loaded import Loaded
from edgeloop.agent.model_payload import ModelParts, ModelPayload
from edgeloop.agent.notices import Notice, Notices
from edgeloop.agent.picker import Picker, PickerParts
from edgeloop.agent.restraint import Restraint
from edgeloop.agent.rests import Record
from edgeloop.agent.running import Running
from edgeloop.agent.settings import Settings
from edgeloop.agent.slots import Slots
from edgeloop.agent.starts import Starts
from edgeloop.agent.states import BUSY
from edgeloop.agent.streaming import Streaming
from edgeloop.agent.update import Parts, Update
from edgeloop.errors import (
    DiskFullError,
    EdgeloopError,
    NoSlotError,
    UnreachableError,
)
from edgeloop.protocol.messages import Desired, Report, Result, State
from edgeloop.types import Json

logger = logging.getLogger(__name__)

WATCHED_EACH = 0.02  # seconds; how soon a slot in probation answers and is judged
LONGEST_WAIT = 0.5  # seconds; how soon the loop sees a stop
LONGEST_REASON = 512  # characters
LOOKED_EACH = 60.0  # seconds; how soon an update that waits sees that it may go on
OFFLINE = frozenset({State.VERIFYING, State.INSTALLING, State.TRYING})  # need no network


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
        self._around, self._lock = around, lock
        self._device = device.detect(told.target)
        self._running = Running()
        key = key_of(told.key, folder)
        plane = ControlPlane(
            told.server, key, told.device, around.transport, around.clock, pace=told.pace
        )
        self._books = open_books(folder, told, around.clock)
        self._answering = Answering(self._books, around.clock, around.timer)
        self._notices = Notices(notify)
        self._home = Home(
            folder=folder,
            told=told,
            around=around,
            plane=plane,
            hooks=_hooks(folder),
            notices=self._notices,
            running=self._running,
        )
        self._ledger, self._slots = self._home.ledger(folder), Slots(folder)
        self._gate = self._home.gate(self._ledger, self._slots)
        self._restraint = Restraint(self._ledger, around.clock, around.draw)
        self._moving = threading.RLock()  # held by whoever moves the update
        self._picker = self._pick()
        self._update = Update(self._parts())
        self._update.recover()
        self._others = follow(self._home)
        self._talk = self._converse(plane)
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
            around = around or surroundings(folder, told)
            return cls(folder, told, around, lock, notify)
        except BaseException:  # whatever ends it, the folder's lock is let go, and it is raised on
            lock.close()
            raise

    @property
    def settings(self) -> Settings:
        """What this device was told."""
        return self._home.told

    @property
    def restarts(self) -> bool:
        """Whether a new environment of the agent waits for this process to end."""
        return self._running.restarts

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
        asked.put(self._home.folder, Asked(postpone=seconds))

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
            model=self.settings.model,
            channel=self.settings.channel,
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
        self._running.stop = stop
        if alive is not None:
            self._running.watcher = alive
        self._worker = threading.Thread(target=self._work, args=(stop,), name="probation")
        self._worker.start()
        self._others.start(stop)
        try:
            while not stop.is_set():
                self._running.alive()
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
        return self._talk.back_off() if wait is None else wait

    def hand_over(self) -> None:
        """Before a clean end: report and send what there is, once; what fails stays on disk."""
        self._books.signals.close_all()
        self._talk.hand_over()

    def close(self) -> None:
        """End cleanly: windows are closed and kept, the folder is free."""
        self._update.stop()
        self._others.stop()
        self._picker.stop()
        self._books.signals.close_all()
        self.drop()

    def drop(self) -> None:
        """End at once, as a power cut would; open windows are lost, the folder is free."""
        self._books.close()
        self._notices.close()
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
            self._talk.failed(fault)
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
        if pause := self._talk.pause(now):
            return pause
        self._exchange(now)
        self._talk.went_well()
        until_poll = max(0.0, self._talk.next_poll - now)
        if self.state not in BUSY or self.state is State.PROBATION:
            return until_poll
        return 0.0 if self._gate.waiting is None else min(LOOKED_EACH, until_poll)

    def _exchange(self, now: float) -> None:
        try:
            self._talk.poll(now)
        except UnreachableError:
            if self.state in OFFLINE:  # an update that waited for its hour may begin
                self._step()
            raise
        self._step()
        self._talk.say(now)
        self._talk.send(now)

    def _step(self) -> None:
        with self._moving:
            if self.state is not State.PROBATION:
                self._update.step()

    def _do_asked(self) -> None:
        """What people asked for beside the agent, once; on a full disk when there is room."""
        try:
            found = asked.take(self._home.folder)
            if found is not None:
                with self._moving:
                    self._do(found)
                asked.done(self._home.folder)
        except DiskFullError as fault:
            logger.warning("asked.failed fault=%s", fault)

    def _do(self, found: Asked) -> None:
        if found.postpone is not None and self._ledger.now.trying is not None:
            self._gate.postpone(found.postpone)
        if found.retry:
            self._slots.forget_all()
            self._ledger.note(record=Record())
            self._restraint.believed()

    def _hear(self, wish: Desired) -> None:
        self._others.wish(wish.also, self._talk.poll_seconds)
        with self._moving:
            self._update.consider(wish)

    def _told(self) -> Report:
        with self._moving:
            return self.report()

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

    def _converse(self, plane: ControlPlane) -> Conversation:
        told = self.settings
        return Conversation(
            ConversationParts(
                home=self._home,
                books=self._books,
                rotation=Rotation(place(told.key, self._home.folder), plane, told.device),
                certificate=ClientCertificate(self._home.folder / settings.CLIENT, plane),
                report=self._told,
                heard=self._hear,
            )
        )

    def _parts(self) -> Parts:
        home, clock = self._home, self._around.clock
        mirrors = home.mirrors(self._gate, self._running.alive)
        return Parts(
            ledger=self._ledger,
            slots=self._slots,
            blobs=Blobs(home.folder, mirrors.read, clock, UNPACED),
            channel=lambda: home.channel(home.folder, home.told.model, home.told.channel),
            payload=self._model(),
            answers=self._books.journal.last_row,
            incoming=home.folder / "incoming.json",
            timer=self._around.timer,
            gate=self._gate,
            restraint=self._restraint,
        )

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
                threads=self.settings.threads,
                clock=self._around.clock,
                read=self._around.readings,
                starts=Starts(self._home.folder / "variants.json"),
            )
        )
        self._answering.help = picker.help
        return picker


def _hooks(folder: Path) -> Hooks:
    hooks = Hooks(folder=folder)
    for name in hooks.unknown():
        logger.warning("hook.unknown name=%s", name)
    return hooks
