"""Bits that no model shortens, packed one after the other, the lowest bit of a byte first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeloop.errors import DeltaError

if TYPE_CHECKING:
    from edgeloop.delta.sections import Window
    from edgeloop.types import Array

WIDEST = 40
WORD = 8  # bytes that hold any number, wherever in its first byte it begins


def pack(numbers: Array, lengths: Array) -> bytes:
    """``lengths[i]`` bits of ``numbers[i]``, both ``int64[n]``; the last byte is filled with 0."""
    planes = np.arange(WIDEST if len(lengths) == 0 else int(lengths.max(initial=0)))
    bits = (numbers[:, None] >> planes) & 1
    used = planes < lengths[:, None]
    return np.packbits(bits[used].astype(np.uint8), bitorder="little").tobytes()


class BitReader:
    """Reads what :func:`pack` wrote. ``used`` bits of the next byte were read."""

    def __init__(self, data: Window, used: int = 0) -> None:
        self.data, self.used = data, used

    def read(self, lengths: Array) -> Array:
        """``int64[n]`` numbers of ``lengths[i]`` bits each.

        Raises:
            DeltaError: a number is too long, or the bits end too early.
        """
        if int(lengths.max(initial=0)) > WIDEST:
            raise _broken(f"must have numbers of at most {WIDEST} plain bits")
        ends = self.used + np.cumsum(lengths)
        end = int(ends[-1]) if len(ends) else self.used
        found = self.data.peek(-(-end // 8))
        if 8 * len(found) < end:
            raise _broken("must hold as many plain bits as its symbols take")
        numbers = _picked(found, ends - lengths, lengths)
        self.data.take(end // 8)
        self.used = end % 8
        return numbers

    def finish(self) -> None:
        """Check that everything was read, and that what fills the last byte is 0.

        Raises:
            DeltaError: it is not so.
        """
        if self.data.left != bool(self.used) or (self.used and self.data.take(1)[0] >> self.used):
            raise _broken("must end where its plain bits end")


def _picked(data: bytes, starts: Array, lengths: Array) -> Array:
    """The numbers that begin at the given bits: each out of the word that begins at its byte."""
    padded = data + bytes(WORD)
    words: Array = np.ndarray((len(data) + 1,), dtype="<i8", buffer=padded, strides=(1,))
    numbers: Array = (words[starts >> 3] >> (starts & 7)) & ((1 << lengths) - 1)
    return numbers


def _broken(rule: str) -> DeltaError:
    return DeltaError("delta", rule, todo="Fetch it again")
