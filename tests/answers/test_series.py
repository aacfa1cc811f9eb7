"""What an answer in numbers means: errors in a step, intervals that overlap, rows without one."""

import json

import numpy as np
import pytest

from edgeloop.answers.number import Number
from edgeloop.answers.series import Series

SERIES = Series(horizons=(1, 24), level=0.9, scale=10)
NUMBER = Number(level=0.9, scale=10)
NAN = float("nan")


def answers(values, half=5.0) -> dict:
    value = np.asarray(values, dtype=np.float32)
    return {"value": value, "low": value - half, "high": value + half}


ROWS = answers([[100, 200], [NAN, NAN], [50, 0]])
TRUTH = np.array([[110, 200], [1, 2], [50, NAN]], dtype=np.float32)


def test_errors_are_in_steps_and_only_where_answer_and_truth_are_known():
    assert SERIES.errors(ROWS, TRUTH)[0] == pytest.approx(0.5)
    assert np.isnan(SERIES.errors(ROWS, TRUTH)).tolist() == [False, True, True]
    assert SERIES.quality(ROWS, TRUTH)[0] == pytest.approx(1 / 1.5)
    assert NUMBER.errors(answers([100, NAN]), np.float32([130, 1])).tolist()[0] == 3


def test_a_truth_at_the_end_of_its_interval_is_covered():
    truth = np.float32([[105, 206], [1, 2], [100, NAN]])
    covered = SERIES.covered(answers([[100, 200], [NAN, NAN], [100, 200]]), truth)
    assert covered[0] == 0.5
    assert np.isnan(covered[1:]).all()
    assert np.isnan(Number().covered({"value": np.float32([1])}, np.float32([1]))).all()


def test_disagreement_is_what_two_intervals_do_not_share():
    moved = SERIES.disagreement(answers([[100, 100]]), answers([[105, 100]]))
    assert moved[0] == pytest.approx((10 / 15) / 2)
    assert SERIES.disagreement(answers([[0, 0]]), answers([[99, 99]]))[0] == 1


def test_disagreement_and_width_mean_the_same_in_every_unit():
    one, other = answers([[100, 50]]), answers([[103, 52]], half=8)
    many, more = ({n: v * 40 for n, v in side.items()} for side in (one, other))
    assert SERIES.disagreement(one, other) == pytest.approx(SERIES.disagreement(many, more))
    assert SERIES.claims(one)["width"] == pytest.approx(SERIES.claims(many)["width"])
    assert SERIES.claims(one)["width"][0] == pytest.approx((10 / 110 + 10 / 60) / 2)


def test_intervals_without_width_agree_only_when_they_are_equal():
    point = answers([[7, 7]], half=0)
    assert SERIES.disagreement(point, point)[0] == 0
    assert SERIES.disagreement(point, answers([[7, 8]], half=0))[0] == 0.5


def test_a_row_without_an_answer_is_nan_in_everything_that_is_averaged():
    for found in (
        SERIES.disagreement(ROWS, answers([[1, 1], [1, 1], [1, 1]])),
        SERIES.claims(ROWS)["width"],
        *SERIES.features(ROWS).values(),
    ):
        assert np.isnan(found).tolist() == [False, True, False]


def test_numbers_without_intervals_are_as_far_apart_as_steps_up_to_one():
    one, other = ({"value": np.float32(v)} for v in ([0, 0, NAN], [5, 99, 1]))
    assert Number(scale=10).disagreement(one, other).tolist()[:2] == [0.5, 1]
    assert Number(scale=10).claims(one) == {}
    assert Number().outputs == ("value",)
    assert NUMBER.outputs == ("value", "low", "high")


def test_parity_is_within_a_part_of_a_step_and_no_answer_equals_no_answer():
    near = {**ROWS, "high": ROWS["high"] + np.float32(0.9)}
    assert SERIES.parity(near, ROWS, 0.1).tolist() == [True, True, True]
    assert SERIES.parity(near, ROWS, 0.05).tolist() == [False, True, False]
    assert not SERIES.parity(answers([[NAN, NAN]]), answers([[1, 1]]), 1e9).any()


def test_an_application_reads_null_where_there_is_no_answer_yet():
    assert SERIES.describe(ROWS, 0) == {
        "horizons": [1, 24], "level": 0.9,
        "value": [100, 200], "low": [95, 195], "high": [105, 205],
    }  # fmt: skip
    assert json.dumps(SERIES.describe(ROWS, 1), allow_nan=False).count("null") == 6
    assert NUMBER.describe(answers([NAN]), 0) == {"value": None, "low": None, "high": None}


def test_pictures_show_only_rows_that_are_known():
    followed, bars = SERIES.evidence(ROWS, TRUTH)["pictures"]
    assert json.dumps([followed, bars], allow_nan=False)
    assert followed["x"] == [0]
    assert followed["lines"] == {"truth": [200], "value": [200], "low": [195], "high": [205]}
    assert (bars["names"], bars["values"], bars["unit"]) == (["1", "24"], [1.0, 0.0], "times 10")
    assert NUMBER.evidence(answers([NAN]), np.float32([1]))["pictures"][0]["x"] == []


@pytest.mark.parametrize("stated", [[1], 1, "1, 2", [1, "2"], [1, None], [1, NAN], [True, 2]])
def test_a_truth_is_one_finite_number_for_each_horizon(stated):
    with pytest.raises(ValueError, match=r"^must be a list of 2 finite numbers$"):
        SERIES.truth(stated)
    assert SERIES.truth([1, 2.5]) == [1.0, 2.5]


def test_a_number_is_confirmed_by_a_number():
    with pytest.raises(ValueError, match=r"^must be a finite number$"):
        NUMBER.truth("7")
    assert NUMBER.truth(7) == 7.0


def test_a_target_column_has_a_float_per_horizon_and_counts_what_is_unknown():
    with pytest.raises(ValueError) as caught:
        SERIES.check_truth(np.zeros((3, 1)))
    assert str(caught.value) == (
        "must hold numbers float[n, 2], NaN where unknown, got float64[3, 1]"
    )
    with pytest.raises(ValueError, match=r"^must hold no infinite number, got 1$"):
        NUMBER.check_truth(np.array([np.inf, 0]))
    SERIES.check_truth(TRUTH)
    assert SERIES.tally(TRUTH) == {"unknown": 1}
    assert NUMBER.tally(np.float32([1, NAN])) == {"unknown": 1}
