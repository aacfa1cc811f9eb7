"""A clock that jumps by years, at any moment of an update, neither locks a device out nor fools it.

Only the device's wall clock jumps; the signer's and the control plane's stay right.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from tests.agent.every_cut import swift
from tests.agent.world import SERVER, Factory, Plane, World, pictures

from edgeloop.agent.states import Event, Ledger
from edgeloop.protocol.messages import ReleaseRef, State
from edgeloop.release import seen
from edgeloop.testing.clock import FakeClock
from edgeloop.testing.fleet import FakeFleet, Home

YEAR = 365.25 * 86_400
START = 1_800_000_000.0
JUMPS = {
    "1970": -START,
    "ten years back": -10 * YEAR,
    "ten years on": 10 * YEAR,
    "2100": 4_102_444_800.0 - START,
}
BACKWARDS = ("1970", "ten years back")
MOMENTS = (
    State.SYNCING, State.DOWNLOADING, State.VERIFYING, State.INSTALLING, State.TRYING,
    State.PROBATION, State.COMMITTED,
)  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with _world(tmp_path) as made:
        yield made


@contextmanager
def _world(folder: Path) -> Iterator[World]:
    factory, clock = Factory(folder / "made"), FakeClock(START)
    plane = Plane(factory, clock)
    home = Home(server=SERVER, model="sorter", root=factory.repository.root())
    fleet = FakeFleet(folder / "fleet", home, plane, clock)
    made = World(clock=clock, factory=factory, plane=plane, fleet=fleet)
    fleet.traffic = made.traffic
    with swift(), fleet:
        yield made


def release(world: World, number: int) -> ReleaseRef:
    return world.factory.publish(world.factory.bundle(scale=0.01 + number * 1e-4))


@contextmanager
def at(moment: State, then: Callable[[], None]) -> Iterator[list[State]]:
    """Call ``then`` when a device comes to a state for the first time; gives the states seen."""
    move, came = Ledger.move, list[State]()

    def moved(ledger: Ledger, event: Event, **changes: Any) -> None:
        move(ledger, event, **changes)
        if ledger.now.state is moment and moment not in came:
            then()
        came.append(ledger.now.state)

    with mock.patch.object(Ledger, "move", moved):
        yield came


def runs(world: World, ref: ReleaseRef) -> bool:
    return world.agent.ready and world.agent.slot().ref == ref and world.agent.state == "committed"


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_at_any_state_and_back_again_ends_in_the_release(
    world: World, jump: str, moment: State
) -> None:
    world.fleet.add("d1", "token")
    one = release(world, 1)
    world.plane.wish(one)
    world.fleet.until(lambda: runs(world, one))
    two = release(world, 2)
    world.plane.wish(two, rollout=2)
    with at(moment, lambda: world.clock.jump(JUMPS[jump])) as came:
        for _ in range(12):
            world.fleet.step()
            assert world.agent.answer({"image": pictures(1, 1)[0]}).version in {1, 2}
    assert moment in came
    if jump not in BACKWARDS:
        world.clock.jump(-JUMPS[jump])  # one that is behind may stay so
    world.fleet.until(lambda: runs(world, two))
    three = release(world, 3)
    world.plane.wish(three, rollout=3)
    world.fleet.until(lambda: runs(world, three))


@pytest.mark.parametrize("jump", JUMPS)
def test_a_device_that_begins_with_a_wrong_clock_gets_its_release(world: World, jump: str) -> None:
    world.clock.jump(JUMPS[jump])
    world.fleet.add("d1", "token")
    one = release(world, 1)
    world.plane.wish(one)
    for _ in range(10):
        world.fleet.step()
    if jump not in BACKWARDS:
        world.clock.jump(-JUMPS[jump])
    world.fleet.until(lambda: runs(world, one))


@pytest.mark.parametrize("jump", JUMPS)
def test_older_metadata_stays_refused_whatever_the_clock_says(world: World, jump: str) -> None:
    world.fleet.add("d1", "token")
    one = release(world, 1)
    older = world.fleet._folder.parent / "older"
    shutil.copytree(world.factory.repository.folder, older)
    two = release(world, 2)
    world.plane.wish(two)
    world.fleet.until(lambda: runs(world, two))
    known = seen.load(_seen(world)).versions
    newer, world.factory.repository.folder = world.factory.repository.folder, older
    world.clock.jump(JUMPS[jump])
    world.plane.wish(one, rollout=2)
    for _ in range(12):
        world.fleet.step()
        assert world.agent.slot().ref == two
    assert seen.load(_seen(world)).versions == known
    world.factory.repository.folder = newer
    world.clock.jump(-JUMPS[jump])
    three = release(world, 3)
    world.plane.wish(three, rollout=3)
    world.fleet.until(lambda: runs(world, three))


def _seen(world: World) -> Path:
    (path,) = (world.fleet._folder / "d1").rglob("seen.json")
    return path
