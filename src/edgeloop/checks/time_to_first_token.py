"""How long somebody waits before an answer begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.checks.limits import at_most, not_measured
from edgeloop.checks.statistics import quantile
from edgeloop.checks.streaming import DISTURBED, Timed, timed
from edgeloop.plugins import register
from edgeloop.quantities import Milliseconds
from edgeloop.types import Finding, Verdict

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Model


@register("check", "time_to_first_token.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TimeToFirstToken:
    """Median time from a prompt to its answer's first piece, at most ``max`` (``300 ms``).

    ``warmup`` answers go before the ``runs`` that count. Others' work on this machine
    can only make answers slower. A value within the limit passes
    whatever happened meanwhile; one beyond it is not measured when more than a fifth of the answers
    waited for the processor. ``max`` None measures without a limit.
    """

    max: Annotated[Milliseconds, Field(gt=0)] | None = None
    runs: Annotated[int, Field(ge=5, le=10_000)] = 21
    warmup: Annotated[int, Field(ge=0, le=1000)] = 2

    libraries: ClassVar[tuple[str, ...]] = ("numpy", "xllamacpp")
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)
    machine_bound: ClassVar[bool] = True

    def run(self, model: Model, context: Context) -> Finding:
        """The median with its interval, and how many answers were disturbed."""
        found = timed(model, context, self.runs, self.warmup)
        if isinstance(found, str):
            return not_measured("time_to_first_token", found)
        return self.judged(found, context.budget.threads)

    def judged(self, found: Timed, threads: int) -> Finding:
        """The finding of measured times."""
        value, interval = quantile(found.first_ms, 0.5)
        verdict, limit = at_most(value, self.max, "ms")
        if verdict is Verdict.FAIL and found.disturbed > DISTURBED:
            verdict = Verdict.NOT_MEASURED
        disturbed = f"{found.disturbed:.0%} of the answers waited for the processor"
        return Finding(
            check="time_to_first_token",
            verdict=verdict,
            value=None if verdict is Verdict.NOT_MEASURED else value,
            unit="ms",
            limit=limit,
            interval=None if verdict is Verdict.NOT_MEASURED else interval,
            reason=disturbed if found.disturbed else "",
            evidence={"answers": len(found.first_ms), "threads": threads, "median": value},
        )
