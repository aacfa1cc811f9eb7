"""What works on boxes keeps the contract too."""

import dataclasses

from boxes_side import KIND, RECIPE, answers, scenes, target  # noqa: F401  (a fixture)
from edgeloop.checks.mean_average_precision import MeanAveragePrecision
from edgeloop.testing import contracts


def test_a_detector_builds_the_same_model_twice_and_is_measured(scenes, workplace):  # noqa: F811
    short = dataclasses.replace(RECIPE, epochs=6)
    model = contracts.check_recipe(short, scenes, workplace(snapshot=scenes))
    check = MeanAveragePrecision(min=0.2, draws=20)
    contracts.check_check(check, model, workplace(snapshot=scenes))


def test_answers_in_boxes_are_judged():
    given = answers(
        [(0, (2, 2, 16, 8), 0.9), (1, (10, 14, 16, 28), 0.5)], [(0, (2, 2, 16, 8), 0.4)]
    )
    contracts.check_answer_kind(KIND, given, target([(0, (2, 2, 16, 8))], []))
