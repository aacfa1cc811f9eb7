"""How good the answers are where they are worst: no class is left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers.intervals import wilson
from edgeloop.checks.held_out import NO_ROWS, held_out, known
from edgeloop.checks.limits import at_least, not_measured
from edgeloop.plugins import register
from edgeloop.types import Finding

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Model


@register("check", "worst_class.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class WorstClass:
    """Mean quality of the stratum (for labels: the true class) with the lowest, at least ``min``.

    A stratum without held-out rows makes it not measured: nobody knows how that one fares.
    ``min`` None measures without a limit.
    """

    min: Annotated[float, Field(ge=0, le=1)] | None = None

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)

    def run(self, model: Model, context: Context) -> Finding:
        """Value and Wilson interval of the worst stratum, and the value of each."""
        rows = held_out(model, context)
        if not rows.rows:
            return not_measured("worst_class", NO_ROWS)
        strata = rows.kind.strata(rows.truth)
        empty = [name for name, members in strata.items() if not members.any()]
        if not strata:
            return not_measured("worst_class", "the answer kind knows no strata")
        if empty:
            return not_measured("worst_class", f"no held-out rows of {', '.join(empty)}")
        quality = rows.kind.quality(rows.answers(model, context), rows.truth)
        parts = {name: known(quality[members]) for name, members in strata.items()}
        unanswered = [name for name, part in parts.items() if not len(part)]
        if unanswered:
            return not_measured("worst_class", f"no answers to rows of {', '.join(unanswered)}")
        found = {name: float(part.mean()) for name, part in parts.items()}
        worst = min(found, key=lambda name: found[name])
        count = len(parts[worst])
        verdict, limit = at_least(found[worst], self.min)
        return Finding(
            check="worst_class",
            verdict=verdict,
            value=found[worst],
            limit=limit,
            interval=wilson(found[worst], count),
            reason=f"worst is {worst!r}, {count} rows",
            evidence={"worst": worst, "rows": count, "classes": found},
        )
