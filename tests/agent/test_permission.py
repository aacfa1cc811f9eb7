"""The rule of what an update waits for: conditions of the release and of the device."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.agent.own_conditions import Own
from edgeloop.agent.permission import (
    Moment,
    Situation,
    Wait,
    held_back,
    longest_postponement,
)
from edgeloop.agent.readings import Readings
from edgeloop.protocol.messages import Conditions, RolloutPlan

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
NIGHT = NOON + 14 * 3600
DOWNLOAD, INSTALL = Moment.DOWNLOAD, Moment.INSTALL


def situation(**others: Any) -> Situation:
    asks = others.pop("asks", {})
    plan = RolloutPlan(conditions=Conditions(**asks), **others.pop("plan", {}))
    told = {
        "plan": plan,
        "own": Own(),
        "readings": Readings(),
        "now": NOON,
        "believed": True,
        "zone": UTC,
        "back": False,
        "elapsed": 0.0,
    }
    return Situation(**{**told, **others})


def test_without_conditions_nothing_is_waited_for() -> None:
    assert [held_back(moment, situation()) for moment in Moment] == [None, None]


@pytest.mark.parametrize(
    ("asks", "readings", "reason"),
    [
        ({"charging": True}, Readings(charging=False), "power from outside"),
        ({"battery": 30}, Readings(battery_percent=29), "a battery of 30 % or more"),
        ({"temperature": 60}, Readings(temperature_c=60.5), "60 degrees or less"),
        ({"metered": False}, Readings(metered=True), "a link that is not metered"),
    ],
)
def test_what_is_read_holds_back_by_either_side_and_nobody_knows_until_when(
    asks: dict[str, Any], readings: Readings, reason: str
) -> None:
    of_plan = situation(asks=asks, readings=readings)
    own = situation(own=Own(**asks), readings=readings)
    assert held_back(DOWNLOAD, of_plan) == held_back(DOWNLOAD, own) == Wait(reason=reason)


@pytest.mark.parametrize(
    "asks", [{"charging": True}, {"battery": 30}, {"temperature": 60}, {"metered": False}]
)
def test_what_a_device_does_not_know_holds_nothing_back(asks: dict[str, Any]) -> None:
    assert [held_back(moment, situation(asks=asks)) for moment in Moment] == [None, None]


def test_a_metered_link_holds_files_back_and_not_the_trial() -> None:
    metered = situation(asks={"metered": False}, readings=Readings(metered=True))
    assert held_back(INSTALL, metered) is None


def test_hours_hold_back_until_they_begin() -> None:
    asked = {"hours": ("02:00-05:00",)}
    wait = Wait(reason="the hours 02:00-05:00", until=NIGHT)
    assert held_back(INSTALL, situation(asks=asked)) == wait
    assert held_back(DOWNLOAD, situation(own=Own(**asked))) == wait
    assert held_back(INSTALL, situation(asks=asked, now=NIGHT)) is None


def test_files_may_come_at_any_time_where_the_hours_say_so() -> None:
    asked = situation(asks={"hours": ("02:00-05:00",), "download": "any time"})
    assert held_back(DOWNLOAD, asked) is None
    assert held_back(INSTALL, asked) is not None


def test_both_sides_must_agree_on_the_hour() -> None:
    both = situation(
        asks={"hours": ("01:00-03:00",)}, own=Own(hours=("02:00-05:00",), days=("sat",))
    )
    reason = "the hours 01:00-03:00, the hours 02:00-05:00 (sat)"
    assert held_back(INSTALL, both) == Wait(reason=reason, until=NIGHT)
    assert held_back(INSTALL, replace(both, now=NIGHT)) is None


def test_a_clock_that_is_behind_what_has_passed_knows_no_hour() -> None:
    wrong = situation(asks={"hours": ("00:00-24:00",)}, now=0.0, believed=False)
    assert held_back(INSTALL, wrong) == Wait(reason="a clock that is right, to know the hour")
    assert held_back(INSTALL, replace(wrong, elapsed=7 * 86_400)) is None


def test_not_now_holds_the_trial_back_and_not_the_files() -> None:
    asked = situation(elapsed=100, postponed=160)
    assert held_back(INSTALL, asked) == Wait(reason='"not now" of a user', until=NOON + 60)
    assert held_back(DOWNLOAD, asked) is None
    assert held_back(INSTALL, replace(asked, elapsed=160)) is None


@pytest.mark.parametrize("freed", [{"back": True}, {"elapsed": 3600.0}, {"plan": {"urgent": True}}])
def test_urgent_the_way_back_and_past_the_deadline_nothing_holds_back(
    freed: dict[str, Any],
) -> None:
    told = {"asks": {"hours": ("02:00-05:00",), "deadline_seconds": 3600.0, "charging": True}}
    held = {"readings": Readings(charging=False), "own": Own(hours=("02:00-05:00",))}
    waiting = situation(**told, **held, postponed=1e9, elapsed=3599.0)
    assert all(held_back(moment, waiting) for moment in Moment)
    free = situation(**told, **held, **freed, postponed=1e9)
    assert [held_back(moment, free) for moment in Moment] == [None, None]


def test_it_never_waits_past_the_deadline() -> None:
    asked = situation(asks={"hours": ("02:00-05:00",), "deadline_seconds": 600.0}, elapsed=100)
    assert held_back(INSTALL, asked) == Wait(reason="the hours 02:00-05:00", until=NOON + 500)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(1, 1e6))
def test_not_now_ends_with_the_plans_limit_and_with_the_deadline(
    elapsed: float, most: float, deadline: float
) -> None:
    plan = RolloutPlan(conditions=Conditions(deadline_seconds=deadline), postpone_seconds=most)
    longest = longest_postponement(plan, back=False, elapsed=elapsed)
    assert 0 <= longest <= max(0.0, min(most, deadline) - elapsed)
    assert longest_postponement(plan, back=True, elapsed=elapsed) == 0
