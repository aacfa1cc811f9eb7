"""How good the answers are on rows that no training saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers.intervals import wilson
from edgeloop.checks.held_out import NO_ROWS, held_out
from edgeloop.checks.limits import at_least, not_measured
from edgeloop.plugins import register
from edgeloop.types import Finding

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Model


@register("check", "accuracy.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Accuracy:
    """Mean quality of the answers (for labels: the share that is right), 0 to 1, at least ``min``.

    ``min`` None measures without a limit.
    """

    min: Annotated[float, Field(ge=0, le=1)] | None = None

    libraries: ClassVar[tuple[str, ...]] = ("numpy", "onnxruntime")
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)

    def run(self, model: Model, context: Context) -> Finding:
        """Value, Wilson interval, each population's value, and the answer kind's own evidence."""
        rows = held_out(model, context)
        if not rows.rows:
            return not_measured("accuracy", NO_ROWS)
        answers = rows.answers(model, context)
        quality = rows.kind.quality(answers, rows.truth)
        value = float(quality.mean())
        verdict, limit = at_least(value, self.min)
        return Finding(
            check="accuracy",
            verdict=verdict,
            value=value,
            limit=limit,
            interval=wilson(value, rows.rows),
            evidence={
                **rows.kind.evidence(answers, rows.truth),
                "rows": rows.rows,
                "profiles": rows.by_profile(quality),
            },
        )
