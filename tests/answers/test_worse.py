"""The tests of "worse": few false alarms however often one looks, and bad slots are found."""

import random

from hypothesis import given
from hypothesis import strategies as st

from edgeloop.answers.worse import Declared, Limits, Standing, evidence_above, judge

LIMITS = Limits(answers=200, margin=0.05, claim_margin=0.08, errors=0.01, alpha=0.01)
CLEAN = Declared(profile="clean", rows=1000, disagreement=0.02, claims={"confidence": 0.95})


def watch(disagreement, confidence, errors=0.0, declared=CLEAN, seed=1, most=1000):
    source = random.Random(seed)
    seen: tuple[list[float], list[float], list[float]] = ([], [], [])
    for count in range(1, most + 1):
        seen[0].append(float(source.random() < disagreement))
        seen[1].append(min(1.0, max(0.0, source.gauss(confidence, 0.1))))
        seen[2].append(float(source.random() < errors))
        found = judge(
            declared, LIMITS, disagreements=seen[0], claims={"confidence": seen[1]}, errors=seen[2]
        )
        if found.standing is not Standing.WATCHING:
            return found, count
    raise AssertionError("no verdict")


def test_a_slot_that_does_what_was_declared_passes_when_enough_was_seen():
    found, count = watch(0.02, 0.93)
    assert (found.standing, count) == (Standing.PASSED, 200)


def test_a_slot_that_disagrees_far_more_than_declared_fails_early():
    found, count = watch(0.4, 0.95)
    assert found.standing is Standing.FAILED
    assert count < 60
    assert found.reason.startswith("disagreement 0.")
    assert found.reason.endswith("is above the limit 0.081 on inputs like 'clean'")


def test_much_disagreement_passes_when_it_was_declared():
    declared = Declared(
        profile="field:south", rows=80, disagreement=0.3, claims={"confidence": 0.9}
    )
    found, _ = watch(0.3, 0.9, declared=declared)
    assert found.standing is Standing.PASSED


def test_lost_confidence_fails_without_any_disagreement():
    found, _ = watch(0.0, 0.6)
    assert found.standing is Standing.FAILED
    assert "confidence 0." in found.reason
    assert "is below the limit 0.870" in found.reason


def test_a_slot_that_raises_errors_fails_even_when_nothing_was_declared():
    found, _ = watch(0.0, 0.9, errors=0.2, declared=None)
    assert found.standing is Standing.FAILED
    assert found.reason.startswith("error share 0.")


def test_looking_after_every_answer_raises_few_false_alarms():
    alarms = 0
    for seed in range(60):
        source = random.Random(seed)
        values: list[float] = []
        for _ in range(300):
            values.append(float(source.random() < 0.08))
            if evidence_above(values, 0.08) >= 1 / 0.05:
                alarms += 1
                break
    assert alarms <= 6  # 3 expected at the most; 7 or more of 60 has probability 0.03


@given(st.lists(st.floats(0, 1), max_size=50), st.floats(0.001, 0.999))
def test_evidence_is_a_positive_number_for_any_values(values, mean):
    assert evidence_above(values, mean) > 0


def test_without_a_declaration_against_the_current_release_confidence_is_still_judged():
    declared = Declared(profile="clean", rows=1000, disagreement=None, claims={"confidence": 0.95})
    assert watch(0.9, 0.95, declared=declared)[0].standing is Standing.PASSED
    assert watch(0.9, 0.6, declared=declared)[0].standing is Standing.FAILED
