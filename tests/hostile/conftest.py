"""A whole agent whose server may lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.agent.world import SERVER, Factory, Plane, World

from edgeloop.testing.clock import FakeClock
from edgeloop.testing.fleet import FakeFleet, Home


class LyingPlane(Plane):
    """``lies``: path in the repository or of a blob -> what comes in its place; None is 404."""

    lies: Mapping[str, bytes | None] = {}

    def _file(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> tuple[int, bytes, dict[str, str]]:
        if path not in self.lies:
            return super()._file(method, path, headers)
        lie = self.lies[path]
        return (404, b"", {}) if lie is None else (200, lie, {})


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """One device that runs release 1, and nobody who asks it anything."""
    clock = FakeClock()
    factory = Factory(tmp_path / "made", clock=clock)
    plane = LyingPlane(factory, clock)
    home = Home(server=SERVER, model="sorter", root=factory.repository.root())
    fleet = FakeFleet(tmp_path / "fleet", home, plane, clock)
    made = World(clock=clock, factory=factory, plane=plane, fleet=fleet)
    fleet.traffic = made.traffic
    with fleet:
        fleet.add("d1", "token")
        plane.wish(factory.publish(factory.bundle()))
        made.rest()
        plane.reports.clear()
        yield made
