"""What an agent's log says: one line per unit of work, as fields."""

from __future__ import annotations

import logging

import pytest
from tests.agent.test_update import SOUTH, bad, good, installed
from tests.agent.world import World

from edgeloop.release.bundle import layers_of


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Name and fields of every line at the level that people see, without what is measured."""
    seen = [r.getMessage() for r in caplog.records if r.levelno >= logging.INFO]
    return [line.partition(" seconds=")[0].partition(" reason=")[0] for line in seen]


def test_an_update_is_one_line_per_unit_of_work(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    first, _ = installed(world)
    caplog.clear()
    caplog.set_level(logging.INFO, "edgeloop.agent")
    bundle = good(world, first)
    world.plane.wish(world.factory.publish(bundle), rollout=2)
    world.rest()
    layers = layers_of(world.factory.store.layout.read(bundle.digest), bundle.digest)
    size = sum(layer.size for layer in layers)
    assert lines(caplog) == [
        "poll.done version=2 rollout=2 samples=None poll_seconds=1",
        f"download.done version=2 files={len(layers)} bytes={size}",
        f"install.done version=2 bundle={bundle.digest}",
        "admission.done version=2 verdict=pass target=pass runtime=pass golden_parity=pass "
        "latency_p95=pass memory=pass",
        "probation.done version=2 in=beside verdict=passed",
        f"switch.done version=2 bundle={bundle.digest}",
        "probation.done version=2 in=charge verdict=passed",
        "update.done result=SUCCESSFUL version=2",
    ]


def test_a_bad_slot_leaves_its_verdict(world: World, caplog: pytest.LogCaptureFixture) -> None:
    first, _ = installed(world)
    world.bright = SOUTH
    caplog.set_level(logging.INFO, "edgeloop.agent")
    world.plane.wish(world.factory.publish(bad(world, first)), rollout=2)
    world.rest()
    assert lines(caplog)[-2:] == [
        "probation.done version=2 in=beside verdict=failed",
        "update.done result=FAILED_ROLLBACK_COMPLETE version=2",
    ]


def test_windows_that_went_home_are_a_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    installed(world)
    world.per_step = 0
    asked = world.asked
    caplog.set_level(logging.INFO, "edgeloop.agent")
    world.fleet.step(100)
    world.fleet.step(100)
    assert lines(caplog) == [f"windows.done windows=1 answers={asked}"]
