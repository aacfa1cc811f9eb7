"""How likely each symbol is: counts of what came before, on top of what is expected at first.

A family is a kind of symbol with a table per context. All in whole numbers, so that every machine
has the same tables. Nothing of it travels: reader and writer learn the same from what they share.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from edgeloop.delta import magnitudes
from edgeloop.delta.rans import TOTAL

if TYPE_CHECKING:
    from edgeloop.types import Array

SEEN = 256  # what a symbol that was seen once weighs
EXPECTED = 512  # what all symbols of a table weigh before any was seen
BESIDE = 8  # a symbol of the next size weighs this times less
MOST = 1 << 16  # symbols that a table remembers before it halves its counts
FIRST_BLOCK, LARGEST_BLOCK = 256, 1 << 16


@dataclass(frozen=True, kw_only=True)
class Family:
    """``sizes`` by expected magnitude, half an octave each, and ``variants`` within a size.

    A magnitude of 1 is expected in size ``one``. Symbol ``symbols - 1`` is the escape.
    """

    symbols: int
    sizes: int
    variants: int
    one: int
    signed: bool  # symbols are zigzag; else magnitudes, whose sign is told beside them
    octaves: bool = True  # symbols are buckets of magnitudes; else plain numbers

    @property
    def escape(self) -> int:
        """The symbol for what has no width in its table."""
        return self.symbols - 1


LEVELS = Family(symbols=82, sizes=40, variants=8, one=18, signed=True)
ULPS = Family(symbols=158, sizes=72, variants=1, one=8, signed=False)
DIRECT = Family(symbols=82, sizes=24, variants=1, one=4, signed=True)
TOPS = Family(symbols=252, sizes=1, variants=1, one=5, signed=False, octaves=False)
SCALES = Family(symbols=82, sizes=1, variants=1, one=3, signed=True)
FACTORS = Family(symbols=82, sizes=24, variants=1, one=4, signed=True)
FAMILIES = (LEVELS, ULPS, DIRECT, TOPS, SCALES, FACTORS)


class Counts:
    """What was seen of one family."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.seen = 0
        shape = (family.sizes, family.variants, family.symbols)
        self.table = np.zeros(shape, dtype=np.int64)

    @property
    def block(self) -> int:
        """How many symbols are coded before the counts are looked at again.

        A call's last block may be shorter. So where calls begin and end, a tensor's chunks among
        them, is part of the format.
        """
        return min(max(FIRST_BLOCK, self.seen), LARGEST_BLOCK)

    def used(self, contexts: Array) -> tuple[Array, Array]:
        """The different ones of ``contexts``, in their order, and which of them each is."""
        there = np.zeros(self.family.sizes * self.family.variants, dtype=bool)
        there[contexts] = True
        found = np.flatnonzero(there)
        numbers = np.empty(len(there), dtype=np.int64)
        numbers[found] = np.arange(len(found))
        return found, numbers[contexts]

    def widths(self, contexts: Array) -> Array:
        """``int64[n, symbols]`` for contexts ``size * variants + variant``; rows add up to TOTAL.

        A symbol that is hardly expected has no width: it is coded by the escape, which has.
        """
        variants = self.family.variants
        sizes, variant = contexts // variants, contexts % variants
        weights = SEEN * self.table[sizes, variant]
        for beside in (sizes - 1, sizes + 1):
            there = (beside >= 0) & (beside < self.family.sizes)
            near = self.table[np.clip(beside, 0, self.family.sizes - 1), variant]
            weights = weights + np.where(there[:, None], SEEN // BESIDE * near, 0)
        weights = weights + first_weights(self.family)[sizes]
        widths = weights * (TOTAL - 1) // weights.sum(axis=1, keepdims=True)
        widths[:, self.family.escape] += 1
        rows = np.arange(len(widths))
        widths[rows, widths.argmax(axis=1)] += TOTAL - widths.sum(axis=1)
        found: Array = widths
        return found

    def saw(self, contexts: Array, symbols: Array) -> None:
        """Count a block that was coded."""
        flat = contexts.astype(np.int64) * self.family.symbols + symbols
        self.table += np.bincount(flat, minlength=self.table.size).reshape(self.table.shape)
        self.seen += len(symbols)
        full = self.table.sum(axis=2) > MOST
        self.table[full] >>= 1


@cache
def first_weights(family: Family) -> Array:
    """``int64[sizes, symbols]``: two-sided geometric, of each size's mean; EXPECTED in all."""
    return np.array([_geometric(family, at) for at in range(family.sizes)], dtype=np.int64)


def _geometric(family: Family, at: int) -> list[int]:
    """The weights of one size: how much of the distribution each symbol's magnitudes hold."""
    count = family.symbols - 1
    buckets = -(-(count + 1) // 2) if family.signed else count
    edges = magnitudes.edges(buckets) if family.octaves else list(range(buckets + 1))
    tails = [_power(_ratio(at - family.one), edge) for edge in edges]
    heights = [(tails[i] - tails[i + 1]) * EXPECTED >> 32 for i in range(buckets)]
    if family.signed:
        heights = [heights[0], *(height // 2 for height in heights[1:] for _ in range(2))]
    return [*(height + 1 for height in heights[:count]), 1]


def _ratio(half_octaves: int) -> int:
    """Of one magnitude's weight to that of the one before, in 2**-32: the mean is as told."""
    octave, half = divmod(half_octaves, 2)
    numerator, denominator = (181, 128) if half else (1, 1)
    numerator, denominator = numerator << max(octave, 0), denominator << max(-octave, 0)
    return (numerator << 32) // (numerator + denominator)


def _power(ratio: int, exponent: int) -> int:
    """``ratio ** exponent``, both numbers in units of 2**-32."""
    result, square = 1 << 32, ratio
    while exponent and result:
        if exponent & 1:
            result = result * square >> 32
        square = square * square >> 32
        exponent >>= 1
    return result
