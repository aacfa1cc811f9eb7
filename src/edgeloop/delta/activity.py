"""How much each row and each column of a tensor moved: half octaves of the mean magnitude.

Fine-tuning moves a weight by about (its row's share) x (its column's share): a product of two
vectors, which cost next to nothing beside the tensor and tell each weight its own table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeloop.delta.coder import signed
from edgeloop.delta.families import SCALES

if TYPE_CHECKING:
    from edgeloop.delta.coder import Coder
    from edgeloop.types import Array

STILL = -160  # half octaves: of a row or column that does not move at all


@dataclass(frozen=True, kw_only=True)
class Activity:
    """``int64[rows]`` or ``int64[1]``, and ``int64[columns]`` or ``int64[1]``, in half octaves."""

    rows: Array
    columns: Array

    def of_rows(self, first: int, last: int) -> Array:
        """``int64[last - first, columns]`` (or what broadcasts to it)."""
        rows = self.rows if len(self.rows) == 1 else self.rows[first:last]
        sums: Array = rows[:, None] + self.columns[None]
        return sums


def measure(moved: Array, *, by_row: bool, by_column: bool) -> Activity:
    """The activity of ``moved``, magnitudes ``float64[rows, columns]``."""
    rows = half_octaves(moved.mean(axis=1) if by_row else moved.mean(keepdims=True).ravel())
    columns = np.zeros(1, dtype=np.int64)
    if by_column:
        even = moved / np.exp2(rows / 2)[:, None]
        columns = half_octaves(even.mean(axis=0))
    return Activity(rows=rows, columns=columns)


def coded(coder: Coder, rows: int, columns: int, given: Activity | None) -> Activity:
    """Write or read an activity of so many rows and columns."""
    return Activity(
        rows=_steps(coder, rows, None if given is None else given.rows),
        columns=_steps(coder, columns, None if given is None else given.columns),
    )


def half_octaves(means: Array) -> Array:
    """``int64[n]``: twice the binary logarithm, rounded; STILL for 0."""
    logarithms = np.log2(np.maximum(means, 2.0 ** (STILL / 2)))
    steps: Array = np.rint(2 * logarithms).astype(np.int64)
    return steps


def _steps(coder: Coder, count: int, given: Array | None) -> Array:
    """Each as the difference to the one before."""
    steps = None if given is None else np.diff(given, prepend=0)
    return np.cumsum(signed(coder, SCALES, np.zeros(count, dtype=np.int64), steps))
