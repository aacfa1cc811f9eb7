"""A device that waits with an update: for its conditions, its user and its owner's hooks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.agent.test_hooks import hook
from tests.agent.test_update import good, installed
from tests.agent.world import World

from edgeloop.agent import own_conditions
from edgeloop.agent.readings import Readings
from edgeloop.errors import PostponeError
from edgeloop.protocol.messages import Conditions, Probation, RolloutPlan
from edgeloop.types import Artifact

PLAN = RolloutPlan(min_answers=20, probation=Probation(answers=60))
CHARGING, ON_BATTERY = Readings(charging=True), Readings(charging=False)
HOUR = 3600.0


def device(world: World) -> Path:
    return world.fleet._folder / "d1"


def report(world: World) -> dict[str, Any]:
    return world.plane.reports[-1]


def offered(world: World, **plan: Any) -> Artifact:
    """A device that runs release 1 and is offered a good release 2 with a plan of its own."""
    before, _ = installed(world)
    after = good(world, before)
    world.plane.wish(world.factory.publish(after, PLAN.model_copy(update=plan)), 2)
    return after


def steps(world: World, count: int, seconds: float = 1.0) -> None:
    for _ in range(count):
        world.fleet.step(seconds)


def waits(world: World) -> tuple[str, str]:
    return report(world)["state"], report(world)["waiting"]


def done(world: World, version: int = 2) -> None:
    world.rest()
    assert (report(world)["running"]["version"], report(world)["waiting"]) == (version, "")


def in_hours(world: World, first: float, last: float) -> tuple[str, ...]:
    """Hours that begin and end so many hours from now by the system's clock on the wall."""
    now = datetime.fromtimestamp(world.clock.now(), UTC).astimezone()
    ends = [now + timedelta(hours=off) for off in (first, last)]
    return (f"{ends[0]:%H:%M}-{ends[1]:%H:%M}",)


def test_files_are_not_fetched_while_a_condition_does_not_hold(world: World) -> None:
    world.fleet.readings = ON_BATTERY
    offered(world, conditions=Conditions(charging=True))
    fetched = len(world.plane.fetched())
    steps(world, 5)
    assert waits(world) == ("downloading", "power from outside")
    assert len(world.plane.fetched()) == fetched
    world.fleet.readings = CHARGING
    done(world)


def test_a_device_waits_for_its_own_conditions_too(world: World) -> None:
    own_conditions.change(device(world), {"charging": True, "hours": in_hours(world, 5, 6)})
    world.fleet.readings = CHARGING
    world.plane.wish(world.factory.publish(world.factory.bundle()))
    steps(world, 5)
    assert report(world)["state"] == "downloading"
    assert report(world)["waiting"].startswith("the hours ")
    assert report(world)["waiting_until"] == pytest.approx(world.clock.now() + 5 * HOUR, abs=120)
    world.clock.sleep(5.5 * HOUR)
    done(world, 1)


def test_files_may_come_before_the_hour_and_the_trial_waits_for_it(world: World) -> None:
    hours = in_hours(world, 2, 4)
    offered(world, conditions=Conditions(hours=hours, download="any time"))
    steps(world, 5)
    assert waits(world) == ("trying", f"the hours {hours[0]}")
    world.clock.sleep(3 * HOUR)
    done(world)


def test_an_hour_that_comes_while_the_network_is_cut_is_not_missed(world: World) -> None:
    offered(world, conditions=Conditions(hours=in_hours(world, 2, 4), download="any time"))
    steps(world, 5)
    world.plane.down = True
    world.clock.sleep(3 * HOUR)
    steps(world, 20)
    assert world.agent.report().state in {"probation", "committed"}


def test_a_power_cut_forgets_neither_that_it_waits_nor_how_long(world: World) -> None:
    world.fleet.readings = ON_BATTERY
    offered(world, conditions=Conditions(charging=True, deadline_seconds=HOUR))
    steps(world, 5)
    for _ in range(4):  # off for a quarter of an hour each time
        world.fleet.cut_power("d1")
        world.clock.sleep(HOUR / 4 - 60)
        world.fleet.start("d1")
        steps(world, 2)
        assert waits(world) == ("downloading", "power from outside")
    world.clock.sleep(240)
    done(world)


def test_a_device_without_a_clock_waits_by_the_time_that_it_was_powered(world: World) -> None:
    offered(world, conditions=Conditions(hours=("00:00-24:00",), deadline_seconds=HOUR))
    world.clock.jump(-1_700_000_000)
    steps(world, 5)
    assert waits(world) == ("downloading", "a clock that is right, to know the hour")
    steps(world, 5, HOUR / 10)
    world.fleet.cut_power("d1")
    world.fleet.start("d1")
    steps(world, 3)
    assert report(world)["state"] == "downloading"
    steps(world, 6, HOUR / 10)
    done(world)


def test_a_device_without_a_clock_that_is_powered_for_minutes_waits_no_longer(
    world: World,
) -> None:
    offered(world, conditions=Conditions(hours=("00:00-24:00",), deadline_seconds=HOUR))
    world.clock.jump(-1_700_000_000)
    for _ in range(7):  # nine minutes at a time, of which seven count at the least
        steps(world, 9, 60)
        assert waits(world) == ("downloading", "a clock that is right, to know the hour")
        world.fleet.cut_power("d1")
        world.fleet.start("d1")
    steps(world, 11, 60)
    done(world)


