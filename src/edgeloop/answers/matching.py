"""Which of two sets of boxes mean the same thing: equal class, and enough of one upon the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeloop.types import Array


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """The boxes of one image: ``corners`` float[m, 4] as left, top, right, bottom in pixels.

    ``scores`` float[m] is the best first; boxes that are the truth have none.
    """

    corners: Array
    classes: Array  # int64[m]
    scores: Array | None = None

    def __len__(self) -> int:
        return len(self.corners)

    @property
    def ranks(self) -> Array:
        """float64[m]: the scores; 1 of boxes that are the truth."""
        import numpy as np

        known = np.ones(len(self)) if self.scores is None else self.scores
        numbers: Array = known.astype(np.float64)
        return numbers

    @property
    def sides(self) -> Array:
        """float64[m]: the side of a square as large as the box, in pixels."""
        import numpy as np

        lengths: Array = np.sqrt(_area(self.corners.astype(np.float64)))
        return lengths


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A box of the one set that is a box of the other, and how much they overlap (0 to 1)."""

    one: int
    other: int
    overlap: float


def overlaps(one: Array, other: Array) -> Array:
    """float64[m, k]: area that two boxes share, as part of the area that they cover together."""
    import numpy as np

    mine, theirs = one.astype(np.float64)[:, None], other.astype(np.float64)[None]
    edges = np.minimum(mine[..., 2:], theirs[..., 2:]) - np.maximum(mine[..., :2], theirs[..., :2])
    shared = np.clip(edges, 0, None).prod(axis=-1)
    covered = _area(mine) + _area(theirs) - shared
    parts: Array = np.divide(shared, covered, out=np.zeros_like(shared), where=covered > 0)
    return parts


def _area(corners: Array) -> Array:
    area: Array = (corners[..., 2:] - corners[..., :2]).clip(0).prod(axis=-1)
    return area


def matched(
    one: Boxes, other: Boxes, least: float, *, ranked: bool = False, any_class: bool = False
) -> list[Pair]:
    """Pairs that overlap by ``least`` or more, each box in one pair at the most.

    The pair that overlaps most is taken first, so that the order of the two sets does not matter.
    With ``ranked`` the boxes of ``one`` choose in their order instead, as the truth is given out
    for a precision (M. Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 88,
    2010). ``any_class`` pairs boxes of unlike classes too.
    """
    import numpy as np

    parts = overlaps(one.corners, other.corners)
    fits = parts >= least
    if not any_class:
        fits &= one.classes[:, None] == other.classes[None]
    rows, columns = np.nonzero(fits)
    parts = parts[rows, columns]
    order = np.lexsort((columns, -parts, rows) if ranked else (columns, rows, -parts))
    pairs: dict[int, Pair] = {}
    taken: set[int] = set()
    for place in order:
        mine, theirs = int(rows[place]), int(columns[place])
        if mine not in pairs and theirs not in taken:
            pairs[mine] = Pair(one=mine, other=theirs, overlap=float(parts[place]))
            taken.add(theirs)
    return list(pairs.values())


def agreement(one: Boxes, other: Boxes, least: float) -> float:
    """F1 of two sets of boxes, 0 to 1: pairs, as part of the mean number; two empty sets agree."""
    count = len(one) + len(other)
    return 2 * len(matched(one, other, least)) / count if count else 1.0
