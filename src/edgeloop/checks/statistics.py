"""Intervals of paired differences and quantiles. Pure; all at 95 % confidence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgeloop.answers.intervals import Z95

if TYPE_CHECKING:
    from edgeloop.types import Array


def paired(differences: Array) -> tuple[float, float]:
    """Interval of the mean of paired differences, each -1 to 1 (Bonett and Price, JEBS 37, 2012).

    For right or wrong on the same rows this is their adjusted Wald interval of the difference of
    two shares: one row is added on each side, so that no discordant rows still leave a doubt.
    """
    rows = len(differences) + 2
    total, squares = float(differences.sum()), float((differences**2).sum())
    mean = total / rows
    half = Z95 * math.sqrt(max(0.0, (squares + 2) / rows - mean**2) / rows)
    return max(-1.0, mean - half), min(1.0, mean + half)


def quantile(times: Array, share: float) -> tuple[float, tuple[float, float]]:
    """A quantile of a sample with its interval by order statistics (normal approximation)."""
    import numpy as np

    ordered = np.sort(times)
    count = len(ordered)
    half = Z95 * math.sqrt(count * share * (1 - share))
    low, high = max(0, math.floor(count * share - half)), math.ceil(count * share + half)
    value = float(np.quantile(ordered, share))
    return value, (float(ordered[low]), float(ordered[min(high, count - 1)]))
