"""The whole loop in memory: real agents, control plane, releases and trigger; a faked clock."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from toy_world import LOOP, World, open_world

from edgeloop.errors import GateError, SamplesError
from edgeloop.loop.close import Watcher
from edgeloop.release.bundle import BundleInfo
from edgeloop.watch.trigger import Move


@pytest.fixture
def world(toys: Path, tmp_path: Path) -> Iterator[World]:
    names = ("north-1", "north-2", "south-1", "south-2")
    with open_world(tmp_path, dict.fromkeys(names, "toy")) as made:
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
    assert np.mean(world.right["south", 3]) > 0.85  # which rows come home is chance
    assert np.mean(world.right["north", 3]) > 0.95
    info = BundleInfo.model_validate(world.store.open(rollout.digest).meta)
    declared = {line.profile: line.disagreement for line in info.declared}
    assert declared["field:south"] > 0.3 > declared["clean"]
    assert world.actions() == [
        "trigger.alarm", "trigger.fired", "trigger.samples_requested",
        "trigger.learned", "trigger.rollout",
    ]  # fmt: skip


def test_what_a_device_ran_that_is_revoked_or_gone_is_not_looked_at(world: World) -> None:
    world.roll_out(world.run().release.version)
    world.step(20)
    watcher = world.watcher()
    assert [drift.group for drift in watcher.assess()] == ["north", "south"]
    world.client.revoke("south-1")
    world.client.decommission("south-2")
    assert [drift.group for drift in watcher.assess()] == ["north"]


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
