"""How fast an answer goes on once it has begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.checks.limits import at_least, not_measured
from edgeloop.checks.statistics import quantile
from edgeloop.checks.streaming import DISTURBED, Timed, timed
from edgeloop.plugins import register
from edgeloop.types import Finding, Verdict

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Model


@register("check", "tokens_per_second.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TokensPerSecond:
    """Median rate of an answer's pieces behind the first, at least ``min`` tokens per second.

    ``warmup`` answers go before the ``runs`` that count. Others' work on this machine
    can only make answers slower. A value within the limit passes
    whatever happened meanwhile; one beyond it is not measured when more than a fifth of the answers
    waited for the processor. ``min`` None measures without a limit.
    """

    min: Annotated[float, Field(gt=0)] | None = None
    runs: Annotated[int, Field(ge=5, le=10_000)] = 21
    warmup: Annotated[int, Field(ge=0, le=1000)] = 2

    libraries: ClassVar[tuple[str, ...]] = ("numpy", "xllamacpp")
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)
    machine_bound: ClassVar[bool] = True

    def run(self, model: Model, context: Context) -> Finding:
        """The median with its interval, and how many answers were disturbed."""
        found = timed(model, context, self.runs, self.warmup)
        if isinstance(found, str):
            return not_measured("tokens_per_second", found)
        return self.judged(found, context.budget.threads)

    def judged(self, found: Timed, threads: int) -> Finding:
        """The finding of measured times."""
        value, interval = quantile(found.per_second, 0.5)
        verdict, limit = at_least(value, self.min)
        if verdict is Verdict.FAIL and found.disturbed > DISTURBED:
            verdict = Verdict.NOT_MEASURED
        disturbed = f"{found.disturbed:.0%} of the answers waited for the processor"
        return Finding(
            check="tokens_per_second",
            verdict=verdict,
            value=None if verdict is Verdict.NOT_MEASURED else value,
            unit="tokens/s",
            limit=limit,
            interval=None if verdict is Verdict.NOT_MEASURED else interval,
            reason=disturbed if found.disturbed else "",
            evidence={"answers": len(found.per_second), "threads": threads, "median": value},
        )
