"""The whole loop in memory: real agents, control plane, releases and trigger; a faked clock."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from edgeloop.agent.agent import Agent
from edgeloop.errors import GateError, SamplesError
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.server import create_app, tick
from edgeloop.fleet.settings import Settings
from edgeloop.loop.close import Watcher
from edgeloop.loop.file import load_loop
from edgeloop.loop.runner import RunResult, run_loop
from edgeloop.release.bundle import BundleInfo
from edgeloop.release.repository import Repository
from edgeloop.store.artifacts import Store
from edgeloop.testing.clock import FakeClock
from edgeloop.testing.fleet import FakeFleet, Home
from edgeloop.testing.transport import MemoryTransport
from edgeloop.watch.trigger import Move

URL = "http://plane"
OVER = {"finished", "stopped"}
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
            if self.client.rollout(rollout).state in OVER:
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


@pytest.fixture
def world(toys: Path, tmp_path: Path) -> Iterator[World]:
    (tmp_path / "loop.yaml").write_text(LOOP)
    clock = FakeClock(time.time())
    Repository(tmp_path / "repository", tmp_path / "keys", clock).create(("stable",))
    told = Settings(
        folder=tmp_path / "plane",
        repository=tmp_path / "repository",
        layout=tmp_path / ".edgeloop",
        poll_seconds=1,
        tick_seconds=3600,
    )
    app = create_app(told, clock)
    transport = MemoryTransport(app)

    def operate(method, url, headers, body):
        reply = transport.send(method, url, headers, body, 1 << 24)
        return reply.status, b"".join(reply.chunks)

    root = (tmp_path / "repository" / "metadata" / "1.root.json").read_bytes()
    home = Home(server=URL, model="toy", root=root)
    with transport, FakeFleet(tmp_path / "fleet", home, transport, clock) as fleet:
        client = FleetClient(URL, told.token_file.read_text().strip(), operate)
        for site in ("north", "south"):
            for number in (1, 2):
                token = client.create_token({"site": site}).token
                fleet.add(
                    f"{site}-{number}",
                    token,
                    labels={"site": site},
                    opt_in=site == "south",
                    window_answers=20,
                    report_seconds=1,
                )
        made = World(folder=tmp_path, clock=clock, app=app, fleet=fleet, client=client)
        fleet.traffic, fleet.heard = made.traffic, made.heard
        yield made


def test_the_loop_turns_once_from_data_to_a_fleet_that_has_learned(world: World) -> None:
    assert world.roll_out(world.run().release.version) == "finished"
    watcher = world.watcher()
    world.step(20)
    assert watcher.step().move is Move.CALM

    world.changed = True
    bad = world.run("recipe.overflows=true").release.version
    assert world.roll_out(bad) == "stopped"
    assert {world.versions()[name] for name in ("south-1", "south-2")} == {1}
    world.delist(bad)  # the canary of the north was content with it
    world.step(20)
    assert set(world.versions().values()) == {1}
    decision = watcher.step()
    assert (decision.move, decision.group, decision.fired) == (Move.FIRE, "south", True)
    rollout = world.client.rollouts()[-1]
    assert rollout.version == 3
    assert world.until_over(rollout.id) == "finished"
    assert set(world.versions().values()) == {3}
    world.step(20)
    assert watcher.step().move is Move.CALM

    assert np.mean(world.right["south", 1][-100:]) < 0.7
    assert np.mean(world.right["south", 3]) > 0.9
    assert np.mean(world.right["north", 3]) > 0.95
    info = BundleInfo.model_validate(world.store.open(rollout.digest).meta)
    declared = {line.profile: line.disagreement for line in info.declared}
    assert declared["field:south"] > 0.3 > declared["clean"]
    assert world.actions() == [
        "trigger.alarm", "trigger.fired", "trigger.samples_requested",
        "trigger.learned", "trigger.rollout",
    ]  # fmt: skip


def test_the_trigger_waits_while_a_rollout_is_running(world: World) -> None:
    world.roll_out(world.run().release.version)
    world.changed = True
    world.step(20)
    second = world.run("passes.0.toy_round.digits=3").release.version
    number = world.client.create_rollout("toy", "stable", second).id
    decision = world.watcher().step()
    assert (decision.move, decision.fired) == (Move.WAIT, False)
    world.client.stop(number)
    assert world.actions() == ["trigger.alarm", "trigger.waiting"]


def test_a_watcher_that_was_killed_carries_on_where_the_log_says(world: World, monkeypatch) -> None:
    world.roll_out(world.run().release.version)
    world.changed = True
    world.step(20)
    watcher = world.watcher()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Watcher, "_keep", killed)
    with pytest.raises(KeyboardInterrupt):
        watcher.step()
    monkeypatch.undo()
    assert world.watcher().step().reason == "carried on"
    assert world.actions().count("trigger.samples_requested") == 1
    assert world.until_over(world.client.rollouts()[-1].id) == "finished"


def test_a_turn_that_cannot_succeed_is_noted_and_not_tried_again(world: World) -> None:
    world.roll_out(world.run().release.version)
    world.changed = True
    world.step(20)
    watcher = world.watcher("watch.on_drift.recipe.sign=-1")
    with pytest.raises(GateError):
        watcher.step()
    assert world.actions()[-1] == "trigger.gave_up"
    assert watcher.step().fired is False


def test_devices_that_did_not_opt_in_give_nothing(world: World) -> None:
    world.roll_out(world.run().release.version)
    world.changed = True
    world.step(20)
    watcher = world.watcher("watch.on_drift.wait=3 s")
    for name in ("south-1", "south-2"):
        world.fleet.agents[name]._books.samples._opted_in = False
    with pytest.raises(SamplesError) as raised:
        watcher.step()
    assert str(raised.value) == (
        "[E505] sample request 1 to site=south must bring 30 samples to learn from, got 0."
        " Devices give samples only when they opted in and people confirm answers"
    )


def test_without_on_drift_the_alarm_is_noted_and_nothing_starts(world: World) -> None:
    (world.folder / "loop.yaml").write_text(
        LOOP.replace("  on_drift: {samples: 80, wait: 30 s}\n", "")
    )
    world.roll_out(world.run().release.version)
    world.changed = True
    world.step(20)
    assert world.watcher().step().fired is False
    assert world.actions() == ["trigger.alarm"]


def test_a_group_is_rolled_back_by_hand_and_a_held_or_pinned_device_stays(world: World) -> None:
    world.roll_out(world.run().release.version)
    world.client.hold("north-2")
    second = world.run("passes.0.toy_round.digits=3").release.version
    assert world.roll_out(second) == "finished"
    assert world.versions() == {"north-1": 2, "north-2": 1, "south-1": 2, "south-2": 2}
    world.client.pin("south-1", "toy", "stable", 2)
    back = world.client.roll_back(2, 1, "site=south")
    assert world.until_over(back.id) == "finished"
    assert world.versions() == {"north-1": 2, "north-2": 1, "south-1": 2, "south-2": 1}
