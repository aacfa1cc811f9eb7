"""How good the answers are for the group of people, places ... that fares worst."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers.intervals import wilson
from edgeloop.checks.held_out import NO_ROWS, HeldOut, held_out, known
from edgeloop.checks.limits import at_least, at_most, not_measured
from edgeloop.errors import DataError
from edgeloop.plugins import register
from edgeloop.types import Finding, Verdict

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Model

MISSING = "(missing)"


@register("check", "worst_group.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class WorstGroup:
    """Mean quality of the worst group, at least ``min``, and at most ``max_gap`` behind the best.

    ``column`` of the snapshot (texts or whole numbers) says which group a row belongs to; the model
    need not look at it. ``stratum`` takes only the rows whose truth is in that stratum of the
    answer kind, which should be found as well in every group (equal opportunity). Groups with fewer
    than ``rows`` rows are told, and not judged. ``min`` and ``max_gap`` (0 to 1) None measure
    without a limit.
    """

    column: str
    min: Annotated[float, Field(ge=0, le=1)] | None = None
    max_gap: Annotated[float, Field(ge=0, le=1)] | None = None
    stratum: str | None = None
    rows: Annotated[int, Field(ge=1)] = 30

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)

    def run(self, model: Model, context: Context) -> Finding:
        """Value and Wilson interval of the worst group, the gap, and the value of each group.

        Raises:
            DataError: the snapshot has no such column of groups, or the kind no such stratum.
        """
        groups = self._groups(context)
        rows = held_out(model, context)
        if not rows.rows:
            return not_measured("worst_group", NO_ROWS)
        chosen = self._chosen(rows)
        quality = rows.kind.quality(rows.answers(model, context), rows.truth)
        found = {
            str(one) or MISSING: known(quality[chosen & (groups == one)])
            for one in sorted(set(groups))
        }
        return self._judged({name: values for name, values in found.items() if len(values)})

    def _groups(self, context: Context) -> Array:
        snapshot = context.data()
        dtypes = {column.name: column.dtype for column in snapshot.columns}
        if dtypes.get(self.column, "float").startswith("float"):
            raise DataError(
                "worst_group.column",
                f"must name a column of texts or whole numbers of snapshot {snapshot.name}",
                got=f"{self.column} {dtypes.get(self.column, '(no such column)')}",
                todo=f"Columns: {', '.join(dtypes)}",
            )
        return snapshot.column(self.column, "test")

    def _chosen(self, rows: HeldOut) -> Array:
        """bool[n]: the rows that are looked at."""
        import numpy as np

        strata = rows.kind.strata(rows.truth)
        if self.stratum is None:
            return np.ones(rows.rows, dtype=bool)
        if self.stratum not in strata:
            raise DataError(
                "worst_group.stratum",
                "must be a stratum that the answer kind knows",
                got=self.stratum,
                todo=f"Known: {', '.join(strata) or 'none'}",
            )
        return strata[self.stratum]

    def _judged(self, found: dict[str, Array]) -> Finding:
        """The finding of each group's quality, float64[rows of the group]."""
        judged = {n: float(q.mean()) for n, q in found.items() if len(q) >= self.rows}
        if len(judged) < 2:
            reason = f"fewer than two groups of {self.column} have {self.rows} held-out rows"
            return not_measured("worst_group", reason)
        worst, best = min(judged, key=judged.__getitem__), max(judged, key=judged.__getitem__)
        gap = judged[best] - judged[worst]
        ends = [at_least(judged[worst], self.min), at_most(gap, self.max_gap)]
        failed = any(verdict is Verdict.FAIL for verdict, _ in ends)
        said = [ends[0][1], f"gap {ends[1][1]}" if ends[1][1] else ""]
        return Finding(
            check="worst_group",
            verdict=Verdict.FAIL if failed else Verdict.PASS,
            value=judged[worst],
            limit=", ".join(one for one in said if one),
            interval=wilson(judged[worst], len(found[worst])),
            reason=f"worst is {worst!r}, {gap:.3f} behind {best!r}",
            evidence={
                "column": self.column,
                "stratum": self.stratum,
                "gap": gap,
                "groups": {n: {"value": float(q.mean()), "rows": len(q)} for n, q in found.items()},
                "not_judged": sorted(set(found) - set(judged)),
            },
        )
