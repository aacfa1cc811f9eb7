"""A device that keeps failing rests and says so; one that doubts looks again later and later."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.test_update import bad, good, installed
from tests.agent.test_waiting import device, report, steps
from tests.agent.world import World

from edgeloop.agent import asked
from edgeloop.agent.asked import Asked
from edgeloop.agent.restraint import Restraint
from edgeloop.agent.rests import Record
from edgeloop.agent.states import Ledger
from edgeloop.protocol.messages import Desired, ReleaseRef
from edgeloop.testing.clock import FakeClock

REF = ReleaseRef(name="sorter", channel="stable", version=4, digest="sha256:" + "4" * 64)


def fails_three_times(world: World) -> ReleaseRef:
    """A device on release 1 on which release 2 failed in three rollouts."""
    before, _ = installed(world)
    ref = world.factory.publish(bad(world, before))
    world.bright = 90
    for rollout in (2, 3, 4):
        world.plane.wish(ref, rollout)
        moves = world.agent.report().moves
        world.fleet.until(lambda since=moves: report_is_new(world, since))
    return ref


def report_is_new(world: World, moves: int) -> bool:
    last = world.plane.reports[-1] if world.plane.reports else {"moves": 0, "state": ""}
    return last["moves"] > moves and last["state"] in {"failed", "rolled back"}


def test_a_release_that_failed_three_times_rests_and_the_device_says_so(world: World) -> None:
    ref = fails_three_times(world)
    world.plane.wish(ref, 5)
    steps(world, 5)
    assert report(world)["state"] == "rolled back"
    assert report(world)["waiting"] == "a rest: release 2 failed 3 times"
    assert report(world)["waiting_until"] == pytest.approx(world.clock.now() + 900, abs=60)


def test_another_release_does_not_rest_with_it(world: World) -> None:
    fails_three_times(world)
    world.bright = 0
    before = world.factory.store.open(world.agent.slot().ref.digest)
    world.plane.wish(world.factory.publish(good(world, before)), 5)
    world.fleet.until(lambda: report(world)["running"]["version"] == 3)


def test_a_new_rollout_after_the_rest_is_tried_and_a_restart_ends_no_rest(world: World) -> None:
    ref = fails_three_times(world)
    world.plane.wish(ref, 5)
    world.fleet.cut_power("d1")
    world.fleet.start("d1")
    steps(world, 5)
    assert report(world)["state"] == "rolled back"
    world.bright = 0
    world.clock.sleep(900)
    world.fleet.until(lambda: report(world)["running"]["version"] == 2)
    world.rest()
    assert report(world)["waiting"] == ""
    assert world.agent._ledger.now.record == Record(), "an update that went well ends the count"


def test_a_person_at_the_device_has_it_tried_again_at_once(world: World) -> None:
    ref = fails_three_times(world)
    world.plane.wish(ref, 4)  # the rollout in which it failed
    world.bright = 0
    steps(world, 5)
    assert report(world)["running"]["version"] == 1
    asked.put(device(world), Asked(retry=True))
    world.fleet.until(lambda: report(world)["running"]["version"] == 2)
    assert not (device(world) / "asked.taken.json").exists()


def test_what_was_asked_and_cut_off_is_done_behind_the_cut(tmp_path: Path) -> None:
    asked.put(tmp_path, Asked(retry=True))
    assert asked.take(tmp_path) == asked.take(tmp_path) == Asked(retry=True)
    asked.put(tmp_path, Asked(postpone=5))
    assert asked.take(tmp_path) == Asked(retry=True)
    asked.done(tmp_path)
    assert asked.take(tmp_path) == Asked(postpone=5)
    asked.done(tmp_path)
    assert asked.take(tmp_path) is None


def test_what_was_asked_in_a_broken_file_is_let_go(tmp_path: Path) -> None:
    (tmp_path / asked.FILE).write_text("{")
    assert asked.take(tmp_path) == Asked()


def times_looked_at(world: World, seconds: int) -> int:
    """How often a device reads the repository that it cannot believe."""
    before = len(world.plane.fetched("/tuf/metadata/timestamp"))
    steps(world, seconds)
    return len(world.plane.fetched("/tuf/metadata/timestamp")) - before


def test_a_device_that_doubts_looks_again_later_and_later(world: World) -> None:
    before, _ = installed(world)
    world.plane.wish(world.factory.publish(good(world, before)), 2)
    world.plane.spoil = lambda path, data: data[:-9] if "timestamp" in path else data
    assert times_looked_at(world, 10) in range(3, 6)
    assert times_looked_at(world, 1000) in range(7, 15)
    world.plane.spoil = lambda _, data: data
    world.fleet.until(lambda: report(world)["state"] == "committed", 400)


def test_a_new_wish_is_looked_at_at_once() -> None:
    clock = FakeClock()
    restraint = Restraint(Ledger(Path("nowhere")), clock, lambda: 0.5)
    wish = Desired(release=REF, rollout=1, poll_seconds=5)
    assert restraint.allows(wish, None)
    allowed = []
    for _ in range(5):
        restraint.doubted((REF.digest, 1))
        allowed.append(restraint.allows(wish, None))
    assert allowed == [True, False, False, False, False]
    assert restraint.allows(wish.model_copy(update={"rollout": 2}), None)
    clock.sleep(300)
    assert restraint.allows(wish, None)


def test_the_way_back_is_not_barred_by_a_rest(world: World) -> None:
    fails_three_times(world)
    current = world.agent.slot().ref.model_copy(update={"version": 9})
    restraint = world.agent._restraint
    failed = next(iter(world.agent._slots.now.failed))
    wish = Desired(release=REF.model_copy(update={"digest": failed}), rollout=5)
    assert not restraint.allows(wish, None)
    assert restraint.allows(wish, current)
