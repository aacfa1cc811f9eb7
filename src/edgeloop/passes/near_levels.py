"""Choose a weight's levels near those of the release: what a move costs in bits against in error.

The price of a move is what the delta codec asks: it knows how much each row and each column of a
tensor moves, so a move is cheap among others and dear where all else stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeloop.types import Array

SCALE_BITS = 20  # of a float32 number that is another one than before
SWEEPS = 3  # prices follow from moves and moves from prices
STAYS = 1.0  # steps from its old level, on a scale that is nearly right
RAREST, MOST = 1e-4, 0.9  # of the share of weights that move, where a price is made of it


@dataclass(frozen=True, kw_only=True)
class Levels:
    """``levels`` int64[rows, columns] times ``scales`` float64[rows] are the weights."""

    levels: Array
    scales: Array

    def real(self) -> Array:
        """float64[rows, columns]."""
        weights: Array = self.levels * self.scales[:, None]
        return weights


def near(weights: Array, old: Levels, importance: Array, *, rate: float, most: int) -> Levels:
    """Levels from ``-most`` to ``most`` for ``weights``, float64[rows, columns].

    ``importance`` is the mean square of what each weight is multiplied by, float64[rows, columns]
    or [1, columns]. ``rate`` is the share of a mean row's energy that saving a bit may cost; with
    0 every weight takes the level that is nearest. A row keeps its old scale where another would
    not be worth its bits.
    """
    import numpy as np

    energy = float((importance * weights**2).sum(axis=1).mean()) or 1.0
    found = Levels(levels=np.zeros_like(old.levels), scales=old.scales.copy())
    costs = np.full(len(weights), np.inf)
    for scales in (old.scales, _stretched(weights, old), _fresh(weights, most)):
        tried = _for_scales(weights, old, scales, importance, rate * energy, most)
        error = (importance * (weights - tried.real()) ** 2).sum(axis=1)
        bits = _bits(tried.levels - old.levels).sum(axis=1) + SCALE_BITS * (scales != old.scales)
        better = error + rate * energy * bits < costs
        costs = np.where(better, error + rate * energy * bits, costs)
        found = Levels(
            levels=np.where(better[:, None], tried.levels, found.levels),
            scales=np.where(better, scales, found.scales),
        )
    return found


def _for_scales(
    weights: Array, old: Levels, scales: Array, importance: Array, price: float, most: int
) -> Levels:
    """The cheapest level of each weight: the old one, the nearest, or the one before it."""
    import numpy as np

    exact = weights / scales[:, None]
    nearest = np.clip(np.rint(exact), -most, most)
    before = nearest - np.sign(nearest - old.levels)
    tried = [old.levels.astype(np.float64), before, nearest]
    errors = [importance * ((exact - one) * scales[:, None]) ** 2 for one in tried]
    levels = nearest
    for _ in range(SWEEPS):
        stay, move = _prices(levels != old.levels)
        steps = [np.abs(one - old.levels) for one in tried]
        bits = [np.where(s > 0, move + 2 * np.log2(np.maximum(s, 1)), stay) for s in steps]
        costs = [error + price * b for error, b in zip(errors, bits, strict=True)]
        levels = np.choose(np.argmin(costs[::-1], axis=0), tried[::-1])  # of equals the nearest
    return Levels(levels=levels.astype(np.int64), scales=scales)


def _bits(moves: Array) -> Array:
    """About what the codec takes for each move, by how much its row and its column move."""
    import numpy as np

    stay, move = _prices(moves != 0)
    bits: Array = np.where(moves != 0, move + 2 * np.log2(np.maximum(np.abs(moves), 1)), stay)
    return bits


def _prices(moved: Array) -> tuple[Array, Array]:
    """Bits of staying and of moving by one, float64[rows, columns]."""
    import numpy as np

    mean = moved.mean() + RAREST
    rows = (moved.mean(axis=1, keepdims=True) + mean / 10) / (1.1 * mean)
    columns = (moved.mean(axis=0, keepdims=True) + mean / 10) / (1.1 * mean)
    share = np.clip(mean * rows * columns, RAREST, MOST)
    return -np.log2(1 - share), 1 - np.log2(share)  # and a sign


def _stretched(weights: Array, old: Levels) -> Array:
    """The scales on which most weights have their old level: normalization has moved.

    First by the median of a row's large weights, then by the mean of those that stay.
    """
    import numpy as np

    sizes = np.abs(old.levels)
    large = (sizes > 0) & (sizes >= np.median(sizes, axis=1, keepdims=True))
    ratios = np.where(large, weights / np.where(large, old.levels, 1), np.nan)
    scales = np.nanmedian(np.where(large.any(axis=1, keepdims=True), ratios, 1.0), axis=1)
    scales = np.where(scales > 0, scales, old.scales)
    stays = np.abs(weights / scales[:, None] - old.levels) < STAYS
    energy = (stays * old.levels**2).sum(axis=1)
    exact = (stays * weights * old.levels).sum(axis=1) / np.maximum(energy, 1)
    return np.where(exact > 0, exact, scales)


def _fresh(weights: Array, most: int) -> Array:
    """The scales that a release of its own would have."""
    import numpy as np

    largest = np.abs(weights).max(axis=1)
    return np.where(largest > 0, largest / most, 1.0)
