"""Low-usage hours: how they are written, and when they are by the clock on the wall."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import ProtocolError
from edgeloop.protocol.hours import Hours, inside, next_inside, parse

ROME = ZoneInfo("Europe/Rome")
MINUTE_TEXTS = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))


def at(text: str, zone: ZoneInfo = ROME) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def test_hours_are_minutes_of_the_day() -> None:
    assert (parse("02:00-05:30"), parse("22:30-24:00")) == (Hours(120, 330), Hours(1350, 1440))


@pytest.mark.parametrize("text", ["2:00-5:00", "24:00-05:00", "02:60-03:00", "02:00 - 05:00", ""])
def test_hours_that_are_written_otherwise_are_refused(text: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(text)
    assert str(caught.value) == f"[E606] hours {text!r} must be like 02:00-05:00"


def test_hours_without_length_are_refused() -> None:
    with pytest.raises(ProtocolError) as caught:
        parse("02:00-02:00")
    assert str(caught.value) == (
        "[E606] hours '02:00-02:00' must not end when they begin; every hour is without hours"
    )


@pytest.mark.parametrize(
    ("moment", "is_inside"),
    [
        ("2026-11-20 21:59", False),
        ("2026-11-20 22:00", True),  # a Friday
        ("2026-11-21 03:59", True),  # of Friday's night
        ("2026-11-21 04:00", False),
        ("2026-11-21 23:00", False),  # a Saturday
        ("2026-11-20 03:00", False),  # of Thursday's night
    ],
)
def test_hours_over_midnight_belong_to_the_day_on_which_they_began(
    moment: str, is_inside: bool
) -> None:
    assert inside(at(moment), ["22:00-04:00"], ["fri"], ROME) is is_inside


def test_the_same_moment_is_inside_in_one_zone_and_outside_in_another() -> None:
    moment = at("2026-07-01 03:00")
    zones = (ROME, ZoneInfo("Asia/Tokyo"), UTC)
    assert [inside(moment, ["02:00-05:00"], [], zone) for zone in zones] == [True, False, False]


def test_on_the_night_that_lacks_an_hour_those_hours_are_not_there() -> None:
    before = at("2026-03-28 12:00")  # on the 29th 02:00 is 03:00
    assert next_inside(before, ["02:00-03:00"], [], ROME) == at("2026-03-30 02:00")
    assert next_inside(before, ["01:00-03:00"], [], ROME) == at("2026-03-29 01:00")


def test_on_the_night_that_has_an_hour_twice_both_are_inside() -> None:
    first = at("2026-10-25 02:30")
    hours = ["02:00-03:00"]
    assert inside(first, hours, [], ROME)
    assert inside(first + 3600, hours, [], ROME)
    assert not inside(first + 7200, hours, [], ROME)


def test_the_systems_zone_is_taken_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime.now().astimezone().replace(hour=3, minute=0).timestamp()
    assert inside(moment, ["02:00-05:00"], [], None)


@given(
    begin=MINUTE_TEXTS,
    end=MINUTE_TEXTS,
    when=st.floats(at("2024-01-01 00:00"), at("2030-01-01 00:00")),
)
def test_hours_are_always_inside_when_they_next_begin(begin: str, end: str, when: float) -> None:
    if begin == end:
        return
    hours = [f"{begin}-{end}"]
    following = next_inside(when, hours, [], ROME)
    assert following is not None
    assert when < following <= when + 2 * 86_400
    assert inside(following, hours, [], ROME)
