"""Integers of any size as a symbol of a small alphabet and a few plain bits.

Magnitudes below 8 have a symbol each; above, each octave has four (as a floating-point number with
two bits of mantissa), and what is below those bits is plain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgeloop.types import Array

EXACT = 8  # magnitudes below have a symbol of their own
LONGEST = 40  # bits of a magnitude
BUCKETS = EXACT + (LONGEST - 3) * 4


def split(magnitudes: Array) -> tuple[Array, Array, Array]:
    """``int64[n]`` magnitudes as bucket, how many plain bits follow, and these bits."""
    exponents = np.maximum(_floor_log2(magnitudes), 2)
    lengths = np.maximum(exponents - 2, 0)
    tops = magnitudes >> lengths  # 4 to 7 from EXACT on
    buckets = np.where(magnitudes < EXACT, magnitudes, EXACT + (exponents - 3) * 4 + (tops & 3))
    lengths = np.where(magnitudes < EXACT, 0, lengths)
    return buckets, lengths, magnitudes & ((1 << lengths) - 1)


def lengths(buckets: Array) -> Array:
    """How many plain bits follow each bucket."""
    found: Array = np.maximum((buckets - EXACT) // 4 + 1, 0)
    return found


def join(buckets: Array, bits: Array) -> Array:
    """The inverse of :func:`split`."""
    tops = np.where(buckets < EXACT, buckets, 4 + ((buckets - EXACT) & 3))
    whole: Array = (tops << lengths(buckets)) + bits
    return whole


def edges(count: int) -> list[int]:
    """The least magnitude of each of the first ``count`` buckets, and of the next."""
    buckets = np.arange(count + 1)
    return [int(edge) for edge in join(buckets, np.zeros_like(buckets))]


def zigzag(numbers: Array) -> Array:
    """0, 1, -1, 2, -2 ... as 0, 1, 2, 3, 4 ..."""
    return np.where(numbers > 0, 2 * numbers - 1, -2 * numbers)


def unzigzag(numbers: Array) -> Array:
    """The inverse of :func:`zigzag`."""
    return np.where(numbers & 1, (numbers + 1) >> 1, -(numbers >> 1))


def _floor_log2(magnitudes: Array) -> Array:
    """``int64``; exact below 2**52. Zero gives a number below 0."""
    return np.frexp(magnitudes.astype(np.float64))[1].astype(np.int64) - 1
