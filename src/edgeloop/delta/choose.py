"""How a tensor is best told: each way is tried for its cost, the cheapest is taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edgeloop.delta import activity, low_rank, matrix
from edgeloop.delta.activity import Activity
from edgeloop.delta.matrix import How, Known, Side
from edgeloop.delta.plan import MOST_FACTORS, MOST_LINES, MOST_STRIDE

if TYPE_CHECKING:
    from edgeloop.delta.coder import Writer
    from edgeloop.delta.low_rank import LowRank
    from edgeloop.types import Array

RANKS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
THICKEST = 3  # a product of this many times less numbers than the matrix is worth a try
CHUNKS = 4  # of a large tensor, whose cost stands for that of all
NARROWEST = 16  # rows and columns of a matrix that may have one


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One way, and what it costs in bits."""

    cost: float
    how: How
    side: Side


def best(writer: Writer, numbers: Known, new: Array, *, alone: bool = False) -> Choice:
    """The cheapest way to write ``new``, ``int64[rows, columns]``; ``alone``: not predicted."""
    itself = _best_activity(writer, numbers, new, How(predicted=False), None)
    if alone:
        return itself
    plain = _best_activity(writer, numbers, new, How(), None)
    tried = [plain, itself]
    if 1 < (stride := numbers.stride(new)) <= MOST_STRIDE:
        tried.append(_best_activity(writer, numbers, new, How(stride=stride), None))
    if min(numbers.shape) >= NARROWEST:
        most = min(min(numbers.shape) / THICKEST, MOST_FACTORS / sum(numbers.shape))
        ranks = tuple(rank for rank in RANKS if rank < most)
        for change in low_rank.fit(numbers.change(new), ranks):
            how = replace(plain.how, rank=change.left.shape[1], exponent=change.exponent)
            tried.append(_tried(writer, numbers, new, how, change))
    found = min(tried, key=lambda one: one.cost)
    if found.how.rank:
        again = _best_activity(writer, numbers, new, found.how, found.side.change)
        found = min(found, again, key=lambda one: one.cost)
    return found


def _best_activity(
    writer: Writer, numbers: Known, new: Array, how: How, change: LowRank | None
) -> Choice:
    lines = [(False, False)]
    if min(numbers.shape) > 1:
        lines.append((False, True))
        lines += [(True, False), (True, True)] if numbers.shape[0] <= MOST_LINES else []
    hows = [replace(how, by_row=row, by_column=column) for row, column in lines]
    return min((_tried(writer, numbers, new, one, change) for one in hows), key=lambda c: c.cost)


def _tried(writer: Writer, numbers: Known, new: Array, how: How, change: LowRank | None) -> Choice:
    trial = writer.trial()
    side = Side(activity=_measured(numbers, new, how, change), change=change)
    matrix.code_side(trial, numbers.shape, how, side)
    beside, chunks = trial.cost, list(matrix.chunks(*numbers.shape))
    looked_at = chunks[:: max(1, len(chunks) // CHUNKS)]
    for rows in looked_at:
        part = matrix.part(how, side, rows, numbers.shape[1])
        numbers.rows(rows).code(trial, part, new[rows])
    cost = beside + (trial.cost - beside) * len(chunks) / len(looked_at)
    return Choice(cost=cost, how=how, side=side)


def _measured(numbers: Known, new: Array, how: How, change: LowRank | None) -> Activity:
    nothing = Activity(rows=np.zeros(1, dtype=np.int64), columns=np.zeros(1, dtype=np.int64))
    side = Side(activity=nothing, change=change)
    part = matrix.part(how, side, slice(0, numbers.shape[0]), numbers.shape[1])
    moved = np.abs(numbers.rest(new, part))
    return activity.measure(moved, by_row=how.by_row, by_column=how.by_column)
