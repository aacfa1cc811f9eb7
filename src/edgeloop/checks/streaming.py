"""Time the pieces of answers as they come: what both checks of a language model's speed share."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edgeloop.checks.held_out import held_out

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
    return Timed(first_ms=first, per_second=rate, disturbed=float(disturbed.mean()))


def _one(stream: Callable[[], Iterable[str]], threads: int) -> tuple[float, float, bool] | None:
    """First piece in ms, later pieces per second, disturbed; None for less than two pieces."""
    cpu, began = time.process_time(), time.perf_counter()
    times = [time.perf_counter() for _ in stream()]
    if len(times) < 2:
        return None
    share = (time.process_time() - cpu) / (time.perf_counter() - began) / threads
    rate = (len(times) - 1) / (times[-1] - times[0])
    return (times[0] - began) * 1000, rate, share < BUSY
