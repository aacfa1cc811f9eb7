"""How often the new model answers otherwise than the one that devices run now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers.intervals import wilson
from edgeloop.checks.held_out import NO_ANSWERS, NO_ROWS, held_out, known
from edgeloop.checks.limits import at_most, not_measured
from edgeloop.plugins import register
from edgeloop.types import Finding, Verdict

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Model

FIRST = "first release on this channel: there is no current one to differ from"


@register("check", "disagreement.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Disagreement:
    """Mean disagreement of the answers, 0 to 1, at most ``max``.

    ``against`` is ``current``, the channel's newest release, or ``reference``, the recipe's own
    model. A first release passes without a value, for there is nothing that it could differ from.
    ``max`` None measures without a limit.
    """

    against: Literal["current", "reference"] = "current"
    max: Annotated[float, Field(ge=0, le=1)] | None = None

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)
    needs: ClassVar[tuple[str, ...]] = ("snapshot", "current", "reference")

    def run(self, model: Model, context: Context) -> Finding:
        """Value, Wilson interval, and the value of each population."""
        other = context.current if self.against == "current" else context.reference
        if other is None and self.against == "current":
            return Finding(check="disagreement", verdict=Verdict.PASS, reason=FIRST)
        if other is None:
            return not_measured("disagreement", "there is no reference model")
        if (other.answer, other.inputs) != (model.answer, model.inputs):
            reason = f"the {self.against} model has other inputs or another answer kind"
            return not_measured("disagreement", reason)
        rows = held_out(model, context)
        if not rows.rows:
            return not_measured("disagreement", NO_ROWS)
        differs = rows.kind.disagreement(rows.answers(model, context), rows.answers(other, context))
        both = known(differs)
        if not len(both):
            return not_measured("disagreement", NO_ANSWERS)
        value = float(both.mean())
        verdict, limit = at_most(value, self.max)
        return Finding(
            check="disagreement",
            verdict=verdict,
            value=value,
            limit=limit,
            interval=wilson(value, len(both)),
            evidence={
                "against": self.against,
                "rows": len(both),
                "profiles": rows.by_profile(differs),
            },
        )
