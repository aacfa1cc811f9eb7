"""How a tensor is best told: each way is tried for its cost, the cheapest is taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from edgeloop.delta import activity, low_rank, matrix
from edgeloop.delta.activity import Activity
from edgeloop.delta.matrix import How, Numbers, Part, Side

if TYPE_CHECKING:
    from edgeloop.delta.coder import Writer
    from edgeloop.delta.low_rank import LowRank
    from edgeloop.types import Array

RANKS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
THICKEST = 3  # a product of this many times less numbers than the matrix is worth a try
NARROWEST = 16  # rows and columns of a matrix that may have one


class Movable(Numbers, Protocol):
    """Numbers of which both sides are known."""

    def change(self, new: Array) -> Array:
        """How far each number moved: ``float64[rows, columns]``."""

    def rest(self, new: Array, part: Part) -> Array:
        """What prediction leaves of some rows' new numbers."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One way, and what it costs in bits."""

    cost: float
    how: How
    side: Side


def best(writer: Writer, numbers: Movable, new: Array) -> Choice:
    """The cheapest way to write ``new``, ``int64[rows, columns]``."""
    plain = _best_activity(writer, numbers, new, How(), None)
    alone = _best_activity(writer, numbers, new, How(predicted=False), None)
    tried = [plain, alone]
    if min(numbers.shape) >= NARROWEST:
        ranks = tuple(rank for rank in RANKS if rank * THICKEST < min(numbers.shape))
        for change in low_rank.fit(numbers.change(new), ranks):
            how = replace(plain.how, rank=change.left.shape[1], exponent=change.exponent)
            tried.append(_tried(writer, numbers, new, how, change))
    found = min(tried, key=lambda one: one.cost)
    if found.how.rank:
        again = _best_activity(writer, numbers, new, found.how, found.side.change)
        found = min(found, again, key=lambda one: one.cost)
    return found


def _best_activity(
    writer: Writer, numbers: Movable, new: Array, how: How, change: LowRank | None
) -> Choice:
    lines = [(False, False)]
    if min(numbers.shape) > 1:
        lines += [(True, False), (False, True), (True, True)]
    hows = [replace(how, by_row=row, by_column=column) for row, column in lines]
    return min((_tried(writer, numbers, new, one, change) for one in hows), key=lambda c: c.cost)


def _tried(
    writer: Writer, numbers: Movable, new: Array, how: How, change: LowRank | None
) -> Choice:
    trial = writer.trial()
    side = Side(activity=_measured(numbers, new, how, change), change=change)
    matrix.write(trial, numbers, how, side, new)
    return Choice(cost=trial.cost, how=how, side=side)


def _measured(numbers: Movable, new: Array, how: How, change: LowRank | None) -> Activity:
    nothing = Activity(rows=np.zeros(1, dtype=np.int64), columns=np.zeros(1, dtype=np.int64))
    parts = matrix.parts(numbers.shape, how, Side(activity=nothing, change=change))
    moved = [np.abs(numbers.rest(new[part.rows], part)) for part in parts]
    return activity.measure(np.concatenate(moved), by_row=how.by_row, by_column=how.by_column)
