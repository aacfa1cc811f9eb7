"""How long somebody waits before an answer begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.checks.limits import at_most, not_measured
from edgeloop.checks.streaming import Timed, timed
from edgeloop.plugins import register
from edgeloop.quantities import Milliseconds

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Finding, Model, Verdict


@register("check", "time_to_first_token.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TimeToFirstToken:
    """Median time from a prompt to its answer's first piece, at most ``max`` (``300 ms``).

    ``warmup`` answers go before the ``runs`` that count. A value beyond the limit is not measured
    when more than a fifth of the answers waited for the processor. ``max`` None measures without
    a limit.
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
        return self.judged(found)

    def judged(self, found: Timed) -> Finding:
        """The finding of measured times."""
        return found.finding("time_to_first_token", found.first_ms, "ms", self._within)

    def _within(self, value: float) -> tuple[Verdict, str]:
        return at_most(value, self.max, "ms")
