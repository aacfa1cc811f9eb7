"""Held-out answers of a kind that tells numbers: their errors, and whether intervals held."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from edgeloop.answers.intervals import Z95

if TYPE_CHECKING:
    from edgeloop.types import Array, Arrays

BLOCKS = 20  # of rows behind each other, whose means are taken as independent
NO_NUMBERS = "the answer kind tells no numbers"
NOT_KNOWN = "no held-out row has both an answer and a truth"


@runtime_checkable
class Numbers(Protocol):
    """What a kind like ``number`` or ``series`` has beside the others."""

    def errors(self, answers: Arrays, truth: Array) -> Array:
        """float64[n]: distance from the truth in the kind's own step; NaN where unknown."""
        ...

    def covered(self, answers: Arrays, truth: Array) -> Array:
        """float64[n] in 0..1: the share of a row's truths in their intervals; NaN where unknown."""
        ...


def mean_of_series(values: Array) -> tuple[float, tuple[float, float]]:
    """Mean of values that follow each other in time, with its 95 % interval.

    Neighbours resemble each other, so that the interval is of the means of ``BLOCKS`` blocks.
    """
    import numpy as np

    blocks = np.array_split(values, min(BLOCKS, len(values)))
    means = np.array([block.mean() for block in blocks])
    mean = float(values.mean())
    half = Z95 * float(means.std(ddof=1)) / math.sqrt(len(means)) if len(means) > 1 else math.inf
    return mean, (mean - half, mean + half)
