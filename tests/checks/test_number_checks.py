"""Error and coverage are measured where answer and truth are known, and nowhere else."""

import dataclasses
import math

import numpy as np
import pytest

from edgeloop.checks.coverage import Coverage
from edgeloop.checks.scaled import mean_of_series
from edgeloop.checks.scaled_error import ScaledError
from edgeloop.types import AnswerSpec, Model, Verdict
from series_side import RECIPE, SCALE, series


@pytest.fixture(scope="module")
def waves(workplace):
    return series(workplace())


@pytest.fixture(scope="module")
def forecaster(waves, workplace) -> Model:
    return RECIPE.build(waves, workplace(snapshot=waves))


def with_target(snapshot, truth, workplace):
    path = workplace().scratch / "ahead-00000.npy"
    np.save(path, truth)
    return dataclasses.replace(snapshot, files={**snapshot.files, path.name: path})


@pytest.mark.parametrize("check", [ScaledError(max=2), Coverage(within=0.2)])
def test_they_measure_within_their_limits(check, forecaster, waves, workplace):
    found = check.run(forecaster, workplace(snapshot=waves))
    assert found.verdict is Verdict.PASS
    assert found.interval[0] < found.value < found.interval[1]
    assert sorted(found.evidence["profiles"]) == ["warm"]


def test_rows_without_an_answer_or_a_truth_do_not_count(forecaster, waves, workplace):
    found = ScaledError().run(forecaster, workplace(snapshot=waves))
    assert (found.evidence["rows"], found.evidence["without"]) == (240 - 23 - 6, 23 + 6)
    assert Coverage().run(forecaster, workplace(snapshot=waves)).evidence["rows"] == 240 - 23 - 6


def test_the_error_is_in_steps_of_the_scale(forecaster, waves, workplace):
    answers = workplace().session(forecaster).run(waves.feed())
    shifted = with_target(waves, answers["value"] + np.float32(2 * SCALE), workplace)
    test = slice(720 + 23, 960)  # a check begins the part 'test' with an empty window
    found = ScaledError(max=1.5).run(forecaster, workplace(snapshot=shifted))
    assert found.value == pytest.approx(2)
    assert (found.verdict, found.limit) == (Verdict.FAIL, "<= 1.5")
    assert found.evidence["rows"] == len(range(test.start, test.stop))


@pytest.mark.parametrize(
    ("moved", "verdict"), [(0, Verdict.FAIL), (1000, Verdict.FAIL), (None, Verdict.PASS)]
)
def test_intervals_that_hold_all_or_nothing_fail(moved, verdict, forecaster, waves, workplace):
    answers = workplace().session(forecaster).run(waves.feed())
    rows = waves if moved is None else with_target(waves, answers["value"] + moved, workplace)
    found = Coverage(within=0.15).run(forecaster, workplace(snapshot=rows))
    assert (found.verdict, found.limit) == (verdict, "0.65 to 0.95")
    assert found.reason == "intervals promise 0.8"


@pytest.mark.parametrize("check", [ScaledError(), Coverage()])
def test_what_cannot_be_measured_is_not(check, forecaster, waves, workplace):
    nothing = with_target(waves, np.full((960, 2), np.nan, np.float32), workplace)
    found = check.run(forecaster, workplace(snapshot=nothing))
    assert (found.verdict, found.reason) == (
        Verdict.NOT_MEASURED, "no held-out row has both an answer and a truth",
    )  # fmt: skip
    path = workplace().scratch / "split-00000.npy"
    np.save(path, np.zeros(960, np.uint8))
    untested = dataclasses.replace(waves, files={**waves.files, path.name: path})
    found = check.run(forecaster, workplace(snapshot=untested))
    assert found.reason == "the snapshot has no rows in its part 'test'"
    label = AnswerSpec(kind="label", params={"classes": ["a", "b"]})
    other = dataclasses.replace(forecaster, answer=label)
    found = check.run(other, workplace(snapshot=waves))
    assert found.reason == "the answer kind tells no numbers"


def test_a_number_without_intervals_has_no_coverage(forecaster, waves, workplace):
    bare = dataclasses.replace(forecaster, answer=AnswerSpec(kind="number"))
    found = Coverage().run(bare, workplace(snapshot=waves))
    assert (found.verdict, found.reason) == (
        Verdict.NOT_MEASURED, "the model's answers have no intervals",
    )  # fmt: skip


def test_neighbours_that_resemble_each_other_make_the_interval_wider():
    noise = np.random.default_rng(1).normal(size=2000)
    alone, slow = noise, np.repeat(noise[:100], 20)
    widths = [high - low for low, high in (mean_of_series(v)[1] for v in (alone, slow))]
    assert widths[1] > 2 * widths[0]
    assert math.isinf(mean_of_series(noise[:1])[1][0])
