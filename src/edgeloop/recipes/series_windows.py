"""Rows of a series as windows with their truths: what a forecaster learns from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edgeloop.errors import DataError
from edgeloop.recipes.drawn import chances

if TYPE_CHECKING:
    import torch

    from edgeloop.runtimes.program.window import Window
    from edgeloop.types import Array, Snapshot

FIELD = "field:"  # how the names of populations begin that devices sent home


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Windows with a truth at every horizon."""

    time: Array  # int64[n]
    history: Array  # float32[n, window]
    truth: Array  # float32[n, horizons]
    new: Array  # bool[n]: sent home by a device

    def batches(self, size: int) -> int:
        """How many batches an epoch has."""
        return math.ceil(len(self.time) / size)

    def chance(self, new: float) -> Array | None:
        """float64[n]: chances with which new rows make up the share ``new``; None without any."""
        return chances(self.new, new)

    def drawn(self, size: int, chance: Array | None, generator: Any) -> Iterator[Examples]:
        """One epoch in batches: each row once, or by chance."""
        count = len(self.time)
        order = generator.choice(count, count, replace=chance is not None, p=chance)
        for number in range(self.batches(size)):
            yield self.taken(order[number * size : (number + 1) * size])

    def taken(self, rows: Array) -> Examples:
        """Those at the places ``rows``, or where the mask ``rows`` is true."""
        return Examples(
            time=self.time[rows],
            history=self.history[rows],
            truth=self.truth[rows],
            new=self.new[rows],
        )

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Time, history and truth for torch."""
        import torch

        return tuple(map(torch.from_numpy, (self.time, self.history, self.truth)))


def examples(snapshot: Snapshot, part: str, window: Window) -> Examples:
    """The rows of a part that have a whole window and all truths.

    Rows that devices sent home, and those of the first populations, are series of their own; so is
    each stretch in which times rise.

    Raises:
        DataError: there is none.
    """
    import numpy as np

    populations = snapshot.column("profile", part)
    new = np.array([name.startswith(FIELD) for name in snapshot.profiles])[populations]
    times = snapshot.column(window.time, part)
    edges = {0, len(new), *window.breaks({window.time: times})}
    edges |= set((np.flatnonzero(np.diff(np.where(new, populations, 0))) + 1).tolist())
    runs = [_run(snapshot, part, np.arange(*pair), window) for pair in pairwise(sorted(edges))]
    joined = [np.concatenate(columns) for columns in zip(*runs, strict=True)] if runs else []
    if not joined or not len(joined[0]):
        raise DataError(
            f"part {part!r} of snapshot {snapshot.name}",
            f"must have {window.size} readings behind each other and a truth for the last",
            got=f"{len(populations)} rows",
            todo="Add readings, or take a smaller window",
        )
    order, history, told, truth = joined
    return Examples(time=told, history=history, truth=truth, new=new[order])


def _run(snapshot: Snapshot, part: str, rows: Array, window: Window) -> tuple[Array, ...]:
    """Rows (places in the part), histories, times and truths of one series.

    Where it ends, rows whose truths lie in the next part are left out: they would tell the training
    what it is tested on.
    """
    import numpy as np

    feed = {name: snapshot.column(name, part)[rows] for name in snapshot.inputs}
    seen = window.open({}).run(feed)
    truth = snapshot.column(snapshot.target, part)[rows].astype(np.float32)
    last = len(rows) - max(snapshot.answer.params["horizons"])
    unknown = np.isnan(seen["history"]).any(axis=1) | np.isnan(truth).any(axis=1)
    known: Array = ~unknown & (np.arange(len(rows)) < last)
    return rows[known], seen["history"][known], seen[window.time][known], truth[known]
