"""How far the answers are from the truth, against the seasonal naive forecast."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.checks.held_out import NO_ROWS, held_out, known
from edgeloop.checks.limits import at_most, not_measured
from edgeloop.checks.scaled import NO_NUMBERS, NOT_KNOWN, Numbers, mean_of_series
from edgeloop.plugins import register
from edgeloop.types import Finding

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Model


@register("check", "scaled_error.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ScaledError:
    """Mean absolute error in units of the answer kind's ``scale``, at most ``max``.

    With the seasonal naive forecast's error as the scale this is the mean absolute scaled error
    (Hyndman and Koehler, IJF 22, 2006): below 1 is better than "as a season ago". ``max`` None
    measures without a limit.
    """

    max: Annotated[float, Field(gt=0)] | None = None

    libraries: ClassVar[tuple[str, ...]] = ("numpy", "onnxruntime")
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)

    def run(self, model: Model, context: Context) -> Finding:
        """Value, its interval, each population's value, and the answer kind's own evidence."""
        rows = held_out(model, context)
        if not isinstance(rows.kind, Numbers):
            return not_measured("scaled_error", NO_NUMBERS)
        if not rows.rows:
            return not_measured("scaled_error", NO_ROWS)
        answers = rows.answers(model, context)
        errors = rows.kind.errors(answers, rows.truth)
        told = known(errors)
        if not len(told):
            return not_measured("scaled_error", NOT_KNOWN)
        value, interval = mean_of_series(told)
        verdict, limit = at_most(value, self.max)
        return Finding(
            check="scaled_error",
            verdict=verdict,
            value=value,
            limit=limit,
            interval=interval if math.isfinite(interval[0]) else None,
            evidence={
                **rows.kind.evidence(answers, rows.truth),
                "rows": len(told),
                "without": rows.rows - len(told),
                "profiles": rows.by_profile(errors),
            },
        )
