"""Intervals of a mean over few repetitions. Pure; all at 95 % confidence."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import cache

Interval = tuple[float, float]
LEVEL = 0.95


def deviation(values: Sequence[float]) -> float | None:
    """The standard deviation of a sample; None for fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None


def over_seeds(differences: Sequence[float]) -> Interval | None:
    """Student's interval of the mean of paired differences, one per seed.

    None for fewer than two, and where all are the same: what has no spread tells nothing of it.
    """
    spread = deviation(differences)
    if not spread:
        return None
    mean, count = statistics.fmean(differences), len(differences)
    half = student(count - 1) * spread / math.sqrt(count)
    return mean - half, mean + half


def over_rows(intervals: Sequence[Interval]) -> Interval | None:
    """Interval of the mean of several means that were measured on the same rows.

    The mean of their ends. However much the rows decide alike under every seed, a mean deviates
    by no more than its parts do on average, so this is never too narrow.
    """
    if not intervals:
        return None
    lows, highs = zip(*intervals, strict=True)
    return statistics.fmean(lows), statistics.fmean(highs)


@cache
def student(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's t with ``freedom`` degrees, 1 or more.

    By bisection of its distribution over the angle, which is finite for every ``freedom``.
    """
    low, high = 0.0, math.pi / 2
    while (middle := (low + high) / 2) not in {low, high}:
        low, high = (middle, high) if _within(middle, freedom) < LEVEL else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def _within(angle: float, freedom: int) -> float:
    """P(|T| <= tan(angle) * sqrt(freedom)).

    Exact for whole degrees: Abramowitz and Stegun, Handbook of Mathematical Functions (1964),
    26.7.3 for odd and 26.7.4 for even ``freedom``.
    """
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for step in range(2 + odd, freedom + 1, 2):
        total += term
        term *= cosine**2 * (step - 1) / step
    if odd:
        return 2 / math.pi * (angle + sine * total)
    return sine * total
