"""The oldest rows train and the newest test, however the rows lie."""

import numpy as np
import pytest

from edgeloop.data.merge import merge
from edgeloop.data.split_by_time import ByTime
from edgeloop.errors import DataError
from edgeloop.plugins import Context
from edgeloop.types import PARTS
from series_side import ahead, readings, series


@pytest.fixture
def context(tmp_path):
    return Context(scratch=tmp_path)


def test_no_row_trains_that_is_newer_than_one_that_is_tested():
    times = np.random.default_rng(1).permutation(100)
    parts = ByTime(test=0.3, validation=0.2).parts(times)
    train, validation, test = (times[parts == number] for number in range(len(PARTS)))
    assert (len(train), len(validation), len(test)) == (50, 20, 30)
    assert train.max() < validation.min()
    assert validation.max() < test.min()


def test_too_few_rows_are_refused_unless_they_may_be_rare():
    with pytest.raises(DataError) as caught:
        ByTime().parts(np.arange(2))
    assert str(caught.value) == (
        "[E110] rows to split by time must have a row for each of train, validation, test, "
        "got 2 rows"
    )
    assert ByTime().parts(np.arange(2), rare=True).tolist() == [0, 0]


def test_a_column_that_is_not_there_is_named(context):
    with pytest.raises(DataError) as caught:
        ByTime(by="when").run(series(context), context)
    assert str(caught.value) == (
        "[E110] split by 'when' must name a column of snapshot waves. Columns: time, value, ahead"
    )


def test_rows_from_the_field_are_split_by_their_own_time(context):
    times, values = readings(50, seed=9)
    field = ({"time": times + np.timedelta64(9, "D"), "value": values}, ahead(values))
    merged = merge(series(context), field, "field:south", context.scratch, split=ByTime())
    assert merged.column("split")[-50:].tolist() == [0] * 35 + [1] * 5 + [2] * 10


def test_parts_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(ValueError, match=r"test \+ validation must be below 1"):
        ByTime(test=0.6, validation=0.4)
