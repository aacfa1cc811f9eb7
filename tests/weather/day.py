"""A fleet's day in bad weather, in one process: devices, their control plane, an operator.

Time is simulated, the rest is real: agents, control plane over SQLite, signed repository, bytes.
"""

from __future__ import annotations

import functools
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import anyio.to_thread
from tests.agent.world import Factory, pictures
from tests.weather.full import send_all

from edgeloop.agent import device, settings
from edgeloop.agent.agent import Agent
from edgeloop.agent.signals import Signals
from edgeloop.agent.states import Event, Ledger
from edgeloop.fleet import device_api
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.server import create_app, tick
from edgeloop.fleet.settings import Settings
from edgeloop.protocol.messages import Group, JobState, Probation, RolloutPlan, State, Windows
from edgeloop.testing.clock import FakeClock
from edgeloop.testing.fleet import FakeFleet, Home
from edgeloop.testing.transport import MemoryTransport
from edgeloop.testing.weather import Weather, Weathered
from edgeloop.types import Artifact

URL = "http://control-plane"
SOUTH = 90  # brighter inputs, where the bad release is bad
MINUTE, HOUR = 60.0, 3600.0
PLAN = RolloutPlan(
    groups=(Group(select="all", stages=("10%", "100%")),),
    soak_seconds=MINUTE,
    deadline_seconds=6 * HOUR,
    min_answers=5,
    probation=Probation(answers=20),
)
FAILED = (JobState.FAILED, JobState.REJECTED, JobState.TIMED_OUT)
TOLD = {"window_seconds": 1800.0, "report_seconds": 1800.0}


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a day is like. Hours begin with the first release."""

    seed: int
    devices: int
    hours: float
    share: float = 0.1  # of requests that meet a fault
    poll_seconds: float = 300.0
    cuts_per_hour: float = 6.0  # devices whose power fails
    outage: tuple[float, float] = (0.0, 0.0)  # hours; nobody reaches anybody meanwhile
    releases: tuple[tuple[float, bool], ...] = ()  # hour, and whether it is a good one


@dataclass
class Books:
    """What was promised, and what there is to show for it."""

    given: int = 0  # answers that applications got
    lost: int = 0  # of these, in windows that a power cut found open
    acknowledged: dict[str, int] = field(default_factory=dict)  # window -> answers
    twice: list[str] = field(default_factory=list)  # windows that changed between two sendings


@dataclass
class Day:
    """One fleet. ``right`` is the newest good release."""

    forecast: Forecast
    factory: Factory
    fleet: FakeFleet
    client: FleetClient
    app: Any
    clock: FakeClock
    transport: MemoryTransport
    weather: Weather
    wind: Weathered
    draw: random.Random
    books: Books = field(default_factory=Books)
    right: Artifact | None = None
    versions: list[int] = field(default_factory=list)  # of good releases
    cuts: int = 0
    woke: int = 0
    dark: dict[str, float] = field(default_factory=dict)  # without power until
    moves: Counter[str] = field(default_factory=Counter)  # of all devices, by their event

    def live(self) -> None:
        """From the first hour to the last, in bad weather, and then two hours in calm."""
        self.weather.share = self.forecast.share
        releases = list(self.forecast.releases)
        for minute in range(int(self.forecast.hours * 60)):
            hour = minute / 60
            self.transport.down = self.forecast.outage[0] <= hour < self.forecast.outage[1]
            if releases and releases[0][0] <= hour and not self.transport.down and self._idle():
                self.roll_out(good=releases.pop(0)[1])
            self._cut_power()
            self.minute()
        assert not releases, "the day was too short for its releases"
        self.weather.share = 0.0
        self.wind.arrive()
        self._restore(self.clock.monotonic() + HOUR)

    def settle(self, hours: float) -> None:
        """Calm: until every device has what it should have, for ``hours`` at the most."""
        for _ in range(int(hours * 60)):
            if self._idle() and self.wrong() == {}:
                break
            self.minute()

    def hand_over(self) -> None:
        """Let each agent close its windows and send all that waits."""
        self.fleet.traffic = None
        for agent in self.fleet.agents.values():
            send_all(agent)

    def minute(self) -> None:
        """One minute of the fleet, then the control plane's rules."""
        self._restore(self.clock.monotonic())
        self.woke += self.fleet.live(MINUTE)
        tick(self.app)

    def roll_out(self, *, good: bool) -> None:
        """A new release for all."""
        number = self.factory.made
        names = ("clean", "south") if good else ("clean",)
        profiles = {name: (SOUTH if name == "south" else 0, 0.0) for name in names}
        ceiling = 255 if good else 75
        made = self.factory.bundle(
            against=self.right, profiles=profiles, scale=0.012 + number * 1e-5, ceiling=ceiling
        )
        ref = self.factory.publish(made, PLAN)
        self.client.create_rollout("sorter", "stable", ref.version)
        if good:
            self.right = made
            self.versions.append(ref.version)

    def wrong(self) -> dict[str, str]:
        """Devices that do not run the newest good release, and what they do."""
        assert self.right is not None
        found = {}
        for name, agent in self.fleet.agents.items():
            digest = agent.slot().ref.digest if agent.ready else None
            if digest != self.right.digest or agent.state is State.PROBATION:
                found[name] = f"{agent.state} {agent.report().running} {agent.report().outcome}"
        return found

    def counted(self) -> Counter[str]:
        """Every window that the control plane has, with its answers: one row each."""
        rows: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        since = 0
        while page := self.client.windows(since=since):
            since = page[-1].seq
            for view in page:
                rows[view.window.id] += view.window.answers
                self.ids[view.window.id] += 1
        return rows

    def ends(self) -> list[tuple[int, str, dict[str, int]]]:
        """Each rollout: version, state, jobs by state."""
        found = []
        for one in self.client.rollouts():
            counts = {str(state): count for state, count in one.counts.items() if count}
            found.append((one.version, str(one.state), counts))
        return found

    def failures(self) -> list[tuple[int, str]]:
        """Version and reason of each job that failed."""
        rollouts = [self.client.rollout(one.id) for one in self.client.rollouts()]
        return [
            (one.version, job.reason) for one in rollouts for job in one.jobs if job.state in FAILED
        ]

    def table(self) -> str:
        """For people."""
        met, told = self.weather.met, self.forecast
        faults = ", ".join(f"{kind} {count}" for kind, count in sorted(met.items()))
        rows = (
            ("devices, simulated hours, seed", f"{told.devices}, {told.hours:g}, {told.seed}"),
            ("requests that reached the server", self.transport.requests),
            ("faults met", f"{met.total()} ({faults})"),
            ("power cuts", self.cuts),
            ("wakes of agents", self.woke),
            ("moves of devices", ", ".join(f"{e} {n}" for e, n in sorted(self.moves.items()))),
            ("rollouts", "; ".join(f"{v} {s} {c}" for v, s, c in self.ends())),
            ("answers given, lost in open windows", f"{self.books.given}, {self.books.lost}"),
            ("windows acknowledged", len(self.books.acknowledged)),
        )
        return "\n".join(f"{what:38}{got}" for what, got in rows)

    # what happens

    def traffic(self, agent: Agent) -> Iterator[tuple[Mapping[str, Any], Any]]:
        rows = 10 if agent.state is State.PROBATION else 2
        for image in PICTURES[self.draw.randrange(len(PICTURES) - rows) :][:rows]:
            yield {"image": image}, None

    def heard(self, *_: object) -> None:
        self.books.given += 1

    def _idle(self) -> bool:
        return all(one.state.over for one in self.client.rollouts())

    def _cut_power(self) -> None:
        if self.draw.random() >= self.forecast.cuts_per_hour / 60:
            return
        name = self.draw.choice(sorted(self.fleet.agents))
        opened = self.fleet.agents[name]._books.signals._open
        self.books.lost += sum(window.answers for window in opened.values())
        self.fleet.cut_power(name)
        self.dark[name] = self.clock.monotonic() + self.draw.uniform(0, 20 * MINUTE)
        self.cuts += 1

    def _restore(self, now: float) -> None:
        for name, until in list(self.dark.items()):
            if until <= now:
                del self.dark[name]
                self.fleet.start(name)


