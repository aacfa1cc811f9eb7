"""Which of the training rows an epoch sees, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from edgeloop.types import Array


def chances(fresh: Array, share: float) -> Array | None:
    """float64[n]: rows where ``fresh`` make up ``share`` of what is drawn, however few they are.

    None where all rows are fresh, or none is: then each is drawn once.
    """
    import numpy as np

    if fresh.all() or not fresh.any():
        return None
    found: Array = np.where(fresh, share / fresh.sum(), (1 - share) / (~fresh).sum())
    return found


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """``count`` rows, each seen once per epoch; or so many drawn by ``chance``."""

    count: int
    chance: Array | None = None  # float64[n], sums to 1

    def batches(self, size: int) -> int:
        """How many batches an epoch has; a last batch of one row (no statistics) is left out."""
        whole, rest = divmod(self.count, size)
        return max(1, whole + (rest > 1))

    def places(self, size: int, generator: np.random.Generator) -> Iterator[Array]:
        """One epoch: the rows of each batch."""
        if self.chance is None:
            order = generator.permutation(self.count)
        else:
            order = generator.choice(self.count, self.count, p=self.chance)
        for number in range(self.batches(size)):
            yield order[number * size : (number + 1) * size]
