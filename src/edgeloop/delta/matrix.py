"""One tensor as rows and columns: predicted from the old one, the rest coded by expected size.

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
    activity has a line for each, or one for all. ``rank`` of the learned change; 0 is none.
    """

    predicted: bool = True
    by_row: bool = False
    by_column: bool = False
    rank: int = 0
    exponent: int = 0


@dataclass(frozen=True, kw_only=True)
class Side:
    """What is coded before the numbers; a writer measures it, a reader is told."""

    activity: Activity
    change: LowRank | None = None


class Numbers(Protocol):
    """How the numbers of one kind are predicted and coded, some rows at a time.

    What a part's ``change`` says is in the numbers' own unit.
    """

    shape: tuple[int, int]

    def code(self, coder: Coder, part: Part, given: Array | None) -> Array:
        """Write or read some rows; ``given`` are their new numbers, where they are known."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some rows of a tensor: which, how, their expected sizes in half octaves, their change."""

    rows: slice
    predicted: bool
    sizes: Array  # int64[rows, columns]
    change: Array | float


def parts(shape: tuple[int, int], how: How, side: Side) -> Iterator[Part]:
    """Rows, so many at a time that they hold about CHUNK numbers."""
    step = max(1, CHUNK // max(1, shape[1]))
    for first in range(0, shape[0], step):
        last = min(first + step, shape[0])
        sizes = np.broadcast_to(side.activity.of_rows(first, last), (last - first, shape[1]))
        change = 0.0 if side.change is None else side.change.of_rows(first, last)
        yield Part(rows=slice(first, last), predicted=how.predicted, sizes=sizes, change=change)


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


def write(coder: Coder, numbers: Numbers, how: How, side: Side, new: Array) -> None:
    """Write ``new``, ``int64[rows, columns]``."""
    side = code_side(coder, numbers.shape, how, side)
    for part in parts(numbers.shape, how, side):
        numbers.code(coder, part, new[part.rows])


def read(coder: Coder, numbers: Numbers, how: How) -> Iterator[Array]:
    """The new numbers, ``int64[some rows, columns]`` at a time."""
    side = code_side(coder, numbers.shape, how, None)
    for part in parts(numbers.shape, how, side):
        yield numbers.code(coder, part, None)