PICTURES = pictures(5, 400, SOUTH)


@contextmanager
def begun(folder: Path, forecast: Forecast) -> Iterator[Day]:
    """A fleet of enrolled devices without a release, in calm weather."""
    clock, weather = FakeClock(), Weather(forecast.seed, 0.0)
    factory = Factory(folder / "made", clock=clock)
    told = Settings(
        folder=folder / "plane",
        repository=factory.repository.folder,
        layout=factory.store.folder,
        poll_seconds=forecast.poll_seconds,
        tick_seconds=1e9,  # the day ticks
    )
    app = create_app(told, clock)
    transport = MemoryTransport(app)
    wind = Weathered(transport, weather, clock)
    home = Home(server=URL, model="sorter", root=factory.repository.root())
    fleet = FakeFleet(folder / "fleet", home, wind, clock, seed=forecast.seed)
    client = FleetClient(URL, told.token_file.read_text().strip(), _operator(transport))
    day = Day(
        forecast=forecast, factory=factory, fleet=fleet, client=client, app=app, clock=clock,
        transport=transport, weather=weather, wind=wind, draw=random.Random(forecast.seed),
    )  # fmt: skip
    fleet.traffic, fleet.heard = day.traffic, day.heard
    with swift(), witnessed(day), transport, fleet:
        for number in range(forecast.devices):
            fleet.add(f"d{number}", client.create_token({}).token, **TOLD)
        yield day


