"""Intervals agree with published figures and with brute force."""

import numpy as np
import pytest

from edgeloop.answers.intervals import wilson
from edgeloop.checks.statistics import paired, quantile


def test_wilson_agrees_with_newcombe_1998():
    """Table I of R. G. Newcombe, Statistics in Medicine 17: 81 of 263, and 0 of 20."""
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_no_rows_tell_nothing():
    assert wilson(0.0, 0) == (0.0, 1.0)


def test_rows_that_never_differ_still_leave_a_doubt():
    low, high = paired(np.zeros(1000))
    assert low == pytest.approx(-high)
    assert 0.002 < high < 0.004


def test_the_paired_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        differences = generator.choice([-1.0, 0.0, 1.0], 200, p=[0.02, 0.93, 0.05])
        low, high = paired(differences)
        hits += low <= 0.03 <= high
    assert 0.93 <= hits / 1000 <= 0.98


def test_a_quantile_lies_within_its_interval():
    times = np.random.default_rng(0).exponential(1.0, 300)
    value, (low, high) = quantile(times, 0.95)
    assert low <= value <= high
    assert low < -np.log(0.05) < high
