"""A day of bad weather leaves every device on the right release, and every answer counted once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.weather.day import Day, Forecast, begun

MEMORY = Path("/dev/shm")
SHORT = Forecast(
    seed=7, devices=10, hours=3, share=0.15, poll_seconds=150, cuts_per_hour=6,
    outage=(1.3, 1.5), releases=((0, True), (0.6, True), (1.2, False), (1.8, True)),
)  # fmt: skip
WHOLE = Forecast(
    seed=11, devices=200, hours=24, share=0.1, poll_seconds=600, cuts_per_hour=10,
    outage=(13, 14.5), releases=((0, True), (5, True), (10, False), (15, True), (19, False)),
)  # fmt: skip


@contextmanager
def lived(forecast: Forecast) -> Iterator[Day]:
    """A whole day, and what came after."""
    with (
        TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder,
        begun(Path(folder), forecast) as day,
    ):
        day.live()
        day.settle(hours=3)
        yield day


def judge(day: Day) -> None:
    """The promise."""
    print(day.table())
    assert day.wrong() == {}, f"seed {day.forecast.seed}"
    by_weather = [why for version, why in day.failures() if version in day.versions]
    assert by_weather == [], f"seed {day.forecast.seed}: weather was taken for a bad release"
    day.hand_over()
    counted = day.counted()
    assert set(day.ids.values()) == {1}, "a window was stored twice"
    assert day.books.twice == [], "a window that was acknowledged was sent with other content"
    assert dict(counted) == day.books.acknowledged, f"seed {day.forecast.seed}"
    assert counted.total() == day.books.given - day.books.lost, f"seed {day.forecast.seed}"


def test_a_fleet_comes_through_hours_of_bad_weather() -> None:
    with lived(SHORT) as day:
        judge(day)


@pytest.mark.hard
def test_a_fleet_comes_through_a_day_of_bad_weather() -> None:
    with lived(WHOLE) as day:
        judge(day)