def _operator(transport: MemoryTransport) -> Callable[..., tuple[int, bytes]]:
    """The operator has a wire of her own."""

    def operate(method: str, url: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        down, transport.down = transport.down, False
        try:
            reply = transport.send(method, url, headers, body, 1 << 28)
        finally:
            transport.down = down
        return reply.status, b"".join(reply.chunks)

    return operate


@contextmanager
def witnessed(day: Day) -> Iterator[None]:
    """Write down each window that is acknowledged before the device forgets it, and each move."""
    forget, books, move = Signals.acknowledged, day.books, Ledger.move

    def acknowledged(signals: Signals, batch: Windows) -> None:
        for window in batch.windows:
            if books.acknowledged.setdefault(window.id, window.answers) != window.answers:
                books.twice.append(window.id)
        forget(signals, batch)

    def moved(ledger: Ledger, event: Event, **changes: Any) -> None:
        ended = event is Event.DONE and ledger.now.state is State.PROBATION
        move(ledger, event, **changes)
        day.moves["committed" if ended else str(event)] += 1

    with (
        mock.patch.object(Signals, "acknowledged", acknowledged),
        mock.patch.object(Ledger, "move", moved),
    ):
        yield


@contextmanager
def swift() -> Iterator[None]:
    """Leave out what costs time and is no matter of weather: threads, logs, packages' versions."""

    async def at_once(work: Callable[..., Any], *given: Any, **_: Any) -> Any:
        return work(*given)

    level, known = logging.getLogger("edgeloop"), functools.cache(version)
    with ExitStack() as patched:
        patched.callback(level.setLevel, level.level)
        level.setLevel(logging.CRITICAL)
        patched.enter_context(mock.patch.object(anyio.to_thread, "run_sync", at_once))
        patched.enter_context(mock.patch.object(device_api, "run_sync", at_once))
        for module in (device, settings):
            patched.enter_context(mock.patch.object(module, "version", known))
        yield