def test_a_clean_end_forgets_no_second_of_a_wait(world: World) -> None:
    world.fleet.readings = ON_BATTERY
    offered(world, conditions=Conditions(charging=True, deadline_seconds=HOUR))
    steps(world, 5)
    before = world.agent._gate._elapsed()
    world.clock.sleep(50)
    world.fleet.agents.pop("d1").close()
    world.clock.jump(-1_700_000_000)
    world.fleet.start("d1")
    assert world.agent._gate._elapsed() == before + 50


def test_a_clock_that_is_set_right_is_no_long_wait(world: World) -> None:
    world.fleet.readings = ON_BATTERY
    offered(world, conditions=Conditions(charging=True, deadline_seconds=HOUR))
    world.clock.jump(-1_700_000_000)
    steps(world, 5)
    world.clock.jump(1_700_000_000)
    steps(world, 5)
    assert waits(world) == ("downloading", "power from outside")


def test_a_rollout_that_is_withdrawn_while_a_device_waits_is_forgotten(world: World) -> None:
    world.fleet.readings = ON_BATTERY
    offered(world, conditions=Conditions(charging=True))
    steps(world, 3)
    world.plane.wish(world.agent.slot().ref, 1)
    steps(world, 3)
    assert (*waits(world), report(world)["trying"]) == ("idle", "", None)


def test_an_urgent_release_waits_for_nothing(world: World) -> None:
    world.fleet.readings = ON_BATTERY
    own_conditions.change(device(world), {"charging": True})
    world.fleet.readings = CHARGING
    offered(world, conditions=Conditions(charging=True), urgent=True)
    world.fleet.readings = ON_BATTERY
    done(world)


def test_the_way_back_to_an_older_release_waits_for_nothing(world: World) -> None:
    before, ref = installed(world)
    world.plane.wish(world.factory.publish(good(world, before)), 2)
    world.rest()
    own_conditions.change(device(world), {"hours": in_hours(world, 5, 6)})
    world.plane.wish(ref, 3)
    del world.plane.reports[:-1]
    world.fleet.until(lambda: report(world)["running"]["version"] == 1)
    assert {one["waiting"] for one in world.plane.reports} == {""}


def test_conditions_that_cannot_be_read_hold_an_update_back_and_break_nothing(
    world: World,
) -> None:
    offered(world)
    (device(world) / "conditions.json").write_text('{"charging": "often"}')
    steps(world, 3)
    assert report(world)["waiting"] == (
        "conditions that can be read: [E504] file conditions.json must hold conditions, got "
        "charging: Input should be a valid boolean, unable to interpret input"
    )
    (device(world) / "conditions.json").unlink()
    done(world)


def test_a_download_pauses_when_a_condition_holds_no_more(world: World) -> None:
    offered(world, conditions=Conditions(metered=False))
    hook(device(world), "before-downloading", "echo asked >> asked")

    def spoil(path: str, data: bytes) -> bytes:
        if path.startswith("/blobs/"):
            world.fleet.readings = Readings(metered=True)
            world.clock.sleep(11)
        return data

    world.plane.spoil = spoil
    steps(world, 3)
    assert waits(world) == ("downloading", "a link that is not metered")
    world.plane.spoil = lambda _, data: data
    world.fleet.readings = Readings(metered=False)
    done(world)
    assert (device(world) / "hooks/asked").read_text() == "asked\n", "a hook is asked once"


# "not now"


def test_a_user_postpones_the_trial_and_a_restart_keeps_it(world: World) -> None:
    hours = in_hours(world, 1, 20)
    offered(world, conditions=Conditions(hours=hours, download="any time"))
    steps(world, 3)
    world.agent.postpone(3 * HOUR)
    steps(world, 1)
    assert waits(world) == ("trying", f'"not now" of a user, the hours {hours[0]}')
    world.fleet.cut_power("d1")
    world.clock.sleep(2 * HOUR)
    world.fleet.start("d1")
    steps(world, 2)
    assert waits(world) == ("trying", '"not now" of a user')
    world.clock.sleep(HOUR)
    done(world)


def test_a_user_who_said_not_now_may_say_now(world: World) -> None:
    world.fleet.readings = ON_BATTERY
    offered(world, conditions=Conditions(charging=True))
    steps(world, 3)
    world.agent.postpone(HOUR)
    world.fleet.readings = CHARGING
    steps(world, 3)
    assert waits(world) == ("trying", '"not now" of a user')
    world.agent.postpone(0)
    done(world)


def test_not_now_is_forgotten_when_that_release_is_over(world: World) -> None:
    world.fleet.readings = ON_BATTERY
    bundle = offered(world, conditions=Conditions(charging=True))
    steps(world, 3)
    world.agent.postpone(HOUR)
    steps(world, 2)
    world.plane.wish(world.factory.publish(good(world, bundle), PLAN), 3)
    world.fleet.readings = CHARGING
    done(world, 3)


def test_a_device_without_an_update_has_nothing_to_postpone(world: World) -> None:
    installed(world)
    with pytest.raises(PostponeError) as caught:
        world.agent.postpone(60)
    assert str(caught.value) == (
        "[E510] device must have an update on its way that may wait. "
        "One that is urgent, goes back, or has begun to be tried goes on"
    )


def test_a_user_postpones_no_longer_than_the_release_allows(world: World) -> None:
    world.fleet.readings = ON_BATTERY
    offered(world, conditions=Conditions(charging=True), postpone_seconds=HOUR)
    world.fleet.until(lambda: bool(world.plane.reports and report(world)["waiting"]))
    world.clock.sleep(600)
    with pytest.raises(PostponeError) as caught:
        world.agent.postpone(2 * HOUR)
    assert str(caught.value) == ("[E510] release 2 must be postponed by at most 3000 s, got 7200 s")
