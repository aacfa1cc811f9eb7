"""A fleet of real agents in one process, on a clock that moves only when it is told to."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from edgeloop.agent.agent import Agent
from edgeloop.agent.enrolment import enrol
from edgeloop.agent.home import Surroundings
from edgeloop.agent.readings import Readings
from edgeloop.protocol.messages import State
from edgeloop.release.trusted_time import boot_id

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from edgeloop.agent.admission import Timer
    from edgeloop.agent.answering import Answer
    from edgeloop.agent.transport import Transport
    from edgeloop.testing.clock import FakeClock

Inputs = Mapping[str, Any]
Traffic = Callable[[Agent], Iterable[tuple[Inputs, Any]]]  # agent -> (inputs, truth or None)
Heard = Callable[[Agent, "Answer", Any], None]  # agent, answer, truth
DELAY = 0.001  # seconds of any answer by the faked timer
WATCHED_EACH = 10.0  # seconds; how often an agent in probation wakes, for its answers are judged


class SteadyTimer:
    """Every reading is one millisecond after the one before: latencies that never vary."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        self._now += DELAY
        return self._now


@dataclass(frozen=True, kw_only=True)
class Home:
    """What the devices of a fleet have in common."""

    server: str
    model: str
    root: bytes
    channel: str = "stable"


class FakeFleet:
    """Agents under ``folder``, one folder each, stepped together. A context manager.

    ``traffic`` gives the inputs that an agent's application asks for in one step, each with the
    truth that a person confirms (None: nobody does); ``heard`` is told every answer. ``readings``
    is what every machine says of itself, and may be replaced at any time.
    """

    def __init__(
        self,
        folder: Path,
        home: Home,
        transport: Transport,
        clock: FakeClock,
        *,
        traffic: Traffic | None = None,
        heard: Heard | None = None,
        timer: Timer | None = None,
        boot: Callable[[], str] = boot_id,
        seed: int = 7,
    ) -> None:
        self._folder, self._home, self._clock = folder, home, clock
        self.traffic, self.heard = traffic, heard
        draw = random.Random(seed).random  # noqa: S311  (jitter, not a secret)
        self.readings = Readings()
        self._around = Surroundings(
            transport=transport,
            clock=clock,
            timer=timer or SteadyTimer(),
            draw=draw,
            readings=lambda: self.readings,
            boot=boot,
        )
        self.agents: dict[str, Agent] = {}
        self._due: dict[str, float] = {}  # by the clock's monotonic time
        self._queue: list[tuple[float, str]] = []  # of what is due; what is not in _due is old

    def add(self, name: str, token: str, **others: Any) -> Agent:
        """Enrol a device and start its agent; ``others`` as for :func:`enrol`.

        A ``model`` or ``channel`` among them wins over the home's.
        """
        told = {"model": self._home.model, "channel": self._home.channel, **others}
        enrol(
            self._folder / name,
            server=self._home.server,
            token=token,
            name=name,
            root=self._home.root,
            transport=self._around.transport,
            clock=self._clock,
            **told,
        )
        return self.start(name)

    def start(self, name: str) -> Agent:
        """Start the agent of an enrolled device, as after a power cut."""
        self.agents[name] = Agent.open(self._folder / name, self._around)
        self._wake(name, 0.0)
        return self.agents[name]

    def cut_power(self, name: str) -> None:
        """End an agent without any of its clean end; :meth:`start` starts it again."""
        self.agents.pop(name).drop()

    def step(self, seconds: float = 1.0) -> None:
        """Let time pass, every application ask, every agent tick until it has nothing to do."""
        self._clock.sleep(seconds)
        for agent in list(self.agents.values()):
            self._ask(agent)
            while agent.tick() == 0.0:
                pass

    def live(self, seconds: float) -> int:
        """Let time pass from what is due to what is due next; gives how often an agent woke.

        Each one wakes when its own loop would: then its application asks, and it ticks until it has
        nothing to do. For long times and many agents: :meth:`step` wakes them all for nothing.
        """
        end, woke = self._clock.monotonic() + seconds, 0
        while self._queue and self._queue[0][0] <= end:
            due, name = heapq.heappop(self._queue)
            if self._due.get(name) == due and name in self.agents:
                self._clock.sleep(max(0.0, due - self._clock.monotonic()))
                self._wake(name, self._wakened(self.agents[name]))
                woke += 1
        self._clock.sleep(max(0.0, end - self._clock.monotonic()))
        return woke

    def until(self, done: Callable[[], bool], steps: int = 200, seconds: float = 1.0) -> int:
        """Step until ``done()``; gives how many steps it took.

        Raises:
            TimeoutError: it was not done after ``steps``.
        """
        for taken in range(steps):
            if done():
                return taken
            self.step(seconds)
        states = ", ".join(f"{name}: {agent.state}" for name, agent in self.agents.items())
        raise TimeoutError(f"not done after {steps} steps; {states}")

    def _wakened(self, agent: Agent) -> float:
        self._ask(agent)
        while (wait := agent.tick()) == 0.0:
            pass
        return min(wait, WATCHED_EACH) if agent.state is State.PROBATION else wait

    def _wake(self, name: str, seconds: float) -> None:
        self._due[name] = self._clock.monotonic() + seconds
        heapq.heappush(self._queue, (self._due[name], name))

    def _ask(self, agent: Agent) -> None:
        if self.traffic is None or not agent.ready:
            return
        for inputs, truth in self.traffic(agent):
            answer = agent.answer(inputs)
            if self.heard is not None:
                self.heard(agent, answer, truth)
            if truth is not None:
                agent.feedback(answer.id, truth)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for agent in self.agents.values():
            agent.close()
        self.agents = {}
