"""Intervals of measured shares and differences. Pure; all at 95 % confidence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeloop.types import Array

Z95 = 1.959963984540054  # of the normal distribution, two-sided


def wilson(share: float, rows: int) -> tuple[float, float]:
    """Interval of a share 0..1 seen on ``rows`` rows (E. B. Wilson, JASA 22, 1927).

    Values that lie between 0 and 1 instead of at them only make it wider than need be.
    """
    if rows == 0:
        return 0.0, 1.0
    square = Z95**2 / rows
    middle = (share + square / 2) / (1 + square)
    half = Z95 * math.sqrt(share * (1 - share) / rows + square / (4 * rows)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


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
