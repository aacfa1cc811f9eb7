"""Whether intervals hold as many truths as they promise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers.intervals import wilson
from edgeloop.checks.held_out import NO_ROWS, held_out, known
from edgeloop.checks.limits import not_measured
from edgeloop.checks.scaled import NO_NUMBERS, NOT_KNOWN, Numbers
from edgeloop.plugins import register
from edgeloop.types import Finding, Verdict

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Model

NO_LEVEL = "the model's answers have no intervals"


@register("check", "coverage.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Coverage:
    """The share of truths in their intervals, at most ``within`` (0 to 1) from the promised level.

    Too many is a fault as well as too few: an interval that holds everything says nothing.
    ``within`` None measures without a limit.
    """

    within: Annotated[float, Field(gt=0, lt=1)] | None = None

    libraries: ClassVar[tuple[str, ...]] = ("numpy", "onnxruntime")
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)

    def run(self, model: Model, context: Context) -> Finding:
        """Value, Wilson interval (a row counts once, whatever its horizons), each population's."""
        rows = held_out(model, context)
        if not isinstance(rows.kind, Numbers):
            return not_measured("coverage", NO_NUMBERS)
        level = model.answer.params.get("level")
        if level is None:
            return not_measured("coverage", NO_LEVEL)
        if not rows.rows:
            return not_measured("coverage", NO_ROWS)
        covered = rows.kind.covered(rows.answers(model, context), rows.truth)
        told = known(covered)
        if not len(told):
            return not_measured("coverage", NOT_KNOWN)
        share = float(told.mean())
        verdict, limit = self._judged(share, level)
        return Finding(
            check="coverage",
            verdict=verdict,
            value=share,
            limit=limit,
            interval=wilson(share, len(told)),
            reason=f"intervals promise {level:g}",
            evidence={
                "rows": len(told),
                "level": level,
                "profiles": rows.by_profile(covered),
            },
        )

    def _judged(self, share: float, level: float) -> tuple[Verdict, str]:
        if self.within is None:
            return Verdict.PASS, ""
        low, high = level - self.within, level + self.within
        inside = low <= share <= high
        return (Verdict.PASS if inside else Verdict.FAIL), f"{low:.4g} to {high:.4g}"
