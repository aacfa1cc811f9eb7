"""The window remembers readings, says when it has too few, and refuses what cannot be."""

import numpy as np
import pytest

from edgeloop.errors import InputMismatchError, ModelError
from edgeloop.runtimes.program.window import Window
from edgeloop.types import TensorSpec

START = np.datetime64("2024-01-01T00:00:00", "s")
WINDOW = Window(size=3, every=3600, fill=1, least=0, most=1000)


def feed(hours, values=None) -> dict:
    values = hours if values is None else values
    times = START + (np.asarray(hours, dtype=np.float64) * 3600).astype("timedelta64[s]")
    return {"time": times, "value": np.asarray(values, dtype=np.float32)}


def histories(running, hours, values=None) -> list:
    """What each row sees; None where it is not yet full."""
    found = running.run(feed(hours, values))["history"]
    whole_or_nothing = np.isnan(found).all(axis=1) == np.isnan(found).any(axis=1)
    assert whole_or_nothing.all()
    return [None if np.isnan(row).any() else row.tolist() for row in found]


def refused(running, hours, values=None) -> str:
    with pytest.raises(InputMismatchError) as caught:
        running.run(feed(hours, values))
    return str(caught.value)


@pytest.fixture
def running():
    return WINDOW.open({})


def test_there_is_no_history_until_the_window_is_full(running):
    assert histories(running, [0, 1, 2, 3]) == [None, None, [0, 1, 2], [1, 2, 3]]


def test_rows_of_one_call_and_rows_of_many_calls_are_the_same(running):
    one_by_one = [histories(running, [hour])[0] for hour in range(5)]
    assert one_by_one == histories(WINDOW.open({}), range(5))


def test_a_fresh_window_remembers_nothing_and_leaves_the_old_one(running):
    histories(running, [0, 1, 2])
    assert histories(running.fresh(), [3]) == [None]
    assert histories(running, [3]) == [[1, 2, 3]]


def test_the_graph_is_given_seconds_and_whatever_else_there_is(running):
    found = running.run({**feed([0, 1]), "place": np.array([7, 8])})
    assert sorted(found) == ["history", "place", "time"]
    assert found["time"].dtype == np.int64
    assert found["time"].tolist() == [1704067200, 1704070800]


def test_seconds_as_whole_numbers_are_times_too(running):
    whole = {**feed(range(3)), "time": np.arange(3) * 3600}
    assert running.run(whole)["history"][-1].tolist() == [0, 1, 2]


def test_what_the_step_gives_is_told_before_it_runs():
    dtypes = {"time": "datetime64[s]", "value": "float32", "place": "int64"}
    specs = tuple(TensorSpec(name=name, dtype=dtype, shape=()) for name, dtype in dtypes.items())
    given = [(spec.name, spec.dtype, spec.shape) for spec in WINDOW.gives(specs)]
    assert given == [("time", "int64", ()), ("history", "float32", (3,)), ("place", "int64", ())]
    with pytest.raises(ModelError) as caught:
        WINDOW.gives(specs[1:])
    assert str(caught.value) == (
        "[E120] step 'window' of the program must be given time, datetime64[s] or int64, and "
        "value, float32, one of each per row, got value float32[], place int64[]"
    )


def test_a_short_gap_is_filled_with_the_reading_before_it(running):
    assert histories(running, [0, 1, 2, 4]) == [None, None, [0, 1, 2], [2, 2, 4]]


def test_a_longer_gap_starts_the_window_anew(running):
    assert histories(running, [0, 1, 2, 5, 6, 7]) == [None, None, [0, 1, 2], None, None, [5, 6, 7]]


def test_a_missing_value_is_a_gap_of_one(running):
    nan = float("nan")
    assert histories(running, range(5), [0, 1, nan, 3, nan]) == [
        None, None, [0, 1, 1], [1, 1, 3], [1, 3, 3],
    ]  # fmt: skip
    assert histories(running, [5, 6, 7, 8], [nan, 6, 7, 8]) == [None, None, None, [6, 7, 8]]


