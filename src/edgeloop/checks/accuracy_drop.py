"""How much quality the passes cost: the released form against the recipe's own model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.checks.held_out import NO_ANSWERS, NO_ROWS, held_out, known
from edgeloop.checks.limits import at_most, not_measured
from edgeloop.checks.statistics import paired
from edgeloop.plugins import register
from edgeloop.types import Finding

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Model


@register("check", "accuracy_drop.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class AccuracyDrop:
    """Quality of the reference minus quality of the model on the same rows, at most ``max``.

    ``ABSOLUTE`` in parts of 1 (0.01 is one point of accuracy), ``RELATIVE`` as a share of the
    reference's quality. Negative when the model is better. ``max`` None measures without a limit.
    """

    max: Annotated[float, Field(ge=0, le=1)] | None = None
    kind: Literal["ABSOLUTE", "RELATIVE"] = "ABSOLUTE"

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)
    needs: ClassVar[tuple[str, ...]] = ("snapshot", "reference")

    def run(self, model: Model, context: Context) -> Finding:
        """Value, with the interval of the paired difference."""
        if context.reference is None:
            return not_measured("accuracy_drop", "there is no reference model")
        rows = held_out(model, context)
        if not rows.rows:
            return not_measured("accuracy_drop", NO_ROWS)
        mine = rows.kind.quality(rows.answers(model, context), rows.truth)
        theirs = rows.kind.quality(rows.answers(context.reference, context), rows.truth)
        lost = known(theirs - mine)
        if not len(lost):
            return not_measured("accuracy_drop", NO_ANSWERS)
        scale = 1.0 if self.kind == "ABSOLUTE" else float(known(theirs).mean())
        if scale == 0:
            return not_measured("accuracy_drop", "the reference is never right")
        value = float(lost.mean()) / scale
        low, high = paired(lost)
        verdict, limit = at_most(value, self.max)
        return Finding(
            check="accuracy_drop",
            verdict=verdict,
            value=value,
            limit=limit,
            interval=(low / scale, high / scale),
            evidence={
                "rows": len(lost),
                "kind": self.kind,
                "reference": float(known(theirs).mean()),
                "model": float(known(mine).mean()),
            },
        )
