"""Average precision of boxes by class: the area under precision over recall, at every recall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from edgeloop.answers.matching import matched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeloop.answers.matching import Boxes
    from edgeloop.types import Array


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Every box that was given on ``images`` images, best score first, held against the truth."""

    image: Array  # int64[m]: where each box was given
    label: Array  # int64[m]: its class
    hit: Array  # bool[m]: a true box of this class is paired with it
    truths: Array  # int64[images, classes]: true boxes

    @classmethod
    def of(
        cls, given: Sequence[Boxes], truth: Sequence[Boxes], *, classes: int, overlap: float
    ) -> Self:
        """One entry per image in both; a hit overlaps a true box by ``overlap`` or more."""
        import numpy as np

        hits, truths = [], np.zeros((len(truth), classes), dtype=np.int64)
        for image, (boxes, true) in enumerate(zip(given, truth, strict=True)):
            hit = np.zeros(len(boxes), dtype=bool)
            hit[[pair.one for pair in matched(boxes, true, overlap, ranked=True)]] = True
            hits.append(hit)
            truths[image] = np.bincount(true.classes, minlength=classes)
        order = np.argsort(-_joined([boxes.ranks for boxes in given], np.float64), kind="stable")
        return cls(
            image=np.repeat(np.arange(len(given)), [len(boxes) for boxes in given])[order],
            label=_joined([boxes.classes for boxes in given], np.int64)[order],
            hit=_joined(hits, bool)[order],
            truths=truths,
        )

    def precisions(self, weights: Array | None = None) -> Array:
        """float64[classes]: average precision 0..1; NaN for a class of which there is no true box.

        ``weights`` (int64[images]) counts each image so often: a bootstrap's draw.
        """
        import numpy as np

        often = np.ones(len(self.truths), dtype=np.int64) if weights is None else weights
        wanted = often @ self.truths
        found = np.full(len(wanted), np.nan)
        for label in np.flatnonzero(wanted):
            own = self.label == label
            found[label] = _area(self.hit[own], often[self.image[own]], int(wanted[label]))
        return found

    def mean(self, weights: Array | None = None) -> float:
        """The mean over the classes that there are, 0..1; NaN without any true box."""
        import numpy as np

        found = self.precisions(weights)
        return float(np.nanmean(found)) if not np.isnan(found).all() else float("nan")


def _area(hit: Array, often: Array, wanted: int) -> float:
    """Area under the curve, where each precision is the best at its recall or beyond."""
    import numpy as np

    hits, given = np.cumsum(hit * often), np.cumsum(often)
    precision = np.divide(hits, given, out=np.zeros(len(hits)), where=given > 0)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(hits, prepend=0) * best).sum() / wanted)


def _joined(parts: Sequence[Array], kind: type) -> Array:
    import numpy as np

    return np.concatenate([np.zeros(0, dtype=kind), *parts])
