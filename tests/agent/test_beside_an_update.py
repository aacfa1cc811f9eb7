"""Who is there at each move of an update: the owner's hooks, and applications."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.agent.test_hooks import hook
from tests.agent.test_update import good, installed
from tests.agent.test_waiting import (
    CHARGING,
    ON_BATTERY,
    PLAN,
    device,
    done,
    offered,
    report,
    steps,
    waits,
)
from tests.agent.world import World

from edgeloop.agent.agent import Agent
from edgeloop.agent.notices import Notice
from edgeloop.protocol.messages import Conditions


def test_a_hook_says_not_now_until_it_says_yes(world: World) -> None:
    hook(device(world), "before-trying", "exit 75")
    offered_first(world)
    assert waits(world) == ("trying", "the hook before-trying")
    hook(device(world), "before-trying", "exit 0")
    world.clock.sleep(60)
    done(world, 1)


def offered_first(world: World) -> None:
    world.plane.wish(world.factory.publish(world.factory.bundle(), PLAN))
    steps(world, 3)


def test_a_hook_refuses_an_update(world: World) -> None:
    before, _ = installed(world)
    hook(device(world), "before-downloading", "exit 1")
    world.plane.wish(world.factory.publish(good(world, before)), 2)
    world.rest()
    outcome = report(world)["outcome"]
    assert (outcome["result"], report(world)["running"]["version"]) == ("REJECTED", 1)
    assert outcome["reason"].startswith("[E511] hook before-downloading must end with status 0")


def test_hooks_are_told_behind_each_state_and_asked_once_before_it(world: World) -> None:
    line = 'echo "$(basename $0) $EDGELOOP_VERSION $EDGELOOP_EVENT $EDGELOOP_TO" >> told'
    states = ("downloading", "verifying", "installing", "trying")
    for name in (f"before-{state}" for state in states):
        hook(device(world), name, line)
    for name in ("after-syncing", *(f"after-{state}" for state in (*states, "probation"))):
        hook(device(world), name, line)
    offered_first(world)
    world.rest()
    assert (device(world) / "hooks/told").read_text().splitlines() == [
        "after-syncing 1 done downloading",
        "before-downloading 1  ",
        "after-downloading 1 done verifying",
        "before-verifying 1  ",
        "after-verifying 1 done installing",
        "before-installing 1  ",
        "after-installing 1 done trying",
        "before-trying 1  ",
        "after-trying 1 done probation",
        "after-probation 1 done committed",
    ]


@pytest.fixture
def heard(world: World) -> Iterator[list[Notice]]:
    """What the application of a device is told, in the same process."""
    told: list[Notice] = []
    world.fleet.agents.pop("d1").close()
    around = world.fleet._around
    world.fleet.agents["d1"] = Agent.open(device(world), around, notify=told.append)
    return told


def test_an_application_hears_what_becomes_of_an_update(world: World, heard: list[Notice]) -> None:
    world.fleet.readings = ON_BATTERY
    offered(world, conditions=Conditions(charging=True))
    steps(world, 4)
    world.fleet.readings = CHARGING
    done(world)
    told = [(one.kind, one.release.version, one.reason) for one in heard]
    assert told == [
        ("coming", 1, ""),
        ("installed", 1, ""),
        ("coming", 2, ""),
        ("waiting", 2, "power from outside"),
        ("installed", 2, ""),
    ]
    assert world.agent.notices()[1] == heard
    assert json.dumps([one.told() for one in heard])
