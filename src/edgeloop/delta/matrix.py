"""Numbers in rows and columns: what is told of all of them, then of some rows.

The same lines write and read. What a reader knows before a number is coded is all that may steer
how it is coded: the old tensor, the activity, the factors, and what was coded before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edgeloop.delta import activity, low_rank

if TYPE_CHECKING:
    from edgeloop.delta.activity import Activity
    from edgeloop.delta.coder import Coder
    from edgeloop.delta.low_rank import LowRank
    from edgeloop.types import Array

CHUNK = 1 << 16  # numbers that are worked on at a time


@dataclass(frozen=True, kw_only=True)
class How:
    """What is told of a tensor beside its numbers.

    ``predicted`` from the old one, or coded by itself. ``by_row`` and ``by_column``: whether the
    activity has a line for each, or one for all. ``rank`` of the learned change; 0 is none. Levels
    differ from what is predicted by multiples of ``stride``.
    """

    predicted: bool = True
    by_row: bool = False
    by_column: bool = False
    rank: int = 0
    exponent: int = 0
    stride: int = 1


@dataclass(frozen=True, kw_only=True)
class Side:
    """What is coded before the numbers; a writer measures it, a reader is told."""

    activity: Activity
    change: LowRank | None = None


class Numbers(Protocol):
    """How the numbers of one kind are predicted and coded.

    What a part's ``change`` says is in the numbers' own unit.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    def code(self, coder: Coder, part: Part, given: Array | None) -> Array:
        """Write or read; ``given`` are the new numbers, where they are known."""


class Known(Numbers, Protocol):
    """Numbers of a tensor that is in memory as a whole."""

    def rows(self, part: slice) -> Known:
        """Those of some rows."""

    def change(self, new: Array) -> Array:
        """How far each number moved: ``float64[rows, columns]``."""

    def rest(self, new: Array, part: Part) -> Array:
        """What prediction leaves of the new numbers, in steps of the part's stride."""

    def stride(self, new: Array) -> int:
        """The largest step of which all that prediction leaves are multiples; 1 at least."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is known of some rows: their expected sizes in half octaves, and their change."""

    predicted: bool
    stride: int
    sizes: Array  # int64[rows, columns]
    change: Array | float


def part(how: How, side: Side, rows: slice, columns: int) -> Part:
    """What ``side`` says of some rows."""
    told = side.activity.of_rows(rows.start, rows.stop)
    change = None if side.change is None else side.change.of_rows(rows.start, rows.stop)
    return Part(
        predicted=how.predicted,
        stride=how.stride,
        sizes=np.broadcast_to(told, (rows.stop - rows.start, columns)),
        change=0.0 if change is None else change,
    )


def chunks(rows: int, numbers: int) -> Iterator[slice]:
    """Rows of so many ``numbers``, as many at a time as hold about CHUNK of them."""
    step = max(1, CHUNK // max(1, numbers))
    for first in range(0, rows, step):
        yield slice(first, min(first + step, rows))


def code_side(coder: Coder, shape: tuple[int, int], how: How, given: Side | None) -> Side:
    """Write or read what comes before the numbers."""
    rows, columns = shape[0] if how.by_row else 1, shape[1] if how.by_column else 1
    told = activity.coded(coder, rows, columns, None if given is None else given.activity)
    change = None
    if how.rank:
        change = low_rank.coded(
            coder, shape, how.rank, how.exponent, None if given is None else given.change
        )
    return Side(activity=told, change=change)
