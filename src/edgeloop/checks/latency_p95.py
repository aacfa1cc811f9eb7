"""How long one answer takes on this machine, in the slow tail."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from edgeloop.checks.held_out import NO_ROWS, HeldOut, held_out
from edgeloop.checks.limits import at_most, not_measured
from edgeloop.checks.statistics import quantile
from edgeloop.plugins import register
from edgeloop.quantities import Milliseconds
from edgeloop.types import Finding, Verdict

if TYPE_CHECKING:
    from edgeloop.plugins import Context
    from edgeloop.types import Array, Model

BUSY = 0.8  # a run that got less than this share of its time from the processor was disturbed
DISTURBED = 0.02  # of more runs than this share, a slow tail says nothing of the model


@register("check", "latency_p95.v1")
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class LatencyP95:
    """95th percentile of the time of one answer (one row), at most ``max`` (``5 ms``).

    ``warmup`` runs go before the ``runs`` that count. Others' work on this machine can only make
    runs slower, so a value within the limit passes whatever happened meanwhile. A value beyond it
    fails when the machine was quiet, and is not measured when more than 2 % of the runs waited for
    the processor a fifth of their time or more. ``max`` None measures without a limit.
    """

    max: Annotated[Milliseconds, Field(gt=0)] | None = None
    runs: Annotated[int, Field(ge=100, le=100_000)] = 300
    warmup: Annotated[int, Field(ge=0, le=100_000)] = 30

    libraries: ClassVar[tuple[str, ...]] = ("numpy",)
    needs: ClassVar[tuple[str, ...]] = ("snapshot",)
    machine_bound: ClassVar[bool] = True

    def run(self, model: Model, context: Context) -> Finding:
        """Value in ms with its interval, and how many runs were disturbed."""
        rows = held_out(model, context)
        if not rows.rows:
            return not_measured("latency_p95", NO_ROWS)
        wall, processor = self._times(model, rows, context)
        return self.judged(wall, processor, context.budget.threads)

    def judged(self, wall: Array, processor: Array, threads: int) -> Finding:
        """The finding of measured times: wall and processor time of each run, float64[runs], ms."""
        import numpy as np

        value, interval = quantile(wall, 0.95)
        disturbed = float((processor < BUSY * wall).mean())
        verdict, limit = at_most(value, self.max, "ms")
        if verdict is Verdict.FAIL and disturbed > DISTURBED:
            verdict = Verdict.NOT_MEASURED
        return Finding(
            check="latency_p95",
            verdict=verdict,
            value=None if verdict is Verdict.NOT_MEASURED else value,
            unit="ms",
            limit=limit,
            interval=None if verdict is Verdict.NOT_MEASURED else interval,
            reason=f"{disturbed:.1%} of the runs waited for the processor" if disturbed else "",
            evidence={
                "runs": len(wall),
                "threads": threads,
                "median": float(np.median(wall)),
                "p95": value,
                "disturbed": disturbed,
            },
        )

    def _times(self, model: Model, rows: HeldOut, context: Context) -> tuple[Array, Array]:
        import numpy as np

        session = context.session(model)
        wall, processor = np.zeros(self.runs), np.zeros(self.runs)
        for number in range(-self.warmup, self.runs):
            place = number % rows.rows
            row = {name: values[place : place + 1] for name, values in rows.feed.items()}
            before, cpu = time.perf_counter_ns(), time.process_time_ns()
            session.run(row)
            if number >= 0:
                processor[number] = time.process_time_ns() - cpu
                wall[number] = time.perf_counter_ns() - before
        return wall / 1e6, processor / 1e6
