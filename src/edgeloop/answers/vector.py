"""The answer kind ``vector``: a place in a space where near means alike (an embedding)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.plugins import register

if TYPE_CHECKING:
    from edgeloop.types import Array, Arrays, Json

DIRECTIONS = 4  # fixed ones on which devices sketch where answers point
BARS = 10  # of the picture of how near answers are to the truth


@register("answer", "vector.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Vector:
    """``vector`` float32[n, size]; a row of NaN where there is no answer.

    Only the direction counts: two vectors are as alike as the cosine between them. A vector of
    zeros points nowhere: it is like another such, and the cosine with all others counts as 0.
    """

    size: Annotated[int, Field(ge=2, le=65536)]

    outputs: ClassVar[tuple[str, ...]] = ("vector",)
    quality_name: ClassVar[str] = "nearness"

    def parity(self, got: Arrays, want: Arrays, tolerance: float) -> Array:
        """bool[n]: 1 - cosine is ``tolerance`` at the most; no answer equals no answer."""
        import numpy as np

        mine, theirs = (np.isnan(side["vector"]).any(axis=1) for side in (got, want))
        near = _gap(got["vector"], want["vector"]) <= tolerance
        same: Array = np.where(mine | theirs, mine & theirs, near)
        return same

    def disagreement(self, one: Arrays, other: Arrays) -> Array:
        """float64[n] in 0..1: (1 - cosine) / 2; 0.5 is "nothing to do with each other"."""
        return _gap(one["vector"], other["vector"]) / 2

    def claims(self, answers: Arrays) -> dict[str, Array]:
        """``length`` float64[n] in 0..1: l / (1 + l) of a vector's length l.

        A vector says nothing of how sure it is. Its length is what it does say; where the graph
        makes all lengths 1, it is 0.5 always, and probation has disagreement and errors to go by.
        """
        lengths = _lengths(answers["vector"])
        return {"length": lengths / (1 + lengths)}

    def quality(self, answers: Arrays, truth: Array) -> Array:
        """float64[n] in 0..1: (1 + cosine) / 2 of answer and truth."""
        return 1 - _gap(answers["vector"], truth) / 2

    def strata(self, truth: Array) -> dict[str, Array]:  # noqa: ARG002
        """None are known."""
        return {}

    def evidence(self, answers: Arrays, truth: Array) -> Json:
        """A picture of how near answers are to the truth: rows by their quality."""
        import numpy as np

        found = self.quality(answers, truth)
        counts, edges = np.histogram(found[~np.isnan(found)], bins=BARS, range=(0, 1))
        bars = {
            "kind": "bars",
            "title": "nearness to the truth, (1 + cosine) / 2",
            "names": [f"{low:.1f} to {high:.1f}" for low, high in pairwise(edges)],
            "values": counts.tolist(),
            "unit": "rows",
        }
        return {"pictures": [bars]}

    def features(self, answers: Arrays) -> dict[str, Array]:
        """float64[n] each: the length, and the cosine with each of a few fixed directions."""
        import numpy as np

        fixed = np.random.default_rng(0).normal(size=(DIRECTIONS, self.size))
        vectors = answers["vector"].astype(np.float64)
        points = {
            f"answer.direction{number}": 1 - _gap(vectors, np.broadcast_to(one, vectors.shape))
            for number, one in enumerate(fixed)
        }
        return {"answer.length": _lengths(vectors), **points}

    def describe(self, answers: Arrays, row: int) -> Json:
        """One answer as an application reads it; null in place of numbers when there is none."""
        import numpy as np

        vector = answers["vector"][row]
        return {"vector": [None if np.isnan(one) else float(one) for one in vector]}

    def truth(self, stated: Json) -> list[float]:
        """A vector that a person confirmed, as a target value.

        Raises:
            ValueError: it is not a list of ``size`` finite numbers, of which one is not 0.
        """
        import numpy as np

        try:
            values = np.array(stated, dtype=np.float64)
        except (TypeError, ValueError) as fault:
            raise ValueError(f"must be {self.size} numbers") from fault
        if values.shape != (self.size,):
            raise ValueError(f"must be {self.size} numbers, got {list(values.shape)}")
        self.check_truth(values[None])
        found: list[float] = values.tolist()
        return found

    def check_truth(self, truth: Array) -> None:
        """Return when a target column holds one vector per row that points somewhere.

        Raises:
            ValueError: it does not; the rule and what was got.
        """
        import numpy as np

        if truth.dtype.kind != "f" or truth.shape[1:] != (self.size,):
            raise ValueError(
                f"must hold {self.size} floats per row, got {truth.dtype}{list(truth.shape)}"
            )
        bad = ~np.isfinite(truth).all(axis=1) | ~truth.any(axis=1)
        if bad.any():
            raise ValueError(
                f"must hold finite numbers, of which one is not 0, got {int(bad.sum())} other rows"
            )

    def tally(self, truth: Array) -> Json:  # noqa: ARG002
        """Nothing: the figures of every number column say what there is to say."""
        return {}


def _lengths(vectors: Array) -> Array:
    """float64[n]."""
    import numpy as np

    found: Array = np.linalg.norm(vectors.astype(np.float64), axis=1)
    return found


def _gap(one: Array, other: Array) -> Array:
    """float64[n] in 0..2: 1 - cosine, exactly 0 of equal vectors; NaN where one has no answer."""
    import numpy as np

    mine, theirs = (_unit(side) for side in (one, other))
    nowhere = mine.any(axis=1) != theirs.any(axis=1)
    found: Array = np.where(nowhere, 1.0, ((mine - theirs) ** 2).sum(axis=1) / 2)
    return np.minimum(found, 2.0)


def _unit(vectors: Array) -> Array:
    """float64[n, size] of length 1, or of length 0."""
    import numpy as np

    lengths = _lengths(vectors)[:, None]
    found: Array = vectors.astype(np.float64) / np.where(lengths == 0, 1.0, lengths)
    return found
