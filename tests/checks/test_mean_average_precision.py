"""How precise boxes are: the value, its doubt, and when it was not measured."""

import dataclasses

import numpy as np
import pytest

from boxes_side import KIND
from edgeloop.checks.accuracy import Accuracy
from edgeloop.checks.mean_average_precision import MeanAveragePrecision
from edgeloop.checks.worst_class import WorstClass
from edgeloop.testing import contracts
from edgeloop.types import Verdict


def misplaced(scenes, workplace, every: int):
    """The scenes with each so many'th image's true boxes said to be elsewhere."""
    boxes = scenes.column("boxes").copy()
    wrong = np.zeros(boxes.shape[:2], dtype=bool)
    wrong[::every] = boxes[::every, :, 0] >= 0
    boxes[wrong, 1:] += [100, 0, 100, 0]
    path = workplace().scratch / "boxes-00000.npy"
    np.save(path, boxes)
    return dataclasses.replace(scenes, files={**scenes.files, path.name: path})


def test_it_keeps_the_contract_and_holds_the_value_against_its_limit(detector, scenes, workplace):
    context = workplace(snapshot=misplaced(scenes, workplace, every=4))
    check = MeanAveragePrecision(min=0.95, draws=50)
    finding = contracts.check_check(check, detector, context)
    assert (finding.verdict, finding.limit) == (Verdict.FAIL, ">= 0.95")
    low, high = finding.interval
    assert 0.4 < low < finding.value < high < 0.9
    assert set(finding.evidence["classes"]) == {"wide", "tall"}
    assert np.mean(list(finding.evidence["classes"].values())) == pytest.approx(finding.value)
    assert finding.evidence["rows"] == 80


def test_truth_that_lies_elsewhere_takes_the_precision_away(detector, scenes, workplace):
    context = workplace(snapshot=misplaced(scenes, workplace, every=1))
    assert MeanAveragePrecision(draws=20).run(detector, context).value == 0


def test_without_boxes_it_is_not_measured(detector, scenes, torch_model, snapshot, workplace):
    labels = MeanAveragePrecision().run(torch_model, workplace(snapshot=snapshot))
    assert (labels.verdict, labels.reason) == (
        Verdict.NOT_MEASURED,
        "the answers are no boxes",
    )
    path = workplace().scratch / "boxes-00000.npy"
    np.save(path, np.full_like(scenes.column("boxes"), -1))
    empty = dataclasses.replace(scenes, files={**scenes.files, path.name: path})
    finding = MeanAveragePrecision().run(detector, workplace(snapshot=empty))
    assert finding.reason == "no held-out row has a box"


def test_the_checks_that_know_no_kind_measure_boxes_too(detector, scenes, workplace):
    context = workplace(snapshot=misplaced(scenes, workplace, every=4))
    assert 0.7 < Accuracy(min=0.7).run(detector, context).value < 0.9
    assert set(WorstClass().run(detector, context).evidence["classes"]) == set(KIND.classes)
