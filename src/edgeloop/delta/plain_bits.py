"""Bits that no model shortens, packed one after the other, the lowest bit of a byte first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeloop.errors import DeltaError

if TYPE_CHECKING:
    from edgeloop.types import Array

WIDEST = 40


def pack(numbers: Array, lengths: Array) -> bytes:
    """``lengths[i]`` bits of ``numbers[i]``, both ``int64[n]``; the last byte is filled with 0."""
    planes = np.arange(WIDEST if len(lengths) == 0 else int(lengths.max(initial=0)))
    bits = (numbers[:, None] >> planes) & 1
    used = planes < lengths[:, None]
    return np.packbits(bits[used].astype(np.uint8), bitorder="little").tobytes()


class BitReader:
    """Reads what :func:`pack` wrote."""

    def __init__(self, data: bytes, place: int = 0) -> None:
        self._data = np.frombuffer(data, dtype=np.uint8)
        self.place = place  # in bits

    def read(self, lengths: Array) -> Array:
        """``int64[n]`` numbers of ``lengths[i]`` bits each.

        Raises:
            DeltaError: the bits end too early.
        """
        count = int(lengths.sum())
        first, last = self.place // 8, -(-(self.place + count) // 8)
        if last > len(self._data):
            raise _broken("must hold as many plain bits as its symbols take")
        bits = np.unpackbits(self._data[first:last], bitorder="little")[self.place % 8 :]
        self.place += count
        return _join(bits[:count], lengths)

    def finish(self) -> None:
        """Check that everything was read, and that what fills the last byte is 0.

        Raises:
            DeltaError: it is not so.
        """
        left = 8 * len(self._data) - self.place
        if left >= 8 or (left and self._data[-1] >> (8 - left)):
            raise _broken("must end where its plain bits end")


def _join(bits: Array, lengths: Array) -> Array:
    """Sum up each number's bits."""
    ends = np.cumsum(lengths)
    places = np.arange(len(bits)) - np.repeat(ends - lengths, lengths)
    sums = np.concatenate([[0], np.cumsum(bits.astype(np.int64) << places)])
    numbers: Array = sums[ends] - sums[ends - lengths]
    return numbers


def _broken(rule: str) -> DeltaError:
    return DeltaError("delta", rule, todo="Fetch it again")
