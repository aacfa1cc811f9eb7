"""A whole loop in memory: real agents, control plane and releases of toys; a faked clock."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgeloop.agent.agent import Agent
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.server import create_app, tick
from edgeloop.fleet.settings import Settings
from edgeloop.loop.close import Watcher
from edgeloop.loop.file import load_loop
from edgeloop.loop.runner import RunResult, run_loop
from edgeloop.release.repository import Repository
from edgeloop.store.artifacts import Store
from edgeloop.testing.clock import FakeClock
from edgeloop.testing.fleet import FakeFleet, Home
from edgeloop.testing.transport import MemoryTransport

URL = "http://plane"
SHIFT = 1.5  # what south's sensor adds once it has changed
LOOP = """\
name: toy
data: {source: toy}
recipe: {use: toy}
passes: [toy_round: {digits: 4}]
checks: {toy_right: {min: 0.9}}
rollout:
  groups:
    - {select: "site=north", stages: [1, "100%"]}
    - {select: "site=south", stages: [1, "100%"]}
  soak: 2 s
  deadline: 600 s
  probation: {answers: 60}
watch:
  window: 100
  drift: {psi: 0.25, features: 1}
  on_drift: {samples: 80, wait: 30 s}
"""


@dataclass
class World:
    """Four devices at two sites; the south's sensors may change."""

    folder: Path
    clock: FakeClock
    app: object
    fleet: FakeFleet
    client: FleetClient
    changed: bool = False
    source: np.random.Generator = field(default_factory=lambda: np.random.default_rng(3))
    right: dict[tuple[str, int], list[bool]] = field(default_factory=dict)

    def run(self, *overrides: str) -> RunResult:
        loop = load_loop(self.folder / "loop.yaml", overrides)
        return run_loop(loop, self.store)

    @property
    def store(self) -> Store:
        return Store(self.folder / ".edgeloop")

    def delist(self, version: int) -> None:
        keys, repository = self.folder / "keys", self.folder / "repository"
        Repository(repository, keys, self.clock).delist("toy", "stable", version)

    def watcher(self, *overrides: str) -> Watcher:
        loop = load_loop(self.folder / "loop.yaml", overrides)
        return Watcher(loop=loop, store=self.store, fleet=self.client, clock=_Stepping(self))

    def traffic(self, agent: Agent) -> Iterator[tuple[dict[str, object], str]]:
        south = agent.settings.labels["site"] == "south"
        for value in self.source.random(10).astype(np.float32):
            seen = value + SHIFT if south and self.changed else value
            yield {"x": np.array([seen], dtype=np.float32)}, "high" if value > 0.5 else "low"

    def heard(self, agent: Agent, answer, truth: str) -> None:
        key = (agent.settings.labels["site"], answer.version)
        self.right.setdefault(key, []).append(answer.result["label"] == truth)

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.fleet.step()
            tick(self.app)

    def roll_out(self, version: int) -> str:
        rollout = self.client.create_rollout("toy", "stable", version).id
        return self.until_over(rollout)

    def until_over(self, rollout: int) -> str:
        for _ in range(200):
            if self.client.rollout(rollout).state.over:
                break
            self.step()
        return str(self.client.rollout(rollout).state)

    def versions(self) -> dict[str, int]:
        return {name: agent.slot().ref.version for name, agent in self.fleet.agents.items()}

    def actions(self) -> list[str]:
        return [line.action for line in self.client.audit() if line.action.startswith("trigger.")]


class _Stepping:
    """The watcher waits while the world goes on."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.clock.now()

    def monotonic(self) -> float:
        return self._world.clock.monotonic()

    def sleep(self, _seconds: float) -> None:
        self._world.step()


@contextmanager
def open_world(folder: Path, models: Mapping[str, str]) -> Iterator[World]:
    """A control plane with a device per entry: ``<site>-<number>`` -> the model that it follows."""
    (folder / "loop.yaml").write_text(LOOP)
    clock = FakeClock(time.time())
    Repository(folder / "repository", folder / "keys", clock).create(("stable",))
    told = Settings(
        folder=folder / "plane",
        repository=folder / "repository",
        layout=folder / ".edgeloop",
        poll_seconds=1,
        tick_seconds=3600,
    )
    app = create_app(told, clock)
    transport = MemoryTransport(app)

    def operate(method, url, headers, body):
        reply = transport.send(method, url, headers, body, 1 << 24)
        return reply.status, b"".join(reply.chunks)

    root = (folder / "repository" / "metadata" / "1.root.json").read_bytes()
    home = Home(server=URL, model="toy", root=root)
    with transport, FakeFleet(folder / "fleet", home, transport, clock) as fleet:
        client = FleetClient(URL, told.token_file.read_text().strip(), operate)
        for name, model in models.items():
            site = name.partition("-")[0]
            fleet.add(
                name,
                client.create_token({"site": site}).token,
                model=model,
                labels={"site": site},
                opt_in=site == "south",
                window_answers=20,
                report_seconds=1,
            )
        made = World(folder=folder, clock=clock, app=app, fleet=fleet, client=client)
        fleet.traffic, fleet.heard = made.traffic, made.heard
        yield made
