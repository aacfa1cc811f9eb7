"""Whether the released graph gives what the recipe's own model gives, on chosen samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.answers.intervals import wilson
from edgeloop.checks.held_out import NO_ANSWERS, NO_ROWS, HeldOut, held_out
from edgeloop.checks.limits import at_least, not_measured
from edgeloop.plugins import register
from edgeloop.runtimes.program import memory, stretches
from edgeloop.types import Finding

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Model

Tolerance = Annotated[float, Field(gt=0)]


@register("check", "golden_parity.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class GoldenParity:
    """The share of ``samples`` on which model and reference are equal within a tolerance.

    At least ``min`` of them must be. The tolerance, in the unit of the answer kind's parity,
    depends on how the model computes: ``exact`` for a graph in floating point with the reference's
    weights, ``int8`` for a quantized one, ``changed`` for one whose weights a pass has changed on
    purpose.
    """

    samples: Annotated[int, Field(ge=1)] = 64
    min: Annotated[float, Field(gt=0, le=1)] = 0.95
    exact: Tolerance = 0.001
    int8: Tolerance = 0.1
    changed: Tolerance = 0.25

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)
    needs: ClassVar[tuple[str, ...]] = ("snapshot", "reference")

    def run(self, model: Model, context: Context) -> Finding:
        """Value is the share of samples that are equal, of those that have an answer."""
        import numpy as np

        if context.reference is None:
            return not_measured("golden_parity", "there is no reference model")
        rows = held_out(model, context)
        if not rows.rows:
            return not_measured("golden_parity", NO_ROWS)
        chosen = _chosen(rows, self.samples, model)
        execution = execution_class(model)
        tolerance: float = getattr(self, execution)
        mine, theirs = (chosen.answers(one, context) for one in (model, context.reference))
        answered = ~np.isnan(rows.kind.quality(theirs, chosen.truth))
        equal = rows.kind.parity(mine, theirs, tolerance)[answered]
        if not len(equal):
            return not_measured("golden_parity", NO_ANSWERS)
        value = float(equal.mean())
        verdict, limit = at_least(value, self.min)
        return Finding(
            check="golden_parity",
            verdict=verdict,
            value=value,
            limit=limit,
            interval=wilson(value, len(equal)),
            reason=f"{execution}: within {tolerance:g}",
            evidence={"samples": len(equal), "class": execution, "tolerance": tolerance},
        )


def execution_class(model: Model) -> str:
    """``changed``, ``int8`` or ``exact``, by what the passes noted on the model."""
    if "pruned" in model.notes:
        return "changed"
    return "int8" if "quantization" in model.notes else "exact"


def _chosen(rows: HeldOut, count: int, model: Model) -> HeldOut:
    """``count`` rows at even distances, the same ones whatever the model.

    Where the model remembers rows: the first of the longest stretch, and before them so many as it
    remembers.
    """
    import numpy as np

    places = np.unique(np.linspace(0, rows.rows - 1, count).astype(int))
    if past := memory(model):
        longest = max(stretches(model, rows.feed), key=lambda one: one.stop - one.start)
        places = np.arange(longest.start, min(longest.stop, longest.start + past + count))
    return rows.taken(places)
