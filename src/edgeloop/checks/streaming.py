"""Time the pieces of answers as they come: what both checks of a language model's speed share."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edgeloop.checks.held_out import held_out
from edgeloop.checks.statistics import quantile
from edgeloop.types import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edgeloop.plugins import Context
    from edgeloop.types import Array, Model

BUSY = 0.8  # an answer that got less than this share of its threads' time was disturbed
DISTURBED = 0.2  # of more answers than this share, a slow median says nothing of the model
NO_STREAM = "the model's runtime gives no answer in pieces"
NO_ANSWERS = "no held-out prompt has an answer of two pieces or more"


@dataclass(frozen=True, kw_only=True)
class Timed:
    """What was measured, one value per answer that had two pieces or more."""

    first_ms: Array  # float64[n]: from the question to the first piece
    per_second: Array  # float64[n]: pieces (tokens) behind the first, per second
    disturbed: float  # share of the answers that waited for the processor
    threads: int

    def finding(
        self, check: str, values: Array, unit: str, judge: Callable[[float], tuple[Verdict, str]]
    ) -> Finding:
        """The median of ``values``, with its interval, held against ``judge``'s limit.

        Others' work on this machine can only make answers slower. A value within the limit passes
        whatever happened meanwhile; one beyond it is not measured when more than ``DISTURBED`` of
        the answers waited for the processor.
        """
        value, interval = quantile(values, 0.5)
        verdict, limit = judge(value)
        if verdict is Verdict.FAIL and self.disturbed > DISTURBED:
            verdict = Verdict.NOT_MEASURED
        measured = verdict is not Verdict.NOT_MEASURED
        disturbed = f"{self.disturbed:.0%} of the answers waited for the processor"
        return Finding(
            check=check,
            verdict=verdict,
            value=value if measured else None,
            unit=unit,
            limit=limit,
            interval=interval if measured else None,
            reason=disturbed if self.disturbed else "",
            evidence={"answers": len(values), "threads": self.threads, "median": value},
        )


def timed(model: Model, context: Context, runs: int, warmup: int) -> Timed | str:
    """Stream ``runs`` answers to held-out prompts in turn, or say why that cannot be."""
    import numpy as np

    session, rows = context.session(model), held_out(model, context)
    stream = getattr(session, "stream", None)
    if stream is None:
        return NO_STREAM
    seen = []
    for number in range(warmup + runs if rows.rows else 0):
        place = number % rows.rows
        row = {name: values[place : place + 1] for name, values in rows.feed.items()}
        seen.append(_one(partial(stream, row), context.budget.threads))
    whole = [one for one in seen[warmup:] if one is not None]
    if not whole:
        return NO_ANSWERS
    first, rate, disturbed = (np.array(values) for values in zip(*whole, strict=True))
    return Timed(
        first_ms=first,
        per_second=rate,
        disturbed=float(disturbed.mean()),
        threads=context.budget.threads,
    )


def _one(stream: Callable[[], Iterable[str]], threads: int) -> tuple[float, float, bool] | None:
    """First piece in ms, later pieces per second, disturbed; None for less than two pieces."""
    cpu, began = time.process_time(), time.perf_counter()
    times = [time.perf_counter() for _ in stream()]
    if len(times) < 2:
        return None
    share = (time.process_time() - cpu) / (time.perf_counter() - began) / threads
    rate = (len(times) - 1) / (times[-1] - times[0])
    return (times[0] - began) * 1000, rate, share < BUSY
