"""How precise the boxes of a detector are at every recall, averaged over the classes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers.boxes import Boxes
from edgeloop.checks.held_out import NO_ROWS, held_out
from edgeloop.checks.limits import at_least, not_measured
from edgeloop.plugins import register
from edgeloop.types import Finding

if TYPE_CHECKING:
    from edgeloop.answers.average_precision import Judged
    from edgeloop.plugins import Context
    from edgeloop.types import Model


@register("check", "mean_average_precision.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class MeanAveragePrecision:
    """Mean over the classes of the area under precision and recall, 0 to 1, at least ``min``.

    Of the boxes that are given, so those below the answer kind's ``score`` do not add to it; a hit
    overlaps a true box of its class by the kind's ``iou`` or more. The interval is of ``draws``
    bootstraps over images, with the step's seed. ``min`` None measures without a limit.
    """

    min: Annotated[float, Field(ge=0, le=1)] | None = None
    draws: Annotated[int, Field(ge=20, le=10_000)] = 200

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)

    def run(self, model: Model, context: Context) -> Finding:
        """Value with its interval, and the average precision of each class that there is."""
        name = "mean_average_precision"
        rows = held_out(model, context)
        if not isinstance(rows.kind, Boxes):
            return not_measured(name, "the answers are no boxes")
        if not rows.rows:
            return not_measured(name, NO_ROWS)
        judged = rows.kind.judged(rows.answers(model, context), rows.truth)
        value = judged.mean()
        if math.isnan(value):
            return not_measured(name, "no held-out row has a box")
        verdict, limit = at_least(value, self.min)
        found = zip(rows.kind.classes, judged.precisions().tolist(), strict=True)
        return Finding(
            check=name,
            verdict=verdict,
            value=value,
            limit=limit,
            interval=self._interval(judged, context.seed),
            evidence={
                "rows": rows.rows,
                "boxes": int(judged.truths.sum()),
                "classes": {label: part for label, part in found if not math.isnan(part)},
            },
        )

    def _interval(self, judged: Judged, seed: int) -> tuple[float, float]:
        """From the 2.5th to the 97.5th percentile of draws with replacement."""
        import numpy as np

        generator = np.random.default_rng(seed)
        images = len(judged.truths)
        values = [
            judged.mean(generator.multinomial(images, np.full(images, 1 / images)))
            for _ in range(self.draws)
        ]
        low, high = np.nanpercentile(values, (2.5, 97.5))
        return float(low), float(high)
