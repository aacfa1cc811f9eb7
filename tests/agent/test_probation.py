"""A new slot in charge, until it has given its answers."""

from __future__ import annotations

from edgeloop.agent.probation import Trial, limits_of
from edgeloop.answers.worse import Standing
from edgeloop.protocol.messages import Probation, RolloutPlan

LIMITS = limits_of(RolloutPlan(probation=Probation(errors=0.05, alpha=0.01)))


def test_a_trial_is_passed_after_its_number_of_answers() -> None:
    trial = Trial(LIMITS, 25)
    standings = []
    for _ in range(25):
        trial.saw(failed=False)
        standings.append(trial.judgement.standing)
    assert standings == [Standing.WATCHING] * 24 + [Standing.PASSED]


def test_a_trial_of_no_answers_is_passed_at_once() -> None:
    assert Trial(LIMITS, 0).judgement.standing is Standing.PASSED


def test_a_trial_of_failing_answers_is_over_soon() -> None:
    trial, asked = Trial(LIMITS, 200), 0
    while trial.judgement.standing is Standing.WATCHING:
        trial.saw(failed=True)
        asked += 1
    assert trial.judgement.standing is Standing.FAILED
    assert trial.judgement.reason == "error share 1.000 is above the limit 0.050"
    assert asked < 10


def test_what_was_judged_is_not_judged_again() -> None:
    trial = Trial(LIMITS, 1)
    trial.saw(failed=False)
    for _ in range(20):
        trial.saw(failed=True)
    assert trial.judgement.standing is Standing.PASSED
