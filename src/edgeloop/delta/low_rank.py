"""A change of a matrix as the product of two thin ones: ``change ~ left @ right.T``.

What a network learns of little data moves a layer along few directions. The factors are whole
numbers, and so is their product: exact, in whatever order a machine adds it up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgeloop.delta.activity import half_octaves
from edgeloop.delta.coder import signed
from edgeloop.delta.families import FACTORS, SCALES

if TYPE_CHECKING:
    from edgeloop.delta.coder import Coder
    from edgeloop.types import Array

LARGEST_CHANGE = 1e30  # of which squares are summed up
LARGEST = 1 << 20  # of a factor's numbers: a product of them, summed up, stays below 2**53


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """``left @ right.T * 2**exponent``."""

    left: Array  # int64[rows, rank]
    right: Array  # int64[columns, rank]
    exponent: int

    def of_rows(self, first: int, last: int) -> Array:
        """``float64[last - first, columns]``."""
        part = self.left[first:last].astype(np.float64) @ self.right.T.astype(np.float64)
        return np.ldexp(part, self.exponent)


def fit(change: Array, ranks: tuple[int, ...]) -> list[LowRank]:
    """The best of each rank, with steps so fine that they cost less than they save.

    ``change`` is ``float64[rows, columns]``.
    """
    if not ranks or not np.abs(change).max(initial=0) < LARGEST_CHANGE:
        return []  # NaN among them
    left, sizes, right = _decomposed(change, max(ranks))
    found = []
    for rank in ranks:
        noise = max(float((change**2).sum() - (sizes[:rank] ** 2).sum()), 1e-30) / change.size
        with np.errstate(all="ignore"):  # factors that grow too large are left out
            found.append(_rounded(left[:, :rank], sizes[:rank], right[:, :rank], noise))
    return [one for one in found if one is not None]


def coded(
    coder: Coder, shape: tuple[int, int], rank: int, exponent: int, given: LowRank | None
) -> LowRank:
    """Write or read the factors."""
    left = _factor(coder, shape[0], rank, None if given is None else given.left)
    right = _factor(coder, shape[1], rank, None if given is None else given.right)
    return LowRank(left=left, right=right, exponent=exponent)


def _factor(coder: Coder, length: int, rank: int, given: Array | None) -> Array:
    """Each column with a scale of its own and a shift that all its numbers share."""
    sizes = shifts = numbers = None
    if given is not None:
        shifts = _shared_zeros(given)
        numbers = given >> shifts
        sizes = half_octaves(np.abs(numbers).mean(axis=0))
        sizes = np.clip(sizes, -FACTORS.one, None)
    zeros = np.zeros(rank, dtype=np.int64)
    shifts = signed(coder, SCALES, zeros, shifts)
    sizes = signed(coder, SCALES, zeros, sizes)
    sizes = np.clip(sizes + FACTORS.one, 0, FACTORS.sizes - 1)
    contexts = np.broadcast_to(sizes[:, None], (rank, length)).ravel()
    told = None if numbers is None else numbers.T.ravel()
    found = signed(coder, FACTORS, contexts, told).reshape(rank, length).T
    shifted: Array = found << np.clip(shifts, 0, 40)
    return shifted


def _shared_zeros(numbers: Array) -> Array:
    """``int64[rank]``: how many low bits are 0 in all of a column."""
    every = np.bitwise_or.reduce(np.abs(numbers), axis=0)
    lowest = np.where(every > 0, every & -every, 1)
    return np.rint(np.log2(lowest)).astype(np.int64)


def _rounded(left: Array, sizes: Array, right: Array, noise: float) -> LowRank | None:
    """Factors in steps whose error is a small share of the ``noise`` that stays anyway."""
    rows, columns, rank = len(left), len(right), len(sizes)
    share = min(0.3, (rows + columns) * rank / (2 * rows * columns))
    step = np.floor(np.log2(np.sqrt(12 * share * noise * columns / rank)))
    steps = np.floor(np.log2(np.sqrt(12 * share * noise * rows / rank) / np.maximum(sizes, 1e-300)))
    finest = steps.min()
    whole, other = np.rint(left * sizes / 2.0**step), np.rint(right / 2.0**steps)
    shifts = steps - finest
    if not max(np.abs(whole).max(), np.abs(other * 2.0**shifts).max()) < LARGEST:
        return None
    return LowRank(
        left=whole.astype(np.int64),
        right=other.astype(np.int64) << shifts.astype(np.int64),
        exponent=int(step + finest),
    )


def _decomposed(change: Array, rank: int) -> tuple[Array, Array, Array]:
    """The largest singular triplets: left ``[rows, rank]``, sizes, right ``[columns, rank]``.

    Halko, Martinsson and Tropp, "Finding structure with randomness" (arXiv:0909.4061).
    """
    rank = min(rank, *change.shape)
    tested = np.random.default_rng(0).standard_normal(
        (change.shape[1], min(rank + 8, *change.shape))
    )
    basis = np.linalg.qr(change @ tested)[0]
    for _ in range(2):
        basis = np.linalg.qr(change @ (change.T @ basis))[0]
    inner, sizes, right = np.linalg.svd(basis.T @ change, full_matrices=False)
    return (basis @ inner)[:, :rank], sizes[:rank], right[:rank].T