def test_a_missing_value_and_a_gap_beside_it_are_one_longer_gap(running):
    nan = float("nan")
    assert histories(running, [0, 1, 2, 4, 5], [0, 1, nan, 4, 5]) == [
        None, None, [0, 1, 1], None, None,
    ]  # fmt: skip


def test_a_clock_that_trembles_is_no_gap(running):
    assert histories(running, [0, 1.2, 1.9, 3.1])[-1] is not None


def test_a_reading_that_comes_twice_is_refused_and_changes_nothing(running):
    histories(running, [0, 1, 2])
    assert refused(running, [3, 3]) == (
        "[E121] input 'time' must be a reading, 3600 s, later than the one before, got "
        "2024-01-01T03:00:00 after 2024-01-01T03:00:00. A reading that was sent twice is left "
        "out; after a clock was set back, the window goes on once its time is reached again"
    )
    assert histories(running, [3]) == [[1, 2, 3]]


def test_the_hour_that_summer_time_repeats_is_refused_and_then_the_window_goes_on(running):
    histories(running, [0, 1, 2])
    assert "got 2024-01-01T01:00:00 after 2024-01-01T02:00:00" in refused(running, [1])
    assert "got 2024-01-01T02:00:00 after 2024-01-01T02:00:00" in refused(running, [2])
    assert histories(running, [3]) == [[1, 2, 3]]


def test_the_hour_that_summer_time_leaves_out_is_filled(running):
    histories(running, [0, 1, 2])
    assert histories(running, [4, 5]) == [[2, 2, 4], [2, 4, 5]]


def test_a_clock_that_was_years_ahead_does_not_stop_the_device(running):
    histories(running, [0, 1, 2])
    assert histories(running, [90_000], [3]) == [None]
    assert histories(running, [3, 4, 5]) == [None, None, [3, 4, 5]]


@pytest.mark.parametrize(("value", "got"), [(-1, "-1"), (1e6, "1e+06"), (float("inf"), "inf")])
def test_an_absurd_value_is_refused_and_changes_nothing(value, got, running):
    histories(running, [0, 1, 2])
    assert refused(running, [3], [value]) == (
        "[E121] input 'value' must be finite and from 0 to 1000, or NaN where it is missing, "
        f"got {got}. Look at the sensor: a reading like this does not enter the window"
    )
    assert histories(running, [3]) == [[1, 2, 3]]


def test_a_time_that_is_none_is_refused(running):
    none = {**feed([0]), "time": np.array(["NaT"], dtype="datetime64[s]")}
    with pytest.raises(InputMismatchError) as caught:
        running.run(none)
    assert str(caught.value) == "[E121] input 'time' must be a time, got NaT"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"value": None}, "[E121] inputs must have time, value, got time"),
        (
            {"value": np.zeros(2)},
            "[E121] inputs time and value must be datetime64[s] or int64, and float32, one of "
            "each per row, got datetime64[s][2] and float64[2]",
        ),
        (
            {"value": np.zeros(3, np.float32)},
            "[E121] inputs time and value must be datetime64[s] or int64, and float32, one of "
            "each per row, got datetime64[s][2] and float32[3]",
        ),
    ],
)
def test_inputs_of_another_form_are_refused(changed, message, running):
    given = {name: v for name, v in {**feed([0, 1]), **changed}.items() if v is not None}
    with pytest.raises(InputMismatchError) as caught:
        running.run(given)
    assert str(caught.value) == message


def test_a_window_that_could_be_all_filling_is_refused():
    with pytest.raises(ValueError, match="fill must be below size, 3"):
        Window(size=3, every=60, fill=3)


def test_a_row_depends_on_the_rows_before_it_that_fit_into_the_window():
    assert WINDOW.memory == 2
