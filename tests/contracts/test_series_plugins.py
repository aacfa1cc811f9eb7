"""What works on series keeps the contract too."""

import numpy as np
import pytest

from edgeloop.answers.number import Number
from edgeloop.answers.series import Series
from edgeloop.checks.coverage import Coverage
from edgeloop.checks.scaled_error import ScaledError
from edgeloop.data.split_by_time import ByTime
from edgeloop.testing import contracts
from series_side import ANSWER, RECIPE, series


def test_a_forecaster_builds_the_same_model_twice_and_is_measured(workplace):
    waves = series(workplace())
    model = contracts.check_recipe(RECIPE, waves, workplace(snapshot=waves))
    for check in (ScaledError(max=2), Coverage(within=0.2)):
        contracts.check_check(check, model, workplace(snapshot=waves))


def test_a_split_by_time_puts_every_row_into_one_part(workplace):
    contracts.check_split(ByTime(), series(workplace()), workplace())


@pytest.mark.parametrize(
    ("kind", "shape"), [(Series(**ANSWER.params), (4, 2)), (Number(level=0.9), (4,)), (Number(), 4)]
)
def test_answers_in_numbers_are_judged(kind, shape):
    value = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    answers = {"value": value, "low": value - 1, "high": value + 2}
    contracts.check_answer_kind(kind, answers, value + np.float32(0.5))
