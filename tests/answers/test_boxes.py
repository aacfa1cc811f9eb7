"""What an answer in boxes means: two sets of boxes held against each other, and against a truth."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeloop.answers.average_precision import Judged
from edgeloop.answers.matching import Boxes as Found
from edgeloop.answers.matching import matched

sys.path.insert(0, str(Path(__file__).parents[1]))
from boxes_side import KIND, answers, target

HERE, THERE = (2, 2, 16, 8), (10, 14, 16, 28)
NEAR = (2, 2, 15, 8)  # overlaps HERE by 13/14


def test_two_sets_disagree_by_what_is_in_one_of_them_only():
    one = answers([(0, HERE, 0.9), (1, THERE, 0.5)], [], [(0, HERE, 0.9)], [(0, HERE, 0.9)])
    other = answers([(0, NEAR, 0.8)], [], [(1, HERE, 0.9)], [])
    assert KIND.disagreement(one, other) == pytest.approx([1 / 3, 0, 1, 1])
    assert KIND.disagreement(other, one) == pytest.approx([1 / 3, 0, 1, 1])


def test_of_boxes_that_compete_the_nearest_is_the_pair_whichever_set_comes_first():
    corners = np.array([NEAR, HERE])
    two = Found(corners=corners, classes=np.zeros(2, dtype=int))
    one = Found(corners=corners[1:], classes=np.zeros(1, dtype=int))
    assert [(p.one, p.other, p.overlap) for p in matched(two, one, 0.5)] == [(1, 0, 1.0)]
    assert [(p.one, p.other, p.overlap) for p in matched(one, two, 0.5)] == [(0, 1, 1.0)]
    assert [(p.one, p.other) for p in matched(two, one, 0.5, ranked=True)] == [(0, 0)]


def test_an_empty_answer_has_a_count_and_no_confidence():
    claims = KIND.claims(answers([(0, HERE, 0.9), (1, THERE, 0.5)], []))
    assert claims["count"].tolist() == pytest.approx([2 / 3, 0])
    assert claims["confidence"][0] == pytest.approx(0.7)
    assert np.isnan(claims["confidence"][1])
    assert KIND.describe(answers([]), 0) == {"boxes": []}


def test_quality_of_an_image_without_things_is_full_when_nothing_is_given():
    given = answers([], [(0, HERE, 0.9)], [(0, HERE, 0.9)])
    assert KIND.quality(given, target([], [], [(0, HERE), (1, THERE)])) == pytest.approx(
        [1, 0, 2 / 3]
    )


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        ([(0, HERE, 0.85)], True),
        ([(0, HERE, 0.75)], False),  # another score
        ([(0, (2, 2, 15.5, 8), 0.9)], True),
        ([(0, (2, 2, 14, 8), 0.9)], False),  # an edge by a fifth of the box
        ([(0, HERE, 0.9), (1, THERE, 0.38)], True),  # a box that is hardly given
        ([(0, HERE, 0.9), (1, THERE, 0.45)], False),
        ([], False),
    ],
)
def test_parity_is_in_scores_and_in_parts_of_a_box(other, equal):
    one = answers([(0, HERE, 0.9)])
    assert KIND.parity(answers(other), one, 0.1).tolist() == [equal]
    assert KIND.parity(answers([]), answers([]), 0.0).tolist() == [True]


def test_average_precision_is_the_area_under_the_best_precision_at_each_recall():
    given = answers([(0, THERE, 0.9)], [(0, HERE, 0.8)], [(0, HERE, 0.7)])
    judged = KIND.judged(given, target([(0, HERE)], [(0, HERE)], [(0, HERE)]))
    # a miss, then two hits of three: at precision 1/2, which is 2/3 further on, and at 2/3
    assert judged.precisions()[0] == pytest.approx(2 / 3 * 2 / 3)
    assert np.isnan(judged.precisions()[1])  # a class that is nowhere
    assert judged.mean() == judged.precisions()[0]
    assert judged.precisions(np.array([0, 3, 0]))[0] == 1.0


def test_precision_of_nothing_given_is_0_and_of_nothing_true_is_unknown():
    none = Judged.of(KIND.given(answers([])), KIND.true(target([])), classes=2, overlap=0.5)
    missed = KIND.judged(answers([]), target([(1, HERE)]))
    assert np.isnan(none.mean())
    assert missed.mean() == 0


def test_the_picture_shows_what_was_given_for_what():
    given = answers([(1, HERE, 0.9), (1, THERE, 0.8)], [])
    shown = KIND.evidence(given, target([(0, HERE)], [(1, THERE)]))["pictures"]
    bars, matrix = json.loads(json.dumps(shown))
    assert (bars["names"], bars["values"]) == (["wide", "tall"], [0.0, 0.0])
    assert matrix["columns"] == ["wide", "tall", "nothing"]
    assert matrix["cells"] == [[0, 1, 0], [0, 0, 1], [0, 1, 0]]


def test_a_stated_truth_becomes_a_target_and_a_target_stays_one():
    stated = [{"class": "tall", "box": [10, 14, 16, 28]}]
    row = KIND.truth(stated)
    assert row == [[1, 10, 14, 16, 28], [-1] * 5, [-1] * 5]
    assert KIND.truth(row) == row
    assert KIND.truth([]) == [[-1] * 5] * 3
    KIND.check_truth(np.array([row], dtype=np.float32))


RULE = "must be a list of boxes, each with a class and its edges: left < right, top < bottom"


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ("tall", f"{RULE}, got str"),
        ([7], f"{RULE}, got 7"),
        ([{"class": "round", "box": [1, 2, 3, 4]}], None),
        ([{"class": 2, "box": [1, 2, 3, 4]}], None),
        ([{"class": 0.5, "box": [1, 2, 3, 4]}], None),
        ([{"class": 0, "box": [3, 2, 3, 4]}], None),
        ([{"class": 0, "box": [1, 2, 3]}], None),
        ([{"class": 0, "box": [1, 2, float("inf"), 4]}], None),
        ([{"class": 0, "box": [1, 2, 3, 4]}] * 4, "must be 3 boxes at the most, got 4"),
    ],
)
def test_a_truth_that_cannot_be_is_refused(stated, said):
    with pytest.raises(ValueError) as caught:
        KIND.truth(stated)
    assert str(caught.value) == (said or f"{RULE}, got {stated[0]!r}")


def test_a_target_column_that_holds_no_boxes_is_refused():
    with pytest.raises(ValueError) as caught:
        KIND.check_truth(np.zeros((2, 3, 4), dtype=np.float32))
    assert str(caught.value) == (
        "must hold boxes, float32[n, 3, 5]: class, left, top, right, bottom; -1 behind the last"
        " one, got float32[2, 3, 4]"
    )
    with pytest.raises(ValueError) as caught:
        KIND.check_truth(target([(2, HERE)]))
    assert str(caught.value) == (
        "must hold boxes of class 0 to 1 with left < right and top < bottom,"
        " got [2.0, 2.0, 2.0, 16.0, 8.0]"
    )
