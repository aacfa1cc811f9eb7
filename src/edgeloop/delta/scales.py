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
    """The scales that count for an entry's rows or columns, from that of the first line on.

    ``scales`` is ``float32[n]``; ``zeros`` is ``uint8[n, bytes of a level]``. They stay as they lie
    in the file, for there may be very many.
    """

    entry: Entry
    scaling: Scaling
    scales: Array
    zeros: Array | None

    def of(self, rows: slice) -> Affine:
        """For some rows."""
        at = self._which(rows)
        with np.errstate(invalid="ignore"):  # signalling ones that are no numbers
            scale = self.scales[at].astype(np.float64)
        offset = np.zeros(1)
        if self.zeros is not None:
            with np.errstate(invalid="ignore", over="ignore"):
                offset = -self.entry.grid.format.unpack(self.zeros[at])[0].ravel() * scale
        shape = (1, -1) if self.scaling.by is By.COLUMN else (-1, 1)
        return Affine(scale=scale.reshape(shape), offset=offset.reshape(shape))

    def _which(self, rows: slice) -> Array:
        """Of the scales that are held."""
        told = self.scaling
        if told.by is By.ALL:
            return np.zeros(1, dtype=np.int64)
        by_row = told.by is By.ROW
        lines = np.arange(rows.start, rows.stop) if by_row else np.arange(self.entry.grid.blocks)
        at: Array = ((told.first + lines) // told.inner - told.first // told.inner) % told.count
        return at


def means(entry: Entry, old: Bytes, new: Bytes) -> Callable[[slice], Means]:
    """What the levels of some rows stand for, by the bytes of the old file and of the new one."""
    scaling = entry.scaling
    if scaling is None:
        return lambda _rows: Means()
    zeros = scaling.zeros or (None, None)
    before = _lines(entry, scaling, old, scaling.old, zeros[0])
    after = _lines(entry, scaling, new, scaling.new, zeros[1])
    return lambda rows: Means(old=before.of(rows), new=after.of(rows))


def _lines(entry: Entry, scaling: Scaling, data: Bytes, at: int, zeros: int | None) -> Lines:
    scales = np.frombuffer(_used(entry, scaling, data, at, 4), dtype="<f4")
    found = None
    if zeros is not None:
        size = entry.grid.format.size
        raw = _used(entry, scaling, data, zeros, size)
        found = np.frombuffer(raw, dtype=np.uint8).reshape(-1, size)
    return Lines(entry=entry, scaling=scaling, scales=scales, zeros=found)


def _used(entry: Entry, scaling: Scaling, data: Bytes, at: int, size: int) -> bytes:
    """Those that count for the entry, each of so many bytes; behind the last comes the first."""
    lines = entry.grid.blocks if scaling.by is By.COLUMN else entry.grid.rows
    first, last = scaling.first // scaling.inner, (scaling.first + lines - 1) // scaling.inner
    count = min(last - first + 1, scaling.count)
    first %= scaling.count
    ahead = min(count, scaling.count - first)
    return data(at + size * first, size * ahead) + data(at, size * (count - ahead))
