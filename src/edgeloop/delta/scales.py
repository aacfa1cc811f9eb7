"""The scales of a plain tensor of levels, which lie elsewhere in its file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeloop.delta.grid import Means
from edgeloop.delta.levels import Affine
from edgeloop.delta.plan import By

if TYPE_CHECKING:
    from edgeloop.delta.plan import Entry, Scaling
    from edgeloop.types import Array

Bytes = Callable[[int, int], bytes]  # place and length in a file


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Scales and offsets, ``float64[count]``, and which of them counts for a row or column."""

    scaling: Scaling
    scales: Array
    offsets: Array

    def of(self, rows: slice, columns: int) -> Affine:
        """For some rows of so many columns."""
        if self.scaling.by is By.ALL:
            return Affine(scale=self.scales[None], offset=self.offsets[None])
        by_row = self.scaling.by is By.ROW
        lines = np.arange(rows.start, rows.stop) if by_row else np.arange(columns)
        at = (self.scaling.first + lines) // self.scaling.inner % self.scaling.count
        shape = (-1, 1) if by_row else (1, -1)
        return Affine(scale=self.scales[at].reshape(shape), offset=self.offsets[at].reshape(shape))


def means(entry: Entry, old: Bytes, new: Bytes) -> Callable[[slice], Means]:
    """What the levels of some rows stand for, by the bytes of the old file and of the new one."""
    scaling = entry.scaling
    if scaling is None:
        return lambda _rows: Means()
    zeros = scaling.zeros or (None, None)
    before = _lines(entry, scaling, old, scaling.old, zeros[0])
    after = _lines(entry, scaling, new, scaling.new, zeros[1])
    columns = entry.grid.blocks
    return lambda rows: Means(old=before.of(rows, columns), new=after.of(rows, columns))


def _lines(entry: Entry, scaling: Scaling, data: Bytes, at: int, zeros: int | None) -> Lines:
    raw = data(at, 4 * scaling.count)
    with np.errstate(invalid="ignore"):  # signalling ones that are no numbers
        scales = np.frombuffer(raw, dtype="<f4").astype(np.float64)
    offsets = np.zeros(1 if scaling.by is By.ALL else scaling.count)
    if zeros is not None:
        size = entry.grid.format.size
        found = np.frombuffer(data(zeros, size * scaling.count), dtype=np.uint8)
        with np.errstate(invalid="ignore", over="ignore"):
            offsets = -entry.grid.format.unpack(found.reshape(-1, size))[0].ravel() * scales
    return Lines(scaling=scaling, scales=scales, offsets=offsets)
