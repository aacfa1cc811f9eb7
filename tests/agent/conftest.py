"""What the agent's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.world import SERVER, Factory, Plane, World

from edgeloop.testing.clock import FakeClock
from edgeloop.testing.fleet import FakeFleet, Home


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def factory(tmp_path: Path) -> Factory:
    # python-tuf reads the machine's own clock when it looks at expiry dates
    return Factory(tmp_path / "made")


@pytest.fixture
def plane(factory: Factory, clock: FakeClock) -> Plane:
    return Plane(factory, clock)


@pytest.fixture
def world(tmp_path: Path, clock: FakeClock, factory: Factory, plane: Plane) -> Iterator[World]:
    home = Home(server=SERVER, model="sorter", root=factory.repository.root())
    fleet = FakeFleet(tmp_path / "fleet", home, plane, clock)
    made = World(clock=clock, factory=factory, plane=plane, fleet=fleet)
    fleet.traffic = made.traffic
    with fleet:
        fleet.add("d1", "token", opt_in=True)
        yield made
