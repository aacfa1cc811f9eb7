"""What an answer means that is a place in a space: only where it points counts."""

import numpy as np
import pytest

from edgeloop.answers.vector import Vector

KIND = Vector(size=2)
NAN = float("nan")


def vectors(*rows) -> dict:
    return {"vector": np.array(rows, dtype=np.float32)}


def test_disagreement_grows_with_the_angle_and_not_with_the_length():
    one = vectors([1, 0], [1, 0], [1, 0], [1, 0])
    other = vectors([9, 0], [0, 3], [-2, 0], [1, 1])
    found = KIND.disagreement(one, other)
    assert found == pytest.approx([0, 0.5, 1, (1 - 0.5**0.5) / 2])


def test_vectors_are_the_same_within_a_tolerance_of_their_cosine():
    close = vectors([1, 0.001])
    assert KIND.parity(close, vectors([1, 0]), 1e-6).tolist() == [True]
    assert KIND.parity(close, vectors([1, 0]), 1e-7).tolist() == [False]


def test_no_answer_equals_no_answer_and_is_nan_in_all_that_is_averaged():
    some, none = vectors([1, 0]), vectors([NAN, NAN])
    assert KIND.parity(none, none, 0.1).tolist() == [True]
    assert KIND.parity(some, none, 0.1).tolist() == [False]
    assert np.isnan(KIND.disagreement(some, none)).all()
    assert np.isnan(KIND.claims(none)["length"]).all()
    assert all(np.isnan(values).all() for values in KIND.features(none).values())
    assert KIND.describe(none, 0) == {"vector": [None, None]}


def test_a_vector_that_points_nowhere_is_like_another_such_alone():
    zero = vectors([0, 0])
    assert KIND.disagreement(zero, zero).tolist() == [0]
    assert KIND.disagreement(zero, vectors([0, 5])).tolist() == [0.5]


def test_quality_is_best_where_the_truth_points_and_the_picture_counts_it():
    answers, truth = vectors([2, 0], [0, 1]), np.float32([[1, 0], [0, -1]])
    assert KIND.quality(answers, truth).tolist() == [1, 0]
    (picture,) = KIND.evidence(answers, truth)["pictures"]
    assert picture["values"] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]


def test_a_truth_is_so_many_finite_numbers_that_point_somewhere():
    assert KIND.truth([3, 4.5]) == [3.0, 4.5]
    for stated, rule in (
        ([1], "must be 2 numbers, got [1]"),
        ("north", "must be 2 numbers"),
        ([0, 0], "must hold finite numbers, of which one is not 0, got 1 other rows"),
        ([1, NAN], "must hold finite numbers, of which one is not 0, got 1 other rows"),
    ):
        with pytest.raises(ValueError) as caught:
            KIND.truth(stated)
        assert str(caught.value) == rule
    with pytest.raises(ValueError) as caught:
        KIND.check_truth(np.zeros((3, 4)))
    assert str(caught.value) == "must hold 2 floats per row, got float64[3, 4]"
