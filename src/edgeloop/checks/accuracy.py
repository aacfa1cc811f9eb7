"""How good the answers are on rows that no training saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers.intervals import wilson
from edgeloop.checks.held_out import NO_ANSWERS, NO_ROWS, held_out, known
from edgeloop.checks.limits import at_least, not_measured
from edgeloop.plugins import register
from edgeloop.types import Finding

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Model

NAME = "accuracy"


@register("check", "accuracy.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Accuracy:
    """Mean quality of the answers by their kind, 0 to 1, at least ``min``.

    ``min`` None measures without a limit.
    """

    min: Annotated[float, Field(ge=0, le=1)] | None = None

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)
    paired_by: ClassVar[str] = "accuracy_drop"  # the same, against a reference on the same rows

    def run(self, model: Model, context: Context) -> Finding:
        """Value, Wilson interval, each population's value, and the answer kind's own evidence."""
        rows = held_out(model, context)
        if not rows.rows:
            return not_measured(NAME, NO_ROWS)
        answers = rows.answers(model, context)
        quality = rows.kind.quality(answers, rows.truth)
        answered = known(quality)
        if not len(answered):
            return not_measured(NAME, NO_ANSWERS)
        value = float(answered.mean())
        verdict, limit = at_least(value, self.min)
        return Finding(
            check=NAME,
            verdict=verdict,
            value=value,
            unit="" if rows.kind.quality_name == NAME else rows.kind.quality_name,
            limit=limit,
            interval=wilson(value, len(answered)),
            evidence={
                **rows.kind.evidence(answers, rows.truth),
                "rows": len(answered),
                "profiles": rows.by_profile(quality),
            },
        )
