"""Real agents against the real control plane and a real signed repository, in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.agent.test_update import SOUTH, bad, good
from tests.agent.world import Factory, pictures

from edgeloop.agent.agent import Agent
from edgeloop.fleet.client import FleetClient
from edgeloop.fleet.server import create_app, tick
from edgeloop.fleet.settings import Settings
from edgeloop.protocol.messages import Group, Probation, RolloutPlan
from edgeloop.testing.clock import FakeClock
from edgeloop.testing.fleet import FakeFleet, Home
from edgeloop.testing.transport import MemoryTransport
from edgeloop.types import Artifact

URL = "http://control-plane"
PLAN = RolloutPlan(
    groups=(
        Group(select="site=north", stages=(1, "100%")),
        Group(select="site=south", stages=(1, "100%")),
    ),
    soak_seconds=5,
    min_answers=20,
    probation=Probation(answers=60),
)


@dataclass
class Field:
    """Four devices at two sites, their control plane and an operator."""

    factory: Factory
    fleet: FakeFleet
    client: FleetClient
    app: Any
    log: Path
    asked: int = 0
    bright: float = 0

    def traffic(self, agent: Agent) -> Iterator[tuple[Mapping[str, Any], Any]]:
        south = agent.settings.labels["site"] == "south"
        for row, image in enumerate(pictures(self.asked, 10, self.bright if south else 0)):
            self.asked += 1
            yield {"image": image}, "left" if row % 2 == 0 else "right"

    def roll_out(self, bundle: Artifact) -> int:
        ref = self.factory.publish(bundle, PLAN)
        return self.client.create_rollout("sorter", "stable", ref.version).id

    def until_over(self, rollout: int) -> str:
        """Step until a rollout is over; gives its state."""

        def over() -> bool:
            tick(self.app)
            return self.client.rollout(rollout).state in {"finished", "stopped"}

        self.fleet.until(over)
        return str(self.client.rollout(rollout).state)

    def versions(self) -> dict[str, int]:
        return {name: agent.slot().ref.version for name, agent in self.fleet.agents.items()}

    def fetched(self, digest: str) -> set[str]:
        """Names of the devices that asked for a blob, by the blob server's log."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        names = {device.id: device.name for device in self.client.devices()}
        return {names[line["device"]] for line in lines if digest[7:] in line["path"]}


@pytest.fixture
def field(tmp_path: Path, factory: Factory) -> Iterator[Field]:
    import time

    clock = FakeClock(time.time())
    told = Settings(
        folder=tmp_path / "plane",
        repository=factory.repository.folder,
        layout=factory.store.folder,
        poll_seconds=1,
        tick_seconds=3600,  # the test ticks
    )
    app = create_app(told, clock)
    transport = MemoryTransport(app)

    def operate(
        method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        reply = transport.send(method, url, headers, body, 1 << 24)
        return reply.status, b"".join(reply.chunks)

    home = Home(server=URL, model="sorter", root=factory.repository.root())
    with transport, FakeFleet(tmp_path / "fleet", home, transport, clock) as fleet:
        client = FleetClient(URL, told.token_file.read_text().strip(), operate)
        for site in ("north", "south"):
            for number in (1, 2):
                labels = {"site": site}
                token = client.create_token(labels).token
                fleet.add(f"{site}-{number}", token, labels=labels, opt_in=True)
        made = Field(factory=factory, fleet=fleet, client=client, app=app, log=told.blob_log)
        fleet.traffic = made.traffic
        yield made


def test_a_bad_release_stops_at_its_canary_and_a_good_one_goes_to_all(field: Field) -> None:
    first = field.factory.bundle()
    assert field.until_over(field.roll_out(first)) == "finished"
    assert set(field.versions().values()) == {1}

    field.bright = SOUTH
    second = bad(field, first)  # type: ignore[arg-type]  # only its factory is used
    assert field.until_over(field.roll_out(second)) == "stopped"
    field.fleet.step(2)
    graph = next(layer.digest for layer in second.layers if layer.name == "model.onnx")
    assert len(field.fetched(graph)) == 2
    south = {name: v for name, v in field.versions().items() if name.startswith("south")}
    assert set(south.values()) == {1}
    jobs = field.client.rollout(2).jobs
    failed = [job for job in jobs if job.state == "FAILED"]
    assert [job.device_name[:5] for job in failed] == ["south"]
    assert failed[0].reason.startswith("FAILED_ROLLBACK_COMPLETE: disagreement ")

    third = good(field, first)  # type: ignore[arg-type]
    assert field.until_over(field.roll_out(third)) == "finished"
    assert set(field.versions().values()) == {3}


def test_samples_and_windows_come_home_from_opted_in_devices(field: Field) -> None:
    assert field.until_over(field.roll_out(field.factory.bundle())) == "finished"
    request = field.client.request_samples("site=south", 30).id
    for _ in range(5):
        field.fleet.step()
    samples = list(field.client.samples(request))
    assert len(samples) == 30
    assert {sample.labels["site"] for sample in samples} == {"south"}
    asked = field.asked
    field.fleet.traffic = None
    for _ in range(3):
        field.fleet.step(61)
    windows = field.client.windows()
    assert sum(view.window.answers for view in windows) == asked
    assert sum(view.window.confirmed for view in windows) == asked
