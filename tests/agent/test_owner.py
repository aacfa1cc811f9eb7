"""What whoever stands at a device decides there, by commands, whether its agent runs or not."""

from __future__ import annotations

import json

import pytest
from tests.agent.test_update_paths import waiting
from tests.agent.test_waiting import CHARGING, ON_BATTERY, device, report, steps
from tests.agent.world import World

from edgeloop.agent import owner
from edgeloop.agent.__main__ import main
from edgeloop.errors import AgentFolderError, OverrideError, PostponeError


def test_conditions_are_changed_one_by_one_and_heeded_by_a_running_agent(world: World) -> None:
    folder = device(world)
    assert owner.conditions(folder) == {}
    owner.conditions(folder, ["charging=true", "battery=30", "time_zone=Europe/Rome"])
    told = owner.conditions(folder, ["battery=", "hours=22:00-04:00,12:00-13:00", "bandwidth=9 kB"])
    assert told == {
        "hours": ["22:00-04:00", "12:00-13:00"],
        "charging": True,
        "bandwidth": 9000,
        "time_zone": "Europe/Rome",
    }
    owner.conditions(folder, ["hours=", "bandwidth="])
    world.fleet.readings = ON_BATTERY
    world.plane.wish(world.factory.publish(world.factory.bundle()))
    steps(world, 4)
    assert report(world)["waiting"] == "power from outside"
    owner.conditions(folder, ["charging="])
    world.rest()


@pytest.mark.parametrize(
    ("told", "got"),
    [
        ("hours=25:00-04:00", "hours.0: Value error, must be like 02:00-05:00"),
        ("battery=0", "battery: Input should be greater than 0"),
        ("bandwidth=9 km", "bandwidth: Input should be a valid integer, unable to parse string "
         "as an integer"),
        ("time_zone=Rome", "time_zone: Value error, must be a time zone that this system has"),
        ("hour=02:00-05:00", "hour: Extra inputs are not permitted"),
    ],
)  # fmt: skip
def test_conditions_that_are_not_possible_change_nothing(world: World, told: str, got: str) -> None:
    owner.conditions(device(world), ["charging=true"])
    with pytest.raises(AgentFolderError) as caught:
        owner.conditions(device(world), [told])
    assert str(caught.value) == f"[E504] conditions must be possible, got {got}"
    assert owner.conditions(device(world)) == {"charging": True}


def test_a_condition_without_a_name_is_refused(world: World) -> None:
    with pytest.raises(OverrideError) as caught:
        owner.conditions(device(world), ["charging"])
    assert str(caught.value) == "[E103] condition must be name=value, got 'charging'"


def test_a_person_postpones_beside_a_running_agent(world: World) -> None:
    waiting(world)
    owner.postpone(device(world), 3000, world.clock)
    world.fleet.readings = CHARGING
    steps(world, 5)
    assert report(world)["waiting"] == '"not now" of a user'
    with pytest.raises(PostponeError):
        owner.postpone(device(world), 3601, world.clock)


def test_the_commands_say_what_they_did(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ["--folder", str(device(world))]
    assert main(["conditions", *folder, "charging=true"]) == 0
    assert main(["retry", *folder]) == 0
    assert main(["postpone", *folder, "60"]) == 6
    said = capsys.readouterr()
    assert [json.loads(line) for line in said.out.splitlines()] == [
        {"charging": True},
        {"tries_again": []},
    ]
    assert said.err.startswith("[E510] device must have an update on its way that may wait")
