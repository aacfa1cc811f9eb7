"""How long to wait after the n-th failure in a row, and between polls.

Jittered, so that a fleet that lost its server does not come back in one wave.
"""

from __future__ import annotations

from collections.abc import Callable

LONGEST_SECONDS = 300.0
REFUSED_SECONDS = 3600.0  # for whom an operator decided not to be listened to

Draw = Callable[[], float]  # uniform in 0..1; a seam


def after_failures(failures: int, first_seconds: float, draw: Draw) -> float:
    """Seconds: half to all of ``first_seconds`` doubled ``failures - 1`` times, capped.

    "Equal jitter" of M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015.
    """
    longest = min(LONGEST_SECONDS, first_seconds * 2.0 ** min(failures - 1, 20))
    return longest * (0.5 + 0.5 * draw())


def when_refused(draw: Draw) -> float:
    """Seconds: half to all of an hour; only a person can change what was decided."""
    return REFUSED_SECONDS * (0.5 + 0.5 * draw())


def between_polls(poll_seconds: float, draw: Draw) -> float:
    """Seconds: ``poll_seconds`` plus or minus a tenth."""
    return poll_seconds * (0.9 + 0.2 * draw())
